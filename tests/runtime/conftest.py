"""What tests of sessions on Ray share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from minestudio_nb.runtime.ray_runtime import RayRuntime


@pytest.fixture
def stopping() -> Iterator[list[RayRuntime]]:
    """Runtimes put in here are stopped at the end."""
    runtimes: list[RayRuntime] = []
    yield runtimes
    for runtime in runtimes:
        runtime.stop(20.0)

"""Fixtures of the simulator's tests."""

from __future__ import annotations

import pytest

from tests.support.flat_world import FlatWorld


@pytest.fixture
def flat() -> FlatWorld:
    return FlatWorld()

"""The interpreter that ``--install-minecraft`` builds, kept between test sessions, and engines that stand in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from minestudio_nb.environments.minecraft.install import install
from minestudio_nb.errors import ResourceError
from tests.minecraft.support import StandIn

UNREACHABLE = re.compile(
    r"Temporary failure|Network is unreachable|Connection|Could not find a version|timed out", re.I
)


@pytest.fixture(scope="session")
def minecraft_python() -> str:
    """Built once per machine, in MSNB_MINECRAFT_ENV or the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("MSNB_MINECRAFT_ENV") or cache / "minestudio_nb" / "minecraft")
    try:
        return install(folder)
    except ResourceError as error:
        if UNREACHABLE.search(str(error)):
            pytest.skip(f"MineStudio cannot be installed, because no package index answers: {error}")
        raise


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Engines that stand in for the game's; nothing of them may be left at the end of a test."""
    engines = StandIn(tmp_path, monkeypatch)
    yield engines
    engines.wait_for_none()

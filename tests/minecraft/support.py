"""MineStudio's surroundings with the stand-in engine in the place of the game's."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

ENGINE = Path(__file__).with_name("stand_in_engine.py")


class StandIn:
    """A MINESTUDIO_DIR, programs called ``java`` and ``xvfb-run``, and the folder through which engines are told what
    shall go wrong and tell what happened."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "stand-in"
        self.folder.mkdir()
        home, programs = folder / "minestudio", folder / "programs"
        jar = home / "engine" / "build" / "libs" / "mcprec-6.13.jar"
        jar.parent.mkdir(parents=True)
        jar.touch()
        programs.mkdir()
        self._program(programs / "java", f'exec "{sys.executable}" -S -E "{ENGINE}" "$@"')
        self._program(programs / "xvfb-run", 'shift; exec "$@"')
        patch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("MINESTUDIO_DIR", str(home))
        patch.setenv("STAND_IN", str(self.folder))

    @staticmethod
    def _program(path: Path, line: str) -> None:
        path.write_text(f"#!/bin/sh\n{line}\n", encoding="ascii")
        path.chmod(0o755)

    def fault(self, kind: str, number: float = 0) -> None:
        """The next engine that comes to it has this fault; see ``stand_in_engine``."""
        count = len(list(self.folder.glob(f"fault-{kind}*")))
        (self.folder / f"fault-{kind}-{count}").write_text(str(number), encoding="ascii")

    def taken(self, kind: str) -> int:
        """How many engines had this fault."""
        return len(list(self.folder.glob(f"taken-fault-{kind}*")))

    def pids(self) -> list[int]:
        """All engines that were ever started."""
        return [int(path.stem.partition("-")[2]) for path in self.folder.glob("engine-*.log")]

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """What happened in all engines, by time."""
        texts = [path.read_text(encoding="utf-8") for path in self.folder.glob("engine-*.log")]
        lines = [json.loads(line) for text in texts for line in text.splitlines()]
        return sorted((line for line in lines if kind in ("", line["event"])), key=lambda line: line["time"])

    def wait_for_none(self, seconds: float = 20.0) -> None:
        """Waits until nothing is left running; AssertionError with what still runs."""
        deadline = time.monotonic() + seconds
        while left := self.alive():
            assert time.monotonic() < deadline, f"still running: {left}"
            time.sleep(0.1)

    def alive(self) -> list[tuple[int, str]]:
        """What still runs with these surroundings: engines, environments, and whatever was started beside them."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get("STAND_IN") == str(self.folder):
                    found.append((process.pid, " ".join(process.cmdline()[:4])))
            except psutil.Error:  # gone meanwhile, a zombie, or somebody else's
                continue
        return found

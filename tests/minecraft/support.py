"""MineStudio's surroundings with the stand-in engine in the place of the game's."""

from __future__ import annotations

import json
import os
import sys
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
        lines = [json.loads(line) for path in self.folder.glob("engine-*.log") for line in path.open(encoding="utf-8")]
        return sorted((line for line in lines if kind in ("", line["event"])), key=lambda line: line["time"])

    def alive(self) -> list[int]:
        """Engines that still run, and processes of MineStudio's or ours that were started beside them."""
        engines = [pid for pid in self.pids() if _runs(pid)]
        others = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if process.environ().get("STAND_IN") == str(self.folder) and process.pid != os.getpid():
                    others.append((process.pid, " ".join(words[:4])))
            except psutil.Error:
                continue
        return engines + [pid for pid, _ in others if pid not in engines]


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

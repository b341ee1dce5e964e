"""Processes that environments start in sessions of their own, such as Minecraft's Java, and their certain end.

Such a process outlives a killed environment, and each holds gigabytes. So each is registered the moment it runs, in a
file of this machine, and ended by whoever comes first: the environment when it closes, a guard process when the
environment is gone, its rollout worker, or the next worker that starts here. A process is ended only if it is still
the one that was registered: its start time is compared, since process ids are used again.

``python foreign.py minestudio_nb.environments.engines RECORD`` is the guard: it ends the engine of ``RECORD`` when its
standard input closes, which the kernel does for an environment that dies.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from minestudio_nb.environments import foreign

__all__ = ["Engine", "EngineGuard", "end_engines", "machine_folder", "main", "register", "sweep"]

_END_SECONDS = 10.0
_WALL_CLOCK_TOLERANCE = 1.0
"""Seconds by which two readings of one start time may differ where it is computed from the wall clock."""


@dataclass(frozen=True)
class Engine:
    """A registered process, the leader of its session, and the environment's process that started it.

    Start times are seconds since the machine started on Linux, which no clock changes; elsewhere Unix seconds.
    """

    pid: int
    started: float
    owner: int
    owner_started: float
    boot: str
    """Which start of the machine this was."""
    folder: str | None = None
    """Its working folder, removed with it."""


def machine_folder(name: str) -> Path:
    """A folder for this user's processes on this machine, readable by nobody else."""
    root = Path(tempfile.gettempdir()) / f"minestudio_nb-{os.getuid()}"
    folder = root / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise PermissionError(f"{root} belongs to somebody else. Remove it, or set TMPDIR to a folder of your own.")
    root.chmod(0o700)
    return folder


def register(pid: int, folder: str | None = None) -> Path:
    """Writes down that this process started ``pid``, which leads a session. Returns the record's file."""
    now = _start_of(os.getpid()) or 0.0
    engine = Engine(pid, _start_of(pid) or now, os.getpid(), now, _boot(), folder)
    path = machine_folder("engines") / f"{os.getpid()}-{uuid.uuid4().hex[:12]}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(engine)), encoding="utf-8")
    temporary.replace(path)
    return path


def end_engines(owner: int) -> list[int]:
    """Ends what the process ``owner`` registered, which is dead or about to be; returns the pids that were killed."""
    return [pid for path in machine_folder("engines").glob(f"{owner}-*.json") for pid in _end(path)]


def sweep() -> list[int]:
    """Ends what processes registered that are dead by now; returns the pids that were killed."""
    killed = []
    for path in machine_folder("engines").glob("*.json"):
        engine = _read(path)
        if engine is not None and not _same(_start_of(engine.owner), engine.owner_started):
            killed += _end(path)
    return killed


def _read(path: Path) -> Engine | None:
    try:
        engine = Engine(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # not written by this version, and of no use
        engine = None
    if engine is None or engine.boot != _boot():
        path.unlink(missing_ok=True)
        return None
    return engine


def _end(path: Path) -> list[int]:
    """Kills the session of a record until nothing of it is left, and removes the record."""
    engine = _read(path)
    if engine is None:
        return []
    killed: set[int] = set()
    deadline = time.monotonic() + _END_SECONDS
    while members := _members(engine):
        for process in members:
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed.add(process.pid)
        if time.monotonic() > deadline:
            return sorted(killed)  # the record stays, for the next sweep
        psutil.wait_procs(members, timeout=1.0)
    if engine.folder:
        shutil.rmtree(engine.folder, ignore_errors=True)
    path.unlink(missing_ok=True)
    return sorted(killed)


def _members(engine: Engine) -> list[psutil.Process]:
    """Living processes of the engine's session.

    Linux gives a process id to nobody while a session is called by it, so that a session whose leader is gone is still
    the engine's, provided that its members are younger.
    """
    leader = _start_of(engine.pid)
    if leader is not None and not _same(leader, engine.started):
        return []
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getsid(pid) != engine.pid:
                continue
            started = _start_of(pid)
            if started is not None and started >= engine.started - _WALL_CLOCK_TOLERANCE:
                found.append(psutil.Process(pid))
    return found


def _same(one: float | None, other: float) -> bool:
    """Whether two start times are those of one process."""
    return one is not None and abs(one - other) <= (0.0 if sys.platform == "linux" else _WALL_CLOCK_TOLERANCE)


def _start_of(pid: int) -> float | None:
    """When process ``pid`` started, see :class:`Engine`; None where there is none that lives."""
    if sys.platform != "linux":
        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
        except psutil.Error:
            return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()  # the name before it may contain anything
    return None if state in "ZX" else int(rest[18]) / os.sysconf("SC_CLK_TCK")


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(round(psutil.boot_time() / 60))


class EngineGuard:
    """An engine of this process: registered, and ended with it however it ends."""

    def __init__(self, pid: int, folder: str | None = None) -> None:
        self._record = register(pid, folder)
        command = [sys.executable, foreign.__file__, __name__, str(self._record)]
        self._guard = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def end(self) -> list[int]:
        """Ends the engine, if it still runs, and the guard; returns the pids that were killed."""
        killed = _end(self._record)
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(_END_SECONDS)
        return killed


def main(arguments: list[str]) -> None:
    """The guard; see the module."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while _wait_for_input():
        pass
    _end(Path(arguments[0]))


def _wait_for_input() -> Any:
    return os.read(0, 1)

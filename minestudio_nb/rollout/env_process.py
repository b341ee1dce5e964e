"""The worker's side of one environment in a process of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

import minestudio_nb
from minestudio_nb.environments import foreign
from minestudio_nb.environments.channel import Channel
from minestudio_nb.environments.engines import end_engines
from minestudio_nb.errors import EnvStartError

__all__ = ["EnvProcess"]

_logger = logging.getLogger(__name__)

ENTRY = "minestudio_nb.environments.entry"
SPAWN_SECONDS = 60.0
"""Longest time that starting a process may take, before it has run a line."""
LOG_TAIL_LINES, LOG_TAIL_BYTES = 12, 4096
LOG_BYTES = 8 << 20
"""A log that has grown beyond this is set aside, as ``.old``, when the next process begins."""


class EnvProcess:
    """One child process, its socket, and what wakes us when it dies.

    ``spawner`` has one thread that must live as long as the child may: Linux kills the child when that thread ends,
    which is how a child dies with a worker that was killed. What the child prints goes to the end of the file ``log``,
    or to our own output where that is None.
    """

    def __init__(
        self,
        spawner: ThreadPoolExecutor,
        python: str | None,
        memory: int,
        start: dict[str, Any],
        log: Path | None = None,
    ) -> None:
        self.log = log
        python = None if python is None else os.path.expanduser(python)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        bell = os.eventfd(0, os.EFD_CLOEXEC) if hasattr(os, "eventfd") else None
        with theirs:
            inherited = (theirs.fileno(), -1 if bell is None else bell, memory)
            run = [sys.executable, "-m", ENTRY] if python is None else [python, foreign.__file__, ENTRY]
            command = [*run, *map(str, inherited), str(os.getpid())]
            output = None if log is None else _open_log(log)
            future = spawner.submit(
                subprocess.Popen,
                command,
                pass_fds=[descriptor for descriptor in inherited if descriptor >= 0],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(python, log),
                # Its own group: a Ctrl-C is for the worker, and the whole group can be killed. Not its own session:
                # Linux shares processors out between sessions first, which halves the speed on a busy machine.
                process_group=0,
            )
            try:
                self.process: subprocess.Popen[bytes] = future.result(SPAWN_SECONDS)
            except BaseException as error:
                Channel(ours, rings=bell).close()
                if python is not None and isinstance(error, OSError):
                    raise EnvStartError(
                        f"env_config.python names {python}, which cannot be started: {error}. Give the path of a "
                        "Python interpreter, such as DIR/bin/python of an environment in DIR."
                    ) from error
                raise
            finally:
                if output is not None:
                    os.close(output)
        self.channel = Channel(ours, rings=bell)
        self.died = os.pidfd_open(self.process.pid) if hasattr(os, "pidfd_open") else None
        """Readable once the process is dead, even if something it started still holds the socket."""
        with contextlib.suppress(OSError):  # dead already: that shows when somebody reads
            self.channel.send({"sys_path": _paths(python), **start})

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def describe_death(self) -> str:
        """How it ended, for a message."""
        try:
            code = self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            return f"process {self.pid} closed its socket"
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            return f"process {self.pid} was killed by {name}"
        return f"process {self.pid} exited with status {code}"

    def log_tail(self) -> str:
        """The last lines of its log, with the file's name; empty without a log, or where nothing was printed."""
        if self.log is None:
            return ""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()[-LOG_TAIL_LINES:]
            return "\n".join([f"The last lines of {self.log}:", *(f"  {line}" for line in lines)]) if lines else ""
        return ""

    def ask_to_close(self) -> None:
        """Lets the environment close by itself; :meth:`kill` must follow."""
        with contextlib.suppress(OSError):
            self.channel.send(("close",))

    def kill(self, grace: float = 0.0) -> None:
        """Ends the process and everything that it started, after ``grace`` seconds to end by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        if self.process.returncode is None:
            descendants = _descendants(self.pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            for process in descendants:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            try:
                self.process.wait(5.0)
            except subprocess.TimeoutExpired:
                _logger.error("process %d of an environment cannot be killed", self.pid)
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)  # what it left behind in its group
        end_engines(self.pid)  # what it started in a session of its own, and could not end itself
        self.channel.close()
        if self.died is not None:
            os.close(self.died)
            self.died = None


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


def _open_log(path: Path) -> int:
    """A descriptor that appends to the file ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".old"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


def _environment(python: str | None, log: Path | None) -> dict[str, str]:
    """One thread for numeric libraries unless the user says otherwise; in this interpreter, also this package.

    Another interpreter finds the programs that are installed beside it first, such as a Java of its own, and nothing
    that belongs to ours.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **{name: os.environ.get(name, "1") for name in names}}
    if log is not None:
        environment["PYTHONUNBUFFERED"] = "1"  # or a killed process takes its last lines with it
    if python is not None:
        path = [str(Path(python).absolute().parent), *filter(None, os.environ.get("PATH", "").split(os.pathsep))]
        environment["PATH"] = os.pathsep.join(path)
        environment["PYTHONPATH"] = os.pathsep.join(
            entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and not _is_ours(entry)
        )
        for name in ("PYTHONHOME", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV"):
            environment.pop(name, None)
        return environment
    package = str(Path(minestudio_nb.__file__).resolve().parent.parent)
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**environment, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _is_ours(entry: str) -> bool:
    """Whether a folder of modules belongs to this interpreter's own installation."""
    return Path(entry).resolve().is_relative_to(Path(sys.prefix).resolve())


def _paths(python: str | None) -> list[str]:
    """Where a user's modules are found; another interpreter has its own places."""
    return [] if python else [os.path.abspath(entry) for entry in sys.path]

"""``run.json``: what a run is and where it began, for whoever looks at it without its session.

A session writes it when it starts and again when it ends. A run whose process was killed has no end in it; see
:func:`minestudio_nb.runs.summary.summarize` for how its state is told then.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from minestudio_nb.errors import RunError
from minestudio_nb.runs.directory import RunDirectory

__all__ = ["RECORD", "Origin", "RunRecord", "is_alive"]

RECORD = "run.json"

_START_TOLERANCE = 1.0
"""Seconds by which two readings of a process's start time may differ and still mean the same process."""


@dataclass(frozen=True)
class Origin:
    """The checkpoint of another run that a run began with."""

    kind: Literal["fork", "resume"]
    parent: str
    """Name of the other run."""
    parent_path: str
    """Its directory, absolute; it may be gone by now."""
    checkpoint: str
    """Name of the checkpoint's folder there."""
    iteration: int
    """Iterations that the parent had completed; the run's own first iteration is the next one."""
    env_steps: int = 0
    overrides: tuple[str, ...] = ()
    """What a fork changed, as it was given."""
    edits: Mapping[str, Any] = field(default_factory=dict)
    """Live edits that were in force in the parent, by key; a fork's configuration has them as plain values."""
    time: float = 0.0
    """When it branched off, Unix seconds."""


@dataclass(frozen=True)
class RunRecord:
    """What a session says about its run. Times are Unix seconds."""

    config: str
    """Short name of the configuration, such as ``chop_tree``."""
    task: str = ""
    """Name under which episode statistics are kept, or the environment's id."""
    runtime: str = ""
    created_at: float = 0.0
    """When the run was started first, or forked."""
    started_at: float | None = None
    """When it was started last; None for a fork that was not started yet."""
    pid: int = 0
    """The process that holds the session object. With a cluster of the session's own, ``cluster.json`` counts more."""
    process_started: float = 0.0
    host: str = ""
    detached: bool = False
    """Whether the run goes on without that process."""
    ended_at: float | None = None
    ended_as: str = ""
    """``STOPPED`` or ``FAILED``."""
    reason: str = ""
    origin: Origin | None = None

    @classmethod
    def read(cls, directory: Path) -> RunRecord | None:
        """The record of the run in ``directory``; None where there is none. RunError where it cannot be used."""
        run = RunDirectory(directory.parent, directory.name)
        if not (run.path / RECORD).is_file():
            return None
        data = run.read_json(RECORD)
        try:
            origin = data.get("origin")
            known = {name: data[name] for name in _names(cls) & data.keys()}
            return cls(**{**known, "origin": None if origin is None else _origin(origin)})
        except (TypeError, AttributeError, KeyError) as error:
            raise RunError(f"{run.path / RECORD} is not the record of a run: {error}.") from error

    def write(self, directory: Path) -> None:
        """Writes it into ``directory``, atomically."""
        RunDirectory(directory.parent, directory.name).write_json(RECORD, asdict(self))

    def started(self, runtime: str, detached: bool, at: float) -> RunRecord:
        """The record of the run as this process started it, anew or again, at ``at`` (Unix seconds)."""
        import psutil

        return replace(
            self,
            runtime=runtime,
            detached=detached,
            created_at=self.created_at or at,
            started_at=at,
            pid=os.getpid(),
            process_started=psutil.Process().create_time(),
            host=socket.gethostname(),
            ended_at=None,
            ended_as="",
            reason="",
        )

    def ended(self, state: str, reason: str) -> RunRecord:
        """The record of the run at its end."""
        return replace(self, ended_at=time.time(), ended_as=state, reason=reason)

    @property
    def here(self) -> bool:
        """Whether it was started on this machine, so that its processes can be looked for."""
        return self.host == socket.gethostname()

    @property
    def process_alive(self) -> bool:
        """Whether the process that started it still runs, on this machine."""
        return self.here and is_alive(self.pid, self.process_started)


def is_alive(pid: int, create_time: float) -> bool:
    """Whether process ``pid``, started at ``create_time`` (Unix seconds), still runs; a reused pid counts as ended."""
    import psutil

    try:
        process = psutil.Process(pid)
        same = bool(abs(process.create_time() - create_time) < _START_TOLERANCE)
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False


def _names(cls: type) -> set[str]:
    return {member.name for member in fields(cls)}


def _origin(data: Mapping[str, Any]) -> Origin:
    known = {name: data[name] for name in _names(Origin) & data.keys()}
    return Origin(**{**known, "overrides": tuple(known.get("overrides", ()))})

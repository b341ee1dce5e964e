"""Which sessions run below a directory, from what they wrote there: no cluster is asked, so nothing can hang."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from minestudio_nb.errors import RunError
from minestudio_nb.runs import ENDED, RunDirectory, SessionRecord, last_row, list_runs
from minestudio_nb.runtime.processes import is_alive

__all__ = ["DEAD", "FoundSession", "find_sessions"]

logger = logging.getLogger(__name__)

DEAD = "DEAD"
"""Shown as the state of a session whose processes are gone although it had not ended."""
_STATES: Mapping[str, str] = {"new": "STARTING"}


@dataclass(frozen=True)
class FoundSession:
    """A session that runs, or that was cut off."""

    name: str
    state: str
    """A state of :class:`OnlineSession`, STARTING, or DEAD."""
    iteration: int
    since: float
    """Unix seconds since when the state holds; of a dead one since when it was in its last state."""
    where: str
    note: str
    """What can be done with it."""

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as can be seen from this machine."""
        return self.state != DEAD


def find_sessions(run_root: Path) -> list[FoundSession]:
    """The sessions below ``run_root`` that run or were cut off, the one written to last first."""
    found = (_look(run) for run in list_runs(run_root))
    return [session for session in found if session is not None]


def _look(run: RunDirectory) -> FoundSession | None:
    try:
        record = SessionRecord.read(run.session)
    except RunError as error:
        logger.warning("%s", error)
        return None
    if record is None:
        return None
    here = record.host == socket.gethostname()
    alive = not here or is_alive(record.pid, record.create_time)
    if record.closed or (record.phase in ENDED and not (here and alive)):
        return None  # over, and nothing of it is there any more
    point = last_row(run.metrics) or {}
    return FoundSession(
        name=run.name,
        state=_STATES.get(record.phase, record.phase.upper()) if alive else DEAD,
        iteration=int(point.get("iteration") or 0),
        since=record.since,
        where=_where(record, here),
        note=_note(record, here, alive),
    )


def _where(record: SessionRecord, here: bool) -> str:
    machine = "this machine" if here else f"host {record.host}"
    if record.runtime == "inline":
        return f"inline, process {record.pid} on {machine}"
    return f"its own cluster on {machine}" if record.address is None else f"cluster {record.address}"


def _note(record: SessionRecord, here: bool, alive: bool) -> str:
    if not alive:
        return f"cut off while {record.phase}; load_config(..., resume={record.session!r}) goes on from its checkpoint"
    if record.runtime == "inline":
        return "this process" if here and record.pid == os.getpid() else "cannot be attached to"
    unsure = "" if here else "; on another machine, not looked at"
    return f"OnlineSession.attach({record.session!r}){unsure}"

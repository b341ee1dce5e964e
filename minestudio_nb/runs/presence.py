"""``session.json``: who runs a session, where, and in which phase; for those who cannot ask the session itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from minestudio_nb.errors import RunError
from minestudio_nb.runs.directory import write_atomically

__all__ = ["ENDED", "Phase", "SessionRecord"]

Phase = Literal["new", "rolling", "training", "paused", "finished", "failed", "stopped"]
"""What a session is doing; "new" until every environment has shown a first frame."""
ENDED: tuple[Phase, ...] = ("finished", "failed", "stopped")
"""Phases after which a session does nothing more by itself."""


@dataclass(frozen=True)
class SessionRecord:
    """What ``session.json`` holds. The process is the one that keeps the session: with Ray its supervisor."""

    session: str
    runtime: Literal["ray", "inline"]
    phase: Phase
    since: float
    """Unix seconds since when ``phase`` holds."""
    host: str
    pid: int
    create_time: float
    """Start of the process, Unix seconds; tells it from another one with the same pid."""
    address: str | None
    """Of the Ray cluster that was given; None: the session has its own, or none."""
    detached: bool
    started_at: float
    failure: str = ""
    closed: bool = False
    """Whether it was stopped: nothing of it is there any more, whatever its last phase was."""

    @classmethod
    def read(cls, path: Path) -> SessionRecord | None:
        """The record at ``path``, or None when there is none; RunError when it cannot be read."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{path} is not the record of a session ({error}). Remove it.") from error

    def write(self, path: Path) -> None:
        """Writes it so that a reader never sees half of it."""
        write_atomically(path, json.dumps(asdict(self), indent=2) + "\n")

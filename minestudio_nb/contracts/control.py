"""Orders that travel from a user to the trainer (live edits, pause, stop, wishes), and what comes back.

The box is read once an iteration by rank 0 and broadcast, so every rank acts on the same revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["ControlOrder", "Edit", "EditStatus"]

EditStatus = Literal["requested", "applied", "rejected"]


@dataclass(frozen=True)
class Edit:
    """One live edit: a dotted key of the configuration and its new value; ``revision`` numbers the edits from 1."""

    revision: int
    key: str
    value: Any
    status: EditStatus = "requested"
    iteration: int | None = None
    """Iteration from which it holds, once applied."""
    reason: str = ""
    """Why it was rejected."""


@dataclass(frozen=True)
class ControlOrder:
    """What the trainer must do at an iteration border.

    ``edits`` are those with a revision above the one that the trainer named when it asked. ``requests`` are the wishes
    that no trainer has yet said to be done, oldest first: each with its ``number``, its ``kind`` and the rest by name,
    ``"checkpoint"`` with a label, ``"record"`` with a number of episodes.
    """

    revision: int = 0
    edits: tuple[Edit, ...] = ()
    paused: bool = False
    stop: bool = False
    requests: tuple[Mapping[str, Any], ...] = field(default_factory=tuple)

"""What states and marks look like wherever they are shown: in tables, pictures, figures and live displays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from minestudio_nb.contracts.telemetry import Event

__all__ = ["MARKS", "TONES", "MarkKind", "MarkLook", "Tone", "ToneName", "mark_kind", "state_tone"]

ToneName = Literal["good", "done", "wait", "bad", "new", "still"]
MarkKind = Literal["edit", "checkpoint", "fault"]


@dataclass(frozen=True)
class Tone:
    """Colours for states of one kind."""

    text: str
    """On light and on dark ground."""
    ground: str
    """Behind white text."""


TONES: dict[ToneName, Tone] = {
    "good": Tone("#2e8b57", "#1f7a48"),
    "done": Tone("#3a6fb0", "#2862a8"),
    "wait": Tone("#b8860b", "#8a5a0b"),
    "bad": Tone("#c0392b", "#b3311f"),
    "new": Tone("#9b5fc0", "#7a45a0"),
    "still": Tone("#7a8794", "#5d6673"),
}

_STATES: dict[str, ToneName] = {
    "RUNNING": "good",
    "TRAINING": "good",
    "ROLLING": "done",
    "FINISHED": "done",
    "PAUSED": "wait",
    "STOPPING": "wait",
    "INTERRUPTED": "wait",
    "UNKNOWN": "wait",
    "FAILED": "bad",
    "UNREADABLE": "bad",
    "CONFIGURED": "new",
}


def state_tone(state: str) -> ToneName:
    """The tone of a state, of a run or of a session; "still" for those that have no colour of their own."""
    return _STATES.get(state, "still")


@dataclass(frozen=True)
class MarkLook:
    """How a mark is drawn beside a curve."""

    colour: str
    sign: str
    """A character."""
    marker: str
    """The same for matplotlib."""
    meaning: str


MARKS: dict[MarkKind, MarkLook] = {
    "edit": MarkLook("#9b5fc0", "▲", "^", "live edit"),
    "checkpoint": MarkLook("#3a9d5d", "◆", "D", "checkpoint"),
    "fault": MarkLook("#d64545", "✕", "X", "fault"),
}
"""The page's script, curves.js, has the same colours and signs."""

_RESTARTS = ("env_restart", "worker_restart", "trainer_restart")


def mark_kind(event: Event) -> MarkKind | None:
    """How an event is marked beside a curve, or None.

    Marked are edits that were applied, checkpoints that were asked for, errors, and restarts after a fault. Other
    warnings, refused edits among them, are only listed.
    """
    if event.kind == "edit" and event.severity == "info" and "revision" in event.data:
        return "edit"
    if event.kind == "checkpoint":
        return "checkpoint"
    return "fault" if event.severity == "error" or event.kind in _RESTARTS else None

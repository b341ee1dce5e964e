"""The control box: a user's edits, pauses and wishes on one side, the trainer's border on the other.

One reader (rank 0 of the trainer) and any number of writers; no Ray, no torch. The Ray runtime keeps one in its
supervisor actor, the inline runtime calls it directly.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from minestudio_nb.contracts.control import ControlOrder, Edit, EditStatus
from minestudio_nb.errors import SessionStateError

__all__ = ["Controls"]


class Controls:
    """Thread-safe implementation of :class:`minestudio_nb.contracts.protocols.ControlBox` and of its other side."""

    def __init__(
        self,
        edits: Sequence[Edit] = (),
        paused: bool = False,
        keep: Callable[[bool, Sequence[Edit]], None] = lambda paused, edits: None,
    ) -> None:
        """``edits`` and ``paused`` are from before; ``keep`` gets both whenever one of them changes."""
        self._changed = threading.Condition()
        self._changes = 0
        self._changes_read = 0
        self._edits: list[Edit] = list(edits)
        self._paused = paused
        self._keep = keep
        self._stop = False
        self._requests: list[Mapping[str, Any]] = []

    # What a user does.

    def edit(self, key: str, value: Any) -> Edit:
        """Requests ``key = value`` from the next border on. The value must have been checked against the schema."""
        with self._changed:
            if self._stop:
                raise SessionStateError(
                    f"an edit needs a trainer that goes on; it is stopping, so {key} = {value!r} would have no effect"
                )
            edit = Edit(revision=len(self._edits) + 1, key=key, value=value)
            self._edits.append(edit)
            self._touch()
            return edit

    def pause(self) -> None:
        """Asks for a pause at the next border."""
        self._set(paused=True)

    def resume(self) -> None:
        """Ends a pause."""
        self._set(paused=False)

    def stop(self) -> None:
        """Asks the trainer to end at the next border; ends a pause, cannot be taken back."""
        self._set(paused=False, stop=True)

    def request(self, kind: str, **arguments: Any) -> None:
        """A one-shot wish, handed out once with the next :meth:`read`."""
        with self._changed:
            self._requests.append({"kind": kind, **arguments})
            self._touch()

    def edits(self) -> tuple[Edit, ...]:
        """All edits so far, each with what became of it."""
        with self._changed:
            return tuple(self._edits)

    @property
    def paused(self) -> bool:
        """Whether a pause is asked for."""
        return self._paused

    @property
    def stopping(self) -> bool:
        """Whether a stop is asked for."""
        return self._stop

    # What the trainer does.

    def read(self, revision: int) -> ControlOrder:
        """The order in force, with the edits newer than ``revision``. Requests are handed out once."""
        with self._changed:
            return self._order(revision)

    def wait(self, revision: int, timeout: float) -> ControlOrder:
        """Like :meth:`read`, but first waits up to ``timeout`` seconds for a change since the last reading."""
        self.wait_for_change(timeout)
        return self.read(revision)

    def wait_for_change(self, timeout: float) -> bool:
        """Waits up to ``timeout`` seconds for a change since the last reading; whether there was one."""
        with self._changed:
            return self._changed.wait_for(lambda: self._changes != self._changes_read, timeout)

    def answer(self, revision: int, status: EditStatus, iteration: int, reason: str = "") -> None:
        """Records what became of the edit with this revision."""
        with self._changed:
            edit = self._edits[revision - 1]
            self._edits[revision - 1] = replace(edit, status=status, iteration=iteration, reason=reason)
            self._keep(self._paused, self._edits)

    def _order(self, revision: int) -> ControlOrder:
        self._changes_read = self._changes
        requests, self._requests = tuple(self._requests), []
        return ControlOrder(
            revision=len(self._edits),
            edits=tuple(edit for edit in self._edits if edit.revision > revision),
            paused=self._paused,
            stop=self._stop,
            requests=requests,
        )

    def _set(self, *, paused: bool, stop: bool = False) -> None:
        with self._changed:
            self._paused, self._stop = paused, self._stop or stop
            self._touch()

    def _touch(self) -> None:
        self._keep(self._paused, self._edits)
        self._changes += 1
        self._changed.notify_all()

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

__all__ = ["Controls", "Request"]

Request = Mapping[str, Any]
"""``number``, counted from 1, ``kind``, and the rest by name; see :class:`ControlOrder`."""


class Controls:
    """Thread-safe implementation of :class:`minestudio_nb.contracts.protocols.ControlBox` and of its other side."""

    def __init__(
        self,
        edits: Sequence[Edit] = (),
        paused: bool = False,
        requests: Sequence[Request] = (),
        keep: Callable[[bool, Sequence[Edit], Sequence[Request]], None] = lambda paused, edits, requests: None,
    ) -> None:
        """``edits``, ``paused`` and ``requests`` are from before; ``keep`` gets all whenever one of them changes."""
        self._changed = threading.Condition()
        self._changes = 0
        self._changes_read = 0
        self._edits: list[Edit] = list(edits)
        self._paused = paused
        self._keep = keep
        self._stop = False
        self._requests = {int(request["number"]): request for request in requests}
        self._requested = max(self._requests, default=0)

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
        """A wish, handed out with each :meth:`read` until a trainer says that it is :meth:`done`.

        So it is not lost with a trainer that dies after reading it, and may be carried out twice.
        """
        with self._changed:
            self._requested += 1
            self._requests[self._requested] = {"number": self._requested, "kind": kind, **arguments}
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
        """The order in force, with the edits newer than ``revision`` and the requests that are not done."""
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
            self._write_down()

    def done(self, number: int) -> None:
        """Forgets the request with this number, which was carried out; does nothing where that was said before."""
        with self._changed:
            if self._requests.pop(number, None) is not None:
                self._write_down()

    def _order(self, revision: int) -> ControlOrder:
        self._changes_read = self._changes
        return ControlOrder(
            revision=len(self._edits),
            edits=tuple(edit for edit in self._edits if edit.revision > revision),
            paused=self._paused,
            stop=self._stop,
            requests=tuple(self._requests.values()),
        )

    def _set(self, *, paused: bool, stop: bool = False) -> None:
        with self._changed:
            self._paused, self._stop = paused, self._stop or stop
            self._touch()

    def _write_down(self) -> None:
        self._keep(self._paused, self._edits, tuple(self._requests.values()))

    def _touch(self) -> None:
        self._write_down()
        self._changes += 1
        self._changed.notify_all()

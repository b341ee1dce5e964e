"""Signs of life of a loop that may hang while its process answers."""

from __future__ import annotations

import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Pulse", "Sign"]

STANDARD_LIBRARY = sysconfig.get_paths()["stdlib"]


@dataclass(frozen=True)
class Sign:
    """What a loop's process can say of it."""

    quiet: float | None
    """Seconds since it last got something done; None while it does not run."""
    where: str = ""
    """File, line and function that it is in, those of the standard library left out."""
    stack: str = ""
    """The same as a whole, outermost first."""


class Pulse:
    """When a loop last got something done. One thread runs the loop, any thread may ask. ::

    pulse.begin()
    pulse.beat()                    # something got done
    with pulse.waiting(): ...       # a wait with a deadline of its own, which does not count
    pulse.end()
    """

    def __init__(self) -> None:
        self._thread: int | None = None
        self._at = 0.0
        self._waits = 0

    def begin(self) -> None:
        """The loop begins, on the calling thread."""
        self._at, self._thread = time.monotonic(), threading.get_ident()

    def beat(self) -> None:
        """The loop has got something done."""
        self._at = time.monotonic()

    def end(self) -> None:
        """The loop is over."""
        self._thread = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time in here does not count; for threads other than the loop's it means nothing."""
        if threading.get_ident() != self._thread:
            yield
            return
        self._waits += 1
        try:
            yield
        finally:
            self.beat()  # first: who asks in between must not see an old one
            self._waits -= 1

    def sign(self) -> Sign:
        """How the loop is; for any thread."""
        thread = self._thread
        if thread is None:
            return Sign(None)
        quiet = 0.0 if self._waits else time.monotonic() - self._at
        frame = sys._current_frames().get(thread)
        if frame is None:
            return Sign(quiet)
        frames = traceback.extract_stack(frame)
        own = [entry for entry in frames if not _is_standard(entry.filename)] or list(frames)
        where = f"{Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name}"
        return Sign(quiet, where, "".join(frames.format()))


def _is_standard(filename: str) -> bool:
    return filename.startswith(STANDARD_LIBRARY) and "site-packages" not in filename

"""The phase that a runtime is in: for those who ask it, and in ``session.json`` for those who cannot."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import psutil

from minestudio_nb.runs import ENDED, RunDirectory, SessionRecord
from minestudio_nb.runtime.base import Phase, RuntimeSpec

__all__ = ["Phases"]

logger = logging.getLogger(__name__)


class Phases:
    """Phases follow one another, and one of :data:`~minestudio_nb.runs.ENDED` is the last. Any thread may call.

    Args:
        spec: of the session.
        runtime: which runtime this is.
        run: where ``session.json`` goes.
        paused: whether a pause is asked for; training shows as paused then.
        before: what ``session.json`` said, where this takes the place of a process of the same session that died.
    """

    def __init__(
        self,
        spec: RuntimeSpec,
        runtime: Literal["ray", "inline"],
        run: RunDirectory,
        paused: Callable[[], bool],
        before: SessionRecord | None = None,
    ) -> None:
        self._lock = threading.RLock()
        self._phase: Phase = "new" if before is None else "training" if before.phase == "paused" else before.phase
        self._paused = paused
        self._hide = spec.config.secrets().hide
        self._path = run.session
        now = time.time()
        self._record = SessionRecord(
            session=spec.session,
            runtime=runtime,
            phase="new",
            since=now,
            host=socket.gethostname(),
            pid=os.getpid(),
            create_time=psutil.Process().create_time(),
            address=spec.address,
            detached=spec.detached,
            started_at=now,
        )
        if before is not None:
            known = {"phase": before.phase, "since": before.since, "failure": before.failure, "closed": before.closed}
            self._record = replace(self._record, **known, started_at=before.started_at)
        self._write()

    @property
    def shown(self) -> Phase:
        """The phase, with a pause that is asked for."""
        with self._lock:
            return "paused" if self._phase == "training" and self._paused() else self._phase

    @property
    def since(self) -> float:
        """Unix seconds since when the phase holds."""
        return self._record.since

    @property
    def started_at(self) -> float:
        """Unix seconds of the beginning."""
        return self._record.started_at

    @property
    def failure(self) -> str:
        """Why it failed, or an empty text."""
        return self._record.failure

    def enter(self, phase: Phase, failure: str = "") -> bool:
        """Goes on to a phase; False, and nothing happens, where the last one is reached already."""
        with self._lock:
            if self._phase in ENDED:
                return False
            self._phase = phase
            self._record = replace(self._record, failure=self._hide(failure))
            self.look()
            return True

    def close(self) -> None:
        """The end of everything: the last phase is "stopped" unless another one was reached before."""
        with self._lock:
            self.enter("stopped")
            self._record = replace(self._record, closed=True)
            self._write()

    def look(self) -> None:
        """Writes the phase down if it is another one than last time: to be called after a pause or its end."""
        with self._lock:
            if (shown := self.shown) == self._record.phase:
                return
            self._record = replace(self._record, phase=shown, since=time.time())
            self._write()

    def _write(self) -> None:
        try:
            self._record.write(self._path)
        except OSError as error:  # a full disk ends no session
            logger.warning("%s cannot be written: %s", self._path, error)

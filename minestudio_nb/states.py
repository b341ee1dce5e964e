"""The states of a session, and what it says to a call in the wrong one."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Literal

from minestudio_nb.errors import SessionStateError

__all__ = ["RUNNING", "State", "States"]

State = Literal[
    "NEW", "CONFIGURED", "ROLLING", "TRAINING", "PAUSED", "FINISHED", "STOPPING", "STOPPED", "DETACHED", "FAILED"
]
RUNNING: tuple[State, ...] = ("ROLLING", "TRAINING", "PAUSED")
"""The states in which a runtime changes the state by itself."""

SILENT: tuple[State, ...] = ("NEW", "CONFIGURED", "STOPPING", "STOPPED", "DETACHED")
"""The states in which there is no runtime to ask, or none yet."""

PHASE_TO_STATE: Mapping[str, State] = {
    "rolling": "ROLLING",
    "training": "TRAINING",
    "paused": "PAUSED",
    "finished": "FINISHED",
    "failed": "FAILED",
    "stopped": "STOPPED",
}


class States:
    """The state that a session is in, since when (Unix seconds), and why it failed. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now: State = "NEW"
        self.since = time.time()
        self.failure = ""

    def set(self, state: State, since: float | None = None) -> None:
        """Enters a state, now or at ``since``; the time stays where the state holds already."""
        with self._lock:
            if state != self.now:
                self.now, self.since = state, time.time() if since is None else since

    def fail(self, cause: str, since: float | None = None) -> None:
        """Enters FAILED."""
        self.failure = cause
        self.set("FAILED", since)

    def follow(self, phase: str, cause: str, since: float | None = None) -> None:
        """Goes along with a runtime's phase; ``cause`` is that of a failure."""
        if phase == "failed":
            self.fail(cause or "the trainer failed; see events()", since)
        elif phase in PHASE_TO_STATE:
            self.set(PHASE_TO_STATE[phase], since)

    def require(self, call: str, *allowed: State) -> None:
        """Raises SessionStateError unless the state is one of ``allowed``, with what to call first."""
        if self.now in allowed:
            return
        rule = f"{call}() is legal in state {' or '.join(allowed)}"
        came = f"the session is {self.now} since {time.time() - self.since:.0f} s ago"
        raise SessionStateError(f"{rule}; {came}. {self._what_first(call)}")

    def _what_first(self, call: str) -> str:
        if self.now == "FAILED":
            return f"It failed: {self.failure or 'see events()'}. Call stop(), then load_config() to start over."
        if self.now == "FINISHED":
            return "Training is over: evaluate(), report() and stop() are left."
        if self.now in ("STOPPING", "STOPPED"):
            return "Call load_config(..., resume=...) to go on from its checkpoint."
        if self.now == "DETACHED":
            return "It was left running: OnlineSession.attach(name) finds it again."
        following = {"NEW": "load_config()", "CONFIGURED": "start_rollout()", "ROLLING": "start_trainer()"}
        if self.now in following and call != following[self.now][:-2]:
            return f"Call {following[self.now]} first."
        return "It has been called already."

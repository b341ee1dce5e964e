"""The supervisor's side of the replay buffer: what it must be told after it was started again, and when to give up."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import ray

from minestudio_nb.contracts.protocols import TelemetrySink
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.errors import TrainingError
from minestudio_nb.rollout.replay_buffer import Schedule
from minestudio_nb.runtime.base import RuntimeSpec
from minestudio_nb.runtime.buffer_actor import ReplayBufferActor
from minestudio_nb.runtime.calls import Restarting, call, call_again, patience
from minestudio_nb.runtime.heartbeats import Watched
from minestudio_nb.runtime.names import NAMESPACE, ON_THE_HEAD, actor_name

__all__ = ["BufferService"]

NUMBERS_PER_LIFE = 1 << 32
"""Numbers of fragments that each life of the buffer may give, so that no number is given twice."""
CALLS, CALLS_PER_WORKER = 100, 4
"""Calls that the replay buffer may have at the same time: a worker waits for credit with one, and has fragments on the
way with others. Were there fewer, those that wait would keep out the fragments that they wait for."""
WHAT = "the replay buffer"
HEAL = 45.0
"""How long the trainer, whose own call waits for it, may wait until one that died takes new weights' version."""


class BufferService:
    """Starts the buffer's actor, which Ray starts again when it dies, and then tells it what it must know.

    What it held is gone then: workers collect it anew. Any thread may call. ``on_failure`` is called with a text when
    it died too often.
    """

    def __init__(
        self,
        spec: RuntimeSpec,
        schedule: Schedule,
        supervisor: Any,
        first_life: int,
        telemetry: TelemetrySink,
        on_failure: Callable[[str], None],
        suffix: str = "",
    ) -> None:
        self._limits = spec.config.config.restarts
        self._patience = patience(spec.config.config.timeouts.heartbeat)
        self._telemetry = telemetry
        self._on_failure = on_failure
        self._version: int | None = None
        self._lives: dict[int, int] = {}
        self._settings: dict[str, int] = {}
        self._closed: str | None = None
        self._cause = self._ordered = ""
        """Why it died the last time, and why it is being killed now."""
        self._pid: int | None = None
        self._node = ""
        self._deaths: deque[float] = deque()
        self.restarts = 0
        """How often it was started again."""
        self.actor = (
            ray.remote(ReplayBufferActor)
            .options(
                name=actor_name(spec.session, f"replay_buffer{suffix}"),
                namespace=NAMESPACE,
                num_cpus=0,
                resources=ON_THE_HEAD,
                max_restarts=self._limits.process_lifetime,
                max_concurrency=CALLS + CALLS_PER_WORKER * spec.config.config.rollout_config.num_rollout_workers,
            )
            .remote(spec.config.config, schedule, supervisor, first_life)
        )

    # What it knows. Each is kept here first, so that one that dies meanwhile is told afterwards.

    def published(self, version: int, collect: bool) -> None:
        """See :meth:`ReplayBufferActor.published`."""
        self._version = version
        call_again(lambda: self.actor.published.remote(version, collect), self._patience, WHAT, HEAL)

    def configure(self, name: str, value: int) -> None:
        """See :meth:`ReplayBufferActor.configure`."""
        self._settings[name] = value
        with contextlib.suppress(Restarting):  # it is told when it has come back
            call_again(lambda: self.actor.configure.remote(name, value), self._patience, WHAT, HEAL)

    def forget_worker(self, worker: int, life: int) -> int:
        """See :meth:`ReplayBufferActor.forget_worker`."""
        self._lives[worker] = life
        dropped: int = call_again(lambda: self.actor.forget_worker.remote(worker, life), self._patience, WHAT)
        return dropped  # 0 where the buffer has been started again: what was begun is gone with it

    def close(self, reason: str) -> Any:
        """See :meth:`ReplayBufferActor.close`; does not wait. Returns the call's reference."""
        self._closed = reason
        return self.actor.close.remote(reason)

    # Its life.

    def watched(self) -> Watched:
        """The actor, for :class:`Heartbeats`."""
        return Watched(self.actor, lambda actor: actor.beat.remote())

    def answered(self, answer: tuple[int, str, bool]) -> None:
        """Takes a sign of life in. One that was started again must be told what it needs to know."""
        self._pid, self._node, knows = answer
        if knows:
            return
        self.restarts += 1
        now = time.monotonic()
        self._deaths.append(now)
        while now - self._deaths[0] > self._limits.window:
            self._deaths.popleft()
        cause = self._cause = self._ordered or "its process is gone"
        self._ordered = ""
        if len(self._deaths) > self._limits.process_per_window:
            within = f"{len(self._deaths)} times within {self._limits.window:g} s (restarts.process_per_window)"
            self._on_failure(f"the replay buffer died {within}, the last time: {cause}")
            return
        first_id = self.restarts * NUMBERS_PER_LIFE
        try:
            known = (self._lives.copy(), self._settings.copy())  # other threads change them
            restore = self.actor.restore.remote(self._version, *known, first_id, self._closed)
            call(restore, what=WHAT)
        except TrainingError:
            return  # it died or stopped once more, which its next sign of life shows
        text = f"The replay buffer died ({cause}) and was started again. What was in it is collected anew."
        self._telemetry.event(Event("buffer_restart", text, "warning", "buffer"))

    def process(self) -> dict[str, Any]:
        """Its ``role, state, pid, node, restarts, cause``."""
        row = {"role": "replay buffer", "state": "alive" if self._pid else "starting", "pid": self._pid}
        return {**row, "node": self._node, "restarts": self.restarts, "cause": self._cause}

    def kill(self, cause: str) -> None:
        """Kills one that does not answer; it comes back."""
        self._ordered = cause
        ray.kill(self.actor, no_restart=False)

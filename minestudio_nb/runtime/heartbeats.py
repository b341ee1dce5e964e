"""Heartbeats: the one place where a process that has stopped, and does not end, is found.

The supervisor asks every process of its session for a sign of life, every few seconds, and counts for how long each has
not answered. On a loaded machine answers are late but come, so that the limit (``timeouts.heartbeat``) is far above
what an answer takes; and only time counts in which the supervisor itself was running.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

__all__ = ["BEAT_SECONDS", "Heartbeats", "Watched"]

logger = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
"""How often each process is asked, or a quarter of the limit where that is shorter."""


@dataclass(frozen=True)
class Watched:
    """A process to be watched."""

    actor: Any
    ask: Callable[[Any], Any]
    """From the actor to the reference of a call that it should answer at once."""
    is_up: bool = False
    """Whether it is known that it has started."""


@dataclass
class _Asked:
    actor: Any
    answer: Any
    """The call that was not answered yet."""
    silent: float = 0.0
    """Seconds since it was asked, or since a failed beat before this one was."""


class Heartbeats:
    """Not thread-safe: one thread calls :meth:`look`, every :attr:`interval` seconds. :meth:`silence` is for any.

    Args:
        limit: seconds of silence that are too many.
        start_limit: the same for a process that is not known to be up: it may still be starting, or wait for room.
    """

    def __init__(self, limit: float, start_limit: float) -> None:
        self.interval = min(BEAT_SECONDS, limit / 4)
        self._limit, self._start_limit = limit, start_limit
        self._asked: dict[str, _Asked] = {}
        self._heard: dict[str, Any] = {}
        """The actors that have answered, by name."""
        self._looked_at = time.monotonic()

    def look(
        self,
        processes: Mapping[str, Watched],
        answered: Callable[[str, Any], None],
        silent: Callable[[str, float], None],
    ) -> None:
        """Takes in what was answered, asks anew, and finds the silent.

        Args:
            processes: all that are to be watched, by name.
            answered: called with a name and what was answered.
            silent: called with a name and for how long it has been silent, which is too long.
        """
        now = time.monotonic()
        elapsed = min(now - self._looked_at, 2 * self.interval)  # a supervisor that was held up blames nobody
        self._looked_at = now
        self._asked = {name: asked for name, asked in self._asked.items() if _same(processes.get(name), asked.actor)}
        waiting = {asked.answer: name for name, asked in self._asked.items()}
        done = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)[0] if waiting else []
        for reference in done:
            name = waiting[reference]
            asked = self._asked.pop(name)
            actor = asked.actor
            try:
                answer = ray.get(reference, timeout=self._limit)
            except RayTaskError as error:  # it lives, but its beat failed: that is no sign of life
                logger.warning("The beat of the %s failed: %s", name, error.cause)
                self._asked[name] = _Asked(actor, processes[name].ask(actor), asked.silent)
                continue
            except RayError:
                continue  # it died, which others see; it is asked again where it comes back
            self._heard[name] = actor
            answered(name, answer)
        for name, asked in list(self._asked.items()):
            asked.silent += elapsed
            is_up = processes[name].is_up or self._heard.get(name) is asked.actor
            limit = self._limit if is_up else self._start_limit
            if asked.silent > limit:
                del self._asked[name]
                silent(name, asked.silent)
        for name, process in processes.items():
            if name not in self._asked:
                self._asked[name] = _Asked(process.actor, process.ask(process.actor))

    def silence(self) -> dict[str, int]:
        """Seconds since each process was asked that has not answered in time; the others are left out."""
        late = {name: asked.silent for name, asked in dict(self._asked).items()}
        return {name: int(seconds) for name, seconds in late.items() if seconds > 2 * self.interval}


def _same(process: Watched | None, actor: Any) -> bool:
    return process is not None and process.actor is actor

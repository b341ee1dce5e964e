"""Calling actors: every call has a deadline, and an error raised on the other side arrives as itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError, RayTaskError

from minestudio_nb.contracts.pulse import Pulse
from minestudio_nb.errors import MineStudioError, TrainingError

__all__ = [
    "AGAIN_SECONDS",
    "HEAL_SECONDS",
    "LOOP",
    "PUBLISH_SECONDS",
    "QUICK",
    "Restarting",
    "call",
    "call_again",
    "patience",
]

QUICK = 60.0
"""Seconds within which an actor answers a question that needs no waiting, even on a loaded machine."""

PUBLISH_SECONDS = 30.0
"""How long new weights wait for a worker to take them before training goes on without it."""

LOOP = Pulse()
"""The training loop of this process, where there is one. For calls it need not account: they have deadlines."""

HEAL_SECONDS = 300.0
"""How long callers wait for a service that died and is being started again; 5 s are usual."""
AGAIN_SECONDS = 0.5
"""How soon a caller asks again."""


def patience(heartbeat: float) -> float:
    """Seconds to wait for a service that is killed, and started again, after ``heartbeat`` seconds without an answer.

    Whoever gave up before that would make a fault that heals end the session.
    """
    return heartbeat + QUICK


class Restarting(TrainingError):
    """A service has died and is being started again; whether it did what it was asked for is unknown."""


def call(reference: Any, timeout: float = QUICK, what: str = "the session") -> Any:
    """The result of an actor call.

    Raises what the actor raised where that is an error of this package; :class:`Restarting` when it died and comes
    back; TrainingError when it died for good or did not answer within ``timeout`` seconds. ``what`` names it in
    messages.
    """
    try:
        with LOOP.waiting():
            return ray.get(reference, timeout=timeout)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, MineStudioError):
            raise cause from None
        raise
    except GetTimeoutError:
        raise TrainingError(
            f"{what} did not answer within {timeout:.0f} s: its process hangs or the machine is overloaded. "
            "Stop the session and resume from its last checkpoint with load_config(..., resume=)."
        ) from None
    except ActorUnavailableError as error:
        raise Restarting(f"{what} is being started again: {error}") from error
    except RayActorError as error:
        raise TrainingError(
            f"the process of {what} is gone: {error}. Resume from the last checkpoint with load_config(..., resume=)."
        ) from error


def call_again(
    ask: Callable[[], Any], timeout: float = QUICK, what: str = "the session", heal: float = HEAL_SECONDS
) -> Any:
    """Like :func:`call` of what ``ask()`` returns, and asks again while the actor is being started again.

    For calls that do no harm when they come twice. Raises :class:`Restarting` after ``heal`` seconds.
    """
    deadline = time.monotonic() + heal
    while True:
        try:
            return call(ask(), timeout, what)
        except Restarting:
            if time.monotonic() > deadline:
                raise
            threading.Event().wait(AGAIN_SECONDS)

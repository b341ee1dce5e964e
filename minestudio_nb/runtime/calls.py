"""Calling actors: every call has a deadline, and an error raised on the other side arrives as itself."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from minestudio_nb.errors import MineStudioError, TrainingError

__all__ = ["PUBLISH_SECONDS", "QUICK", "call"]

QUICK = 60.0
"""Seconds within which an actor answers a question that needs no waiting, even on a loaded machine."""

PUBLISH_SECONDS = 30.0
"""How long new weights wait for a worker to take them before training goes on without it."""


def call(reference: Any, timeout: float = QUICK, what: str = "the session") -> Any:
    """The result of an actor call.

    Raises what the actor raised where that is an error of this package; TrainingError when it died or did not answer
    within ``timeout`` seconds. ``what`` names it in messages.
    """
    try:
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
    except RayActorError as error:
        raise TrainingError(
            f"the process of {what} is gone: {error}. Resume from the last checkpoint with load_config(..., resume=)."
        ) from error

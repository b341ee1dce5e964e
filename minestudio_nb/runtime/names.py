"""Names of actors in a Ray cluster: ``<session>/<role>`` in one namespace. Actors are looked up nowhere else."""

from __future__ import annotations

from typing import Any

import ray
from ray.util import list_named_actors

from minestudio_nb.errors import SessionStateError

__all__ = [
    "HEAD_RESOURCE",
    "NAMESPACE",
    "ON_THE_HEAD",
    "SUPERVISOR",
    "actor_name",
    "find_actor",
    "running_sessions",
    "the_session",
]

NAMESPACE = "online"
"""Ray namespace of all actors of this package (MineStudio's name for it)."""
SUPERVISOR = "supervisor"
"""Role of the actor that stands for a whole session."""
HEAD_RESOURCE = "node:__internal_head__"
"""A resource that Ray gives to the head's node, and to no other."""
ON_THE_HEAD = {HEAD_RESOURCE: 0.001}
"""What supervisor and replay buffer ask for: with the head's node the cluster ends anyway, and with no other one."""


def actor_name(session: str, role: str) -> str:
    """The full name of an actor, for example ``"demo/supervisor"``."""
    return f"{session}/{role}"


def find_actor(session: str, role: str) -> Any:
    """The handle of a living actor; SessionStateError when there is none of that name in the connected cluster."""
    try:
        return ray.get_actor(actor_name(session, role), namespace=NAMESPACE)
    except ValueError:
        running = running_sessions()
        known = ", ".join(running) if running else "none"
        raise SessionStateError(
            f"no {role} of a session named {session!r} runs in this Ray cluster (sessions that do: {known}). "
            "Start one, or connect to the cluster that holds it."
        ) from None


def running_sessions() -> list[str]:
    """Names of the sessions whose supervisor lives in the connected cluster, sorted."""
    if not ray.is_initialized():
        raise SessionStateError(
            "This process is not connected to a Ray cluster, so no session can be looked up by its name. Start one, or "
            "use OnlineSession.attach(name), which connects to the cluster that the run directory records."
        )
    suffix = "/" + SUPERVISOR
    named = [entry["name"] for entry in list_named_actors(all_namespaces=True) if entry["namespace"] == NAMESPACE]
    return sorted(name.removesuffix(suffix) for name in named if name.endswith(suffix))


def the_session(session: str | None) -> str:
    """``session`` itself, or the only one that runs where it is None; SessionStateError when that is not one."""
    if session is not None:
        return session
    running = running_sessions()
    if len(running) != 1:
        listed = ", ".join(running) if running else "none"
        raise SessionStateError(
            f"session=None needs exactly one running session, {len(running)} run here ({listed}). Give session=."
        )
    return running[0]

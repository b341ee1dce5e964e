"""How a session runs: in this process (:mod:`.inline`) or on a Ray cluster (:mod:`.ray_runtime`).

Importing this package does not import Ray; making a Ray runtime does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minestudio_nb.errors import ResourceError, SessionStateError
from minestudio_nb.runtime.base import Runtime, RuntimeSpec

if TYPE_CHECKING:
    from minestudio_nb.config.placement import NodeView
    from minestudio_nb.runtime.listing import FoundSession

__all__ = ["attach_runtime", "found_sessions", "make_runtime", "nodes_at"]


def make_runtime(name: str, spec: RuntimeSpec) -> Runtime:
    """The runtime ``"inline"`` or ``"ray"``; nothing is started yet."""
    if name == "inline":
        from minestudio_nb.runtime.inline import InlineRuntime

        return InlineRuntime(spec)
    from minestudio_nb.runtime.ray_runtime import RayRuntime

    return RayRuntime(spec)


def attach_runtime(session: str, run_root: Path, address: str | None) -> Runtime:
    """The runtime of a session that another process started. Raises RunError when nothing of it is alive."""
    from minestudio_nb.runtime.ray_runtime import attach

    return attach(session, run_root, address)


def found_sessions(run_root: Path) -> Sequence[FoundSession]:
    """Sessions below ``run_root`` that run or were cut off; needs no connection to any of them."""
    from minestudio_nb.runtime.listing import find_sessions

    return find_sessions(run_root)


def nodes_at(address: str) -> Sequence[NodeView] | str:
    """The nodes of the cluster at ``address``, for a plan; or one sentence that says why they are not known."""
    from minestudio_nb.runtime.survey import look_at

    try:
        return look_at(address).nodes
    except (ResourceError, SessionStateError) as error:
        return str(error)

"""What a session asks of a Ray cluster, compared with what is there before any actor is made.

Ray lets an actor that fits nowhere wait for ever; here it is an error with the arithmetic and the fix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from minestudio_nb.config.placement import Ask, NodeView, asks, place, total
from minestudio_nb.errors import ResourceError

__all__ = ["asks", "object_store_bytes", "require_resources", "total"]

MINIMUM_OBJECT_STORE = 256 * 2**20
"""Bytes; room for weights and fragments in flight of small tasks."""


def require_resources(wanted: Sequence[Ask], nodes: Sequence[NodeView]) -> None:
    """Raises ResourceError where the living ``nodes`` of a cluster, or those with the right labels, have too little.

    Counts what nodes have in all: what others use at the moment, they may give back.
    """
    problems = []
    for name, amount in total(wanted).items():
        there = math.fsum(node.resources.get(name, 0.0) for node in nodes)
        if amount > there + 1e-9:
            sums = " + ".join(f"{a.count} x {a.each[name]:g} for {a.what}s" for a in wanted if a.each.get(name))
            problems.append(f"{name}: {sums} = {amount:g} asked for, {there:g} there")
    problems += [placement.missing for placement in place(wanted, nodes) if placement.missing]
    if problems:
        labels = {key for ask in wanted if ask.labels for key in (f"{ask.setting.partition('.')[0]}.node_labels",)}
        raise ResourceError(
            "The Ray cluster has less than the configuration asks for, so its processes would wait for ever. "
            + "; ".join(problems)
            + ". Choose scale=laptop (no GPU), lower or change "
            + ", ".join(sorted({ask.setting for ask in wanted} | labels))
            + " or the numbers of workers, or pass the address of a larger cluster."
        )


def object_store_bytes(buffer_bytes: int, memory_bytes: int, shared_memory_bytes: int) -> int:
    """Size of the object store of a session's own cluster: the replay buffer, a third more for what is in flight.

    Not above half of the memory, nor above nine tenths of the free shared memory that holds it; Ray writes to disk
    what does not fit.
    """
    wanted = max(MINIMUM_OBJECT_STORE, math.ceil(buffer_bytes * 4 / 3) + MINIMUM_OBJECT_STORE // 2)
    return min(wanted, memory_bytes // 2, max(shared_memory_bytes * 9 // 10, 80 * 2**20))

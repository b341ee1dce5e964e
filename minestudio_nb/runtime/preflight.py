"""What a session asks of a Ray cluster, compared with what is there before any actor is made.

Ray lets an actor that fits nowhere wait for ever; here it is an error with the arithmetic and the fix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.errors import ResourceError

__all__ = ["Ask", "asks", "object_store_bytes", "require_resources", "total"]

MINIMUM_OBJECT_STORE = 256 * 2**20
"""Bytes; room for weights and fragments in flight of small tasks."""


@dataclass(frozen=True)
class Ask:
    """``count`` processes of one kind, each with these resources by Ray's names (``CPU``, ``GPU``, ...)."""

    what: str
    count: int
    each: Mapping[str, float]
    setting: str
    """The setting that asks for them."""

    def __str__(self) -> str:
        amounts = ", ".join(f"{amount:g} {name}" for name, amount in self.each.items() if amount) or "nothing"
        return f"{self.count} x {self.what} with {amounts} ({self.setting})"


def asks(config: OnlineConfig) -> list[Ask]:
    """What the parts of a session ask for. Supervisor and replay buffer mostly wait, so they ask for nothing."""
    rollout, train = config.rollout_config, config.train_config
    worker = {"CPU": rollout.num_cpus_per_worker, "GPU": rollout.num_gpus_per_worker}
    return [
        Ask("rollout worker", rollout.num_rollout_workers, worker, "rollout_config.num_gpus_per_worker"),
        Ask("trainer", train.num_workers, trainer_resources(config), "train_config.num_gpus_per_worker"),
    ]


def trainer_resources(config: OnlineConfig) -> dict[str, float]:
    """Resources of one training process, as Ray Train wants them: one CPU per thread unless ``scaling_config`` says."""
    train = config.train_config
    resources: dict[str, float] = {"CPU": float(train.num_threads)}
    if train.num_gpus_per_worker:
        resources["GPU"] = train.num_gpus_per_worker
    return {**resources, **train.scaling_config.resources_per_worker}


def total(wanted: Sequence[Ask]) -> dict[str, float]:
    """All resources together, by name."""
    sums: dict[str, float] = {}
    for ask in wanted:
        for name, amount in ask.each.items():
            sums[name] = sums.get(name, 0.0) + ask.count * amount
    return sums


def require_resources(
    wanted: Sequence[Ask], cluster: Mapping[str, float], nodes: Sequence[Mapping[str, float]]
) -> None:
    """Raises ResourceError where the cluster, or its best node for a single process, has too little.

    Args:
        wanted: from :func:`asks`.
        cluster: what all nodes have together (``ray.cluster_resources()``).
        nodes: what each living node has.
    """
    problems = []
    for name, amount in total(wanted).items():
        there = cluster.get(name, 0.0)
        if amount > there + 1e-9:
            sums = " + ".join(f"{a.count} x {a.each[name]:g} for {a.what}s" for a in wanted if a.each.get(name))
            problems.append(f"{name}: {sums} = {amount:g} asked for, {there:g} there")
    for ask in wanted:
        if not any(all(node.get(name, 0.0) + 1e-9 >= need for name, need in ask.each.items()) for node in nodes):
            problems.append(f"no single node has room for one {ask.what} ({ask})")
    if problems:
        raise ResourceError(
            "The Ray cluster has less than the configuration asks for, so its processes would wait for ever. "
            + "; ".join(problems)
            + ". Choose scale=laptop (no GPU), lower "
            + ", ".join(sorted({ask.setting for ask in wanted}))
            + " or the numbers of workers, or pass the address of a larger cluster."
        )


def object_store_bytes(buffer_bytes: int, memory_bytes: int, shared_memory_bytes: int) -> int:
    """Size of the object store of a session's own cluster: the replay buffer, a third more for what is in flight.

    Not above half of the memory, nor above nine tenths of the free shared memory that holds it; Ray writes to disk
    what does not fit.
    """
    wanted = max(MINIMUM_OBJECT_STORE, math.ceil(buffer_bytes * 4 / 3) + MINIMUM_OBJECT_STORE // 2)
    return min(wanted, memory_bytes // 2, max(shared_memory_bytes * 9 // 10, 80 * 2**20))

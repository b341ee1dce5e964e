"""Which processes of a session may run on which nodes of a cluster, and what is missing where. Plain data, no Ray."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minestudio_nb.config.schema import OnlineConfig

__all__ = ["Ask", "NodeView", "Placement", "asks", "matches", "place", "total", "trainer_resources"]

_SMALL = 1e-6
"""Resources are sums of decimal fractions."""


@dataclass(frozen=True)
class NodeView:
    """A node of a cluster: what it has in all, by Ray's names (``CPU``, ``GPU``, ...), and its labels."""

    name: str
    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)
    is_head: bool = False
    node_id: str = ""

    def __str__(self) -> str:
        labels = ", ".join(f"{name}={value}" for name, value in sorted(self.labels.items()))
        head = " (head)" if self.is_head else ""
        return f"{self.name}{head}: {_amounts(self.resources)}" + (f"; {labels}" if labels else "")


@dataclass(frozen=True)
class Ask:
    """``count`` processes of one kind, each with these resources by Ray's names (``CPU``, ``GPU``, ...)."""

    what: str
    count: int
    each: Mapping[str, float]
    setting: str
    """The setting that asks for them."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What a node must be labelled with, see :func:`matches`."""

    def __str__(self) -> str:
        return f"{self.count} x {self.what} with {_amounts(self.each)} ({self.setting})"

    def fits(self, node: NodeView) -> bool:
        """Whether an otherwise empty node takes one of these processes."""
        return self.allowed(node) and all(node.resources.get(n, 0.0) + _SMALL >= need for n, need in self.each.items())

    def allowed(self, node: NodeView) -> bool:
        """Whether the node's labels are as asked for."""
        return all(matches(node.labels.get(name), wanted) for name, wanted in self.labels.items())


@dataclass(frozen=True)
class Placement:
    """Where one :class:`Ask` goes, when every process takes the first node with room."""

    ask: Ask
    candidates: tuple[str, ...]
    """Nodes that can take at least one, in order."""
    placed: Mapping[str, int]
    """How many on which node; fewer than ``ask.count`` together where there is no room for all."""
    missing: str = ""
    """What is lacking, and on which nodes; empty where all have room."""


def asks(config: OnlineConfig) -> list[Ask]:
    """What the parts of a session ask for. Supervisor and replay buffer mostly wait, so they ask for nothing."""
    rollout, train = config.rollout_config, config.train_config
    worker = {"CPU": rollout.num_cpus_per_worker, "GPU": rollout.num_gpus_per_worker, **rollout.resources_per_worker}
    return [
        Ask(
            "rollout worker",
            rollout.num_rollout_workers,
            worker,
            "rollout_config.num_gpus_per_worker",
            {name: str(value) for name, value in rollout.node_labels.items()},
        ),
        Ask(
            "trainer",
            train.num_workers,
            trainer_resources(config),
            "train_config.num_gpus_per_worker",
            {name: str(value) for name, value in train.node_labels.items()},
        ),
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


def matches(label: str | None, wanted: str) -> bool:
    """Whether a node's label (None: it has none) is as Ray's label selectors want it: ``a``, ``!a``, ``in(a, b)``,
    ``!in(a, b)``."""
    text = wanted.strip()
    negative, text = text.startswith("!"), text.removeprefix("!")
    if text.startswith("in(") and text.endswith(")"):
        values = [value.strip() for value in text[3:-1].split(",")]
    else:
        values = [text]
    return (label in values) != negative


def place(wanted: Sequence[Ask], nodes: Sequence[NodeView]) -> list[Placement]:
    """Puts every process on the first node with room, those that few nodes can take first; in the order of ``wanted``.

    An estimate: it counts what nodes have in all, not what others use at the moment, and Ray spreads processes by rules
    of its own. What finds no room here finds none there.
    """
    free = {index: dict(node.resources) for index, node in enumerate(nodes)}
    placements: dict[int, Placement] = {}
    order = sorted(range(len(wanted)), key=lambda i: (sum(wanted[i].fits(node) for node in nodes), i))
    for position in order:
        ask = wanted[position]
        fitting = [index for index, node in enumerate(nodes) if ask.fits(node)]
        # As Ray does: what needs no GPU leaves nodes with GPUs to others while there is room elsewhere.
        fitting.sort(key=lambda index: (not ask.each.get("GPU") and nodes[index].resources.get("GPU", 0.0) > 0, index))
        placed: dict[str, int] = {}
        for _ in range(ask.count):
            target = next((index for index in fitting if _room(free[index], ask)), None)
            if target is None:
                break
            for name, need in ask.each.items():
                free[target][name] = free[target].get(name, 0.0) - need
            placed[nodes[target].name] = placed.get(nodes[target].name, 0) + 1
        missing = "" if sum(placed.values()) == ask.count else _missing(ask, sum(placed.values()), nodes, fitting)
        placements[position] = Placement(ask, tuple(nodes[index].name for index in fitting), placed, missing)
    return [placements[position] for position in range(len(wanted))]


def _room(free: Mapping[str, float], ask: Ask) -> bool:
    return all(free.get(name, 0.0) + _SMALL >= need for name, need in ask.each.items())


def _missing(ask: Ask, placed: int, nodes: Sequence[NodeView], fitting: Sequence[int]) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in ask.labels.items())
    of_that_kind = f"nodes with {labels}" if labels else "nodes"
    allowed = [node for node in nodes if ask.allowed(node)]
    if not allowed:
        there = sorted({f"{name}={value}" for node in nodes for name, value in node.labels.items()})
        return f"no node is labelled {labels} (labels there: {', '.join(there) or 'none'})"
    if not fitting:
        best = ", ".join(f"{node.name} with {_amounts(node.resources)}" for node in allowed[:4])
        return f"no single node has room for one {ask.what} ({ask}); {of_that_kind}: {best}"
    short = [
        f"{name}: {ask.count} x {need:g} = {ask.count * need:g} asked for, "
        f"{math.fsum(node.resources.get(name, 0.0) for node in allowed):g} on the {of_that_kind}"
        for name, need in ask.each.items()
        if need and ask.count * need > math.fsum(node.resources.get(name, 0.0) for node in allowed) + _SMALL
    ]
    why = "; ".join(short) or f"the {of_that_kind} have no room for more, beside what else is asked for"
    return f"{ask.count - placed} of {ask.count} {ask.what}s find no room: {why}"


def _amounts(resources: Mapping[str, float]) -> str:
    shown = [f"{amount:g} {name}" for name, amount in resources.items() if amount and not _internal(name)]
    return ", ".join(shown) or "nothing"


def _internal(name: str) -> bool:
    """Whether Ray keeps this resource for its own purposes."""
    return name in ("memory", "object_store_memory") or name.startswith(("node:", "accelerator_type:"))

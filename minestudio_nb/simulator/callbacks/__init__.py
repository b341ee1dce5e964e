"""Callbacks: small objects that set up, change and judge a simulation. Names and arguments are MineStudio's."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.callbacks.actions import (
    CommandsCallback,
    FastResetCallback,
    MaskActionsCallback,
    SummonMobsCallback,
)
from minestudio_nb.simulator.callbacks.base import MinecraftCallback
from minestudio_nb.simulator.callbacks.outcome import (
    GateRewardsCallback,
    JudgeResetCallback,
    RewardsCallback,
    VoxelsCallback,
)

REGISTRY: Final[dict[str, type[MinecraftCallback]]] = {
    cls.__name__: cls
    for cls in (
        CommandsCallback,
        FastResetCallback,
        GateRewardsCallback,
        JudgeResetCallback,
        MaskActionsCallback,
        RewardsCallback,
        SummonMobsCallback,
        VoxelsCallback,
    )
}
"""Callbacks that a configuration can name."""


def from_spec(spec: Mapping[str, Any]) -> MinecraftCallback:
    """Make a callback from ``{"name": "JudgeReset" or "JudgeResetCallback", "args": {...}}``.

    Raises:
        SimulatorError: unknown name, unknown key of the spec, or arguments that the callback does not take.
    """
    unknown = set(spec) - {"name", "args"}
    if unknown or "name" not in spec:
        raise SimulatorError(f"A callback's spec has the keys name and args; got {dict(spec)}.")
    name = str(spec["name"])
    cls = REGISTRY.get(name) or REGISTRY.get(name + "Callback")
    if cls is None:
        near = difflib.get_close_matches(name, REGISTRY, n=1, cutoff=0.0)[0]
        raise SimulatorError(f"VoxelSim has no callback {name!r}; the nearest is {near}. Known: {', '.join(REGISTRY)}.")
    try:
        return cls(**(spec.get("args") or {}))
    except TypeError as error:
        raise SimulatorError(f"{cls.__name__} does not take these arguments: {error}.") from error


__all__ = ["REGISTRY", "MinecraftCallback", "from_spec", *sorted(REGISTRY)]

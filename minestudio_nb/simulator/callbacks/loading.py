"""Callbacks from names in a configuration, and from task files."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.callbacks.actions import CommandsCallback, MaskActionsCallback, SummonMobsCallback
from minestudio_nb.simulator.callbacks.base import MinecraftCallback
from minestudio_nb.simulator.callbacks.compose import Compose
from minestudio_nb.simulator.callbacks.elsewhere import REAL_GAME_ONLY
from minestudio_nb.simulator.callbacks.observing import PrevActionCallback, SpeedTestCallback, TaskCallback
from minestudio_nb.simulator.callbacks.outcome import (
    GateRewardsCallback,
    JudgeResetCallback,
    RewardsCallback,
    VoxelsCallback,
)
from minestudio_nb.simulator.callbacks.portal import PortalFrameCallback
from minestudio_nb.simulator.callbacks.record import RecordCallback
from minestudio_nb.simulator.callbacks.resets import FastResetCallback, HardResetCallback, InitInventoryCallback

_log = logging.getLogger(__name__)

REGISTRY: Final[dict[str, type[MinecraftCallback]]] = {
    cls.__name__: cls
    for cls in (
        CommandsCallback,
        Compose,
        FastResetCallback,
        GateRewardsCallback,
        HardResetCallback,
        InitInventoryCallback,
        JudgeResetCallback,
        MaskActionsCallback,
        PortalFrameCallback,
        PrevActionCallback,
        RecordCallback,
        RewardsCallback,
        SpeedTestCallback,
        SummonMobsCallback,
        TaskCallback,
        VoxelsCallback,
        *REAL_GAME_ONLY,
    )
}
"""Callbacks that a configuration can name."""

FROM_FILES: Final[tuple[tuple[type[MinecraftCallback], tuple[str, ...]], ...]] = (
    (HardResetCallback, ("spawn_positions",)),
    (SummonMobsCallback, ("summon_mobs",)),
    (MaskActionsCallback, ("mask_actions",)),
    (RewardsCallback, ("reward_cfg",)),
    (FastResetCallback, ("biomes", "random_tp_range", "start_time", "start_weather")),
    (CommandsCallback, ("custom_init_commands", "commands")),
    (TaskCallback, ("text", "name")),
    (JudgeResetCallback, ("time_limit",)),
    (InitInventoryCallback, ("init_inventory", "distraction_level")),
    (PrevActionCallback, ("use_prev_action",)),
)
"""What a task file's keys make, in MineStudio's order; mask_actions, reward_cfg and text are read here only."""


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
    arguments = dict(spec.get("args") or {})
    if cls is Compose:
        inner = arguments.get("callbacks", ())
        arguments["callbacks"] = [from_spec(c) if isinstance(c, Mapping) else c for c in inner]
    try:
        return cls(**arguments)
    except TypeError as error:
        raise SimulatorError(f"{cls.__name__} does not take these arguments: {error}.") from error


def load_callbacks_from_config(config: Mapping[str, Any] | str | Path) -> list[MinecraftCallback]:
    """The callbacks that a task file asks for, such as those of MineStudio's benchmark.

    ::

        custom_init_commands: ["/give @s minecraft:diamond_axe 1"]
        text: Chop down a tree.

    ``FROM_FILES`` names the keys. ``defaults`` is passed over. ``reference_video`` is, too, with a warning in the
    log, for reference videos belong to the real game; so are keys that nobody knows.

    Raises:
        SimulatorError: there is no such file, or a callback does not take what it says.
    """
    data = MinecraftCallback.load_data_from_conf(config)
    if not isinstance(config, Mapping):
        data.setdefault("name", Path(config).stem)
    known = [key for _, keys in FROM_FILES for key in keys]
    for key in data:
        if key == "reference_video":
            _log.warning("reference_video is left out: it needs real Minecraft (env_config.simulator=minecraft).")
        elif key not in (*known, "defaults"):
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            _log.warning("A task file's key %r says nothing to any callback; the nearest that does is %r.", key, near)
    made = (cls.create_from_conf(data) for cls, _ in FROM_FILES)
    return [callback for callback in made if callback is not None]


def read_task_file(path: str | Path) -> tuple[list[str], dict[str, str]]:
    """The commands of a task file, and its task as ``TaskCallback`` takes it: MineStudio's convert_yaml_to_callbacks.

    Raises:
        SimulatorError: there is no such file, or it holds no mapping.
    """
    data = MinecraftCallback.load_data_from_conf(path)
    return list(data.get("custom_init_commands", ())), {"name": Path(path).stem, "text": data.get("text", "")}

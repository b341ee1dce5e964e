"""Environments from configurations, and the two learning tasks.

A task is nothing but an ``env_config``: a mapping that a YAML file can hold. ``build_env`` makes the environment of
one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import gymnasium

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.callbacks import from_spec
from minestudio_nb.simulator.sim import VoxelSim
from minestudio_nb.wrappers import wrap

# Keys of an env_config that become arguments of VoxelSim, by VoxelSim's names.
_ARGUMENTS: Final = {
    "action_type": "action_type",
    "obs_size": "obs_size",
    "render_size": "render_size",
    "biome": "preferred_spawn_biome",
    "inventory": "inventory",
    "num_empty_frames": "num_empty_frames",
    "camera_config": "camera_config",
}
# Keys that others read: who builds the environment, and where.
_PASSED_OVER: Final = ("simulator", "id", "task", "python")

SIMPLE_ACTIONS: Final[tuple[dict[str, Any], ...]] = (
    {"forward": 1},
    {"forward": 1, "jump": 1},
    {"camera": [0.0, -15.0]},
    {"camera": [0.0, 15.0]},
    {"camera": [-12.0, 0.0]},
    {"camera": [12.0, 0.0]},
    {"attack": 1},
    {"forward": 1, "attack": 1},
    {"back": 1},
)
"""Nine actions with which a small network learns to chop and to hunt within minutes."""


def build_env(env_config: Mapping[str, Any], seed: int = 0, held_out: bool = False) -> gymnasium.Env[Any, Any]:
    """The environment of an ``env_config`` with ``simulator: voxel``.

    Args:
        env_config: ``obs_size``, ``biome``, ``inventory``, ``action_type``, ``render_size``, ``num_empty_frames``,
            ``camera_config``, ``callbacks`` and ``wrappers`` (lists of ``{"name", "args"}``, wrappers from the inside
            out), and ``kwargs`` (further arguments of VoxelSim). What is left out has VoxelSim's default.
        seed: of the worlds and of everything random.
        held_out: use worlds that no training seed leads to.

    Raises:
        SimulatorError: a key or a value is not known.
    """
    known = (*_ARGUMENTS, *_PASSED_OVER, "kwargs", "callbacks", "wrappers")
    for key in env_config:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise SimulatorError(f"env_config has no key {key!r} with simulator voxel; the nearest is {near!r}.")
    arguments = {target: env_config[key] for key, target in _ARGUMENTS.items() if env_config.get(key) is not None}
    arguments |= dict(env_config.get("kwargs") or {})
    # Training worlds have even seeds, held-out worlds odd ones.
    arguments.setdefault("world_seed", 2 * seed + int(held_out))
    arguments["callbacks"] = [from_spec(spec) for spec in env_config.get("callbacks") or ()]
    env: gymnasium.Env[Any, Any] = VoxelSim(seed=seed, **arguments)
    for spec in env_config.get("wrappers") or ():
        env = wrap(env, spec)
    return env


def _simple_task(
    task: str, biome: str, tool: str, callbacks: list[dict[str, Any]], ticks: int, frame_skip: int, size: int
) -> dict[str, Any]:
    """What both tasks share: the view, the actions, the time limit."""
    return {
        "simulator": "voxel",
        "task": task,
        "action_type": "env",
        "obs_size": [size, size],
        "biome": biome,
        "inventory": {"0": {"type": tool, "quantity": 1}},
        "callbacks": [*callbacks, {"name": "JudgeResetCallback", "args": {"time_limit": ticks}}],
        "wrappers": [
            {"name": "PitchClamp", "args": {"low": -50.0, "high": 60.0}},
            {"name": "FrameSkip", "args": {"k": frame_skip}},
            {"name": "ActionSubset", "args": {"actions": [dict(action) for action in SIMPLE_ACTIONS]}},
        ],
        "kwargs": {"world_size": 64, "pool_size": 8},
    }


def chop_config(ticks: int = 400, frame_skip: int = 4, size: int = 64) -> dict[str, Any]:
    """The ``env_config`` of chopping trees: a dense forest, a diamond axe, 1 reward for each log.

    Args:
        ticks: length of an episode.
        frame_skip: ticks per decision.
        size: width and height of the observation.
    """
    reward = {
        "event": "mine_block",
        "objects": ["oak_log", "birch_log", "spruce_log"],
        "reward": 1.0,
        "identity": "chop_tree",
        "max_reward_times": 100,
    }
    callbacks = [{"name": "RewardsCallback", "args": {"reward_cfg": [reward]}}]
    return _simple_task("chop_tree", "dense_forest", "diamond_axe", callbacks, ticks, frame_skip, size)


def hunt_config(ticks: int = 400, frame_skip: int = 4, size: int = 64) -> dict[str, Any]:
    """The ``env_config`` of hunting: sixteen animals within eight blocks, a diamond sword, 1 reward for each kill."""
    near = [-5, 5]
    mobs = [
        {"name": name, "number": number, "range_x": near, "range_z": near}
        for name, number in (("cow", 6), ("sheep", 5), ("pig", 5))
    ]
    reward = {
        "event": "kill_entity",
        "objects": ["cow", "sheep", "pig"],
        "reward": 1.0,
        "identity": "hunt",
        "max_reward_times": 100,
    }
    callbacks = [
        {"name": "SummonMobsCallback", "args": {"mobs": mobs}},
        {"name": "RewardsCallback", "args": {"reward_cfg": [reward]}},
    ]
    return _simple_task("hunt", "meadow", "diamond_sword", callbacks, ticks, frame_skip, size)


def make_chop(seed: int = 0, held_out: bool = False, **options: Any) -> gymnasium.Env[Any, Any]:
    """The chopping task; options are those of ``chop_config``."""
    return build_env(chop_config(**options), seed, held_out)


def make_hunt(seed: int = 0, held_out: bool = False, **options: Any) -> gymnasium.Env[Any, Any]:
    """The hunting task; options are those of ``hunt_config``."""
    return build_env(hunt_config(**options), seed, held_out)

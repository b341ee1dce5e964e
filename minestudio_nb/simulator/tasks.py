"""Environments from configurations, and the shipped tasks.

A task is nothing but an ``env_config``: a mapping that a YAML file can hold. ``build_env`` makes the environment of
one; the shipped ones are in ``configs/task``, and ``docs/tasks.md`` describes them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
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


def task_config(
    name: str, ticks: int | None = None, frame_skip: int | None = None, size: int | None = None
) -> dict[str, Any]:
    """The ``env_config`` of a shipped task, as in ``configs/task``.

    Args:
        name: such as "chop_tree" or "hunt".
        ticks: another length of an episode.
        frame_skip: another number of ticks per decision.
        size: another width and height of the observation.

    Raises:
        SimulatorError: there is no such task.
    """
    import yaml

    from minestudio_nb.config.compose import library_dir

    folder = library_dir() / "task"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise SimulatorError(f"There is no task {name!r}; shipped are {', '.join(known)}.")
    config: dict[str, Any] = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))["env_config"]
    _set_argument(config.get("callbacks", ()), "JudgeResetCallback", "time_limit", ticks)
    _set_argument(config.get("wrappers", ()), "FrameSkip", "k", frame_skip)
    if size is not None:
        config["obs_size"] = [size, size]
    return config


def _set_argument(specs: Iterable[dict[str, Any]], name: str, argument: str, value: int | None) -> None:
    for spec in specs:
        if value is not None and spec["name"] == name:
            spec["args"][argument] = value


def make_task(name: str, seed: int = 0, held_out: bool = False, **options: Any) -> gymnasium.Env[Any, Any]:
    """The environment of a shipped task; options are those of ``task_config``."""
    return build_env(task_config(name, **options), seed, held_out)


def make_chop(seed: int = 0, held_out: bool = False, **options: Any) -> gymnasium.Env[Any, Any]:
    """Chopping trees in a dense forest with a diamond axe; options are those of ``task_config``."""
    return make_task("chop_tree", seed, held_out, **options)


def make_hunt(seed: int = 0, held_out: bool = False, **options: Any) -> gymnasium.Env[Any, Any]:
    """Hunting sheep and pigs with a netherite sword; options are those of ``task_config``."""
    return make_task("hunt", seed, held_out, **options)

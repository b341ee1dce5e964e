"""An ``env_config`` as arguments of MinecraftSim, and its callbacks' specs as MineStudio's callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from minestudio_nb.config.minestudio_compat import VOXEL_ARGUMENTS
from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.errors import ConfigError

__all__ = ["minecraft_biome", "resolve_callback", "simulator_arguments"]

_BIOMES: Final = {"dense_forest": "dark_forest", "meadow": "sunflower_plains"}
"""VoxelSim's biomes that Minecraft 1.16 does not know, and what looks most like them there."""

_SAME_NAME: Final = ("action_type", "num_empty_frames")
_TRANSLATED: Final = ("obs_size", "render_size", "biome", "inventory", "camera_config", "callbacks")
_OF_OTHERS: Final = ("wrappers", "kwargs", "simulator", "id", "task", "python")
_KNOWN: Final = frozenset((*_SAME_NAME, *_TRANSLATED, *_OF_OTHERS))


def minecraft_biome(name: str | None) -> str | None:
    """The biome of Minecraft 1.16 for a name of ``env_config.biome``."""
    plain = name.removeprefix("minecraft:") if name else None
    return _BIOMES.get(plain, plain) if plain else None


def simulator_arguments(env_config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Arguments of MinecraftSim from an ``env_config``, except ``callbacks`` and ``camera_config``, as it takes them.

    What is left out has MinecraftSim's default. Entries of ``kwargs`` that only VoxelSim has a use for are left out.

    Raises:
        ConfigError: an unknown key.
    """
    for key in env_config:
        if key not in _KNOWN:
            raise ConfigError(
                f"env_config has no key {key!r} with simulator minecraft{nearest_hint(key, sorted(_KNOWN))}"
            )
    arguments = {key: env_config[key] for key in _SAME_NAME if env_config.get(key) is not None}
    for key in ("obs_size", "render_size"):
        if env_config.get(key) is not None:
            width, height = env_config[key]
            arguments[key] = (int(width), int(height))
    if env_config.get("inventory"):
        arguments["inventory"] = {int(slot): dict(item) for slot, item in env_config["inventory"].items()}
    if env_config.get("biome"):
        arguments["preferred_spawn_biome"] = minecraft_biome(env_config["biome"])
    extra = {key: value for key, value in (env_config.get("kwargs") or {}).items() if key not in VOXEL_ARGUMENTS}
    return {"seed": seed, **arguments, **extra}


def resolve_callback(spec: Mapping[str, Any], classes: Mapping[str, type]) -> Any:
    """The callback of ``{"name": "JudgeReset" or "JudgeResetCallback", "args": {...}}`` among ``classes`` by name.

    Raises:
        ConfigError: unknown name, or arguments that the callback does not take.
    """
    if set(spec) - {"name", "args"} or "name" not in spec:
        raise ConfigError(f"A callback's spec has the keys name and args; {dict(spec)} came.")
    name = str(spec["name"])
    cls = classes.get(name) or classes.get(f"{name}Callback")
    if cls is None:
        raise ConfigError(f"MineStudio has no callback {name!r}{nearest_hint(name, sorted(classes))}")
    arguments = dict(spec.get("args") or {})
    if name.startswith("FastReset") and "biomes" in arguments:
        arguments["biomes"] = [minecraft_biome(biome) for biome in arguments["biomes"]]
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ConfigError(f"{cls.__name__} does not take these arguments: {error}.") from error

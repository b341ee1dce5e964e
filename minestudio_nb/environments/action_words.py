"""Actions in words, for people who watch: "forward + attack + look left 10°" rather than "[7]"."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from minestudio_nb.contracts.specs import ActionSpec
from minestudio_nb.wrappers import ActionSubset

__all__ = ["action_words", "key_words"]

NOTHING = "no key"
_ORDER = ("forward", "back", "left", "right", "jump", "sneak", "sprint", "attack", "use")
"""Keys that are named first; others follow in the action's own order."""


def action_words(env: Any, spec: ActionSpec, action: Any) -> str:
    """What ``action``, in the form that ``env`` takes, does there.

    Asked are, from the outside in: ``describe_action(action)`` of an environment or wrapper that has one; wrappers that
    turn one action into another, for the inner one; a Minecraft's keys and camera; ``get_action_meanings()`` and an
    enumeration ``actions``, as Atari games and MiniGrid have. Where none of them answers, the numbers themselves are
    told, with their names in ``spec``. Whatever these raise passes through.
    """
    native, inside = action, env
    while True:
        describe = getattr(inside, "describe_action", None)
        if describe is not None:
            return str(describe(native))
        if isinstance(inside, ActionSubset):
            return key_words(inside.inner_action(native))
        if isinstance(inside, gymnasium.ActionWrapper):
            native = inside.action(native)
        if not isinstance(inside, gymnasium.Wrapper):
            break
        inside = inside.env
    if isinstance(native, Mapping):
        if "buttons" in native and hasattr(inside, "agent_action_to_env_action"):
            native = inside.agent_action_to_env_action(native)
        if {"camera", "forward"} <= native.keys():
            return key_words(native)
    elif isinstance(native, int) and (meaning := _meaning(inside, native)):
        return meaning
    parts = [action[leaf.name] for leaf in spec.leaves] if spec.is_dict else [action]
    numbers = np.concatenate([np.reshape(part, -1) for part in parts])
    return ", ".join(f"{name} {number:.3g}" for name, number in zip(spec.component_names, numbers, strict=True))


def key_words(action: Mapping[str, Any]) -> str:
    """The pressed keys of an env action, and where its camera turns; pitch is positive downwards, yaw to the right."""
    names = [*(name for name in _ORDER if name in action), *(name for name in action if name not in _ORDER)]
    pressed = [name for name in names if name != "camera" and np.size(action[name]) == 1 and np.any(action[name])]
    words = [name.replace(".", " ").replace("_", " ") for name in pressed]
    pitch, yaw = np.asarray(action.get("camera", (0.0, 0.0)), np.float64).reshape(-1)[:2].tolist()
    turns = [
        f"{way} {abs(degrees):.3g}°"
        for degrees, way in ((pitch, "down" if pitch > 0 else "up"), (yaw, "right" if yaw > 0 else "left"))
        if degrees
    ]
    if turns:
        words.append("look " + " and ".join(turns))
    return " + ".join(words) or NOTHING


def _meaning(env: Any, choice: int) -> str:
    """What an environment without keys says of one of its choices; an empty text where it says nothing."""
    meanings = getattr(env, "get_action_meanings", None)
    if meanings is not None:
        return str(meanings()[choice]).lower()
    names = getattr(env, "actions", None)
    if isinstance(names, type) and issubclass(names, enum.IntEnum):
        return names(choice).name.replace("_", " ")
    return ""

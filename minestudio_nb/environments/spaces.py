"""Gymnasium spaces as the plain specs of :mod:`minestudio_nb.contracts.specs`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from minestudio_nb.contracts.specs import SINGLE_KEY, ActionLeaf, ActionSpec, BoxSpec, EnvSpec, ObsSpec
from minestudio_nb.errors import UnsupportedSpaceError

__all__ = ["action_spec", "flatten_observation", "obs_spec", "spec_of"]

SUPPORTED = (
    "Supported observations: Box, or (nested) Dict of Box; images are uint8 (height, width, channels), other boxes "
    "become float32. Supported actions: Discrete, MultiDiscrete, Box of floats, or a Dict of these."
)


def obs_spec(space: spaces.Space[Any]) -> ObsSpec:
    """The spec of an observation space; names of nested Dicts are joined by ``"."``.

    Raises:
        UnsupportedSpaceError: the space, or one inside it, is neither a Box nor a Dict.
    """
    if isinstance(space, spaces.Dict):
        boxes = tuple((name, _box(box, name)) for name, box in _leaves(space, ""))
        if not boxes:
            raise UnsupportedSpaceError(f"The observation space is an empty Dict. {SUPPORTED}")
        return ObsSpec(boxes, is_dict=True)
    return ObsSpec(((SINGLE_KEY, _box(space, SINGLE_KEY)),), is_dict=False)


def action_spec(space: spaces.Space[Any]) -> ActionSpec:
    """The spec of an action space.

    Raises:
        UnsupportedSpaceError: the space, or one inside it, is neither Discrete nor MultiDiscrete nor Box nor a Dict.
    """
    if isinstance(space, spaces.Dict):
        for name, leaf in space.spaces.items():
            if isinstance(leaf, spaces.Dict):
                raise UnsupportedSpaceError(f"The action {name!r} is a Dict inside a Dict; flatten it with a wrapper.")
        leaves = tuple(_action_leaf(leaf, name) for name, leaf in space.spaces.items())
        if not leaves:
            raise UnsupportedSpaceError(f"The action space is an empty Dict. {SUPPORTED}")
        return ActionSpec(leaves, is_dict=True)
    return ActionSpec((_action_leaf(space, "action"),), is_dict=False)


def spec_of(env: gymnasium.Env[Any, Any], task: str = "default") -> EnvSpec:
    """What ``env`` shows and accepts. Raises UnsupportedSpaceError, which says what is supported."""
    return EnvSpec(obs_spec(env.observation_space), action_spec(env.action_space), task)


def flatten_observation(observation: Any, spec: ObsSpec) -> dict[str, Any]:
    """An environment's own observation as ``{key of spec: array}``; nothing is copied.

    Raises:
        KeyError: the observation lacks a key that the space declared.
    """
    if not spec.is_dict:
        return {SINGLE_KEY: observation}
    return {key: _lookup(observation, key) for key in spec.keys}


def _lookup(observation: Any, key: str) -> Any:
    if key in observation:
        return observation[key]
    name, dot, rest = key.partition(".")
    while dot and name not in observation:  # a name may have dots itself, as "hotbar.1"
        more, dot, rest = rest.partition(".")
        name = f"{name}.{more}"
    return _lookup(observation[name], rest) if dot else observation[name]


def _leaves(space: spaces.Dict, prefix: str) -> list[tuple[str, spaces.Space[Any]]]:
    found: list[tuple[str, spaces.Space[Any]]] = []
    for name, inner in space.spaces.items():
        if isinstance(inner, spaces.Dict):
            found += _leaves(inner, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", inner))
    return found


def _box(space: spaces.Space[Any], name: str) -> BoxSpec:
    if not isinstance(space, spaces.Box):
        raise UnsupportedSpaceError(f"The observation {name!r} is a {type(space).__name__}. {SUPPORTED}")
    shape = tuple(int(n) for n in space.shape)
    if space.dtype == np.uint8 and len(shape) == 3:
        return BoxSpec(shape, "uint8")
    return BoxSpec(shape, "float32")


def _action_leaf(space: spaces.Space[Any], name: str) -> ActionLeaf:
    if isinstance(space, spaces.Discrete):
        return ActionLeaf(name, "discrete", (int(space.n),), (), int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        if np.any(space.start):
            raise UnsupportedSpaceError(f"The action {name!r} is a MultiDiscrete that does not start at 0. {SUPPORTED}")
        sizes = tuple(int(n) for n in space.nvec.reshape(-1))
        return ActionLeaf(name, "multi_discrete", sizes, tuple(int(n) for n in space.shape))
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        low, high = (tuple(float(bound) for bound in side.reshape(-1)) for side in (space.low, space.high))
        shape = tuple(int(n) for n in space.shape)
        return ActionLeaf(name, "box", shape=shape, low=low, high=high, dtype=np.dtype(space.dtype).name)
    raise UnsupportedSpaceError(f"The action {name!r} is a {type(space).__name__} of {space.dtype}. {SUPPORTED}")

"""Wrappers that make a task easier to learn: fewer actions, fewer decisions, a head that stays level.

They wrap VoxelSim, the real MinecraftSim, or each other, and pass on what workers use besides gymnasium's methods where
it is there (states, traces, ``observe_into``). Applied from the inside out: ``PitchClamp``, ``FrameSkip``,
``ActionSubset``. Nothing of a simulator is imported here, so that they work wherever one runs.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import gymnasium
from gymnasium import spaces

from minestudio_nb.errors import SimulatorError

__all__ = ["REGISTRY", "ActionSubset", "FrameSkip", "PitchClamp", "SimWrapper", "wrap"]

Env = gymnasium.Env[Any, Any]

_PASSED_ON: Final = ("observe_into", "get_state", "set_state", "start_trace", "finish_trace")


class SimWrapper(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A wrapper that passes on a simulation's further methods, those that it has.

    Raises:
        SimulatorError: what it wraps is neither a simulation, with ``step_repeat`` and ``pitch``, nor another of these
            wrappers.
    """

    def __init__(self, env: Env) -> None:
        if not (isinstance(env, SimWrapper) or hasattr(env, "step_repeat")):
            raise SimulatorError(
                f"{type(self).__name__} wraps VoxelSim, MinecraftSim or its wrappers; got {type(env).__name__}."
            )
        super().__init__(env)

    def __getattr__(self, name: str) -> Any:
        if name in _PASSED_ON:
            return getattr(self.env, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def step_repeat(self, action: Any, ticks: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Hold an action for several ticks, see ``VoxelSim.step_repeat``."""
        return self.env.step_repeat(self.inner_action(action), ticks)  # type: ignore[attr-defined, no-any-return]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # type: ignore[override]
        """One step with the inner action."""
        return self.env.step(self.inner_action(action))  # type: ignore[return-value]

    def inner_action(self, action: Any) -> Any:
        """The action that the wrapped environment gets."""
        return action


class PitchClamp(SimWrapper):
    """Keeps the head between two pitches, by shortening camera movements. The simulation takes env actions.

    Args:
        low: the highest look upwards, in degrees (negative is up).
        high: the lowest look downwards.

    Raises:
        SimulatorError: the range is empty, or does not contain the level look that episodes begin with.
    """

    def __init__(self, env: Env, low: float = -50.0, high: float = 60.0) -> None:
        super().__init__(env)
        if not -90.0 <= low <= 0.0 <= high <= 90.0:
            raise SimulatorError(f"PitchClamp needs -90 <= low <= 0 <= high <= 90; got {low} and {high}.")
        _need_env_actions(env, "PitchClamp")
        self.low, self.high = float(low), float(high)

    def inner_action(self, action: Any) -> Any:
        """The action with a camera that stays in range."""
        camera = action.get("camera")
        if camera is None:
            return action
        pitch = float(self.unwrapped.pitch)  # type: ignore[attr-defined]
        wanted = min(self.high, max(self.low, pitch + float(camera[0])))
        return {**action, "camera": (wanted - pitch, float(camera[1]))}


class FrameSkip(SimWrapper):
    """Holds each action for ``k`` ticks: rewards are summed, the camera turns on the first tick only.

    It stops at the episode's end, and skipped frames are not rendered.
    """

    def __init__(self, env: Env, k: int = 4) -> None:
        super().__init__(env)
        if k < 1:
            raise SimulatorError(f"FrameSkip needs k of at least 1 tick; got {k}.")
        self.k = int(k)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """``k`` ticks."""
        return self.env.step_repeat(action, self.k)  # type: ignore[attr-defined, no-any-return]

    def step_repeat(self, action: Any, ticks: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """``k`` times ``ticks`` ticks."""
        return self.env.step_repeat(action, self.k * ticks)  # type: ignore[attr-defined, no-any-return]


class ActionSubset(SimWrapper):
    """A ``Discrete`` choice among env actions.

    Args:
        actions: such as ``[{"forward": 1}, {"camera": [0, -15]}, {"attack": 1}]``; keys left out are not pressed.

    Raises:
        SimulatorError: no action, or one that the simulation does not know.
    """

    def __init__(self, env: Env, actions: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(env)
        _need_env_actions(env, "ActionSubset")
        if not actions:
            raise SimulatorError("ActionSubset needs at least one action.")
        known = {*env.action_space.spaces, "drop"}  # type: ignore[attr-defined]
        for action in actions:
            unknown = set(action) - known
            if unknown:
                name = sorted(unknown)[0]
                near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)[0]
                raise SimulatorError(f"ActionSubset got the unknown key {name!r}; the nearest is {near!r}.")
        self.actions = [dict(action) for action in actions]
        self.action_space = spaces.Discrete(len(self.actions))

    def inner_action(self, action: Any) -> Any:
        """The env action of a choice.

        Raises:
            SimulatorError: there is no such choice.
        """
        choice = int(action)
        if not 0 <= choice < len(self.actions):
            raise SimulatorError(f"This environment takes choices 0 to {len(self.actions) - 1}; got {choice}.")
        return self.actions[choice]


def _need_env_actions(env: Env, name: str) -> None:
    space = env.action_space
    if not (isinstance(space, spaces.Dict) and "camera" in space.spaces and "forward" in space.spaces):
        raise SimulatorError(f"{name} works on env actions: use action_type='env'. The space is {space}.")


REGISTRY: Final = {cls.__name__: cls for cls in (ActionSubset, FrameSkip, PitchClamp)}


def wrap(env: Env, spec: Mapping[str, Any]) -> Env:
    """Put the wrapper of ``{"name": "FrameSkip", "args": {"k": 4}}`` around an environment.

    Raises:
        SimulatorError: unknown name, or arguments that the wrapper does not take.
    """
    name = spec.get("name")
    if set(spec) - {"name", "args"} or name not in REGISTRY:
        raise SimulatorError(f"A wrapper's spec has name (one of {', '.join(REGISTRY)}) and args; got {dict(spec)}.")
    try:
        return REGISTRY[name](env, **(spec.get("args") or {}))
    except TypeError as error:
        raise SimulatorError(f"{name} does not take these arguments: {error}.") from error

"""Callbacks that add to the observation or look on: the previous action, the task's text, the speed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from gymnasium import spaces

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.actions import noop_env_action
from minestudio_nb.simulator.callbacks.base import MinecraftCallback, Observation, StepResult

_log = logging.getLogger(__name__)

PREV_ACTION: Final = "env_prev_action"
"""MineStudio's name of the observation that ``PrevActionCallback`` adds."""


class PrevActionCallback(MinecraftCallback):
    """Adds the env action of the last step to the observation, as ``obs["env_prev_action"]``.

    It is a dict of 20 buttons (0 or 1, int64 arrays without dimensions) and the camera (pitch and yaw in degrees,
    float32[2]), as the callbacks before this one have left it; after a reset nothing is pressed. The observation space
    says so, thus policies of this package take it as numbers beside the image. When an action is repeated
    (``FrameSkip``), the camera movement of its first tick is shown.
    """

    batch_ticks = True

    def __init__(self) -> None:
        self.prev_action = _as_arrays(_blank())

    @staticmethod
    def create_from_conf(source: Mapping[str, Any] | str | Path) -> PrevActionCallback | None:
        """From ``use_prev_action: true``."""
        return PrevActionCallback() if MinecraftCallback.load_data_from_conf(source).get("use_prev_action") else None

    def attach(self, sim: Any) -> None:
        """Declare the observation."""
        parts: dict[str, spaces.Space[Any]] = {
            name: spaces.Box(0, 1, (), np.int64) for name in _blank() if name != "camera"
        }
        parts["camera"] = spaces.Box(-180.0, 180.0, (2,), np.float32)
        sim.observation_space = spaces.Dict({**sim.observation_space.spaces, PREV_ACTION: spaces.Dict(parts)})

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Nothing was pressed."""
        self.prev_action = _as_arrays(_blank())
        return {**obs, PREV_ACTION: dict(self.prev_action)}, info

    def before_step(self, sim: Any, action: dict[str, Any]) -> dict[str, Any]:
        """Remember the action."""
        camera = self.prev_action["camera"]
        self.prev_action = _as_arrays({name: action.get(name, blank) for name, blank in _blank().items()})
        if sim.repeating:
            self.prev_action["camera"] = camera
        return action

    def after_step(
        self, sim: Any, obs: Observation, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> StepResult:
        """Show it."""
        return {**obs, PREV_ACTION: dict(self.prev_action)}, reward, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """The action, as plain numbers."""
        return {name: value.tolist() for name, value in self.prev_action.items()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.prev_action = _as_arrays(state)


def _blank() -> dict[str, Any]:
    return {**noop_env_action(), "drop": 0}


def _as_arrays(action: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {
        name: np.array(value, np.float32).reshape(2) if name == "camera" else np.array(value, np.int64).reshape(())
        for name, value in action.items()
    }


class TaskCallback(MinecraftCallback):
    """Draws a task for each episode and puts it into the first observation, as ``obs["task"]``.

    Its name is also in ``info["task"]`` of every step, under which episode statistics are kept.

    Args:
        task_cfg: ``[{"name": "chop tree", "text": "chop the tree"}, ...]``, or one such mapping.

    Raises:
        SimulatorError: no task, or one without a name.
    """

    batch_ticks = True

    def __init__(self, task_cfg: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> None:
        tasks = [task_cfg] if isinstance(task_cfg, Mapping) else list(task_cfg)
        if not tasks or not all(isinstance(task, Mapping) and task.get("name") for task in tasks):
            raise SimulatorError(f"TaskCallback needs a list of {{'name': ..., 'text': ...}}; got {task_cfg!r}.")
        self.task_cfg = [dict(task) for task in tasks]
        self.task = self.task_cfg[0]

    @staticmethod
    def create_from_conf(source: Mapping[str, Any] | str | Path) -> TaskCallback | None:
        """From ``text``; the task's name is ``name``, or else that of the file."""
        data = MinecraftCallback.load_data_from_conf(source)
        if not data.get("text"):
            return None
        fallback = "task" if isinstance(source, Mapping) else Path(source).stem
        return TaskCallback({"name": data.get("name", fallback), "text": data["text"]})

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Draw a task."""
        self.task = self.task_cfg[int(sim.np_random.integers(len(self.task_cfg)))]
        info["task"] = self.task["name"]
        return {**obs, "task": dict(self.task)}, info

    def after_step(
        self, sim: Any, obs: Observation, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> StepResult:
        """Name it."""
        info["task"] = self.task["name"]
        return obs, reward, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """Which task it is."""
        return {"task": self.task_cfg.index(self.task)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.task = self.task_cfg[state["task"]]

    def __repr__(self) -> str:
        return f"TaskCallback({self.task_cfg})"


class SpeedTestCallback(MinecraftCallback):
    """Measures how long steps take, from its ``before_step`` to its ``after_step``, and logs the mean at times.

    Args:
        interval: steps between two lines in the log (level INFO).

    Attributes:
        num_steps, total_times: steps so far, and the seconds that they took together.
    """

    batch_ticks = True

    def __init__(self, interval: int = 100) -> None:
        if interval < 1:
            raise SimulatorError(f"interval must be at least 1 step; got {interval}.")
        self.interval = int(interval)
        self.num_steps = 0
        self.total_times = 0.0
        self._began = 0.0

    @property
    def fps(self) -> float:
        """Mean steps per second; 0 before the first."""
        return self.num_steps / self.total_times if self.total_times else 0.0

    def before_step(self, sim: Any, action: dict[str, Any]) -> dict[str, Any]:
        """Take the time."""
        self._began = time.perf_counter()
        return action

    def after_step(
        self, sim: Any, obs: Observation, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> StepResult:
        """Add it up."""
        self.total_times += time.perf_counter() - self._began
        lines = self.num_steps // self.interval
        self.num_steps += sim.ticks_in_step
        if self.num_steps // self.interval > lines:
            milliseconds = 1000.0 * self.total_times / self.num_steps
            _log.info("%d steps: %.2f ms each, %.1f per second", self.num_steps, milliseconds, self.fps)
        return obs, reward, terminated, truncated, info

    def __repr__(self) -> str:
        return f"SpeedTestCallback(interval={self.interval})"

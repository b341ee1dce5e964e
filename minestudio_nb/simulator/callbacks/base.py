"""The interface of a callback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from minestudio_nb.simulator.sim import VoxelSim

Observation = dict[str, Any]
StepResult = tuple[Observation, float, bool, bool, dict[str, Any]]


class MinecraftCallback:
    """Hooks around the calls of a simulation, with MineStudio's names and arguments. Override what you need. ::

        obs, info = sim.reset()            # before_reset(sim, flag) -> flag, after_reset(sim, obs, info) -> obs, info
        result = sim.step(action)          # before_step(sim, action) -> action, after_step(sim, *result) -> result

    Callbacks run in the order of the list. ``before_step`` gets a private copy of the env action and may change it.

    Attributes:
        batch_ticks: whether ``before_step`` and ``after_step`` may be called once for several ticks of one held
            action (``sim.ticks_in_step`` of them) with the same outcome. Frame skipping is fast only if all callbacks
            that override these hooks allow it.
        needs_image: whether ``after_step`` looks at ``obs["image"]``. Otherwise skipped frames are not rendered.
    """

    batch_ticks: bool = False
    needs_image: bool = False

    def before_reset(self, sim: VoxelSim, reset_flag: bool) -> bool:
        """Before a reset; return False if this callback has brought the simulation to a new start itself."""
        return reset_flag

    def after_reset(self, sim: VoxelSim, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """After a reset; may change the first observation and info."""
        return obs, info

    def before_step(self, sim: VoxelSim, action: dict[str, Any]) -> dict[str, Any]:
        """Before a step; returns the env action to take."""
        return action

    def after_step(
        self, sim: VoxelSim, obs: Observation, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> StepResult:
        """After a step; may change everything that the step returns."""
        return obs, reward, terminated, truncated, info

    def before_close(self, sim: VoxelSim) -> None:
        """Before the simulation closes."""

    def after_close(self, sim: VoxelSim) -> None:
        """After the simulation closed."""

    def before_render(self, sim: VoxelSim, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """On ``render``, before callbacks that draw on the frame."""
        return image

    def after_render(self, sim: VoxelSim, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """On ``render``, last."""
        return image

    def max_batch(self, sim: VoxelSim) -> int | None:
        """How many ticks this callback allows to be run as one batch now; None: any number."""
        return None

    def get_state(self) -> dict[str, Any]:
        """What this callback must remember for ``sim.get_state``: plain values, by name."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back what ``get_state`` gave."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

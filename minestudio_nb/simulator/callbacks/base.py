"""The interface of a callback."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError

if TYPE_CHECKING:
    from minestudio_nb.simulator.sim import VoxelSim

_log = logging.getLogger(__name__)

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

    @staticmethod
    def load_data_from_conf(source: Mapping[str, Any] | str | Path) -> dict[str, Any]:
        """The settings in a YAML file, or a copy of those in a mapping.

        Raises:
            SimulatorError: there is no such file, or it holds no mapping.
        """
        if isinstance(source, Mapping):
            return dict(source)
        import yaml

        path = Path(source)
        if not path.is_file():
            raise SimulatorError(f"There is no file {path}; give the path of a YAML file, or a mapping.")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise SimulatorError(f"{path} holds {type(data).__name__}; a task file is a mapping of settings.")
        return data

    @staticmethod
    def create_from_conf(source: Mapping[str, Any] | str | Path) -> MinecraftCallback | None:
        """A callback from a task file or its contents; None if it says nothing about this kind of callback."""
        return None

    def attach(self, sim: VoxelSim) -> None:
        """Once, when a simulation has taken this callback: look whether it can work there, declare observations.

        Raises:
            SimulatorError: it cannot.
        """

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


def overriding(callbacks: Sequence[MinecraftCallback], hook: str) -> list[MinecraftCallback]:
    """The callbacks that do something at a hook."""
    return [c for c in callbacks if getattr(type(c), hook) is not getattr(MinecraftCallback, hook)]


def pass_over(sim: VoxelSim, callback: MinecraftCallback, error: SimulatorError) -> None:
    """What a callback does with a name that this world does not know: it fails, and names the callback.

    Where the simulation is lenient (``unknown_commands="warn"``), there is one warning instead.

    Raises:
        SimulatorError: the simulation is not lenient.
    """
    text = f"{type(callback).__name__}: {error}"
    if sim.engine.unknown_commands == "error":
        raise SimulatorError(text) from error
    if text not in sim.engine.ignored_commands:
        sim.engine.ignored_commands.add(text)
        _log.warning(text)
        warnings.warn(f"{text} It is passed over.", stacklevel=3)

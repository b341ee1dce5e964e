"""Several callbacks as one, all of them or a random choice for each episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.callbacks.base import MinecraftCallback, Observation, StepResult, overriding


class Compose(MinecraftCallback):
    """Passes every call on to its callbacks, in order.

    Args:
        callbacks: the callbacks; in a configuration, their specs.
        options: how many of them, drawn anew at each reset, are active in an episode; -1: all.

    Raises:
        SimulatorError: ``options`` is neither -1 nor a number of callbacks that there are.
    """

    def __init__(self, callbacks: Sequence[MinecraftCallback], options: int = -1) -> None:
        self.callbacks = list(callbacks)
        if options != -1 and not 0 <= options <= len(self.callbacks):
            raise SimulatorError(f"options is -1 for all, or 0 to {len(self.callbacks)} callbacks; got {options}.")
        self.options = options
        self.active: list[int] = list(range(len(self.callbacks))) if options == -1 else []
        acting = {*overriding(self.callbacks, "before_step"), *overriding(self.callbacks, "after_step")}
        self.batch_ticks = all(callback.batch_ticks for callback in acting)
        self.needs_image = any(callback.needs_image for callback in self.callbacks)

    @property
    def activate_callbacks(self) -> list[MinecraftCallback]:
        """The callbacks that are active in this episode."""
        return [self.callbacks[index] for index in self.active]

    def attach(self, sim: Any) -> None:
        """Attach all; an observation that only some episodes have cannot be declared."""
        before = sim.observation_space
        for callback in self.callbacks:
            callback.attach(sim)
        if self.options != -1 and sim.observation_space != before:
            raise SimulatorError(
                "Compose with options cannot hold a callback that adds to the observation, which must be the same in "
                f"every episode. Put it beside {self!r}."
            )

    def before_reset(self, sim: Any, reset_flag: bool) -> bool:
        """Draw the active ones."""
        if self.options != -1:
            drawn = sim.np_random.choice(len(self.callbacks), self.options, replace=False)
            self.active = [int(index) for index in drawn]
        for callback in self.activate_callbacks:
            reset_flag = callback.before_reset(sim, reset_flag)
        return reset_flag

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Pass on."""
        for callback in self.activate_callbacks:
            obs, info = callback.after_reset(sim, obs, info)
        return obs, info

    def before_step(self, sim: Any, action: dict[str, Any]) -> dict[str, Any]:
        """Pass on."""
        for callback in self.activate_callbacks:
            action = callback.before_step(sim, action)
        return action

    def after_step(
        self, sim: Any, obs: Observation, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> StepResult:
        """Pass on."""
        for callback in self.activate_callbacks:
            obs, reward, terminated, truncated, info = callback.after_step(
                sim, obs, reward, terminated, truncated, info
            )
        return obs, reward, terminated, truncated, info

    def before_close(self, sim: Any) -> None:
        """Pass on to all, also to those that are not active: they may hold something open."""
        for callback in self.callbacks:
            callback.before_close(sim)

    def after_close(self, sim: Any) -> None:
        """Pass on to all."""
        for callback in self.callbacks:
            callback.after_close(sim)

    def before_render(self, sim: Any, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pass on."""
        for callback in self.activate_callbacks:
            image = callback.before_render(sim, image)
        return image

    def after_render(self, sim: Any, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pass on."""
        for callback in self.activate_callbacks:
            image = callback.after_render(sim, image)
        return image

    def max_batch(self, sim: Any) -> int | None:
        """The least that an active one allows."""
        limits = [limit for c in self.activate_callbacks if (limit := c.max_batch(sim)) is not None]
        return min(limits, default=None)

    def get_state(self) -> dict[str, Any]:
        """Who is active, and what each remembers."""
        return {"active": list(self.active), "callbacks": [callback.get_state() for callback in self.callbacks]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.active = [int(index) for index in state["active"]]
        for callback, remembered in zip(self.callbacks, state["callbacks"], strict=True):
            callback.set_state(remembered)

    def __repr__(self) -> str:
        return f"Compose({self.callbacks}, options={self.options})"

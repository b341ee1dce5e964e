"""Callbacks that change what is done: masked actions, commands, mobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.callbacks.base import MinecraftCallback, Observation, pass_over
from minestudio_nb.simulator.mobs import mob_kind
from minestudio_nb.simulator.state import P_X, P_Y, P_Z


class MaskActionsCallback(MinecraftCallback):
    """Fixes parts of the env action: ``MaskActionsCallback(inventory=0, attack=0)``.

    Keys with a dot are passed by mapping: ``MaskActionsCallback(**{"hotbar.1": 0})``.
    """

    batch_ticks = True

    def __init__(self, **action_settings: Any) -> None:
        self.action_settings = action_settings

    @staticmethod
    def create_from_conf(source: Mapping[str, Any] | str | Path) -> MaskActionsCallback | None:
        """From ``mask_actions``, a mapping."""
        data = MinecraftCallback.load_data_from_conf(source)
        return MaskActionsCallback(**data["mask_actions"]) if "mask_actions" in data else None

    def before_step(self, sim: Any, action: dict[str, Any]) -> dict[str, Any]:
        """Overwrite the fixed parts."""
        action.update(self.action_settings)
        return action

    def __repr__(self) -> str:
        return f"MaskActionsCallback({self.action_settings})"


class CommandsCallback(MinecraftCallback):
    """Carries out chat commands after each reset; see ``commands`` for those that are known."""

    def __init__(self, commands: Sequence[str]) -> None:
        self.commands = list(commands)

    @staticmethod
    def create_from_conf(source: Mapping[str, Any] | str | Path) -> CommandsCallback | None:
        """From ``custom_init_commands``, or else ``commands``."""
        data = MinecraftCallback.load_data_from_conf(source)
        commands = data.get("custom_init_commands", data.get("commands"))
        return CommandsCallback(commands) if commands is not None else None

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Run the commands, and look again."""
        for command in self.commands:
            try:
                sim.execute(command)
            except SimulatorError as error:
                raise SimulatorError(f"CommandsCallback cannot carry out {command!r}. {error}") from error
        return sim.look_again(obs, info)

    def __repr__(self) -> str:
        return f"CommandsCallback(commands={self.commands})"


class SummonMobsCallback(MinecraftCallback):
    """Puts mobs around the player after each reset.

    Args:
        mobs: a list of ``{"name": "cow", "number": 10, "range_x": [-5, 5], "range_z": [-5, 5]}``; the ranges are
            distances from the player in blocks. ``mob_name`` is understood for ``name``.

    Raises:
        SimulatorError: a missing key; an unknown mob, when a simulation takes it.
    """

    def __init__(self, mobs: Sequence[Mapping[str, Any]]) -> None:
        self.mobs = [dict(mob) for mob in mobs]
        for mob in self.mobs:
            missing = [key for key in ("number", "range_x", "range_z") if key not in mob]
            if missing or not (mob.get("name") or mob.get("mob_name")):
                raise SimulatorError(
                    f"SummonMobsCallback needs name, number, range_x and range_z for each entry; got {mob}."
                )
        self._kinds: list[int | None] = [None] * len(self.mobs)

    @staticmethod
    def create_from_conf(source: Mapping[str, Any] | str | Path) -> SummonMobsCallback | None:
        """From ``summon_mobs``."""
        data = MinecraftCallback.load_data_from_conf(source)
        return SummonMobsCallback(data["summon_mobs"]) if "summon_mobs" in data else None

    def attach(self, sim: Any) -> None:
        """Look the mobs up."""
        for index, mob in enumerate(self.mobs):
            try:
                self._kinds[index] = mob_kind(mob.get("name") or mob["mob_name"])
            except SimulatorError as error:
                pass_over(sim, self, error)

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Summon, and look again."""
        player = sim.engine.state.player
        for mob, kind in zip(self.mobs, self._kinds, strict=True):
            for _ in range(int(mob["number"]) if kind is not None else 0):
                x = player[P_X] + sim.np_random.uniform(*mob["range_x"])
                z = player[P_Z] + sim.np_random.uniform(*mob["range_z"])
                sim.engine.summon_on_ground(kind, x, player[P_Y], z)
        return sim.look_again(obs, info)

    def __repr__(self) -> str:
        return f"SummonMobsCallback({self.mobs})"

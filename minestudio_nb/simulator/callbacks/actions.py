"""Callbacks that change what is done: masked actions, commands, mobs, and the start of an episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.callbacks.base import MinecraftCallback, Observation
from minestudio_nb.simulator.engine import WEATHERS
from minestudio_nb.simulator.mobs import mob_kind
from minestudio_nb.simulator.state import P_X, P_Y, P_Z
from minestudio_nb.simulator.terrain import resolve_biome


class MaskActionsCallback(MinecraftCallback):
    """Fixes parts of the env action: ``MaskActionsCallback(inventory=0, attack=0)``.

    Keys with a dot are passed by mapping: ``MaskActionsCallback(**{"hotbar.1": 0})``.
    """

    batch_ticks = True

    def __init__(self, **action_settings: Any) -> None:
        self.action_settings = action_settings

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

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Run the commands, and look again."""
        for command in self.commands:
            sim.execute(command)
        return sim.look_again(obs, info)

    def __repr__(self) -> str:
        return f"CommandsCallback(commands={self.commands})"


class SummonMobsCallback(MinecraftCallback):
    """Puts mobs around the player after each reset.

    Args:
        mobs: a list of ``{"name": "cow", "number": 10, "range_x": [-5, 5], "range_z": [-5, 5]}``; the ranges are
            distances from the player in blocks. ``mob_name`` is understood for ``name``.

    Raises:
        SimulatorError: an unknown mob, or a missing key.
    """

    def __init__(self, mobs: Sequence[Mapping[str, Any]]) -> None:
        self.mobs = [dict(mob) for mob in mobs]
        for mob in self.mobs:
            missing = [key for key in ("number", "range_x", "range_z") if key not in mob]
            if missing or not (mob.get("name") or mob.get("mob_name")):
                raise SimulatorError(
                    f"SummonMobsCallback needs name, number, range_x and range_z for each entry; got {mob}."
                )
            mob_kind(mob.get("name") or mob["mob_name"])

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Summon, and look again."""
        player = sim.engine.state.player
        for mob in self.mobs:
            for _ in range(int(mob["number"])):
                x = player[P_X] + sim.np_random.uniform(*mob["range_x"])
                z = player[P_Z] + sim.np_random.uniform(*mob["range_z"])
                sim.engine.summon_on_ground(mob_kind(mob.get("name") or mob["mob_name"]), x, player[P_Y], z)
        return sim.look_again(obs, info)

    def __repr__(self) -> str:
        return f"SummonMobsCallback({self.mobs})"


class FastResetCallback(MinecraftCallback):
    """From the second reset on, starts in one of the given biomes, at a given time and in given weather.

    In Minecraft this avoids building a world anew. Here every reset is a memory copy, so that blocks that were broken
    are back, and the initial inventory too; what remains is the choice of biome, time and weather.

    Args:
        biomes: one is drawn for each reset.
        random_tp_range: in Minecraft, how far apart starts are. Starts here are anywhere in the world in any case.
        start_time: time of day in ticks.
        start_weather: "clear", "rain" or "thunder".

    Raises:
        SimulatorError: unknown biome or weather.
    """

    def __init__(
        self, biomes: Sequence[str], random_tp_range: int, start_time: int = 0, start_weather: str = "clear"
    ) -> None:
        if not biomes:
            raise SimulatorError("FastResetCallback needs at least one biome.")
        for biome in biomes:
            resolve_biome(biome)
        if start_weather not in WEATHERS:
            raise SimulatorError(f"The weather is one of {', '.join(WEATHERS)}; got {start_weather!r}.")
        self.biomes = list(biomes)
        self.random_tp_range = random_tp_range
        self.start_time = start_time
        self.start_weather = start_weather

    def before_reset(self, sim: Any, reset_flag: bool) -> bool:
        """Reset the engine to one of the biomes, unless this is the first reset."""
        if not sim.already_reset:
            return reset_flag
        biome = self.biomes[int(sim.np_random.integers(len(self.biomes)))]
        sim.engine.reset(sim.np_random, biome)
        sim.engine.set_time(self.start_time)
        sim.engine.set_weather(self.start_weather)
        return False

    def __repr__(self) -> str:
        return f"FastResetCallback(biomes={self.biomes}, random_tp_range={self.random_tp_range})"

"""Callbacks that say how an episode starts: where, when, and with what."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.biomes import resolve_biome
from minestudio_nb.simulator.callbacks.base import MinecraftCallback, Observation, pass_over
from minestudio_nb.simulator.engine import WEATHERS, ground_below_trees
from minestudio_nb.simulator.inventory import BACKPACK_SLOTS, EQUIPMENT_SLOTS, slot_number

SETTLE_TICKS: Final = 50
"""Idle ticks after a hard reset, as in MineStudio."""
_SAFE_FALL: Final = 3  # blocks that a player falls unhurt

DISTRACTION_LEVELS: Final[dict[str, Sequence[int]]] = {
    "zero": (0,),
    "one": (1,),
    "easy": range(3, 7),
    "middle": range(7, 16),
    "hard": range(16, 35),
    "normal": range(0, 35),
}
"""MineStudio's names for how many random items are added: one of these numbers is drawn at each reset."""
ONE_ITEM_SHARE: Final = 0.7
"""How often a "random" quantity is 1; otherwise it is any that one stack holds (MineStudio's value)."""
_CONDITION: Final = re.compile(r"(<=|>=|==|<|>)\s*(\d+)")
_COMPARISONS: Final = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}
_HOTBAR_SLOTS: Final = 9


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

    @staticmethod
    def create_from_conf(source: Mapping[str, Any] | str | Path) -> FastResetCallback | None:
        """From ``biomes`` and ``random_tp_range``, with ``start_time`` and ``start_weather`` if given."""
        data = MinecraftCallback.load_data_from_conf(source)
        if not {"biomes", "random_tp_range"} <= set(data):
            return None
        optional = {key: data[key] for key in ("start_time", "start_weather") if key in data}
        return FastResetCallback(data["biomes"], data["random_tp_range"], **optional)

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


class HardResetCallback(MinecraftCallback):
    """Starts each episode in a world and at a place of a list, drawn at random. It comes first among callbacks.

    Args:
        spawn_positions: ``[{"seed": 19961103, "position": [x, y, z]}, ...]``: the seed of the world, and where the
            feet are. Heights of Minecraft's worlds mean nothing here: where the place lies in rock, in water or more
            than three blocks above the ground, the player stands on the ground at this x and z.

    Raises:
        SimulatorError: no position, or one that is not three finite numbers with a seed.
    """

    def __init__(self, spawn_positions: Sequence[Mapping[str, Any]]) -> None:
        self.spawn_positions = [dict(entry) for entry in spawn_positions]
        for entry in self.spawn_positions or [{}]:
            place = entry.get("position", ())
            if not isinstance(entry.get("seed"), int) or len(place) != 3 or not np.isfinite(place).all():
                raise SimulatorError(
                    f"HardResetCallback needs a list of {{'seed': int, 'position': [x, y, z]}}; got {entry}."
                )
        self.position = self.spawn_positions[0]

    @staticmethod
    def create_from_conf(source: Mapping[str, Any] | str | Path) -> HardResetCallback | None:
        """From ``spawn_positions``."""
        data = MinecraftCallback.load_data_from_conf(source)
        return HardResetCallback(data["spawn_positions"]) if "spawn_positions" in data else None

    def before_reset(self, sim: Any, reset_flag: bool) -> bool:
        """Choose the place, and have the world built from its seed."""
        self.position = self.spawn_positions[int(sim.np_random.integers(len(self.spawn_positions)))]
        sim.engine.use_seed(self.position["seed"])
        return True

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Go there, let the world settle, and look again."""
        x, y, z = (float(value) for value in self.position["position"])
        ground = int(ground_below_trees(sim.engine.state.world.blocks, int(np.floor(x)), int(np.floor(z))))
        if ground > 0 and not ground <= y <= ground + _SAFE_FALL:
            y = float(ground)
        sim.engine.teleport(x, y, z)
        sim.engine.idle(SETTLE_TICKS)
        return sim.look_again(obs, info)

    def get_state(self) -> dict[str, Any]:
        """Where this episode began."""
        return {"position": self.spawn_positions.index(self.position)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.position = self.spawn_positions[state["position"]]

    def __repr__(self) -> str:
        return f"HardResetCallback(spawn_positions={self.spawn_positions})"


class InitInventoryCallback(MinecraftCallback):
    """Puts items into slots after each reset, by ``/replaceitem``; other slots stay as they are.

    Args:
        init_inventory: ``[{"slot": 0, "type": "oak_planks", "quantity": 64}, ...]``. A slot is 0 to 40, or "random": a
            free one of the backpack. A quantity is a number, "random", or conditions that all hold, such as ">2" or
            "<12,>10"; it is at least 1 and at most what one stack holds.
        distraction_level: how many random items are put into further slots: a key of ``DISTRACTION_LEVELS``, or a list
            of numbers, one of which is drawn at each reset.

    Raises:
        SimulatorError: an entry that lacks a key, an unknown slot or level; an unknown item or a quantity that cannot
            be, when a simulation takes it.
    """

    def __init__(
        self, init_inventory: Sequence[Mapping[str, Any]], distraction_level: str | Sequence[int] = (0,)
    ) -> None:
        self.init_inventory = [dict(entry) for entry in init_inventory]
        self._quantities: list[Quantity | None] = [None] * len(self.init_inventory)
        for entry in self.init_inventory:
            if not {"slot", "type", "quantity"} == set(entry):
                raise SimulatorError(f"InitInventoryCallback takes entries of slot, type and quantity; got {entry}.")
            if entry["slot"] != "random":
                slot_number(entry["slot"])
        if isinstance(distraction_level, str):
            if distraction_level not in DISTRACTION_LEVELS:
                known = ", ".join(DISTRACTION_LEVELS)
                raise SimulatorError(f"distraction_level is one of {known}, or a list; got {distraction_level!r}.")
            distraction_level = DISTRACTION_LEVELS[distraction_level]
        self.distraction_level = [int(number) for number in distraction_level]
        if not self.distraction_level or min(self.distraction_level) < 0:
            raise SimulatorError(f"distraction_level holds numbers of items; got {self.distraction_level}.")

    @staticmethod
    def create_from_conf(source: Mapping[str, Any] | str | Path) -> InitInventoryCallback | None:
        """From ``init_inventory``, with ``distraction_level`` if given."""
        data = MinecraftCallback.load_data_from_conf(source)
        if "init_inventory" not in data:
            return None
        return InitInventoryCallback(data["init_inventory"], data.get("distraction_level", (0,)))

    def attach(self, sim: Any) -> None:
        """Look the items up."""
        for index, entry in enumerate(self.init_inventory):
            try:
                stack = _stack_size(entry["type"])
            except SimulatorError as error:
                pass_over(sim, self, error)
            else:
                self._quantities[index] = Quantity(entry["quantity"], stack)

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Fill the slots, and look again."""
        rng = sim.np_random
        taken = {slot_number(entry["slot"]) for entry in self.init_inventory if entry["slot"] != "random"}
        free = [slot for slot in range(BACKPACK_SLOTS) if slot not in taken]
        for entry, quantity in zip(self.init_inventory, self._quantities, strict=True):
            if quantity is None:
                continue
            if entry["slot"] != "random":
                slot = slot_number(entry["slot"])
            elif free:
                slot = free.pop(int(rng.integers(len(free))))
            else:
                raise SimulatorError(f"InitInventoryCallback has more items than the backpack has slots: {entry}.")
            self._put(sim, slot, entry["type"], quantity.draw(rng))
        for _ in range(min(int(rng.choice(self.distraction_level)), len(free))):
            slot = free.pop(int(rng.integers(len(free))))
            item = table.ITEM_NAMES[1 + int(rng.integers(len(table.ITEM_NAMES) - 1))]  # the first is air
            self._put(sim, slot, item, Quantity("random", _stack_size(item)).draw(rng))
        return sim.look_again(obs, info)

    @staticmethod
    def _put(sim: Any, slot: int, item: str, quantity: int) -> None:
        sim.execute(f"/replaceitem entity @p {_command_slot(slot)} {item} {quantity}")

    def __repr__(self) -> str:
        return f"InitInventoryCallback({self.init_inventory})"


class Quantity:
    """How many items: a number, "random", or conditions joined by commas, all of which hold.

    Args:
        wanted: such as 3, "random", ">2" or "<12,>=10".
        stack: the most that one stack holds.

    Raises:
        SimulatorError: it cannot be read, or no number from 1 to ``stack`` satisfies it.
    """

    def __init__(self, wanted: int | str, stack: int) -> None:
        self.often_one = wanted == "random"
        self.candidates = list(range(1, stack + 1))
        if isinstance(wanted, int):
            self.candidates = [wanted] if 1 <= wanted <= stack else []
        elif not self.often_one:
            for part in str(wanted).split(","):
                match = _CONDITION.fullmatch(part.strip())
                if not match:
                    raise SimulatorError(
                        f"A quantity is a number, 'random', or like '>2' or '<12,>10'; got {wanted!r}."
                    )
                holds, bound = _COMPARISONS[match[1]], int(match[2])
                self.candidates = [number for number in self.candidates if holds(number, bound)]
        if not self.candidates:
            raise SimulatorError(f"No quantity from 1 to {stack}, what one stack holds, is {wanted!r}.")

    def draw(self, rng: np.random.Generator) -> int:
        """One of the numbers that are possible."""
        if self.often_one and rng.random() < ONE_ITEM_SHARE:
            return 1
        return self.candidates[int(rng.integers(len(self.candidates)))]


def _stack_size(item: str) -> int:
    return int(table.STACK_SIZE[table.item_id(item)])


def _command_slot(slot: int) -> str:
    """The name that commands have for a slot."""
    if slot < BACKPACK_SLOTS:
        return f"hotbar.{slot}" if slot < _HOTBAR_SLOTS else f"inventory.{slot - _HOTBAR_SLOTS}"
    name = next(name for name, number in EQUIPMENT_SLOTS.items() if number == slot)
    return f"weapon.{name}" if name == "offhand" else f"armor.{name}"

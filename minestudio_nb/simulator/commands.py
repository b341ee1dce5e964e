"""Chat commands: the part of Minecraft's that MineStudio's configurations and callbacks use.

Selectors stand for "the player" or "all mobs": there is one player, and finer selection than a mob's type is refused
rather than ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import numpy as np

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator import mobs
from minestudio_nb.simulator.engine import VoxelEngine
from minestudio_nb.simulator.inventory import give, set_slot, slot_number
from minestudio_nb.simulator.state import (
    C_DEATHS,
    E_CUSTOM,
    FULL_HEALTH,
    M_KIND,
    P_FOOD,
    P_HEALTH,
    P_X,
    P_Z,
    S_DEAD,
    S_INVULNERABLE,
    S_NIGHT_VISION,
    S_TIME,
)

_PLAYERS: Final = ("@p", "@s", "@a", "@r")
_TIMES: Final = {"day": 1000, "noon": 6000, "night": 13000, "midnight": 18000}
_EXECUTE: Final = re.compile(r"execute\s+(?:(?:as|at)\s+@[psar]\s+)*run\s+(?P<command>.+)")
_ENTITIES: Final = re.compile(r"@e(?:\[type=(?P<negated>!?)(?:minecraft:)?(?P<type>\w+)\])?")
_LARGEST_FILL: Final = 32768  # cells, as in Minecraft


def execute(engine: VoxelEngine, command: str, seed: int) -> None:
    """Carry out one chat command. No time passes.

    Args:
        engine: the world that it acts on.
        command: with or without the leading slash.
        seed: for commands that involve chance (teleportbiome).

    Raises:
        SimulatorError: the command, or one of its words, is not known; the message says what is.
    """
    _carry_out(engine, command, np.random.default_rng(seed))
    engine.serial += 1
    if engine.recording is not None:
        engine.recording.add_command(command, seed)


def _carry_out(engine: VoxelEngine, command: str, rng: np.random.Generator) -> None:
    text = command.strip().removeprefix("/").strip()
    nested = _EXECUTE.fullmatch(text)
    if nested:
        _carry_out(engine, nested["command"], rng)
        return
    words = text.split()
    handler = _HANDLERS.get(words[0].removeprefix("minecraft:")) if words else None
    if handler is None:
        raise SimulatorError(f"The command {command!r} is not known here; known are {', '.join(sorted(_HANDLERS))}.")
    try:
        handler(engine, words[1:], rng)
    except (IndexError, ValueError) as error:
        raise SimulatorError(f"The command {command!r} cannot be read: {error}.") from error


def _check_player(selector: str) -> None:
    if selector not in _PLAYERS:
        raise SimulatorError(f"The one player is selected by {', '.join(_PLAYERS)}; got {selector!r}.")


def _coordinate(text: str, origin: float) -> float:
    """An absolute coordinate, or one relative to ``origin`` as "~" or "~3"."""
    if text.startswith("~"):
        return origin + (float(text[1:]) if len(text) > 1 else 0.0)
    return float(text)


def _position(engine: VoxelEngine, words: list[str]) -> tuple[float, float, float]:
    if len(words) < 3:
        raise ValueError("a position has three coordinates")
    player = engine.state.player
    x, y, z = (_coordinate(words[i], float(player[P_X + i])) for i in range(3))
    return x, y, z


def _cell(engine: VoxelEngine, words: list[str]) -> tuple[int, int, int]:
    x, y, z = (int(np.floor(value)) for value in _position(engine, words))
    return x, y, z


def _give(engine: VoxelEngine, words: list[str], rng: np.random.Generator) -> None:
    _check_player(words[0])
    count = int(words[2]) if len(words) > 2 else 1
    if not 1 <= count <= 2304:
        raise ValueError(f"a count is 1 to 2304, got {count}")
    give(engine.state.inventory, table.item_id(words[1].split("{")[0]), count)


def _clear(engine: VoxelEngine, words: list[str], rng: np.random.Generator) -> None:
    inventory = engine.state.inventory
    if len(words) > 1:
        inventory[inventory[:, 0] == table.item_id(words[1])] = 0
    else:
        inventory[:] = 0


def _replace_item(engine: VoxelEngine, words: list[str], rng: np.random.Generator) -> None:
    if words[0] != "entity":
        raise ValueError("only 'replaceitem entity' is known")
    _check_player(words[1])
    count = int(words[4]) if len(words) > 4 else 1
    set_slot(engine.state.inventory, slot_number(words[2]), words[3].split("{")[0], count)


def _time(engine: VoxelEngine, words: list[str], rng: np.random.Generator) -> None:
    value = _TIMES[words[1]] if words[1] in _TIMES else int(words[1].removesuffix("t"))
    if words[0] == "set":
        engine.set_time(value)
    elif words[0] == "add":
        engine.set_time(int(engine.state.status[S_TIME]) + value)
    else:
        raise ValueError("only 'time set' and 'time add' are known")


def _weather(engine: VoxelEngine, words: list[str], rng: np.random.Generator) -> None:
    engine.set_weather(words[0])


def _kill(engine: VoxelEngine, words: list[str], rng: np.random.Generator) -> None:
    if not words or words[0] in _PLAYERS:
        _kill_player(engine)
        return
    selected = _ENTITIES.fullmatch(words[0])
    if not selected:
        raise SimulatorError(f"/kill takes a player, @e, @e[type=<mob>] or @e[type=!<mob>]; it got {words[0]!r}.")
    kinds = engine.state.mobs[:, M_KIND]
    negated, kind = selected["negated"] == "!", selected["type"]
    if kind is None:
        _kill_player(engine)
        kinds[:] = -1.0
    elif kind in ("player", "item"):
        if negated:
            kinds[:] = -1.0  # everything but the player, or but items, of which none lie about
        if (kind == "player") != negated:
            _kill_player(engine)
    else:
        number = mobs.mob_kind(kind)
        kinds[(kinds != number) if negated else (kinds == number)] = -1.0
        if negated:
            _kill_player(engine)


def _kill_player(engine: VoxelEngine) -> None:
    state = engine.state
    if not engine.dead:
        state.player[P_HEALTH] = 0.0
        state.status[S_DEAD] = 1
        state.stats[E_CUSTOM, C_DEATHS] += 1


def _teleport(engine: VoxelEngine, words: list[str], rng: np.random.Generator) -> None:
    if words[0].startswith("@"):
        _check_player(words[0])
        words = words[1:]
    engine.teleport(*_position(engine, words))


def _teleport_biome(engine: VoxelEngine, words: list[str], rng: np.random.Generator) -> None:
    """Another world of the wanted biome takes the place of this one; the inventory and the counters stay."""
    _check_player(words[0])
    engine.change_world(rng, words[1])


def _summon(engine: VoxelEngine, words: list[str], rng: np.random.Generator) -> None:
    kind = mobs.mob_kind(words[0])
    player = engine.state.player
    x, y, z = _position(engine, words[1:4]) if len(words) > 1 else tuple(player[P_X : P_Z + 1].tolist())
    mobs.summon(engine.state, kind, x, y, z)


def _set_block(engine: VoxelEngine, words: list[str], rng: np.random.Generator) -> None:
    engine.state.world.set(*_cell(engine, words), table.block_id(words[3]))


def _fill(engine: VoxelEngine, words: list[str], rng: np.random.Generator) -> None:
    low, high = _cell(engine, words), _cell(engine, words[3:])
    block = table.block_id(words[6])
    ranges = [range(min(a, b), max(a, b) + 1) for a, b in zip(low, high, strict=True)]
    if len(ranges[0]) * len(ranges[1]) * len(ranges[2]) > _LARGEST_FILL:
        raise ValueError(f"at most {_LARGEST_FILL} cells are filled at once")
    for x in ranges[0]:
        for z in ranges[2]:
            for y in ranges[1]:
                engine.state.world.set(x, y, z, block)


def _effect(engine: VoxelEngine, words: list[str], rng: np.random.Generator) -> None:
    status, player = engine.state.status, engine.state.player
    if words[0] == "clear":
        status[[S_NIGHT_VISION, S_INVULNERABLE]] = 0
        return
    if words[0] != "give":
        raise ValueError("only 'effect give' and 'effect clear' are known")
    _check_player(words[1])
    name = words[2].removeprefix("minecraft:")
    ticks = 20 * (int(words[3]) if len(words) > 3 else 30)
    level = int(words[4]) if len(words) > 4 else 0
    if name == "instant_health":
        player[P_HEALTH] = min(FULL_HEALTH, player[P_HEALTH] + 4.0 * 2**level)
    elif name == "saturation":
        player[P_FOOD] = FULL_HEALTH
    elif name == "night_vision":
        status[S_NIGHT_VISION] = ticks
    elif name == "resistance" and level >= 4:  # from this level on, the game takes off all damage
        status[S_INVULNERABLE] = ticks
    else:
        raise SimulatorError(
            "Effects known here are instant_health, saturation, night_vision, and resistance from level 4 on; "
            f"got {name} at level {level}."
        )


_HANDLERS: Final[dict[str, Callable[[VoxelEngine, list[str], np.random.Generator], None]]] = {
    "clear": _clear,
    "effect": _effect,
    "fill": _fill,
    "give": _give,
    "kill": _kill,
    "replaceitem": _replace_item,
    "setblock": _set_block,
    "summon": _summon,
    "teleport": _teleport,
    "teleportbiome": _teleport_biome,
    "time": _time,
    "tp": _teleport,
    "weather": _weather,
}

"""Chat commands: the part of Minecraft 1.16's that configurations use, and two of our own, /craft and /smelt.

Selectors, coordinates and names are read in ``command_words``. What is not known here is refused, with the nearest
name, rather than passed over; ``VoxelEngine.unknown_commands`` says whether that is an error or a warning. A command
takes no time by itself.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Final

import numpy as np

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator import crafting, mobs
from minestudio_nb.simulator.command_words import (
    PLAYER,
    Context,
    Entity,
    check_player,
    nearest,
    read_block,
    read_cell,
    read_count,
    read_item,
    read_number,
    read_pairs,
    read_position,
    select,
    split_words,
)
from minestudio_nb.simulator.engine import VoxelEngine
from minestudio_nb.simulator.inventory import give, set_slot, slot_number
from minestudio_nb.simulator.items import spawn_item
from minestudio_nb.simulator.rules import set_rule
from minestudio_nb.simulator.state import (
    A_STATE,
    A_X,
    ARROW_FREE,
    C_DEATHS,
    DIFFICULTIES,
    E_CUSTOM,
    FULL_HEALTH,
    I_ITEM,
    I_X,
    M_HEALTH,
    M_KIND,
    M_X,
    P_FOOD,
    P_HEALTH,
    P_PITCH,
    P_SATURATION,
    P_YAW,
    PEACEFUL,
    S_DEAD,
    S_DIFFICULTY,
    S_HUNGER,
    S_INVULNERABLE,
    S_NIGHT_VISION,
    S_SLOT,
    S_STRENGTH,
    S_STRENGTH_LEVEL,
    S_TIME,
    SLOT_COUNT,
    SLOT_DAMAGE,
    SLOT_ITEM,
)

_log = logging.getLogger(__name__)

Handler = Callable[[Context, list[str]], None]

_TIMES: Final = {"day": 1000, "noon": 6000, "night": 13000, "midnight": 18000}
_TIME_UNITS: Final = {"d": 24000, "s": 20, "t": 1}
_LARGEST_FILL: Final = 32768  # cells, as in Minecraft
_MOST_GIVEN: Final = 2304  # a whole inventory of full stacks
_FILL_MODES: Final = ("replace", "keep", "outline", "hollow", "destroy")
_DEEPEST: Final = 16  # /execute within /execute


def execute(engine: VoxelEngine, command: str, seed: int) -> None:
    """Carry out one chat command. No time passes.

    Args:
        engine: the world that it acts on.
        command: with or without the leading slash.
        seed: for commands that involve chance (teleportbiome, random selections).

    Raises:
        SimulatorError: the command, or one of its words, is not known, and the engine is not lenient; the message says
            what is known.
    """
    try:
        _carry_out(Context.of_player(engine, np.random.default_rng(seed)), command, _DEEPEST)
    except SimulatorError as error:
        if engine.unknown_commands == "error":
            raise
        if command not in engine.ignored_commands:
            engine.ignored_commands.add(command)
            text = f"The command {command!r} is ignored. {error}"
            _log.warning(text)
            warnings.warn(text, stacklevel=2)
        return
    engine.serial += 1
    if engine.recording is not None:
        engine.recording.add_command(command, seed)


def _carry_out(context: Context, command: str, depth: int) -> None:
    words = split_words(command.strip().removeprefix("/"))
    name = words[0].removeprefix("minecraft:") if words else ""
    if depth == 0:
        raise SimulatorError(f"/execute is nested at most {_DEEPEST} deep.")
    if name not in _HANDLERS and name != "execute":
        raise SimulatorError(
            f"The command {command!r} is not known here; known are {', '.join(sorted([*_HANDLERS, 'execute']))}. "
            f"The nearest is {nearest(name, _HANDLERS)!r}."
        )
    try:
        if name == "execute":
            _execute(context, words[1:], depth)
        else:
            _HANDLERS[name](context, words[1:])
    except (IndexError, ValueError) as error:
        raise SimulatorError(f"The command {command!r} cannot be read: {error}.") from error


def _execute(context: Context, words: list[str], depth: int) -> None:
    """One link of an /execute chain, then the rest of it, for every entity that the link means."""
    link = words[0]
    if link == "run":
        _carry_out(context, " ".join(words[1:]), depth - 1)
    elif link in ("as", "at"):
        for entity in select(context, words[1]):
            inner = context.at(entity) if link == "at" else Context(**{**vars(context), "executor": entity})
            _execute(inner, words[2:], depth)
    elif link == "positioned":
        x, y, z = read_position(context, words[1:4])
        _execute(Context(**{**vars(context), "x": x, "y": y, "z": z}), words[4:], depth)
    elif link in ("if", "unless") and words[1] == "entity":
        if bool(select(context, words[2])) == (link == "if"):
            _execute(context, words[3:], depth)
    elif link in ("if", "unless") and words[1] == "block":
        holds = context.engine.state.world.get(*read_cell(context, words[2:5])) == read_block(words[5])
        if holds == (link == "if"):
            _execute(context, words[6:], depth)
    else:
        raise SimulatorError(f"/execute knows as, at, positioned, if|unless entity|block, and run; got {link!r}.")


def _give(context: Context, words: list[str]) -> None:
    count = read_count(words[2], _MOST_GIVEN) if len(words) > 2 else 1
    item, damage = read_item(words[1])
    if check_player(context, words[0]) and item != table.AIR:  # a stack of air is no stack
        give_or_drop(context.engine, item, count, damage)


def give_or_drop(engine: VoxelEngine, item: int, count: int, damage: int = 0) -> None:
    """Put items into the inventory, and what finds no room at the player's feet."""
    state = engine.state
    left = count - give(state.inventory, item, count, damage)
    x, y, z = PLAYER.where(engine)
    while left > 0:
        stack = min(left, int(table.STACK_SIZE[item]))
        spawn_item(state.arrays(), item, stack, damage, x, y, z, 0.0, 0.0, 0.0, 0)
        left -= stack


def _clear(context: Context, words: list[str]) -> None:
    if words and not check_player(context, words[0]):
        return
    inventory = context.engine.state.inventory
    wanted = read_item(words[1])[0] if len(words) > 1 else None
    left = read_count(words[2], 10**9) if len(words) > 2 else 10**9
    for stack in inventory:
        if stack[SLOT_COUNT] > 0 and (wanted is None or stack[SLOT_ITEM] == wanted):
            taken = min(left, int(stack[SLOT_COUNT]))
            left -= taken
            stack[SLOT_COUNT] -= taken
            if stack[SLOT_COUNT] == 0:
                stack[:] = 0


def _replace_item(context: Context, words: list[str]) -> None:
    if words[0] != "entity":
        raise ValueError("only 'replaceitem entity' is known")
    state = context.engine.state
    slot = slot_number(words[2], int(state.status[S_SLOT]))
    name, data, _ = words[3].partition("{")
    count = read_count(words[4], 64) if len(words) > 4 else 1
    if not check_player(context, words[1]):
        return
    damage = read_item(words[3])[1] if data else 0
    set_slot(state.inventory, slot, name, count)
    state.inventory[slot, SLOT_DAMAGE] = damage


def _time(context: Context, words: list[str]) -> None:
    if words[0] not in ("set", "add"):
        raise ValueError("only 'time set' and 'time add' are known")
    text = words[1]
    if text in _TIMES and words[0] == "set":
        value = _TIMES[text]
    else:
        unit = _TIME_UNITS.get(text[-1])
        value = int(float(text[:-1]) * unit) if unit else int(text)
    if not 0 <= value <= 2**31 - 1:
        raise ValueError(f"a time is not negative, and below two billion ticks; got {text}")
    engine = context.engine
    engine.set_time(value if words[0] == "set" else int(engine.state.status[S_TIME]) + value)


def _weather(context: Context, words: list[str]) -> None:
    context.engine.set_weather(words[0])


def _kill(context: Context, words: list[str]) -> None:
    for entity in select(context, words[0]) if words else [context.executor]:
        kill(context.engine, entity)


def kill(engine: VoxelEngine, entity: Entity) -> None:
    """End an entity: the player dies, a mob drops what it drops, items and arrows vanish."""
    state = engine.state
    if entity.what == "player":
        if not engine.dead:
            state.player[P_HEALTH] = 0.0
            state.status[S_DEAD] = 1
            state.stats[E_CUSTOM, C_DEATHS] += 1
    elif entity.what == "mob":
        row = state.mobs[entity.row]
        mobs.drop_loot(state.arrays(), int(row[M_KIND]), row[M_X], row[M_X + 1], row[M_X + 2])
        row[M_KIND] = -1.0
    elif entity.what == "item":
        state.items[entity.row, I_ITEM] = -1.0
    else:
        state.arrows[entity.row, A_STATE] = ARROW_FREE


def _teleport(context: Context, words: list[str]) -> None:
    """/tp [who] x y z [yaw pitch], or /tp [who] <to whom>."""
    engine = context.engine
    selectors = [word for word in words[:2] if word.startswith("@")]
    moved = select(context, selectors[0]) if len(selectors) == 2 or len(words) > 3 else [context.executor]
    if len(words) > 3 and not selectors:
        raise ValueError("a player is selected by @p, @s, @a, @r")
    if len(selectors) == len(words):
        targets = select(context, selectors[-1])
        if not targets:
            return
        position, angles = targets[0].where(engine), []
    else:
        words = words[1:] if len(selectors) else words
        position, angles = read_position(context, words), [read_number(word) for word in words[3:]]
    if len(angles) not in (0, 2):
        raise ValueError("a view has two angles, yaw and pitch")
    for entity in moved:
        _move(engine, entity, position)
        if angles and entity == PLAYER:
            player = engine.state.player
            player[P_YAW] = (angles[0] + 180.0) % 360.0 - 180.0
            player[P_PITCH] = min(90.0, max(-90.0, angles[1]))


def _move(engine: VoxelEngine, entity: Entity, position: tuple[float, float, float]) -> None:
    state = engine.state
    if entity.what == "player":
        engine.teleport(*position)
    elif entity.what == "mob":
        state.mobs[entity.row, M_X : M_X + 3] = position
        engine.free_bodies()
    elif entity.what == "item":
        state.items[entity.row, I_X : I_X + 3] = position
    else:
        state.arrows[entity.row, A_X : A_X + 3] = position


def _teleport_biome(context: Context, words: list[str]) -> None:
    """Another world of the wanted biome takes the place of this one; the inventory and the counters stay."""
    if check_player(context, words[0]):
        context.engine.change_world(context.rng, words[1])


def _summon(context: Context, words: list[str]) -> None:
    data = dict(read_pairs(words[-1].strip("{}"), ":")) if words[-1].startswith("{") else {}
    words = words[:-1] if words[-1].startswith("{") else words
    x, y, z = read_position(context, words[1:4]) if len(words) > 1 else (context.x, context.y, context.z)
    engine = context.engine
    if words[0].removeprefix("minecraft:") == "item":
        raise SimulatorError("Items are not summoned here; /give drops what the inventory has no room for.")
    kind = mobs.mob_kind(words[0])
    unknown = set(data) - {"Age", "Health", "PersistenceRequired"}
    if unknown or int(data.get("Age", 0)) < 0:
        raise SimulatorError(f"Of a mob's data Age (not negative: adults) and Health are known here; got {data}.")
    if engine.state.status[S_DIFFICULTY] == PEACEFUL and mobs.MOB_KINDS[kind].hostile:
        return
    health = read_number(data.get("Health", "1e4").rstrip("f"))
    if health <= 0.0:
        raise ValueError(f"health is positive, got {health}")
    row = mobs.summon(engine.state, kind, x, y, z)
    engine.state.mobs[row, M_HEALTH] = min(health, mobs.MOB_KINDS[kind].health)


def _set_block(context: Context, words: list[str]) -> None:
    cell, block = read_cell(context, words), read_block(words[3])
    mode = words[4] if len(words) > 4 else "replace"
    if mode not in ("replace", "keep", "destroy"):
        raise ValueError("what is there is dealt with by replace, keep or destroy")
    _put(context.engine, [cell], block, mode)


def _fill(context: Context, words: list[str]) -> None:
    first, second = read_cell(context, words), read_cell(context, words[3:])
    low, high = np.minimum(first, second), np.maximum(first, second)
    block = read_block(words[6])
    rest = words[8:] if len(words) > 7 and words[7].isdigit() else words[7:]  # older versions had a number here
    mode = rest[0] if rest else "replace"
    if mode not in _FILL_MODES:
        raise ValueError(f"the modes are {', '.join(_FILL_MODES)}")
    only = read_block(rest[1]) if mode == "replace" and len(rest) > 1 else None
    if np.prod(high - low + 1) > _LARGEST_FILL:
        raise ValueError(f"at most {_LARGEST_FILL} cells are filled at once")
    cells = [(int(low[0] + x), int(low[1] + y), int(low[2] + z)) for x, y, z in np.ndindex(*(high - low + 1))]
    shell = [c for c in cells if any(c[axis] in (low[axis], high[axis]) for axis in range(3))]
    world = context.engine.state.world
    if mode in ("outline", "hollow"):
        if mode == "hollow":
            _put(context.engine, [c for c in cells if c not in set(shell)], table.AIR, "replace")
        cells, mode = shell, "replace"
    if only is not None:
        cells = [c for c in cells if world.get(*c) == only]
    _put(context.engine, cells, block, mode)


def _put(engine: VoxelEngine, cells: list[tuple[int, int, int]], block: int, mode: str) -> None:
    """Put a block into cells; bodies that it would enclose are lifted onto it."""
    world = engine.state.world
    for cell in cells:
        old = world.get(*cell)
        if mode == "keep" and old != table.AIR:
            continue
        if mode == "destroy":
            engine.break_block(*cell)
        world.set(*cell, block)
    engine.free_bodies()


def _effect(context: Context, words: list[str]) -> None:
    status, player = context.engine.state.status, context.engine.state.player
    if words[0] not in ("give", "clear"):
        raise ValueError("only 'effect give' and 'effect clear' are known")
    if len(words) > 1 and not check_player(context, words[1]):
        return
    name = words[2].removeprefix("minecraft:") if len(words) > 2 else None
    if name is not None and name not in (known := (*_AT_ONCE, *_LASTING)):
        raise SimulatorError(f"Effects known here are {', '.join(known)}; got {name}.")
    if words[0] == "clear":
        status[[field for effect, field in _LASTING.items() if name in (None, effect)]] = 0
        return
    if name is None:
        raise ValueError("which effect is missing")
    ticks = 20 * read_count(words[3], 1_000_000) if len(words) > 3 else 600
    level = read_count(words[4], 255) if len(words) > 4 else 0
    if name == "instant_health":
        player[P_HEALTH] = min(FULL_HEALTH, player[P_HEALTH] + 4.0 * 2 ** min(level, 6))
    elif name == "saturation":
        food = (level + 1) * max(1, ticks // 20)
        player[P_FOOD] = min(FULL_HEALTH, player[P_FOOD] + food)
        player[P_SATURATION] = min(player[P_FOOD], player[P_SATURATION] + 2 * food)
    elif name == "resistance" and level < 4:
        raise SimulatorError(f"Resistance is known here from level 4 on, which takes off all damage; got {level}.")
    elif name == "hunger" and level > 0:
        raise SimulatorError(f"Hunger is known here at level 0; got {level}.")
    else:
        status[_LASTING[name]] = ticks
        if name == "strength":
            status[S_STRENGTH_LEVEL] = level + 1


_AT_ONCE: Final = ("instant_health", "saturation")
# Effects that last, and the field of status with their ticks.
_LASTING: Final = {
    "hunger": S_HUNGER,
    "night_vision": S_NIGHT_VISION,
    "resistance": S_INVULNERABLE,
    "strength": S_STRENGTH,
}


def _difficulty(context: Context, words: list[str]) -> None:
    names = (*DIFFICULTIES, *(str(i) for i in range(len(DIFFICULTIES))))
    if words[0] not in names:
        raise ValueError(f"the difficulties are {', '.join(DIFFICULTIES)}")
    state = context.engine.state
    state.status[S_DIFFICULTY] = names.index(words[0]) % len(DIFFICULTIES)
    if state.status[S_DIFFICULTY] == PEACEFUL:
        for row in state.mobs:
            if row[M_KIND] >= 0 and mobs.MOB_KINDS[int(row[M_KIND])].hostile:
                row[M_KIND] = -1.0


def _game_mode(context: Context, words: list[str]) -> None:
    if words[0] not in ("survival", "s", "0"):
        raise SimulatorError(f"The only game mode here is survival; got {words[0]!r}.")


def _game_rule(context: Context, words: list[str]) -> None:
    if len(words) != 2:
        raise ValueError("a rule has a name and a value")
    set_rule(context.engine.state, words[0], words[1])


def _craft(context: Context, words: list[str]) -> None:
    count = read_count(words[1], _MOST_GIVEN) if len(words) > 1 else 1
    give_or_drop(context.engine, *crafting.craft(context.engine, words[0], count))


def _smelt(context: Context, words: list[str]) -> None:
    count = read_count(words[1], _MOST_GIVEN) if len(words) > 1 else 1
    give_or_drop(context.engine, *crafting.smelt(context.engine, words[0], count))


_HANDLERS: Final[dict[str, Handler]] = {
    "clear": _clear,
    "craft": _craft,
    "difficulty": _difficulty,
    "effect": _effect,
    "fill": _fill,
    "gamemode": _game_mode,
    "gamerule": _game_rule,
    "give": _give,
    "kill": _kill,
    "replaceitem": _replace_item,
    "setblock": _set_block,
    "smelt": _smelt,
    "summon": _summon,
    "teleport": _teleport,
    "teleportbiome": _teleport_biome,
    "time": _time,
    "tp": _teleport,
    "weather": _weather,
}

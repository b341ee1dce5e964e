"""Crafting and smelting by command, with Minecraft 1.16's recipes.

``/craft stick 8`` makes at least eight sticks out of what the inventory holds, and ``/smelt iron_ingot 3`` three ingots
with the fuel that it holds. Recipes that do not fit into a grid of 2x2 need a crafting table within reach, smelting a
furnace. Neither takes time, which is where they differ from the game.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.inventory import BACKPACK_SLOTS
from minestudio_nb.simulator.state import E_CRAFT, P_X, P_Y, P_Z, SLOT_COUNT, SLOT_ITEM
from minestudio_nb.simulator.vitals import eye_height

if TYPE_CHECKING:
    from minestudio_nb.simulator.engine import VoxelEngine

REACH: Final = 4.5
"""How far a crafting table or a furnace may be from the player's eyes, in blocks."""


@dataclass(frozen=True)
class Recipe:
    """How something is made.

    Attributes:
        count: how many come out.
        parts: ingredient -> how many; an ingredient is an item, or a tag of ``TAGS`` for any of several.
        table: whether it needs a crafting table.
    """

    count: int
    parts: Mapping[str, int]
    table: bool = True


TAGS: Final[dict[str, tuple[str, ...]]] = {
    "#planks": tuple(name for name in table.ITEM_NAMES if name.endswith("_planks")),
    "#logs": tuple(name for name in table.ITEM_NAMES if name.endswith("_log")),
    "#stones": ("cobblestone",),
    "#coals": ("coal", "charcoal"),
    "#wool": tuple(name for name in table.ITEM_NAMES if name.endswith("_wool")),
}
_WOODS: Final = ("oak", "birch", "spruce", "jungle", "acacia", "dark_oak")
_TOOL_HEADS: Final = {
    "wooden": "#planks", "stone": "#stones", "iron": "iron_ingot", "golden": "gold_ingot", "diamond": "diamond",
}  # fmt: skip
_TOOL_SHAPES: Final = {"axe": (3, 2), "pickaxe": (3, 2), "shovel": (1, 2), "sword": (2, 1), "hoe": (2, 2)}


def _tool_recipes() -> dict[str, Recipe]:
    return {
        f"{material}_{shape}": Recipe(1, {head: heads, "stick": sticks})
        for material, head in _TOOL_HEADS.items()
        for shape, (heads, sticks) in _TOOL_SHAPES.items()
    }


def _armor_recipes() -> dict[str, Recipe]:
    heads = {"leather": "leather"} | {
        name: part for name, part in _TOOL_HEADS.items() if name not in ("wooden", "stone")
    }
    return {
        f"{material}_{shape}": Recipe(1, {part: number})
        for material, part in heads.items()
        for shape, number in (("helmet", 5), ("chestplate", 8), ("leggings", 7), ("boots", 4))
    }


def _known(recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """Recipes of which this world has the result and all parts."""
    names = {*table.ITEM_NAMES, *TAGS}
    return {name: recipe for name, recipe in recipes.items() if {name, *recipe.parts} <= names}


RECIPES: Final[dict[str, Recipe]] = _known(
    {f"{wood}_planks": Recipe(4, {f"{wood}_log": 1}, table=False) for wood in _WOODS}
    | _tool_recipes()
    | _armor_recipes()
    | {
        "stick": Recipe(4, {"#planks": 2}, table=False),
        "crafting_table": Recipe(1, {"#planks": 4}, table=False),
        "torch": Recipe(4, {"#coals": 1, "stick": 1}, table=False),
        "flint_and_steel": Recipe(1, {"iron_ingot": 1, "flint": 1}, table=False),
        "shears": Recipe(1, {"iron_ingot": 2}, table=False),
        "book": Recipe(1, {"paper": 3, "leather": 1}, table=False),
        "sandstone": Recipe(1, {"sand": 4}, table=False),
        "stone_bricks": Recipe(4, {"stone": 4}, table=False),
        "diorite": Recipe(2, {"cobblestone": 2, "quartz": 2}, table=False),
        "andesite": Recipe(2, {"diorite": 1, "cobblestone": 1}, table=False),
        "clay": Recipe(1, {"clay_ball": 4}, table=False),
        "glowstone": Recipe(1, {"glowstone_dust": 4}, table=False),
        "snow_block": Recipe(1, {"snowball": 4}, table=False),
        "white_wool": Recipe(1, {"string": 4}, table=False),
        "coarse_dirt": Recipe(4, {"dirt": 2, "gravel": 2}, table=False),
        "ender_eye": Recipe(1, {"ender_pearl": 1, "blaze_powder": 1}, table=False),
        "sugar": Recipe(1, {"sugar_cane": 1}, table=False),
        "bone_meal": Recipe(3, {"bone": 1}, table=False),
        "chest": Recipe(1, {"#planks": 8}),
        "furnace": Recipe(1, {"#stones": 8}),
        "ladder": Recipe(3, {"stick": 7}),
        "bow": Recipe(1, {"stick": 3, "string": 3}),
        "arrow": Recipe(4, {"flint": 1, "stick": 1, "feather": 1}),
        "shield": Recipe(1, {"#planks": 6, "iron_ingot": 1}),
        "bucket": Recipe(1, {"iron_ingot": 3}),
        "bowl": Recipe(4, {"#planks": 3}),
        "bread": Recipe(1, {"wheat": 3}),
        "cookie": Recipe(8, {"wheat": 2, "cocoa_beans": 1}),
        "paper": Recipe(3, {"sugar_cane": 3}),
        "map": Recipe(1, {"paper": 8, "compass": 1}),
        "compass": Recipe(1, {"iron_ingot": 4, "redstone": 1}),
        "bookshelf": Recipe(1, {"#planks": 6, "book": 3}),
        "tnt": Recipe(1, {"gunpowder": 5, "sand": 4}),
        "hay_block": Recipe(1, {"wheat": 9}),
        "wheat": Recipe(9, {"hay_block": 1}, table=False),
        "melon": Recipe(1, {"melon_slice": 9}),
        "golden_apple": Recipe(1, {"gold_ingot": 8, "apple": 1}),
        "iron_block": Recipe(1, {"iron_ingot": 9}),
        "gold_block": Recipe(1, {"gold_ingot": 9}),
        "diamond_block": Recipe(1, {"diamond": 9}),
        "iron_ingot": Recipe(9, {"iron_block": 1}, table=False),
        "gold_ingot": Recipe(9, {"gold_block": 1}, table=False),
        "diamond": Recipe(9, {"diamond_block": 1}, table=False),
        "leather": Recipe(1, {"rabbit_hide": 4}, table=False),
    }
)
"""Result -> recipe. Where the game has several, the one from raw material."""

SMELTING: Final[dict[str, str]] = {
    result: source
    for result, source in {
        "iron_ingot": "iron_ore",
        "gold_ingot": "gold_ore",
        "charcoal": "#logs",
        "glass": "sand",
        "stone": "cobblestone",
        "terracotta": "clay",
        "cooked_beef": "beef",
        "cooked_porkchop": "porkchop",
        "cooked_mutton": "mutton",
        "cooked_chicken": "chicken",
        "brick": "clay_ball",
        "baked_potato": "potato",
        "green_dye": "cactus",
    }.items()
    if {result, source} <= {*table.ITEM_NAMES, *TAGS}
}
"""Result -> what it is smelted from."""

FUELS: Final[dict[str, float]] = {"coal": 8.0, "charcoal": 8.0, "#planks": 1.5, "#logs": 1.5, "stick": 0.5}
"""Fuel -> how many items one of it smelts, in the order in which fuels are taken."""


def _members(part: str) -> NDArray[np.int64]:
    return np.array([table.item_id(name) for name in TAGS.get(part, (part,))])


def _count(inventory: NDArray[np.int32], part: str) -> int:
    rows = inventory[:BACKPACK_SLOTS]
    return int(rows[np.isin(rows[:, SLOT_ITEM], _members(part)), SLOT_COUNT].sum())


def _take(inventory: NDArray[np.int32], part: str, count: int) -> None:
    """Remove ingredients, lowest slot first."""
    members = _members(part)
    for stack in inventory[:BACKPACK_SLOTS]:
        if count > 0 and stack[SLOT_COUNT] > 0 and stack[SLOT_ITEM] in members:
            taken = min(count, int(stack[SLOT_COUNT]))
            stack[SLOT_COUNT] -= taken
            count -= taken
            if stack[SLOT_COUNT] == 0:
                stack[:] = 0


def is_near(engine: VoxelEngine, block: str) -> bool:
    """Whether a block of a kind is within reach of the player's eyes."""
    state, around = engine.state, math.ceil(REACH) + 1
    cells, first = engine.cells_around(-around, around, -around, around + 1, -around, around)
    found = np.argwhere(cells == table.block_id(block))
    if not len(found):
        return False
    player = state.player
    feet = np.floor(player[[P_X, P_Y, P_Z]])
    low = found[:, [0, 2, 1]] + np.array(first) + feet
    eyes = player[[P_X, P_Y, P_Z]] + np.array([0.0, eye_height(state.status), 0.0])
    nearest = np.clip(eyes, low, low + 1.0)
    return bool((np.linalg.norm(nearest - eyes, axis=1) <= REACH).any())


def _plain(name: str) -> str:
    return table.item_name(table.item_id(name))


def craft(engine: VoxelEngine, name: str, count: int = 1) -> tuple[int, int]:
    """Use up the ingredients of a recipe, and count what they make.

    Args:
        engine: the player is its player.
        name: the result.
        count: make at least so many, that is, as many batches as that takes.

    Returns:
        The result's item id, and how many there are of it now to be given.

    Raises:
        SimulatorError: there is no such item or recipe, no crafting table near, or an ingredient is missing; the
            inventory is unchanged then.
    """
    result = _plain(name)
    if result not in RECIPES:
        raise SimulatorError(f"There is no recipe for {result}; there are recipes for {', '.join(sorted(RECIPES))}.")
    recipe = RECIPES[result]
    batches = max(1, math.ceil(count / recipe.count))
    if recipe.table and not is_near(engine, "crafting_table"):
        raise SimulatorError(f"Making {result} needs a crafting table within {REACH} blocks.")
    state = engine.state
    _require(state.inventory, result, {part: number * batches for part, number in recipe.parts.items()})
    for part, number in recipe.parts.items():
        _take(state.inventory, part, number * batches)
    made = batches * recipe.count
    state.stats[E_CRAFT, table.item_id(result)] += made
    return table.item_id(result), made


def smelt(engine: VoxelEngine, name: str, count: int = 1) -> tuple[int, int]:
    """Use up what is smelted and the fuel for it; as ``craft``.

    Raises:
        SimulatorError: it is not smelted, no furnace is near, or material or fuel is missing.
    """
    result = _plain(name)
    if result not in SMELTING:
        raise SimulatorError(f"{result} is not smelted; smelted are {', '.join(sorted(SMELTING))}.")
    if not is_near(engine, "furnace"):
        raise SimulatorError(f"Smelting {result} needs a furnace within {REACH} blocks.")
    state, count = engine.state, max(1, count)
    _require(state.inventory, result, {SMELTING[result]: count})
    for fuel, yields in FUELS.items():
        needed = math.ceil(count / yields)
        spare = _count(state.inventory, fuel) - (count if fuel == SMELTING[result] else 0)
        if spare >= needed:
            break
    else:
        raise SimulatorError(f"Smelting {count} {result} needs fuel of one kind: {', '.join(FUELS)}.")
    _take(state.inventory, SMELTING[result], count)
    _take(state.inventory, fuel, needed)
    state.stats[E_CRAFT, table.item_id(result)] += count
    return table.item_id(result), count


def _require(inventory: NDArray[np.int32], result: str, parts: Mapping[str, int]) -> None:
    missing = [
        f"{number} {part.removeprefix('#')} (there are {_count(inventory, part)})"
        for part, number in parts.items()
        if _count(inventory, part) < number
    ]
    if missing:
        raise SimulatorError(f"Making {result} needs {', '.join(missing)}.")

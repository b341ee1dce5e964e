"""The blocks and items of the world: names, numbers and rules, as Python tables and as arrays for numba.

Names are those of Minecraft Java Edition 1.16; hardness, tools, tiers, damage and drops are the published
1.16 values (Minecraft Wiki: "Breaking", "Tiers", "Damage"). The number of each is our own: a block is one
byte, and a block's id is also the id of the item that places it; items that are no blocks start at
``FIRST_ITEM``. Ids never change once released, because saved states hold them; new blocks go at the end.

The arrays at the bottom are indexed by block id (length 256) or by item id (length ``NUM_ITEMS``). Kernels
read them as compile-time constants, so they are read-only.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final

import numpy as np

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.item_kinds import (  # noqa: F401 - this module is where others look for them
    ITEMS,
    TIER_DIAMOND,
    TIER_IRON,
    TIER_NETHERITE,
    TIER_STONE,
    TIER_WOOD,
    TOOL_AXE,
    TOOL_HOE,
    TOOL_NONE,
    TOOL_PICKAXE,
    TOOL_SHEARS,
    TOOL_SHOVEL,
    TOOL_SWORD,
)

UNBREAKABLE: Final = -1.0
FIRST_ITEM: Final = 256


@dataclass(frozen=True)
class Block:
    """One kind of block.

    ``hardness`` is in Minecraft's unit (seconds at speed 1, before the factor 1.5 or 5); ``UNBREAKABLE`` is
    negative. ``drop`` is the item that a correct tool yields: None for the block itself, "" for nothing;
    ``drops`` is the (least, most) number of it. ``seldom`` lists (item, chance) that come in place of it, the first
    that hits; under shears a ``sheared`` block yields itself. ``solid`` stops bodies, ``opaque`` stops light and sight,
    ``cutout`` has holes in its texture, ``cross`` is drawn as two crossed planes, ``light`` is the emitted
    light level, 0 to 15.
    """

    name: str
    hardness: float
    tool: int = TOOL_NONE
    requires_tool: bool = False
    tier: int = TIER_WOOD
    drop: str | None = None
    drops: tuple[int, int] = (1, 1)
    solid: bool = True
    opaque: bool = True
    liquid: bool = False
    cutout: bool = False
    cross: bool = False
    replaceable: bool = False
    light: int = 0
    seldom: tuple[tuple[str, float], ...] = ()
    sheared: bool = False


def _rock(name: str, hardness: float, tier: int = TIER_WOOD, **extra: object) -> Block:
    return Block(name, hardness, TOOL_PICKAXE, requires_tool=True, tier=tier, **extra)  # type: ignore[arg-type]


def _plant(name: str, drop: str | None = None, drops: tuple[int, int] = (1, 1), **extra: object) -> Block:
    return Block(
        name,
        0.0,
        drop=drop,
        drops=drops,
        solid=False,
        opaque=False,
        cutout=True,
        cross=True,
        **extra,  # type: ignore[arg-type]
    )


def _leaves(name: str, *seldom: tuple[str, float]) -> Block:
    return Block(
        name, 0.2, TOOL_HOE, drop="", opaque=False, cutout=True, seldom=(*seldom, ("stick", 0.02)), sheared=True
    )


def _fluid(name: str, light: int = 0) -> Block:
    return Block(name, UNBREAKABLE, drop="", solid=False, opaque=False, liquid=True, replaceable=True, light=light)


BLOCKS: Final[tuple[Block, ...]] = (
    Block("air", UNBREAKABLE, drop="", solid=False, opaque=False, replaceable=True),
    Block("grass_block", 0.6, TOOL_SHOVEL, drop="dirt"),
    Block("dirt", 0.5, TOOL_SHOVEL),
    _rock("stone", 1.5, drop="cobblestone"),
    _rock("cobblestone", 2.0),
    Block("oak_log", 2.0, TOOL_AXE),
    _leaves("oak_leaves", ("oak_sapling", 0.05), ("apple", 0.005)),
    Block("oak_planks", 2.0, TOOL_AXE),
    Block("sand", 0.5, TOOL_SHOVEL),
    _fluid("water"),
    _rock("obsidian", 50.0, TIER_DIAMOND),
    Block("bedrock", UNBREAKABLE, drop=""),
    _rock("coal_ore", 3.0, drop="coal"),
    _rock("iron_ore", 3.0, TIER_STONE),
    _rock("diamond_ore", 3.0, TIER_IRON, drop="diamond"),
    Block("crafting_table", 2.5, TOOL_AXE),
    Block("glass", 0.3, drop="", opaque=False, cutout=True),
    Block("red_wool", 0.8, TOOL_SHEARS),
    _rock("gold_block", 3.0, TIER_IRON),
    _rock("furnace", 3.5),
    Block("gravel", 0.6, TOOL_SHOVEL, seldom=(("flint", 0.1),)),
    Block("birch_log", 2.0, TOOL_AXE),
    _leaves("birch_leaves"),
    Block("birch_planks", 2.0, TOOL_AXE),
    Block("spruce_log", 2.0, TOOL_AXE),
    _leaves("spruce_leaves"),
    Block("spruce_planks", 2.0, TOOL_AXE),
    _rock("sandstone", 0.8),
    _rock("granite", 1.5),
    _rock("diorite", 1.5),
    _rock("andesite", 1.5),
    _rock("gold_ore", 3.0, TIER_IRON),
    _rock("redstone_ore", 3.0, TIER_IRON, drop="redstone", drops=(4, 5)),
    _rock("lapis_ore", 3.0, TIER_STONE, drop="lapis_lazuli", drops=(4, 9)),
    _rock("emerald_ore", 3.0, TIER_IRON, drop="emerald"),
    _rock("iron_block", 5.0, TIER_STONE),
    _rock("diamond_block", 5.0, TIER_IRON),
    _rock("stone_bricks", 1.5),
    _rock("bricks", 2.0),
    _rock("mossy_cobblestone", 2.0),
    Block("white_wool", 0.8, TOOL_SHEARS),
    Block("black_wool", 0.8, TOOL_SHEARS),
    Block("blue_wool", 0.8, TOOL_SHEARS),
    Block("green_wool", 0.8, TOOL_SHEARS),
    Block("yellow_wool", 0.8, TOOL_SHEARS),
    Block("bookshelf", 1.5, TOOL_AXE, drop="book", drops=(3, 3)),
    Block("chest", 2.5, TOOL_AXE),
    Block("pumpkin", 1.0, TOOL_AXE),
    Block("melon", 1.0, TOOL_AXE, drop="melon_slice", drops=(3, 7)),
    Block("hay_block", 0.5, TOOL_HOE),
    Block("snow_block", 0.2, TOOL_SHOVEL, requires_tool=True, drop="snowball", drops=(4, 4)),
    Block("ice", 0.5, TOOL_PICKAXE, drop=""),
    Block("clay", 0.6, TOOL_SHOVEL, drop="clay_ball", drops=(4, 4)),
    Block("cactus", 0.4),
    _rock("netherrack", 0.4),
    Block("glowstone", 0.3, drop="glowstone_dust", drops=(2, 4), light=15),
    Block("tnt", 0.0),
    _rock("terracotta", 1.25),
    _plant("grass", drop="", replaceable=True, seldom=(("wheat_seeds", 0.125),), sheared=True),
    _plant("fern", drop="", replaceable=True, seldom=(("wheat_seeds", 0.125),), sheared=True),
    _plant("dandelion"),
    _plant("poppy"),
    _plant("dead_bush", drop="stick", drops=(0, 2), replaceable=True, sheared=True),
    _plant("oak_sapling"),
    _plant("sugar_cane"),
    _plant("torch", light=14),
    _fluid("lava", light=15),
    Block("nether_portal", UNBREAKABLE, drop="", solid=False, opaque=False, light=11),
    Block("grass_path", 0.65, TOOL_SHOVEL, drop="dirt"),
    Block("podzol", 0.5, TOOL_SHOVEL, drop="dirt"),
    Block("coarse_dirt", 0.5, TOOL_SHOVEL),
    _rock("end_stone", 3.0),
    Block("jungle_log", 2.0, TOOL_AXE),
    _leaves("jungle_leaves"),
    Block("jungle_planks", 2.0, TOOL_AXE),
    Block("acacia_log", 2.0, TOOL_AXE),
    _leaves("acacia_leaves"),
    Block("acacia_planks", 2.0, TOOL_AXE),
    Block("dark_oak_log", 2.0, TOOL_AXE),
    _leaves("dark_oak_leaves", ("apple", 0.005)),
    Block("dark_oak_planks", 2.0, TOOL_AXE),
    Block("red_sand", 0.5, TOOL_SHOVEL),
    *(
        Block(f"{dye}_wool", 0.8, TOOL_SHEARS)
        for dye in ("orange", "magenta", "light_blue", "lime", "pink", "gray", "light_gray", "cyan", "purple", "brown")
    ),
)

AIR: Final = 0


NUM_BLOCKS: Final = len(BLOCKS)
NUM_ITEMS: Final = FIRST_ITEM + len(ITEMS)

_BLOCK_IDS: Final[dict[str, int]] = {block.name: i for i, block in enumerate(BLOCKS)}
_ITEM_IDS: Final[dict[str, int]] = _BLOCK_IDS | {item.name: FIRST_ITEM + i for i, item in enumerate(ITEMS)}
_ITEM_NAMES: Final[dict[int, str]] = {number: name for name, number in _ITEM_IDS.items()}

ITEM_NAMES: Final[tuple[str, ...]] = tuple(_ITEM_IDS)
"""Every item name, blocks first, in the order of the ids."""


def _look_up(name: str, table: dict[str, int], what: str) -> int:
    plain = name.removeprefix("minecraft:")
    if plain in table:
        return table[plain]
    near = difflib.get_close_matches(plain, table, n=1, cutoff=0.0)
    raise SimulatorError(f"This world has no {what} {name!r}. The nearest name is {near[0]!r}.")


def block_id(name: str) -> int:
    """The id of a block by its Minecraft name, with or without "minecraft:".

    Raises:
        SimulatorError: this world has no such block; the message names the nearest one.
    """
    return _look_up(name, _BLOCK_IDS, "block")


def item_id(name: str) -> int:
    """The id of an item (or of a block as an item) by its Minecraft name, with or without "minecraft:".

    Raises:
        SimulatorError: this world has no such item; the message names the nearest one.
    """
    return _look_up(name, _ITEM_IDS, "item")


def item_name(number: int) -> str:
    """The Minecraft name of an item id, without "minecraft:".

    Raises:
        SimulatorError: no item has this id.
    """
    name = _ITEM_NAMES.get(int(number))
    if name is None:
        raise SimulatorError(
            f"Item ids are 0 to {NUM_BLOCKS - 1} (blocks) and {FIRST_ITEM} to {NUM_ITEMS - 1}; got {number}."
        )
    return name


def block_name(number: int) -> str:
    """The Minecraft name of a block id, without "minecraft:".

    Raises:
        SimulatorError: no block has this id.
    """
    if not 0 <= int(number) < NUM_BLOCKS:
        raise SimulatorError(f"Block ids are 0 to {NUM_BLOCKS - 1}; got {number}.")
    return BLOCKS[int(number)].name


def _frozen(values: np.ndarray) -> np.ndarray:
    values.setflags(write=False)
    return values


def _block_array(dtype: type, default: float, attribute: str) -> np.ndarray:
    values = np.full(256, default, dtype)
    values[:NUM_BLOCKS] = [getattr(block, attribute) for block in BLOCKS]
    return _frozen(values)


def _drop_items() -> np.ndarray:
    values = np.full(256, -1, np.int32)
    for i, block in enumerate(BLOCKS):
        name = block.name if block.drop is None else block.drop
        values[i] = _ITEM_IDS[name] if name else -1
    return _frozen(values)


def _drop_counts(end: int) -> np.ndarray:
    values = np.zeros(256, np.int32)
    values[:NUM_BLOCKS] = [0 if block.drop == "" else block.drops[end] for block in BLOCKS]
    return _frozen(values)


_MOST_SELDOM: Final = max(len(block.seldom) for block in BLOCKS)


def _seldom_items() -> np.ndarray:
    values = np.full((256, _MOST_SELDOM), -1, np.int32)
    for i, block in enumerate(BLOCKS):
        values[i, : len(block.seldom)] = [_ITEM_IDS[name] for name, _ in block.seldom]
    return _frozen(values)


def _seldom_chances() -> np.ndarray:
    values = np.zeros((256, _MOST_SELDOM))
    for i, block in enumerate(BLOCKS):
        values[i, : len(block.seldom)] = [chance for _, chance in block.seldom]
    return _frozen(values)


def _wear(of_tool: int, of_sword: int) -> np.ndarray:
    values = np.zeros(NUM_ITEMS, np.int32)
    for i, item in enumerate(ITEMS, FIRST_ITEM):
        if item.tool not in (TOOL_NONE, TOOL_SHEARS):
            values[i] = of_sword if item.tool == TOOL_SWORD else of_tool
    return _frozen(values)


def _item_array(dtype: type, attribute: str, of_block: float) -> np.ndarray:
    values = np.full(NUM_ITEMS, of_block, dtype)
    values[FIRST_ITEM:] = [getattr(item, attribute) for item in ITEMS]
    return _frozen(values)


def _placed_blocks() -> np.ndarray:
    values = np.full(NUM_ITEMS, -1, np.int32)
    for i, block in enumerate(BLOCKS):
        if not block.liquid and block.name not in ("air", "nether_portal"):
            values[i] = i
    return _frozen(values)


# Indexed by block id.
HARDNESS: Final = _block_array(np.float64, UNBREAKABLE, "hardness")  # negative: cannot be broken
BLOCK_TOOL: Final = _block_array(np.int8, TOOL_NONE, "tool")  # the kind of tool that is fast on it
REQUIRES_TOOL: Final = _block_array(np.bool_, False, "requires_tool")  # without it: slower, and no drop
BLOCK_TIER: Final = _block_array(np.int8, TIER_WOOD, "tier")  # least tier of that tool
SOLID: Final = _block_array(np.bool_, False, "solid")
OPAQUE: Final = _block_array(np.bool_, False, "opaque")
LIQUID: Final = _block_array(np.bool_, False, "liquid")
CUTOUT: Final = _block_array(np.bool_, False, "cutout")
CROSS: Final = _block_array(np.bool_, False, "cross")
REPLACEABLE: Final = _block_array(np.bool_, False, "replaceable")  # a block can be placed into it
LIGHT: Final = _block_array(np.int8, 0, "light")
TARGETABLE: Final = _frozen(~LIQUID & (np.arange(256) > AIR) & (np.arange(256) < NUM_BLOCKS))  # what a click can hit
DROP_ITEM: Final = _drop_items()  # item id, -1 for nothing
DROP_MIN: Final = _drop_counts(0)
DROP_MAX: Final = _drop_counts(1)
SELDOM_ITEM: Final = _seldom_items()  # [256, n], item id, -1 for none
SELDOM_CHANCE: Final = _seldom_chances()  # [256, n]
SHEARED: Final = _block_array(np.bool_, False, "sheared")  # yields itself under shears

# Indexed by item id.
STACK_SIZE: Final = _item_array(np.int32, "stack", 64)
ITEM_TOOL: Final = _item_array(np.int8, "tool", TOOL_NONE)
ITEM_TIER: Final = _item_array(np.int8, "tier", -1)
ITEM_SPEED: Final = _item_array(np.float64, "speed", 1.0)
ITEM_ATTACK: Final = _item_array(np.float64, "attack", 1.0)  # half hearts
ITEM_ATTACK_SPEED: Final = _item_array(np.float64, "attack_speed", 4.0)  # full hits per second
ITEM_DURABILITY: Final = _item_array(np.int32, "durability", 0)  # uses, 0: does not wear out
ITEM_ARMOR: Final = _item_array(np.int32, "armor", 0)  # points, when worn
ITEM_TOUGHNESS: Final = _item_array(np.int32, "toughness", 0)
ITEM_WORN: Final = _item_array(np.int32, "worn", 0)  # slot that it is worn in, 0: none
WEAR_BY_MINING: Final = _wear(1, 2)  # uses that breaking a block takes, unless it breaks at once
WEAR_BY_HITTING: Final = _wear(2, 1)  # uses that a hit on a mob takes
ITEM_FOOD: Final = _item_array(np.int32, "food", 0)  # half drumsticks
PLACES_BLOCK: Final = _placed_blocks()  # block id that using the item places, -1 for none

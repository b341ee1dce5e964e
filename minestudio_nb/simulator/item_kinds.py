"""The kinds of items that are no blocks: tools, armor, food and materials, with Minecraft 1.16's values.

``blocks`` gives them numbers. New ones go at the end, because saved states hold the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Tool kinds. A block names the kind that breaks it fast; an item names the kind it is.
TOOL_NONE: Final = 0
TOOL_PICKAXE: Final = 1
TOOL_AXE: Final = 2
TOOL_SHOVEL: Final = 3
TOOL_SWORD: Final = 4
TOOL_HOE: Final = 5
TOOL_SHEARS: Final = 6

# Harvest levels: what a tool must at least be made of before the block drops anything.
TIER_WOOD: Final = 0
TIER_STONE: Final = 1
TIER_IRON: Final = 2
TIER_DIAMOND: Final = 3
TIER_NETHERITE: Final = 4


@dataclass(frozen=True)
class Item:
    """One kind of item that is no block.

    ``speed`` is the factor by which the tool breaks blocks of its kind faster than a hand; ``attack`` the
    full damage of a hit in half hearts (a hand has 1); ``attack_speed`` full hits per second (a hand has 4);
    ``food`` the half drumsticks it restores. ``armor`` and ``toughness`` are the points of what is worn, and
    ``worn`` the inventory slot where.
    """

    name: str
    stack: int = 64
    tool: int = TOOL_NONE
    tier: int = -1
    speed: float = 1.0
    attack: float = 1.0
    attack_speed: float = 4.0
    durability: int = 0
    food: int = 0
    armor: int = 0
    toughness: int = 0
    worn: int = 0


# material: harvest tier, breaking speed, durability, damage of (sword, axe, pickaxe, shovel), attack speed
# of the axe
_MATERIALS: Final = {
    "wooden": (TIER_WOOD, 2.0, 59, (4.0, 7.0, 2.0, 2.5), 0.8),
    "stone": (TIER_STONE, 4.0, 131, (5.0, 9.0, 3.0, 3.5), 0.8),
    "iron": (TIER_IRON, 6.0, 250, (6.0, 9.0, 4.0, 4.5), 0.9),
    "golden": (TIER_WOOD, 12.0, 32, (4.0, 7.0, 2.0, 2.5), 1.0),
    "diamond": (TIER_DIAMOND, 8.0, 1561, (7.0, 9.0, 5.0, 5.5), 1.0),
    "netherite": (TIER_NETHERITE, 9.0, 2031, (8.0, 10.0, 6.0, 6.5), 1.0),
}


def _tools() -> list[Item]:
    items = []
    for material, (tier, speed, durability, damage, axe_speed) in _MATERIALS.items():
        shapes = (
            ("axe", TOOL_AXE, speed, damage[1], axe_speed),
            ("pickaxe", TOOL_PICKAXE, speed, damage[2], 1.2),
            ("shovel", TOOL_SHOVEL, speed, damage[3], 1.0),
            ("sword", TOOL_SWORD, 1.5, damage[0], 1.6),
        )
        for shape, kind, factor, attack, attack_speed in shapes:
            items.append(Item(f"{material}_{shape}", 1, kind, tier, factor, attack, attack_speed, durability))
    return items


def _hoes() -> list[Item]:
    """Hoes do the damage of a hand; better ones hit faster."""
    speeds = {"wooden": 1.0, "stone": 2.0, "iron": 3.0, "golden": 1.0, "diamond": 4.0, "netherite": 4.0}
    return [
        Item(f"{material}_hoe", 1, TOOL_HOE, tier, speed, 1.0, speeds[material], durability)
        for material, (tier, speed, durability, _, _) in _MATERIALS.items()
    ]


# material: armor of (feet, legs, chest, head), durability of the feet's piece / 13, toughness
_ARMORS: Final = {
    "leather": ((1, 2, 3, 1), 5, 0),
    "chainmail": ((1, 4, 5, 2), 15, 0),
    "iron": ((2, 5, 6, 2), 15, 0),
    "golden": ((1, 3, 5, 2), 7, 0),
    "diamond": ((3, 6, 8, 3), 33, 2),
    "netherite": ((3, 6, 8, 3), 37, 3),
}
_ARMOR_SHAPES: Final = (("boots", 13), ("leggings", 15), ("chestplate", 16), ("helmet", 11))
_FEET: Final = 36


def _armor() -> list[Item]:
    return [
        Item(
            f"{material}_{shape}", 1, durability=factor * base, armor=points[place], toughness=toughness,
            worn=_FEET + place,
        )
        for material, (points, factor, toughness) in _ARMORS.items()
        for place, (shape, base) in enumerate(_ARMOR_SHAPES)
    ]  # fmt: skip


ITEMS: Final[tuple[Item, ...]] = (
    *_tools(),
    Item("shears", 1, TOOL_SHEARS, TIER_WOOD, 5.0, durability=238),
    Item("bow", 1, durability=384),
    Item("arrow"),
    Item("flint_and_steel", 1, durability=64),
    Item("shield", 1, durability=336),
    Item("bucket", 16),
    Item("water_bucket", 1),
    Item("lava_bucket", 1),
    Item("stick"),
    Item("coal"),
    Item("charcoal"),
    Item("iron_ingot"),
    Item("gold_ingot"),
    Item("netherite_ingot"),
    Item("diamond"),
    Item("emerald"),
    Item("redstone"),
    Item("lapis_lazuli"),
    Item("flint"),
    Item("beef", food=3),
    Item("cooked_beef", food=8),
    Item("porkchop", food=3),
    Item("cooked_porkchop", food=8),
    Item("mutton", food=2),
    Item("cooked_mutton", food=6),
    Item("chicken", food=2),
    Item("rotten_flesh", food=4),
    Item("apple", food=4),
    Item("bread", food=5),
    Item("melon_slice", food=2),
    Item("leather"),
    Item("feather"),
    Item("string"),
    Item("bone"),
    Item("gunpowder"),
    Item("wheat_seeds"),
    Item("wheat"),
    Item("book"),
    Item("snowball", 16),
    Item("clay_ball"),
    Item("glowstone_dust"),
    Item("egg", 16),
    Item("ender_pearl", 16),
    Item("ender_eye"),
    Item("paper"),
    Item("map"),
    *_hoes(),
    Item("cooked_chicken", food=6),
    Item("carrot", food=3),
    Item("potato", food=1),
    Item("baked_potato", food=5),
    Item("cookie", food=2),
    Item("golden_apple", food=4),
    Item("spider_eye", food=2),
    Item("sugar"),
    Item("slime_ball"),
    Item("bone_meal"),
    Item("brick"),
    Item("quartz"),
    Item("cocoa_beans"),
    Item("bowl"),
    Item("milk_bucket", 1),
    Item("compass"),
    Item("clock"),
    Item("lead"),
    Item("red_dye"),
    Item("blaze_powder"),
    Item("fire_charge"),
    *_armor(),
)

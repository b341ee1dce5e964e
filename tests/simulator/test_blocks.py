"""The table of blocks and items."""

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table


def test_names_and_ids_are_a_bijection():
    assert len(set(table.ITEM_NAMES)) == len(table.ITEM_NAMES) == table.NUM_BLOCKS + len(table.ITEMS)
    for name in table.ITEM_NAMES:
        assert table.item_name(table.item_id(name)) == name


def test_a_block_is_its_own_item_and_the_prefix_is_optional():
    assert table.block_id("minecraft:oak_log") == table.block_id("oak_log") == table.item_id("oak_log")
    assert table.block_name(table.block_id("stone")) == "stone"
    assert table.item_id("minecraft:diamond_axe") >= table.FIRST_ITEM


@pytest.mark.parametrize("look_up", [table.block_id, table.item_id])
def test_an_unknown_name_is_answered_with_the_nearest(look_up):
    with pytest.raises(SimulatorError, match="oak_log"):
        look_up("oak_lok")


@pytest.mark.parametrize("number", [-1, table.NUM_BLOCKS, 255, table.NUM_ITEMS])
def test_an_unknown_id_is_an_error(number):
    with pytest.raises(SimulatorError, match=str(number)):
        table.item_name(number)
    with pytest.raises(SimulatorError, match=str(number)):
        table.block_name(number)


@pytest.mark.parametrize(
    ("name", "hardness", "tool", "needs_tool", "tier", "drop"),
    [  # Minecraft 1.16
        ("dirt", 0.5, table.TOOL_SHOVEL, False, table.TIER_WOOD, "dirt"),
        ("grass_block", 0.6, table.TOOL_SHOVEL, False, table.TIER_WOOD, "dirt"),
        ("stone", 1.5, table.TOOL_PICKAXE, True, table.TIER_WOOD, "cobblestone"),
        ("oak_log", 2.0, table.TOOL_AXE, False, table.TIER_WOOD, "oak_log"),
        ("iron_ore", 3.0, table.TOOL_PICKAXE, True, table.TIER_STONE, "iron_ore"),
        ("diamond_ore", 3.0, table.TOOL_PICKAXE, True, table.TIER_IRON, "diamond"),
        ("obsidian", 50.0, table.TOOL_PICKAXE, True, table.TIER_DIAMOND, "obsidian"),
    ],
)
def test_rules_of_breaking(name, hardness, tool, needs_tool, tier, drop):
    block = table.block_id(name)
    assert table.HARDNESS[block] == hardness
    assert table.BLOCK_TOOL[block] == tool
    assert table.REQUIRES_TOOL[block] == needs_tool
    assert table.BLOCK_TIER[block] == tier
    assert table.DROP_ITEM[block] == table.item_id(drop)


def test_what_cannot_be_broken_or_drops_nothing():
    assert table.HARDNESS[table.block_id("bedrock")] < 0
    assert table.DROP_ITEM[table.block_id("glass")] == -1
    assert table.DROP_MAX[table.block_id("glass")] == 0
    assert (table.DROP_MIN <= table.DROP_MAX).all()


def test_tools_get_better_with_their_material():
    speeds = [table.ITEM_SPEED[table.item_id(f"{m}_axe")] for m in ("wooden", "stone", "iron", "diamond", "netherite")]
    assert speeds == [2.0, 4.0, 6.0, 8.0, 9.0]
    assert table.ITEM_ATTACK[table.item_id("diamond_sword")] == 7.0
    assert table.STACK_SIZE[table.item_id("diamond_axe")] == 1
    assert table.STACK_SIZE[table.item_id("oak_log")] == 64


def test_flags_agree():
    assert not (table.OPAQUE & table.CUTOUT).any()
    assert not (table.SOLID & (table.LIQUID | table.CROSS)).any()
    assert not table.TARGETABLE[[table.AIR, table.block_id("water")]].any()
    assert table.TARGETABLE[table.block_id("grass")]


def test_the_arrays_cannot_be_changed_by_accident():
    arrays = [value for value in vars(table).values() if isinstance(value, np.ndarray)]
    assert len(arrays) > 15
    for array in (table.HARDNESS, table.SOLID, table.STACK_SIZE):
        with pytest.raises(ValueError):
            array[0] = 1

"""Items that lie about, and tools that wear."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.inventory import wear
from minestudio_nb.simulator.items import DESPAWN_TICKS, THROW_DELAY, spawn_item
from minestudio_nb.simulator.state import (
    E_BREAK,
    E_DROP,
    E_MINE,
    E_PICKUP,
    E_USE,
    I_AGE,
    I_COUNT,
    I_DELAY,
    I_ITEM,
    I_X,
    I_Y,
    I_Z,
    ITEM_CAPACITY,
    P_X,
    P_Z,
    S_LOST_ITEMS,
    S_TILE_DROPS,
    SLOT_DAMAGE,
)


def lay(
    flat: Any, name: str, count: int = 1, at: tuple[float, float, float] = (20.5, 10.0, 20.5), delay: int = 0
) -> None:
    spawn_item(flat.state.arrays(), item_id(name), count, 0, *at, 0.0, 0.0, 0.0, delay)


def stacks(flat: Any) -> np.ndarray:
    return flat.state.items[flat.state.items[:, I_ITEM] >= 0]


def test_an_item_falls_rests_and_keeps_still(flat: Any) -> None:
    lay(flat, "dirt", at=(20.5, 14.0, 20.5))
    flat.run(1)
    assert stacks(flat)[0, I_Y] == pytest.approx(14.0 - 0.04)
    flat.run(1)
    assert stacks(flat)[0, I_Y] == pytest.approx(14.0 - 0.04 - (0.04 * 0.98 + 0.04))
    flat.run(60)
    resting = stacks(flat)[0, [I_X, I_Y, I_Z]].copy()
    assert resting.tolist() == [20.5, 10.0, 20.5]
    flat.run(20)
    assert stacks(flat)[0, [I_X, I_Y, I_Z]].tolist() == resting.tolist()


def test_a_broken_block_lies_for_ten_ticks_before_it_is_picked_up(flat: Any) -> None:
    flat.hold("diamond_shovel")
    flat.put(8, 10, 9, "dirt")
    flat.look(0.0, 60.0)
    flat.run(3, attack=1)
    assert flat.block(8, 10, 9) == 0
    assert stacks(flat)[0, [I_ITEM, I_COUNT]].tolist() == [item_id("dirt"), 1]
    flat.run(8)
    assert flat.count("dirt") == 0
    flat.run(4)
    assert flat.count("dirt") == 1
    assert flat.state.stats[E_PICKUP, item_id("dirt")] == 1
    assert not len(stacks(flat))


def test_the_box_of_the_player_reaches_one_block_sideways_and_half_a_block_up(flat: Any) -> None:
    reach = 0.3 + 1.0 + 0.125
    lay(flat, "dirt", at=(8.5 + reach + 0.01, 10.0, 8.5))
    lay(flat, "sand", at=(8.5 - reach + 0.01, 10.0, 8.5))
    flat.put(8, 12, 9, "stone")
    lay(flat, "stick", at=(8.5, 13.0, 9.5))  # above the head: 13.0 >= 10 + 1.8 + 0.5
    flat.run(3)
    assert [flat.count(name) for name in ("dirt", "sand", "stick")] == [0, 1, 0]


def test_a_full_inventory_leaves_what_has_no_room(flat: Any) -> None:
    for slot in range(36):
        flat.hold("dirt", 64, slot)
    flat.state.inventory[5, 1] = 62
    lay(flat, "dirt", 5, at=(8.5, 10.0, 9.0))
    lay(flat, "stick", 2, at=(8.5, 10.0, 9.0))
    flat.run(5)
    assert flat.state.inventory[5, 1] == 64
    assert sorted(stacks(flat)[:, I_COUNT].tolist()) == [2, 3]
    assert flat.state.stats[E_PICKUP, [item_id("dirt"), item_id("stick")]].tolist() == [2, 0]


def test_a_thrown_item_flies_ahead_and_comes_back_after_forty_ticks(flat: Any) -> None:
    flat.hold("diamond_axe")
    flat.state.inventory[0, SLOT_DAMAGE] = 7
    flat.run(1, drop=1)
    assert flat.state.inventory[0].tolist() == [0, 0, 0]
    assert flat.state.stats[E_DROP, item_id("diamond_axe")] == 1
    assert stacks(flat)[0, I_DELAY] == THROW_DELAY - 1
    flat.run(38)
    assert stacks(flat)[0, I_Z] > 9.5, "it was thrown to where the player looks"
    flat.state.items[0, [I_X, I_Z]] = flat.player[[P_X, P_Z]]
    flat.run(3)
    assert flat.state.inventory[0].tolist() == [item_id("diamond_axe"), 1, 7], "with its wear"


def test_stacks_that_lie_together_merge_but_not_beyond_a_full_one(flat: Any) -> None:
    lay(flat, "dirt", 40)
    lay(flat, "dirt", 20, at=(20.9, 10.0, 20.5))
    lay(flat, "dirt", 10, at=(20.5, 10.0, 20.9))
    lay(flat, "sand", 1)
    flat.run(20)
    assert sorted(stacks(flat)[:, I_COUNT].tolist()) == [1, 10, 60]


def test_tools_of_different_wear_do_not_merge(flat: Any) -> None:
    for damage in (3, 4):
        spawn_item(flat.state.arrays(), item_id("stick"), 1, damage, 20.5, 10.0, 20.5, 0.0, 0.0, 0.0, 0)
    flat.run(20)
    assert len(stacks(flat)) == 2


def test_items_vanish_after_five_minutes(flat: Any) -> None:
    lay(flat, "dirt", 3)
    flat.run(DESPAWN_TICKS - 1)
    assert len(stacks(flat)) == 1
    flat.run(1)
    assert len(stacks(flat)) == 0
    assert flat.state.status[S_LOST_ITEMS] == 3


def test_items_float_in_water_and_burn_in_lava(flat: Any) -> None:
    for x in range(18, 24):
        for z in range(18, 24):
            for y in range(6, 10):
                flat.put(x, y, z, "water")
    lay(flat, "oak_log", at=(20.5, 7.0, 20.5))
    flat.run(400)
    assert 9.0 < stacks(flat)[0, I_Y] < 10.3
    flat.put(26, 9, 26, "lava")
    lay(flat, "dirt", 2, at=(26.5, 10.5, 26.5))
    flat.run(40)
    assert item_id("dirt") not in stacks(flat)[:, I_ITEM]
    assert flat.state.status[S_LOST_ITEMS] == 2


def test_a_block_over_an_item_pushes_it_out(flat: Any) -> None:
    lay(flat, "dirt")
    flat.run(5)
    flat.put(20, 10, 20, "stone")
    flat.run(5)
    assert stacks(flat)[0, I_Y] == 11.0, "up, where it is free"
    flat.put(20, 11, 20, "stone")
    flat.put(20, 12, 20, "stone")
    flat.run(20)
    assert abs(stacks(flat)[0, [I_X, I_Z]] - 20.5).max() == 1.0, "else sideways"


def test_the_oldest_stack_gives_way_when_there_is_no_room(flat: Any) -> None:
    for number in range(ITEM_CAPACITY):
        lay(flat, "dirt", 2, at=(0.5 + number % 8 * 4, 10.0, 0.5 + number // 8 * 4))
    flat.state.items[7, I_AGE] = 50
    lay(flat, "stick")
    assert flat.state.items[7, I_ITEM] == item_id("stick")
    assert flat.state.status[S_LOST_ITEMS] == 2


def test_an_item_is_where_it_is_nearest_to_the_player(flat: Any) -> None:
    lay(flat, "dirt", at=(1.0, 10.0, 8.5))
    flat.player[P_X] = 32.5  # the world is 32 columns wide
    flat.run(2)
    assert flat.count("dirt") == 1


def test_tile_drops_can_be_turned_off(flat: Any) -> None:
    flat.state.status[S_TILE_DROPS] = 0
    flat.put(8, 11, 10, "oak_leaves")
    flat.put(8, 11, 9, "oak_log")
    flat.hold("diamond_axe")
    flat.run(20, attack=1)
    assert flat.state.stats[E_MINE, block_id("oak_log")] == 1
    assert not len(stacks(flat))


@pytest.mark.parametrize(("tool", "block", "uses"), [("diamond_axe", "oak_log", 1), ("diamond_sword", "dirt", 2)])
def test_mining_wears_a_tool(flat: Any, tool: str, block: str, uses: int) -> None:
    flat.hold(tool)
    flat.put(8, 11, 10, block)
    flat.run(20, attack=1)
    assert flat.block(8, 11, 10) == 0
    assert flat.state.inventory[0, SLOT_DAMAGE] == uses
    assert flat.state.stats[E_USE, item_id(tool)] == 1


@pytest.mark.parametrize(("tool", "uses"), [("diamond_axe", 2), ("diamond_sword", 1), ("stick", 0)])
def test_hitting_wears_a_tool(flat: Any, tool: str, uses: int) -> None:
    flat.hold(tool)
    flat.add_mob("zombie", 8.5, 10.2, health=1000.0)
    flat.run(1)
    flat.run(1, attack=1)
    assert flat.state.inventory[0, SLOT_DAMAGE] == uses
    assert flat.state.stats[E_USE, item_id(tool)] == (uses > 0)


def test_what_breaks_at_once_does_not_wear_and_grass_needs_no_tool(flat: Any) -> None:
    flat.hold("wooden_shovel")
    flat.put(8, 10, 9, "poppy")
    flat.look(0.0, 50.0)
    flat.run(2, attack=1)
    assert flat.block(8, 10, 9) == 0
    assert flat.state.inventory[0, SLOT_DAMAGE] == 0


@pytest.mark.parametrize(("tool", "durability"), [("wooden_pickaxe", 59), ("golden_axe", 32), ("diamond_axe", 1561)])
def test_a_tool_breaks_after_its_durability(flat: Any, tool: str, durability: int) -> None:
    flat.hold(tool)
    inventory, stats = flat.state.inventory, flat.state.stats
    for _ in range(durability - 1):
        wear(inventory, stats, 0, 1)
    assert inventory[0].tolist() == [item_id(tool), 1, durability - 1]
    wear(inventory, stats, 0, 1)
    assert inventory[0].tolist() == [0, 0, 0]
    assert stats[E_BREAK, item_id(tool)] == 1
    wear(inventory, stats, 0, 1)
    assert stats[E_BREAK].sum() == 1


def test_stone_that_yields_nothing_is_not_counted_as_mined(flat: Any) -> None:
    flat.put(8, 11, 10, "stone")
    flat.run(160, attack=1)
    assert flat.block(8, 11, 10) == 0
    assert flat.state.stats[E_MINE].sum() == 0, "as in the game, which counts what was harvested"


def test_gravel_yields_flint_once_in_ten_times_and_shears_take_leaves(flat: Any) -> None:
    flat.hold("diamond_shovel")
    for _ in range(300):
        flat.put(8, 11, 10, "gravel")
        flat.run(3, attack=1)
        assert flat.block(8, 11, 10) == 0
        flat.run(1)
    lying = stacks(flat)
    flint = lying[lying[:, I_ITEM] == item_id("flint"), I_COUNT].sum()
    assert flint + lying[lying[:, I_ITEM] == block_id("gravel"), I_COUNT].sum() == 300
    assert 12 <= flint <= 50
    flat.hold("shears")
    flat.put(8, 11, 10, "oak_leaves")
    flat.run(20, attack=1)
    assert (stacks(flat)[:, I_ITEM] == block_id("oak_leaves")).sum() == 1

"""Slots, stacks, pick-ups, placing and dropping."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.inventory import (
    describe,
    describe_equipment,
    fill_inventory,
    give,
    set_slot,
    slot_number,
    take_one,
)
from minestudio_nb.simulator.state import E_DROP, E_PICKUP, E_USE, P_Y, S_SLOT


def empty() -> np.ndarray:
    return np.zeros((41, 3), np.int32)


def test_give_fills_stacks_before_free_slots() -> None:
    inventory = empty()
    dirt = item_id("dirt")
    inventory[5] = (dirt, 60, 0)
    assert give(inventory, dirt, 70) == 70
    assert inventory[5].tolist() == [dirt, 64, 0]
    assert inventory[0].tolist() == [dirt, 64, 0]
    assert inventory[1].tolist() == [dirt, 2, 0]


def test_give_respects_stack_sizes_and_says_what_found_room() -> None:
    inventory = empty()
    assert give(inventory, item_id("diamond_axe"), 3) == 3
    assert inventory[:4, 1].tolist() == [1, 1, 1, 0]
    assert give(inventory, item_id("ender_pearl"), 1000) == 33 * 16
    assert inventory[36:].sum() == 0, "armour and off hand take no drops"
    assert give(inventory, item_id("dirt"), 1) == 0


def test_the_last_item_leaves_an_empty_slot() -> None:
    inventory = empty()
    inventory[3] = (item_id("dirt"), 2, 0)
    take_one(inventory, 3)
    assert inventory[3].tolist() == [item_id("dirt"), 1, 0]
    take_one(inventory, 3)
    assert inventory[3].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        (0, 0), ("7", 7), ("hotbar.8", 8), ("inventory.0", 9), ("inventory.26", 35), ("weapon.offhand", 40),
        ("weapon.mainhand", 0), ("weapon", 0), ("offhand", 40), ("armor.head", 39), ("feet", 36), ("container.12", 12),
    ],
)  # fmt: skip
def test_slot_names(name: int | str, slot: int) -> None:
    assert slot_number(name) == slot


@pytest.mark.parametrize("name", [41, -1, "hotbar.9", "inventory.27", "pocket", "weapon.left", "armor.tail"])
def test_unknown_slots_are_refused(name: int | str) -> None:
    with pytest.raises(SimulatorError, match="No inventory slot"):
        slot_number(name)


def test_a_stack_that_is_too_large_is_refused() -> None:
    with pytest.raises(SimulatorError, match="1 to 1"):
        set_slot(empty(), 0, "diamond_axe", 2)
    with pytest.raises(SimulatorError, match="1 to 64"):
        set_slot(empty(), 0, "dirt", -3)
    with pytest.raises(SimulatorError, match="'type'"):
        fill_inventory(empty(), {0: 7})
    with pytest.raises(SimulatorError, match="diamond_axe"):
        fill_inventory(empty(), {0: "diamond_ax"})


def test_descriptions_have_minestudios_form() -> None:
    inventory = empty()
    fill_inventory(inventory, {"1": {"type": "minecraft:dirt", "quantity": 5}, "offhand": "obsidian"})
    slots = describe(inventory)
    assert slots[0] == {"type": "none", "quantity": 0}
    assert slots[1] == {"type": "dirt", "quantity": 5}
    assert len(slots) == 41
    worn = describe_equipment(inventory, 1)
    assert (worn["mainhand"]["type"], worn["offhand"]["type"], worn["head"]["type"]) == ("dirt", "obsidian", "none")
    set_slot(inventory, 1, "air", 1)
    assert inventory[1].tolist() == [0, 0, 0]


def test_drops_go_into_the_inventory(flat: Any) -> None:
    flat.hold("diamond_pickaxe")
    flat.put(8, 11, 10, "stone")
    flat.run(6, attack=1)
    assert flat.block(8, 11, 10) == 0
    assert flat.count("cobblestone") == 0, "it lies there"
    flat.run(40)
    assert flat.count("cobblestone") == 1
    assert flat.state.stats[E_PICKUP, item_id("cobblestone")] == 1
    flat.hold("stick")
    flat.put(8, 11, 10, "stone")
    flat.run(160, attack=1)
    assert flat.block(8, 11, 10) == 0
    flat.run(40)
    assert flat.count("cobblestone") == 1, "a stick breaks stone, but yields nothing"


def test_placing_uses_the_main_hand_then_the_off_hand(flat: Any) -> None:
    flat.hold("diamond_pickaxe", slot=0)
    flat.hold("dirt", 2, slot=2)
    flat.hold("obsidian", 1, slot=40)
    flat.look(0.0, 45.0)
    flat.run(1, hotbar_3=1, use=1)
    assert flat.state.status[S_SLOT] == 2
    assert flat.block(8, 10, 10) == block_id("dirt")
    flat.run(1, hotbar_1=1)
    flat.run(1, use=1)
    assert flat.block(8, 10, 9) == block_id("obsidian")
    assert flat.state.inventory[40].tolist() == [0, 0, 0]
    flat.run(10, use=1)
    assert flat.state.stats[E_USE, item_id("obsidian")] == 1


def test_holding_use_places_every_fourth_tick(flat: Any) -> None:
    flat.hold("dirt", 10)
    flat.look(0.0, 30.0)
    flat.run(1)
    flat.run(4, use=1)
    assert flat.count("dirt") == 9
    flat.run(1, use=1)
    assert flat.count("dirt") == 8


def test_no_block_is_placed_into_a_body(flat: Any) -> None:
    flat.hold("dirt", 5)
    flat.look(0.0, 90.0)
    flat.run(10, use=1)
    assert flat.count("dirt") == 5
    flat.add_mob("cow", 8.5, 10.4)
    flat.look(0.0, 90.0)
    for _ in range(12):
        flat.run(1, use=1, jump=1)  # in a jump there is room below the feet
    assert flat.count("dirt") == 4
    assert flat.player[P_Y] >= 11.0


def test_drop_takes_one_item_for_each_press(flat: Any) -> None:
    flat.hold("dirt", 3)
    flat.run(5, drop=1)
    assert flat.count("dirt") == 2
    flat.run(1)
    flat.run(1, drop=1)
    assert flat.count("dirt") == 1
    assert flat.state.stats[E_DROP, item_id("dirt")] == 2


def test_a_plant_falls_with_the_block_below_it(flat: Any) -> None:
    flat.put(8, 11, 10, "dirt")
    flat.put(8, 12, 10, "poppy")
    flat.run(15, attack=1)
    assert (flat.block(8, 11, 10), flat.block(8, 12, 10)) == (0, 0)

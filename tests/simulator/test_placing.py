"""The use key on the world: order of the hands, what bears what, screens, paths, buckets and portals."""

from __future__ import annotations

from typing import Any

import pytest

from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.interaction import remove_block
from minestudio_nb.simulator.state import C_SCREENS, E_CUSTOM, E_USE, SLOT_DAMAGE


def test_a_main_hand_that_cannot_place_leaves_the_off_hand_idle(flat: Any) -> None:
    flat.hold("dirt", 5)
    flat.hold("torch", 5, slot=40)
    flat.look(0.0, 90.0)
    flat.run(8, use=1)
    assert (flat.count("dirt"), flat.count("torch")) == (5, 5), "only a main hand that passes lets the other try"
    flat.hold("stick", 5)
    flat.run(1, use=1)
    assert flat.count("torch") == 4, "a torch is placed where the player stands"


def test_use_waits_four_ticks_after_every_try_and_never_while_a_block_is_being_broken(flat: Any) -> None:
    flat.hold("dirt", 5)
    flat.look(0.0, 90.0)
    flat.run(1, use=1)
    flat.look(0.0, 45.0)
    flat.run(3, use=1)
    assert flat.count("dirt") == 5
    flat.run(1, use=1)
    assert flat.count("dirt") == 4
    flat.run(1)
    flat.look(0.0, 0.0)
    flat.put(8, 11, 10, "stone")
    flat.run(20, attack=1, use=1)
    assert flat.count("dirt") == 4


@pytest.mark.parametrize("block", ["crafting_table", "furnace", "chest"])
def test_screens_take_the_use_key_unless_the_player_sneaks(flat: Any, block: str) -> None:
    flat.put(8, 11, 10, block)
    flat.hold("dirt", 2)
    flat.run(1, use=1)
    assert flat.count("dirt") == 2
    assert flat.state.stats[E_CUSTOM, C_SCREENS : C_SCREENS + 3].sum() == 1
    flat.run(1)
    flat.run(1, use=1, sneak=1)
    assert flat.count("dirt") == 1
    assert flat.block(8, 11, 9) == block_id("dirt")


@pytest.mark.parametrize(
    ("item", "ground", "stands"),
    [
        ("poppy", "grass_block", True), ("poppy", "stone", False), ("torch", "stone", True), ("torch", "water", False),
        ("cactus", "sand", True), ("cactus", "dirt", False), ("cactus", "cactus", True), ("dead_bush", "sand", True),
        ("sugar_cane", "sugar_cane", True), ("oak_sapling", "dirt", True),
    ],
)  # fmt: skip
def test_plants_and_torches_need_ground_that_bears_them(flat: Any, item: str, ground: str, stands: bool) -> None:
    flat.put(8, 9, 10, ground)
    if item == ground:
        flat.put(8, 8, 10, "sand")
    flat.put(8, 10, 11, "glass")  # its face towards the player is clicked
    flat.hold(item, 3)
    flat.look(0.0, 22.0)
    flat.run(1, use=1)
    assert (flat.block(8, 10, 10) == block_id(item)) == stands
    assert flat.count(item) == 3 - stands


def test_a_shovel_makes_a_path(flat: Any) -> None:
    flat.put(8, 9, 10, "grass_block")
    flat.hold("iron_shovel")
    flat.look(0.0, 45.0)
    flat.run(1, use=1)
    assert flat.block(8, 9, 10) == block_id("grass_path")
    assert flat.state.inventory[0, SLOT_DAMAGE] == 1
    assert flat.state.stats[E_USE, item_id("iron_shovel")] == 1


def test_buckets_take_up_and_pour_out(flat: Any) -> None:
    flat.put(8, 9, 10, "water")
    flat.hold("bucket", 2)
    flat.look(0.0, 45.0)
    flat.run(1, use=1)
    assert flat.block(8, 9, 10) == 0
    assert (flat.count("bucket"), flat.count("water_bucket")) == (1, 1)
    flat.run(1)
    flat.put(8, 9, 10, "stone")
    flat.hold("water_bucket")
    flat.run(1, use=1)
    assert flat.block(8, 10, 10) == block_id("water")
    assert flat.state.inventory[0].tolist() == [item_id("bucket"), 1, 0]
    assert flat.state.stats[E_USE, [item_id("bucket"), item_id("water_bucket")]].tolist() == [1, 1]


def test_a_pond_stays_full_and_a_puddle_does_not(flat: Any) -> None:
    for x in (7, 8, 9):
        flat.put(x, 9, 10, "water")
    flat.hold("bucket", 3)
    flat.look(0.0, 45.0)
    flat.run(1, use=1)
    assert flat.block(8, 9, 10) == block_id("water"), "two sources beside it fill it again"
    assert flat.count("water_bucket") == 1


def test_water_on_lava_makes_obsidian(flat: Any) -> None:
    flat.put(8, 9, 10, "lava")
    flat.put(8, 9, 11, "stone")
    flat.put(8, 10, 11, "stone")
    flat.hold("water_bucket")
    flat.look(0.0, 20.0)
    flat.run(1, use=1)
    assert flat.block(8, 10, 10) == block_id("water")
    assert flat.block(8, 9, 10) == block_id("obsidian")


def test_no_obsidian_forms_round_a_body(flat: Any) -> None:
    flat.put(9, 10, 8, "water")
    flat.hold("lava_bucket")
    flat.look(0.0, 90.0)
    flat.run(1, use=1)
    assert flat.block(8, 10, 8) == block_id("lava")


def build_frame(flat: Any, width: int = 2, height: int = 3, corners: bool = False, z: int = 10) -> None:
    """A frame across the player's view, its hole from x = 8 and y = 10 on."""
    for x in range(7, 9 + width):
        for y in range(9, 11 + height):
            rim_x, rim_y = x in (7, 8 + width), y in (9, 10 + height)
            if (rim_x or rim_y) and (corners or not (rim_x and rim_y)):
                flat.put(x, y, z, "obsidian")


def portal(flat: Any) -> int:
    return int((flat.state.world.blocks == block_id("nether_portal")).sum())


@pytest.mark.parametrize(("width", "height", "lights"), [(2, 3, True), (4, 5, True), (2, 2, False), (1, 3, False)])
def test_a_whole_frame_is_lit_and_a_broken_one_goes_out(flat: Any, width: int, height: int, lights: bool) -> None:
    build_frame(flat, width, height)
    flat.hold("flint_and_steel")
    flat.look(0.0, 40.0)
    flat.run(2, use=1)
    assert portal(flat) == (width * height if lights else 0)
    assert flat.state.inventory[0, SLOT_DAMAGE] == lights
    remove_block(flat.state.arrays(), 7, 11, 10, item_id("diamond_pickaxe"))
    assert portal(flat) == 0


def test_an_unfinished_frame_is_not_lit(flat: Any) -> None:
    build_frame(flat)
    flat.put(8, 13, 10, "air")
    flat.hold("flint_and_steel")
    flat.look(0.0, 40.0)
    flat.run(2, use=1)
    assert portal(flat) == 0

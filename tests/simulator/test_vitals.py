"""Hunger, food, breath, fire; the published amounts and times are in ``test_published_values``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.state import (
    C_DEATHS,
    C_TAKEN,
    E_CUSTOM,
    E_USE,
    EASY,
    HARD,
    P_EXHAUSTION,
    P_FOOD,
    P_HEALTH,
    P_LAST_HURT,
    P_SATURATION,
    P_VX,
    P_X,
    P_Y,
    P_Z,
    PEACEFUL,
    S_AIR,
    S_DEAD,
    S_DIFFICULTY,
    S_DROWNING_DAMAGE,
    S_EAT,
    S_FIRE,
    S_HUNGER,
    S_HURT,
    S_IN_LAVA,
    S_NATURAL_REGENERATION,
    S_SPRINTING,
    S_UNDER_WATER,
)
from minestudio_nb.simulator.use_items import FOOD_POINTS, FOODS
from minestudio_nb.simulator.vitals import add_exhaustion, by_difficulty, hurt_player


def hurt(flat: Any, amount: float) -> bool:
    s = flat.state
    return bool(hurt_player(s.player, s.status, s.stats, amount, 0.1))


def flood(flat: Any, name: str, depth: int) -> None:
    flat.state.world.blocks[:, :, 10 : 10 + depth] = block_id(name)
    flat.state.world.rebuild()


def test_after_a_hit_only_the_excess_of_a_harder_one_counts(flat: Any) -> None:
    assert hurt(flat, 3.0)
    assert not hurt(flat, 3.0)
    assert not hurt(flat, 5.0), "it counts, but does not push"
    assert flat.player[P_HEALTH] == 15.0
    assert flat.player[P_LAST_HURT] == 5.0
    assert flat.state.stats[E_CUSTOM, C_TAKEN] == 50
    flat.player[P_FOOD] = 10.0
    flat.run(10)
    assert hurt(flat, 3.0)
    assert flat.player[P_HEALTH] == 12.0
    hurt(flat, 50.0)
    assert (flat.state.status[S_DEAD], flat.state.stats[E_CUSTOM, C_DEATHS]) == (1, 1)


def test_exhaustion_takes_saturation_then_food(flat: Any) -> None:
    flat.player[P_SATURATION] = 1.5
    for expected in ((20.0, 0.5), (20.0, 0.0), (19.0, 0.0), (18.0, 0.0)):
        add_exhaustion(flat.player, 4.1 - flat.player[P_EXHAUSTION])
        flat.run(1)
        assert (flat.player[P_FOOD], flat.player[P_SATURATION]) == pytest.approx(expected)
    add_exhaustion(flat.player, 100.0)
    assert flat.player[P_EXHAUSTION] == 40.0


def test_twenty_seconds_of_work_do_not_make_hungry(flat: Any) -> None:
    flat.put(8, 11, 10, "stone")
    flat.run(400, forward=1, sprint=1, jump=1, attack=1)
    assert flat.player[P_FOOD] == 20.0


def test_a_hungry_player_neither_sprints_nor_heals(flat: Any) -> None:
    flat.player[P_FOOD] = 6.0
    flat.player[P_HEALTH] = 10.0
    flat.run(200, forward=1, sprint=1)
    assert flat.state.status[S_SPRINTING] == 0
    assert flat.player[P_HEALTH] == 10.0
    flat.player[P_FOOD] = 7.0
    flat.run(2, forward=1, sprint=1)
    assert flat.state.status[S_SPRINTING] == 1
    flat.player[P_FOOD] = 20.0
    flat.state.status[S_NATURAL_REGENERATION] = 0
    flat.run(200)
    assert flat.player[P_HEALTH] == 10.0


@pytest.mark.parametrize(("difficulty", "left"), [(PEACEFUL, 20.0), (EASY, 10.0), (HARD, 0.0)])
def test_what_starving_leaves_depends_on_the_difficulty(flat: Any, difficulty: int, left: float) -> None:
    flat.state.status[S_DIFFICULTY] = difficulty
    flat.player[P_FOOD] = flat.player[P_SATURATION] = 0.0
    flat.run(1700)
    assert flat.player[P_HEALTH] == left


def test_a_mobs_attack_is_scaled_by_the_difficulty(flat: Any) -> None:
    damages = []
    for difficulty in range(4):
        flat.state.status[S_DIFFICULTY] = difficulty
        damages.append(by_difficulty(flat.state.status, 3.0))
    assert damages == [0.0, 2.5, 3.0, 4.5]


def test_eating_slows_counts_and_needs_the_key_held_to_the_end(flat: Any) -> None:
    flat.player[P_FOOD] = 5.0
    flat.hold("bread", 2)
    flat.run(31, use=1)
    assert flat.state.status[S_EAT] == 31
    flat.run(1)
    assert (flat.count("bread"), flat.player[P_FOOD]) == (2, 5.0)
    flat.run(32, use=1)
    assert (flat.count("bread"), flat.player[P_FOOD]) == (1, 10.0)
    assert flat.state.stats[E_USE, item_id("bread")] == 1
    flat.player[P_FOOD] = 20.0
    flat.run(40, use=1)
    assert flat.count("bread") == 1, "nobody eats with a full stomach"


def test_food_is_eaten_from_the_off_hand_beside_a_sword(flat: Any) -> None:
    flat.player[P_FOOD] = 5.0
    flat.hold("diamond_sword")
    flat.hold("apple", 1, slot=40)
    flat.run(32, use=1)
    assert flat.player[P_FOOD] == 9.0


def test_rotten_flesh_often_brings_the_effect_hunger(flat: Any) -> None:
    sick = 0
    for _ in range(50):
        flat.player[P_FOOD] = 5.0
        flat.state.status[S_HUNGER] = 0
        flat.hold("rotten_flesh")
        flat.run(1)
        flat.run(32, use=1)
        sick += flat.state.status[S_HUNGER] > 0
    assert 30 < sick < 48, "four times in five"
    flat.state.status[S_HUNGER] = 100
    flat.player[P_EXHAUSTION] = 0.0
    flat.run(100)
    assert flat.player[P_EXHAUSTION] == pytest.approx(0.5)


def test_the_tables_of_food_agree() -> None:
    edible = {name for name in table.ITEM_NAMES if table.ITEM_FOOD[table.item_id(name)] > 0}
    assert edible == {name for name in FOODS if name in table.ITEM_NAMES}
    for name in edible:
        assert FOOD_POINTS[table.item_id(name)] == table.ITEM_FOOD[table.item_id(name)]


def test_breath_comes_back_four_times_as_fast_as_it_goes(flat: Any) -> None:
    flood(flat, "water", 20)
    flat.run(100)
    assert flat.state.status[S_UNDER_WATER] == 1
    assert flat.state.status[S_AIR] == 200
    flat.state.world.blocks[:, :, 10:30] = 0
    flat.state.world.rebuild()
    flat.run(11)
    assert flat.state.status[S_AIR] == 244
    flood(flat, "water", 1)
    flat.run(5)
    assert flat.state.status[S_UNDER_WATER] == 0, "the eyes are above it"


def test_drowning_can_be_off(flat: Any) -> None:
    flood(flat, "water", 20)
    flat.state.status[S_DROWNING_DAMAGE] = 0
    flat.run(600)
    assert flat.player[P_HEALTH] == 20.0


def test_lava_burns_and_water_puts_the_fire_out(flat: Any) -> None:
    flat.player[P_FOOD] = 10.0
    flood(flat, "lava", 2)
    flat.run(1)
    assert flat.state.status[S_IN_LAVA] == 1
    assert (flat.player[P_HEALTH], flat.state.status[S_FIRE]) == (16.0, 299)
    flat.run(10)
    assert flat.player[P_HEALTH] == 12.0
    flood(flat, "air", 2)
    flat.run(41)
    assert flat.player[P_HEALTH] == 10.0, "a half heart a second"
    flood(flat, "water", 1)
    flat.run(2)
    assert flat.state.status[S_FIRE] == 0


def test_a_cactus_pricks_who_touches_it(flat: Any) -> None:
    flat.player[P_FOOD] = 10.0
    flat.put(8, 10, 10, "cactus")
    flat.run(20)
    assert flat.player[P_HEALTH] == 20.0
    flat.run(30, forward=1)
    assert flat.player[P_HEALTH] <= 18.0
    assert flat.state.status[S_HURT] > 0


def test_ice_is_slippery(flat: Any) -> None:
    slides = []
    for ground in ("stone", "ice"):
        flat.state.world.blocks[:, :, 9] = block_id(ground)
        flat.run(60, forward=1)
        start = flat.position[2]
        flat.run(60)
        slides.append(flat.position[2] - start)
    assert slides[0] == pytest.approx(0.2158 * 0.546 / 0.454, abs=0.02)
    assert slides[1] > 1.4


def test_sprinting_ends_at_a_wall(flat: Any) -> None:
    for y in (10, 11):
        flat.put(8, y, 20, "stone")
    flat.run(30, forward=1, sprint=1)
    assert flat.state.status[S_SPRINTING] == 1
    flat.run(40, forward=1)
    assert flat.player[P_Z] == pytest.approx(19.7)
    assert flat.state.status[S_SPRINTING] == 0


def test_a_swimmer_climbs_onto_the_bank(flat: Any) -> None:
    flood(flat, "water", 4)
    flat.state.world.blocks[:, 12:, 10:14] = block_id("stone")
    flat.state.world.rebuild()
    flat.run(100, forward=1, jump=1)
    assert flat.player[P_Y] >= 14.0
    assert flat.player[P_Z] > 12.0


def test_nobody_is_hurt_by_a_fall_into_water(flat: Any) -> None:
    flood(flat, "water", 2)
    flat.player[P_Y] = 50.0
    flat.run(100)
    assert flat.player[P_HEALTH] == 20.0


def test_state_holds_all_of_it(flat: Any) -> None:
    """A copy of the arrays goes on exactly as the original."""
    from minestudio_nb.simulator.state import SimState

    flat.player[P_FOOD] = 3.0
    flat.player[P_HEALTH] = 7.0
    flood(flat, "water", 3)
    flat.hold("bread", 5)
    flat.run(50, use=1)
    copy = SimState(flat.state.world.copy(), **{name: getattr(flat.state, name).copy() for name in SimState.ARRAYS})
    original = flat.state
    flat.run(300, use=1, forward=1)
    flat.state = copy
    flat.run(300, use=1, forward=1)
    for name in SimState.ARRAYS:
        np.testing.assert_array_equal(getattr(original, name), getattr(copy, name))
    assert original.player[P_X] != original.player[P_VX]

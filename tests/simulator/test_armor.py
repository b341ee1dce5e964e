"""Armor: how much it holds off, how it wears, how it is put on; and the effect that makes hits harder."""

from __future__ import annotations

from typing import Any

import pytest

from minestudio_nb.simulator.blocks import item_id
from minestudio_nb.simulator.state import (
    E_BREAK,
    M_HEALTH,
    P_HEALTH,
    S_ARMOR,
    S_HURT,
    S_STRENGTH,
    S_STRENGTH_LEVEL,
    S_TOUGHNESS,
    SLOT_DAMAGE,
)
from minestudio_nb.simulator.vitals import EXHAUSTION_HURT, after_armor, hurt_player

SHAPES = ("boots", "leggings", "chestplate", "helmet")


@pytest.mark.parametrize(
    ("damage", "armor", "toughness", "expected"),
    [
        (10.0, 0, 0, 10.0),
        (10.0, 15, 0, 10.0 * (1 - 10 / 25)),  # 15 - 10 / 2 = 10 points count
        (10.0, 20, 8, 10.0 * (1 - 17.5 / 25)),  # 20 - 10 / 4
        (100.0, 20, 8, 100.0 * (1 - 4 / 25)),  # never less than a fifth of the points
        (1.0, 20, 8, 1.0 * (1 - 19.75 / 25)),
    ],
)
def test_armor_holds_off_the_published_share(damage: float, armor: int, toughness: int, expected: float) -> None:
    assert after_armor(damage, armor, toughness) == pytest.approx(expected)


def dress(flat: Any, material: str) -> None:
    for place, shape in enumerate(SHAPES):
        flat.hold(f"{material}_{shape}", slot=36 + place)
    flat.run(1)


def test_a_dressed_player_loses_less_and_its_armor_wears(flat: Any) -> None:
    dress(flat, "iron")
    status, player = flat.state.status, flat.player
    assert (status[S_ARMOR], status[S_TOUGHNESS]) == (15, 0)
    hurt_player(player, status, flat.state.stats, 10.0, EXHAUSTION_HURT)
    assert player[P_HEALTH] == pytest.approx(20.0 - 6.0)
    flat.run(1)
    assert flat.state.inventory[36:40, SLOT_DAMAGE].tolist() == [2, 2, 2, 2], "a quarter of the damage, rounded down"
    status[S_HURT] = 0
    hurt_player(player, status, flat.state.stats, 3.0, 0.0)
    assert player[P_HEALTH] == pytest.approx(14.0 - 3.0, abs=0.01), "armor does not help against falls"


def test_worn_out_armor_breaks(flat: Any) -> None:
    flat.hold("golden_helmet", slot=39)
    flat.state.inventory[39, SLOT_DAMAGE] = 76
    flat.run(1)
    hurt_player(flat.player, flat.state.status, flat.state.stats, 1.0, EXHAUSTION_HURT)
    flat.run(2)
    assert flat.state.inventory[39].tolist() == [0, 0, 0]
    assert flat.state.stats[E_BREAK, item_id("golden_helmet")] == 1
    assert flat.state.status[S_ARMOR] == 0


def test_armor_in_the_backpack_or_in_the_wrong_place_is_not_worn(flat: Any) -> None:
    flat.hold("diamond_chestplate", slot=3)
    flat.hold("diamond_chestplate", slot=39)
    flat.run(1)
    assert flat.state.status[S_ARMOR] == 0


def test_the_use_key_puts_armor_on_where_its_place_is_free(flat: Any) -> None:
    flat.hold("diamond_leggings")
    flat.state.inventory[0, SLOT_DAMAGE] = 5
    flat.look(0.0, -90.0)
    flat.run(1, use=1)
    assert flat.state.inventory[37].tolist() == [item_id("diamond_leggings"), 1, 5]
    assert flat.state.inventory[0].tolist() == [0, 0, 0]
    flat.hold("iron_leggings")
    flat.run(8, use=1)
    assert flat.state.inventory[0, 0] == item_id("iron_leggings")


def test_strength_adds_three_half_hearts_a_level(flat: Any) -> None:
    flat.state.status[[S_STRENGTH, S_STRENGTH_LEVEL]] = (100, 2)
    zombie = flat.add_mob("zombie", 8.5, 10.2, health=1000.0)
    flat.run(1)
    flat.run(1, attack=1)
    assert flat.state.mobs[zombie, M_HEALTH] == pytest.approx(1000.0 - 7.0)

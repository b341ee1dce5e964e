"""Mobs stroll, flee, fight, die and drop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.bodies import box_is_free
from minestudio_nb.simulator.mobs import MOB_HALF, MOB_HEIGHT, MOB_KINDS, mob_kind
from minestudio_nb.simulator.state import (
    E_DAMAGE,
    E_KILL,
    E_PICKUP,
    I_COUNT,
    I_ITEM,
    M_HEALTH,
    M_HURT,
    M_KIND,
    M_X,
    M_Y,
    M_Z,
    P_HEALTH,
    P_X,
    P_Z,
    S_DEAD,
    S_TARGET,
    TARGET_MOB,
)


def test_unknown_mobs_are_refused_with_the_nearest_name() -> None:
    assert mob_kind("minecraft:sheep") == 1
    with pytest.raises(SimulatorError, match="'sheep'"):
        mob_kind("ship")


def test_animals_stroll_on_the_ground_and_never_into_blocks(flat: Any) -> None:
    for x in range(4, 14):
        flat.put(x, 10, 13, "stone")
        flat.put(x, 11, 13, "stone")
    rows = [flat.add_mob(name, 8.5 + i, 11.5) for i, name in enumerate(("cow", "sheep", "pig"))]
    start = flat.state.mobs[rows].copy()
    for _ in range(1500):
        flat.run(1)
        for row in rows:
            kind = int(flat.state.mobs[row, M_KIND])
            x, y, z = flat.state.mobs[row, [M_X, M_Y, M_Z]]
            assert box_is_free(flat.state.world.blocks, x, y, z, MOB_HALF[kind], MOB_HEIGHT[kind])
            assert y >= 10.0
    moved = np.hypot(*(flat.state.mobs[rows] - start)[:, [M_X, M_Z]].T)
    assert (moved > 0.5).sum() >= 2


def test_a_sword_kills_a_cow_in_two_hits_and_the_cow_flees_between_them(flat: Any) -> None:
    flat.hold("diamond_sword")
    cow = flat.add_mob("cow", 8.5, 10.5)
    flat.look(0.0, 30.0)
    flat.run(1)
    assert flat.state.status[S_TARGET] == TARGET_MOB
    flat.run(1, attack=1)
    assert flat.state.mobs[cow, M_HEALTH] == pytest.approx(10.0 - 7.0)
    assert flat.state.stats[E_DAMAGE, 0] == 70
    distance = math.dist(flat.state.mobs[cow, [M_X, M_Z]], flat.player[[P_X, P_Z]])
    flat.run(30)
    assert math.dist(flat.state.mobs[cow, [M_X, M_Z]], flat.player[[P_X, P_Z]]) > distance + 1.5
    flat.state.mobs[cow, [M_X, M_Y, M_Z]] = (8.5, 10.0, 10.5)
    flat.run(1, attack=1)
    assert flat.state.mobs[cow, M_KIND] == -1
    assert flat.state.stats[E_KILL].tolist()[:4] == [1, 0, 0, 0]
    items = flat.state.items
    assert 1 <= items[items[:, I_ITEM] == item_id("beef"), I_COUNT].sum() <= 3
    assert flat.state.stats[E_PICKUP].sum() == 0, "it lies there"


def test_hits_are_weaker_before_the_weapon_has_recovered(flat: Any) -> None:
    flat.hold("diamond_sword")
    zombie = flat.add_mob("zombie", 8.5, 10.2, health=1000.0)
    flat.run(1)
    losses, ticks = [], []
    health = 1000.0
    for tick in range(25):
        flat.state.mobs[zombie, [M_X, M_Y, M_Z]] = (8.5, 10.0, 10.2)
        flat.run(1, attack=1)
        if flat.state.mobs[zombie, M_HEALTH] < health:
            losses.append(health - flat.state.mobs[zombie, M_HEALTH])
            health = float(flat.state.mobs[zombie, M_HEALTH])
            ticks.append(tick)
    assert ticks == [0, 10, 20], "held attack hits every ten ticks"
    charge = (10 + 0.5) * 1.6 / 20
    assert losses == pytest.approx([7.0, 7.0 * (0.2 + 0.8 * charge**2), 7.0 * (0.2 + 0.8 * charge**2)])


def test_a_mob_behind_a_wall_or_out_of_reach_is_not_hit(flat: Any) -> None:
    flat.hold("diamond_sword")
    cow = flat.add_mob("cow", 8.5, 12.5)
    flat.look(0.0, 12.0)
    flat.run(3, attack=1)
    assert flat.state.mobs[cow, M_HEALTH] == 10.0
    flat.state.mobs[cow, [M_X, M_Z]] = (8.5, 11.0)
    flat.put(8, 11, 9, "glass")
    flat.run(1)
    flat.run(1, attack=1)
    assert flat.state.mobs[cow, M_HEALTH] == 10.0
    assert flat.state.mobs[cow, M_HURT] == 0


def test_a_zombie_walks_up_and_kills(flat: Any) -> None:
    flat.add_mob("zombie", 8.5, 16.5)
    ran = flat.run(1000)
    assert flat.state.status[S_DEAD] == 1
    assert flat.player[P_HEALTH] == 0.0
    assert 100 < ran < 600, "8 m at 2.2 m/s, then seven hits of 3, 20 ticks apart"
    assert flat.run(10) == 0, "time stands still for the dead"


def test_animals_swim(flat: Any) -> None:
    flat.state.world.blocks[:, :, 10:16] = block_id("water")
    flat.state.world.rebuild()
    pig = flat.add_mob("pig", 12.5, 12.5)
    flat.run(200)
    assert flat.state.mobs[pig, M_Y] > 14.5


def test_there_is_room_for_any_number_of_mobs(flat: Any) -> None:
    for i in range(50):
        flat.add_mob(MOB_KINDS[i % 3].name, 4.5 + i % 7, 4.5 + i // 7)
    assert (flat.state.mobs[:, M_KIND] >= 0).sum() == 50
    assert len(flat.state.minds) == len(flat.state.mobs) == 64
    flat.run(20)


def test_a_mob_meets_a_player_who_went_round_the_world(flat: Any) -> None:
    flat.hold("diamond_sword")
    cow = flat.add_mob("cow", 8.5, 10.5)
    flat.player[P_Z] += 32.0
    flat.look(0.0, 30.0)
    flat.run(2, attack=1)
    assert flat.state.mobs[cow, M_Z] == pytest.approx(42.5, abs=0.5)
    assert flat.state.mobs[cow, M_HEALTH] == pytest.approx(3.0)

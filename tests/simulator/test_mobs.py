"""Mobs stroll, flee, fight, die and drop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.bodies import box_is_free
from minestudio_nb.simulator.engine import VoxelEngine
from minestudio_nb.simulator.mobs import MOB_HALF, MOB_HEIGHT, MOB_KINDS, mob_kind, summon
from minestudio_nb.simulator.state import (
    E_DAMAGE,
    E_KILL,
    E_PICKUP,
    I_COUNT,
    I_ITEM,
    M_HEALTH,
    M_HURT,
    M_KIND,
    M_VZ,
    M_X,
    M_Y,
    M_Z,
    MIND_FLEE,
    P_HEALTH,
    P_X,
    P_Y,
    P_Z,
    S_DEAD,
    S_SPRINTING,
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


def test_animals_do_not_walk_off_cliffs_nor_into_lava_or_cactus(flat: Any) -> None:
    """A plateau of 11 by 11 blocks, five high, with a lava pool and a cactus on it."""
    blocks = flat.state.world.blocks
    blocks[:, :, 1:10] = 0
    blocks[11:22, 11:22, 1:10] = block_id("stone")
    blocks[13, 13, 9] = block_id("lava")
    flat.state.world.rebuild()
    flat.put(19, 10, 19, "cactus")
    flat.player[[P_X, P_Y, P_Z]] = (16.5, 10.0, 16.5)
    for name in ("cow", "sheep", "pig", "chicken"):
        flat.state.remove_entities()
        row = flat.add_mob(name, 16.5, 18.5)  # alone, because animals may push each other over the edge
        for _ in range(40):
            flat.state.minds[row, MIND_FLEE] = 60
            flat.run(50)
            assert flat.state.mobs[row, M_KIND] >= 0, name
            assert flat.state.mobs[row, M_Y] >= 10.0, name


def test_a_fall_hurts_a_mob_but_not_a_chicken(flat: Any) -> None:
    cow, chicken = flat.add_mob("cow", 12.5, 12.5), flat.add_mob("chicken", 16.5, 12.5)
    flat.state.mobs[[cow, chicken], M_Y] = 20.0
    flat.run(100)
    assert flat.state.mobs[cow, M_HEALTH] == 10.0 - 7.0
    assert flat.state.mobs[chicken, M_HEALTH] == 4.0
    flat.state.mobs[cow, M_Y] = 20.0
    flat.run(100)
    assert flat.state.mobs[cow, M_KIND] == -1
    assert flat.state.stats[E_KILL].sum() == 0, "nobody killed it"


def test_bodies_push_each_other_apart_and_the_player(flat: Any) -> None:
    first, second = flat.add_mob("pig", 12.5, 12.5), flat.add_mob("pig", 12.6, 12.5)
    flat.run(40)
    mobs = flat.state.mobs
    assert abs(mobs[first, M_X] - mobs[second, M_X]) + abs(mobs[first, M_Z] - mobs[second, M_Z]) > 0.85
    flat.state.remove_entities()
    flat.add_mob("cow", 8.7, 8.5)
    start = flat.position
    flat.run(20)
    assert flat.player[P_X] < start[0] - 0.1


def test_a_hit_throws_back_and_a_sprinting_one_farther(flat: Any) -> None:
    speeds = []
    for sprint in (0, 1):
        flat.state.remove_entities()
        flat.player[[P_X, P_Y, P_Z]] = (8.5, 10.0, 8.5)
        flat.look(0.0, 10.0)
        flat.run(20)
        flat.run(20, forward=1, sprint=sprint)
        cow = flat.add_mob("cow", float(flat.player[P_X]), float(flat.player[P_Z]) + 2.0, health=100.0)
        flat.run(1, forward=1, sprint=sprint)
        flat.run(1, forward=1, sprint=sprint, attack=1)
        speeds.append(float(flat.state.mobs[cow, M_VZ]))
        assert flat.state.status[S_SPRINTING] == 0
    assert speeds == pytest.approx([0.4, 0.7], abs=0.02), "0.4, and half of it with another 0.5"


def test_a_sword_sweeps_those_beside_its_target(flat: Any) -> None:
    flat.hold("iron_sword")
    flat.look(0.0, 20.0)
    target, beside, far = (flat.add_mob("cow", x, 10.3) for x in (8.5, 9.6, 12.5))
    flat.run(1)
    flat.run(1, attack=1)
    assert flat.state.mobs[[target, beside, far], M_HEALTH].tolist() == [4.0, 9.0, 10.0]


def test_a_kill_within_five_seconds_of_a_hit_is_the_players(flat: Any) -> None:
    for wait, kills in ((50, 1), (150, 0)):
        flat.state.remove_entities()
        flat.state.stats[:] = 0
        cow = flat.add_mob("cow", 8.5, 10.3)
        flat.look(0.0, 20.0)
        flat.run(1)
        flat.run(1, attack=1)
        flat.run(wait)
        flat.state.mobs[cow, M_Y] = 40.0
        flat.run(40)
        assert flat.state.mobs[cow, M_KIND] == -1
        assert flat.state.stats[E_KILL, 0] == kills


def test_animals_have_the_speed_that_is_asked_for() -> None:
    """A fleeing cow: 0.4 squared times 0.98 over 0.454 blocks a tick in Minecraft."""
    with pytest.raises(SimulatorError, match="animal_speed"):
        VoxelEngine(animal_speed=5.0)
    paces = []
    for share in (0.5, 1.0):
        engine = VoxelEngine(world_size=32, pool_size=1, animal_speed=share)
        engine.reset(np.random.default_rng(0))
        state = engine.state
        state.world.blocks[:] = 0
        state.world.blocks[:, :, :10] = block_id("stone")
        state.world.rebuild()
        engine.teleport(2.5, 10.0, 2.5)
        cow = summon(state, mob_kind("cow"), 6.5, 10.0, 6.5)
        state.minds[cow, MIND_FLEE] = 61
        engine.idle(12)
        before = state.mobs[cow, [M_X, M_Z]].copy()
        engine.idle(5)
        paces.append(math.dist(state.mobs[cow, [M_X, M_Z]], before) / 5)
    full = 0.98 * 0.4**2 / 0.454
    assert paces == pytest.approx([full / 2, full], rel=0.02)

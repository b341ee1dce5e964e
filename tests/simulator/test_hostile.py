"""Zombies, skeletons, spiders and creepers, and what the sun and explosions do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.bodies import box_is_free
from minestudio_nb.simulator.explosions import exposure
from minestudio_nb.simulator.mobs import MOB_HALF, MOB_HEIGHT, MOB_KINDS, MOB_NAMES
from minestudio_nb.simulator.state import (
    A_OWNER,
    A_STATE,
    ARROW_FLYING,
    C_KILLS,
    E_CUSTOM,
    E_DAMAGE,
    E_KILL,
    I_COUNT,
    I_ITEM,
    M_FIRE,
    M_HEALTH,
    M_KIND,
    M_SWELL,
    M_VZ,
    M_X,
    M_Y,
    M_Z,
    MIND_SEEN,
    MIND_SIDE,
    P_FOOD,
    P_HEALTH,
    P_VY,
    P_VZ,
    P_X,
    P_Z,
    PEACEFUL,
    S_DEAD,
    S_DIFFICULTY,
    S_MOB_GRIEFING,
    S_RAIN,
    S_TIME,
)

NIGHT = 18000


@pytest.fixture
def night(flat: Any) -> Any:
    flat.state.status[S_TIME] = NIGHT
    flat.player[P_FOOD] = 10.0  # so that nothing heals
    return flat


def distance(flat: Any, row: int) -> float:
    return math.dist(flat.state.mobs[row, [M_X, M_Z]], flat.player[[P_X, P_Z]])


def test_a_zombie_walks_up_hits_and_pushes(night: Any) -> None:
    row = night.add_mob("zombie", 8.5, 16.5)
    night.run(40)
    assert distance(night, row) == pytest.approx(8.0 - 40 * 0.114, abs=0.7), "2.3 m/s"
    while night.player[P_HEALTH] == 20.0:
        night.run(1)
    assert night.player[P_HEALTH] == 17.0
    assert night.player[P_VZ] < -0.1
    assert night.player[P_VY] > 0.2


def test_a_zombie_does_not_see_through_walls_but_remembers(night: Any) -> None:
    for x in range(32):
        for y in range(10, 14):
            night.put(x, y, 12, "stone")
    row = night.add_mob("zombie", 8.5, 15.5)
    night.run(200)
    assert night.player[P_HEALTH] == 20.0
    assert night.state.mobs[row, M_Z] > 12.0
    for y in (10, 11):
        night.put(8, y, 12, "air")
    night.state.mobs[row, [M_X, M_Z]] = (8.5, 14.5)
    night.run(200)
    assert night.player[P_HEALTH] < 20.0, "through the door"


def test_hunters_go_round_what_they_cannot_jump(night: Any) -> None:
    for x in range(6, 12):
        for y in (10, 11):
            night.put(x, y, 13, "stone")
    row = night.add_mob("zombie", 8.5, 15.5)
    turns, side = 0, 0
    for _ in range(400):
        night.state.minds[row, MIND_SEEN] = 60  # it knows where the player is
        night.run(1)
        turns += side != night.state.minds[row, MIND_SIDE]
        side = night.state.minds[row, MIND_SIDE]
        if distance(night, row) < 2.0:
            break
    assert distance(night, row) < 2.0
    assert turns < 10, "it does not jitter"


def test_the_undead_burn_in_the_sun_not_under_a_roof_in_rain_or_water(flat: Any) -> None:
    flat.state.status[S_TIME] = 6000
    burnt = {}
    for case in ("sun", "roof", "rain", "water", "night", "spider"):
        flat.state.remove_entities()
        flat.state.world.blocks[:, :, 10:] = 0
        flat.state.world.rebuild()
        flat.state.status[S_TIME] = NIGHT if case == "night" else 6000
        flat.state.status[S_RAIN] = int(case == "rain")
        row = flat.add_mob("spider" if case == "spider" else "zombie", 24.5, 24.5)
        if case == "roof":
            flat.state.world.blocks[:, :, 20] = block_id("stone")
        if case == "water":
            flat.state.world.blocks[:, :, 10:12] = block_id("water")
        flat.state.world.rebuild()
        flat.state.status[S_DEAD] = 0
        flat.player[P_HEALTH] = 20.0
        flat.run(150)
        burnt[case] = float(flat.state.mobs[row, M_HEALTH])
    assert burnt["sun"] < 20.0
    assert all(burnt[case] == 20.0 for case in ("roof", "rain", "night"))
    assert burnt["water"] >= 19.0
    assert burnt["spider"] == 16.0


def test_one_that_burns_to_death_is_nobodys_kill(flat: Any) -> None:
    flat.state.status[S_TIME] = 6000
    row = flat.add_mob("zombie", 24.5, 24.5, health=1.0)
    flat.state.mobs[row, M_FIRE] = 160
    flat.run(30)
    assert flat.state.mobs[row, M_KIND] == -1
    assert flat.state.stats[E_KILL].sum() == flat.state.stats[E_CUSTOM, C_KILLS] == 0


def test_a_skeleton_shoots_and_keeps_its_distance(night: Any) -> None:
    row = night.add_mob("skeleton", 8.5, 14.5)
    shots = 0
    near = 99.0
    for _ in range(300):
        before = (night.state.arrows[:, A_STATE] == ARROW_FLYING).sum()
        night.run(1)
        shots += (night.state.arrows[:, A_STATE] == ARROW_FLYING).sum() > before
        near = min(near, distance(night, row))
        if night.state.status[S_DEAD]:
            break
    assert shots >= 4
    assert night.state.arrows[0, A_OWNER] == row
    assert near > 3.0
    assert night.player[P_HEALTH] < 20.0
    assert night.state.stats[E_DAMAGE].sum() == 0


def test_a_skeleton_behind_a_wall_does_not_shoot(night: Any) -> None:
    for x in range(32):
        for y in range(10, 14):
            night.put(x, y, 11, "stone")
    night.add_mob("skeleton", 8.5, 14.5)
    night.run(200)
    assert (night.state.arrows[:, A_STATE] >= 0).sum() == 0


def test_spiders_climb_and_are_peaceful_by_day_until_they_are_hit(flat: Any) -> None:
    flat.state.status[S_TIME] = 6000
    row = flat.add_mob("spider", 8.5, 10.8)
    flat.run(200)
    assert flat.player[P_HEALTH] == 20.0
    flat.state.mobs[row, [M_X, M_Y, M_Z]] = (8.5, 10.0, 10.8)
    flat.look(0.0, 30.0)
    flat.run(1)
    flat.run(1, attack=1)
    flat.run(60)
    assert flat.player[P_HEALTH] < 20.0
    flat.player[P_HEALTH] = 20.0
    flat.state.status[S_TIME] = NIGHT
    for x in range(32):
        for y in range(10, 14):
            flat.put(x, y, 14, "stone")
    flat.state.mobs[row, [M_X, M_Y, M_Z]] = (8.5, 10.0, 17.0)
    top = 0.0
    for _ in range(100):
        flat.state.minds[row, MIND_SEEN] = 60
        flat.run(1)
        top = max(top, float(flat.state.mobs[row, M_Y]))
    assert top > 12.0


def test_a_creeper_swells_near_the_player_and_calms_when_it_is_far(night: Any) -> None:
    row = night.add_mob("creeper", 8.5, 10.5)
    night.run(15)
    assert night.state.mobs[row, M_SWELL] == pytest.approx(0.5, abs=0.05)
    night.player[P_Z] = 28.5
    night.state.mobs[row, [M_X, M_Z]] = (24.5, 12.5)
    night.run(20)
    assert night.state.mobs[row, M_SWELL] == 0.0
    assert night.state.mobs[row, M_KIND] >= 0


def test_an_explosion_breaks_soft_blocks_drops_some_and_spares_obsidian(night: Any) -> None:
    world = night.state.world
    world.blocks[:, :, 4:10] = block_id("dirt")
    world.rebuild()
    night.put(9, 9, 12, "obsidian")
    before = int((world.blocks == block_id("dirt")).sum())
    row = night.add_mob("creeper", 8.5, 12.5)
    cow = night.add_mob("cow", 8.5, 14.5)
    night.state.mobs[row, M_SWELL] = 0.99
    night.player[[P_X, P_Z]] = (8.5, 10.3)
    night.run(1)
    broken = before - int((world.blocks == block_id("dirt")).sum())
    assert 20 < broken < 250
    assert night.block(9, 9, 12) == block_id("obsidian")
    items = night.state.items
    dropped = items[items[:, I_ITEM] == item_id("dirt"), I_COUNT].sum()
    assert 0.15 * broken < dropped < 0.55 * broken, "one in three"
    assert night.player[P_HEALTH] < 20.0
    assert night.player[P_VZ] < 0.0
    assert night.state.mobs[row, M_KIND] == -1
    assert night.state.mobs[cow, M_KIND] == -1 or night.state.mobs[cow, M_VZ] > 0.0
    assert night.state.stats[E_KILL].sum() == 0


def test_without_mob_griefing_nothing_is_broken(night: Any) -> None:
    night.state.status[S_MOB_GRIEFING] = 0
    blocks = night.state.world.blocks.copy()
    row = night.add_mob("creeper", 8.5, 10.5)
    night.state.mobs[row, M_SWELL] = 0.99
    night.run(1)
    np.testing.assert_array_equal(night.state.world.blocks, blocks)
    assert night.player[P_HEALTH] < 20.0


def test_a_wall_shields_from_an_explosion(flat: Any) -> None:
    blocks = flat.state.world.blocks
    assert exposure(blocks, 8.5, 10.5, 12.5, 8.5, 10.0, 8.5, 0.3, 1.8) == 1.0
    for x in range(32):
        flat.put(x, 10, 10, "stone")
    half = exposure(blocks, 8.5, 10.5, 12.5, 8.5, 10.0, 8.5, 0.3, 1.8)
    assert 0.0 < half < 1.0
    for x in range(32):
        for y in (11, 12, 13):
            flat.put(x, y, 10, "stone")
    assert exposure(blocks, 8.5, 10.5, 12.5, 8.5, 10.0, 8.5, 0.3, 1.8) == 0.0


def test_in_peace_the_hostile_vanish(flat: Any) -> None:
    flat.state.status[S_DIFFICULTY] = PEACEFUL
    for name in MOB_NAMES:
        flat.add_mob(name, 20.5, 20.5)
    flat.run(1)
    left = {MOB_NAMES[int(kind)] for kind in flat.state.mobs[:, M_KIND] if kind >= 0}
    assert left == {"cow", "sheep", "pig", "chicken"}


def test_what_each_kind_leaves(flat: Any) -> None:
    """Killed by hand, many times: every drop of the table comes, in its numbers."""
    from minestudio_nb.simulator.mobs import drop_loot

    s = flat.state.arrays()
    for number, kind in enumerate(MOB_KINDS):
        counts: dict[int, set[int]] = {item_id(name): set() for name, _, _ in kind.drops}
        for _ in range(60):
            flat.state.remove_entities()
            drop_loot(s, number, 20.5, 12.0, 20.5)
            found = {int(row[I_ITEM]): int(row[I_COUNT]) for row in s.items if row[I_ITEM] >= 0}
            assert set(found) <= set(counts)
            for item in counts:
                counts[item].add(found.get(item, 0))
        for name, least, most in kind.drops:
            assert counts[item_id(name)] == set(range(least, most + 1)), (kind.name, name)


def test_mobs_never_get_into_blocks_in_any_landscape() -> None:
    """All kinds, day and night, on generated ground with the player walking about among them."""
    from minestudio_nb.simulator.actions import TICK_FIELDS, TICK_FORWARD, TICK_JUMP
    from minestudio_nb.simulator.engine import VoxelEngine

    for biome in ("forest", "mountains"):
        engine = VoxelEngine(world_size=64, pool_size=1, biome=biome)
        engine.reset(np.random.default_rng(0))
        engine.set_time(NIGHT)
        s = engine.state
        rng = np.random.default_rng(1)
        for kind in range(len(MOB_KINDS)):
            for _ in range(3):
                x, z = s.player[P_X] + rng.uniform(-8, 8), s.player[P_Z] + rng.uniform(-8, 8)
                engine.summon_on_ground(kind, float(x), 40.0, float(z))
        row = np.zeros(TICK_FIELDS, np.int32)
        row[[TICK_FORWARD, TICK_JUMP]] = 1
        for _ in range(100):
            s.player[P_HEALTH] = 20.0
            s.status[S_DEAD] = 0
            engine.run(row, np.array([0.0, rng.uniform(-20, 20)]), 4)
            for mob in s.mobs[s.mobs[:, M_KIND] >= 0]:
                kind = int(mob[M_KIND])
                x, y, z = (float(v) for v in mob[[M_X, M_Y, M_Z]])
                assert box_is_free(s.world.blocks, x, y, z, MOB_HALF[kind], MOB_HEIGHT[kind])
            assert np.isfinite(s.mobs).all()
            assert np.isfinite(s.player).all()

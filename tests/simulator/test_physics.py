"""How the player moves and digs; the published speeds and times are in ``test_published_values``."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest

from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.bodies import cos_deg, heading_deg, next_random, sin_deg, uniform
from minestudio_nb.simulator.interaction import breaking_speed, can_harvest
from minestudio_nb.simulator.mobs import MOB_NAMES
from minestudio_nb.simulator.state import (
    E_USE,
    P_FOOD,
    P_HEALTH,
    P_PITCH,
    P_VY,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_FALL_DAMAGE,
    S_INVULNERABLE,
    S_ON_GROUND,
    S_SNEAKING,
    S_TIME,
)


def test_walking_follows_the_yaw(flat: Any) -> None:
    for yaw, direction in ((0.0, (0, 1)), (90.0, (-1, 0)), (180.0, (0, -1)), (-90.0, (1, 0))):
        flat.look(yaw, 0.0)
        flat.run(20)
        before = flat.position
        flat.run(10, forward=1)
        moved = flat.position - before
        heading = moved[[0, 2]] / np.linalg.norm(moved)
        np.testing.assert_allclose(heading, direction, atol=1e-6)


def test_jump_is_1_252_high_and_repeats_after_ten_ticks_at_the_soonest(flat: Any) -> None:
    heights, jumps = [], 0
    for _ in range(40):
        grounded = bool(flat.state.status[S_ON_GROUND])
        flat.run(1, jump=1)
        heights.append(flat.player[P_Y] - 10.0)
        jumps += grounded and not flat.state.status[S_ON_GROUND]
    assert max(heights) == pytest.approx(1.2522, abs=1e-3)
    assert jumps == 4, "a jump takes 12 ticks, and the next begins on the tick after landing"


def test_gravity_is_the_games(flat: Any) -> None:
    flat.player[P_Y] = 40.0
    flat.player[P_VY] = 0.0
    speeds = []
    for _ in range(3):
        flat.run(1)
        speeds.append(float(flat.player[P_VY]))
    np.testing.assert_allclose(speeds, [-0.0784, -0.155232, -0.23052736], rtol=1e-12)


def test_fall_damage_can_be_off_and_a_shielded_player_is_not_hurt(flat: Any) -> None:
    for field, value in ((S_FALL_DAMAGE, 0), (S_INVULNERABLE, 1000)):
        flat.state.status[field] = value
        flat.player[P_Y] = 40.0
        flat.run(60)
        assert flat.player[P_HEALTH] == 20.0
        flat.state.status[S_FALL_DAMAGE] = 1


def test_a_wall_stops_and_a_body_slides_along_it(flat: Any) -> None:
    for x in range(32):
        for y in (10, 11):
            flat.put(x, y, 11, "stone")
    flat.look(-45.0, 0.0)
    start = flat.position
    flat.run(40, forward=1)
    assert flat.player[P_Z] == pytest.approx(11.0 - 0.3, abs=1e-9)
    assert flat.player[P_X] - start[0] > 3.0


def test_one_block_stops_a_walker_and_a_jump_climbs_it(flat: Any) -> None:
    flat.put(8, 10, 10, "stone")
    flat.run(20, forward=1)
    assert (flat.player[P_Y], flat.player[P_Z]) == (10.0, pytest.approx(9.7))
    flat.run(20, forward=1, jump=1)
    assert flat.player[P_Z] > 10.0
    assert flat.player[P_Y] >= 11.0


def test_sneaking_does_not_step_off_an_edge_and_walking_does(flat: Any) -> None:
    flat.state.world.blocks[:, 10:, :10] = 0
    flat.state.world.rebuild()
    flat.run(100, forward=1, sneak=1)
    assert flat.player[P_Y] == 10.0
    assert 10.0 < flat.player[P_Z] < 10.3
    flat.run(10, forward=1)
    assert flat.player[P_Y] < 10.0


def test_a_low_roof_keeps_the_player_sneaking(flat: Any) -> None:
    flat.run(1, sneak=1)
    flat.player[P_Y] = 10.45  # in a jump, with the head under the roof
    flat.put(8, 12, 8, "stone")
    flat.run(1)
    assert flat.state.status[S_SNEAKING] == 1
    flat.run(20)
    assert flat.state.status[S_SNEAKING] == 0


def test_water_slows_and_carries_upwards(flat: Any) -> None:
    flat.state.world.blocks[:, :, 10:20] = block_id("water")
    flat.state.world.rebuild()
    flat.run(40, forward=1)
    before = flat.position
    flat.run(20, forward=1)
    assert math.dist(flat.position, before) == pytest.approx(1.96, abs=0.02), "0.0196 / 0.2 per tick"
    flat.run(100, jump=1)
    assert 19.0 < flat.player[P_Y] < 20.5, "a swimmer floats at the surface"


def test_camera_turns_once_and_clamps(flat: Any) -> None:
    flat.look(170.0, 80.0)
    flat.run(4, camera=[30.0, 20.0])
    assert flat.player[P_YAW] == pytest.approx(-170.0)
    assert flat.player[P_PITCH] == 90.0


def test_digging_speed_depends_on_where_the_player_is() -> None:
    log, axe = block_id("oak_log"), item_id("diamond_axe")
    standing = breaking_speed(log, axe, True, False)
    assert standing == pytest.approx(8 / 2 / 30)
    assert breaking_speed(log, axe, False, False) == pytest.approx(standing / 5)
    assert breaking_speed(log, axe, False, True) == pytest.approx(standing / 25)
    assert breaking_speed(block_id("bedrock"), axe, True, False) == 0.0


def test_what_a_tool_can_harvest() -> None:
    obsidian = block_id("obsidian")
    assert can_harvest(obsidian, item_id("diamond_pickaxe"))
    assert not can_harvest(obsidian, item_id("iron_pickaxe"))
    assert not can_harvest(obsidian, item_id("diamond_axe"))
    assert can_harvest(block_id("oak_log"), 0)


def test_five_ticks_pass_between_two_blocks_and_letting_go_loses_the_progress(flat: Any) -> None:
    flat.put(8, 11, 10, "dirt")
    flat.put(8, 11, 11, "dirt")
    flat.run(15, attack=1)
    assert (flat.block(8, 11, 10), flat.block(8, 11, 11)) == (0, block_id("dirt"))
    flat.run(4 + 14, attack=1)
    assert flat.block(8, 11, 11) == block_id("dirt")
    flat.run(1, attack=1)
    assert flat.block(8, 11, 11) == 0
    flat.put(8, 11, 10, "dirt")
    for _ in range(4):
        flat.run(10, attack=1)
        flat.run(1)
    assert flat.block(8, 11, 10) == block_id("dirt")


def test_nothing_is_dug_beyond_reach(flat: Any) -> None:
    flat.put(8, 11, 13, "dirt")  # its face is at 4.5 from the eye, in z alone
    flat.look(0.0, 5.0)
    flat.run(40, attack=1)
    assert flat.block(8, 11, 13) == block_id("dirt")


def test_polynomials_are_near_the_true_functions() -> None:
    for angle in np.linspace(-720.0, 720.0, 2001):
        assert sin_deg(angle) == pytest.approx(math.sin(math.radians(angle)), abs=1e-7)
        assert cos_deg(angle) == pytest.approx(math.cos(math.radians(angle)), abs=1e-7)
    for yaw in np.linspace(-179.0, 179.0, 500):
        dx, dz = -math.sin(math.radians(yaw)), math.cos(math.radians(yaw))
        assert heading_deg(dx, dz) == pytest.approx(yaw, abs=0.02)


def test_random_numbers_are_splitmix64() -> None:
    rng = np.array([1234567], np.uint64)
    first = [int(next_random(rng)) for _ in range(3)]
    assert first == [6457827717110365317, 3203168211198807973, 9817491932198370423], "the reference's own test values"
    draws = np.array([uniform(rng) for _ in range(4000)])
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    assert draws.mean() == pytest.approx(0.5, abs=0.02)


def test_states_are_equal_on_every_machine(flat: Any) -> None:
    """A pinned check sum: it changes only when the rules of the world are changed on purpose."""
    for index, name in enumerate(MOB_NAMES):
        flat.add_mob(name, 10.5 + index, 12.5)
    flat.hold("diamond_sword")
    flat.hold("bow", slot=1)
    flat.hold("arrow", 64, slot=2)
    flat.hold("bread", 64, slot=3)
    flat.hold("dirt", 64, slot=40)
    flat.state.status[S_TIME] = 13000
    flat.player[P_HEALTH], flat.player[P_FOOD] = 1000.0, 10.0
    rng = np.random.default_rng(1)
    for _ in range(300):
        keys = {
            key: int(rng.random() < 0.4) for key in ("forward", "left", "back", "jump", "sprint", "sneak", "attack")
        }
        keys["use"] = int(rng.random() < 0.5)
        keys[f"hotbar_{rng.integers(1, 10)}"] = int(rng.random() < 0.1)
        flat.run(int(rng.integers(1, 9)), camera=rng.integers(-20, 21, size=2).tolist(), **keys)
    state = flat.state
    counted = np.argwhere(state.stats)  # not all of stats, which grows with the list of items
    parts = [getattr(state, name).tobytes() for name in state.ARRAYS if name != "stats"]
    parts += [counted.tobytes(), state.stats[state.stats != 0].tobytes(), state.world.blocks.tobytes()]
    assert state.stats.sum() > 1000
    assert state.stats[E_USE, item_id("bow")] > 1
    assert flat.player[P_HEALTH] < 1000.0
    assert hashlib.sha256(b"".join(parts)).hexdigest()[:16] == "d944b3163d13b56a"

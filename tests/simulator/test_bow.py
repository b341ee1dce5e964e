"""Bows and arrows; speeds and damages are in ``test_published_values``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minestudio_nb.simulator.arrows import launch_arrow
from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.state import (
    A_AGE,
    A_CRITICAL,
    A_OWNER,
    A_PITCH,
    A_STATE,
    A_VY,
    A_X,
    A_Y,
    A_YAW,
    A_Z,
    ARROW_CAPACITY,
    ARROW_FLYING,
    ARROW_FREE,
    ARROW_STUCK,
    E_BREAK,
    E_DAMAGE,
    E_KILL,
    E_PICKUP,
    E_USE,
    M_HEALTH,
    M_KIND,
    M_VZ,
    M_X,
    M_Z,
    P_HEALTH,
    P_Y,
    P_Z,
    S_BOW_DRAW,
    S_SNEAKING,
)


def arm(flat: Any, arrows: int = 10, slot: int = 9) -> None:
    flat.hold("bow")
    if arrows:
        flat.hold("arrow", arrows, slot=slot)


def shoot(flat: Any, draw: int = 20) -> np.ndarray:
    flat.run(draw, use=1)
    flat.run(1)
    return flat.state.arrows[0]


def test_a_shot_takes_one_arrow_and_one_use_of_the_bow(flat: Any) -> None:
    arm(flat)
    arrow = shoot(flat)
    assert arrow[A_STATE] == ARROW_FLYING
    assert arrow[A_CRITICAL] == 1.0
    assert flat.count("arrow") == 9
    assert flat.state.inventory[0, 2] == 1
    assert flat.state.stats[E_USE, item_id("bow")] == 1
    flat.run(1)
    assert flat.state.status[S_BOW_DRAW] == 0
    assert shoot(flat, 2)[A_STATE] == ARROW_FLYING
    assert flat.count("arrow") == 9, "two ticks of drawing are too few for an arrow"


def test_no_arrows_no_drawing_and_the_off_hand_comes_first(flat: Any) -> None:
    arm(flat, 0)
    flat.run(5, use=1)
    assert flat.state.status[S_BOW_DRAW] == 0
    flat.hold("arrow", 3, slot=20)
    flat.hold("arrow", 3, slot=40)
    shoot(flat)
    assert (flat.state.inventory[20, 1], flat.state.inventory[40, 1]) == (3, 2)


def test_a_bow_in_the_off_hand_shoots_when_the_main_hand_has_nothing_to_do(flat: Any) -> None:
    flat.hold("diamond_sword")
    flat.hold("bow", slot=40)
    flat.hold("arrow", 2, slot=9)
    assert shoot(flat)[A_STATE] == ARROW_FLYING
    assert flat.state.inventory[40, 2] == 1


def test_selecting_another_slot_ends_the_drawing_without_a_shot(flat: Any) -> None:
    arm(flat)
    flat.run(10, use=1)
    flat.run(1, use=1, hotbar_2=1)
    assert flat.state.status[S_BOW_DRAW] == 0
    flat.run(5)
    assert flat.count("arrow") == 10


def test_while_drawing_the_hands_neither_dig_nor_hit(flat: Any) -> None:
    arm(flat)
    flat.put(8, 11, 10, "dirt")
    flat.run(1)
    flat.run(1, use=1)
    flat.run(60, use=1, attack=1)
    assert flat.block(8, 11, 10) == block_id("dirt")


def test_a_worn_out_bow_breaks(flat: Any) -> None:
    arm(flat)
    flat.state.inventory[0, 2] = 383
    shoot(flat)
    assert flat.count("bow") == 0
    assert flat.state.stats[E_BREAK, item_id("bow")] == 1


def test_an_arrow_sticks_in_a_wall_and_is_picked_up_again(flat: Any) -> None:
    arm(flat, 1)
    for y in range(10, 15):
        flat.put(8, y, 14, "stone")
    flat.look(0.0, 0.0)
    arrow = shoot(flat)
    flat.run(5)
    assert arrow[A_STATE] == ARROW_STUCK
    assert arrow[A_Z] == pytest.approx(14.0 - 0.05, abs=2e-3)
    assert arrow[A_YAW] == pytest.approx(0.0, abs=3.0)
    flat.run(200)
    assert flat.count("arrow") == 0
    flat.player[P_Z] = 12.5
    flat.run(1)
    assert flat.count("arrow") == 1
    assert flat.state.stats[E_PICKUP, item_id("arrow")] == 1
    assert arrow[A_STATE] == ARROW_FREE


def test_a_stuck_arrow_vanishes_after_a_minute_and_falls_when_its_block_goes(flat: Any) -> None:
    s = flat.state
    flat.put(8, 12, 20, "stone")
    launch_arrow(s.arrows, s.rng, 8.5, 12.5, 18.5, 0.0, 0.0, 1.0, 2.0, 0.0)
    arrow = s.arrows[0]
    flat.run(2)
    assert arrow[A_STATE] == ARROW_STUCK
    flat.put(8, 12, 20, "air")
    flat.run(20)
    assert arrow[A_STATE] == ARROW_STUCK, "in the ground now"
    assert arrow[A_Y] == pytest.approx(10.0, abs=0.1)
    assert arrow[A_PITCH] > 60.0
    flat.run(1200)
    assert arrow[A_STATE] == ARROW_FREE


@pytest.mark.parametrize("speed", [0.3, 1.0, 2.9, 3.0])
def test_nothing_is_passed_through_at_any_speed(flat: Any, speed: float) -> None:
    """A wall one block thin, met from all sides and at many phases of the flight."""
    s = flat.state
    for a in range(4, 29):
        for y in range(10, 40):
            for x, z in ((a, 4), (a, 28), (4, a), (28, a)):
                flat.put(x, y, z, "stone")
    rng = np.random.default_rng(0)
    for _ in range(100):
        yaw = rng.uniform(0, 2 * np.pi)
        row = launch_arrow(s.arrows, s.rng, 16.5, 25.0, 16.5, np.sin(yaw), 0.4, np.cos(yaw), speed, 0.0)
        s.arrows[row, A_OWNER] = 5
        for _ in range(200):
            flat.run(1)
            if s.arrows[row, A_STATE] != ARROW_FLYING:
                break
        assert s.arrows[row, A_STATE] == ARROW_STUCK
        assert 5.0 - 1e-9 <= s.arrows[row, A_X] <= 28.0 + 1e-9
        assert 5.0 - 1e-9 <= s.arrows[row, A_Z] <= 28.0 + 1e-9
        assert s.arrows[row, A_Y] >= 10.0 - 1e-9
        s.arrows[row, A_STATE] = ARROW_FREE


def test_flight_is_that_of_the_game(flat: Any) -> None:
    """Position first, then drag, then gravity: worked out by hand for three ticks."""
    s = flat.state
    launch_arrow(s.arrows, s.rng, 8.5, 40.0, 8.5, 0.0, 0.0, 1.0, 2.0, 0.0)
    arrow = s.arrows[0]
    flat.run(3)
    assert arrow[A_Z] - 8.5 == pytest.approx(2.0 + 1.98 + 1.9602)
    assert arrow[A_Y] - 40.0 == pytest.approx(0.0 - 0.05 - (0.05 * 0.99 + 0.05))
    assert arrow[A_VY] == pytest.approx(-(0.0995 * 0.99 + 0.05))


def test_water_brakes_an_arrow(flat: Any) -> None:
    s = flat.state
    s.world.blocks[:, :, 10:30] = block_id("water")
    s.world.rebuild()
    launch_arrow(s.arrows, s.rng, 8.5, 25.0, 8.5, 0.0, 0.0, 1.0, 3.0, 0.0)
    flat.run(4)
    assert s.arrows[0, A_Z] - 8.5 == pytest.approx(3.0 * (1 + 0.6 + 0.36 + 0.216))


def test_a_cow_is_hit_pushed_and_killed_and_the_player_has_the_kill(flat: Any) -> None:
    arm(flat)
    cow = flat.add_mob("cow", 8.5, 13.0)
    flat.look(0.0, 12.0)
    shoot(flat)
    flat.run(2)
    mob = flat.state.mobs[cow]
    lost = 10.0 - mob[M_HEALTH]
    assert 6.0 <= lost <= 10.0
    if mob[M_KIND] >= 0:
        assert mob[M_VZ] > 0.1
        assert flat.state.stats[E_DAMAGE, 0] == round(10 * lost)
        mob[M_X], mob[M_Z] = 8.5, 13.0
        shoot(flat)
        flat.state.mobs[cow, [M_X, M_Z]] = (8.5, 13.0)
        flat.run(2)
    assert mob[M_KIND] == -1
    assert flat.state.stats[E_KILL, 0] == 1


def test_an_arrow_flies_round_the_world_to_what_stands_there(flat: Any) -> None:
    s = flat.state
    cow = flat.add_mob("cow", 8.5, 2.5)
    launch_arrow(s.arrows, s.rng, 8.5, 11.0, 30.5, 0.0, 0.1, 1.0, 2.0, 0.0)
    s.arrows[0, A_OWNER] = 9
    flat.run(3)
    assert s.mobs[cow, M_HEALTH] < 10.0


def test_arrows_shot_down_at_the_feet_do_not_hit_the_shooter(flat: Any) -> None:
    arm(flat)
    flat.look(0.0, 90.0)
    shoot(flat)
    flat.run(3)
    assert flat.player[P_HEALTH] == 20.0
    flat.state.arrows[:, A_STATE] = ARROW_FREE
    flat.look(0.0, -90.0)
    shoot(flat, 5)
    assert flat.state.arrows[0, A_STATE] == ARROW_FLYING
    flat.run(60)
    assert flat.player[P_HEALTH] < 20.0 or flat.state.arrows[0, A_STATE] != ARROW_FLYING, "what goes up comes down"


def test_there_is_room_for_so_many_arrows_and_the_oldest_gives_way(flat: Any) -> None:
    s = flat.state
    for i in range(ARROW_CAPACITY):
        row = launch_arrow(s.arrows, s.rng, 8.5, 40.0, 8.5, 0.0, 1.0, 0.0, 1.0, 0.0)
        s.arrows[row, A_AGE] = 100 - i
        assert row == i
    s.arrows[7, A_STATE] = ARROW_STUCK
    assert launch_arrow(s.arrows, s.rng, 8.5, 40.0, 8.5, 0.0, 1.0, 0.0, 1.0, 0.0) == 7
    assert launch_arrow(s.arrows, s.rng, 8.5, 40.0, 8.5, 0.0, 1.0, 0.0, 1.0, 0.0) == 0


def test_sneaking_shoots_from_lower(flat: Any) -> None:
    arm(flat)
    flat.look(0.0, 0.0)
    flat.run(20, use=1, sneak=1)
    assert flat.state.status[S_SNEAKING] == 1
    flat.run(1, sneak=1)
    assert flat.state.arrows[0, A_Y] == pytest.approx(flat.player[P_Y] + 1.27 - 0.1)

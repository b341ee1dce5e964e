"""Arrows: shot, in flight, in a block, and picked up again, as Minecraft 1.16's ``AbstractArrowEntity``.

An arrow moves up to three blocks a tick; all of that way is searched for blocks and bodies, so nothing is passed
through.
"""

from __future__ import annotations

import math
from typing import Final

from numba import njit

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.bodies import (
    bell,
    cos_deg,
    heading_deg,
    is_liquid_at,
    randint,
    ray_enters_box,
    sin_deg,
    solid_along,
)
from minestudio_nb.simulator.inventory import give
from minestudio_nb.simulator.mobs import KNOCK_BACK, MOB_HALF, MOB_HEIGHT, hurt_mob, push_mob
from minestudio_nb.simulator.state import (
    A_AGE,
    A_CRITICAL,
    A_DAMAGE,
    A_OWNER,
    A_PITCH,
    A_SHAKE,
    A_STATE,
    A_VX,
    A_VY,
    A_VZ,
    A_X,
    A_Y,
    A_YAW,
    A_Z,
    ARROW_FLYING,
    ARROW_FREE,
    ARROW_STUCK,
    E_DAMAGE,
    E_PICKUP,
    M_HURT,
    M_KIND,
    M_X,
    M_Y,
    M_Z,
    P_HEALTH,
    P_X,
    P_Y,
    P_Z,
)
from minestudio_nb.simulator.vitals import (
    EXHAUSTION_HURT,
    HALF_WIDTH,
    body_height,
    by_difficulty,
    hurt_player,
    push_player,
)

DRAG: Final = 0.99
WATER_DRAG: Final = 0.6
GRAVITY: Final = 0.05
SPREAD: Final = 0.0075  # of the direction, per unit of inaccuracy
TARGET_MARGIN: Final = 0.3  # by which an arrow's target is wider on all sides
LIFE_TICKS: Final = 1200  # of an arrow that sticks in a block
SHAKE_TICKS: Final = 7  # before it can be picked up
OWN_TICKS: Final = 5  # during which an arrow does not hit who shot it
BASE_DAMAGE: Final = 2.0  # half hearts per block of speed
BOUNCE: Final = -0.1
_IN_FRONT: Final = 0.05  # by which a stuck arrow's place lies before the face that it hit
_REACH_SIDE: Final = 1.0  # a player picks up what touches its box grown by so much
_REACH_UP: Final = 0.5
_ARROW: Final = table.item_id("arrow")


@njit(cache=True, nogil=True)
def _point(arrow):
    """Turn an arrow to where it flies."""
    vx, vy, vz = arrow[A_VX], arrow[A_VY], arrow[A_VZ]
    arrow[A_YAW] = heading_deg(vx, vz)
    arrow[A_PITCH] = heading_deg(vy, math.sqrt(vx * vx + vz * vz))


@njit(cache=True, nogil=True)
def _free_row(arrows):
    """A free row, or that of the arrow that has been about longest, a stuck one first."""
    best = 0
    oldest = -1.0
    for row in range(arrows.shape[0]):
        if arrows[row, A_STATE] == ARROW_FREE:
            return row
        age = arrows[row, A_AGE] + (1e6 if arrows[row, A_STATE] == ARROW_STUCK else 0.0)
        if age > oldest:
            best, oldest = row, age
    return best


@njit(cache=True, nogil=True)
def launch_arrow(arrows, rng, x, y, z, dx, dy, dz, speed, inaccuracy):
    """Let an arrow fly; the caller may set its A_DAMAGE, A_CRITICAL and A_OWNER.

    Args:
        arrows, rng: see ``state``; changed in place.
        x, y, z: where it starts.
        dx, dy, dz: the direction, of any length but 0.
        speed: blocks per tick.
        inaccuracy: the deviation from the direction, in units of SPREAD.

    Returns:
        Its row.
    """
    row = _free_row(arrows)
    arrow = arrows[row]
    arrow[:] = 0.0
    arrow[A_X], arrow[A_Y], arrow[A_Z] = x, y, z
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    spread = SPREAD * inaccuracy
    arrow[A_VX] = (dx / length + spread * bell(rng)) * speed
    arrow[A_VY] = (dy / length + spread * bell(rng)) * speed
    arrow[A_VZ] = (dz / length + spread * bell(rng)) * speed
    arrow[A_STATE] = ARROW_FLYING
    arrow[A_DAMAGE] = BASE_DAMAGE
    arrow[A_OWNER] = -1.0
    _point(arrow)
    return row


@njit(cache=True, nogil=True)
def arrow_damage(arrow, rng):
    """The half hearts that a flying arrow takes now."""
    vx, vy, vz = arrow[A_VX], arrow[A_VY], arrow[A_VZ]
    damage = math.ceil(math.sqrt(vx * vx + vy * vy + vz * vz) * arrow[A_DAMAGE] - 1e-9)
    if arrow[A_CRITICAL] > 0.0:
        damage += randint(rng, 0, int(damage) // 2 + 1)
    return float(damage)


@njit(cache=True, nogil=True)
def _mob_on_way(s, arrow, reach):
    """The nearest mob within a share ``reach`` of this tick's way: (row or -1, share of the way)."""
    size = s.blocks.shape[0]
    x, y, z, vx, vy, vz = arrow[A_X], arrow[A_Y], arrow[A_Z], arrow[A_VX], arrow[A_VY], arrow[A_VZ]
    found = -1
    for row in range(s.mobs.shape[0]):
        mob = s.mobs[row]
        if mob[M_KIND] < 0 or (row == arrow[A_OWNER] and arrow[A_AGE] < OWN_TICKS):
            continue
        # The world wraps round, so the mob stands in many places; the one nearest to the arrow counts.
        mx = mob[M_X] - size * math.floor((mob[M_X] - x) / size + 0.5)
        mz = mob[M_Z] - size * math.floor((mob[M_Z] - z) / size + 0.5)
        if abs(mx - x) > 8.0 or abs(mz - z) > 8.0:
            continue
        kind = int(mob[M_KIND])
        half, height = MOB_HALF[kind] + TARGET_MARGIN, MOB_HEIGHT[kind] + 2.0 * TARGET_MARGIN
        at = ray_enters_box(x, y, z, vx, vy, vz, mx, mob[M_Y] - TARGET_MARGIN, mz, half, height, reach)
        if at >= 0.0:
            found, reach = row, at
    return found, reach


@njit(cache=True, nogil=True)
def _player_on_way(s, arrow, reach):
    """The share of this tick's way after which the player is hit; -1.0 if it is not hit within ``reach``."""
    if arrow[A_OWNER] < 0.0 and arrow[A_AGE] < OWN_TICKS:
        return -1.0
    p = s.player
    height = body_height(s.status) + 2.0 * TARGET_MARGIN
    return ray_enters_box(
        arrow[A_X], arrow[A_Y], arrow[A_Z], arrow[A_VX], arrow[A_VY], arrow[A_VZ],
        p[P_X], p[P_Y] - TARGET_MARGIN, p[P_Z], HALF_WIDTH + TARGET_MARGIN, height, reach,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _hit_mob(s, arrow, row):
    """Hit a mob; returns whether the arrow is spent."""
    by_player = arrow[A_OWNER] < 0.0
    away_x, away_z = arrow[A_VX], arrow[A_VZ]
    fresh = s.mobs[row, M_HURT] <= 0.0
    loss = hurt_mob(s, row, arrow_damage(arrow, s.rng), by_player)
    if loss <= 0.0:
        return False
    if by_player:
        s.stats[E_DAMAGE, 0] += int(10.0 * loss + 0.5)
    if fresh and s.mobs[row, M_KIND] >= 0:
        push_mob(s.mobs[row], s.minds[row], away_x, away_z, KNOCK_BACK)
    return True


@njit(cache=True, nogil=True)
def _hit_player(s, arrow):
    """Hit the player; returns whether the arrow is spent."""
    damage = arrow_damage(arrow, s.rng)
    if arrow[A_OWNER] >= 0.0:
        damage = by_difficulty(s.status, damage)
    health = s.player[P_HEALTH]
    fresh = hurt_player(s.player, s.status, s.stats, damage, EXHAUSTION_HURT)
    if fresh:
        push_player(s.player, s.status, arrow[A_VX], arrow[A_VZ], KNOCK_BACK)
    return s.player[P_HEALTH] < health


@njit(cache=True, nogil=True)
def _bounce(arrow):
    """Fall back from a body that could not be hurt, harmless from now on."""
    for axis in range(3):
        arrow[A_VX + axis] *= BOUNCE
    arrow[A_DAMAGE] = 0.0


@njit(cache=True, nogil=True)
def _fly(s, arrow):
    """One tick of a flying arrow: to the first thing on its way, else all the way, then drag and gravity."""
    arrow[A_AGE] += 1.0
    vx, vy, vz = arrow[A_VX], arrow[A_VY], arrow[A_VZ]
    wall = solid_along(s.blocks, arrow[A_X], arrow[A_Y], arrow[A_Z], vx, vy, vz)
    row, at = -1, -1.0
    if arrow[A_DAMAGE] > 0.0:
        row, reach = _mob_on_way(s, arrow, min(1.0, wall))
        at = _player_on_way(s, arrow, reach)
    if at >= 0.0 or row >= 0:
        spent = _hit_player(s, arrow) if at >= 0.0 else _hit_mob(s, arrow, row)
        if spent:
            arrow[A_STATE] = ARROW_FREE
            return
        _bounce(arrow)
        return
    if wall <= 1.0:
        length = math.sqrt(vx * vx + vy * vy + vz * vz)
        share = max(0.0, wall - _IN_FRONT / max(length, 1e-9))
        for axis in range(3):
            arrow[A_X + axis] += share * arrow[A_VX + axis]
        _point(arrow)
        arrow[A_STATE] = ARROW_STUCK
        arrow[A_AGE] = 0.0
        arrow[A_SHAKE] = SHAKE_TICKS
        arrow[A_CRITICAL] = 0.0
        for axis in range(3):
            arrow[A_VX + axis] = 0.0
        return
    for axis in range(3):
        arrow[A_X + axis] += arrow[A_VX + axis]
    _point(arrow)
    drag = WATER_DRAG if is_liquid_at(s.blocks, arrow[A_X], arrow[A_Y], arrow[A_Z]) else DRAG
    for axis in range(3):
        arrow[A_VX + axis] *= drag
    arrow[A_VY] -= GRAVITY


@njit(cache=True, nogil=True)
def _rest(s, arrow):
    """One tick of an arrow in a block: it shakes, ages, falls when its block is gone, and is picked up."""
    arrow[A_AGE] += 1.0
    if arrow[A_SHAKE] > 0.0:
        arrow[A_SHAKE] -= 1.0
    if arrow[A_AGE] >= LIFE_TICKS:
        arrow[A_STATE] = ARROW_FREE
        return
    x, y, z = arrow[A_X], arrow[A_Y], arrow[A_Z]
    flat = cos_deg(arrow[A_PITCH])
    tip = 4.0 * _IN_FRONT
    dx, dy, dz = -sin_deg(arrow[A_YAW]) * flat, -sin_deg(arrow[A_PITCH]), cos_deg(arrow[A_YAW]) * flat
    if solid_along(s.blocks, x, y, z, tip * dx, tip * dy, tip * dz) > 1.0:
        arrow[A_STATE] = ARROW_FLYING
        arrow[A_AGE] = 0.0
        return
    if arrow[A_OWNER] >= 0.0 or arrow[A_SHAKE] > 0.0:
        return
    size, p = s.blocks.shape[0], s.player
    away_x, away_z = x - p[P_X], z - p[P_Z]
    away_x -= size * math.floor(away_x / size + 0.5)
    away_z -= size * math.floor(away_z / size + 0.5)
    side = HALF_WIDTH + _REACH_SIDE + 0.25
    low, high = p[P_Y] - _REACH_UP - 0.5, p[P_Y] + body_height(s.status) + _REACH_UP
    if abs(away_x) <= side and abs(away_z) <= side and low <= y <= high and give(s.inventory, _ARROW, 1):
        s.stats[E_PICKUP, _ARROW] += 1
        arrow[A_STATE] = ARROW_FREE


@njit(cache=True, nogil=True)
def tick_arrows(s):
    """One tick of all arrows; ``s`` is ``state.Arrays``, changed in place."""
    for row in range(s.arrows.shape[0]):
        arrow = s.arrows[row]
        if arrow[A_STATE] == ARROW_FLYING:
            _fly(s, arrow)
        elif arrow[A_STATE] == ARROW_STUCK:
            _rest(s, arrow)

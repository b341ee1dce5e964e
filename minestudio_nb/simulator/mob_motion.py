"""How mobs move: along their heading, over single steps, round what is in the way, and out of each other's way."""

from __future__ import annotations

import math
from typing import Final

from numba import njit

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.bodies import box_is_free, clip_move, cos_deg, liquid_depths, sin_deg, uniform
from minestudio_nb.simulator.mobs import CHICKEN, MOB_HALF, MOB_HEIGHT, SPIDER
from minestudio_nb.simulator.physics import AIR_DRAG, AIR_FRICTION, GRAVITY, GROUND_FRICTION, JUMP_SPEED
from minestudio_nb.simulator.state import (
    M_FALL,
    M_FIRE,
    M_KIND,
    M_LIMB,
    M_VX,
    M_VY,
    M_VZ,
    M_X,
    M_Y,
    M_YAW,
    M_Z,
    MIND_DETOUR,
    MIND_HEADING,
    MIND_ON_GROUND,
    MIND_SIDE,
    MIND_WALL,
    P_VX,
    P_VZ,
    P_X,
    P_Y,
    P_Z,
)
from minestudio_nb.simulator.vitals import FIRE_INTERVAL, HALF_WIDTH, LAVA_DAMAGE, LAVA_FIRE_TICKS, body_height
from minestudio_nb.simulator.world import get_block

TURN: Final = 30.0  # degrees per tick
DEEPEST_STEP: Final = 3  # blocks that a mob steps down when nothing drives it
TURN_TICKS: Final = 8  # for turning into a detour, before it may be found closed
DETOUR: Final = 3 * TURN_TICKS - 1  # ticks of going to the side of an obstacle
LONG_DETOUR: Final = 6 * TURN_TICKS - 1
DETOUR_ANGLE: Final = 80.0  # degrees
NEW_SIDE_CHANCE: Final = 0.15
SLIP_SPEED: Final = 0.04  # gained sideways in a tick before a doorway
BLOCKED: Final = 2  # in MIND_WALL: it met a wall and got on by less than a fifth of what it wanted
TOUCHING: Final = 1
FLUTTER: Final = 0.6  # what a chicken's wings leave of its falling speed
CLIMB_SPEED: Final = 0.2  # of a spider at a wall
SWIM_RISE: Final = 0.12
SAFE_FALL: Final = 3.0
PUSH: Final = 0.05  # speed that two overlapping bodies give each other in a tick

_MIDDLE: Final = 0.01  # half the width of what feels liquids: one column of cells, where the player's box feels four
_SOLID: Final = table.SOLID
_LIQUID: Final = table.LIQUID
_LAVA: Final = table.block_id("lava")
_CACTUS: Final = table.block_id("cactus")


@njit(cache=True, nogil=True)
def turn_to(mob, mind):
    """Turn a mob towards its heading, at most by TURN."""
    off = mind[MIND_HEADING] - mob[M_YAW]
    off -= 360.0 * math.floor(off / 360.0 + 0.5)
    yaw = mob[M_YAW] + min(TURN, max(-TURN, off))
    mob[M_YAW] = yaw - 360.0 * math.floor(yaw / 360.0 + 0.5)


@njit(cache=True, nogil=True)
def _is_safe(blocks, x, y, z, deepest):
    """Whether a mob may walk to a column: there is ground or water at most ``deepest`` below, no lava or cactus."""
    cx, cz, foot = math.floor(x), math.floor(z), math.floor(y + 0.01)
    for cy in range(foot, foot - deepest - 2, -1):
        block = get_block(blocks, cx, cy, cz)
        if block in (_LAVA, _CACTUS):
            return False
        if _SOLID[block] or _LIQUID[block]:
            return True
    return False


@njit(cache=True, nogil=True)
def _can_step_up(blocks, mob, half, height, sin_yaw, cos_yaw):
    """Whether there is room above the block before a mob."""
    x, z = mob[M_X] - 0.3 * sin_yaw, mob[M_Z] + 0.3 * cos_yaw
    y = math.floor(mob[M_Y] + 0.01) + 1.0
    return box_is_free(blocks, x, y, z, half, height) and box_is_free(blocks, mob[M_X], y, mob[M_Z], half, height)


@njit(cache=True, nogil=True)
def _go_round(mind, rng):
    """Begin to go round what is in the way: mostly to the side of the last time, so that long walls have an end."""
    if mind[MIND_SIDE] == 0 or uniform(rng) < NEW_SIDE_CHANCE:
        mind[MIND_SIDE] = 1 if uniform(rng) < 0.5 else -1
    mind[MIND_DETOUR] = DETOUR


@njit(cache=True, nogil=True)
def _slip_into_gap(blocks, mob, half, height, sin_yaw, cos_yaw):
    """Push a mob that meets the frame of a doorway sideways into it; returns whether there is one before it."""
    along = M_X if abs(sin_yaw) > abs(cos_yaw) else M_Z
    across = M_Z if along == M_X else M_X
    middle_x, middle_z = math.floor(mob[M_X]) + 0.5, math.floor(mob[M_Z]) + 0.5
    if along == M_X:
        middle_x += 1.0 if sin_yaw < 0.0 else -1.0
    else:
        middle_z += 1.0 if cos_yaw > 0.0 else -1.0
    if half > 0.5 or not box_is_free(blocks, middle_x, mob[M_Y], middle_z, half, height):
        return False
    off = (middle_z if across == M_Z else middle_x) - mob[across]
    mob[across + M_VX - M_X] += min(SLIP_SPEED, max(-SLIP_SPEED, off))
    return True


@njit(cache=True, nogil=True)
def steer(blocks, mob, mind, rng, yaw, speed, deepest):
    """Choose where a mob that wants to go along ``yaw`` (degrees) goes this tick.

    Walls too high to jump are gone round, and nothing walks off a cliff or into lava.

    Args:
        blocks: uint8[X, Z, Y].
        mob, mind, rng: see ``state``; MIND_HEADING, MIND_DETOUR, MIND_SIDE and M_YAW change.
        yaw: wanted direction.
        speed: wanted speed, in blocks per tick.
        deepest: how far it steps down, in blocks.

    Returns:
        The speed that it may have, 0.0 where it must not go on.
    """
    half, height = MOB_HALF[int(mob[M_KIND])], MOB_HEIGHT[int(mob[M_KIND])]
    if mind[MIND_DETOUR] > 0:
        mind[MIND_DETOUR] -= 1
        yaw += DETOUR_ANGLE * mind[MIND_SIDE]
    heading = math.floor(yaw - 360.0 * math.floor(yaw / 360.0 + 0.5) + 0.5)
    mind[MIND_HEADING] = heading
    turn_to(mob, mind)
    if not mind[MIND_ON_GROUND]:
        return speed
    sin_yaw, cos_yaw = sin_deg(mob[M_YAW]), cos_deg(mob[M_YAW])
    if mind[MIND_WALL] == BLOCKED and not _can_step_up(blocks, mob, half, height, sin_yaw, cos_yaw):
        if mind[MIND_DETOUR] == 0:
            if not _slip_into_gap(blocks, mob, half, height, sin_yaw, cos_yaw):
                _go_round(mind, rng)
        elif mind[MIND_DETOUR] % TURN_TICKS == 0:  # the way round is closed as well
            mind[MIND_SIDE] = -mind[MIND_SIDE]
            mind[MIND_DETOUR] = LONG_DETOUR
    reach = half + 0.3
    if _is_safe(blocks, mob[M_X] - reach * sin_yaw, mob[M_Y], mob[M_Z] + reach * cos_yaw, deepest):
        return speed
    if mind[MIND_DETOUR] == 0:
        _go_round(mind, rng)
    return 0.0


@njit(cache=True, nogil=True)
def _fall(mob, mind, moved_y):
    """Sum up a mob's fall; returns the half hearts that it costs at its end."""
    if moved_y < 0.0:
        mob[M_FALL] -= moved_y
    elif not mind[MIND_ON_GROUND]:
        mob[M_FALL] = 0.0
    if not mind[MIND_ON_GROUND]:
        return 0.0
    harm = float(math.ceil(mob[M_FALL] - SAFE_FALL - 1e-6))
    mob[M_FALL] = 0.0
    return harm if int(mob[M_KIND]) != CHICKEN else 0.0


@njit(cache=True, nogil=True)
def feel_liquids(blocks, mob, fire_hurts):
    """Let a mob swim in water, burn in lava and after it.

    Args:
        blocks: uint8[X, Z, Y].
        mob: see ``state``; changed in place.
        fire_hurts: whether lava and fire do.

    Returns:
        The half hearts that it costs.
    """
    height = MOB_HEIGHT[int(mob[M_KIND])]
    water, lava = liquid_depths(blocks, mob[M_X], mob[M_Y], mob[M_Z], _MIDDLE, height)
    if water > 0.0 or lava > 0.0:
        mob[M_FALL] = 0.0
        if max(water, lava) > 0.4 * height:
            mob[M_VY] = min(mob[M_VY] + GRAVITY + 0.04, SWIM_RISE)
    if lava > 0.0 and fire_hurts:
        mob[M_FIRE] = LAVA_FIRE_TICKS
        return LAVA_DAMAGE
    if water > 0.0:
        mob[M_FIRE] = 0.0
    if mob[M_FIRE] <= 0.0:
        return 0.0
    mob[M_FIRE] -= 1.0
    return 1.0 if int(mob[M_FIRE]) % FIRE_INTERVAL == 0 and fire_hurts else 0.0


@njit(cache=True, nogil=True)
def move_mob(blocks, mob, mind, speed, yaw):
    """Move one mob for a tick, with gravity, walls and single steps.

    Args:
        blocks: uint8[X, Z, Y].
        mob, mind: see ``state``; changed in place.
        speed: that it wants, in blocks per tick.
        yaw: along which, in degrees.

    Returns:
        The half hearts that a fall costs that ended.
    """
    kind = int(mob[M_KIND])
    half, height = MOB_HALF[kind], MOB_HEIGHT[kind]
    friction = GROUND_FRICTION if mind[MIND_ON_GROUND] else AIR_FRICTION
    push = speed * (1.0 - friction)
    mob[M_VX] -= push * sin_deg(yaw)
    mob[M_VZ] += push * cos_deg(yaw)
    if kind == CHICKEN and mob[M_VY] < 0.0 and not mind[MIND_ON_GROUND]:
        mob[M_VY] *= FLUTTER
    falling = mob[M_VY]
    dropped = clip_move(blocks, mob[M_X], mob[M_Y], mob[M_Z], half, height, 1, falling)
    mob[M_Y] += dropped
    mind[MIND_ON_GROUND] = 1 if falling <= 0.0 and dropped != falling else 0
    if dropped != falling:
        mob[M_VY] = 0.0
    wall = False
    x, z = mob[M_X], mob[M_Z]
    for axis in (0, 2):
        wanted = mob[M_VX + axis]
        moved = clip_move(blocks, mob[M_X], mob[M_Y], mob[M_Z], half, height, axis, wanted)
        mob[M_X + axis] += moved
        if moved != wanted:
            wall = True
            mob[M_VX + axis] = 0.0
    mob[M_VY] = (mob[M_VY] - GRAVITY) * AIR_DRAG
    mind[MIND_WALL] = 0
    if wall and speed > 0.0:
        dx, dz = mob[M_X] - x, mob[M_Z] - z
        mind[MIND_WALL] = BLOCKED if dx * dx + dz * dz < 0.04 * speed * speed else TOUCHING
        if kind == SPIDER:
            mind[MIND_WALL] = TOUCHING  # it climbs
            mob[M_VY] = CLIMB_SPEED
        elif mind[MIND_ON_GROUND] and _can_step_up(blocks, mob, half, height, sin_deg(yaw), cos_deg(yaw)):
            mob[M_VY] = JUMP_SPEED
    mob[M_VX] *= friction
    mob[M_VZ] *= friction
    pace = math.sqrt(mob[M_VX] * mob[M_VX] + mob[M_VZ] * mob[M_VZ])
    # The legs swing with the distance walked and stop in the middle.
    mob[M_LIMB] = mob[M_LIMB] + 6.0 * pace if pace > 0.005 else 0.0
    return _fall(mob, mind, dropped)


@njit(cache=True, nogil=True)
def _shove(dx, dz):
    """The speed, along x and z, by which a body at (dx, dz) from another is pushed away from it in a tick."""
    far = max(abs(dx), abs(dz))
    if far < 0.01:
        return 0.0, 0.0
    root = math.sqrt(far)
    scale = PUSH * min(1.0, 1.0 / root) / root
    return dx * scale, dz * scale


@njit(cache=True, nogil=True)
def push_apart(p, status, mobs):
    """Bodies that overlap push each other: mobs among themselves, and mobs and the player (``Entity.push``).

    Args:
        p, status, mobs: the player's and the mobs' arrays, see ``state``; changed in place.
    """
    player_height = body_height(status)
    for row in range(mobs.shape[0]):
        kind = int(mobs[row, M_KIND])
        if kind < 0:
            continue
        x, y, z, half, height = mobs[row, M_X], mobs[row, M_Y], mobs[row, M_Z], MOB_HALF[kind], MOB_HEIGHT[kind]
        dx, dz = x - p[P_X], z - p[P_Z]
        near = half + HALF_WIDTH
        if abs(dx) < near and abs(dz) < near and y < p[P_Y] + player_height and p[P_Y] < y + height:
            push_x, push_z = _shove(dx, dz)
            mobs[row, M_VX] += push_x
            mobs[row, M_VZ] += push_z
            p[P_VX] -= push_x
            p[P_VZ] -= push_z
        for other in range(row + 1, mobs.shape[0]):
            other_kind = int(mobs[other, M_KIND])
            if other_kind < 0:
                continue
            dx, dz = mobs[other, M_X] - x, mobs[other, M_Z] - z
            near = half + MOB_HALF[other_kind]
            if abs(dx) >= near or abs(dz) >= near:
                continue
            if mobs[other, M_Y] < y + height and y < mobs[other, M_Y] + MOB_HEIGHT[other_kind]:
                push_x, push_z = _shove(dx, dz)
                # Each of the two pushes both in the game, so twice.
                mobs[other, M_VX] += 2.0 * push_x
                mobs[other, M_VZ] += 2.0 * push_z
                mobs[row, M_VX] -= 2.0 * push_x
                mobs[row, M_VZ] -= 2.0 * push_z

"""How the player's body moves: Minecraft 1.16's walking, sprinting, sneaking, jumping, swimming and falling.

The numbers are those of the game's ``LivingEntity.travel``: per tick a velocity gains acceleration along the keys,
the body moves against the blocks, then gravity and friction act. From them follow 4.317 m/s walking, 5.612 sprinting,
1.295 sneaking and a jump of 1.252 m, which the tests check.
"""

from __future__ import annotations

import math
from typing import Final

from numba import njit

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.actions import (
    TICK_BACK,
    TICK_FORWARD,
    TICK_JUMP,
    TICK_LEFT,
    TICK_RIGHT,
    TICK_SNEAK,
    TICK_SPRINT,
)
from minestudio_nb.simulator.bodies import box_is_free, clip_move, cos_deg, is_liquid_at, sin_deg
from minestudio_nb.simulator.state import (
    C_DEATHS,
    C_JUMP,
    C_TAKEN,
    C_WALK,
    E_CUSTOM,
    P_FALL,
    P_HEALTH,
    P_VX,
    P_VY,
    P_VZ,
    P_WALKED,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_DEAD,
    S_FALL_DAMAGE,
    S_HURT,
    S_IN_WATER,
    S_INVULNERABLE,
    S_JUMP_DELAY,
    S_ON_GROUND,
    S_SNEAKING,
    S_SPRINTING,
)
from minestudio_nb.simulator.world import get_block

HALF_WIDTH: Final = 0.3
HEIGHT: Final = 1.8
SNEAK_HEIGHT: Final = 1.5
EYE: Final = 1.62
SNEAK_EYE: Final = 1.27

GRAVITY: Final = 0.08
AIR_DRAG: Final = 0.98
JUMP_SPEED: Final = 0.42
JUMP_DELAY: Final = 10  # ticks between jumps while the key is held
SPRINT_JUMP_PUSH: Final = 0.2
WALK_ACCELERATION: Final = 0.1
SPRINT_FACTOR: Final = 1.3
AIR_ACCELERATION: Final = 0.02
AIR_SPRINT_ACCELERATION: Final = 0.026
GROUND_FRICTION: Final = 0.6 * 0.91
AIR_FRICTION: Final = 0.91
INPUT_FACTOR: Final = 0.98  # what the game takes off the keys' input each tick
SNEAK_FACTOR: Final = 0.3
WATER_ACCELERATION: Final = 0.02
WATER_DRAG: Final = 0.8
WATER_GRAVITY: Final = 0.02
WATER_RISE: Final = 0.04
LEDGE_RISE: Final = 0.3  # upward speed that lifts a swimmer onto a bank
STILL: Final = 0.003  # slower than this is standing
HURT_TICKS: Final = 10
SAFE_FALL: Final = 3.0
LAVA_DAMAGE: Final = 4.0

_LAVA: Final = table.block_id("lava")


@njit(cache=True, nogil=True)
def eye_height(status):
    """Height of the eyes above the feet, in blocks."""
    return SNEAK_EYE if status[S_SNEAKING] else EYE


@njit(cache=True, nogil=True)
def hurt_player(player, status, stats, amount):
    """Take ``amount`` half hearts from the player, unless it was hurt less than HURT_TICKS ago; dead at zero."""
    if status[S_INVULNERABLE] > 0 or status[S_HURT] > 0 or status[S_DEAD]:
        return
    player[P_HEALTH] = max(0.0, player[P_HEALTH] - amount)
    status[S_HURT] = HURT_TICKS
    stats[E_CUSTOM, C_TAKEN] += int(10.0 * amount)
    if player[P_HEALTH] <= 0.0:
        status[S_DEAD] = 1
        stats[E_CUSTOM, C_DEATHS] += 1


@njit(cache=True, nogil=True)
def _choose_pose(blocks, player, status, action):
    """Sneak and sprint from the keys. Under a block too low to stand, the player stays sneaking."""
    sneak = action[TICK_SNEAK] != 0
    if not sneak and status[S_SNEAKING]:
        sneak = not box_is_free(blocks, player[P_X], player[P_Y], player[P_Z], HALF_WIDTH, HEIGHT)
    status[S_SNEAKING] = 1 if sneak else 0
    forward = action[TICK_FORWARD] - action[TICK_BACK]
    if forward <= 0 or sneak:
        status[S_SPRINTING] = 0
    elif action[TICK_SPRINT]:
        status[S_SPRINTING] = 1


@njit(cache=True, nogil=True)
def _accelerate(player, status, stats, action, in_water):
    """Change the velocity by the movement keys and the jump key; returns the horizontal friction of this tick."""
    on_ground = status[S_ON_GROUND] != 0
    sprinting = status[S_SPRINTING] != 0
    sin_yaw, cos_yaw = sin_deg(player[P_YAW]), cos_deg(player[P_YAW])
    if status[S_JUMP_DELAY] > 0:
        status[S_JUMP_DELAY] -= 1
    if not action[TICK_JUMP]:
        status[S_JUMP_DELAY] = 0
    elif in_water:
        player[P_VY] += WATER_RISE
    elif on_ground and status[S_JUMP_DELAY] == 0:
        player[P_VY] = JUMP_SPEED
        status[S_JUMP_DELAY] = JUMP_DELAY
        stats[E_CUSTOM, C_JUMP] += 1
        if sprinting:
            player[P_VX] -= sin_yaw * SPRINT_JUMP_PUSH
            player[P_VZ] += cos_yaw * SPRINT_JUMP_PUSH
    if in_water:
        acceleration, friction = WATER_ACCELERATION, WATER_DRAG
    elif on_ground:
        acceleration, friction = WALK_ACCELERATION * (SPRINT_FACTOR if sprinting else 1.0), GROUND_FRICTION
    else:
        acceleration, friction = (AIR_SPRINT_ACCELERATION if sprinting else AIR_ACCELERATION), AIR_FRICTION
    factor = INPUT_FACTOR * (SNEAK_FACTOR if status[S_SNEAKING] else 1.0)
    forward = (action[TICK_FORWARD] - action[TICK_BACK]) * factor
    strafe = (action[TICK_LEFT] - action[TICK_RIGHT]) * factor
    length = math.sqrt(forward * forward + strafe * strafe)
    if length > 0.0:
        acceleration /= max(length, 1.0)
        player[P_VX] += (strafe * cos_yaw - forward * sin_yaw) * acceleration
        player[P_VZ] += (forward * cos_yaw + strafe * sin_yaw) * acceleration
    return friction


@njit(cache=True, nogil=True)
def _stay_on_edge(blocks, x, y, z, height, dx, dz):
    """A sneaking player's horizontal movement, shortened so that it does not step off a block."""
    step = 0.05
    while dx != 0.0 and box_is_free(blocks, x + dx, y - 0.6, z, HALF_WIDTH, height):
        dx = 0.0 if abs(dx) < step else dx - math.copysign(step, dx)
    while dz != 0.0 and box_is_free(blocks, x, y - 0.6, z + dz, HALF_WIDTH, height):
        dz = 0.0 if abs(dz) < step else dz - math.copysign(step, dz)
    while dx != 0.0 and dz != 0.0 and box_is_free(blocks, x + dx, y - 0.6, z + dz, HALF_WIDTH, height):
        dx = 0.0 if abs(dx) < step else dx - math.copysign(step, dx)
        dz = 0.0 if abs(dz) < step else dz - math.copysign(step, dz)
    return dx, dz


@njit(cache=True, nogil=True)
def _translate(blocks, player, status):
    """Move the body by its velocity, against the blocks; returns whether it met a wall."""
    height = SNEAK_HEIGHT if status[S_SNEAKING] else HEIGHT
    dx, dy, dz = player[P_VX], player[P_VY], player[P_VZ]
    if status[S_SNEAKING] and status[S_ON_GROUND] and dy <= 0.0:
        dx, dz = _stay_on_edge(blocks, player[P_X], player[P_Y], player[P_Z], height, dx, dz)
    moved = clip_move(blocks, player[P_X], player[P_Y], player[P_Z], HALF_WIDTH, height, 1, dy)
    player[P_Y] += moved
    status[S_ON_GROUND] = 1 if dy < 0.0 and moved != dy else 0
    if moved != dy:
        player[P_VY] = 0.0
    wall = False
    for turn in range(2):
        # The longer way first, as the game does, so that a body slides along a wall.
        axis = 0 if (turn == 0) == (abs(dx) >= abs(dz)) else 2
        wanted = dx if axis == 0 else dz
        moved = clip_move(blocks, player[P_X], player[P_Y], player[P_Z], HALF_WIDTH, height, axis, wanted)
        player[P_X + axis] += moved
        if moved != wanted:
            player[P_VX + axis] = 0.0
            wall = True
    return wall


@njit(cache=True, nogil=True)
def _land(player, status, stats, moved_y, in_water):
    """Sum up the fall, and hurt at its end: a half heart for each block beyond three."""
    if in_water:
        player[P_FALL] = 0.0
    elif status[S_ON_GROUND]:
        damage = math.ceil(player[P_FALL] - moved_y - SAFE_FALL)
        if damage > 0 and status[S_FALL_DAMAGE]:
            hurt_player(player, status, stats, float(damage))
        player[P_FALL] = 0.0
    elif moved_y < 0.0:
        player[P_FALL] -= moved_y
    else:
        player[P_FALL] = 0.0


@njit(cache=True, nogil=True)
def move_player(blocks, player, status, stats, action):
    """One tick of the player's movement.

    Args:
        blocks: uint8[X, Z, Y].
        player, status, stats: see ``state``; changed in place.
        action: int32[TICK_FIELDS].
    """
    for axis in range(P_VX, P_VZ + 1):
        if abs(player[axis]) < STILL:
            player[axis] = 0.0
    x, y, z = player[P_X], player[P_Y], player[P_Z]
    in_water = is_liquid_at(blocks, x, y + 0.4, z)
    status[S_IN_WATER] = 1 if in_water else 0
    _choose_pose(blocks, player, status, action)
    friction = _accelerate(player, status, stats, action, in_water)
    wall = _translate(blocks, player, status)
    if wall:
        status[S_SPRINTING] = 0
    _land(player, status, stats, player[P_Y] - y, in_water)
    if in_water:
        player[P_VY] = player[P_VY] * WATER_DRAG - WATER_GRAVITY
        if wall and box_is_free(blocks, player[P_X], player[P_Y] + 0.6, player[P_Z], HALF_WIDTH, HEIGHT):
            player[P_VY] = LEDGE_RISE
        if get_block(blocks, math.floor(x), math.floor(y + 0.4), math.floor(z)) == _LAVA:
            hurt_player(player, status, stats, LAVA_DAMAGE)
    else:
        player[P_VY] = (player[P_VY] - GRAVITY) * AIR_DRAG
    player[P_VX] *= friction
    player[P_VZ] *= friction
    dx, dz = player[P_X] - x, player[P_Z] - z
    if status[S_ON_GROUND]:
        player[P_WALKED] += math.sqrt(dx * dx + dz * dz)
        stats[E_CUSTOM, C_WALK] = int(100.0 * player[P_WALKED])

"""How the player's body moves: Minecraft 1.16's walking, sprinting, sneaking, jumping, swimming and falling.

The numbers are those of the game's ``LivingEntity.travel``: per tick a velocity gains acceleration along the keys,
the body moves against the blocks, then gravity and friction act. From them follow 4.317 m/s walking, 5.612 sprinting,
1.295 sneaking and a jump of 1.252 m; ``tests/support/published.py`` lists what is checked.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
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
from minestudio_nb.simulator.bodies import box_is_free, clip_move, cos_deg, liquid_depths, sin_deg
from minestudio_nb.simulator.state import (
    C_JUMP,
    C_WALK,
    E_CUSTOM,
    P_FALL,
    P_FOOD,
    P_VX,
    P_VY,
    P_VZ,
    P_WALKED,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_BOW_DRAW,
    S_EAT,
    S_FALL_DAMAGE,
    S_IN_LAVA,
    S_IN_WATER,
    S_JUMP_DELAY,
    S_ON_GROUND,
    S_SNEAKING,
    S_SPRINTING,
    S_UNDER_WATER,
)
from minestudio_nb.simulator.vitals import (
    EXHAUSTION_JUMP,
    EXHAUSTION_SPRINT,
    EXHAUSTION_SPRINT_JUMP,
    EXHAUSTION_SWIM,
    HALF_WIDTH,
    HEIGHT,
    SPRINTING_FOOD,
    add_exhaustion,
    body_height,
    feel_liquids,
    hurt_player,
)
from minestudio_nb.simulator.world import get_block

GRAVITY: Final = 0.08
AIR_DRAG: Final = 0.98
JUMP_SPEED: Final = 0.42
JUMP_DELAY: Final = 10  # ticks between jumps while the key is held
SPRINT_JUMP_PUSH: Final = 0.2
WALK_ACCELERATION: Final = 0.1
SPRINT_FACTOR: Final = 1.3
AIR_ACCELERATION: Final = 0.02
AIR_SPRINT_ACCELERATION: Final = 0.026
SLIPPERINESS: Final = 0.6  # of ordinary ground
AIR_FRICTION: Final = 0.91
GROUND_FRICTION: Final = SLIPPERINESS * AIR_FRICTION
INPUT_FACTOR: Final = 0.98  # what the game takes off the keys' input each tick
SNEAK_FACTOR: Final = 0.3
USING_FACTOR: Final = 0.2  # while a bow is drawn or food is eaten
LIQUID_ACCELERATION: Final = 0.02
WATER_DRAG: Final = 0.8
LAVA_DRAG: Final = 0.5
WATER_GRAVITY: Final = 0.005
LAVA_GRAVITY: Final = 0.02
LIQUID_RISE: Final = 0.04  # upward speed per tick of the jump key; the sneak key takes as much off
JUMP_DEPTH: Final = 0.4  # standing no deeper than this in a liquid, the jump key jumps
LEDGE_RISE: Final = 0.3  # upward speed that lifts a swimmer onto a bank
STILL: Final = 0.003  # slower than this is standing
SAFE_FALL: Final = 3.0
_ROUNDING: Final = 1e-6  # a fall of 4 blocks is summed up from many ticks and must not count as more

# Indexed by block id: how slippery, what share of the speed it leaves, what share of a fall's damage.
GROUND_SLIP: Final = np.full(256, SLIPPERINESS)
GROUND_SPEED: Final = np.ones(256)
GROUND_HARM: Final = np.ones(256)
for _name, _array, _value in (
    ("ice", GROUND_SLIP, 0.98),
    ("packed_ice", GROUND_SLIP, 0.98),
    ("blue_ice", GROUND_SLIP, 0.989),
    ("slime_block", GROUND_SLIP, 0.8),
    ("soul_sand", GROUND_SPEED, 0.4),
    ("honey_block", GROUND_SPEED, 0.4),
    ("hay_block", GROUND_HARM, 0.2),
    ("slime_block", GROUND_HARM, 0.0),
):
    if _name in table.ITEM_NAMES:
        _array[table.block_id(_name)] = _value
for _array in (GROUND_SLIP, GROUND_SPEED, GROUND_HARM):
    _array.setflags(write=False)


@njit(cache=True, nogil=True)
def block_under(blocks, x, y, z):
    """The block that decides how slippery the ground under a body's feet is."""
    return get_block(blocks, math.floor(x), math.floor(y - 0.5), math.floor(z))


@njit(cache=True, nogil=True)
def _choose_pose(blocks, player, status, action):
    """Sneak and sprint from the keys. Under a block too low to stand, the player stays sneaking."""
    sneak = action[TICK_SNEAK] != 0
    if not sneak and status[S_SNEAKING]:
        sneak = not box_is_free(blocks, player[P_X], player[P_Y], player[P_Z], HALF_WIDTH, HEIGHT)
    status[S_SNEAKING] = 1 if sneak else 0
    forward = action[TICK_FORWARD] - action[TICK_BACK]
    wading = status[S_IN_WATER] and not status[S_UNDER_WATER]
    if forward <= 0 or sneak or wading or player[P_FOOD] <= SPRINTING_FOOD:
        status[S_SPRINTING] = 0
    elif action[TICK_SPRINT] and status[S_BOW_DRAW] == 0 and status[S_EAT] == 0:
        status[S_SPRINTING] = 1


@njit(cache=True, nogil=True)
def _jump(player, status, stats):
    player[P_VY] = JUMP_SPEED
    status[S_JUMP_DELAY] = JUMP_DELAY
    stats[E_CUSTOM, C_JUMP] += 1
    if status[S_SPRINTING]:
        player[P_VX] -= sin_deg(player[P_YAW]) * SPRINT_JUMP_PUSH
        player[P_VZ] += cos_deg(player[P_YAW]) * SPRINT_JUMP_PUSH
    add_exhaustion(player, EXHAUSTION_SPRINT_JUMP if status[S_SPRINTING] else EXHAUSTION_JUMP)


@njit(cache=True, nogil=True)
def _rise(player, status, stats, action, depth):
    """The jump key, and in water the sneak key; ``depth`` is how deep the feet are in a liquid."""
    if status[S_JUMP_DELAY] > 0:
        status[S_JUMP_DELAY] -= 1
    if status[S_IN_WATER] and action[TICK_SNEAK]:
        player[P_VY] -= LIQUID_RISE
    if not action[TICK_JUMP]:
        status[S_JUMP_DELAY] = 0
    elif depth > 0.0 and (not status[S_ON_GROUND] or depth > JUMP_DEPTH):
        player[P_VY] += LIQUID_RISE
    elif status[S_ON_GROUND] and status[S_JUMP_DELAY] == 0:
        _jump(player, status, stats)


@njit(cache=True, nogil=True)
def _accelerate(player, status, action, acceleration):
    """Change the horizontal velocity by the movement keys."""
    factor = INPUT_FACTOR * (SNEAK_FACTOR if status[S_SNEAKING] else 1.0)
    if status[S_BOW_DRAW] > 0 or status[S_EAT] > 0:
        factor *= USING_FACTOR
    forward = (action[TICK_FORWARD] - action[TICK_BACK]) * factor
    strafe = (action[TICK_LEFT] - action[TICK_RIGHT]) * factor
    length = math.sqrt(forward * forward + strafe * strafe)
    if length > 0.0:
        sin_yaw, cos_yaw = sin_deg(player[P_YAW]), cos_deg(player[P_YAW])
        acceleration /= max(length, 1.0)
        player[P_VX] += (strafe * cos_yaw - forward * sin_yaw) * acceleration
        player[P_VZ] += (forward * cos_yaw + strafe * sin_yaw) * acceleration


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
    height = body_height(status)
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
def _land(blocks, player, status, stats, moved_y):
    """Sum up the fall, and hurt at its end: a half heart for each block beyond three, rounded up."""
    if status[S_IN_WATER]:
        player[P_FALL] = 0.0
    elif status[S_ON_GROUND]:
        fall = player[P_FALL] - moved_y
        height = body_height(status)
        water, _ = liquid_depths(blocks, player[P_X], player[P_Y], player[P_Z], HALF_WIDTH, height)
        if fall > SAFE_FALL and status[S_FALL_DAMAGE] and water <= 0.0:
            ground = get_block(blocks, math.floor(player[P_X]), math.floor(player[P_Y] - 0.2), math.floor(player[P_Z]))
            damage = math.ceil((fall - SAFE_FALL) * GROUND_HARM[ground] - _ROUNDING)
            hurt_player(player, status, stats, float(damage), 0.0)
        player[P_FALL] = 0.0
    elif moved_y < 0.0:
        player[P_FALL] -= moved_y
        if status[S_IN_LAVA]:
            player[P_FALL] *= 0.5
    else:
        player[P_FALL] = 0.0


@njit(cache=True, nogil=True)
def _climb_out(blocks, player, status, wall, moved_y):
    """Lift a swimmer who swims against a bank where there is air above it."""
    x, y, z = player[P_X] + player[P_VX], player[P_Y] + player[P_VY] + 0.6 - moved_y, player[P_Z] + player[P_VZ]
    if not wall or not box_is_free(blocks, x, y, z, HALF_WIDTH, body_height(status)):
        return
    water, lava = liquid_depths(blocks, x, y, z, HALF_WIDTH, body_height(status))
    if water <= 0.0 and lava <= 0.0:
        player[P_VY] = LEDGE_RISE


@njit(cache=True, nogil=True)
def _swim(blocks, player, status, action, lava_depth):
    """Move through water or lava for a tick."""
    y = player[P_Y]
    _accelerate(player, status, action, LIQUID_ACCELERATION)
    wall = _translate(blocks, player, status)
    if status[S_IN_WATER]:
        drag, drag_y, gravity = WATER_DRAG, WATER_DRAG, WATER_GRAVITY
    elif lava_depth <= JUMP_DEPTH:
        drag, drag_y, gravity = LAVA_DRAG, WATER_DRAG, WATER_GRAVITY + LAVA_GRAVITY
    else:
        drag, drag_y, gravity = LAVA_DRAG, LAVA_DRAG, LAVA_GRAVITY
    player[P_VX] *= drag
    player[P_VY] = player[P_VY] * drag_y - gravity
    player[P_VZ] *= drag
    _climb_out(blocks, player, status, wall, player[P_Y] - y)
    return wall


@njit(cache=True, nogil=True)
def _walk(blocks, player, status, action):
    """Move on the ground or through the air for a tick."""
    sprinting = status[S_SPRINTING] != 0
    friction = AIR_FRICTION
    if status[S_ON_GROUND]:
        slip = GROUND_SLIP[block_under(blocks, player[P_X], player[P_Y], player[P_Z])]
        friction *= slip
        ratio = SLIPPERINESS / slip
        speed = WALK_ACCELERATION * (SPRINT_FACTOR if sprinting else 1.0) * ratio * ratio * ratio
    else:
        speed = AIR_SPRINT_ACCELERATION if sprinting else AIR_ACCELERATION
    _accelerate(player, status, action, speed)
    wall = _translate(blocks, player, status)
    slowed = GROUND_SPEED[block_under(blocks, player[P_X], player[P_Y], player[P_Z])]
    player[P_VX] *= friction * slowed
    player[P_VZ] *= friction * slowed
    player[P_VY] = (player[P_VY] - GRAVITY) * AIR_DRAG
    return wall


@njit(cache=True, nogil=True)
def _tire(player, status, stats, dx, dy, dz):
    """Count the way and what it costs."""
    flat = math.sqrt(dx * dx + dz * dz)
    if status[S_IN_WATER]:
        add_exhaustion(player, EXHAUSTION_SWIM * math.sqrt(flat * flat + dy * dy))
    elif status[S_ON_GROUND]:
        player[P_WALKED] += flat
        stats[E_CUSTOM, C_WALK] = int(100.0 * player[P_WALKED])
        if status[S_SPRINTING]:
            add_exhaustion(player, EXHAUSTION_SPRINT * flat)


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
    water, lava = feel_liquids(blocks, player, status)
    _choose_pose(blocks, player, status, action)
    _rise(player, status, stats, action, water if water > 0.0 else lava)
    if water > 0.0 or lava > 0.0:
        wall = _swim(blocks, player, status, action, lava)
    else:
        wall = _walk(blocks, player, status, action)
    if wall:
        status[S_SPRINTING] = 0
    _land(blocks, player, status, stats, player[P_Y] - y)
    _tire(player, status, stats, player[P_X] - x, player[P_Y] - y, player[P_Z] - z)

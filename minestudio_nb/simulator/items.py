"""Items that lie about: dropped by blocks, mobs and players, they fall, float, merge, are picked up, and vanish.

The numbers are those of Minecraft 1.16's ``ItemEntity``. There is room for ITEM_CAPACITY stacks; what is dropped beyond
that takes the place of the oldest. Whatever vanishes without being picked up is counted in S_LOST_ITEMS.
"""

from __future__ import annotations

import math
from typing import Final

from numba import njit

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.bodies import box_is_free, clip_move, cos_deg, is_liquid_at, sin_deg, uniform
from minestudio_nb.simulator.inventory import give
from minestudio_nb.simulator.state import (
    E_PICKUP,
    I_AGE,
    I_COUNT,
    I_DAMAGE,
    I_DELAY,
    I_ITEM,
    I_VX,
    I_VY,
    I_VZ,
    I_X,
    I_Y,
    I_Z,
    P_PITCH,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_LOST_ITEMS,
)
from minestudio_nb.simulator.vitals import HALF_WIDTH, body_height, eye_height
from minestudio_nb.simulator.world import get_block

DROP_DELAY: Final = 10  # ticks until what a block or a mob dropped can be picked up
THROW_DELAY: Final = 40  # the same for what the player threw
DESPAWN_TICKS: Final = 6000
ITEM_HALF: Final = 0.125
ITEM_HEIGHT: Final = 0.25
PICKUP_SIDE: Final = 1.0  # how far the player's box reaches for items
PICKUP_UP: Final = 0.5

_GRAVITY: Final = 0.04
_DRAG: Final = 0.98
_GROUND_FRICTION: Final = 0.6 * 0.98
_WATER_DRAG: Final = 0.99
_WATER_RISE: Final = 5e-4  # gained each tick under water, up to _FASTEST_RISE
_FASTEST_RISE: Final = 0.06
_STILL: Final = 1e-3
_MERGE_TICKS: Final = 10
_MERGE_DISTANCE: Final = 0.5 + 2 * ITEM_HALF
_THROW_SPEED: Final = 0.3

_STACK_SIZE: Final = table.STACK_SIZE
_LAVA: Final = table.block_id("lava")


@njit(cache=True, nogil=True)
def _free_row(items, status):
    """A free row; if there is none, the oldest stack gives way."""
    oldest = 0
    for row in range(items.shape[0]):
        if items[row, I_ITEM] < 0:
            return row
        if items[row, I_AGE] > items[oldest, I_AGE]:
            oldest = row
    status[S_LOST_ITEMS] += int(items[oldest, I_COUNT])
    return oldest


@njit(cache=True, nogil=True)
def spawn_item(s, item, count, damage, x, y, z, vx, vy, vz, delay):
    """Put a stack into the world.

    Args:
        s: ``state.Arrays``.
        item, count, damage: item id, how many (nothing happens for 0), and their wear.
        x, y, z: middle of the bottom of its box.
        vx, vy, vz: blocks per tick.
        delay: ticks until it may be picked up.
    """
    if count <= 0:
        return
    entry = s.items[_free_row(s.items, s.status)]
    entry[I_ITEM], entry[I_COUNT], entry[I_DAMAGE] = item, count, damage
    entry[I_X], entry[I_Y], entry[I_Z] = x, y, z
    entry[I_VX], entry[I_VY], entry[I_VZ] = vx, vy, vz
    entry[I_AGE], entry[I_DELAY] = 0, delay


@njit(cache=True, nogil=True)
def drop_item(s, item, count, x, y, z):
    """Drop a stack at a point with the small random hop that blocks and mobs give it."""
    vx, vz = 0.2 * uniform(s.rng) - 0.1, 0.2 * uniform(s.rng) - 0.1
    spawn_item(s, item, count, 0, x, y, z, vx, 0.2, vz, DROP_DELAY)


@njit(cache=True, nogil=True)
def drop_from_block(s, item, count, x, y, z):
    """Drop a stack out of the cell of a block."""
    dx, dy, dz = uniform(s.rng), uniform(s.rng), uniform(s.rng)
    drop_item(s, item, count, x + 0.25 + 0.5 * dx, y + 0.25 + 0.5 * dy, z + 0.25 + 0.5 * dz)


@njit(cache=True, nogil=True)
def throw_item(s, item, count, damage):
    """Throw a stack from the player's eyes where it looks."""
    player = s.player
    yaw, pitch = player[P_YAW], player[P_PITCH]
    flat = _THROW_SPEED * cos_deg(pitch)
    turn, stray = 360.0 * uniform(s.rng), 0.02 * uniform(s.rng)
    vx = -sin_deg(yaw) * flat + cos_deg(turn) * stray
    vz = cos_deg(yaw) * flat + sin_deg(turn) * stray
    vy = 0.1 - _THROW_SPEED * sin_deg(pitch) + 0.1 * (uniform(s.rng) - uniform(s.rng))
    y = player[P_Y] + eye_height(s.status) - 0.3
    spawn_item(s, item, count, damage, player[P_X], y, player[P_Z], vx, vy, vz, THROW_DELAY)


@njit(cache=True, nogil=True)
def _leave_block(blocks, entry):
    """Move a stack that a block was put over: into a free neighbour, else up."""
    for dx, dz in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        x, y, z = math.floor(entry[I_X]) + 0.5 + dx, math.floor(entry[I_Y]), math.floor(entry[I_Z]) + 0.5 + dz
        if dx == 0 and dz == 0:
            y += 1
        if box_is_free(blocks, x, float(y), z, ITEM_HALF, ITEM_HEIGHT):
            entry[I_X], entry[I_Y], entry[I_Z] = x, y, z
            return
    while not box_is_free(blocks, entry[I_X], entry[I_Y], entry[I_Z], ITEM_HALF, ITEM_HEIGHT):
        entry[I_Y] = math.floor(entry[I_Y]) + 1.0


@njit(cache=True, nogil=True)
def _move(blocks, entry):
    """One tick of a stack's movement."""
    if is_liquid_at(blocks, entry[I_X], entry[I_Y] + 0.1, entry[I_Z]):
        entry[I_VX] *= _WATER_DRAG
        entry[I_VZ] *= _WATER_DRAG
        if entry[I_VY] < _FASTEST_RISE:
            entry[I_VY] += _WATER_RISE
    else:
        entry[I_VY] -= _GRAVITY
    if not box_is_free(blocks, entry[I_X], entry[I_Y], entry[I_Z], ITEM_HALF, ITEM_HEIGHT):
        _leave_block(blocks, entry)
        entry[I_VX] = entry[I_VY] = entry[I_VZ] = 0.0
        return
    wanted = entry[I_VY]
    moved = clip_move(blocks, entry[I_X], entry[I_Y], entry[I_Z], ITEM_HALF, ITEM_HEIGHT, 1, wanted)
    entry[I_Y] += moved
    on_ground = wanted < 0.0 and moved != wanted
    if moved != wanted:
        entry[I_VY] = 0.0
    friction = _GROUND_FRICTION if on_ground else _DRAG
    for axis in (I_X, I_Z):
        speed = axis + I_VX - I_X
        if entry[speed] != 0.0:
            wanted = entry[speed]
            moved = clip_move(blocks, entry[I_X], entry[I_Y], entry[I_Z], ITEM_HALF, ITEM_HEIGHT, axis - I_X, wanted)
            entry[axis] += moved
            entry[speed] = wanted * friction if moved == wanted and abs(wanted) > _STILL else 0.0
    entry[I_VY] *= _DRAG


@njit(cache=True, nogil=True)
def _merge(items, row):
    """Let a stack take up those of the same kind that lie beside it, as far as they fit into one stack."""
    entry = items[row]
    for other in range(items.shape[0]):
        stack = items[other]
        if other == row or stack[I_ITEM] != entry[I_ITEM] or stack[I_DAMAGE] != entry[I_DAMAGE]:
            continue
        near = abs(stack[I_X] - entry[I_X]) < _MERGE_DISTANCE and abs(stack[I_Z] - entry[I_Z]) < _MERGE_DISTANCE
        if not near or abs(stack[I_Y] - entry[I_Y]) >= ITEM_HEIGHT:
            continue
        if stack[I_COUNT] + entry[I_COUNT] <= _STACK_SIZE[int(entry[I_ITEM])]:
            entry[I_COUNT] += stack[I_COUNT]
            entry[I_AGE] = min(entry[I_AGE], stack[I_AGE])
            entry[I_DELAY] = max(entry[I_DELAY], stack[I_DELAY])
            stack[I_ITEM] = -1.0


@njit(cache=True, nogil=True)
def _pick_up(s, entry):
    """Put a stack that touches the player into the inventory, as far as there is room."""
    player, height = s.player, body_height(s.status)
    reach = HALF_WIDTH + PICKUP_SIDE + ITEM_HALF
    if abs(entry[I_X] - player[P_X]) >= reach or abs(entry[I_Z] - player[P_Z]) >= reach:
        return
    above = entry[I_Y] - player[P_Y]
    if above >= height + PICKUP_UP or above + ITEM_HEIGHT <= -PICKUP_UP:
        return
    item = int(entry[I_ITEM])
    taken = give(s.inventory, item, int(entry[I_COUNT]), int(entry[I_DAMAGE]))
    s.stats[E_PICKUP, item] += taken
    entry[I_COUNT] -= taken
    if entry[I_COUNT] <= 0:
        entry[I_ITEM] = -1.0


@njit(cache=True, nogil=True)
def tick_items(s):
    """One tick of all stacks that lie about; ``s`` is ``state.Arrays``, changed in place."""
    items, player, size = s.items, s.player, s.blocks.shape[0]
    for row in range(items.shape[0]):
        entry = items[row]
        if entry[I_ITEM] < 0:
            continue
        # The world wraps round: a stack is where it is nearest to the player.
        entry[I_X] += size * math.floor((player[P_X] - entry[I_X]) / size + 0.5)
        entry[I_Z] += size * math.floor((player[P_Z] - entry[I_Z]) / size + 0.5)
        entry[I_AGE] += 1
        _move(s.blocks, entry)
        block = get_block(s.blocks, math.floor(entry[I_X]), math.floor(entry[I_Y] + 0.1), math.floor(entry[I_Z]))
        if entry[I_AGE] >= DESPAWN_TICKS or block == _LAVA:
            s.status[S_LOST_ITEMS] += int(entry[I_COUNT])
            entry[I_ITEM] = -1.0
            continue
        if entry[I_AGE] % _MERGE_TICKS == 0:
            _merge(items, row)
        if entry[I_DELAY] > 0:
            entry[I_DELAY] -= 1
        else:
            _pick_up(s, entry)

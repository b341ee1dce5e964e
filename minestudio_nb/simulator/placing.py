"""The use key on the world: placing blocks, paths, buckets, and lighting portals, as in Minecraft 1.16.

Blocks whose screen the game would open (crafting table, furnace, chest) take the use key unless the player sneaks, but
no screen opens: crafting is done by command. Fire, doors and other machinery do not exist. Liquids do not flow.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.blocks import TOOL_SHOVEL
from minestudio_nb.simulator.bodies import cos_deg, sin_deg
from minestudio_nb.simulator.inventory import give, take_one, wear
from minestudio_nb.simulator.items import spawn_item
from minestudio_nb.simulator.mobs import MOB_HALF, MOB_HEIGHT
from minestudio_nb.simulator.portals import light_portal
from minestudio_nb.simulator.state import (
    C_SCREENS,
    E_CUSTOM,
    E_USE,
    M_KIND,
    M_X,
    M_Y,
    M_Z,
    OFFHAND_SLOT,
    P_PITCH,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_SLOT,
    S_SNEAKING,
    S_TARGET,
    S_TARGET_FACE,
    S_TARGET_ID,
    S_TARGET_X,
    S_TARGET_Y,
    S_TARGET_Z,
    SLOT_COUNT,
    SLOT_ITEM,
    TARGET_BLOCK,
)
from minestudio_nb.simulator.vitals import HALF_WIDTH, body_height, eye_height
from minestudio_nb.simulator.world import (
    FACE_DOWN,
    FACE_DX,
    FACE_DY,
    FACE_DZ,
    get_block,
    raycast,
    set_block,
)

BLOCK_REACH: Final = 4.5

# What came of the use key.
USED: Final = 1
PASSED: Final = 0  # there is nothing to do: the other hand may try
REFUSED: Final = -1  # it could have been used, but not there: no hand does anything

_SOLID: Final = table.SOLID
_LIQUID: Final = table.LIQUID
_REPLACEABLE: Final = table.REPLACEABLE
_PLACES_BLOCK: Final = table.PLACES_BLOCK
_ITEM_TOOL: Final = table.ITEM_TOOL
_GRASS_BLOCK: Final = table.block_id("grass_block")
_PATH: Final = table.block_id("grass_path")
_WATER: Final = table.block_id("water")
_LAVA: Final = table.block_id("lava")
_OBSIDIAN: Final = table.block_id("obsidian")
_FLINT_AND_STEEL: Final = table.item_id("flint_and_steel")
_BUCKET: Final = table.item_id("bucket")
_WATER_BUCKET: Final = table.item_id("water_bucket")
_LAVA_BUCKET: Final = table.item_id("lava_bucket")
_SCREENS: Final = tuple(table.block_id(name) for name in ("crafting_table", "furnace", "chest"))

# What a block must stand on, as bits: any solid block, earth, sand, itself.
_ON_SOLID: Final = 1
_ON_EARTH: Final = 2
_ON_SAND: Final = 4
_NEEDS: Final = np.zeros(256, np.int32)
_OFFERS: Final = np.where(table.SOLID, _ON_SOLID, 0).astype(np.int32)
for _name in ("grass_block", "dirt", "coarse_dirt", "podzol"):
    _OFFERS[table.block_id(_name)] |= _ON_EARTH
for _name in ("sand", "terracotta"):
    _OFFERS[table.block_id(_name)] |= _ON_SAND
for _block in np.flatnonzero(table.CROSS):
    _NEEDS[_block] = _ON_EARTH
_NEEDS[table.block_id("torch")] = _ON_SOLID
for _name, _bits in (("dead_bush", _ON_EARTH | _ON_SAND), ("sugar_cane", _ON_EARTH | _ON_SAND), ("cactus", _ON_SAND)):
    _NEEDS[table.block_id(_name)] = _bits
_STACKS: Final = np.zeros(256, np.bool_)
for _name in ("sugar_cane", "cactus"):
    _STACKS[table.block_id(_name)] = True


@njit(cache=True, nogil=True)
def opens_screen(s):
    """Whether the targeted block is one that would open a screen now; that is counted as the game counts it."""
    status, inventory = s.status, s.inventory
    if status[S_TARGET] != TARGET_BLOCK:
        return False
    holds = inventory[status[S_SLOT], SLOT_COUNT] > 0 or inventory[OFFHAND_SLOT, SLOT_COUNT] > 0
    if status[S_SNEAKING] and holds:
        return False
    for index, block in enumerate(_SCREENS):
        if status[S_TARGET_ID] == block:
            s.stats[E_CUSTOM, C_SCREENS + index] += 1
            return True
    return False


@njit(cache=True, nogil=True)
def use_on_block(s, slot):
    """Use the item in a slot on the targeted block; returns USED, PASSED or REFUSED."""
    status = s.status
    if status[S_TARGET] != TARGET_BLOCK or s.inventory[slot, SLOT_COUNT] == 0:
        return PASSED
    item = s.inventory[slot, SLOT_ITEM]
    if _PLACES_BLOCK[item] >= 0:
        return _place(s, slot)
    x, y, z, face = status[S_TARGET_X], status[S_TARGET_Y], status[S_TARGET_Z], status[S_TARGET_FACE]
    if item == _FLINT_AND_STEEL:
        if not light_portal(s, x + FACE_DX[face], y + FACE_DY[face], z + FACE_DZ[face]):
            return REFUSED
    elif _ITEM_TOOL[item] == TOOL_SHOVEL and status[S_TARGET_ID] == _GRASS_BLOCK:
        if face == FACE_DOWN or get_block(s.blocks, x, y + 1, z) != 0:
            return PASSED
        set_block(s.blocks, s.masks, s.tops, x, y, z, _PATH)
    else:
        return PASSED
    s.stats[E_USE, item] += 1
    wear(s.inventory, s.stats, slot, 1)
    return USED


@njit(cache=True, nogil=True)
def _cell_is_taken(s, x, y, z):
    """Whether the player or a mob stands in a cell."""
    player, mobs = s.player, s.mobs
    px, py, pz = player[P_X], player[P_Y], player[P_Z]
    inside = x < px + HALF_WIDTH and x + 1 > px - HALF_WIDTH and z < pz + HALF_WIDTH and z + 1 > pz - HALF_WIDTH
    if inside and y < py + body_height(s.status) and y + 1 > py:
        return True
    for row in range(mobs.shape[0]):
        kind = int(mobs[row, M_KIND])
        if kind < 0:
            continue
        half = MOB_HALF[kind]
        mx, my, mz = mobs[row, M_X], mobs[row, M_Y], mobs[row, M_Z]
        inside = x < mx + half and x + 1 > mx - half and z < mz + half and z + 1 > mz - half
        if inside and y < my + MOB_HEIGHT[kind] and y + 1 > my:
            return True
    return False


@njit(cache=True, nogil=True)
def _can_stand(blocks, block, x, y, z):
    """Whether what lies below a cell bears a block: plants want earth or sand, a torch anything solid."""
    below = get_block(blocks, x, y - 1, z)
    return _NEEDS[block] == 0 or _NEEDS[block] & _OFFERS[below] != 0 or (_STACKS[block] and below == block)


@njit(cache=True, nogil=True)
def _free_cell(s):
    """The cell that something placed now would fill: the targeted one if it can be replaced, else the one before it.

    Returns:
        x, y, z, and whether it is free.
    """
    status = s.status
    x, y, z = status[S_TARGET_X], status[S_TARGET_Y], status[S_TARGET_Z]
    if not _REPLACEABLE[get_block(s.blocks, x, y, z)]:
        face = status[S_TARGET_FACE]
        x, y, z = x + FACE_DX[face], y + FACE_DY[face], z + FACE_DZ[face]
    return x, y, z, 0 <= y < s.blocks.shape[2] and _REPLACEABLE[get_block(s.blocks, x, y, z)]


@njit(cache=True, nogil=True)
def _place(s, slot):
    """Place the block in a slot; returns USED or REFUSED."""
    item = s.inventory[slot, SLOT_ITEM]
    block = _PLACES_BLOCK[item]
    x, y, z, free = _free_cell(s)
    if not free or not _can_stand(s.blocks, block, x, y, z) or (_SOLID[block] and _cell_is_taken(s, x, y, z)):
        return REFUSED
    set_block(s.blocks, s.masks, s.tops, x, y, z, block)
    take_one(s.inventory, slot)
    s.stats[E_USE, item] += 1
    return USED


@njit(cache=True, nogil=True)
def use_bucket(s, slot, hit):
    """Fill an empty bucket from the liquid that is looked at, or pour a full one out; returns whether it did.

    Args:
        s: ``state.Arrays``, changed in place.
        slot: any; other items do nothing.
        hit: int64[5], scratch.
    """
    item = s.inventory[slot, SLOT_ITEM]
    if s.inventory[slot, SLOT_COUNT] == 0:
        return False
    if item == _BUCKET:
        filled = _scoop(s, hit)
    elif item in (_WATER_BUCKET, _LAVA_BUCKET):
        filled = _BUCKET if _pour(s, _WATER if item == _WATER_BUCKET else _LAVA) else -1
    else:
        return False
    if filled < 0:
        return False
    s.stats[E_USE, item] += 1
    take_one(s.inventory, slot)
    if s.inventory[slot, SLOT_COUNT] == 0:
        s.inventory[slot, SLOT_ITEM], s.inventory[slot, SLOT_COUNT] = filled, 1
    elif give(s.inventory, filled, 1) == 0:
        spawn_item(s, filled, 1, 0, s.player[P_X], s.player[P_Y], s.player[P_Z], 0.0, 0.0, 0.0, 0)
    return True


@njit(cache=True, nogil=True)
def _scoop(s, hit):
    """Take the liquid that is looked at out of the world; returns the bucket with it, -1 if there is none in reach."""
    player, blocks = s.player, s.blocks
    flat = cos_deg(player[P_PITCH])
    dx, dy, dz = -sin_deg(player[P_YAW]) * flat, -sin_deg(player[P_PITCH]), cos_deg(player[P_YAW]) * flat
    x, y, z = player[P_X], player[P_Y] + eye_height(s.status), player[P_Z]
    cx, cy, cz = math.floor(x), math.floor(y), math.floor(z)
    if not _LIQUID[get_block(blocks, cx, cy, cz)]:
        if raycast(blocks, x, y, z, dx, dy, dz, BLOCK_REACH, hit, True) < 0.0:
            return -1
        cx, cy, cz = hit[0], hit[1], hit[2]
    block = get_block(blocks, cx, cy, cz)
    if not _LIQUID[block]:
        return -1
    sources = 0
    for face in range(2, 6):
        sources += get_block(blocks, cx + FACE_DX[face], cy, cz + FACE_DZ[face]) == _WATER
    if block == _LAVA or sources < 2:  # two sources beside it fill the cell with water again
        set_block(blocks, s.masks, s.tops, cx, cy, cz, 0)
    return _LAVA_BUCKET if block == _LAVA else _WATER_BUCKET


@njit(cache=True, nogil=True)
def _pour(s, liquid):
    """Pour a liquid against the targeted block; returns whether there was room. Lava that meets water turns to
    obsidian."""
    if s.status[S_TARGET] != TARGET_BLOCK:
        return False
    x, y, z, free = _free_cell(s)
    if not free:
        return False
    set_block(s.blocks, s.masks, s.tops, x, y, z, liquid)
    _harden(s, x, y, z)
    for face in range(6):
        _harden(s, x + FACE_DX[face], y + FACE_DY[face], z + FACE_DZ[face])
    return True


@njit(cache=True, nogil=True)
def _harden(s, x, y, z):
    """Turn lava into obsidian if there is water above or beside it, and no body in it, which would be walled in."""
    if get_block(s.blocks, x, y, z) != _LAVA or _cell_is_taken(s, x, y, z):
        return
    for face in range(1, 6):
        if get_block(s.blocks, x + FACE_DX[face], y + FACE_DY[face], z + FACE_DZ[face]) == _WATER:
            set_block(s.blocks, s.masks, s.tops, x, y, z, _OBSIDIAN)
            return

"""Nether portals: a frame of obsidian fills when it is lit, and empties when it is broken. Nothing lies behind them.

The rules are Minecraft 1.16's: the hole is 2 to 21 wide and 3 to 21 high, empty, with obsidian all round; the frame's
corners do not matter.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.world import FACE_DX, FACE_DY, FACE_DZ, get_block, set_block

LEAST_WIDTH: Final = 2
LEAST_HEIGHT: Final = 3
LARGEST: Final = 21

_OBSIDIAN: Final = table.block_id("obsidian")
_PORTAL: Final = table.block_id("nether_portal")


@njit(cache=True, nogil=True)
def _row_width(blocks, x, y, z, ax, az):
    """How many empty cells of a row, from (x, y, z) on along (ax, az), lie on obsidian before it ends with obsidian;
    0 if it does not end so."""
    for width in range(LARGEST + 1):
        cx, cz = x + ax * width, z + az * width
        block = get_block(blocks, cx, y, cz)
        if block == _OBSIDIAN:
            return width
        if block != 0 or get_block(blocks, cx, y - 1, cz) != _OBSIDIAN:
            return 0
    return 0


@njit(cache=True, nogil=True)
def _hole_height(blocks, x, y, z, ax, az, width):
    """How high the hole is whose lowest row begins at (x, y, z); 0 if its frame is not whole."""
    for height in range(LARGEST + 1):
        filled = 0
        for along in range(width):
            block = get_block(blocks, x + ax * along, y + height, z + az * along)
            if block == _OBSIDIAN:
                filled += 1
            elif block != 0:
                return 0
        if filled == width:
            return height
        left = get_block(blocks, x - ax, y + height, z - az)
        right = get_block(blocks, x + ax * width, y + height, z + az * width)
        if filled > 0 or left != _OBSIDIAN or right != _OBSIDIAN:
            return 0
    return 0


@njit(cache=True, nogil=True)
def light_portal(s, x, y, z):
    """Fill the frame round an empty cell with portal; returns whether there is a whole one.

    Args:
        s: ``state.Arrays``; its blocks are changed in place.
        x, y, z: the cell.
    """
    blocks = s.blocks
    if get_block(blocks, x, y, z) != 0:
        return False
    for _ in range(LARGEST):
        if get_block(blocks, x, y - 1, z) == 0:
            y -= 1
    for ax, az in ((1, 0), (0, 1)):
        x0, z0 = x, z
        for _ in range(LARGEST):
            if get_block(blocks, x0 - ax, y, z0 - az) == 0:
                x0, z0 = x0 - ax, z0 - az
        width = _row_width(blocks, x0, y, z0, ax, az)
        if width < LEAST_WIDTH or get_block(blocks, x0 - ax, y, z0 - az) != _OBSIDIAN:
            continue
        height = _hole_height(blocks, x0, y, z0, ax, az, width)
        if height < LEAST_HEIGHT:
            continue
        for along in range(width):
            for up in range(height):
                set_block(blocks, s.masks, s.tops, x0 + ax * along, y + up, z0 + az * along, _PORTAL)
        return True
    return False


@njit(cache=True, nogil=True)
def empty_portal(s, x, y, z):
    """Take away the portal that touches a cell, whose frame has been broken there."""
    waiting = np.empty((6 * LARGEST * LARGEST, 3), np.int64)
    waiting[0, 0], waiting[0, 1], waiting[0, 2] = x, y, z
    count = 1
    while count > 0:
        count -= 1
        cx, cy, cz = waiting[count, 0], waiting[count, 1], waiting[count, 2]
        for face in range(6):
            nx, ny, nz = cx + FACE_DX[face], cy + FACE_DY[face], cz + FACE_DZ[face]
            if get_block(s.blocks, nx, ny, nz) == _PORTAL and count < waiting.shape[0]:
                set_block(s.blocks, s.masks, s.tops, nx, ny, nz, 0)
                waiting[count, 0], waiting[count, 1], waiting[count, 2] = nx, ny, nz
                count += 1

"""Darkening of corners: ambient occlusion over a finished picture of the world.

A second pass, so that small frames, which do without, pay nothing for it. It finds the face that a pixel shows from the
pixel's distance alone: on a face one coordinate is a whole number.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit, uint64

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.raymarch import (
    VIEW_FORWARD,
    VIEW_RIGHT,
    VIEW_TAN_H,
    VIEW_TAN_V,
    VIEW_UP,
    VIEW_X,
    VIEW_Y,
    VIEW_Z,
)
from minestudio_nb.simulator.walk import BORROWING, HIT_SIDE_X, HIT_SIDE_Z, HIT_TOP, ONE, F

_OPAQUE: Final = table.OPAQUE
_FARTHEST: Final = F(24.0)
_ON_FACE: Final = F(2e-3)
"""How far, in blocks, rounding may put a point from its face. Plants' planes cut whole coordinates rarely."""
_FAST: Final = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}


@njit(**BORROWING)
def _blocks_light(blocks, size_x, size_z, height, x, y, z):
    if y < 0 or y >= height:
        return 0
    column = (x & (size_x - 1)) * size_z + (z & (size_z - 1))
    return 1 if _OPAQUE[blocks[uint64(column * height + y)]] else 0


@njit(**BORROWING)
def _corner(side_a, side_b, diagonal):
    """Minecraft's ambient occlusion of a corner: 3 open, 0 closed."""
    return F(0 if side_a + side_b == 2 else 3 - side_a - side_b - diagonal)


@njit(**BORROWING)
def _occlusion(blocks, size_x, size_z, height, x, y, z, hit, u, v):
    """How much of the light reaches a point of a face, 0.5 to 1, from the eight cells around the open cell before it.

    ``x, y, z`` is that open cell; ``u, v`` the point on the face, along its two axes.
    """
    ux, uz, vy, vz = (0, 1, 1, 0) if hit == HIT_SIDE_X else ((1, 0, 1, 0) if hit == HIT_SIDE_Z else (1, 0, 0, 1))
    left = _blocks_light(blocks, size_x, size_z, height, x - ux, y, z - uz)
    right = _blocks_light(blocks, size_x, size_z, height, x + ux, y, z + uz)
    near = _blocks_light(blocks, size_x, size_z, height, x, y - vy, z - vz)
    far = _blocks_light(blocks, size_x, size_z, height, x, y + vy, z + vz)
    a = _corner(left, near, _blocks_light(blocks, size_x, size_z, height, x - ux, y - vy, z - uz - vz))
    b = _corner(right, near, _blocks_light(blocks, size_x, size_z, height, x + ux, y - vy, z + uz - vz))
    c = _corner(left, far, _blocks_light(blocks, size_x, size_z, height, x - ux, y + vy, z - uz + vz))
    d = _corner(right, far, _blocks_light(blocks, size_x, size_z, height, x + ux, y + vy, z + uz + vz))
    open_corners = (a * (ONE - u) + b * u) * (ONE - v) + (c * (ONE - u) + d * u) * v
    return F(0.5) + F(1.0 / 6.0) * open_corners


@njit(**BORROWING)
def _darkness(blocks, size_x, size_z, height, x, y, z, dx, dy, dz):
    """Light left at a point that a ray along dx, dy, dz has met; 1 where the point lies on no face."""
    off_x, off_y, off_z = abs(x - F(round(x))), abs(y - F(round(y))), abs(z - F(round(z)))
    if min(off_x, min(off_y, off_z)) > _ON_FACE:
        return ONE
    cell_x, cell_y, cell_z = np.int64(math.floor(x)), np.int64(math.floor(y)), np.int64(math.floor(z))
    u, v, w = x - F(cell_x), y - F(cell_y), z - F(cell_z)
    if off_y <= off_x and off_y <= off_z:
        cell_y = np.int64(round(y)) - (1 if dy > 0 else 0)
        return _occlusion(blocks, size_x, size_z, height, cell_x, cell_y, cell_z, HIT_TOP, u, w)
    if off_x <= off_z:
        cell_x = np.int64(round(x)) - (1 if dx > 0 else 0)
        return _occlusion(blocks, size_x, size_z, height, cell_x, cell_y, cell_z, HIT_SIDE_X, w, v)
    cell_z = np.int64(round(z)) - (1 if dz > 0 else 0)
    return _occlusion(blocks, size_x, size_z, height, cell_x, cell_y, cell_z, HIT_SIDE_Z, u, v)


@njit(**_FAST)
def darken_corners(blocks, view, out, depth):
    """Darken the corners of the blocks that are near.

    Args:
        blocks: uint8[X, Z, Y].
        view: float32[VIEW_FIELDS] with which ``out`` was drawn.
        out: uint8[H, W, 3], changed.
        depth: float32[H, W], of ``out``.
    """
    rows, columns = out.shape[0], out.shape[1]
    size_x, size_z, height = blocks.shape
    flat = blocks.reshape(-1)
    # Near the origin single precision tells faces apart well; whole numbers stay whole.
    ox = F(view[VIEW_X] - F(math.floor(view[VIEW_X] / F(size_x)) * size_x))
    oz = F(view[VIEW_Z] - F(math.floor(view[VIEW_Z] / F(size_z)) * size_z))
    oy = view[VIEW_Y]
    for j in range(rows):
        v = (ONE - F(2 * j + 1) / F(rows)) * view[VIEW_TAN_V]
        for i in range(columns):
            t = depth[j, i]
            if t >= _FARTHEST:
                continue
            u = (F(2 * i + 1) / F(columns) - ONE) * view[VIEW_TAN_H]
            dx = view[VIEW_FORWARD] + view[VIEW_RIGHT] * u + view[VIEW_UP] * v
            dy = view[VIEW_FORWARD + 1] + view[VIEW_UP + 1] * v
            dz = view[VIEW_FORWARD + 2] + view[VIEW_RIGHT + 2] * u + view[VIEW_UP + 2] * v
            left = _darkness(flat, size_x, size_z, height, ox + dx * t, oy + dy * t, oz + dz * t, dx, dy, dz)
            if left < ONE:
                for k in range(3):
                    out[j, i, k] = np.uint8(F(out[j, i, k]) * left)

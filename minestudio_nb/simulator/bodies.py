"""Arithmetic that players and mobs share: boxes against blocks, angles, and random numbers.

No function here calls the C library's mathematics and none is compiled with fastmath, so that states come out equal
on every machine: sine and arc tangent are polynomials, and the generator is integer arithmetic.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit, uint64

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.world import get_block

_SOLID: Final = table.SOLID
_LIQUID: Final = table.LIQUID
_RADIAN: Final = 0.017453292519943295
_EDGE: Final = 1e-7
"""Boxes that overlap a cell by less than this only touch it."""


@njit(cache=True, nogil=True)
def sin_deg(angle):
    """Sine of an angle in degrees, to 6e-8."""
    angle -= 360.0 * math.floor(angle / 360.0 + 0.5)
    if angle > 90.0:
        angle = 180.0 - angle
    elif angle < -90.0:
        angle = -180.0 - angle
    r = angle * _RADIAN
    q = r * r
    series = 1 / 362880 - q / 39916800
    return r * (1.0 + q * (-1 / 6 + q * (1 / 120 + q * (-1 / 5040 + q * series))))


@njit(cache=True, nogil=True)
def cos_deg(angle):
    """Cosine of an angle in degrees, to 6e-8."""
    return sin_deg(angle + 90.0)


@njit(cache=True, nogil=True)
def heading_deg(dx, dz):
    """The yaw in degrees that looks along (dx, dz), to 0.01; 0 for no direction.

    The arc tangent is that of Abramowitz and Stegun, 4.4.49.
    """
    ax, az = abs(dx), abs(dz)
    if ax == 0.0 and az == 0.0:
        return 0.0
    t = min(ax, az) / max(ax, az)
    q = t * t
    angle = t * (0.9998660 + q * (-0.3302995 + q * (0.1801410 + q * (-0.0851330 + q * 0.0208351)))) / _RADIAN
    if ax > az:
        angle = 90.0 - angle
    if dz < 0:
        angle = 180.0 - angle
    return -angle if dx > 0 else angle


@njit(cache=True, nogil=True)
def next_random(rng):
    """The next 64 random bits (SplitMix64, Steele et al. 2014). ``rng`` is uint64[1], advanced in place."""
    rng[0] += uint64(0x9E3779B97F4A7C15)
    z = rng[0]
    z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
    return z ^ (z >> uint64(31))


@njit(cache=True, nogil=True)
def uniform(rng):
    """A random number in [0, 1)."""
    return np.float64(np.int64(next_random(rng) >> uint64(11))) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True)
def randint(rng, low, high):
    """A random integer in low..high, both included."""
    return low + int(uniform(rng) * (high - low + 1))


@njit(cache=True, nogil=True)
def is_liquid_at(blocks, x, y, z):
    """Whether the cell that holds a point is water or lava."""
    return _LIQUID[get_block(blocks, math.floor(x), math.floor(y), math.floor(z))]


@njit(cache=True, nogil=True)
def box_is_free(blocks, x, y, z, half, height):
    """Whether no solid block overlaps the box x±half, y..y+height, z±half."""
    for cx in range(math.floor(x - half + _EDGE), math.floor(x + half - _EDGE) + 1):
        for cz in range(math.floor(z - half + _EDGE), math.floor(z + half - _EDGE) + 1):
            for cy in range(math.floor(y + _EDGE), math.floor(y + height - _EDGE) + 1):
                if _SOLID[get_block(blocks, cx, cy, cz)]:
                    return False
    return True


_LAVA: Final = table.block_id("lava")
_SURFACE: Final = 8.0 / 9.0
"""Height of a liquid's surface in its topmost cell, in blocks."""
_TOUCH: Final = 1e-3
"""What is nearer than this to a box touches it."""


@njit(cache=True, nogil=True)
def submerged(blocks, x, y, z):
    """Whether a point is in water, below its surface."""
    cx, cy, cz = math.floor(x), math.floor(y), math.floor(z)
    block = get_block(blocks, cx, cy, cz)
    if not _LIQUID[block] or block == _LAVA:
        return False
    return y - cy < _SURFACE or get_block(blocks, cx, cy + 1, cz) == block


@njit(cache=True, nogil=True)
def liquid_depths(blocks, x, y, z, half, height):
    """How deep the bottom of the box x±half, y..y+height, z±half is in water, and in lava, in blocks; 0 outside."""
    water = lava = 0.0
    for cx in range(math.floor(x - half + _TOUCH), math.floor(x + half - _TOUCH) + 1):
        for cz in range(math.floor(z - half + _TOUCH), math.floor(z + half - _TOUCH) + 1):
            for cy in range(math.floor(y + _TOUCH), math.floor(y + height - _TOUCH) + 1):
                block = get_block(blocks, cx, cy, cz)
                if not _LIQUID[block]:
                    continue
                depth = cy + (1.0 if get_block(blocks, cx, cy + 1, cz) == block else _SURFACE) - y
                if block == _LAVA:
                    lava = max(lava, depth)
                else:
                    water = max(water, depth)
    return water, lava


@njit(cache=True, nogil=True)
def touches(blocks, x, y, z, half, height, block):
    """Whether the box x±half, y..y+height, z±half touches a block of one kind."""
    for cx in range(math.floor(x - half - _TOUCH), math.floor(x + half + _TOUCH) + 1):
        for cz in range(math.floor(z - half - _TOUCH), math.floor(z + half + _TOUCH) + 1):
            for cy in range(math.floor(y - _TOUCH), math.floor(y + height + _TOUCH) + 1):
                if get_block(blocks, cx, cy, cz) == block:
                    return True
    return False


@njit(cache=True, nogil=True)
def solid_along(blocks, x, y, z, dx, dy, dz):
    """The share of the way from a point along (dx, dy, dz) up to the first solid block; 2.0 if none is on it.

    A point inside a solid block gives 0. Every cell that the line crosses is looked at, however long it is.
    """
    cx, cy, cz = math.floor(x), math.floor(y), math.floor(z)
    if _SOLID[get_block(blocks, cx, cy, cz)]:
        return 0.0
    step_x, step_y, step_z = (1 if dx > 0 else -1), (1 if dy > 0 else -1), (1 if dz > 0 else -1)
    delta_x = abs(1.0 / dx) if dx != 0.0 else 1e30
    delta_y = abs(1.0 / dy) if dy != 0.0 else 1e30
    delta_z = abs(1.0 / dz) if dz != 0.0 else 1e30
    next_x = (cx + 1 - x if dx > 0 else x - cx) * delta_x if dx != 0.0 else 1e30
    next_y = (cy + 1 - y if dy > 0 else y - cy) * delta_y if dy != 0.0 else 1e30
    next_z = (cz + 1 - z if dz > 0 else z - cz) * delta_z if dz != 0.0 else 1e30
    while True:
        if next_x < next_y and next_x < next_z:
            at, cx, next_x = next_x, cx + step_x, next_x + delta_x
        elif next_y < next_z:
            at, cy, next_y = next_y, cy + step_y, next_y + delta_y
        else:
            at, cz, next_z = next_z, cz + step_z, next_z + delta_z
        if at > 1.0:
            return 2.0
        if _SOLID[get_block(blocks, cx, cy, cz)]:
            return at


@njit(cache=True, nogil=True)
def ray_enters_box(ox, oy, oz, dx, dy, dz, x, y, z, half, height, reach):
    """Where a ray enters the box x±half, y..y+height, z±half: in lengths of its direction (dx, dy, dz), so in blocks if
    that is 1; -1 if not within ``reach``. From inside the box it is 0."""
    near, far = 0.0, reach
    for axis in range(3):
        if axis == 0:
            o, d, low, high = ox, dx, x - half, x + half
        elif axis == 1:
            o, d, low, high = oy, dy, y, y + height
        else:
            o, d, low, high = oz, dz, z - half, z + half
        if abs(d) < 1e-9:
            if o < low or o > high:
                return -1.0
            continue
        a, b = (low - o) / d, (high - o) / d
        near = max(near, min(a, b))
        far = min(far, max(a, b))
    return near if near <= far else -1.0


@njit(cache=True, nogil=True)
def bell(rng):
    """A random number with mean 0 and deviation 1: twelve uniform ones summed, so that no logarithm is needed."""
    total = -6.0
    for _ in range(12):
        total += uniform(rng)
    return total


@njit(cache=True, nogil=True)
def _slab_is_free(blocks, axis, q, a0, a1, b0, b1):
    """Whether the cells of one layer, at ``q`` along ``axis``, are free in the ranges a0..a1 and b0..b1.

    The ranges run over x, y, z in this order, leaving out ``axis``.
    """
    for a in range(a0, a1 + 1):
        for b in range(b0, b1 + 1):
            if axis == 0:
                block = get_block(blocks, q, a, b)
            elif axis == 1:
                block = get_block(blocks, a, q, b)
            else:
                block = get_block(blocks, a, b, q)
            if _SOLID[block]:
                return False
    return True


@njit(cache=True, nogil=True)
def clip_move(blocks, x, y, z, half, height, axis, distance):
    """How far a box can move along an axis until it touches a solid block.

    Args:
        blocks: uint8[X, Z, Y].
        x, y, z: middle of the box's bottom.
        half, height: half its width, and its height.
        axis: 0 x, 1 y, 2 z.
        distance: wanted movement, in blocks.

    Returns:
        The possible movement: ``distance`` itself, or nearer to zero.
    """
    if distance == 0.0:
        return 0.0
    x0, x1 = math.floor(x - half + _EDGE), math.floor(x + half - _EDGE)
    y0, y1 = math.floor(y + _EDGE), math.floor(y + height - _EDGE)
    z0, z1 = math.floor(z - half + _EDGE), math.floor(z + half - _EDGE)
    if axis == 0:
        low, high, a0, a1, b0, b1 = x - half, x + half, y0, y1, z0, z1
    elif axis == 1:
        low, high, a0, a1, b0, b1 = y, y + height, x0, x1, z0, z1
    else:
        low, high, a0, a1, b0, b1 = z - half, z + half, x0, x1, y0, y1
    if distance > 0.0:
        for q in range(math.floor(high - _EDGE) + 1, math.floor(high + distance) + 1):
            if not _slab_is_free(blocks, axis, q, a0, a1, b0, b1):
                return max(0.0, q - high)
    else:
        for q in range(math.floor(low + _EDGE) - 1, math.floor(low + distance) - 1, -1):
            if not _slab_is_free(blocks, axis, q, a0, a1, b0, b1):
                return min(0.0, q + 1 - low)
    return distance

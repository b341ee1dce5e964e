"""One ray through the world, walked from column to column.

A ray steps through columns in two dimensions only. In each column it computes the range of heights it passes, and one
shift and one AND on the column's 64-bit mask say whether anything is there. That makes empty space cost about two
nanoseconds per block of distance, whatever the ray's slope (after Amanatides and Woo, "A Fast Voxel Traversal
Algorithm", 1987, with the third dimension folded into the mask).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit, uint32, uint64

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.blocks import block_id
from minestudio_nb.simulator.textures import FACES, LEVEL_START, TEXELS, TILE_TEXELS

F: Final = np.float32
ZERO, ONE, HALF, TWO = F(0), F(1), F(0.5), F(2)
FAR_AWAY: Final = F(1e9)
_ALL: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_BIT: Final = np.uint64(1)
WATER: Final = block_id("water")
PORTAL: Final = block_id("nether_portal")
CROSS: Final = table.CROSS
_LEVEL_START: Final = np.array(LEVEL_START, np.int64)
_TORCH_TILE: Final = int(FACES[block_id("torch") * 4])

# What a ray met; the sides and top and bottom agree with the order of FACES.
HIT_SIDE_X: Final = 0
HIT_TOP: Final = 1
HIT_SIDE_Z: Final = 2
HIT_BOTTOM: Final = 3
HIT_PLANT: Final = 4

# Blocks that one sees through, tinted: the share of their own colour at the surface, 0 for all others.
VEIL: Final = np.zeros(256, np.float32)
VEIL[WATER] = 0.56
VEIL[block_id("ice")] = 0.6
VEIL[PORTAL] = 0.62
NO_VEIL: Final = -1
WATER_HEIGHT: Final = F(8.0 / 9.0)
"""How high water stands in a cell with no water above (Minecraft: a source block)."""

FAST: Final = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}
# Within the loop over pixels a call costs more than most bodies: numba passes an array as seven arguments, and counts
# references to it. The functions below the loop own no array, so they are compiled without the counting (numba's option
# "_nrt"), which takes a fifth off a frame; and they are inlined.
BORROWING: Final = {**FAST, "_nrt": False}
INLINE: Final = {**BORROWING, "forceinline": True}


@njit(**INLINE)
def texel_at(tile, level, u, v):
    """The packed texel of a tile at u, v in 0..1 (v downwards), at a level of detail."""
    column = min(max(np.int64(u * F(16)), 0), 15) >> level
    row = min(max(np.int64(v * F(16)), 0), 15) >> level
    return TEXELS[uint64(tile * TILE_TEXELS + _LEVEL_START[uint64(level)] + (row << (4 - level)) + column)]


@njit(**INLINE)
def level_of(texels_per_pixel):
    """The level of detail at which a pixel covers about one texel."""
    return (
        np.int64(texels_per_pixel > F(1.5))
        + np.int64(texels_per_pixel > F(3.0))
        + np.int64(texels_per_pixel > F(6.0))
        + np.int64(texels_per_pixel > F(12.0))
    )


@njit(**BORROWING)
def _post(lx, ly, lz, dx, dy, dz, tile):
    """Meet a torch, a post of 2x2x11 texels: (distance or -1, texel). The origin is relative to the block's corner."""
    low, high, tall = F(7.0 / 16.0), F(9.0 / 16.0), F(11.0 / 16.0)
    ax, bx = (low - lx) / dx, (high - lx) / dx
    ay, by = -ly / dy, (tall - ly) / dy
    az, bz = (low - lz) / dz, (high - lz) / dz
    near_x, near_y, near_z = min(ax, bx), min(ay, by), min(az, bz)
    near = max(near_x, max(near_y, near_z))
    if near > min(max(ax, bx), min(max(ay, by), max(az, bz))) or near <= F(0.02):
        return F(-1), uint32(0)
    u, v, w = lx + dx * near, ly + dy * near, lz + dz * near
    if near == near_y:  # the flame's top shows the two rows below the tip
        return near, texel_at(tile, 0, u, w - F(2.0 / 16.0))
    return near, texel_at(tile, 0, w if near == near_x else u, ONE - v)


@njit(**BORROWING)
def _plant(ox, oy, oz, dx, dy, dz, x, y, z, tile, pixel, begun):
    """Meet the two crossed planes of a plant: (distance or -1, texel)."""
    best = FAR_AWAY
    texel = uint32(0)
    lx, ly, lz = ox - F(x), oy - F(y), oz - F(z)
    if tile == _TORCH_TILE:
        return _post(lx, ly, lz, dx, dy, dz, tile)
    for plane in range(2):
        # Plane 0 holds the points with x = z, plane 1 those with x + z = 1.
        down = dx - dz if plane == 0 else dx + dz
        if abs(down) < F(1e-6):
            continue
        t = (lz - lx) / down if plane == 0 else (ONE - lx - lz) / down
        u, v = lx + dx * t, ly + dy * t
        if t > F(0.02) and t < best and u >= ZERO and u < ONE and v >= ZERO and v < ONE:
            # Thin blades are lost in the smaller levels, or fat; the first two do.
            found = texel_at(tile, np.int64((t + begun) * pixel > F(2.5)), u, ONE - v)
            if found >= uint32(0x80000000):
                best, texel = t, found
    return (best if texel else F(-1)), texel


@njit(**BORROWING)
def _covered(blocks, base, y, height):
    """Whether there is water above water in a column that starts at ``base``."""
    return y + 1 < height and blocks[base + uint64(y + 1)] == WATER


@njit(**INLINE)
def march(blocks, masks, size_x, size_z, height, ox, oy, oz, dx, dy, dz, limit, pixel, in_water, palette, begun):
    """Walk one ray to the first texel that is not transparent.

    Args:
        blocks, masks: the world, flattened.
        ox, oz: origin, shifted into [size, 2 * size), so that truncation rounds down.
        oy: origin, at or above 0 and at or below the highest block's top (else the caller moves the origin).
        dx, dy, dz: direction, not normalised and without zeros; distances come out in its length.
        limit: where the ray leaves the fog or the slab of heights that holds blocks.
        pixel: texels per distance that a pixel spans.
        in_water: whether the origin is under water; then the water's surface is not noticed.
        palette: where the biome's faces start in ``FACES``.
        begun: how far from the eye the origin is.

    Returns:
        Distance (``limit`` without a hit), hit (``HIT_*``), texel (0 without a hit), x, y, z of the block,
        u, v on its face, the distance at which something was entered that one sees through (``FAR_AWAY``: nothing), and
        which face that was, as block * 4 + hit (-1: none).
    """
    mask_x, mask_z = size_x - 1, size_z - 1
    step_x = 1 if dx > ZERO else -1
    step_z = 1 if dz > ZERO else -1
    up = dy > ZERO
    step_y = 1 if up else -1
    inv_x, inv_y, inv_z = ONE / dx, ONE / dy, ONE / dz
    delta_x, delta_z = abs(inv_x), abs(inv_z)
    x, y_in, z = np.int64(ox), np.int64(oy), np.int64(oz)
    next_x = (F(x + (1 if dx > ZERO else 0)) - ox) * inv_x
    next_z = (F(z + (1 if dz > ZERO else 0)) - oz) * inv_z
    keep = ~(_BIT << uint64(y_in))  # the cell that holds the eye is not looked at
    in_first = True
    t, side, wet, veil = ZERO, HIT_SIDE_X, FAR_AWAY, NO_VEIL
    while t < limit:
        along_x = next_x < next_z
        t_out = next_x if along_x else next_z
        y_out = np.int64(max(oy + dy * min(t_out, limit), ZERO))
        column = uint64((x & mask_x) * size_z + (z & mask_z))
        low = min(y_in, y_out)
        span = (_BIT << _BIT << uint64(max(y_in, y_out) - low)) - _BIT
        mask = masks[column] & keep
        if (mask >> uint64(low)) & span:
            if (y_out - y_in) * step_y < 0:  # rounding put the end on the wrong side
                y_out = y_in
            base = column * uint64(height)
            y = y_in
            while True:
                if (mask >> uint64(y)) & _BIT:
                    block = np.int64(blocks[base + uint64(y)])
                    if y == y_in and not in_first:
                        t_hit, hit = t, side
                    else:
                        t_hit = (F(y if up else y + 1) - oy) * inv_y
                        hit = HIT_BOTTOM if up else HIT_TOP
                    if VEIL[block] > ZERO:
                        if veil < 0 and not (in_water and block == WATER):
                            if block == WATER and hit != HIT_BOTTOM and not _covered(blocks, base, y, height):
                                # Open water does not fill its cell: the ray may pass above it, or enter by the top.
                                level = F(y) + WATER_HEIGHT
                                if hit == HIT_TOP or oy + dy * t_hit > level:
                                    t_hit, hit = (level - oy) * inv_y, HIT_TOP
                                    if up or t_hit > t_out:
                                        hit = -1
                            if hit >= 0:
                                wet, veil = t_hit, block * 4 + hit
                    elif CROSS[block]:
                        tile = FACES[uint64(palette + block * 4)]
                        t_plant, texel = _plant(ox, oy, oz, dx, dy, dz, x, y, z, tile, pixel, begun)
                        if t_plant > ZERO and t_plant < limit:
                            return t_plant, HIT_PLANT, texel, x, y, z, ZERO, ZERO, wet, veil
                    else:
                        hx, hy, hz = ox + dx * t_hit, oy + dy * t_hit, oz + dz * t_hit
                        if hit == HIT_SIDE_X:
                            u, v, facing = hz - F(z), ONE - (hy - F(y)), abs(dx)
                        elif hit == HIT_SIDE_Z:
                            u, v, facing = hx - F(x), ONE - (hy - F(y)), abs(dz)
                        else:
                            u, v, facing = hx - F(x), hz - F(z), abs(dy)
                        level = level_of((t_hit + begun) * pixel / (F(0.35) + F(0.65) * facing))
                        texel = texel_at(FACES[uint64(palette + block * 4 + hit)], level, u, v)
                        if texel >= uint32(0x80000000):
                            return t_hit, hit, texel, x, y, z, u, v, wet, veil
                if y == y_out:
                    break
                y += step_y
        keep = _ALL
        in_first = False
        t = t_out
        y_in = y_out
        # Selections rather than branches: which axis comes next cannot be predicted.
        x += step_x if along_x else 0
        z += 0 if along_x else step_z
        next_x += delta_x if along_x else ZERO
        next_z += ZERO if along_x else delta_z
        side = HIT_SIDE_X if along_x else HIT_SIDE_Z
    return limit, -1, uint32(0), 0, 0, 0, ZERO, ZERO, wet, veil

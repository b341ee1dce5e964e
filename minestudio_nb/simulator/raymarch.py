"""The picture of the world without mobs: one ray per pixel, walked from column to column.

A ray steps through columns in two dimensions only. In each column it computes the range of heights it passes, and one
shift and one AND on the column's 64-bit mask say whether anything is there. That makes empty space cost about two
nanoseconds per block of distance, whatever the ray's slope (after Amanatides and Woo, "A Fast Voxel Traversal
Algorithm", 1987, with the third dimension folded into the mask).

Arithmetic is float32 with fastmath: pixels repeat exactly on one machine and build, and differ by rounding elsewhere.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit, uint32, uint64

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator import packets
from minestudio_nb.simulator.blocks import block_id
from minestudio_nb.simulator.clearance import BANDS, MOST_SLABS
from minestudio_nb.simulator.icons import crack_stages
from minestudio_nb.simulator.lamplight import glow_at
from minestudio_nb.simulator.packets import (
    BLUE,
    DEPTH,
    EMPTY,
    GREEN,
    HARD,
    INVERSE,
    PLAIN_BLOCK,
    PLAIN_GLOWING,
    RED,
    SAFE,
)
from minestudio_nb.simulator.textures import FACES, LEVEL_START, TEXELS, TILE_TEXELS

F: Final = np.float32
ZERO, ONE, HALF, TWO = F(0), F(1), F(0.5), F(2)
FAR_AWAY: Final = F(1e9)
_TINY: Final = F(1e-9)
_ALL: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_BIT: Final = np.uint64(1)
_WATER: Final = block_id("water")
_PORTAL: Final = block_id("nether_portal")
_CROSS: Final = table.CROSS
_GLOWS: Final = table.LIGHT > 7
_LEVEL_START: Final = np.array(LEVEL_START, np.int64)
_TORCH_TILE: Final = int(FACES[block_id("torch") * 4])
_CRACKS: Final = crack_stages()

# What a ray met; the sides and top and bottom agree with the order of FACES.
HIT_SIDE_X: Final = 0
HIT_TOP: Final = 1
HIT_SIDE_Z: Final = 2
HIT_BOTTOM: Final = 3
HIT_PLANT: Final = 4

# Blocks that one sees through, tinted: the share of their own colour at the surface, 0 for all others.
_VEIL: Final = np.zeros(256, np.float32)
_VEIL[_WATER] = 0.56
_VEIL[block_id("ice")] = 0.6
_VEIL[_PORTAL] = 0.62
_NO_VEIL: Final = -1
_PLAIN: Final = np.where(_GLOWS, PLAIN_GLOWING, PLAIN_BLOCK).astype(np.uint8) * (~_CROSS & (_VEIL == 0))
_NOT_PLAIN: Final = np.zeros_like(_PLAIN)
_PIXELS_PER_WEDGE: Final = 4
WATER_HEIGHT: Final = F(8.0 / 9.0)
"""How high water stands in a cell with no water above (Minecraft: a source block)."""

# Light that a face gets for its direction, as in Minecraft.
_FACE_LIGHT: Final = np.array([0.6, 1.0, 0.8, 0.5, 0.95], np.float32)

# view: float32[VIEW_FIELDS], the camera. Vectors have three fields from the given one.
VIEW_X: Final = 0
VIEW_Y: Final = 1
VIEW_Z: Final = 2
VIEW_FORWARD: Final = 3
VIEW_RIGHT: Final = 6
VIEW_UP: Final = 9
VIEW_TAN_V: Final = 12  # tangent of half the vertical angle of view
VIEW_TAN_H: Final = 13
VIEW_FIELDS: Final = 14

# env: float32[ENV_FIELDS], light and sky. Colours are 0 to 255 and have three fields from the given one.
ENV_HORIZON: Final = 0
ENV_ZENITH: Final = 3
ENV_LIGHT: Final = 6  # of an open face, 0 to 1
ENV_SUN_X: Final = 7  # direction to the sun, which moves in the plane of x (east) and y
ENV_SUN_Y: Final = 8
ENV_GLOW: Final = 9  # of the sky around a low sun, 0 to 1
ENV_CLEAR: Final = 10  # 1 in a clear sky, 0 in rain
ENV_DRIFT: Final = 11  # of the clouds, in cells of their map
ENV_CLOUD: Final = 12  # brightness of the clouds, 0 to 255
ENV_FAR: Final = 13  # how far one sees, in blocks
ENV_FOG: Final = 14  # where haze begins
ENV_FOG_SLOPE: Final = 15  # 1 / the length over which it becomes full
ENV_STARS: Final = 16  # brightness of the stars, 0 to 1
ENV_RIPPLE: Final = 17  # how far the water's surface has drifted, in blocks
ENV_PALETTE: Final = 18  # where the faces in the biome's colours start in FACES
ENV_LAMPS: Final = 19  # 1: lamps shine near the eye
ENV_FIELDS: Final = 20

# aim: int64[AIM_FIELDS], the targeted block.
AIM_COLUMN: Final = 0  # x * Z + z of its reduced coordinates, -1 for none
AIM_Y: Final = 1
AIM_CRACK: Final = 2  # stage of breaking, 0 to 9, -1 for none
AIM_OUTLINE: Final = 3  # whether to draw its outline
AIM_FIELDS: Final = 4

CLOUD_HEIGHT: Final = F(92.0)
_CLOUD_CELL: Final = F(1.0 / 10.0)
_CLOUD_SIZE: Final = 64
_CLOUD_SHIFT: Final = F(_CLOUD_SIZE * 64)


def _clouds() -> np.ndarray:
    """A wrapping map of clouds, uint8[64, 64]: smooth noise above a threshold."""
    rng = np.random.default_rng(12)
    noise = np.zeros((_CLOUD_SIZE, _CLOUD_SIZE))
    for scale, weight in ((8, 1.0), (4, 0.7), (2, 0.35)):
        coarse = rng.random((_CLOUD_SIZE // scale, _CLOUD_SIZE // scale))
        fine = coarse.repeat(scale, 0).repeat(scale, 1)
        for axis in (0, 1):
            fine = (np.roll(fine, scale // 2, axis) + fine) / 2
        noise += weight * fine
    return (noise > np.quantile(noise, 0.72)).astype(np.uint8)


_CLOUDS: Final = _clouds()
_STAR_CELLS: Final = F(30)  # half of those along the side of the cube
_SEAS: Final = np.uint64(0x00_18_3C_0C_40_66_20_00)
_FAST: Final = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}
# Within the loop over pixels a call costs more than most bodies: numba passes an array as seven arguments, and counts
# references to it. The functions below the loop own no array, so they are compiled without the counting (numba's option
# "_nrt"), which takes a fifth off a frame; and they are inlined.
BORROWING: Final = {**_FAST, "_nrt": False}
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
    return y + 1 < height and blocks[base + uint64(y + 1)] == _WATER


@njit(**INLINE)
def _march(blocks, masks, size_x, size_z, height, ox, oy, oz, dx, dy, dz, limit, pixel, in_water, palette, begun):
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
    t, side, wet, veil = ZERO, HIT_SIDE_X, FAR_AWAY, _NO_VEIL
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
                    if _VEIL[block] > ZERO:
                        if veil < 0 and not (in_water and block == _WATER):
                            if block == _WATER and hit != HIT_BOTTOM and not _covered(blocks, base, y, height):
                                # Open water does not fill its cell: the ray may pass above it, or enter by the top.
                                level = F(y) + WATER_HEIGHT
                                if hit == HIT_TOP or oy + dy * t_hit > level:
                                    t_hit, hit = (level - oy) * inv_y, HIT_TOP
                                    if up or t_hit > t_out:
                                        hit = -1
                            if hit >= 0:
                                wet, veil = t_hit, block * 4 + hit
                    elif _CROSS[block]:
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


@njit(**INLINE)
def cover_light(tops, size_x, size_z, x, y, z):
    """Light at an open cell: 1 under the sky, less the deeper below the highest block of its column."""
    depth = F(tops[uint64((x & (size_x - 1)) * size_z + (z & (size_z - 1)))] - y)
    return max(F(0.88) - F(0.03) * depth, F(0.17)) if depth >= ZERO else ONE


@njit(**INLINE)
def _glow(r, g, b, dx, low, env):
    """A colour of the sky with the glow of a low sun, where ``dx`` looks east and ``low`` is 1 at the horizon."""
    share = max(dx * env[ENV_SUN_X], ZERO) * low * env[ENV_GLOW]
    return r + (F(236) - r) * share, g + (F(120) - g) * share, b + (F(52) - b) * share


@njit(**BORROWING)
def _moon(u, v):
    """Brightness of a point of the moon's face, -1 to 1 each way: darker seas on an 8x8 pattern."""
    column, row = np.int64((u + ONE) * F(3.999)), np.int64((v + ONE) * F(3.999))
    return F(0.8) if (_SEAS >> uint64(8 * row + column)) & _BIT else ONE


@njit(**BORROWING)
def _star(a, b, c):
    """Brightness of a star in a direction, 0 to 1; the axes turn with the sun.

    The sky is a cube whose sides are cut into cells; about one cell in twenty holds a star, a small square.
    """
    size_a, size_b, size_c = abs(a), abs(b), abs(c)
    if size_a >= size_b and size_a >= size_c:
        u, v, side = b / size_a, c / size_a, np.int64(a > ZERO)
    elif size_b >= size_c:
        u, v, side = a / size_b, c / size_b, 2 + np.int64(b > ZERO)
    else:
        u, v, side = a / size_c, b / size_c, 4 + np.int64(c > ZERO)
    u, v = (u + ONE) * _STAR_CELLS, (v + ONE) * _STAR_CELLS
    column, row = np.int64(u), np.int64(v)
    mixed = (uint32(side * 4096 + row * 64 + column) * uint32(2654435761)) ^ uint32(0x5BD1E995)
    mixed = (mixed ^ (mixed >> uint32(15))) * uint32(2246822519)
    mixed ^= mixed >> uint32(13)
    if mixed & uint32(15):
        return ZERO
    middle_u = F(0.2) + F((mixed >> uint32(5)) & uint32(63)) * F(0.0095)
    middle_v = F(0.2) + F((mixed >> uint32(11)) & uint32(63)) * F(0.0095)
    bright = F(0.3) + F((mixed >> uint32(17)) & uint32(127)) * F(0.0055)
    half = F(0.05) + F(0.08) * bright
    return bright if max(abs(u - F(column) - middle_u), abs(v - F(row) - middle_v)) < half else ZERO


@njit(**INLINE)
def _sky(oy, ox, oz, dx, dy, dz, env):
    """The colour of the sky in a direction: gradient, glow of the low sun, sun, moon and clouds."""
    inv = ONE / F(math.sqrt(dx * dx + dy * dy + dz * dz))
    dx, dy, dz = dx * inv, dy * inv, dz * inv
    high = min(max(dy * F(2.2), ZERO), ONE)
    r = env[ENV_HORIZON] + (env[ENV_ZENITH] - env[ENV_HORIZON]) * high
    g = env[ENV_HORIZON + 1] + (env[ENV_ZENITH + 1] - env[ENV_HORIZON + 1]) * high
    b = env[ENV_HORIZON + 2] + (env[ENV_ZENITH + 2] - env[ENV_HORIZON + 2]) * high
    toward = dx * env[ENV_SUN_X] + dy * env[ENV_SUN_Y]
    if env[ENV_GLOW] > ZERO:
        r, g, b = _glow(r, g, b, dx, ONE - high, env)
    across = dx * env[ENV_SUN_Y] - dy * env[ENV_SUN_X]
    size = F(0.085) if toward > ZERO else F(0.06)
    extent = max(abs(across), abs(dz)) / max(abs(toward), F(1e-3))
    clear = env[ENV_CLEAR]
    if extent < size:
        if toward > ZERO:
            r, g, b = F(255), F(252), F(224)
        else:
            white = _moon(across / (toward * size), dz / (toward * size))
            r, g, b = F(214) * white, F(222) * white, F(236) * white
    elif toward > ZERO and extent < F(0.3):
        halo = (ONE - extent / F(0.3)) * F(0.35) * clear
        r, g, b = r + (F(255) - r) * halo, g + (F(250) - g) * halo, b + (F(220) - b) * halo
    elif env[ENV_STARS] > ZERO:
        white = F(235) * env[ENV_STARS] * _star(toward, across, dz)
        r, g, b = max(r, white), max(g, white), max(b, white)
    if dy > F(0.03):
        away = (CLOUD_HEIGHT - oy) / dy
        if away > ZERO and away < F(420):
            # Shifted by whole maps to be positive, where truncation is floor: that is a call to the C library.
            cx = np.int64((ox + dx * away) * _CLOUD_CELL + env[ENV_DRIFT] + _CLOUD_SHIFT) & (_CLOUD_SIZE - 1)
            cz = np.int64((oz + dz * away) * _CLOUD_CELL + _CLOUD_SHIFT) & (_CLOUD_SIZE - 1)
            if _CLOUDS[uint64(cx), uint64(cz)]:
                white = F(0.82) * (ONE - away / F(420))
                bright = env[ENV_CLOUD]
                r, g, b = r + (bright - r) * white, g + (bright - g) * white, b + (bright - b) * white
    return r, g, b


@njit(**BORROWING)
def _mark_target(r, g, b, u, v, t, crack, outline, pixel):
    """Draw the cracks and the outline of the block that the player aims at."""
    if crack >= 0 and _CRACKS[crack, uint64(min(v * F(16), F(15))), uint64(min(u * F(16), F(15)))]:
        r, g, b = r * F(0.42), g * F(0.42), b * F(0.42)
    if outline:
        edge = max(F(0.012), F(0.07) * t * pixel)
        if u < edge or u > ONE - edge or v < edge or v > ONE - edge:
            r, g, b = r * F(0.3), g * F(0.3), b * F(0.3)
    return r, g, b


@njit(**INLINE)
def _face_light(tops, size_x, size_z, hit, x, y, z, dx, dy, dz):
    """Light on a hit: direction of the face, and cover overhead."""
    if hit == HIT_PLANT:
        return _FACE_LIGHT[HIT_PLANT] * cover_light(tops, size_x, size_z, x, y, z)
    if hit == HIT_SIDE_X:
        x += -1 if dx > ZERO else 1
    elif hit == HIT_SIDE_Z:
        z += -1 if dz > ZERO else 1
    else:
        y += -1 if dy > ZERO else 1
    return _FACE_LIGHT[uint64(hit)] * cover_light(tops, size_x, size_z, x, y, z)


@njit(**BORROWING)
def _add_lamplight(r, g, b, texel, glow, hit, x, y, z, dx, dy, dz):
    """A hit's colour in the light of lamps, where that is the brighter. x and z are counted from the eye's column."""
    if hit == HIT_SIDE_X:
        x += -1 if dx > ZERO else 1
    elif hit == HIT_SIDE_Z:
        z += -1 if dz > ZERO else 1
    elif hit != HIT_PLANT:
        y += -1 if dy > ZERO else 1
    light = glow_at(glow, x, y, z) * _FACE_LIGHT[uint64(hit)]
    return (
        max(r, F(texel & uint32(255)) * light),
        max(g, F((texel >> uint32(8)) & uint32(255)) * light * F(0.9)),
        max(b, F((texel >> uint32(16)) & uint32(255)) * light * F(0.72)),
    )


@njit(**BORROWING)
def _under_water(r, g, b, path, env):
    """Blend towards the colour of water over a path through it."""
    share = min(F(0.45) + path * F(0.045), F(0.94))
    return (
        r + (F(22) * env[ENV_LIGHT] - r) * share,
        g + (F(52) * env[ENV_LIGHT] - g) * share,
        b + (F(140) * env[ENV_LIGHT] - b) * share,
    )


@njit(**BORROWING)
def _lay_veil(r, g, b, ox, oy, oz, dx, dy, dz, wet, veil, t, pixel, palette, env):
    """Lay what one sees through, met at ``wet`` on the face ``veil``, over a colour that lies at ``t``."""
    hx, hy, hz = ox + dx * wet, oy + dy * wet, oz + dz * wet
    block, hit = veil >> 2, veil & 3
    if block == _WATER:
        hx += env[ENV_RIPPLE]
    u, v = (hz if hit == HIT_SIDE_X else hx), (hz if hit & 1 else F(1024) - hy)  # 1: top and bottom
    level = level_of(wet * pixel * F(1.8))
    texel = texel_at(FACES[uint64(palette + veil)], level, u - F(np.int64(u)), v - F(np.int64(v)))
    share = _VEIL[block]
    light = env[ENV_LIGHT]
    if block == _PORTAL:
        light = ONE
    else:
        share = min(share + (t - wet) * F(0.045), F(0.93))
    return (
        r + (F(texel & uint32(255)) * light - r) * share,
        g + (F((texel >> uint32(8)) & uint32(255)) * light - g) * share,
        b + (F((texel >> uint32(16)) & uint32(255)) * light - b) * share,
    )


@njit(**INLINE)
def _pixel(
    blocks, masks, tops, size_x, size_z, height, top, ox, oy, oz, dx, dy, dz, pixel, in_water, surface, palette,
    lamps, glow, env, aim, start,
):  # fmt: skip
    """Colour and distance of one ray, which meets nothing up to ``start``."""
    far = env[ENV_FAR]
    dx = dx if abs(dx) > _TINY else _TINY
    dy = dy if abs(dy) > _TINY else _TINY
    dz = dz if abs(dz) > _TINY else _TINY
    if oy > top:  # above everything: only rays that go down meet the slab of blocks
        start = (top - oy) / dy if dy < ZERO else FAR_AWAY
    limit = ((top if dy > ZERO else ZERO) - oy) / dy - start
    hit, wet, veil, t = -1, FAR_AWAY, _NO_VEIL, far
    if start < far:
        t, hit, texel, x, y, z, u, v, wet, veil = _march(
            blocks, masks, size_x, size_z, height,
            ox + dx * start, oy + dy * start, oz + dz * start, dx, dy, dz,
            min(limit, far - start), pixel, in_water, palette, start,
        )  # fmt: skip
        t += start
        wet += start
    if hit < 0:
        r, g, b = _sky(oy, ox, oz, dx, dy, dz, env)
        t = far
    else:
        column = (x & (size_x - 1)) * size_z + (z & (size_z - 1))
        light = env[ENV_LIGHT] * _face_light(tops, size_x, size_z, hit, x, y, z, dx, dy, dz)
        if _GLOWS[blocks[uint64(column * height + y)]]:
            light = ONE
        light = max(light, F(0.04))
        r = F(texel & uint32(255)) * light
        g = F((texel >> uint32(8)) & uint32(255)) * light
        b = F((texel >> uint32(16)) & uint32(255)) * light
        if lamps:
            r, g, b = _add_lamplight(r, g, b, texel, glow, hit, x - np.int64(ox), y, z - np.int64(oz), dx, dy, dz)
        if column == aim[AIM_COLUMN] and y == aim[AIM_Y] and hit != HIT_PLANT:
            r, g, b = _mark_target(r, g, b, u, v, t, aim[AIM_CRACK], aim[AIM_OUTLINE], pixel)
    if wet < t:
        r, g, b = _lay_veil(r, g, b, ox, oy, oz, dx, dy, dz, wet, veil, t, pixel, palette, env)
    haze = (min(wet, t) - env[ENV_FOG]) * env[ENV_FOG_SLOPE]
    if haze > ZERO and (hit >= 0 or wet < t):
        haze = min(haze, ONE)
        far_r, far_g, far_b = env[ENV_HORIZON], env[ENV_HORIZON + 1], env[ENV_HORIZON + 2]
        if env[ENV_GLOW] > ZERO:  # haze has the colour of the sky behind it
            far_r, far_g, far_b = _glow(far_r, far_g, far_b, dx / F(math.sqrt(dx * dx + dy * dy + dz * dz)), ONE, env)
        r += (far_r - r) * haze
        g += (far_g - g) * haze
        b += (far_b - b) * haze
    if in_water:
        path = (surface - oy) / dy if dy > ZERO else FAR_AWAY
        if path < t:  # the surface, from below
            veil = _WATER * 4 + HIT_BOTTOM
            r, g, b = _lay_veil(r, g, b, ox, oy, oz, dx, dy, dz, path, veil, path, pixel, palette, env)
        r, g, b = _under_water(r, g, b, min(path, t), env)
    return r, g, b, t


@njit(**BORROWING)
def _haze_piece(p, row_x, row_y, row_z, right_x, right_z, env, floats):
    """Blend the colours of a piece's faces towards the horizon's over the distance."""
    near, slope = env[ENV_FOG], env[ENV_FOG_SLOPE]
    for i in range(packets.whole(p.count)):
        haze = min(max((floats[DEPTH + i] - near) * slope, ZERO), ONE)
        floats[RED + i] += (env[ENV_HORIZON] - floats[RED + i]) * haze
        floats[GREEN + i] += (env[ENV_HORIZON + 1] - floats[GREEN + i]) * haze
        floats[BLUE + i] += (env[ENV_HORIZON + 2] - floats[BLUE + i]) * haze
    if env[ENV_GLOW] <= ZERO:
        return
    for i in range(p.count):
        haze = min(max((floats[DEPTH + i] - near) * slope, ZERO), ONE)
        u = (F(2 * (p.first + i) + 1) / F(p.columns) - ONE) * p.tan_h
        dx, dz = row_x + right_x * u, row_z + right_z * u
        east = dx / F(math.sqrt(dx * dx + row_y * row_y + dz * dz))
        r, g, b = _glow(env[ENV_HORIZON], env[ENV_HORIZON + 1], env[ENV_HORIZON + 2], east, ONE, env)
        floats[RED + i] += (r - env[ENV_HORIZON]) * haze
        floats[GREEN + i] += (g - env[ENV_HORIZON + 1]) * haze
        floats[BLUE + i] += (b - env[ENV_HORIZON + 2]) * haze


@njit(**BORROWING)
def _draw_slab(p, count, blocks, masks, tops, height, bound, pixel, plain, env, aim, floats, cells):
    """Draw the easy ones of some rays in their slabs; lists the others, see ``packets.load_texels``."""
    packets.enter(p, count, bound, env[ENV_FAR], floats, cells)
    packets.load_masks(p, count, masks, cells)
    packets.meet(p, count, floats, cells)
    packets.load_blocks(p, count, blocks, height, np.int64(env[ENV_PALETTE]), plain, cells)
    packets.find_texels(p, count, pixel, floats, cells)
    hard, empty = packets.load_texels(p, count, tops, aim[AIM_COLUMN], aim[AIM_Y], cells)
    packets.shade(p, count, _FACE_LIGHT, env[ENV_LIGHT], floats, cells)
    return hard, empty


@njit(**BORROWING)
def _draw_easy(
    p, blocks, masks, tops, size_x, size_z, height, top, ox, oz, pixel, row_x, row_y, row_z, right_x, right_z,
    plain, env, aim, slabs, wedges, ready, clear, floats, cells, later_floats, later_cells,
):  # fmt: skip
    """Draw the easy pixels of a piece.

    Returns:
        How many of the others are listed in HARD, and how many in EMPTY.
    """
    bound = top if p.dy > ZERO else ZERO
    packets.aim(p, p.count, wedges, floats, cells)
    packets.skip_clear(p, p.count, masks, size_x, size_z, ox, oz, top, slabs, wedges, ready, clear, cells)
    hard, empty = _draw_slab(p, p.count, blocks, masks, tops, height, bound, pixel, plain, env, aim, floats, cells)
    hard, moved = packets.move_on(p, hard, floats, cells, later_floats, later_cells)
    if moved > 0:
        packets.skip_empty(p, moved, masks, later_floats, later_cells)
        _draw_slab(p, moved, blocks, masks, tops, height, bound, pixel, plain, env, aim, later_floats, later_cells)
        hard, empty = packets.move_back(p, moved, hard, empty, floats, cells, later_floats, later_cells)
    _haze_piece(p, row_x, row_y, row_z, right_x, right_z, env, floats)
    return hard, empty


@njit(**INLINE)
def _keep(i, r, g, b, t, floats):
    """Note colour and depth of a pixel of the piece."""
    floats[uint64(RED + i)], floats[uint64(GREEN + i)], floats[uint64(BLUE + i)] = r, g, b
    floats[uint64(DEPTH + i)] = t


@njit(**BORROWING)
def _store(p, j, floats, out, depth):
    """Write a piece into the frame."""
    for i in range(p.count):
        k = p.first + i
        out[j, k, 0] = np.uint8(min(floats[RED + i], F(255)))
        out[j, k, 1] = np.uint8(min(floats[GREEN + i], F(255)))
        out[j, k, 2] = np.uint8(min(floats[BLUE + i], F(255)))
        depth[j, k] = floats[DEPTH + i]


@njit(**BORROWING)
def _draw_rows(
    blocks, masks, tops, size_x, size_z, height, top, ox, oy, oz, pixel, in_water, surface, glow, view, env, aim,
    out, depth, slabs, wedges, ready, clear, floats, cells, later_floats, later_cells,
):  # fmt: skip
    """The loop over the pixels of ``draw_world``."""
    rows, columns = out.shape[0], out.shape[1]
    tan_v, tan_h = view[VIEW_TAN_V], view[VIEW_TAN_H]
    right_x, right_z = view[VIEW_RIGHT], view[VIEW_RIGHT + 2]
    palette, lamps = np.int64(env[ENV_PALETTE]), env[ENV_LAMPS] > ZERO
    plain = _NOT_PLAIN if lamps else _PLAIN  # the light of lamps is left to the walk
    for j in range(rows):
        v = (ONE - F(2 * j + 1) / F(rows)) * tan_v
        row_x = view[VIEW_FORWARD] + view[VIEW_UP] * v
        row_y = view[VIEW_FORWARD + 1] + view[VIEW_UP + 1] * v
        row_z = view[VIEW_FORWARD + 2] + view[VIEW_UP + 2] * v
        first = 0
        while first < columns:
            p = packets.next_piece(
                first, columns, tan_h, row_x, row_y, row_z, right_x, right_z, ox, oy, oz, size_x, size_z
            )
            if in_water or oy > top:
                hard, empty = packets.walk_all(p, floats, cells)
            else:
                hard, empty = _draw_easy(
                    p, blocks, masks, tops, size_x, size_z, height, top, ox, oz, pixel, row_x, row_y, row_z, right_x,
                    right_z, plain, env, aim, slabs, wedges, ready, clear, floats, cells, later_floats, later_cells,
                )  # fmt: skip
            for k in range(empty):
                i = cells[EMPTY + k]
                u = (F(2 * (first + i) + 1) / F(columns) - ONE) * tan_h
                r, g, b = _sky(oy, ox, oz, row_x + right_x * u, row_y, row_z + right_z * u, env)
                _keep(i, r, g, b, env[ENV_FAR], floats)
            for k in range(hard):
                i = cells[HARD + k]
                u = (F(2 * (first + i) + 1) / F(columns) - ONE) * tan_h
                r, g, b, t = _pixel(
                    blocks, masks, tops, size_x, size_z, height, top, ox, oy, oz,
                    row_x + right_x * u, row_y, row_z + right_z * u, pixel, in_water, surface, palette,
                    lamps, glow, env, aim, floats[uint64(SAFE + i)] * floats[uint64(INVERSE + i)],
                )  # fmt: skip
                _keep(i, r, g, b, t, floats)
            _store(p, j, floats, out, depth)
            first += p.count


@njit(**_FAST)
def draw_world(blocks, masks, tops, glow, view, env, aim, out, depth):
    """Draw the world as seen by ``view`` into every pixel of ``out``.

    Args:
        blocks: uint8[X, Z, Y]; masks: uint64[X, Z]; tops: int32[X, Z].
        glow: uint8[...], the light of lamps, see ``lamplight.spread_light``; read if ``env[ENV_LAMPS]``.
        view: float32[VIEW_FIELDS], see ``set_view``.
        env: float32[ENV_FIELDS], light and sky.
        aim: int64[AIM_FIELDS], the targeted block and what to draw on it.
        out: uint8[H, W, 3], written.
        depth: float32[H, W], written: distance along the view axis, in blocks.
    """
    size_x, size_z, height = blocks.shape
    # A plant may stand on the highest block. Below the bound, rounding never makes a height of 64.
    top = min(F(tops.max() + 2), F(height) - F(0.01))
    ox = view[VIEW_X] - F(math.floor(view[VIEW_X] / F(size_x)) * size_x) + F(size_x)
    oz = view[VIEW_Z] - F(math.floor(view[VIEW_Z] / F(size_z)) * size_z) + F(size_z)
    oy = max(view[VIEW_Y], F(0.01))
    in_water, surface = eye_in_water(blocks, view)
    slabs = _slabs_in_sight(view, env[ENV_FAR])
    wedges = min(max(out.shape[1] // _PIXELS_PER_WEDGE, 8), 128)
    _draw_rows(
        blocks.reshape(-1), masks.reshape(-1), tops.reshape(-1), size_x, size_z, height, top,
        ox + F(slabs // size_x * size_x), oy, oz + F(slabs // size_z * size_z),
        TWO * view[VIEW_TAN_V] / F(out.shape[0]) * F(16), in_water, surface, glow, view, env, aim, out, depth,
        slabs, wedges, np.zeros(4 * wedges, np.uint8), np.empty(4 * wedges * BANDS, np.uint8),
        np.empty(packets.FLOATS, np.float32), np.empty(packets.CELLS, np.int64),
        np.empty(packets.FLOATS, np.float32), np.empty(packets.CELLS, np.int64),
    )  # fmt: skip


@njit(**_FAST)
def _slabs_in_sight(view, far):
    """How many slabs (see ``clearance``) the corners of the frame reach over."""
    reach = F(0)
    for corner in range(4):
        u = view[VIEW_TAN_H] if corner & 1 else -view[VIEW_TAN_H]
        v = view[VIEW_TAN_V] if corner & 2 else -view[VIEW_TAN_V]
        for axis in (0, 2):
            component = view[VIEW_FORWARD + axis] + view[VIEW_RIGHT + axis] * u + view[VIEW_UP + axis] * v
            reach = max(reach, abs(component))
    return min(np.int64(reach * far) + 2, MOST_SLABS)


@njit(**_FAST)
def eye_in_water(blocks, view):
    """Whether the eye is under water, and the height of the surface above it."""
    x = np.int64(math.floor(view[VIEW_X])) & (blocks.shape[0] - 1)
    z = np.int64(math.floor(view[VIEW_Z])) & (blocks.shape[1] - 1)
    y = np.int64(math.floor(view[VIEW_Y]))
    if y < 0 or y >= blocks.shape[2] or blocks[x, z, y] != _WATER:
        return False, ZERO
    while y < blocks.shape[2] and blocks[x, z, y] == _WATER:
        y += 1
    surface = F(y - 1) + WATER_HEIGHT
    return view[VIEW_Y] < surface, surface


@njit(**_FAST)
def set_view(x, y, z, yaw, pitch, tan_v, tan_h, view):
    """Fill ``view`` for an eye at x, y, z that looks along yaw and pitch (degrees, as Minecraft has them)."""
    sin_yaw, cos_yaw = math.sin(math.radians(yaw)), math.cos(math.radians(yaw))
    sin_pitch, cos_pitch = math.sin(math.radians(pitch)), math.cos(math.radians(pitch))
    view[VIEW_X], view[VIEW_Y], view[VIEW_Z] = x, y, z
    view[VIEW_FORWARD] = -sin_yaw * cos_pitch
    view[VIEW_FORWARD + 1] = -sin_pitch
    view[VIEW_FORWARD + 2] = cos_yaw * cos_pitch
    view[VIEW_RIGHT], view[VIEW_RIGHT + 1], view[VIEW_RIGHT + 2] = -cos_yaw, 0.0, -sin_yaw
    view[VIEW_UP] = -sin_yaw * sin_pitch
    view[VIEW_UP + 1] = cos_pitch
    view[VIEW_UP + 2] = cos_yaw * sin_pitch
    view[VIEW_TAN_V], view[VIEW_TAN_H] = tan_v, tan_h

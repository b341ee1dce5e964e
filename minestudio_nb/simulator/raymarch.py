"""The picture of the world without mobs: colours of what rays meet, row by row.

Most pixels are drawn together (``packets``), the others by walking their rays one by one (``walk``).

Arithmetic is float32 with fastmath: pixels repeat exactly on one machine and build, and differ by rounding elsewhere.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit, uint32, uint64

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator import packets
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
from minestudio_nb.simulator.sky import (
    ENV_FAR,
    ENV_FOG,
    ENV_FOG_SLOPE,
    ENV_GLOW,
    ENV_HORIZON,
    ENV_LAMPS,
    ENV_LIGHT,
    ENV_PALETTE,
    ENV_RIPPLE,
    add_glow,
    sky_colour,
)
from minestudio_nb.simulator.textures import FACES
from minestudio_nb.simulator.walk import (
    BORROWING,
    CROSS,
    FAR_AWAY,
    FAST,
    HIT_BOTTOM,
    HIT_PLANT,
    HIT_SIDE_X,
    HIT_SIDE_Z,
    INLINE,
    NO_VEIL,
    ONE,
    PORTAL,
    TWO,
    VEIL,
    WATER,
    WATER_HEIGHT,
    ZERO,
    F,
    level_of,
    march,
    texel_at,
)

_TINY: Final = F(1e-9)
_GLOWS: Final = table.LIGHT > 7
_CRACKS: Final = crack_stages()
_PLAIN: Final = np.where(_GLOWS, PLAIN_GLOWING, PLAIN_BLOCK).astype(np.uint8) * (~CROSS & (VEIL == 0))
_NOT_PLAIN: Final = np.zeros_like(_PLAIN)
_PIXELS_PER_WEDGE: Final = 4

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

# aim: int64[AIM_FIELDS], the targeted block.
AIM_COLUMN: Final = 0  # x * Z + z of its reduced coordinates, -1 for none
AIM_Y: Final = 1
AIM_CRACK: Final = 2  # stage of breaking, 0 to 9, -1 for none
AIM_OUTLINE: Final = 3  # whether to draw its outline
AIM_FIELDS: Final = 4


@njit(**INLINE)
def cover_light(tops, size_x, size_z, x, y, z):
    """Light at an open cell: 1 under the sky, less the deeper below the highest block of its column."""
    depth = F(tops[uint64((x & (size_x - 1)) * size_z + (z & (size_z - 1)))] - y)
    return max(F(0.88) - F(0.03) * depth, F(0.17)) if depth >= ZERO else ONE


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
    if block == WATER:
        hx += env[ENV_RIPPLE]
    u, v = (hz if hit == HIT_SIDE_X else hx), (hz if hit & 1 else F(1024) - hy)  # 1: top and bottom
    level = level_of(wet * pixel * F(1.8))
    texel = texel_at(FACES[uint64(palette + veil)], level, u - F(np.int64(u)), v - F(np.int64(v)))
    share = VEIL[block]
    light = env[ENV_LIGHT]
    if block == PORTAL:
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
    hit, wet, veil, t = -1, FAR_AWAY, NO_VEIL, far
    if start < far:
        t, hit, texel, x, y, z, u, v, wet, veil = march(
            blocks, masks, size_x, size_z, height,
            ox + dx * start, oy + dy * start, oz + dz * start, dx, dy, dz,
            min(limit, far - start), pixel, in_water, palette, start,
        )  # fmt: skip
        t += start
        wet += start
    if hit < 0:
        r, g, b = sky_colour(oy, ox, oz, dx, dy, dz, env)
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
            far_r, far_g, far_b = add_glow(
                far_r, far_g, far_b, dx / F(math.sqrt(dx * dx + dy * dy + dz * dz)), ONE, env
            )
        r += (far_r - r) * haze
        g += (far_g - g) * haze
        b += (far_b - b) * haze
    if in_water:
        path = (surface - oy) / dy if dy > ZERO else FAR_AWAY
        if path < t:  # the surface, from below
            veil = WATER * 4 + HIT_BOTTOM
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
        r, g, b = add_glow(env[ENV_HORIZON], env[ENV_HORIZON + 1], env[ENV_HORIZON + 2], east, ONE, env)
        floats[RED + i] += (r - env[ENV_HORIZON]) * haze
        floats[GREEN + i] += (g - env[ENV_HORIZON + 1]) * haze
        floats[BLUE + i] += (b - env[ENV_HORIZON + 2]) * haze


@njit(**BORROWING)
def _draw_slab(p, count, blocks, masks, tops, height, bound, pixel, plain, env, aim, floats, cells):
    """Draw the easy ones of some rays in their slabs; lists the others, see ``packets.load_texels``."""
    packets.enter(p, count, bound, env[ENV_FAR], floats, cells)
    packets.load_masks(count, masks, cells)
    packets.meet(p, count, floats, cells)
    packets.load_blocks(count, blocks, height, np.int64(env[ENV_PALETTE]), plain, cells)
    packets.find_texels(p, count, pixel, floats, cells)
    hard, empty = packets.load_texels(count, tops, aim[AIM_COLUMN], aim[AIM_Y], cells)
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
    hard, moved = packets.move_on(hard, floats, cells, later_floats, later_cells)
    if moved > 0:
        packets.skip_empty(p, moved, masks, later_floats, later_cells)
        _draw_slab(p, moved, blocks, masks, tops, height, bound, pixel, plain, env, aim, later_floats, later_cells)
        hard, empty = packets.move_back(moved, hard, empty, floats, cells, later_floats, later_cells)
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
                r, g, b = sky_colour(oy, ox, oz, row_x + right_x * u, row_y, row_z + right_z * u, env)
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


@njit(**FAST)
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


@njit(**FAST)
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


@njit(**FAST)
def eye_in_water(blocks, view):
    """Whether the eye is under water, and the height of the surface above it."""
    x = np.int64(math.floor(view[VIEW_X])) & (blocks.shape[0] - 1)
    z = np.int64(math.floor(view[VIEW_Z])) & (blocks.shape[1] - 1)
    y = np.int64(math.floor(view[VIEW_Y]))
    if y < 0 or y >= blocks.shape[2] or blocks[x, z, y] != WATER:
        return False, ZERO
    while y < blocks.shape[2] and blocks[x, z, y] == WATER:
        y += 1
    surface = F(y - 1) + WATER_HEIGHT
    return view[VIEW_Y] < surface, surface


@njit(**FAST)
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

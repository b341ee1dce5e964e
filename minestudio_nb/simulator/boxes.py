"""Textured boxes and sprites over the picture of the world: what mobs, items, arrows and the hand are made of.

Each box is drawn alone: its corners are projected, and every pixel of the rectangle around them meets the box in the
box's own frame, where its sides are parallel to the axes. Against the depth buffer the nearest wins.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit, uint32

from minestudio_nb.simulator.blocks import CROSS, FIRST_ITEM, block_id
from minestudio_nb.simulator.raymarch import VIEW_FORWARD, VIEW_RIGHT, VIEW_UP
from minestudio_nb.simulator.sky import ENV_FOG, ENV_FOG_SLOPE, ENV_HORIZON
from minestudio_nb.simulator.textures import FACES, FIRST_ITEM_TILE
from minestudio_nb.simulator.walk import BORROWING, FAR_AWAY, INLINE, ONE, TWO, ZERO, F, level_of, texel_at

_FAST: Final = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}
_NEAREST: Final = F(0.05)
_FLAT: Final = CROSS.copy()
_FLAT[block_id("nether_portal")] = True

# frame: float32[FRAME_FIELDS], how the camera looks in the box's own coordinates: the origin, and the vectors forward,
# right and up; three fields each.
FRAME_ORIGIN: Final = 0
FRAME_FORWARD: Final = 3
FRAME_RIGHT: Final = 6
FRAME_UP: Final = 9
FRAME_FIELDS: Final = 12

# box: float32[BOX_FIELDS].
BOX_LOW: Final = 0
BOX_HIGH: Final = 3
BOX_LIGHT: Final = 6
BOX_RED: Final = 7  # share of red laid over it: something that was just hit
BOX_FIELDS: Final = 8


@njit(**BORROWING)
def screen_range(box, frame, tan_v, tan_h, rows, columns):
    """The rectangle of pixels (top, bottom, left, right) that a box can cover; empty when it is behind the camera."""
    left, right, low, high = FAR_AWAY, -FAR_AWAY, FAR_AWAY, -FAR_AWAY
    behind = 0
    for corner in range(8):
        x = box[BOX_LOW + (3 if corner & 1 else 0)] - frame[0]
        y = box[BOX_LOW + 1 + (3 if corner & 2 else 0)] - frame[1]
        z = box[BOX_LOW + 2 + (3 if corner & 4 else 0)] - frame[2]
        away = x * frame[3] + y * frame[4] + z * frame[5]
        if away < _NEAREST:
            behind += 1
            continue
        u = (x * frame[6] + y * frame[7] + z * frame[8]) / (away * tan_h)
        v = (x * frame[9] + y * frame[10] + z * frame[11]) / (away * tan_v)
        left, right = min(left, u), max(right, u)
        low, high = min(low, v), max(high, v)
    if behind == 8:
        return 0, 0, 0, 0
    if behind:
        return 0, rows, 0, columns
    first_row = max(np.int64((ONE - high) * F(0.5) * F(rows)), 0) if high < ONE else 0
    last_row = min(np.int64((ONE - low) * F(0.5) * F(rows)) + 1, rows) if low > -ONE else rows
    first_column = max(np.int64((left + ONE) * F(0.5) * F(columns)), 0) if left > -ONE else 0
    last_column = min(np.int64((right + ONE) * F(0.5) * F(columns)) + 1, columns) if right < ONE else columns
    if high < -ONE or low > ONE or right < -ONE or left > ONE:
        return 0, 0, 0, 0
    return first_row, last_row, first_column, last_column


@njit(**INLINE)
def _meet(box, frame, dx, dy, dz):
    """Where a ray enters a box: (distance or -1, axis 0 to 2 of the entered side)."""
    near, far, axis = -FAR_AWAY, FAR_AWAY, 0
    for k in range(3):
        d = dx if k == 0 else (dy if k == 1 else dz)
        if abs(d) < F(1e-7):
            d = F(1e-7)
        inv = ONE / d
        a, b = (box[BOX_LOW + k] - frame[k]) * inv, (box[BOX_HIGH + k] - frame[k]) * inv
        first, last = min(a, b), max(a, b)
        if first > near:
            near, axis = first, k
        far = min(far, last)
    return (near if near <= far and near > _NEAREST else F(-1)), axis


@njit(**INLINE)
def _box_texel(box, tiles, axis, px, py, pz, dx, dy, dz, texels_per_pixel):
    """The texel and the light of the direction, for a point on a side of a box. Each side shows a whole texture."""
    u = (px - box[0]) / (box[3] - box[0])
    v = ONE - (py - box[1]) / (box[4] - box[1])
    w = (pz - box[2]) / (box[5] - box[2])
    if axis < 2 and tiles[axis] < 0:
        return uint32(0), ZERO
    if axis == 0:
        return texel_at(tiles[0], level_of(texels_per_pixel / (box[4] - box[1])), w, v), F(0.7)
    if axis == 1:
        return texel_at(tiles[1], level_of(texels_per_pixel / (box[3] - box[0])), u, w), ONE if dy < ZERO else F(0.5)
    side = tiles[2] if dz < ZERO else tiles[3]
    return texel_at(side, level_of(texels_per_pixel / (box[4] - box[1])), u, v), F(0.85)


@njit(**INLINE)
def _put(out, j, i, texel, shade, t, box, env):
    """Set a pixel to a texel in the light of a box, red if it was hit, and in the haze of its distance."""
    shade *= box[BOX_LIGHT]
    haze = min(max((t - env[ENV_FOG]) * env[ENV_FOG_SLOPE], ZERO), ONE)
    for k in range(3):
        value = F((texel >> uint32(8 * k)) & uint32(255)) * shade
        value += ((F(200) if k == 0 else F(30)) - value) * box[BOX_RED]
        value += (env[ENV_HORIZON + k] - value) * haze
        out[j, i, k] = np.uint8(min(value, F(255)))


@njit(**BORROWING)
def draw_box(box, tiles, frame, env, tan_v, tan_h, out, depth):
    """Draw one box where it is nearer than ``depth``, and update ``depth``.

    Args:
        box: float32[BOX_FIELDS].
        tiles: int32[4]: of the sides (x), top and bottom, front (high z), back; negative: not drawn.
        frame: float32[FRAME_FIELDS].
        env: float32[ENV_FIELDS], for the haze.
        tan_v, tan_h: tangents of half the angles of view.
        out: uint8[H, W, 3]; depth: float32[H, W].
    """
    rows, columns = out.shape[0], out.shape[1]
    first_row, last_row, first_column, last_column = screen_range(box, frame, tan_v, tan_h, rows, columns)
    pixel = TWO * tan_v / F(rows) * F(16)
    for j in range(first_row, last_row):
        v = (ONE - F(2 * j + 1) / F(rows)) * tan_v
        for i in range(first_column, last_column):
            u = (F(2 * i + 1) / F(columns) - ONE) * tan_h
            dx = frame[3] + frame[6] * u + frame[9] * v
            dy = frame[4] + frame[7] * u + frame[10] * v
            dz = frame[5] + frame[8] * u + frame[11] * v
            t, axis = _meet(box, frame, dx, dy, dz)
            if t < ZERO or t >= depth[j, i]:
                continue
            texel, shade = _box_texel(
                box, tiles, axis, frame[0] + dx * t, frame[1] + dy * t, frame[2] + dz * t, dx, dy, dz, t * pixel
            )
            if texel < uint32(0x80000000):
                continue
            _put(out, j, i, texel, shade, t, box, env)
            depth[j, i] = t


@njit(**_FAST)
def turn(frame, pivot_y, pivot_z, angle):
    """Turn a frame about the x axis through a pivot, so that a box drawn in it appears turned by ``angle``."""
    c, s = F(math.cos(angle)), F(math.sin(angle))
    for k in (0, 3, 6, 9):
        y, z = frame[k + 1], frame[k + 2]
        if k == 0:
            y, z = y - pivot_y, z - pivot_z
        frame[k + 1], frame[k + 2] = y * c + z * s, z * c - y * s
        if k == 0:
            frame[1], frame[2] = frame[1] + pivot_y, frame[2] + pivot_z


@njit(**_FAST)
def stand(view, x, y, z, yaw, frame):
    """Fill ``frame`` for a body whose ground point lies x, y, z from the camera and that faces ``yaw`` (degrees)."""
    c, s = F(math.cos(math.radians(yaw))), F(math.sin(math.radians(yaw)))
    for k in range(4):
        if k == 0:
            wx, wy, wz = -x, -y, -z
        else:
            field = (0, VIEW_FORWARD, VIEW_RIGHT, VIEW_UP)[k]
            wx, wy, wz = view[field], view[field + 1], view[field + 2]
        frame[3 * k], frame[3 * k + 1], frame[3 * k + 2] = wx * c + wz * s, wy, wz * c - wx * s


@njit(**_FAST)
def cube_tiles(item, tiles):
    """Fill ``tiles`` for an item that is shown as a cube, and tell whether it is (else see ``sprite_tile``)."""
    if item >= FIRST_ITEM or _FLAT[item]:
        return False
    tiles[0], tiles[1] = FACES[item * 4], FACES[item * 4 + 1]
    tiles[2], tiles[3] = FACES[item * 4 + 2], FACES[item * 4 + 2]
    return True


@njit(**_FAST)
def sprite_tile(item):
    """The tile of an item that is shown as its icon."""
    return FACES[item * 4] if item < FIRST_ITEM else FIRST_ITEM_TILE + item - FIRST_ITEM


@njit(**INLINE)
def _walk_sprite(box, frame, tile, dx, dy, dz, t, axis):
    """Where a ray that enters a sprite's box at ``t`` meets an opaque texel: (distance or -1, axis, texel).

    The box is cut into 16x16 columns, one for each texel, and the ray is walked through them.
    """
    wide, high = box[3] - box[0], box[4] - box[1]
    # In texels, with rows counted downwards.
    x, y = (frame[0] + dx * t - box[0]) / wide * F(16), (box[4] - frame[1] - dy * t) / high * F(16)
    dx, dy = dx / wide * F(16), -dy / high * F(16)
    dx = dx if abs(dx) > F(1e-7) else F(1e-7)
    dy = dy if abs(dy) > F(1e-7) else F(1e-7)
    column, row = min(max(np.int64(x), 0), 15), min(max(np.int64(y), 0), 15)
    step_x, step_y = 1 if dx > ZERO else -1, 1 if dy > ZERO else -1
    next_x = t + (F(column + (1 if dx > ZERO else 0)) - x) / dx
    next_y = t + (F(row + (1 if dy > ZERO else 0)) - y) / dy
    first, last = (box[2] - frame[2]) / dz, (box[5] - frame[2]) / dz
    leave = max(first, last)
    while True:
        texel = texel_at(tile, 0, (F(column) + F(0.5)) * F(0.0625), (F(row) + F(0.5)) * F(0.0625))
        if texel >= uint32(0x80000000):
            return t, axis, texel
        t = min(next_x, next_y)
        if t > leave:
            return F(-1), axis, texel
        if next_x < next_y:
            column, next_x, axis = column + step_x, next_x + abs(ONE / dx), 0
        else:
            row, next_y, axis = row + step_y, next_y + abs(ONE / dy), 1
        if column < 0 or column > 15 or row < 0 or row > 15:
            return F(-1), axis, texel


@njit(**BORROWING)
def draw_plate(box, tile, frame, env, tan_v, tan_h, out, depth):
    """As ``draw_sprite``, but without thickness, in the plane z = 0: for frames too small to show it."""
    rows, columns = out.shape[0], out.shape[1]
    first_row, last_row, first_column, last_column = screen_range(box, frame, tan_v, tan_h, rows, columns)
    pixel = TWO * tan_v / F(rows) * F(16) / (box[4] - box[1])
    step = TWO * tan_h / F(columns)
    over_x, over_y = ONE / (box[3] - box[0]), ONE / (box[4] - box[1])
    for j in range(first_row, last_row):
        v = (ONE - F(2 * j + 1) / F(rows)) * tan_v
        row_x = frame[3] + frame[9] * v - frame[6] * tan_h
        row_y = frame[4] + frame[10] * v - frame[7] * tan_h
        row_z = frame[5] + frame[11] * v - frame[8] * tan_h
        for i in range(first_column, last_column):
            u = (F(i) + F(0.5)) * step
            t = -frame[2] / (row_z + frame[8] * u)
            x = (frame[0] + (row_x + frame[6] * u) * t - box[0]) * over_x
            y = (box[4] - frame[1] - (row_y + frame[7] * u) * t) * over_y
            if not (t > _NEAREST and t < depth[j, i] and x >= ZERO and x < ONE and y >= ZERO and y < ONE):
                continue
            texel = texel_at(tile, level_of(t * pixel), x, y)
            if texel >= uint32(0x80000000):
                _put(out, j, i, texel, F(0.85), t, box, env)
                depth[j, i] = t


@njit(**BORROWING)
def draw_sprite(box, tile, frame, env, tan_v, tan_h, out, depth):
    """Draw a texture as a thing with a thickness, as Minecraft draws items: each opaque texel is a small box.

    Args:
        box: float32[BOX_FIELDS]; the texture stands in its x and y, and is as thick as the box in z.
        tile: of the texture.
        frame, env, tan_v, tan_h, out, depth: as for ``draw_box``.
    """
    rows, columns = out.shape[0], out.shape[1]
    first_row, last_row, first_column, last_column = screen_range(box, frame, tan_v, tan_h, rows, columns)
    for j in range(first_row, last_row):
        v = (ONE - F(2 * j + 1) / F(rows)) * tan_v
        for i in range(first_column, last_column):
            u = (F(2 * i + 1) / F(columns) - ONE) * tan_h
            dx = frame[3] + frame[6] * u + frame[9] * v
            dy = frame[4] + frame[7] * u + frame[10] * v
            dz = frame[5] + frame[8] * u + frame[11] * v
            dz = dz if abs(dz) > F(1e-7) else F(1e-7)
            t, axis = _meet(box, frame, dx, dy, dz)
            if t < ZERO or t >= depth[j, i]:
                continue
            t, axis, texel = _walk_sprite(box, frame, tile, dx, dy, dz, t, axis)
            if t < ZERO or t >= depth[j, i]:
                continue
            shade = ONE if axis == 2 else (F(0.72) if axis == 0 else (F(0.9) if dy < ZERO else F(0.55)))
            _put(out, j, i, texel, shade, t, box, env)
            depth[j, i] = t

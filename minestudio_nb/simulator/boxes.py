"""Textured boxes over the picture of the world: the parts of mobs, items that lie about, and the hand.

Each box is drawn alone: its corners are projected, and every pixel of the rectangle around them meets the box in the
box's own frame, where its sides are parallel to the axes. Against the depth buffer the nearest wins.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit, uint32

from minestudio_nb.simulator.blocks import CROSS, FIRST_ITEM
from minestudio_nb.simulator.models import (
    KIND_ITEM,
    MODEL_START,
    MOVE_HEAD,
    MOVE_LEG,
    MOVE_STILL,
    PART_SHAPES,
    PART_TILES,
)
from minestudio_nb.simulator.raymarch import (
    BORROWING,
    ENV_FAR,
    ENV_FOG,
    ENV_FOG_SLOPE,
    ENV_HORIZON,
    ENV_LIGHT,
    FAR_AWAY,
    INLINE,
    ONE,
    TWO,
    VIEW_FORWARD,
    VIEW_RIGHT,
    VIEW_TAN_H,
    VIEW_TAN_V,
    VIEW_UP,
    VIEW_X,
    VIEW_Y,
    VIEW_Z,
    ZERO,
    F,
    cover_light,
    level_of,
    texel_at,
)
from minestudio_nb.simulator.textures import FACES, FIRST_ITEM_TILE, tile

_FAST: Final = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}
_NEAREST: Final = F(0.05)
_SKIN: Final = tile("skin")
_SLEEVE: Final = tile("sleeve")
_KINDS: Final = len(MODEL_START) - 1

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
def _screen_range(box, frame, tan_v, tan_h, rows, columns):
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
    first_row, last_row, first_column, last_column = _screen_range(box, frame, tan_v, tan_h, rows, columns)
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
            shade *= box[BOX_LIGHT]
            haze = min(max((t - env[ENV_FOG]) * env[ENV_FOG_SLOPE], ZERO), ONE)
            for k in range(3):
                value = F((texel >> uint32(8 * k)) & uint32(255)) * shade
                value += ((F(200) if k == 0 else F(30)) - value) * box[BOX_RED]
                value += (env[ENV_HORIZON + k] - value) * haze
                out[j, i, k] = np.uint8(min(value, F(255)))
            depth[j, i] = t


@njit(**_FAST)
def _turn(frame, pivot_y, pivot_z, angle):
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
def _stand(view, x, y, z, yaw, frame):
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
def item_tiles(item, tiles):
    """Fill ``tiles`` for an item, and tell whether it is a cube (else it is flat)."""
    if item < FIRST_ITEM:
        tiles[0], tiles[1] = FACES[item * 4], FACES[item * 4 + 1]
        tiles[2], tiles[3] = FACES[item * 4 + 2], FACES[item * 4 + 2]
        if CROSS[item]:
            tiles[:2] = -1
        return not CROSS[item]
    tiles[:2] = -1
    tiles[2:] = FIRST_ITEM_TILE + item - FIRST_ITEM
    return False


@njit(**_FAST)
def _draw_model(kind, mob, view, env, x, y, z, frame, box, out, depth):
    """Draw the parts of one mob that stands x, y, z from the camera."""
    turned = np.empty(FRAME_FIELDS, np.float32)
    _stand(view, x, y, z, mob[4], frame)
    for part in range(MODEL_START[kind], MODEL_START[kind + 1]):
        shape = PART_SHAPES[part]
        box[:6] = shape[:6]
        turned[:] = frame
        move = int(shape[8])
        if move != MOVE_STILL:
            if move == MOVE_HEAD:
                angle = math.radians(mob[11])
            else:
                speed = min(math.hypot(mob[7], mob[9]) * 8.0, 0.8)
                angle = math.sin(mob[10]) * speed * (1.0 if move == MOVE_LEG else -1.0)
            _turn(turned, shape[6], shape[7], angle)
        draw_box(box, PART_TILES[part], turned, env, view[VIEW_TAN_V], view[VIEW_TAN_H], out, depth)


@njit(**_FAST)
def _draw_item(item, mob, view, env, x, y, z, frame, box, out, depth):
    """Draw an item that lies about: a small cube, or its icon upright; it turns with its yaw."""
    tiles = np.empty(4, np.int32)
    cube = item_tiles(item, tiles)
    half, thick, low, high = (0.125, 0.125, 0.1, 0.35) if cube else (0.22, 0.015, 0.05, 0.49)
    box[0], box[1], box[2], box[3], box[4], box[5] = -half, low, -thick, half, high, thick
    _stand(view, x, y, z, mob[4], frame)
    draw_box(box, tiles, frame, env, view[VIEW_TAN_V], view[VIEW_TAN_H], out, depth)


@njit(**_FAST)
def draw_mobs(tops, mobs, view, env, out, depth):
    """Draw mobs and lying items over the world.

    Args:
        tops: int32[X, Z], for the light where they stand.
        mobs: float[E, 12]: kind (-1: none; ``KIND_ITEM + item``: a lying item), x, y, z, yaw in degrees, health,
            ticks of the red flash, vx, vy, vz, phase of the limbs in radians, pitch of the head in degrees.
        view, env: the camera and the light.
        out: uint8[H, W, 3]; depth: float32[H, W]; both are written.
    """
    size_x, size_z = tops.shape
    flat_tops = tops.reshape(-1)
    frame, box = np.empty(FRAME_FIELDS, np.float32), np.zeros(BOX_FIELDS, np.float32)
    for row in range(mobs.shape[0]):
        mob = mobs[row]
        kind = int(mob[0])
        if kind < 0:
            continue
        x, y, z = mob[1] - view[VIEW_X], mob[2] - view[VIEW_Y], mob[3] - view[VIEW_Z]
        x -= size_x * math.floor(x / size_x + 0.5)
        z -= size_z * math.floor(z / size_z + 0.5)
        away = x * view[VIEW_FORWARD] + y * view[VIEW_FORWARD + 1] + z * view[VIEW_FORWARD + 2]
        if away < -2.5 or away > env[ENV_FAR]:
            continue
        cell_x, cell_z = math.floor(mob[1]), math.floor(mob[3])
        light = cover_light(flat_tops, size_x, size_z, cell_x, math.floor(mob[2] + 0.5), cell_z)
        box[BOX_LIGHT] = max(light * env[ENV_LIGHT], F(0.04))
        box[BOX_RED] = F(0.45) if mob[6] > 0 else ZERO
        if kind >= KIND_ITEM:
            _draw_item(kind - KIND_ITEM, mob, view, env, x, y, z, frame, box, out, depth)
        elif kind < _KINDS:
            _draw_model(kind, mob, view, env, x, y, z, frame, box, out, depth)


@njit(**_FAST)
def _hold(frame, x, y, z, yaw, pitch, roll):
    """Fill ``frame`` for a thing held before the camera: at x (right), y (up), z (forward), turned about its middle."""
    cy, sy = F(math.cos(yaw)), F(math.sin(yaw))
    cp, sp = F(math.cos(pitch)), F(math.sin(pitch))
    cr, sr = F(math.cos(roll)), F(math.sin(roll))
    for k in range(4):
        if k == 0:
            a, b, c = F(-x), F(-y), F(-z)
        else:
            a, b, c = F(k == 2), F(k == 3), F(k == 1)
        a, c = a * cy - c * sy, a * sy + c * cy
        b, c = b * cp - c * sp, b * sp + c * cp
        a, b = a * cr - b * sr, a * sr + b * cr
        frame[3 * k], frame[3 * k + 1], frame[3 * k + 2] = a, b, c


@njit(**_FAST)
def draw_hand(item, swing, light, tan_v, tan_h, env, out, depth):
    """Draw the right hand or what it holds. ``depth`` is used up: the caller needs it no more.

    Args:
        item: id of the held item, 0 for the bare arm.
        swing: 0 at rest, else the progress of the swing up to 1.
        light: of the cell where the head is, 0 to 1.
    """
    frame, box = np.empty(FRAME_FIELDS, np.float32), np.zeros(BOX_FIELDS, np.float32)
    tiles = np.empty(4, np.int32)
    box[BOX_LIGHT] = light
    rows, columns = out.shape[0], out.shape[1]
    depth[rows // 3 :, columns // 3 :] = FAR_AWAY
    # Minecraft's swing: forward and inward along sines of the progress and of its root.
    arc, root = math.sin(swing * math.pi), math.sin(math.sqrt(swing) * math.pi)
    if item == 0:
        _hold(frame, 0.62 - 0.3 * root, -0.62 + 0.2 * arc, 0.95, 0.45 - 0.5 * root, 0.62 + 0.35 * arc, 0.0)
        box[0], box[1], box[2], box[3], box[4], box[5] = -0.125, -0.125, -0.6, 0.125, 0.125, 0.35
        tiles[:] = _SKIN
        draw_box(box, tiles, frame, env, tan_v, tan_h, out, depth)
        return
    if item_tiles(item, tiles):
        _hold(frame, 0.72 - 0.35 * root, -0.62 + 0.15 * arc, 1.15, 0.8 + 0.3 * root, -0.12 + 0.7 * arc, 0.0)
        box[0], box[1], box[2], box[3], box[4], box[5] = -0.2, -0.2, -0.2, 0.2, 0.2, 0.2
    else:
        # The icon stands away from the viewer, its handle towards the hand.
        _hold(frame, 0.68 - 0.3 * root, -0.33 + 0.12 * arc, 0.9, -1.9, -0.35 * arc, -0.35 + 1.2 * root)
        box[0], box[1], box[2], box[3], box[4], box[5] = -0.34, -0.34, -0.02, 0.34, 0.34, 0.02
    draw_box(box, tiles, frame, env, tan_v, tan_h, out, depth)

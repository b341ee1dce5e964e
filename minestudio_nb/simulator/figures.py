"""What moves in the world, drawn over its picture: mobs, items that lie about, arrows, and their shadows."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from minestudio_nb.simulator.blocks import SOLID
from minestudio_nb.simulator.boxes import (
    BOX_FIELDS,
    BOX_LIGHT,
    BOX_RED,
    FRAME_FIELDS,
    cube_tiles,
    draw_box,
    draw_plate,
    draw_sprite,
    screen_range,
    sprite_tile,
    stand,
    turn,
)
from minestudio_nb.simulator.lamplight import glow_at
from minestudio_nb.simulator.models import (
    MODEL_START,
    MOVE_HEAD,
    MOVE_LEG,
    MOVE_STILL,
    PART_SHAPES,
    PART_TILES,
    SHADOW_RADIUS,
)
from minestudio_nb.simulator.raymarch import VIEW_FORWARD, VIEW_TAN_H, VIEW_TAN_V, VIEW_X, VIEW_Y, VIEW_Z, cover_light
from minestudio_nb.simulator.sky import ENV_FAR, ENV_LAMPS, ENV_LIGHT
from minestudio_nb.simulator.state import (
    A_PITCH,
    A_STATE,
    A_X,
    A_Y,
    A_YAW,
    A_Z,
    ARROW_FREE,
    I_AGE,
    I_COUNT,
    I_ITEM,
    I_X,
    I_Y,
    I_Z,
    M_HEALTH,
    M_HURT,
    M_KIND,
    M_LIMB,
    M_PITCH,
    M_VX,
    M_VZ,
    M_X,
    M_Y,
    M_YAW,
    M_Z,
)
from minestudio_nb.simulator.textures import tile
from minestudio_nb.simulator.walk import BORROWING, ONE, ZERO, F

_FAST: Final = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}
_KINDS: Final = len(MODEL_START) - 1
_SOLID: Final = SOLID
_ARROW_TILES: Final = np.array([tile(f"arrow_{plane}") for plane in ("side", "top", "back")], np.int32)
_ITEM_SHADOW: Final = 0.15
_SHADOW_REACH: Final = 3
"""Blocks below the feet in which the ground is looked for that takes the shadow."""


@njit(**_FAST)
def _from_eye(size_x, size_z, view, x, y, z, env, place):
    """Fill ``place`` with the way from the eye to a point, the shorter way round the world; whether it may be seen."""
    place[0], place[1], place[2] = x - view[VIEW_X], y - view[VIEW_Y], z - view[VIEW_Z]
    place[0] -= size_x * math.floor(place[0] / size_x + 0.5)
    place[2] -= size_z * math.floor(place[2] / size_z + 0.5)
    away = place[0] * view[VIEW_FORWARD] + place[1] * view[VIEW_FORWARD + 1] + place[2] * view[VIEW_FORWARD + 2]
    return -2.5 < away < env[ENV_FAR]


@njit(**_FAST)
def _light_at(tops, x, y, z, view, env, glow, place):
    """The light on a thing at a point that lies ``place`` from the eye, 0 to 1."""
    cell_y = math.floor(y)
    cover = cover_light(tops.reshape(-1), tops.shape[0], tops.shape[1], math.floor(x), cell_y, math.floor(z))
    light = max(cover * env[ENV_LIGHT], F(0.04))
    if env[ENV_LAMPS] > ZERO:
        from_x = math.floor(view[VIEW_X] + place[0]) - math.floor(view[VIEW_X])
        from_z = math.floor(view[VIEW_Z] + place[2]) - math.floor(view[VIEW_Z])
        light = max(light, glow_at(glow, from_x, cell_y, from_z))
    return light


@njit(**_FAST)
def _ground_below(blocks, x, y, z):
    """The height of the ground below a point, or -1 where there is none within ``_SHADOW_REACH``."""
    xi, zi = math.floor(x) & (blocks.shape[0] - 1), math.floor(z) & (blocks.shape[1] - 1)
    top = math.floor(y + 0.01)
    for down in range(1, _SHADOW_REACH + 1):
        cell = top - down
        if 0 <= cell < blocks.shape[2] and _SOLID[blocks[xi, zi, cell]]:
            return cell + 1.0
    return -1.0


@njit(**BORROWING)
def _shade_disc(frame, box, radius, strength, tan_v, tan_h, out, depth):
    """Darken what the picture shows of a disc that lies in the plane y = 0 of ``frame``."""
    rows, columns = out.shape[0], out.shape[1]
    first_row, last_row, first_column, last_column = screen_range(box, frame, tan_v, tan_h, rows, columns)
    for j in range(first_row, last_row):
        v = (ONE - F(2 * j + 1) / F(rows)) * tan_v
        for i in range(first_column, last_column):
            u = (F(2 * i + 1) / F(columns) - ONE) * tan_h
            dy = frame[4] + frame[7] * u + frame[10] * v
            if dy >= ZERO:
                continue
            t = -frame[1] / dy
            if abs(t - depth[j, i]) > F(0.02) + F(0.01) * t:
                continue
            x = (frame[0] + (frame[3] + frame[6] * u + frame[9] * v) * t) / radius
            z = (frame[2] + (frame[5] + frame[8] * u + frame[11] * v) * t) / radius
            left = ONE - strength * max(ONE - x * x - z * z, ZERO)
            for k in range(3):
                out[j, i, k] = np.uint8(F(out[j, i, k]) * left)


@njit(**_FAST)
def _draw_shadow(blocks, x, y, z, place, radius, view, out, depth):
    """Draw the shadow of a thing at x, y, z, which lies ``place`` from the eye, on the ground below."""
    ground = _ground_below(blocks, x, y, z)
    if ground < 0.0:
        return
    frame, box = np.empty(FRAME_FIELDS, np.float32), np.zeros(BOX_FIELDS, np.float32)
    stand(view, place[0], place[1] + ground - y, place[2], 0.0, frame)
    box[0], box[1], box[2], box[3], box[4], box[5] = -radius, 0.0, -radius, radius, 0.01, radius
    strength = F(0.5 * (1.0 - (y - ground) / (_SHADOW_REACH + 1.0)))
    _shade_disc(frame, box, F(radius), strength, view[VIEW_TAN_V], view[VIEW_TAN_H], out, depth)


@njit(**_FAST)
def _draw_model(kind, mob, view, env, place, box, out, depth):
    """Draw the parts of one mob that stands ``place`` from the eye."""
    frame, turned = np.empty(FRAME_FIELDS, np.float32), np.empty(FRAME_FIELDS, np.float32)
    stand(view, place[0], place[1], place[2], mob[M_YAW], frame)
    swing = math.sin(mob[M_LIMB]) * min(math.hypot(mob[M_VX], mob[M_VZ]) * 8.0, 0.8)
    for part in range(MODEL_START[kind], MODEL_START[kind + 1]):
        shape = PART_SHAPES[part]
        box[:6] = shape[:6]
        turned[:] = frame
        move = int(shape[8])
        if move != MOVE_STILL:
            angle = math.radians(mob[M_PITCH]) if move == MOVE_HEAD else (swing if move == MOVE_LEG else -swing)
            turn(turned, shape[6], shape[7], angle)
        draw_box(box, PART_TILES[part], turned, env, view[VIEW_TAN_V], view[VIEW_TAN_H], out, depth)


@njit(**_FAST)
def draw_mobs(blocks, tops, glow, mobs, view, env, detailed, out, depth):
    """Draw mobs over the world.

    Args:
        blocks: uint8[X, Z, Y]; tops: int32[X, Z]; glow: of lamps: for shadows and for the light where they stand.
        mobs: float64[E, MOB_FIELDS], see ``state``; rows with kind -1 are free.
        view, env: the camera and the light.
        detailed: whether there are shadows.
        out: uint8[H, W, 3]; depth: float32[H, W]; both are written.
    """
    place, box = np.empty(3), np.zeros(BOX_FIELDS, np.float32)
    for row in range(mobs.shape[0]):
        mob = mobs[row]
        kind = int(mob[M_KIND])
        if kind < 0 or kind >= _KINDS:
            continue
        x, y, z = mob[M_X], mob[M_Y], mob[M_Z]
        if not _from_eye(blocks.shape[0], blocks.shape[1], view, x, y, z, env, place):
            continue
        if detailed:
            _draw_shadow(blocks, x, y, z, place, SHADOW_RADIUS[kind], view, out, depth)
        box[BOX_LIGHT] = _light_at(tops, x, y + 0.5, z, view, env, glow, place)
        box[BOX_RED] = F(0.45) if mob[M_HURT] > 0 or mob[M_HEALTH] <= 0.0 else ZERO
        _draw_model(kind, mob, view, env, place, box, out, depth)


@njit(**_FAST)
def _draw_item(item, view, env, x, y, z, yaw, detailed, box, out, depth):
    """Draw one item whose middle lies x, y, z from the eye: a small cube, or its icon upright."""
    frame, tiles = np.empty(FRAME_FIELDS, np.float32), np.full(4, -1, np.int32)
    stand(view, x, y, z, yaw, frame)
    cube = cube_tiles(item, tiles)
    half, thick = (0.125, 0.125) if cube else (0.25, 0.015625)
    box[0], box[1], box[2], box[3], box[4], box[5] = -half, -half, -thick, half, half, thick
    if cube:
        draw_box(box, tiles, frame, env, view[VIEW_TAN_V], view[VIEW_TAN_H], out, depth)
    elif detailed:
        draw_sprite(box, sprite_tile(item), frame, env, view[VIEW_TAN_V], view[VIEW_TAN_H], out, depth)
    else:
        draw_plate(box, sprite_tile(item), frame, env, view[VIEW_TAN_V], view[VIEW_TAN_H], out, depth)


@njit(**_FAST)
def draw_items(blocks, tops, glow, items, view, env, detailed, out, depth):
    """Draw the items that lie about: they turn and bob, and large stacks show up to five of them, as in Minecraft.

    Args:
        blocks, tops, glow: as for ``draw_mobs``.
        items: float64[N, ITEM_FIELDS], see ``state``; rows with item -1 are free.
        view, env: the camera and the light.
        detailed: whether there are shadows, copies, and icons with a thickness.
        out: uint8[H, W, 3]; depth: float32[H, W]; both are written.
    """
    place, box = np.empty(3), np.zeros(BOX_FIELDS, np.float32)
    for row in range(items.shape[0]):
        item = int(items[row, I_ITEM])
        if item <= 0:
            continue
        x, y, z = items[row, I_X], items[row, I_Y], items[row, I_Z]
        if not _from_eye(blocks.shape[0], blocks.shape[1], view, x, y, z, env, place):
            continue
        if detailed:
            _draw_shadow(blocks, x, y, z, place, _ITEM_SHADOW, view, out, depth)
        box[BOX_LIGHT] = _light_at(tops, x, y + 0.25, z, view, env, glow, place)
        phase = 2.1 * row
        high = 0.35 + 0.1 * math.sin(items[row, I_AGE] / 10.0 + phase)
        yaw = math.degrees(items[row, I_AGE] / 20.0 + phase)
        count, copies = items[row, I_COUNT], 1
        if detailed:
            copies = 1 + int(count > 1) + int(count > 16) + int(count > 32) + int(count > 48)
        for k in range(copies):
            off = 0.07 * k
            _draw_item(
                item, view, env, place[0] + off * math.sin(2.4 * k), place[1] + high + 0.4 * off,
                place[2] + off * math.cos(2.4 * k), yaw, detailed, box, out, depth,
            )  # fmt: skip


@njit(**_FAST)
def draw_arrows(tops, glow, arrows, view, env, out, depth):
    """Draw arrows that fly or stick: two crossed planes along the shaft, 0.9 blocks long, and one across.

    Args:
        tops, glow: as for ``draw_mobs``.
        arrows: float64[N, ARROW_FIELDS], see ``state``.
        view, env: the camera and the light.
        out: uint8[H, W, 3]; depth: float32[H, W]; both are written.
    """
    place, box = np.empty(3), np.zeros(BOX_FIELDS, np.float32)
    frame, tiles = np.empty(FRAME_FIELDS, np.float32), np.empty(4, np.int32)
    for row in range(arrows.shape[0]):
        if arrows[row, A_STATE] == ARROW_FREE:
            continue
        x, y, z = arrows[row, A_X], arrows[row, A_Y], arrows[row, A_Z]
        if not _from_eye(tops.shape[0], tops.shape[1], view, x, y, z, env, place):
            continue
        box[BOX_LIGHT] = _light_at(tops, x, y, z, view, env, glow, place)
        stand(view, place[0], place[1], place[2], arrows[row, A_YAW], frame)
        turn(frame, F(0.0), F(0.0), math.radians(arrows[row, A_PITCH]))
        for plane in range(3):
            tiles[:] = -1
            tiles[plane] = _ARROW_TILES[plane]
            tiles[3] = tiles[2]
            half_x, half_y = 0.001 if plane == 0 else 0.14, 0.001 if plane == 1 else 0.14
            box[0], box[1], box[2], box[3], box[4] = -half_x, -half_y, -0.675, half_x, half_y
            box[5] = 0.225 if plane < 2 else -0.673
            draw_box(box, tiles, frame, env, view[VIEW_TAN_V], view[VIEW_TAN_H], out, depth)

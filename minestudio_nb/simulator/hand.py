"""What the player holds, before the camera: the right hand, the off hand, drawing a bow, eating.

Places and movements are Minecraft 1.16's (``ItemInHandRenderer``, and "display" in its item models), in blocks and
degrees: the camera looks along -z, x is right, y up. The off hand is the right hand seen in a mirror.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from minestudio_nb.simulator.blocks import item_id
from minestudio_nb.simulator.boxes import (
    BOX_FIELDS,
    BOX_LIGHT,
    FRAME_FIELDS,
    cube_tiles,
    draw_box,
    draw_plate,
    draw_sprite,
    sprite_tile,
)
from minestudio_nb.simulator.textures import item_tile, tile
from minestudio_nb.simulator.walk import FAR_AWAY, F

_FAST: Final = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}
_SKIN: Final = tile("arm")
_BOW: Final = item_id("bow")
_PULLING: Final = np.array([item_tile(f"bow_pulling_{k}") for k in range(3)], np.int32)
FULL_DRAW_TICKS: Final = 20.0
"""A bow is fully drawn after this."""
EAT_TICKS: Final = 32.0

# pose: float32[4, 3], three rows of a rotation from the held thing to the camera, and a place.
_PLACE: Final = 3


@njit(**_FAST)
def _move(pose, x, y, z):
    """Move the thing along its own axes."""
    for k in range(3):
        pose[_PLACE, k] += pose[k, 0] * x + pose[k, 1] * y + pose[k, 2] * z


@njit(**_FAST)
def _rotate(pose, axis, degrees):
    """Turn the thing about one of its own axes, 0 to 2 for x to z."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    c, s = F(math.cos(math.radians(degrees))), F(math.sin(math.radians(degrees)))
    for k in range(3):
        one, two = pose[k, a], pose[k, b]
        pose[k, a], pose[k, b] = one * c + two * s, two * c - one * s


@njit(**_FAST)
def _frame_of(pose, mirrored, frame):
    """Fill ``frame`` (see ``boxes``) for a pose: the camera in the thing's own coordinates."""
    side = F(-1.0 if mirrored else 1.0)
    for k in range(3):
        frame[k] = -(pose[0, k] * pose[_PLACE, 0] + pose[1, k] * pose[_PLACE, 1] + pose[2, k] * pose[_PLACE, 2])
        frame[3 + k] = -pose[2, k]
        frame[6 + k] = pose[0, k] * side
        frame[9 + k] = pose[1, k]


@njit(**_FAST)
def _pose_arm(pose, swing):
    """The bare arm. ``swing``: progress of the arm's swing, 0 to 1."""
    root, arc = math.sin(math.sqrt(swing) * math.pi), math.sin(swing * swing * math.pi)
    across, down = math.sin(math.sqrt(swing) * 2.0 * math.pi), math.sin(swing * math.pi)
    _move(pose, -0.3 * root + 0.64, 0.4 * across - 0.6, -0.4 * down - 0.72)
    _rotate(pose, 1, 45.0 + 70.0 * root)
    _rotate(pose, 2, -20.0 * arc)
    _move(pose, -1.0, 3.6, 3.5)
    _rotate(pose, 2, 120.0)
    _rotate(pose, 0, 200.0)
    _rotate(pose, 1, -135.0)
    _move(pose, 5.6 - 0.3125, 0.125, 0.0)
    _rotate(pose, 2, math.degrees(0.1))  # about the shoulder, the box's origin


@njit(**_FAST)
def _pose_item(pose, swing, bow, eaten):
    """A held thing, before what its own model adds. ``bow``: ticks that it is drawn; ``eaten``: ticks of eating."""
    if eaten > 0.0:
        share = max(1.0 - eaten / EAT_TICKS, 0.0)
        if share < 0.8:
            _move(pose, 0.0, abs(math.cos((EAT_TICKS - eaten) / 4.0 * math.pi)) * 0.1, 0.0)
        near = 1.0 - share**27
        _move(pose, 0.6 * near, -0.5 * near, 0.0)
        _rotate(pose, 1, 90.0 * near)
        _rotate(pose, 0, 10.0 * near)
        _rotate(pose, 2, 30.0 * near)
    elif bow <= 0.0:
        root, across = math.sin(math.sqrt(swing) * math.pi), math.sin(math.sqrt(swing) * 2.0 * math.pi)
        _move(pose, -0.4 * root, 0.2 * across, -0.2 * math.sin(swing * math.pi))
    _move(pose, 0.56, -0.52, -0.72)
    if bow > 0.0:
        _move(pose, -0.2785682, 0.18344387, 0.15731531)
        _rotate(pose, 0, -13.935)
        _rotate(pose, 1, 35.3)
        _rotate(pose, 2, -9.785)
        share = bow / FULL_DRAW_TICKS
        drawn = min((share * share + share * 2.0) / 3.0, 1.0)
        if drawn > 0.1:
            _move(pose, 0.0, math.sin((bow - 0.1) * 1.3) * (drawn - 0.1) * 0.004, 0.0)
        _move(pose, 0.0, 0.0, drawn * 0.04)
        _rotate(pose, 1, -45.0)
    elif eaten <= 0.0:
        root = math.sin(math.sqrt(swing) * math.pi)
        _rotate(pose, 1, 45.0 - 20.0 * math.sin(swing * swing * math.pi))
        _rotate(pose, 2, -20.0 * root)
        _rotate(pose, 0, -80.0 * root)
        _rotate(pose, 1, -45.0)


@njit(**_FAST)
def bow_tile(ticks):
    """The tile of a bow that has been drawn for some ticks."""
    share = ticks / FULL_DRAW_TICKS
    return _PULLING[2 if share >= 0.9 else (1 if share >= 0.65 else 0)]


@njit(**_FAST)
def draw_hand(item, mirrored, swing, bow, eaten, detailed, light, tan_v, tan_h, env, out, depth):
    """Draw one hand. Nothing of the world is nearer: what ``depth`` holds there is replaced.

    Args:
        item: id of the held item, 0 for the bare arm.
        mirrored: whether it is the off hand, on the left.
        swing: 0 at rest, else the progress of the swing up to 1.
        bow: ticks that a held bow has been drawn, 0 at rest.
        eaten: ticks that the item has been eaten, 0: it is not.
        detailed: whether items show their thickness; else they are flat, which is faster.
        light: of the cell where the head is, 0 to 1.
        tan_v, tan_h: tangents of half the angles of view.
        env: float32[ENV_FIELDS].
        out: uint8[H, W, 3]; depth: float32[H, W]; both are written.
    """
    frame, box, pose = np.empty(FRAME_FIELDS, np.float32), np.zeros(BOX_FIELDS, np.float32), np.zeros((4, 3), F)
    tiles = np.full(4, -1, np.int32)
    pose[0, 0] = pose[1, 1] = pose[2, 2] = F(1)
    box[BOX_LIGHT] = light
    depth[out.shape[0] // 4 :] = FAR_AWAY
    if item == 0:
        _pose_arm(pose, swing)
        _frame_of(pose, mirrored, frame)
        tiles[:] = _SKIN
        box[0], box[1], box[2], box[3], box[4], box[5] = -0.1875, -0.125, -0.125, 0.0625, 0.625, 0.125
        draw_box(box, tiles, frame, env, tan_v, tan_h, out, depth)
        return
    _pose_item(pose, swing, bow, eaten)
    if cube_tiles(item, tiles):
        _rotate(pose, 1, 45.0)
        _frame_of(pose, mirrored, frame)
        box[0], box[1], box[2], box[3], box[4], box[5] = -0.2, -0.2, -0.2, 0.2, 0.2, 0.2
        draw_box(box, tiles, frame, env, tan_v, tan_h, out, depth)
        return
    _move(pose, 1.13 / 16.0, 3.2 / 16.0, 1.13 / 16.0)
    _rotate(pose, 1, -90.0)
    _rotate(pose, 2, 25.0)
    _frame_of(pose, mirrored, frame)
    box[0], box[1], box[2], box[3], box[4], box[5] = -0.34, -0.34, -0.02125, 0.34, 0.34, 0.02125
    shown = bow_tile(bow) if item == _BOW and bow > 0.0 else sprite_tile(item)
    if detailed:
        draw_sprite(box, shown, frame, env, tan_v, tan_h, out, depth)
    else:
        draw_plate(box, shown, frame, env, tan_v, tan_h, out, depth)

"""Rain and snow, drawn over a finished picture as streaks and flakes on cylinders around the eye.

What falls depends on place and time alone, so that a frame repeats. Nothing falls below a roof.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit, uint32

from minestudio_nb.simulator.raymarch import VIEW_FORWARD, VIEW_RIGHT, VIEW_TAN_H, VIEW_TAN_V, VIEW_UP, VIEW_Y
from minestudio_nb.simulator.sky import ENV_LIGHT
from minestudio_nb.simulator.walk import BORROWING, INLINE, ONE, TWO, ZERO, F

_FAST: Final = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}
_RADII: Final = np.array([1.4, 2.6, 4.5, 7.5], np.float32)
"""Of the cylinders, in blocks (Minecraft draws rain up to 5 or 10 blocks away)."""
_RAIN_SPEED: Final = 1.1  # blocks per tick
_SNOW_SPEED: Final = 0.09
_RAIN_COLOUR: Final = np.array([108.0, 128.0, 196.0], np.float32)
_SNOW_COLOUR: Final = np.array([244.0, 248.0, 255.0], np.float32)


@njit(**INLINE)
def _mix(a, b, c):
    """Bits from three whole numbers."""
    mixed = uint32(a) * uint32(2654435761) ^ uint32(b) * uint32(2246822519) ^ uint32(c) * uint32(3266489917)
    mixed = (mixed ^ (mixed >> uint32(15))) * uint32(2246822519)
    return mixed ^ (mixed >> uint32(13))


@njit(**INLINE)
def _turn_of(dx, dz):
    """A direction's place around the circle, 0 to 4, without trigonometry: unevenly, but without gaps."""
    p = dx / (abs(dx) + abs(dz))
    return (ONE - p) if dz > ZERO else (F(3) + p)


@njit(**INLINE)
def _drop(layer, radius, turn, y, fallen, snow, pixel):
    """How much of a drop or flake covers a point of a cylinder, 0 to 1. ``pixel``: a pixel's width there, in blocks."""
    cells = F(8 if snow else 9) * radius  # around a quarter of the cylinder
    across = turn * cells
    cell = np.int64(across)
    bits = _mix(cell, layer, 0)
    tall = F(0.45) if snow else F(1.8)
    down = (y + fallen * (F(0.8) + F(bits & uint32(255)) * F(0.0016))) / tall + F((bits >> uint32(8)) & uint32(255))
    row = np.int64(math.floor(down))
    bits = _mix(cell, layer, row)
    if bits & uint32(3):
        return ZERO
    middle = F(0.2) + F((bits >> uint32(2)) & uint32(63)) * F(0.0095)
    wide = radius * F(1.57) / cells  # of a cell, in blocks
    half = F(0.028) if snow else F(0.011)
    shown = max(half, pixel * F(0.5))
    if abs(across - F(cell) - middle) * wide > shown:
        return ZERO
    part = down - F(row)
    if snow:
        high = F(0.1) + F((bits >> uint32(8)) & uint32(63)) * F(0.012)
        return half / shown if abs(part - high) * tall < shown else ZERO
    return half / shown if part < F(0.35) + F((bits >> uint32(8)) & uint32(63)) * F(0.008) else ZERO


@njit(**BORROWING)
def _draw_layers(tops, size_x, size_z, time, snow, x, z, view, env, out, depth):
    """The loop over the pixels of ``draw_rain``."""
    rows, columns = out.shape[0], out.shape[1]
    fallen = F(time * (_SNOW_SPEED if snow else _RAIN_SPEED))
    light = F(0.35) + F(0.65) * env[ENV_LIGHT]
    for j in range(rows):
        v = (ONE - F(2 * j + 1) / F(rows)) * view[VIEW_TAN_V]
        for i in range(columns):
            u = (F(2 * i + 1) / F(columns) - ONE) * view[VIEW_TAN_H]
            dx = view[VIEW_FORWARD] + view[VIEW_RIGHT] * u + view[VIEW_UP] * v
            dy = view[VIEW_FORWARD + 1] + view[VIEW_UP + 1] * v
            dz = view[VIEW_FORWARD + 2] + view[VIEW_RIGHT + 2] * u + view[VIEW_UP + 2] * v
            level = F(math.sqrt(dx * dx + dz * dz)) + F(1e-6)
            turn = _turn_of(dx, dz)
            clear = ONE
            for layer in range(_RADII.shape[0]):
                t = _RADII[layer] / level
                y = view[VIEW_Y] + dy * t
                if t > depth[j, i]:
                    break
                cell_x, cell_z = np.int64(math.floor(x + dx * t)), np.int64(math.floor(z + dz * t))
                if tops[(cell_x & (size_x - 1)) * size_z + (cell_z & (size_z - 1))] >= y:
                    continue
                pixel = TWO * view[VIEW_TAN_H] / F(columns) * t
                share = _drop(layer, _RADII[layer], turn, y, fallen, snow, pixel)
                clear *= ONE - share * (F(0.9) if snow else F(0.5))
            if clear < ONE:
                for k in range(3):
                    colour = (_SNOW_COLOUR[k] if snow else _RAIN_COLOUR[k]) * light
                    out[j, i, k] = np.uint8(colour + (F(out[j, i, k]) - colour) * clear)


@njit(**_FAST)
def draw_rain(tops, time, snow, x, z, view, env, out, depth):
    """Draw what falls.

    Args:
        tops: int32[X, Z]; a cell at or below the highest block of its column stays dry.
        time: in ticks.
        snow: whether it is snow.
        x, z: of the eye.
        view, env: the camera and the light.
        out: uint8[H, W, 3], written; depth: float32[H, W].
    """
    _draw_layers(tops.reshape(-1), tops.shape[0], tops.shape[1], time % 24000.0, snow, x, z, view, env, out, depth)

"""Light of torches, lava and the like: found and spread anew for each frame, around the eye.

Light spreads as in Minecraft: a lamp's cell has its level, each open neighbour one less. Where no lamp is near, the
cost is that of looking for one, about a hundredth of a small frame.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import literal_unroll, njit

from minestudio_nb.simulator import blocks as table

LAMP_REACH: Final = 16
"""Lamps this many columns away from the eye, along x or z, still shine."""
_WORDS: Final = 4
"""Lamps are looked for in this many times eight cells of each column, about as many above the eye as below."""
GLOW_SIZE: Final = 64
"""Columns along x and z of the volume of light; the eye's column is number ``GLOW_SIZE // 2``."""
_HALF: Final = GLOW_SIZE // 2
_QUEUE: Final = 1 << 16

_OPAQUE: Final = table.OPAQUE
_LEVEL: Final = table.LIGHT
_LAMPS: Final = np.flatnonzero(table.LIGHT > 0).astype(np.uint8)
# Eight cells at once: a byte of ``word ^ pattern`` is zero where a cell is the lamp of the pattern.
_ONES: Final = np.uint64(0x0101_0101_0101_0101)
_HIGH: Final = np.uint64(0x8080_8080_8080_8080)
_PATTERNS: Final = tuple(_ONES * np.uint64(n) for n in _LAMPS)
_FAST: Final = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}

_SHARE: Final = np.arange(16) / 15
_DIM: Final = _SHARE / (4 - 3 * _SHARE)
LAMP_BRIGHTNESS: Final = (0.5 * _DIM + 0.5 * (1 - (1 - _DIM) ** 4)).astype(np.float32)
"""Brightness of what lamps light with level 0 to 15: Minecraft's at its default setting (``LightTexture``)."""


@njit(cache=True, nogil=True)
def _any_lamp(words, first, last, stride):
    """Whether there is a lamp among the ``_WORDS * 8`` cells from each ``stride``-th word on, of uint64[N]."""
    found = np.uint64(0)
    for start in range(first, last, stride):
        for k in range(start, start + _WORDS):
            word = words[k]
            for pattern in literal_unroll(_PATTERNS):
                unlike = word ^ pattern
                found |= (unlike - _ONES) & ~unlike
    return (found & _HIGH) != 0


@njit(cache=True, nogil=True)
def _light_lamps(blocks, eye_x, eye_y, eye_z, glow, queue):
    """Give the lamps around the eye their level, clearing ``glow`` before the first; their number, on ``queue``."""
    size_x, size_z, height = blocks.shape
    flat = blocks.reshape(-1)
    words, stride = flat.view(np.uint64), height // 8
    low = min(max((eye_y - _WORDS * 4) // 8, 0), stride - _WORDS)
    first_z, count = (eye_z - LAMP_REACH) & (size_z - 1), 0
    wide = min(2 * LAMP_REACH + 1, size_z)
    before_end = min(wide, size_z - first_z)
    for x in range(eye_x - LAMP_REACH, eye_x + LAMP_REACH + 1):
        # A row of columns lies in one piece of memory, or in two where the world wraps round.
        row = (x & (size_x - 1)) * size_z
        start, again = (row + first_z) * stride + low, row * stride + low
        if not _any_lamp(words, start, start + before_end * stride, stride) and not (
            before_end < wide and _any_lamp(words, again, again + (wide - before_end) * stride, stride)
        ):
            continue
        if count == 0:
            glow[:] = 0
        for z in range(eye_z - LAMP_REACH, eye_z + LAMP_REACH + 1):
            column = (row + (z & (size_z - 1))) * height
            for y in range(8 * low, 8 * (low + _WORDS)):
                level = _LEVEL[flat[column + y]]
                if level > 0 and count < _QUEUE:
                    gx, gz = x - eye_x + _HALF, z - eye_z + _HALF
                    glow[gx, gz, y] = level
                    queue[count] = (gx * GLOW_SIZE + gz) * GLOW_SIZE + y
                    count += 1
    return count


@njit(cache=True, nogil=True)
def spread_light(blocks, x, y, z, glow, queue):
    """Fill ``glow`` with the light of the lamps around an eye.

    Args:
        blocks: uint8[X, Z, Y]; there is no light where Y is below 32 or no multiple of 8.
        x, y, z: of the eye.
        glow: uint8[GLOW_SIZE, GLOW_SIZE, GLOW_SIZE], levels 0 to 15 by column (x, z; the eye's is in the middle) and y.
            Left as it is where no lamp is near.
        queue: int32[1 << 16], workspace.

    Returns:
        Whether there is any lamp.
    """
    if blocks.shape[2] % 8 or blocks.shape[2] < 8 * _WORDS:
        return False
    eye_x, eye_z = math.floor(x), math.floor(z)
    last = _light_lamps(blocks, eye_x, math.floor(y), eye_z, glow, queue)
    if last == 0:
        return False
    mask_x, mask_z, height = blocks.shape[0] - 1, blocks.shape[1] - 1, blocks.shape[2]
    first = 0
    while first != last:
        cell = queue[first & (_QUEUE - 1)]
        first += 1
        gx, gz, y = cell // (GLOW_SIZE * GLOW_SIZE), cell // GLOW_SIZE % GLOW_SIZE, cell % GLOW_SIZE
        level = glow[gx, gz, y] - 1
        if level <= 0:
            continue
        for face in range(6):
            nx, nz, ny = gx, gz, y
            step = 1 if face & 1 else -1
            if face < 2:
                nx += step
            elif face < 4:
                nz += step
            else:
                ny += step
            if not (0 <= nx < GLOW_SIZE and 0 <= nz < GLOW_SIZE and 0 <= ny < height) or glow[nx, nz, ny] >= level:
                continue
            if _OPAQUE[blocks[(nx + eye_x - _HALF) & mask_x, (nz + eye_z - _HALF) & mask_z, ny]]:
                continue
            glow[nx, nz, ny] = level
            if last - first < _QUEUE - 1:
                queue[last & (_QUEUE - 1)] = (nx * GLOW_SIZE + nz) * GLOW_SIZE + ny
                last += 1
    return True


@njit(**_FAST)
def glow_at(glow, from_x, y, from_z):
    """Brightness that lamps give a cell, 0 to 1; x and z are counted from the eye's column."""
    gx, gz = from_x + _HALF, from_z + _HALF
    if 0 <= gx < GLOW_SIZE and 0 <= gz < GLOW_SIZE and 0 <= y < GLOW_SIZE:
        return LAMP_BRIGHTNESS[glow[gx, gz, y]]
    return np.float32(0.0)


def new_workspace() -> tuple[np.ndarray, np.ndarray]:
    """``glow`` and ``queue`` for ``spread_light``. The operating system gives their memory when it is first used."""
    return np.zeros((GLOW_SIZE, GLOW_SIZE, GLOW_SIZE), np.uint8), np.zeros(_QUEUE, np.int32)

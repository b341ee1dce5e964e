"""The light of a time and a weather, and what a ray that meets nothing shows: gradient, sun, moon, stars, clouds."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit, uint32, uint64

from minestudio_nb.simulator.walk import BORROWING, INLINE, ONE, ZERO, F

_BIT: Final = np.uint64(1)

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


@njit(**INLINE)
def add_glow(r, g, b, dx, low, env):
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
def sky_colour(oy, ox, oz, dx, dy, dz, env):
    """The colour of the sky in a direction: gradient, glow of the low sun, sun, moon and clouds."""
    inv = ONE / F(math.sqrt(dx * dx + dy * dy + dz * dz))
    dx, dy, dz = dx * inv, dy * inv, dz * inv
    high = min(max(dy * F(2.2), ZERO), ONE)
    r = env[ENV_HORIZON] + (env[ENV_ZENITH] - env[ENV_HORIZON]) * high
    g = env[ENV_HORIZON + 1] + (env[ENV_ZENITH + 1] - env[ENV_HORIZON + 1]) * high
    b = env[ENV_HORIZON + 2] + (env[ENV_ZENITH + 2] - env[ENV_HORIZON + 2]) * high
    toward = dx * env[ENV_SUN_X] + dy * env[ENV_SUN_Y]
    if env[ENV_GLOW] > ZERO:
        r, g, b = add_glow(r, g, b, dx, ONE - high, env)
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

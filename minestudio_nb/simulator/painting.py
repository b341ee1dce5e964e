"""How textures are drawn: a register of painters, and the strokes that several of them share.

A painter takes a random generator and returns a 16x16 image with 3 or 4 channels, 0 to 255. Its generator is seeded by
its name, so that adding a texture leaves the others as they are. Nothing here is copied from Minecraft's art.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 16

Image = NDArray[np.uint8]
"""uint8[16, 16, 4], row 0 at the top, RGBA."""
Colour = Sequence[float]
Painter = Callable[[np.random.Generator], NDArray[np.float64]]

PAINTERS: Final[dict[str, Painter]] = {}


def painter(name: str) -> Callable[[Painter], Painter]:
    """Register the decorated function as the painter of a texture."""

    def register(function: Painter) -> Painter:
        PAINTERS[name] = function
        return function

    return register


def speckle(
    rng: np.random.Generator, palette: Sequence[Colour], weights: Sequence[float], run: tuple[int, int] = (1, 1)
) -> NDArray[np.float64]:
    """Texels drawn from a palette; ``run`` is how often a drawn colour repeats (rows, columns) with probability 1/2."""
    shares = np.asarray(weights, float)
    index = rng.choice(len(palette), size=(SIDE, SIDE), p=shares / shares.sum())
    for axis, longest in enumerate(run):
        for _ in range(longest - 1):
            keep = rng.random((SIDE, SIDE)) < 0.5
            index = np.where(keep, np.roll(index, 1, axis=axis), index)
    return np.asarray(palette, float)[index]


def shades(base: Colour, factors: Sequence[float]) -> list[Colour]:
    """Darker and lighter tones of one colour."""
    return [tuple(np.clip(np.asarray(base, float) * f, 0, 255)) for f in factors]


def opaque(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """The image with an alpha channel that is full everywhere."""
    return np.dstack([rgb, np.full((SIDE, SIDE), 255.0)])


def blank() -> NDArray[np.float64]:
    """A fully transparent image."""
    return np.zeros((SIDE, SIDE, 4))


def rect(image: NDArray[np.float64], top: int, left: int, bottom: int, right: int, colour: Colour) -> None:
    """Fill rows top..bottom-1, columns left..right-1."""
    image[top:bottom, left:right, : len(colour)] = colour


def streaked(rng: np.random.Generator, base: Colour, factors: Sequence[float], count: int) -> NDArray[np.float64]:
    """A plain ground with short horizontal streaks, as stone has."""
    image = np.tile(np.asarray(base, float), (SIDE, SIDE, 1))
    for _ in range(count):
        row, column, length = rng.integers(SIDE), rng.integers(SIDE), rng.integers(2, 6)
        image[row, (column + np.arange(length)) % SIDE] = np.asarray(base) * rng.choice(factors)
    return np.clip(image, 0, 255)


def bark(rng: np.random.Generator, base: Colour) -> NDArray[np.float64]:
    """Vertical fibres: each column keeps a tone for a few rows."""
    image = np.zeros((SIDE, SIDE, 3))
    tones = [0.62, 0.8, 0.95, 1.08, 1.22]
    for column in range(SIDE):
        tone = rng.choice(tones)
        for row in range(SIDE):
            if rng.random() < 0.2:
                tone = rng.choice(tones, p=[0.2, 0.25, 0.25, 0.2, 0.1])
            image[row, column] = np.asarray(base) * tone
    return np.clip(image, 0, 255)


def log_top(rng: np.random.Generator, rim: Colour, wood: Colour) -> NDArray[np.float64]:
    """Square year rings inside a rim of bark."""
    image = np.zeros((SIDE, SIDE, 3))
    for row in range(SIDE):
        for column in range(SIDE):
            ring = max(abs(row - 7.5), abs(column - 7.5))
            if ring > 7:
                image[row, column] = np.asarray(rim) * rng.choice([0.8, 1.0, 1.1])
            else:
                image[row, column] = (
                    np.asarray(wood) * (0.8 if int(ring) % 2 == 0 else 1.0) * rng.choice([0.96, 1, 1.03])
                )
    return np.clip(image, 0, 255)


def planks(rng: np.random.Generator, base: Colour) -> NDArray[np.float64]:
    """Four boards, each with a joint."""
    image = np.zeros((SIDE, SIDE, 3))
    for row in range(SIDE):
        board = row // 4
        tone = (1.0, 0.95, 1.04, 0.97)[board]
        for column in range(SIDE):
            if rng.random() < 0.35:
                tone = (1.0, 0.95, 1.04, 0.97)[board] * rng.choice([0.9, 1.0, 1.06])
            factor = tone
            if row % 4 == 3:
                factor = 0.62
            elif column == (5, 13, 2, 10)[board]:
                factor = 0.72
            image[row, column] = np.asarray(base) * factor
    return np.clip(image, 0, 255)


def cells(rng: np.random.Generator, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Round cells that wrap: the nearest of ``count`` points for each texel, and how far the border is."""
    points = rng.random((count, 2)) * SIDE
    grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1)[:, :, None] + 0.5
    apart = np.abs(grid - points)
    distance = np.sqrt((np.minimum(apart, SIDE - apart) ** 2).sum(-1))
    ordered = np.sort(distance, axis=-1)
    return distance.argmin(-1), ordered[..., 1] - ordered[..., 0]


def paint(name: str) -> Image:
    """Draw one texture."""
    drawn = PAINTERS[name](np.random.default_rng(zlib.crc32(name.encode())))
    if drawn.shape[2] == 3:
        drawn = opaque(drawn)
    return np.clip(drawn + 0.5, 0, 255).astype(np.uint8)

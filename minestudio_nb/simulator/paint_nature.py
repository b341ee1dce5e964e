"""Painters of what grows and lies about: ground, stone, ores, wood, fluids."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.simulator.painting import (
    PAINTERS,
    SIDE,
    Colour,
    bark,
    cells,
    log_top,
    paint,
    painter,
    planks,
    shades,
    speckle,
    streaked,
)

# ---------------------------------------------------------------------------------------------------- ground


@painter("dirt")
def _dirt(rng: np.random.Generator) -> NDArray[np.float64]:
    palette = [(134, 96, 67), (121, 85, 58), (150, 108, 74), (96, 67, 45), (185, 133, 92), (130, 128, 126)]
    return speckle(rng, palette, [6, 4, 4, 2.5, 0.8, 0.4], run=(1, 2))


_GREEN = (118, 168, 72)


@painter("grass_top")
def _grass_top(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades(_GREEN, [0.78, 0.88, 0.96, 1.04, 1.13]), [2, 4, 5, 4, 2], run=(2, 1))


@painter("grass_side")
def _grass_side(rng: np.random.Generator) -> NDArray[np.float64]:
    image = paint("dirt")[..., :3].astype(float)
    green = speckle(rng, shades(_GREEN, [0.74, 0.85, 0.95, 1.05]), [2, 3, 4, 2])
    depth = rng.choice([2, 3, 3, 4, 5], size=SIDE)
    for column in range(SIDE):
        image[: depth[column], column] = green[: depth[column], column]
        image[depth[column], column] *= 0.8
    return image


@painter("snow")
def _snow(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, [(249, 254, 254), (240, 250, 251), (230, 243, 246)], [5, 4, 1.5], run=(1, 2))


@painter("podzol_top")
def _podzol(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((104, 72, 34), [0.7, 0.85, 1, 1.2]), [2, 3, 4, 2], run=(1, 2))


@painter("coarse_dirt")
def _coarse_dirt(rng: np.random.Generator) -> NDArray[np.float64]:
    palette = [(119, 85, 59), (100, 70, 48), (140, 102, 72), (80, 58, 42), (118, 116, 112)]
    return speckle(rng, palette, [5, 4, 2, 2, 1], run=(1, 2))


@painter("path_top")
def _path_top(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((158, 130, 70), [0.85, 0.95, 1.0, 1.1]), [2, 3, 4, 2], run=(1, 2))


@painter("sand")
def _sand(rng: np.random.Generator) -> NDArray[np.float64]:
    palette = [(219, 207, 163), (227, 219, 176), (209, 196, 150), (234, 228, 190), (198, 183, 137)]
    return speckle(rng, palette, [5, 4, 3, 1.5, 1])


@painter("red_sand")
def _red_sand(rng: np.random.Generator) -> NDArray[np.float64]:
    palette = [(190, 102, 33), (201, 112, 40), (178, 94, 29), (212, 124, 50), (166, 86, 26)]
    return speckle(rng, palette, [5, 4, 3, 1.5, 1])


@painter("gravel")
def _gravel(rng: np.random.Generator) -> NDArray[np.float64]:
    palette = [(132, 127, 126), (110, 105, 103), (150, 146, 144), (88, 82, 80), (166, 160, 154), (120, 108, 100)]
    return speckle(rng, palette, [5, 4, 3, 3, 1, 1.5], run=(2, 2))


@painter("clay")
def _clay(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((160, 166, 179), [0.95, 1.0, 1.04]), [2, 4, 2], run=(1, 3))


# ---------------------------------------------------------------------------------------------------- stone


@painter("stone")
def _stone(rng: np.random.Generator) -> NDArray[np.float64]:
    return streaked(rng, (126, 126, 126), [0.84, 0.9, 0.94, 1.06, 1.1], 42)


def _cobbles(rng: np.random.Generator, base: Colour, moss: float = 0.0) -> NDArray[np.float64]:
    owner, border = cells(rng, 11)
    shade = rng.uniform(0.82, 1.22, 11)[owner] * rng.choice([0.94, 1.0, 1.05], size=(SIDE, SIDE))
    shade = np.where(border < 0.9, 0.58, shade)
    image = np.asarray(base, float) * shade[..., None]
    mossy = rng.random((SIDE, SIDE)) < moss
    mossy |= np.roll(mossy, 1, 1) & (rng.random((SIDE, SIDE)) < 0.7)
    image[mossy] = np.asarray((98, 120, 66)) * rng.choice([0.8, 1.0, 1.1], size=(int(mossy.sum()), 1))
    return np.clip(image, 0, 255)


@painter("cobblestone")
def _cobblestone(rng: np.random.Generator) -> NDArray[np.float64]:
    return _cobbles(rng, (128, 128, 128))


@painter("mossy_cobblestone")
def _mossy(rng: np.random.Generator) -> NDArray[np.float64]:
    return _cobbles(rng, (124, 126, 122), moss=0.22)


@painter("granite")
def _granite(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((153, 114, 99), [0.8, 0.92, 1.0, 1.1, 1.2]), [1, 3, 5, 3, 1], run=(1, 2))


@painter("diorite")
def _diorite(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((188, 188, 190), [0.75, 0.9, 1.0, 1.1, 1.2]), [1, 2, 4, 3, 2], run=(1, 2))


@painter("andesite")
def _andesite(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((136, 136, 138), [0.85, 0.94, 1.0, 1.07]), [1, 3, 4, 2], run=(1, 3))


@painter("bedrock")
def _bedrock(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((98, 98, 98), [0.35, 0.6, 1.0, 1.4]), [2, 3, 3, 1.5], run=(2, 3))


@painter("obsidian")
def _obsidian(rng: np.random.Generator) -> NDArray[np.float64]:
    palette = [(16, 11, 26), (26, 18, 42), (42, 30, 64), (74, 56, 108), (10, 7, 16)]
    return speckle(rng, palette, [5, 4, 2, 0.8, 2], run=(2, 2))


@painter("netherrack")
def _netherrack(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((104, 42, 40), [0.6, 0.85, 1.0, 1.25]), [2, 3, 4, 2], run=(1, 2))


@painter("end_stone")
def _end_stone(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((220, 223, 158), [0.85, 0.95, 1.0, 1.06]), [1, 3, 5, 2], run=(2, 2))


@painter("terracotta")
def _terracotta(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((152, 94, 68), [0.96, 1.0, 1.04]), [2, 5, 2], run=(1, 3))


@painter("sandstone")
def _sandstone(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((216, 203, 155), [0.96, 1.0, 1.03]), [2, 5, 2], run=(1, 3))
    for row, factor in ((0, 1.04), (3, 0.88), (4, 1.03), (10, 0.9), (15, 0.84)):
        image[row] *= factor
    return np.clip(image, 0, 255)


def _brickwork(rng: np.random.Generator, base: Colour, mortar: Colour, height: int, length: int) -> NDArray[np.float64]:
    image = np.zeros((SIDE, SIDE, 3))
    for row in range(SIDE):
        course = row // height
        shift = (length // 2) * (course % 2)
        for column in range(SIDE):
            at_joint = row % height == height - 1 or (column + shift) % length == length - 1
            lit = row % height == 0 or (column + shift) % length == 0
            tone = rng.choice([0.93, 1.0, 1.05]) * (1.08 if lit else 1.0)
            image[row, column] = mortar if at_joint else np.asarray(base) * tone
    return np.clip(image, 0, 255)


@painter("bricks")
def _bricks(rng: np.random.Generator) -> NDArray[np.float64]:
    return _brickwork(rng, (150, 84, 68), (168, 158, 150), 4, 8)


@painter("stone_bricks")
def _stone_bricks(rng: np.random.Generator) -> NDArray[np.float64]:
    return _brickwork(rng, (124, 124, 124), (84, 84, 84), 8, 16)


# Where the grains of an ore lie: (row, column) of clusters about three texels wide.
_ORE_SPOTS: Final = ((2, 3), (2, 11), (6, 7), (8, 12), (11, 2), (12, 8))


def _ore(rng: np.random.Generator, light: Colour, dark: Colour) -> NDArray[np.float64]:
    image = paint("stone")[..., :3].astype(float)
    for row, column in _ORE_SPOTS:
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                if abs(dx) + abs(dy) == 2 and rng.random() < 0.65:
                    continue
                y, x = (row + dy) % SIDE, (column + dx) % SIDE
                image[y, x] = light if dx + dy < 0 or rng.random() < 0.3 else dark
        image[(row + 2) % SIDE, column] *= 0.8
    return np.clip(image, 0, 255)


def _register_ores() -> None:
    grains: dict[str, tuple[Colour, Colour]] = {
        "coal_ore": ((62, 62, 62), (36, 36, 36)),
        "iron_ore": ((226, 192, 170), (180, 142, 116)),
        "gold_ore": ((255, 240, 120), (224, 176, 44)),
        "diamond_ore": ((170, 252, 246), (64, 200, 204)),
        "redstone_ore": ((255, 40, 30), (160, 8, 6)),
        "lapis_ore": ((66, 110, 220), (24, 56, 150)),
        "emerald_ore": ((110, 250, 150), (20, 160, 66)),
    }
    for name, (light, dark) in grains.items():
        PAINTERS[name] = lambda rng, light=light, dark=dark: _ore(rng, light, dark)  # type: ignore[misc]


# ---------------------------------------------------------------------------------------------------- wood


def _leaves(rng: np.random.Generator, base: Colour, holes: float) -> NDArray[np.float64]:
    rgb = speckle(rng, shades(base, [0.5, 0.72, 0.9, 1.08, 1.3]), [3, 4, 5, 3, 1], run=(1, 2))
    alpha = np.where(rng.random((SIDE, SIDE)) < holes, 0.0, 255.0)
    return np.dstack([rgb, alpha])


def _register_woods() -> None:
    woods: dict[str, tuple[Colour, Colour, Colour, Colour]] = {
        # bark, wood, planks, leaves
        "oak": ((120, 94, 58), (182, 147, 90), (170, 137, 82), (66, 122, 36)),
        "birch": ((214, 213, 206), (205, 188, 134), (200, 184, 128), (96, 138, 66)),
        "spruce": ((70, 48, 28), (134, 102, 58), (118, 88, 52), (46, 80, 46)),
        "jungle": ((86, 68, 26), (176, 128, 90), (160, 115, 81), (48, 140, 20)),
        "acacia": ((104, 98, 88), (176, 96, 56), (168, 90, 50), (122, 130, 40)),
        "dark_oak": ((60, 46, 26), (78, 52, 26), (66, 43, 20), (58, 104, 34)),
    }
    for name, (skin, core, board, crown) in woods.items():
        PAINTERS[f"{name}_top"] = lambda rng, a=skin, b=core: log_top(rng, a, b)  # type: ignore[misc]
        PAINTERS[f"{name}_planks"] = lambda rng, c=board: planks(rng, c)  # type: ignore[misc]
        PAINTERS[f"{name}_leaves"] = lambda rng, c=crown: _leaves(rng, c, 0.2)  # type: ignore[misc]
        if name != "birch":
            PAINTERS[f"{name}_bark"] = lambda rng, c=skin: bark(rng, c)  # type: ignore[misc]


@painter("birch_bark")
def _birch_bark(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((216, 215, 208), [0.93, 1.0, 1.06]), [2, 5, 3], run=(1, 3))
    for row, column, length in ((1, 2, 4), (3, 10, 3), (5, 5, 5), (8, 0, 3), (9, 11, 4), (12, 4, 3), (14, 9, 5)):
        image[row, (column + np.arange(length)) % SIDE] = (54, 51, 46)
        image[(row + 1) % SIDE, (column + 1) % SIDE] = (128, 124, 116)
    return image


# ---------------------------------------------------------------------------------------------------- fluids, light


@painter("water")
def _water(rng: np.random.Generator) -> NDArray[np.float64]:
    row, column = np.indices((SIDE, SIDE)) * (2 * math.pi / SIDE)
    wave = np.sin(3 * row + 1.6 * np.sin(column)) + 0.6 * np.sin(2 * column + 2 * row)
    image = np.asarray((46, 90, 204), float) * (1 + 0.06 * wave[..., None] + rng.uniform(-0.02, 0.02, (SIDE, SIDE, 1)))
    image[wave > 1.25] += (12, 14, 10)
    return np.clip(image, 0, 255)


@painter("lava")
def _lava(rng: np.random.Generator) -> NDArray[np.float64]:
    palette = [(212, 90, 18), (228, 120, 28), (246, 170, 52), (180, 62, 12), (255, 214, 96)]
    return speckle(rng, palette, [5, 4, 2, 3, 1], run=(3, 3))


@painter("ice")
def _ice(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((146, 184, 252), [0.96, 1.0, 1.05]), [2, 5, 2], run=(1, 3))
    for k in range(5):
        image[3 + k, 10 - k] = image[9 + k, 14 - k] = (200, 222, 255)
    return image


@painter("glowstone")
def _glowstone(rng: np.random.Generator) -> NDArray[np.float64]:
    owner, border = cells(rng, 9)
    image = np.asarray((238, 198, 120)) * rng.uniform(0.8, 1.15, 9)[owner][..., None]
    image[border < 0.9] = (140, 98, 52)
    return np.clip(image, 0, 255)


@painter("nether_portal")
def _portal(rng: np.random.Generator) -> NDArray[np.float64]:
    rgb = speckle(rng, shades((110, 30, 190), [0.6, 0.85, 1.1, 1.3]), [2, 4, 3, 1], run=(3, 2))
    alpha = np.where(rng.random((SIDE, SIDE)) < 0.3, 0.0, 255.0)
    return np.dstack([rgb, alpha])


_register_ores()
_register_woods()

"""Painters of what is made and what is planted: wool, metal, furniture, fruits, flowers."""

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
    blank,
    log_top,
    paint,
    painter,
    planks,
    rect,
    shades,
    speckle,
    streaked,
)

# ---------------------------------------------------------------------------------------------------- made things


def _wool(rng: np.random.Generator, base: Colour) -> NDArray[np.float64]:
    image = speckle(rng, shades(base, [0.88, 0.95, 1.0, 1.06]), [2, 4, 4, 3], run=(1, 2))
    image[1::4, ::2] *= 0.94
    return np.clip(image, 0, 255)


def _metal(rng: np.random.Generator, base: Colour) -> NDArray[np.float64]:
    """A polished block: bright rim above and left, dark rim below and right, oblique shine."""
    image = np.zeros((SIDE, SIDE, 3))
    for row in range(SIDE):
        for column in range(SIDE):
            factor = 1.0 + 0.06 * math.sin((row + column) * 0.9)
            if row == 0 or column == 0:
                factor = 1.16
            if row == SIDE - 1 or column == SIDE - 1:
                factor = 0.74
            if 0 < row < SIDE - 1 and 0 < column < SIDE - 1 and (row in (1, 14) or column in (1, 14)):
                factor *= 0.93
            image[row, column] = np.asarray(base) * factor
    return np.clip(image, 0, 255)


def _register_dyed() -> None:
    wools: dict[str, Colour] = {
        "white_wool": (234, 236, 237),
        "black_wool": (28, 29, 33),
        "red_wool": (161, 39, 35),
        "blue_wool": (53, 57, 157),
        "green_wool": (85, 110, 28),
        "yellow_wool": (249, 198, 40),
        "orange_wool": (240, 118, 20),
        "magenta_wool": (190, 68, 180),
        "light_blue_wool": (58, 175, 218),
        "lime_wool": (112, 186, 26),
        "pink_wool": (238, 141, 172),
        "gray_wool": (62, 68, 72),
        "light_gray_wool": (142, 142, 134),
        "cyan_wool": (21, 138, 146),
        "purple_wool": (122, 42, 172),
        "brown_wool": (114, 72, 40),
    }
    for name, colour in wools.items():
        PAINTERS[name] = lambda rng, c=colour: _wool(rng, c)  # type: ignore[misc]
    metals: dict[str, Colour] = {
        "gold_block": (246, 208, 62),
        "iron_block": (218, 218, 218),
        "diamond_block": (98, 219, 213),
    }
    for name, colour in metals.items():
        PAINTERS[name] = lambda rng, c=colour: _metal(rng, c)  # type: ignore[misc]


_FRAME: Final = (98, 68, 40)


@painter("crafting_table_top")
def _crafting_top(rng: np.random.Generator) -> NDArray[np.float64]:
    image = np.clip(planks(rng, (176, 118, 72)), 0, 255)
    for line in (0, 5, 10, 15):
        image[line] = _FRAME
        image[:, line] = _FRAME
    return image


@painter("crafting_table_side")
def _crafting_side(rng: np.random.Generator) -> NDArray[np.float64]:
    image = planks(rng, (172, 138, 84))
    rect(image, 0, 0, 3, 16, _FRAME)
    image[:, 0] = image[:, 15] = _FRAME
    rect(image, 4, 3, 13, 4, (120, 84, 48))  # handle of a saw
    rect(image, 5, 4, 9, 7, (176, 178, 180))
    rect(image, 5, 10, 13, 11, (120, 84, 48))  # handle of a hammer
    rect(image, 4, 8, 7, 13, (110, 112, 116))
    return image


@painter("furnace_front")
def _furnace_front(rng: np.random.Generator) -> NDArray[np.float64]:
    image = paint("furnace_side")[..., :3].astype(float)
    rect(image, 2, 3, 6, 13, (92, 92, 92))
    rect(image, 3, 4, 6, 12, (38, 38, 38))
    rect(image, 8, 2, 15, 14, (92, 92, 92))
    rect(image, 9, 3, 15, 13, (22, 20, 20))
    image[13:15, 3:13] = speckle(rng, [(70, 60, 54), (40, 36, 34)], [1, 1])[13:15, 3:13]
    return image


@painter("furnace_side")
def _furnace_side(rng: np.random.Generator) -> NDArray[np.float64]:
    image = streaked(rng, (112, 112, 112), [0.86, 0.93, 1.08], 30)
    image[0] = image[15] = (84, 84, 84)
    image[:, 0] = image[:, 15] = (90, 90, 90)
    return image


@painter("glass")
def _glass(rng: np.random.Generator) -> NDArray[np.float64]:
    image = np.zeros((SIDE, SIDE, 4))
    image[..., :3] = (208, 234, 240)
    image[[0, 15], :, 3] = 255
    image[:, [0, 15], 3] = 255
    for row, column, length in ((6, 3, 4), (9, 3, 2), (12, 9, 4)):
        for k in range(length):
            image[row - k, column + k, 3] = 255
    return image


@painter("bookshelf")
def _bookshelf(rng: np.random.Generator) -> NDArray[np.float64]:
    image = planks(rng, (170, 137, 82))
    covers = [(140, 40, 34), (52, 76, 140), (60, 116, 60), (150, 120, 60), (110, 60, 120)]
    for top in (1, 9):
        rect(image, top, 1, top + 6, 15, (48, 36, 22))
        column = 1
        while column < 15:
            width = int(rng.integers(1, 3))
            height = int(rng.integers(0, 2))
            colour = np.asarray(covers[rng.integers(len(covers))]) * rng.choice([0.85, 1.0, 1.15])
            rect(image, top + height, column, top + 6, min(column + width, 15), colour)
            column += width + int(rng.random() < 0.2)
    return image


@painter("chest_side")
def _chest_side(rng: np.random.Generator) -> NDArray[np.float64]:
    image = planks(rng, (162, 114, 50))
    image[[0, 15]] = (58, 42, 20)
    image[:, [0, 15]] = (58, 42, 20)
    image[5] = (72, 52, 26)
    return image


@painter("chest_front")
def _chest_front(rng: np.random.Generator) -> NDArray[np.float64]:
    image = paint("chest_side")[..., :3].astype(float)
    rect(image, 4, 7, 8, 9, (190, 190, 190))
    rect(image, 6, 7, 7, 9, (90, 90, 90))
    return image


@painter("tnt_side")
def _tnt_side(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((206, 62, 36), [0.85, 1.0, 1.1]), [2, 4, 2], run=(3, 1))
    rect(image, 5, 0, 11, 16, (230, 226, 222))
    for column in (2, 3, 4, 7, 9, 11, 12, 13):  # strokes that read as letters
        image[6, column] = (40, 36, 36)
    for row in range(7, 10):
        for column in (3, 7, 9, 12):
            image[row, column] = (40, 36, 36)
    return image


@painter("tnt_top")
def _tnt_top(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((190, 56, 34), [0.8, 1.0, 1.15]), [2, 4, 2])
    rect(image, 6, 6, 10, 10, (70, 60, 54))
    return image


# ---------------------------------------------------------------------------------------------------- fruits and plants


@painter("pumpkin_side")
def _pumpkin(rng: np.random.Generator) -> NDArray[np.float64]:
    columns = np.asarray([0.78, 0.95, 1.05, 1.0, 0.8, 0.95, 1.08, 1.0, 0.8, 0.95, 1.08, 1.0, 0.8, 0.95, 1.02, 0.85])
    image = np.asarray((214, 128, 30)) * columns[None, :, None] * rng.choice([0.95, 1.0, 1.03], size=(SIDE, SIDE, 1))
    return np.clip(image, 0, 255)


@painter("pumpkin_top")
def _pumpkin_top(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((204, 122, 28), [0.86, 1.0, 1.06]), [2, 4, 2])
    rect(image, 6, 6, 10, 10, (110, 116, 50))
    return image


@painter("melon_side")
def _melon(rng: np.random.Generator) -> NDArray[np.float64]:
    columns = np.asarray([0.8, 1.0, 1.25, 1.0] * 4)
    image = np.asarray((108, 146, 34)) * columns[None, :, None] * rng.choice([0.9, 1.0, 1.06], size=(SIDE, SIDE, 1))
    return np.clip(image, 0, 255)


@painter("hay_side")
def _hay(rng: np.random.Generator) -> NDArray[np.float64]:
    image = bark(rng, (190, 156, 40))
    rect(image, 3, 0, 5, 16, (150, 60, 30))
    rect(image, 11, 0, 13, 16, (150, 60, 30))
    return image


@painter("hay_top")
def _hay_top(rng: np.random.Generator) -> NDArray[np.float64]:
    return log_top(rng, (150, 110, 30), (196, 164, 46))


@painter("cactus_side")
def _cactus(rng: np.random.Generator) -> NDArray[np.float64]:
    columns = np.asarray([0.7, 1.0, 1.1, 0.9] * 4)
    image = np.asarray((86, 128, 46)) * columns[None, :, None] * rng.choice([0.94, 1.0, 1.05], size=(SIDE, SIDE, 1))
    image[2::5, 2::4] = (222, 224, 190)
    return np.clip(image, 0, 255)


@painter("cactus_top")
def _cactus_top(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((92, 138, 50), [0.9, 1.0, 1.1]), [2, 4, 2])
    image[[0, 15]] = (60, 92, 32)
    image[:, [0, 15]] = (60, 92, 32)
    return image


def _blades(rng: np.random.Generator, base: Colour, count: int, lowest: int, highest: int) -> NDArray[np.float64]:
    """Blades of grass: columns of texels that lean."""
    image = blank()
    for _ in range(count):
        column, height = int(rng.integers(1, 15)), int(rng.integers(lowest, highest + 1))
        lean = int(rng.integers(-1, 2))
        tone = rng.choice([0.75, 0.9, 1.0, 1.15])
        for k in range(height):
            x = column + (lean if k > height * 0.55 else 0)
            if 0 <= x < SIDE:
                image[SIDE - 1 - k, x] = (*np.clip(np.asarray(base) * tone * (0.8 + 0.3 * k / height), 0, 255), 255)
    return image


@painter("grass")
def _grass(rng: np.random.Generator) -> NDArray[np.float64]:
    return _blades(rng, (112, 160, 66), 13, 4, 12)


@painter("fern")
def _fern(rng: np.random.Generator) -> NDArray[np.float64]:
    return _blades(rng, (84, 132, 58), 20, 6, 13)


@painter("sugar_cane")
def _sugar_cane(rng: np.random.Generator) -> NDArray[np.float64]:
    image = blank()
    for left in (2, 7, 12):
        for row in range(SIDE):
            joint = (row + left) % 6 == 0
            image[row, left : left + 2] = (*(shades((148, 192, 100), [0.75 if joint else 1.0])[0]), 255)
    return image


@painter("dead_bush")
def _dead_bush(rng: np.random.Generator) -> NDArray[np.float64]:
    image = blank()
    for dx, length in ((-1, 6), (1, 7), (0, 9)):
        for k in range(length):
            x = 8 + round(dx * k * 0.8)
            image[SIDE - 1 - k, x] = (124, 86, 44, 255)
            if k > 2 and k % 2:
                image[SIDE - 1 - k, x + (1 if dx >= 0 else -1)] = (104, 72, 36, 255)
    return image


def _flower(petal: Colour, heart: Colour) -> NDArray[np.float64]:
    image = blank()
    rect(image, 9, 7, 16, 8, (62, 112, 40, 255))
    image[12, 6] = image[11, 9] = image[12, 8] = (72, 128, 46, 255)
    rect(image, 5, 6, 9, 10, (*petal, 255))
    image[5, 6] = image[5, 9] = (0, 0, 0, 0)
    rect(image, 6, 7, 7, 9, (*heart, 255))
    return image


@painter("dandelion")
def _dandelion(rng: np.random.Generator) -> NDArray[np.float64]:
    return _flower((250, 224, 50), (255, 244, 120))


@painter("poppy")
def _poppy(rng: np.random.Generator) -> NDArray[np.float64]:
    return _flower((206, 32, 28), (66, 16, 16))


@painter("oak_sapling")
def _sapling(rng: np.random.Generator) -> NDArray[np.float64]:
    image = blank()
    rect(image, 10, 7, 16, 9, (104, 82, 50, 255))
    leaves = speckle(rng, shades((72, 128, 42), [0.7, 1.0, 1.25]), [2, 4, 2])
    for row in range(2, 11):
        half = 5 - abs(row - 6)
        image[row, 8 - half : 8 + half] = np.dstack([leaves, np.full((SIDE, SIDE), 255.0)])[row, 8 - half : 8 + half]
    return image


@painter("torch")
def _torch(rng: np.random.Generator) -> NDArray[np.float64]:
    image = blank()
    rect(image, 8, 7, 16, 9, (116, 88, 50, 255))
    image[8:, 8] = (92, 68, 36, 255)
    rect(image, 5, 7, 8, 9, (255, 216, 92, 255))
    image[6, 7:9] = (255, 250, 200, 255)
    return image


_register_dyed()

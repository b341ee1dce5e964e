"""Painters of mobs' skins. A part of a mob shows a whole texture on each of its faces, however large the part is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.simulator.painting import PAINTERS, SIDE, Colour, Painter, painter, rect, shades, speckle


def _patches(rng: np.random.Generator, ground: Colour, patch: Colour, count: int, size: int) -> NDArray[np.float64]:
    """Rectangular blotches, as on a cow."""
    image = speckle(rng, shades(ground, [0.9, 1.0, 1.08]), [2, 5, 2], run=(1, 2))
    spots = speckle(rng, shades(patch, [0.93, 1.0, 1.04]), [2, 5, 2], run=(1, 2))
    for _ in range(count):
        top, left = rng.integers(SIDE), rng.integers(SIDE)
        rows = (top + np.arange(rng.integers(2, size + 1))) % SIDE
        columns = (left + np.arange(rng.integers(2, size + 1))) % SIDE
        image[np.ix_(rows, columns)] = spots[np.ix_(rows, columns)]
    return image


_COW = (70, 54, 42)
_WHITE = (216, 211, 205)


@painter("cow_hide")
def _cow_hide(rng: np.random.Generator) -> NDArray[np.float64]:
    return _patches(rng, _COW, _WHITE, 6, 6)


@painter("cow_leg")
def _cow_leg(rng: np.random.Generator) -> NDArray[np.float64]:
    image = _patches(rng, _COW, _WHITE, 1, 4)
    rect(image, 13, 0, 16, 16, (48, 40, 36))
    return image


@painter("cow_head")
def _cow_head(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades(_COW, [0.9, 1.0, 1.08]), [2, 5, 2], run=(1, 2))


@painter("cow_face")
def _cow_face(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades(_COW, [0.92, 1.0, 1.06]), [2, 5, 2], run=(1, 2))
    rect(image, 0, 6, 10, 10, _WHITE)
    for left in (0, 12):
        rect(image, 4, left, 7, left + 4, (236, 236, 236))
    rect(image, 4, 2, 7, 4, (16, 14, 14))
    rect(image, 4, 12, 7, 14, (16, 14, 14))
    rect(image, 10, 2, 16, 14, (196, 176, 168))
    rect(image, 12, 4, 14, 6, (70, 56, 54))
    rect(image, 12, 10, 14, 12, (70, 56, 54))
    return image


@painter("horn")
def _horn(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((206, 202, 190), [0.85, 1.0]), [1, 2])


@painter("udder")
def _udder(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((228, 176, 170), [0.95, 1.0]), [1, 2])


@painter("sheep_wool")
def _sheep_wool(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((232, 230, 226), [0.86, 0.93, 1.0, 1.05]), [2, 3, 4, 2], run=(2, 2))


@painter("sheep_skin")
def _sheep_skin(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((214, 182, 158), [0.94, 1.0, 1.05]), [2, 4, 2], run=(1, 2))
    rect(image, 13, 0, 16, 16, (150, 120, 104))
    return image


@painter("sheep_face")
def _sheep_face(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((220, 188, 164), [0.95, 1.0, 1.04]), [2, 4, 2], run=(1, 2))
    rect(image, 0, 0, 3, 16, (232, 230, 226))
    for left, pupil in ((1, 3), (11, 11)):
        rect(image, 5, left, 8, left + 4, (240, 240, 240))
        rect(image, 5, pupil, 8, pupil + 2, (20, 18, 18))
    rect(image, 12, 5, 14, 11, (236, 160, 156))
    return image


@painter("pig_skin")
def _pig_skin(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((238, 160, 158), [0.9, 0.96, 1.0, 1.05]), [2, 3, 5, 2], run=(1, 2))


@painter("pig_leg")
def _pig_leg(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((232, 152, 150), [0.93, 1.0]), [2, 4], run=(1, 2))
    rect(image, 12, 0, 16, 16, (176, 108, 104))
    return image


@painter("pig_face")
def _pig_face(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((240, 164, 162), [0.95, 1.0, 1.04]), [2, 4, 2], run=(1, 2))
    for left, pupil in ((0, 0), (12, 14)):
        rect(image, 6, left, 8, left + 4, (244, 244, 244))
        rect(image, 6, pupil, 8, pupil + 2, (20, 16, 16))
    return image


@painter("pig_snout")
def _pig_snout(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((224, 138, 136), [0.95, 1.0]), [1, 3], run=(1, 2))
    rect(image, 6, 1, 11, 5, (140, 66, 66))
    rect(image, 6, 11, 11, 15, (140, 66, 66))
    return image


@painter("zombie_skin")
def _zombie_skin(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((88, 134, 70), [0.85, 0.95, 1.0, 1.08]), [2, 3, 4, 2], run=(1, 2))


@painter("zombie_face")
def _zombie_face(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((88, 134, 70), [0.88, 0.96, 1.0, 1.06]), [2, 3, 4, 2], run=(1, 2))
    rect(image, 8, 2, 10, 6, (12, 14, 12))
    rect(image, 8, 10, 10, 14, (12, 14, 12))
    rect(image, 10, 6, 12, 10, (62, 98, 50))
    rect(image, 13, 4, 14, 12, (56, 86, 46))
    return image


@painter("zombie_shirt")
def _zombie_shirt(rng: np.random.Generator) -> NDArray[np.float64]:
    return speckle(rng, shades((20, 146, 146), [0.82, 0.94, 1.0, 1.06]), [2, 3, 4, 2], run=(1, 2))


@painter("zombie_trousers")
def _zombie_trousers(rng: np.random.Generator) -> NDArray[np.float64]:
    image = speckle(rng, shades((68, 62, 150), [0.85, 0.95, 1.0]), [2, 3, 4], run=(1, 2))
    rect(image, 14, 0, 16, 16, (92, 92, 92))
    return image


@painter("zombie_sleeve")
def _zombie_sleeve(rng: np.random.Generator) -> NDArray[np.float64]:
    image = PAINTERS["zombie_skin"](rng)
    image[:5] = (20, 140, 140)
    return image


@painter("arm")
def _arm(rng: np.random.Generator) -> NDArray[np.float64]:
    """The player's arm: the hand above, the sleeve below."""
    image = speckle(rng, shades((196, 144, 116), [0.92, 0.97, 1.0, 1.04]), [2, 3, 4, 2], run=(1, 2))
    image[11:] = speckle(rng, shades((20, 150, 150), [0.85, 0.95, 1.0]), [2, 3, 4], run=(1, 2))[11:]
    return image


# ---------------------------------------------------------------------------------------------------- more mobs


def _plain(base: Colour, factors: tuple[float, ...] = (0.9, 0.96, 1.0, 1.05)) -> Painter:
    """A coat of one colour."""
    return lambda rng: speckle(rng, shades(base, list(factors)), [2, 3, 4, 2][: len(factors)], run=(1, 2))


for _name, _base in {
    "chicken_feathers": (236, 236, 236),
    "chicken_leg": (232, 190, 60),
    "chicken_beak": (230, 176, 56),
    "chicken_wattle": (196, 36, 30),
    "bone": (196, 196, 192),
    "spider_skin": (52, 44, 40),
    "enderman_skin": (22, 20, 24),
}.items():
    PAINTERS[_name] = _plain(_base)


@painter("chicken_face")
def _chicken_face(rng: np.random.Generator) -> NDArray[np.float64]:
    image = PAINTERS["chicken_feathers"](rng)
    for left in (0, 12):
        rect(image, 4, left, 7, left + 4, (20, 18, 18))
    return image


@painter("chicken_head")
def _chicken_head(rng: np.random.Generator) -> NDArray[np.float64]:
    image = PAINTERS["chicken_feathers"](rng)
    rect(image, 4, 9, 7, 14, (20, 18, 18))
    return image


@painter("skeleton_face")
def _skeleton_face(rng: np.random.Generator) -> NDArray[np.float64]:
    image = PAINTERS["bone"](rng)
    rect(image, 7, 2, 10, 6, (44, 44, 44))
    rect(image, 7, 10, 10, 14, (44, 44, 44))
    rect(image, 10, 7, 12, 9, (92, 92, 92))
    rect(image, 13, 2, 14, 14, (60, 60, 60))
    return image


@painter("skeleton_ribs")
def _skeleton_ribs(rng: np.random.Generator) -> NDArray[np.float64]:
    image = PAINTERS["bone"](rng) * 0.92
    for row in (2, 5, 8):
        rect(image, row, 1, row + 2, 7, (70, 70, 70))
        rect(image, row, 9, row + 2, 15, (70, 70, 70))
    rect(image, 10, 0, 14, 6, (58, 58, 58))
    rect(image, 10, 10, 14, 16, (58, 58, 58))
    return image


@painter("creeper_skin")
def _creeper_skin(rng: np.random.Generator) -> NDArray[np.float64]:
    palette = [(92, 178, 74), (120, 202, 100), (70, 150, 60), (178, 220, 166), (44, 110, 44)]
    return speckle(rng, palette, [4, 3, 3, 1.5, 1])


@painter("creeper_face")
def _creeper_face(rng: np.random.Generator) -> NDArray[np.float64]:
    image = PAINTERS["creeper_skin"](rng)
    black = (10, 12, 10)
    rect(image, 4, 2, 8, 6, black)
    rect(image, 4, 10, 8, 14, black)
    rect(image, 8, 6, 14, 10, black)
    rect(image, 10, 4, 16, 6, black)
    rect(image, 10, 10, 16, 12, black)
    return image


@painter("creeper_foot")
def _creeper_foot(rng: np.random.Generator) -> NDArray[np.float64]:
    image = PAINTERS["creeper_skin"](rng)
    for left in (1, 6, 11):
        rect(image, 12, left, 16, left + 4, (24, 28, 24))
    return image


@painter("spider_face")
def _spider_face(rng: np.random.Generator) -> NDArray[np.float64]:
    image = PAINTERS["spider_skin"](rng)
    for top, left, size in ((6, 3, 3), (6, 10, 3), (4, 1, 2), (4, 13, 2), (10, 5, 2), (10, 9, 2)):
        rect(image, top, left, top + size, left + size, (168, 14, 14))
    rect(image, 13, 4, 16, 7, (82, 72, 66))
    rect(image, 13, 9, 16, 12, (82, 72, 66))
    return image


@painter("enderman_face")
def _enderman_face(rng: np.random.Generator) -> NDArray[np.float64]:
    image = PAINTERS["enderman_skin"](rng)
    for left in (0, 10):
        rect(image, 8, left, 10, left + 6, (204, 90, 250))
        rect(image, 8, left + 2, 10, left + 4, (240, 190, 255))
    return image


# ---------------------------------------------------------------------------------------------------- arrows


@painter("arrow_side")
def _arrow_side(rng: np.random.Generator) -> NDArray[np.float64]:
    """An arrow that points to the right: tip, shaft, feathers."""
    image = np.zeros((SIDE, SIDE, 4))
    rect(image, 7, 2, 10, 14, (122, 90, 50, 255))
    rect(image, 8, 2, 9, 14, (150, 112, 64, 255))
    rect(image, 5, 12, 12, 14, (120, 120, 120, 255))
    rect(image, 7, 14, 10, 16, (170, 170, 170, 255))
    rect(image, 3, 0, 14, 4, (228, 228, 228, 255))
    rect(image, 6, 1, 11, 3, (196, 196, 196, 255))
    rect(image, 7, 0, 10, 5, (122, 90, 50, 255))
    return image


@painter("arrow_back")
def _arrow_back(rng: np.random.Generator) -> NDArray[np.float64]:
    """The feathers from behind."""
    image = np.zeros((SIDE, SIDE, 4))
    for k in range(3, 13):
        image[k - 1 : k + 1, k] = image[14 - k : 16 - k, k] = (210, 210, 210, 255)
    rect(image, 6, 6, 9, 9, (122, 90, 50, 255))
    return image


@painter("arrow_top")
def _arrow_top(rng: np.random.Generator) -> NDArray[np.float64]:
    """The same for a plane whose rows run along the shaft."""
    return PAINTERS["arrow_side"](rng).transpose(1, 0, 2)

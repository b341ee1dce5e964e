"""Icons of items, 16x16: patterns of letters for things, small oblique cubes for blocks; and the cracks of breaking.

Tools share patterns and differ in the material's colours.
"""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.simulator import icon_patterns as patterns
from minestudio_nb.simulator.painting import SIDE, Colour, Image

_HANDLE: Final = {"H": (140, 103, 58), "h": (92, 66, 34)}
_MATERIAL_COLOURS: Final[dict[str, Colour]] = {
    "leather": (150, 88, 52),
    "chainmail": (128, 130, 136),
    "wooden": (152, 118, 70),
    "stone": (146, 146, 146),
    "iron": (222, 222, 222),
    "golden": (248, 214, 70),
    "diamond": (84, 232, 218),
    "netherite": (82, 74, 78),
}
SHAPES: Final = ("bow_pulling_0", "bow_pulling_1", "bow_pulling_2")
"""Pictures of items in use, which are no items of their own."""
_MADE_PATTERNS: Final = {
    "axe": patterns.AXE,
    "pickaxe": patterns.PICKAXE,
    "shovel": patterns.SHOVEL,
    "sword": patterns.SWORD,
    "hoe": patterns.HOE,
    "helmet": patterns.HELMET,
    "chestplate": patterns.CHESTPLATE,
    "leggings": patterns.LEGGINGS,
    "boots": patterns.BOOTS,
}

# item: pattern, main colour, and letters that differ from what the main colour gives
_THINGS: Final[dict[str, tuple[str, Colour, dict[str, Colour]]]] = {
    "shears": (patterns.FLINT_STEEL, (200, 200, 200), {"K": (180, 180, 180), "S": (110, 110, 110)}),
    "bow": (patterns.BOW, (137, 103, 39), {"W": (226, 226, 226)}),
    "arrow": (patterns.ARROW, (150, 150, 150), {"W": (236, 236, 236)}),
    **{name: (patterns.drawn_bow(9 + 2 * k), (150, 150, 150), {"W": (226, 226, 226)}) for k, name in enumerate(SHAPES)},
    "flint_and_steel": (patterns.FLINT_STEEL, (190, 190, 190), {"K": (64, 62, 64), "S": (36, 34, 36)}),
    "shield": (patterns.SHIELD, (130, 100, 60), {"H": (120, 120, 124)}),
    "bucket": (patterns.BUCKET, (200, 200, 204), {"F": (90, 90, 96)}),
    "water_bucket": (patterns.BUCKET, (200, 200, 204), {"F": (56, 98, 216)}),
    "lava_bucket": (patterns.BUCKET, (200, 200, 204), {"F": (230, 116, 30)}),
    "stick": (patterns.STICK, (140, 103, 58), {}),
    "coal": (patterns.LUMP, (58, 58, 58), {}),
    "charcoal": (patterns.LUMP, (82, 70, 58), {}),
    "iron_ingot": (patterns.INGOT, (216, 216, 216), {}),
    "gold_ingot": (patterns.INGOT, (250, 210, 60), {}),
    "netherite_ingot": (patterns.INGOT, (82, 74, 78), {}),
    "diamond": (patterns.GEM, (92, 226, 220), {}),
    "emerald": (patterns.GEM, (40, 200, 100), {}),
    "redstone": (patterns.DUST, (190, 10, 6), {}),
    "lapis_lazuli": (patterns.LUMP, (44, 84, 190), {}),
    "flint": (patterns.LUMP, (66, 64, 66), {}),
    "beef": (patterns.MEAT, (200, 52, 46), {"W": (236, 190, 180)}),
    "cooked_beef": (patterns.MEAT, (136, 82, 50), {"W": (190, 150, 110)}),
    "porkchop": (patterns.MEAT, (242, 132, 128), {"W": (250, 212, 206)}),
    "cooked_porkchop": (patterns.MEAT, (206, 166, 104), {"W": (236, 208, 160)}),
    "mutton": (patterns.MEAT, (214, 76, 66), {"W": (240, 224, 214)}),
    "cooked_mutton": (patterns.MEAT, (150, 92, 62), {"W": (220, 200, 180)}),
    "chicken": (patterns.MEAT, (240, 188, 166), {"W": (250, 232, 214)}),
    "rotten_flesh": (patterns.MEAT, (160, 84, 44), {"W": (120, 130, 70)}),
    "apple": (patterns.ROUND, (218, 32, 38), {}),
    "bread": (patterns.LOAF, (188, 136, 54), {}),
    "melon_slice": (patterns.LOAF, (214, 62, 50), {"S": (90, 140, 40)}),
    "leather": (patterns.HIDE, (180, 96, 56), {}),
    "feather": (patterns.STRAND, (230, 230, 230), {"W": (200, 200, 200)}),
    "string": (patterns.STRAND, (220, 220, 220), {"M": (240, 240, 240)}),
    "bone": (patterns.STRAND, (226, 222, 200), {"W": (190, 186, 160)}),
    "gunpowder": (patterns.DUST, (116, 116, 116), {}),
    "wheat_seeds": (patterns.DUST, (60, 140, 40), {}),
    "wheat": (patterns.STRAND, (210, 180, 70), {"W": (150, 130, 40)}),
    "book": (patterns.BOOK, (130, 84, 40), {"W": (232, 226, 204)}),
    "snowball": (patterns.ROUND, (236, 244, 246), {}),
    "clay_ball": (patterns.ROUND, (164, 170, 184), {}),
    "glowstone_dust": (patterns.DUST, (230, 200, 90), {}),
    "egg": (patterns.ROUND, (224, 204, 150), {}),
    "ender_pearl": (patterns.ROUND, (30, 120, 106), {}),
    "ender_eye": (patterns.ROUND, (80, 160, 80), {"L": (200, 240, 150)}),
    "paper": (patterns.BOOK, (232, 230, 222), {"W": (210, 208, 200)}),
    "map": (patterns.BOOK, (214, 200, 150), {"W": (190, 176, 130)}),
    "cooked_chicken": (patterns.MEAT, (196, 138, 84), {"W": (230, 200, 160)}),
    "carrot": (patterns.STRAND, (232, 128, 26), {"W": (80, 150, 50)}),
    "potato": (patterns.LUMP, (204, 164, 92), {}),
    "baked_potato": (patterns.LUMP, (222, 182, 84), {"S": (120, 84, 40)}),
    "cookie": (patterns.ROUND, (190, 122, 62), {}),
    "golden_apple": (patterns.ROUND, (246, 214, 66), {}),
    "spider_eye": (patterns.ROUND, (146, 30, 60), {"L": (222, 96, 96)}),
    "sugar": (patterns.DUST, (238, 240, 244), {}),
    "slime_ball": (patterns.ROUND, (122, 200, 104), {}),
    "bone_meal": (patterns.DUST, (222, 220, 206), {}),
    "brick": (patterns.INGOT, (172, 92, 70), {}),
    "quartz": (patterns.GEM, (236, 228, 222), {}),
    "cocoa_beans": (patterns.LUMP, (112, 70, 40), {}),
    "bowl": (patterns.BUCKET, (132, 92, 52), {"F": (84, 56, 30)}),
    "milk_bucket": (patterns.BUCKET, (200, 200, 204), {"F": (246, 246, 246)}),
    "compass": (patterns.ROUND, (168, 168, 174), {"L": (210, 60, 50)}),
    "clock": (patterns.ROUND, (240, 200, 62), {"L": (70, 100, 190)}),
    "lead": (patterns.STRAND, (122, 92, 62), {"W": (160, 130, 96)}),
    "red_dye": (patterns.DUST, (168, 42, 40), {}),
    "blaze_powder": (patterns.DUST, (250, 184, 44), {}),
    "fire_charge": (patterns.ROUND, (70, 48, 36), {"L": (240, 140, 40)}),
}


def _draw(pattern: str, colour: Colour, letters: dict[str, Colour]) -> Image:
    base = np.asarray(colour, float)
    tones: dict[str, Colour] = {
        "D": tuple(base * 0.32),
        "M": tuple(base),
        "L": tuple(np.minimum(base * 1.22 + 18, 255)),
        "S": tuple(base * 0.68),
        "W": (240, 240, 240),
        **_HANDLE,
        **letters,
    }
    image = np.zeros((SIDE, SIDE, 4), np.uint8)
    for row, line in enumerate(pattern.strip().splitlines()):
        for column, letter in enumerate(line):
            if letter != ".":
                image[row, column] = (*(int(value) for value in tones[letter]), 255)
    return image


def draw_item(name: str) -> Image:
    """The icon of an item that is no block, uint8[16, 16, 4]."""
    material, _, shape = name.partition("_")
    if material in _MATERIAL_COLOURS and shape in _MADE_PATTERNS:
        return _draw(_MADE_PATTERNS[shape], _MATERIAL_COLOURS[material], {})
    pattern, colour, letters = _THINGS[name]
    return _draw(pattern, colour, letters)


def _cube_point(row: float, column: float) -> tuple[int, float, float] | None:
    """Which face of the oblique cube a point of the icon shows, and where on it (u, v in 0..1).

    Faces: 0 top, 1 left, 2 right. The cube fills the icon: its top corner is at row 0, its bottom corner at row 16.
    """
    x, y = (column - 8.0) / 7.0, row / 4.0
    u, v = (y + x) / 2.0, (y - x) / 2.0
    if 0 <= u < 1 and 0 <= v < 1:
        return 0, u, v
    if -1 <= x < 0:
        top = 4.0 + 4.0 * (x + 1.0)
        down = (row - top) / 8.0
        return (1, x + 1.0, down) if 0 <= down < 1 else None
    if 0 <= x < 1:
        top = 8.0 - 4.0 * x
        down = (row - top) / 8.0
        return (2, x, down) if 0 <= down < 1 else None
    return None


def draw_cube(top: Image, left: Image, right: Image) -> Image:
    """The icon of a block: an oblique cube with its top bright, its left side darker, its right side darkest."""
    image = np.zeros((SIDE, SIDE, 4), np.uint8)
    for row in range(SIDE):
        for column in range(SIDE):
            point = _cube_point(row + 0.5, column + 0.5)
            if point is None:
                continue
            face, u, v = point
            source = (top, left, right)[face]
            texel = source[min(int(v * SIDE), 15), min(int(u * SIDE), 15)]
            shade = (1.0, 0.8, 0.6)[face]
            image[row, column] = (*(texel[:3] * shade).astype(np.uint8), texel[3])
    return image


def crack_stages() -> NDArray[np.uint8]:
    """The ten stages of a breaking block, uint8[10, 16, 16]: 1 where a crack is; each contains the one before."""
    rng = np.random.default_rng(zlib.crc32(b"cracks"))
    order: list[tuple[int, int]] = []
    for branch in range(10):
        angle = branch * 2 * np.pi / 10 + rng.uniform(-0.3, 0.3)
        row, column = 7.5, 7.5
        for _ in range(13):
            row += np.sin(angle) * 0.9
            column += np.cos(angle) * 0.9
            angle += rng.uniform(-0.6, 0.6)
            if 0 <= row < SIDE and 0 <= column < SIDE:
                order.append((int(row), int(column)))
    # Cracks grow outwards from the middle, a little unevenly.
    order.sort(key=lambda p: (p[0] - 7.5) ** 2 + (p[1] - 7.5) ** 2 + rng.uniform(0, 30))
    stages = np.zeros((10, SIDE, SIDE), np.uint8)
    for stage in range(10):
        for row, column in order[: len(order) * (stage + 1) // 10]:
            stages[stage, row, column] = 1
    return stages

"""What lies flat over the picture: crosshair, hotbar with icons, counts and wear, off hand, hearts, food, breath.

It is laid out on Minecraft's interface of 320x180 units (a 640x360 window at scale 2) and shrunk to the frame's size,
as the whole of Minecraft's frame would be. Every sprite is shrunk once per frame size, so that drawing is copying.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from minestudio_nb.simulator.blocks import (
    BLOCKS,
    CROSS,
    FIRST_ITEM,
    ITEM_ARMOR,
    ITEM_DURABILITY,
    ITEMS,
    NUM_BLOCKS,
    NUM_ITEMS,
)
from minestudio_nb.simulator.icons import draw_cube, draw_item
from minestudio_nb.simulator.state import FULL_AIR, OFFHAND_SLOT, SLOT_COUNT, SLOT_DAMAGE, SLOT_ITEM
from minestudio_nb.simulator.textures import block_faces, texture

_DURABILITY: Final = ITEM_DURABILITY
_ARMOR: Final = ITEM_ARMOR
_ARMOR_SLOTS: Final = (36, 40)  # of the inventory: feet to head
UNITS_WIDE: Final = 320
UNITS_HIGH: Final = 180
DETAIL_WIDTH: Final = 200
"""Frames narrower than this show no hearts, food, breath, counts and wear."""

# Sprites before the icons. Digits, then hearts and food as empty, half and full.
_SPRITE_BAR, _SPRITE_SELECTOR, _SPRITE_DIGITS = 0, 1, 2
_SPRITE_HEARTS, _SPRITE_FOOD, _SPRITE_BUBBLES = 12, 15, 18
_SPRITE_OFFHAND, _SPRITE_EXPERIENCE, _SPRITE_ARMOR, _SPRITE_ICONS = 20, 21, 22, 25

_HEART: Final = """
.XX...XX.
XOOX.XOOX
XOOOXOOOX
XOOOOOOOX
XOOOOOOOX
.XOOOOOX.
..XOOOX..
...XOX...
....X....
"""
_DRUMSTICK: Final = """
....XXXX.
...XOOOOX
..XOOOOOX
..XOOOOOX
..XOOOOX.
.XXOOXX..
XXBXX....
XBX......
.X.......
"""
_CHESTPLATE: Final = """
.XX...XX.
XOOX.XOOX
XOOOXOOOX
XXOOOOOXX
.XOOOOOX.
.XOOOOOX.
.XOOOOOX.
.XOOOOOX.
..XXXXX..
"""
_BUBBLE: Final = """
..XXXXX..
.XOOOOOX.
XOWWOOOOX
XOWOOOOOX
XOOOOOOOX
XOOOOOOOX
XOOOOOLOX
.XOOOOOX.
..XXXXX..
"""
_POPPING: Final = """
.........
.X..X..X.
..X...X..
.........
XX.....XX
.........
..X...X..
.X..X..X.
.........
"""
_DIGITS: Final = (
    "01110100011001110101110011000101110",
    "00100011000010000100001000010011111",
    "01110100010000100110010001000111111",
    "01110100010000100110000011000101110",
    "00011001010100110001111110000100001",
    "11111100001111000001000011000101110",
    "00110010001000011110100011000101110",
    "11111100010000100010001000010000100",
    "01110100011000101110100011000101110",
    "01110100011000101111000010001001100",
)


def _pattern(text: str, colours: dict[str, tuple[int, int, int]], half: bool = False) -> NDArray[np.uint8]:
    lines = text.strip().splitlines()
    image = np.zeros((len(lines), len(lines[0]), 4), np.uint8)
    for row, line in enumerate(lines):
        for column, letter in enumerate(line):
            if letter != ".":
                filled = letter == "X" or not half or column < 5
                image[row, column] = (*(colours[letter] if filled else (56, 24, 24)), 255)
    return image


def _digit(bits: str) -> NDArray[np.uint8]:
    """A white digit with a dark shadow down to the right, 8x6."""
    mask = np.array([bit == "1" for bit in bits]).reshape(7, 5)
    image = np.zeros((8, 6, 4), np.uint8)
    image[1:, 1:][mask] = (62, 62, 62, 255)
    image[:7, :5][mask] = (255, 255, 255, 255)
    return image


def _bar() -> NDArray[np.uint8]:
    """The hotbar: nine slots, 22x182."""
    image = np.zeros((22, 182, 4), np.uint8)
    image[:] = (0, 0, 0, 255)
    for slot in range(9):
        left = 1 + 20 * slot
        image[1:21, left : left + 20] = (139, 139, 139, 150)
        image[2:20, left + 1 : left + 19] = (72, 72, 72, 140)
    return image


def _offhand_slot() -> NDArray[np.uint8]:
    """The slot of the off hand, 22x22."""
    return np.concatenate([_bar()[:, :21], _bar()[:, :1]], 1)


def _experience() -> NDArray[np.uint8]:
    """The empty bar of experience, which this world does not have, but Minecraft always shows: 5x182."""
    image = np.zeros((5, 182, 4), np.uint8)
    image[:] = (0, 0, 0, 255)
    image[1:4, 1:181] = (58, 70, 50, 255)
    image[1:4, 10::18] = (24, 30, 20, 255)
    return image


def _selector() -> NDArray[np.uint8]:
    """The frame around the selected slot, 24x24."""
    image = np.zeros((24, 24, 4), np.uint8)
    image[:] = (30, 30, 30, 255)
    image[1:23, 1:23] = (224, 224, 224, 255)
    image[3:21, 3:21] = (40, 40, 40, 255)
    image[4:20, 4:20] = 0
    return image


@lru_cache(maxsize=NUM_ITEMS)
def item_icon(item: int) -> NDArray[np.uint8]:
    """The icon of an item id, uint8[16, 16, 4]: a cube for a solid block, else a flat picture."""
    if item >= NUM_BLOCKS:
        return draw_item(ITEMS[item - FIRST_ITEM].name)
    top, _, side_x, side_z = block_faces(BLOCKS[item].name)
    if CROSS[item]:
        return texture(side_x)
    return draw_cube(texture(top), texture(side_x), texture(side_z))


@lru_cache(maxsize=64)
def _coverage(old: int, new: int) -> NDArray[np.float64]:
    """float64[new, old]: the share that each of ``old`` cells has in each of ``new`` that span the same length."""
    edges = np.arange(new + 1) * (old / new)
    cells = np.arange(old)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return np.maximum(overlap, 0.0) * (new / old)


def _shrink(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The image at another size, each pixel the mean of what it covers; colours multiplied by opacity."""
    premultiplied = image.astype(float)
    premultiplied[..., :3] *= premultiplied[..., 3:] / 255.0

    rows, columns = _coverage(image.shape[0], height), _coverage(image.shape[1], width)
    channels = np.moveaxis(premultiplied, 2, 0)
    return (np.moveaxis(rows @ channels @ columns.T, 0, 2) + 0.5).astype(np.uint8)


@dataclass(frozen=True)
class HudSheet:
    """All sprites for one frame size.

    Attributes:
        pixels: uint8[n, 4], the sprites one after the other, RGB multiplied by opacity.
        sprites: int32[sprites, 3]: first pixel, height, width.
        places: int32[6, 11, 2], (row, column) of the slots' selectors and the hotbar; of the slots' icons, the off
            hand's icon and its slot; of the hearts and the bar of experience; of food, bubbles and armor.
    """

    pixels: NDArray[np.uint8]
    sprites: NDArray[np.int32]
    places: NDArray[np.int32]


_PLACE_BAR, _PLACE_ICONS, _PLACE_HEARTS, _PLACE_FOOD, _PLACE_BUBBLES, _PLACE_ARMOR = range(6)
_BREATH_PER_BUBBLE: Final = FULL_AIR / 10.0


def _places(height: int, width: int) -> NDArray[np.int32]:
    units = np.zeros((6, 11, 2))
    units[_PLACE_BAR, 10] = (158, 69)
    for k in range(10):
        units[_PLACE_BAR, k] = (157, 68 + 20 * k)
        units[_PLACE_ICONS, k] = (161, 72 + 20 * k)
        units[_PLACE_HEARTS, k] = (141, 69 + 8 * k)
        units[_PLACE_FOOD, k] = (141, 242 - 8 * k)
        units[_PLACE_BUBBLES, k] = (131, 242 - 8 * k)
        units[_PLACE_ARMOR, k] = (131, 69 + 8 * k)
    units[_PLACE_ICONS, 9], units[_PLACE_ICONS, 10] = (161, 43), (158, 40)
    units[_PLACE_HEARTS, 10] = (152, 69)
    return np.round(units * (height / UNITS_HIGH, width / UNITS_WIDE)).astype(np.int32)


@lru_cache(maxsize=8)
def hud_sheet(height: int, width: int) -> HudSheet:
    """The sprites for frames of a size; made once per size and process, in about 0.1 s."""
    red = {"X": (20, 10, 10), "O": (225, 28, 24)}
    tan = {"X": (30, 20, 12), "O": (180, 116, 62), "B": (230, 220, 200)}
    dark_heart, dark_meat = (
        {"X": (20, 10, 10), "O": (56, 24, 24)},
        {"X": (30, 20, 12), "O": (56, 36, 24), "B": (56, 36, 24)},
    )
    images = [_bar(), _selector(), *(_digit(bits) for bits in _DIGITS)]
    images += [_pattern(_HEART, dark_heart), _pattern(_HEART, red, half=True), _pattern(_HEART, red)]
    images += [_pattern(_DRUMSTICK, dark_meat), _pattern(_DRUMSTICK, tan, half=True), _pattern(_DRUMSTICK, tan)]
    blue = {"X": (22, 52, 150), "O": (84, 140, 240), "W": (236, 244, 255), "L": (150, 190, 255)}
    images += [_pattern(_BUBBLE, blue), _pattern(_POPPING, {"X": (120, 170, 250)}), _offhand_slot(), _experience()]
    grey, dark = {"X": (30, 30, 32), "O": (196, 196, 200)}, {"X": (30, 30, 32), "O": (56, 56, 60)}
    images += [_pattern(_CHESTPLATE, dark), _pattern(_CHESTPLATE, grey, half=True), _pattern(_CHESTPLATE, grey)]
    images += [np.zeros((16, 16, 4), np.uint8), *(item_icon(item) for item in range(1, NUM_BLOCKS))]
    images += [item_icon(FIRST_ITEM + k) for k in range(len(ITEMS))]
    shrunk = [
        _shrink(
            image,
            max(1, round(image.shape[0] * height / UNITS_HIGH)),
            max(1, round(image.shape[1] * width / UNITS_WIDE)),
        )
        for image in images
    ]
    starts = np.cumsum([0] + [image.shape[0] * image.shape[1] for image in shrunk])
    sprites = [(start, image.shape[0], image.shape[1]) for start, image in zip(starts, shrunk, strict=False)]
    pixels = np.concatenate([image.reshape(-1, 4) for image in shrunk])
    return HudSheet(pixels, np.array(sprites, np.int32), _places(height, width))


@njit(cache=True, nogil=True)
def _blit(pixels, sprites, sprite, row, column, out):
    """Lay a sprite over the picture with its top left corner at (row, column)."""
    start, height, width = sprites[sprite, 0], sprites[sprite, 1], sprites[sprite, 2]
    for j in range(max(0, -row), min(height, out.shape[0] - row)):
        for i in range(max(0, -column), min(width, out.shape[1] - column)):
            source = start + j * width + i
            clear = 255 - np.int32(pixels[source, 3])
            if clear == 255:
                continue
            for k in range(3):
                below = np.int32(out[row + j, column + i, k])
                out[row + j, column + i, k] = np.uint8(pixels[source, k] + below * clear // 255)


@njit(cache=True, nogil=True)
def _crosshair(out):
    """A plus of 9x9 units that inverts what is under it, so that it shows on every ground."""
    rows, columns = out.shape[0], out.shape[1]
    arm_rows, arm_columns = 4.5 * rows / UNITS_HIGH, 4.5 * columns / UNITS_WIDE
    half_rows, half_columns = max(0.5 * rows / UNITS_HIGH, 0.5), max(0.5 * columns / UNITS_WIDE, 0.5)
    middle_row, middle_column = rows / 2.0, columns / 2.0
    for j in range(int(middle_row - arm_rows), int(middle_row + arm_rows) + 1):
        for i in range(int(middle_column - arm_columns), int(middle_column + arm_columns) + 1):
            down, across = abs(j + 0.5 - middle_row), abs(i + 0.5 - middle_column)
            upright = across <= half_columns and down <= arm_rows
            level = down <= half_rows and across <= arm_columns
            if upright or level:
                for k in range(3):
                    out[j, i, k] = 255 - out[j, i, k] if abs(out[j, i, k] - 128) > 40 else 240


@njit(cache=True, nogil=True)
def _draw_count(pixels, sprites, count, row, column, out):
    """A count at the lower right of a slot whose icon is at (row, column)."""
    height, width = sprites[_SPRITE_DIGITS, 1], sprites[_SPRITE_DIGITS, 2]
    row += sprites[_SPRITE_ICONS, 1] + 1 - height
    column += sprites[_SPRITE_ICONS, 2] + 1 - width
    while count > 0:
        _blit(pixels, sprites, _SPRITE_DIGITS + count % 10, row, column, out)
        column -= width
        count //= 10


@njit(cache=True, nogil=True)
def _draw_wear(left, row, column, out):
    """The bar below a worn tool's icon at (row, column); ``left`` is the share of its uses that is left, 0 to 1."""
    rows, columns = out.shape[0] / UNITS_HIGH, out.shape[1] / UNITS_WIDE
    top, first = row + round(13 * rows), column + round(2 * columns)
    width, full = round(13 * columns), round(13 * columns * left)
    red, green = int(min(2.0 - 2.0 * left, 1.0) * 255), int(min(2.0 * left, 1.0) * 255)
    for j in range(max(round(2 * rows), 1)):
        for i in range(width):
            coloured = i < full and j < max(round(rows), 1)
            out[top + j, first + i, 0] = red if coloured else 0
            out[top + j, first + i, 1] = green if coloured else 0
            out[top + j, first + i, 2] = 0


@njit(cache=True, nogil=True)
def _draw_slot(pixels, sprites, stack, row, column, detailed, out):
    """The icon of a stack (item id, count, wear) at (row, column), with its count and its wear."""
    item, count = stack[SLOT_ITEM], stack[SLOT_COUNT]
    if count <= 0 or item <= 0:
        return
    # Icons of the items that are no blocks follow those of the blocks directly.
    sprite = _SPRITE_ICONS + (item if item < NUM_BLOCKS else item - FIRST_ITEM + NUM_BLOCKS)
    _blit(pixels, sprites, sprite, row, column, out)
    if not detailed:
        return
    if count > 1:
        _draw_count(pixels, sprites, count, row, column, out)
    if stack[SLOT_DAMAGE] > 0 and _DURABILITY[item] > 0:
        _draw_wear(max(1.0 - stack[SLOT_DAMAGE] / _DURABILITY[item], 0.0), row, column, out)


@njit(cache=True, nogil=True)
def _draw_breath(pixels, sprites, places, air, out):
    """Bubbles for the ticks of breath that are left under water; the last one may be bursting."""
    whole = math.ceil((air - 2.0) / _BREATH_PER_BUBBLE)
    shown = math.ceil(air / _BREATH_PER_BUBBLE)
    for k in range(max(shown, 0)):
        _blit(pixels, sprites, _SPRITE_BUBBLES + (0 if k < whole else 1), places[k, 0], places[k, 1], out)


@njit(cache=True, nogil=True)
def _draw_row(pixels, sprites, first_sprite, places, amount, out):
    """Ten hearts, drumsticks or pieces of armor for an amount of 0 to 20."""
    for k in range(10):
        left = amount - 2.0 * k
        state = 2 if left >= 1.5 else (1 if left > 0.0 else 0)
        _blit(pixels, sprites, first_sprite + state, places[k, 0], places[k, 1], out)


@njit(cache=True, nogil=True)
def draw_hud(pixels, sprites, places, inventory, slot, health, food, air, out):
    """Draw everything flat over a frame.

    Args:
        pixels, sprites, places: of the ``HudSheet`` of the frame's size.
        inventory: int32[41, 3] of item id, count and wear; the first nine rows are the hotbar.
        slot: the selected one, 0 to 8.
        health, food: 0 to 20.
        air: ticks of breath left, ``FULL_AIR`` in the open.
        out: uint8[H, W, 3], written.
    """
    _crosshair(out)
    detailed = out.shape[1] >= DETAIL_WIDTH
    _blit(pixels, sprites, _SPRITE_BAR, places[_PLACE_BAR, 10, 0], places[_PLACE_BAR, 10, 1], out)
    _blit(pixels, sprites, _SPRITE_SELECTOR, places[_PLACE_BAR, slot, 0], places[_PLACE_BAR, slot, 1], out)
    for k in range(9):
        _draw_slot(pixels, sprites, inventory[k], places[_PLACE_ICONS, k, 0], places[_PLACE_ICONS, k, 1], detailed, out)
    if inventory[OFFHAND_SLOT, SLOT_COUNT] > 0:
        icon, frame = places[_PLACE_ICONS, 9], places[_PLACE_ICONS, 10]
        _blit(pixels, sprites, _SPRITE_OFFHAND, frame[0], frame[1], out)
        _draw_slot(pixels, sprites, inventory[OFFHAND_SLOT], icon[0], icon[1], detailed, out)
    if detailed:
        bar = places[_PLACE_HEARTS, 10]
        _blit(pixels, sprites, _SPRITE_EXPERIENCE, bar[0], bar[1], out)
        _draw_row(pixels, sprites, _SPRITE_HEARTS, places[_PLACE_HEARTS], health, out)
        _draw_row(pixels, sprites, _SPRITE_FOOD, places[_PLACE_FOOD], food, out)
        armor = 0
        for k in range(_ARMOR_SLOTS[0], _ARMOR_SLOTS[1]):
            if inventory[k, SLOT_COUNT] > 0:
                armor += _ARMOR[inventory[k, SLOT_ITEM]]
        if armor > 0:
            _draw_row(pixels, sprites, _SPRITE_ARMOR, places[_PLACE_ARMOR], armor, out)
        if air < FULL_AIR:
            _draw_breath(pixels, sprites, places[_PLACE_BUBBLES], air, out)

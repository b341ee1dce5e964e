"""Box models of mobs: which boxes a cow is made of, how they swing, and which textures they wear.

Lengths are in blocks; x to the mob's left, y up from the ground, z forward. The proportions are those of Minecraft's
mobs (a sixteenth of a block is a "pixel" there).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.simulator.textures import tile

KIND_COW: Final = 0
KIND_SHEEP: Final = 1
KIND_PIG: Final = 2
KIND_ZOMBIE: Final = 3
KIND_ITEM: Final = 1000
"""Kind ``KIND_ITEM + item`` is an item that lies about."""

# How a part moves.
MOVE_STILL: Final = 0
MOVE_LEG: Final = 1  # swings with the limb phase
MOVE_LEG_BACK: Final = 2  # swings against it
MOVE_HEAD: Final = 3  # nods with the pitch


@dataclass(frozen=True)
class Part:
    """One box: its corners, the point (y, z) it turns about, its movement, and its textures."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    side: str
    front: str = ""
    top: str = ""
    move: int = MOVE_STILL
    pivot: tuple[float, float] = (0.0, 0.0)


def _legs(
    side: str, half_x: float, front_z: float, back_z: float, height: float, width: float = 0.25, foot: float = 0.0
) -> list[Part]:
    """Four boxes from ``foot`` to ``height``; diagonal ones move together."""
    parts = []
    for z, moves in ((front_z, (MOVE_LEG, MOVE_LEG_BACK)), (back_z, (MOVE_LEG_BACK, MOVE_LEG))):
        for sign, move in ((-1.0, moves[0]), (1.0, moves[1])):
            x0, x1 = sorted((sign * half_x, sign * (half_x - width)))
            low, high = (x0, foot, z - width / 2), (x1, height, z + width / 2)
            parts.append(Part(low, high, side, move=move, pivot=(height, z)))
    return parts


_COW: Final = [
    Part((-0.375, 0.75, -0.56), (0.375, 1.4, 0.56), "cow_hide"),
    Part((-0.25, 0.95, 0.5), (0.25, 1.5, 0.9), "cow_head", "cow_face", move=MOVE_HEAD, pivot=(1.25, 0.5)),
    Part((-0.33, 1.36, 0.6), (-0.25, 1.6, 0.68), "horn", move=MOVE_HEAD, pivot=(1.25, 0.5)),
    Part((0.25, 1.36, 0.6), (0.33, 1.6, 0.68), "horn", move=MOVE_HEAD, pivot=(1.25, 0.5)),
    Part((-0.13, 0.66, -0.5), (0.13, 0.76, -0.2), "udder"),
    *_legs("cow_leg", 0.375, 0.41, -0.41, 0.75),
]
_SHEEP: Final = [
    Part((-0.36, 0.62, -0.58), (0.36, 1.2, 0.5), "sheep_wool"),
    Part((-0.19, 0.92, 0.42), (0.19, 1.34, 0.85), "sheep_skin", "sheep_face", move=MOVE_HEAD, pivot=(1.1, 0.45)),
    Part((-0.22, 0.95, 0.36), (0.22, 1.4, 0.72), "sheep_wool", move=MOVE_HEAD, pivot=(1.1, 0.45)),
    *_legs("sheep_skin", 0.31, 0.33, -0.4, 0.4),
    *_legs("sheep_wool", 0.33, 0.33, -0.4, 0.72, 0.3, foot=0.36),  # below it the skin shows
]
_PIG: Final = [
    Part((-0.31, 0.375, -0.56), (0.31, 0.9, 0.44), "pig_skin"),
    Part((-0.25, 0.44, 0.36), (0.25, 0.98, 0.86), "pig_skin", "pig_face", move=MOVE_HEAD, pivot=(0.75, 0.4)),
    Part((-0.125, 0.5, 0.85), (0.125, 0.69, 0.93), "pig_snout", move=MOVE_HEAD, pivot=(0.75, 0.4)),
    *_legs("pig_leg", 0.31, 0.32, -0.44, 0.375),
]
_ZOMBIE: Final = [
    Part((-0.25, 0.75, -0.125), (0.25, 1.5, 0.125), "zombie_shirt"),
    Part((-0.25, 1.5, -0.25), (0.25, 2.0, 0.25), "zombie_skin", "zombie_face", move=MOVE_HEAD, pivot=(1.5, 0.0)),
    Part((-0.5, 1.25, -0.1), (-0.25, 1.5, 0.65), "zombie_skin", top="zombie_skin"),
    Part((0.25, 1.25, -0.1), (0.5, 1.5, 0.65), "zombie_skin", top="zombie_skin"),
    Part((-0.25, 0.0, -0.125), (0.0, 0.75, 0.125), "zombie_trousers", move=MOVE_LEG, pivot=(0.75, 0.0)),
    Part((0.0, 0.0, -0.125), (0.25, 0.75, 0.125), "zombie_trousers", move=MOVE_LEG_BACK, pivot=(0.75, 0.0)),
]
_MODELS: Final = (_COW, _SHEEP, _PIG, _ZOMBIE)

PART_FIELDS: Final = 9
"""Columns of ``PART_SHAPES``: low x, y, z, high x, y, z, pivot y, pivot z, movement."""


def _frozen(values: NDArray) -> NDArray:
    values.setflags(write=False)
    return values


def _shapes() -> NDArray[np.float32]:
    rows = [(*p.low, *p.high, *p.pivot, p.move) for model in _MODELS for p in model]
    return np.array(rows, np.float32)


def _part_tiles() -> NDArray[np.int32]:
    rows = []
    for model in _MODELS:
        for part in model:
            side = tile(part.side)
            rows.append((side, tile(part.top or part.side), tile(part.front or part.side), side))
    return np.array(rows, np.int32)


PART_SHAPES: Final = _frozen(_shapes())
PART_TILES: Final = _frozen(_part_tiles())
"""int32[parts, 4]: tiles of the sides, the top and bottom, the front, the back."""
MODEL_START: Final = _frozen(np.cumsum([0, *(len(model) for model in _MODELS)]).astype(np.int64))
"""The parts of kind k are ``MODEL_START[k]`` to ``MODEL_START[k + 1] - 1``."""

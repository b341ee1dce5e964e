"""Box models of mobs: which boxes a cow is made of, how they swing, and which textures they wear.

Lengths are in blocks; x to the mob's left, y up from the ground, z forward. The proportions are those of Minecraft's
mobs (a sixteenth of a block is a "pixel" there).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.mobs import MOB_NAMES
from minestudio_nb.simulator.textures import item_tile, tile

# How a part moves.
MOVE_STILL: Final = 0
MOVE_LEG: Final = 1  # swings with the limb phase
MOVE_LEG_BACK: Final = 2  # swings against it
MOVE_HEAD: Final = 3  # nods with the pitch


NOTHING: Final = "nothing"
"""A side that is not drawn."""


@dataclass(frozen=True)
class Part:
    """One box: its corners, the point (y, z) it turns about, its movement, and its textures.

    A texture is a name of ``painting.PAINTERS``, the icon of an item ("item:bow"), or ``NOTHING``.
    """

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
_CHICKEN: Final = [
    Part((-0.19, 0.31, -0.25), (0.19, 0.69, 0.25), "chicken_feathers"),
    Part(
        (-0.125, 0.56, 0.19), (0.125, 0.94, 0.375), "chicken_head", "chicken_face", move=MOVE_HEAD, pivot=(0.56, 0.25)
    ),
    Part((-0.125, 0.69, 0.375), (0.125, 0.81, 0.5), "chicken_beak", move=MOVE_HEAD, pivot=(0.56, 0.25)),
    Part((-0.06, 0.56, 0.31), (0.06, 0.69, 0.44), "chicken_wattle", move=MOVE_HEAD, pivot=(0.56, 0.25)),
    Part((-0.25, 0.44, -0.19), (-0.19, 0.69, 0.19), "chicken_feathers"),
    Part((0.19, 0.44, -0.19), (0.25, 0.69, 0.19), "chicken_feathers"),
    *(
        Part(low, high, "chicken_leg", move=move, pivot=(0.31, 0.0))
        for x, move in ((-0.09, MOVE_LEG), (0.09, MOVE_LEG_BACK))
        for low, high in (
            ((x - 0.03, 0.0, -0.06), (x + 0.03, 0.31, 0.0)),
            ((x - 0.09, 0.0, -0.06), (x + 0.09, 0.03, 0.13)),
        )
    ),
]
_SKELETON: Final = [
    Part((-0.25, 0.75, -0.125), (0.25, 1.5, 0.125), "skeleton_ribs", top="bone"),
    Part((-0.25, 1.5, -0.25), (0.25, 2.0, 0.25), "bone", "skeleton_face", move=MOVE_HEAD, pivot=(1.5, 0.0)),
    Part((-0.375, 1.3, -0.06), (-0.25, 1.43, 0.69), "bone"),
    Part((0.25, 1.3, -0.06), (0.375, 1.43, 0.69), "bone"),
    Part((-0.32, 0.98, 0.35), (-0.3, 1.75, 1.1), "item:bow", front=NOTHING, top=NOTHING),
    Part((-0.19, 0.0, -0.06), (-0.06, 0.75, 0.06), "bone", move=MOVE_LEG, pivot=(0.75, 0.0)),
    Part((0.06, 0.0, -0.06), (0.19, 0.75, 0.06), "bone", move=MOVE_LEG_BACK, pivot=(0.75, 0.0)),
]
_CREEPER: Final = [
    Part((-0.25, 0.375, -0.125), (0.25, 1.125, 0.125), "creeper_skin"),
    Part(
        (-0.25, 1.125, -0.25), (0.25, 1.625, 0.25), "creeper_skin", "creeper_face", move=MOVE_HEAD, pivot=(1.125, 0.0)
    ),
    *_legs("creeper_foot", 0.25, 0.25, -0.25, 0.375),
]
_SPIDER: Final = [
    Part((-0.19, 0.375, -0.19), (0.19, 0.75, 0.19), "spider_skin"),
    Part((-0.25, 0.31, 0.19), (0.25, 0.81, 0.69), "spider_skin", "spider_face"),
    Part((-0.31, 0.31, -0.94), (0.31, 0.81, -0.19), "spider_skin"),
    *(
        Part(tuple(map(min, a, b)), tuple(map(max, a, b)), "spider_skin", move=move, pivot=(0.5, 0.0))  # type: ignore[arg-type]
        for sign in (-1.0, 1.0)
        for k, z in enumerate((-0.22, -0.08, 0.08, 0.22))
        for move in ((MOVE_LEG, MOVE_LEG_BACK)[k % 2],)
        for a, b in (
            ((sign * 0.19, 0.55, z - 0.05), (sign * 0.62, 0.66, z + 0.05)),
            ((sign * 0.55, 0.3, 1.6 * z - 0.05), (sign * 0.8, 0.6, 1.6 * z + 0.05)),
            ((sign * 0.75, 0.0, 2.2 * z - 0.05), (sign * 0.86, 0.36, 2.2 * z + 0.05)),
        )
    ),
]
_ENDERMAN: Final = [
    Part((-0.25, 1.875, -0.125), (0.25, 2.625, 0.125), "enderman_skin"),
    Part((-0.25, 2.4, -0.25), (0.25, 2.9, 0.25), "enderman_skin", "enderman_face", move=MOVE_HEAD, pivot=(2.6, 0.0)),
    *(
        Part((x - 0.06, low, -0.06), (x + 0.06, high, 0.06), "enderman_skin", move=move, pivot=(high, 0.0))
        for x, low, high, move in (
            (-0.31, 0.75, 2.625, MOVE_LEG_BACK), (0.31, 0.75, 2.625, MOVE_LEG),
            (-0.125, 0.0, 1.875, MOVE_LEG), (0.125, 0.0, 1.875, MOVE_LEG_BACK),
        )
    ),
]  # fmt: skip
_MODELS_BY_NAME: Final = {
    "cow": (_COW, 0.7),
    "sheep": (_SHEEP, 0.7),
    "pig": (_PIG, 0.7),
    "chicken": (_CHICKEN, 0.3),
    "zombie": (_ZOMBIE, 0.5),
    "skeleton": (_SKELETON, 0.5),
    "creeper": (_CREEPER, 0.5),
    "spider": (_SPIDER, 0.8),
    "enderman": (_ENDERMAN, 0.5),
}
"""Parts, and the radius of the shadow (Minecraft's) in blocks."""


def _model(name: str) -> tuple[list[Part], float]:
    if name not in _MODELS_BY_NAME:
        raise SimulatorError(f"There is no model of the mob {name!r}; add one to simulator/models.py.")
    return _MODELS_BY_NAME[name]


_MODELS: Final = [_model(name)[0] for name in MOB_NAMES]

PART_FIELDS: Final = 9
"""Columns of ``PART_SHAPES``: low x, y, z, high x, y, z, pivot y, pivot z, movement."""


def _frozen(values: NDArray) -> NDArray:
    values.setflags(write=False)
    return values


def _shapes() -> NDArray[np.float32]:
    rows = [(*p.low, *p.high, *p.pivot, p.move) for model in _MODELS for p in model]
    return np.array(rows, np.float32)


def _tile_of(name: str) -> int:
    if name == NOTHING:
        return -1
    return item_tile(name.removeprefix("item:")) if name.startswith("item:") else tile(name)


def _part_tiles() -> NDArray[np.int32]:
    rows = []
    for model in _MODELS:
        for part in model:
            back = part.front if part.front == NOTHING else part.side
            names = (part.side, part.top or part.side, part.front or part.side, back)
            rows.append([_tile_of(name) for name in names])
    return np.array(rows, np.int32)


PART_SHAPES: Final = _frozen(_shapes())
PART_TILES: Final = _frozen(_part_tiles())
"""int32[parts, 4]: tiles of the sides, the top and bottom, the front, the back."""
SHADOW_RADIUS: Final = _frozen(np.array([_model(name)[1] for name in MOB_NAMES]))
MODEL_START: Final = _frozen(np.cumsum([0, *(len(model) for model in _MODELS)]).astype(np.int64))
"""The parts of kind k are ``MODEL_START[k]`` to ``MODEL_START[k + 1] - 1``."""

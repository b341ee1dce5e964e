"""Many small frames as one picture: one JPEG costs a browser a tenth of what as many pictures do."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from minestudio_nb.contracts.view import Tile
from minestudio_nb.widgets.messages import clean

__all__ = ["MOST_TILES", "Mosaic", "build_large", "build_mosaic", "describe"]

MOST_TILES = 16
TILE_SIDE = 128
"""Longest side of a tile, in pixels; larger frames are reduced."""
LARGE_SIDE = 640
"""The same for an enlarged environment."""
JPEG_QUALITY = 75


@dataclass(frozen=True)
class Mosaic:
    """A picture of several environments, and what is where.

    Attributes:
        layout: ``columns``, ``width`` and ``height`` of one tile in pixels, and ``tiles``, row by row: what
            :func:`describe` says of each.
        jpeg: the picture; empty where no environment shows one.
    """

    layout: dict[str, Any] = field(default_factory=dict)
    jpeg: bytes = b""


def build_mosaic(tiles: Mapping[str, Tile]) -> Mosaic:
    """Puts the frames of ``tiles`` side by side, in their order, as nearly square as can be."""
    described = [describe(name, tile) for name, tile in tiles.items()]
    first = next((tile.frame for tile in tiles.values() if tile.frame is not None), None)
    if first is None:
        return Mosaic({"columns": 0, "width": 0, "height": 0, "tiles": described})
    scale = min(1.0, TILE_SIDE / max(first.shape[:2]))
    width, height = max(1, round(first.shape[1] * scale)), max(1, round(first.shape[0] * scale))
    columns = math.ceil(math.sqrt(len(tiles)))
    canvas = np.zeros((math.ceil(len(tiles) / columns) * height, columns * width, 3), np.uint8)
    for place, tile in enumerate(tiles.values()):
        if tile.frame is None:
            continue
        row, column = divmod(place, columns)
        frame = tile.frame
        if frame.shape[:2] != (height, width):
            frame = np.asarray(Image.fromarray(frame).resize((width, height)))
        canvas[row * height : (row + 1) * height, column * width : (column + 1) * width] = frame
    return Mosaic({"columns": columns, "width": width, "height": height, "tiles": described}, _jpeg(canvas))


def describe(name: str, tile: Tile) -> dict[str, Any]:
    """What is written on a tile, as JSON can hold it."""
    return {
        "name": name,
        "step": tile.step,
        "return": clean(tile.episode_return),
        "value": clean(tile.value),
        "action": clean(tile.action),
        "task": tile.task,
        "image": tile.frame is not None,
        "state": tile.state,
        "cause": clean(tile.cause),
        "restarts": tile.restarts,
    }


def build_large(name: str, tile: Tile) -> Mosaic:
    """One environment enlarged: its own picture, else what the policy sees, in full size.

    The layout has what :func:`describe` says, ``pressed`` (its action in words), and ``rendered``: whether the picture
    is its own.
    """
    layout = {**describe(name, tile), "pressed": clean(tile.pressed), "rendered": bool(tile.large)}
    if tile.large or tile.frame is None:
        return Mosaic(layout, tile.large)
    scale = min(1.0, LARGE_SIDE / max(tile.frame.shape[:2]))
    image = Image.fromarray(tile.frame)
    if scale < 1.0:
        image = image.resize((round(image.width * scale), round(image.height * scale)))
    return Mosaic(layout, _jpeg(np.asarray(image)))


def _jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()

"""Many small frames as one picture: one JPEG costs a browser a tenth of what as many pictures do."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from minestudio_nb.contracts.view import Tile
from minestudio_nb.widgets.messages import clean

__all__ = ["MOST_TILES", "Mosaic", "build_mosaic"]

MOST_TILES = 16
TILE_SIDE = 128
"""Longest side of a tile, in pixels; larger frames are reduced."""
JPEG_QUALITY = 75


@dataclass(frozen=True)
class Mosaic:
    """A picture of several environments, and what is where.

    Attributes:
        layout: ``columns``, ``width`` and ``height`` of one tile in pixels, and ``tiles``, row by row: ``name``,
            ``step``, ``return``, ``value``, ``action``, ``task`` and whether it has an ``image``.
        jpeg: the picture; empty where no environment shows one.
    """

    layout: dict[str, Any] = field(default_factory=dict)
    jpeg: bytes = b""


def build_mosaic(tiles: Mapping[str, Tile]) -> Mosaic:
    """Puts the frames of ``tiles`` side by side, in their order, as nearly square as can be."""
    described = [
        {
            "name": name,
            "step": tile.step,
            "return": clean(tile.episode_return),
            "value": clean(tile.value),
            "action": clean(tile.action),
            "task": tile.task,
            "image": tile.frame is not None,
        }
        for name, tile in tiles.items()
    ]
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
    stream = io.BytesIO()
    Image.fromarray(canvas).save(stream, "JPEG", quality=JPEG_QUALITY)
    return Mosaic({"columns": columns, "width": width, "height": height, "tiles": described}, stream.getvalue())

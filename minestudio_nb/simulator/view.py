"""Looking at an engine through the player's eyes, at one size of image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.simulator.engine import VoxelEngine


class View:
    """A camera of a fixed size, with the buffers that rendering needs.

    Args:
        width, height: of the image, in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)

    def render(self, engine: VoxelEngine, out: NDArray[np.uint8]) -> None:
        """Draw what the player sees into ``out``, uint8[height, width, 3]."""
        out[: out.shape[0] // 2] = (120, 167, 255)
        out[out.shape[0] // 2 :] = (90, 140, 60)

"""The voxel world: one dense array of blocks with two derived arrays that make looking at it cheap.

Axes and order: ``blocks[x, z, y]``, so that one column lies in one piece of memory. The world is a torus in
x and z: a coordinate is reduced by ``x & (size - 1)``, thus sizes are powers of two and a body may walk (or
be teleported) anywhere. Below the world everything is bedrock, above it everything is air.

The kernels take the plain arrays; Python code uses ``World``.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table

HEIGHT: Final = 64
"""Cells per column: one bit each in a column's mask."""
DEFAULT_SIZE: Final = 128

# Faces of a cell, in Minecraft's order, and the step that leaves the cell through each.
FACE_DOWN: Final = 0
FACE_UP: Final = 1
FACE_NORTH: Final = 2
FACE_SOUTH: Final = 3
FACE_WEST: Final = 4
FACE_EAST: Final = 5
FACE_DX: Final = np.array([0, 0, 0, 0, -1, 1])
FACE_DY: Final = np.array([-1, 1, 0, 0, 0, 0])
FACE_DZ: Final = np.array([0, 0, -1, 1, 0, 0])

_BEDROCK: Final = table.block_id("bedrock")
_CROSS: Final = table.CROSS
_TARGETABLE: Final = table.TARGETABLE
_LIQUID: Final = table.LIQUID
_MAGIC: Final = b"MSW1"
_HEADER: Final = struct.Struct("<4sIIII3i")


@njit(cache=True, nogil=True)
def get_block(blocks, x, y, z):
    """The block id at a cell; bedrock below the world, air above it."""
    if y < 0:
        return _BEDROCK
    if y >= blocks.shape[2]:
        return 0
    return int(blocks[x & (blocks.shape[0] - 1), z & (blocks.shape[1] - 1), y])


@njit(cache=True, nogil=True)
def _find_top(blocks, xi, zi):
    for y in range(blocks.shape[2] - 1, -1, -1):
        block = blocks[xi, zi, y]
        if block != 0 and not _CROSS[block]:
            return y
    return -1


@njit(cache=True, nogil=True)
def set_block(blocks, masks, tops, x, y, z, block):
    """Put a block into a cell and keep ``masks`` and ``tops`` true. Ignored above and below the world."""
    if y < 0 or y >= blocks.shape[2]:
        return
    xi = x & (blocks.shape[0] - 1)
    zi = z & (blocks.shape[1] - 1)
    blocks[xi, zi, y] = block
    bit = uint64(1) << uint64(y)
    if block != 0:
        masks[xi, zi] = masks[xi, zi] | bit
    else:
        masks[xi, zi] = masks[xi, zi] & ~bit
    if y >= tops[xi, zi]:
        tops[xi, zi] = _find_top(blocks, xi, zi)


@njit(cache=True, nogil=True)
def rebuild(blocks, masks, tops):
    """Compute ``masks`` and ``tops`` anew from ``blocks``."""
    for xi in range(blocks.shape[0]):
        for zi in range(blocks.shape[1]):
            mask = uint64(0)
            for y in range(blocks.shape[2]):
                if blocks[xi, zi, y] != 0:
                    mask |= uint64(1) << uint64(y)
            masks[xi, zi] = mask
            tops[xi, zi] = _find_top(blocks, xi, zi)


@njit(cache=True, nogil=True)
def _crosses_plant(ox, oy, oz, dx, dy, dz, x, y, z, reach):
    """Whether a ray meets the box that stands for a plant in a cell, 0.8 wide and high."""
    near = 0.0
    far = reach
    for axis in range(3):
        if axis == 0:
            o, d, low, high = ox, dx, x + 0.1, x + 0.9
        elif axis == 1:
            o, d, low, high = oy, dy, y + 0.0, y + 0.8
        else:
            o, d, low, high = oz, dz, z + 0.1, z + 0.9
        if d == 0.0:
            if o < low or o > high:
                return False
            continue
        a = (low - o) / d
        b = (high - o) / d
        near = max(near, min(a, b))
        far = min(far, max(a, b))
    return near <= far


@njit(cache=True, nogil=True)
def raycast(blocks, ox, oy, oz, dx, dy, dz, reach, hit, liquids=False):
    """Walk a ray from a point until it meets a block that a click can hit (no air).

    Args:
        blocks: uint8[X, Z, Y].
        ox, oy, oz: the origin, in blocks. The cell that holds it is skipped.
        dx, dy, dz: the direction, of length 1.
        reach: how far to look, in blocks.
        liquids: whether liquids are hit too; clicks go through them.
        hit: int64[5], filled on a hit with x, y, z (unreduced), the face that was met (``FACE_*``) and the
            block id.

    Returns:
        The distance to the face, or -1.0 without a hit (``hit`` is untouched then).
    """
    x, y, z = math.floor(ox), math.floor(oy), math.floor(oz)
    step_x = 1 if dx > 0 else -1
    step_y = 1 if dy > 0 else -1
    step_z = 1 if dz > 0 else -1
    delta_x = abs(1.0 / dx) if dx != 0.0 else 1e30
    delta_y = abs(1.0 / dy) if dy != 0.0 else 1e30
    delta_z = abs(1.0 / dz) if dz != 0.0 else 1e30
    next_x = (x + 1 - ox if dx > 0 else ox - x) * delta_x if dx != 0.0 else 1e30
    next_y = (y + 1 - oy if dy > 0 else oy - y) * delta_y if dy != 0.0 else 1e30
    next_z = (z + 1 - oz if dz > 0 else oz - z) * delta_z if dz != 0.0 else 1e30
    while True:
        if next_x < next_y and next_x < next_z:
            x += step_x
            t = next_x
            next_x += delta_x
            face = FACE_WEST if step_x > 0 else FACE_EAST
        elif next_y < next_z:
            y += step_y
            t = next_y
            next_y += delta_y
            face = FACE_DOWN if step_y > 0 else FACE_UP
        else:
            z += step_z
            t = next_z
            next_z += delta_z
            face = FACE_NORTH if step_z > 0 else FACE_SOUTH
        if t > reach or y < 0:
            return -1.0
        block = get_block(blocks, x, y, z)
        if not _TARGETABLE[block] and not (liquids and _LIQUID[block]):
            continue
        if _CROSS[block] and not _crosses_plant(ox, oy, oz, dx, dy, dz, x, y, z, reach):
            continue
        hit[0], hit[1], hit[2], hit[3], hit[4] = x, y, z, face, block
        return t


@dataclass
class World:
    """A world's arrays.

    Attributes:
        blocks: uint8[X, Z, Y], block ids; X and Z powers of two, Y at most 64.
        masks: uint64[X, Z]; bit y is set where the cell is not air, that is, where a ray must look.
        tops: int32[X, Z]; the highest y whose block is neither air nor a plant (-1: none). Light falls down
            to it.
        spawn: x, y, z of the cell where a player's feet start.
    """

    blocks: NDArray[np.uint8]
    masks: NDArray[np.uint64]
    tops: NDArray[np.int32]
    spawn: tuple[int, int, int] = (0, HEIGHT - 2, 0)

    @classmethod
    def empty(cls, size: int = DEFAULT_SIZE, height: int = HEIGHT) -> World:
        """A world of air.

        Raises:
            SimulatorError: ``size`` is no power of two, or ``height`` is not in 1..64.
        """
        if size < 8 or size & (size - 1):
            raise SimulatorError(
                f"A world's size must be a power of two, at least 8 (the world wraps round); got {size}."
            )
        if not 1 <= height <= HEIGHT:
            raise SimulatorError(
                f"A world's height must be 1 to {HEIGHT} (one bit per cell of a column); got {height}."
            )
        return cls(
            np.zeros((size, size, height), np.uint8),
            np.zeros((size, size), np.uint64),
            np.full((size, size), -1, np.int32),
            (size // 2, height - 2, size // 2),
        )

    @property
    def size(self) -> int:
        """Cells along x, and along z."""
        return self.blocks.shape[0]

    def get(self, x: int, y: int, z: int) -> int:
        """The block id at a cell."""
        return int(get_block(self.blocks, x, y, z))

    def set(self, x: int, y: int, z: int, block: int) -> None:
        """Put a block into a cell."""
        set_block(self.blocks, self.masks, self.tops, x, y, z, block)

    def rebuild(self) -> None:
        """Bring ``masks`` and ``tops`` up to date after writing ``blocks`` directly."""
        rebuild(self.blocks, self.masks, self.tops)

    def copy(self) -> World:
        """A copy that shares nothing."""
        return World(self.blocks.copy(), self.masks.copy(), self.tops.copy(), self.spawn)

    def copy_into(self, target: World) -> None:
        """Overwrite ``target``, of the same shape, with this world: three plain memory copies."""
        np.copyto(target.blocks, self.blocks)
        np.copyto(target.masks, self.masks)
        np.copyto(target.tops, self.tops)
        target.spawn = self.spawn

    def to_bytes(self) -> bytes:
        """The world as compressed bytes, for saved states."""
        header = _HEADER.pack(_MAGIC, *self.blocks.shape, 0, *self.spawn)
        return header + zlib.compress(self.blocks.tobytes(), level=1)

    @classmethod
    def from_bytes(cls, data: bytes) -> World:
        """The world that ``to_bytes`` wrote.

        Raises:
            SimulatorError: the bytes are no saved world, or are cut short.
        """
        try:
            magic, x, z, y, _, *spawn = _HEADER.unpack_from(data)
            if magic != _MAGIC:
                raise ValueError(f"they begin with {magic!r}, not {_MAGIC!r}")
            cells = np.frombuffer(zlib.decompress(data[_HEADER.size :]), np.uint8)
            cells = cells.reshape(x, z, y)
        except (struct.error, zlib.error, ValueError) as error:
            raise SimulatorError(f"These bytes are not a saved world: {error}.") from error
        world = cls.empty(x, y)
        world.blocks[:] = cells
        world.rebuild()
        world.spawn = (spawn[0], spawn[1], spawn[2])
        return world

"""Worlds from a seed: heights, ground, caves, ores, water, trees and plants.

The same seed, biome and size give the same world on every machine: value noise is drawn by NumPy's PCG64 on
small lattices and interpolated; everything else hangs on an integer hash of the cell. All noise wraps round,
as the world does.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.biomes import TREE_ACACIA, TREE_BUSH, TREE_DARK_OAK, TREE_SPRUCE, Biome, resolve_biome
from minestudio_nb.simulator.blocks import block_id
from minestudio_nb.simulator.world import DEFAULT_SIZE, HEIGHT, World, rebuild

_AIR: Final = 0
_STONE: Final = block_id("stone")
_DIRT: Final = block_id("dirt")
_GRASS_BLOCK: Final = block_id("grass_block")
_BEDROCK: Final = block_id("bedrock")
_WATER: Final = block_id("water")
_SNOW: Final = block_id("snow_block")
_SAND: Final = block_id("sand")
_CACTUS: Final = block_id("cactus")
_DEAD_BUSH: Final = block_id("dead_bush")
_GRASS: Final = block_id("grass")
_DANDELION: Final = block_id("dandelion")
_POPPY: Final = block_id("poppy")
_FERN: Final = block_id("fern")
_MELON: Final = block_id("melon")
_ICE: Final = block_id("ice")

_RED_SAND: Final = block_id("red_sand")
# Log, leaves and the lowest trunk by kind of tree; trunks vary by three. Heights as in Minecraft, except the jungle's,
# whose worlds are higher.
_WOODS: Final = ("oak", "birch", "spruce", "jungle", "acacia", "dark_oak", "jungle")
_LOGS: Final = np.array([0, *(block_id(f"{wood}_log") for wood in _WOODS)])
_LEAVES: Final = np.array([0, *(block_id(f"{wood}_leaves") for wood in _WOODS)])
_LOWEST_TRUNK: Final = np.array([0, 4, 5, 6, 8, 5, 6, 1])
# Ores: block, chance per group of 2x2x2 cells of stone, and the height up to which it is found.
_ORE_BLOCKS: Final = np.array(
    [
        block_id(name)
        for name in ("coal_ore", "iron_ore", "gold_ore", "redstone_ore", "diamond_ore", "granite", "diorite")
    ]
)
_ORE_CHANCE: Final = np.array([0.016, 0.011, 0.004, 0.006, 0.003, 0.012, 0.012])
_ORE_BELOW: Final = np.array([64, 40, 18, 12, 10, 64, 64])

# Salts of the hash, so that unrelated decisions at one cell are independent.
_SALT_ORE, _SALT_VEIN, _SALT_TREE, _SALT_PLANT, _SALT_LEAF = 11, 23, 37, 41, 59


@njit(cache=True, nogil=True)
def _hash01(a, b, c, salt):
    """A number in [0, 1) from three integers and a salt, the same everywhere (32-bit mixing in 64-bit integers)."""
    h = (a * 374761393 + b * 668265263 + c * 1442695041 + salt * 2147483647) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 668265263) & 0xFFFFFFFF
    return ((h ^ (h >> 15)) & 0xFFFFFF) / 16777216.0


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values * values * (3.0 - 2.0 * values)


def _noise_2d(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float64]:
    """Value noise in [0, 1] over size x size cells from a wrapping lattice of cells x cells values."""
    lattice = rng.random((cells, cells))
    position = np.arange(size) * (cells / size)
    low = position.astype(np.int64)
    share = _smooth(position - low)
    low %= cells
    high = (low + 1) % cells
    rows = lattice[low] * (1.0 - share)[:, None] + lattice[high] * share[:, None]
    result: NDArray[np.float64] = rows[:, low] * (1.0 - share) + rows[:, high] * share
    return result


def _heights(rng: np.random.Generator, size: int, biome: Biome) -> NDArray[np.int64]:
    """The height of the ground, int64[size, size]: four octaves, stretched to use the whole amplitude."""
    total, weight, norm = np.zeros((size, size)), 1.0, 0.0
    for octave in range(4):
        total += weight * _noise_2d(rng, size, max(2, size // 32) * 2**octave)
        norm += weight
        weight *= biome.detail
    spread = np.clip((total / norm - 0.5) * 3.0, -1.0, 1.0)
    heights = np.floor(biome.base + biome.amplitude * spread).astype(np.int64)
    heights -= heights % biome.terrace
    return np.clip(heights, 6, HEIGHT - 13)


@njit(cache=True, nogil=True)
def _fill(blocks, heights, seed, cave_a, cave_b, water, ice, ground, shore_height, bare_above, snow_above):
    """Ground, ores, caves and water of every column; ``ground`` is surface, filler, depth of the filler, shore."""
    surface, filler, depth, shore = ground
    size = blocks.shape[0]
    lattice = cave_a.shape[0]
    for x in range(size):
        for z in range(size):
            top = heights[x, z]
            wet = top <= water
            for y in range(top + 1):
                blocks[x, z, y] = _STONE if y < top - depth else filler
            blocks[x, z, top] = surface
            if top <= water + shore_height:
                for y in range(top - 1, top + 1):
                    blocks[x, z, y] = shore
            elif top > bare_above:
                for y in range(top - depth, top + 1):
                    blocks[x, z, y] = _STONE
                if top > snow_above:
                    blocks[x, z, top] = _SNOW
            _put_ores(blocks, x, z, top, seed)
            # Caves keep away from water, which would have to flow in, and from the surface in half of the
            # places.
            roof = top - 5 if wet or top <= water + 2 else top + 1
            for y in range(2, roof):
                if _in_cave(cave_a, cave_b, x * lattice / size, z * lattice / size, y / 6.0):
                    blocks[x, z, y] = _AIR
            blocks[x, z, 0] = _BEDROCK
            for y in range(top + 1, water + 1):
                blocks[x, z, y] = _ICE if ice and y == water else _WATER


@njit(cache=True, nogil=True)
def _put_ores(blocks, x, z, top, seed):
    for y in range(1, top - 2):
        if blocks[x, z, y] != _STONE:
            continue
        chance = _hash01(x >> 1, y >> 1, z >> 1, seed + _SALT_VEIN)
        for k in range(_ORE_BLOCKS.shape[0]):
            if chance < _ORE_CHANCE[k]:
                if y <= _ORE_BELOW[k] and _hash01(x, y, z, seed + _SALT_ORE) < 0.75:
                    blocks[x, z, y] = _ORE_BLOCKS[k]
                break
            chance -= _ORE_CHANCE[k]


@njit(cache=True, nogil=True)
def _trilinear(lattice, x, z, y):
    n, m = lattice.shape[0], lattice.shape[2]
    xi, zi, yi = int(x), int(z), int(y)
    fx, fz, fy = x - xi, z - zi, y - yi
    x0, z0, y0 = xi % n, zi % n, yi % m
    x1, z1, y1 = (xi + 1) % n, (zi + 1) % n, (yi + 1) % m
    low = (lattice[x0, z0, y0] * (1 - fx) + lattice[x1, z0, y0] * fx) * (1 - fz) + (
        lattice[x0, z1, y0] * (1 - fx) + lattice[x1, z1, y0] * fx
    ) * fz
    high = (lattice[x0, z0, y1] * (1 - fx) + lattice[x1, z0, y1] * fx) * (1 - fz) + (
        lattice[x0, z1, y1] * (1 - fx) + lattice[x1, z1, y1] * fx
    ) * fz
    return low * (1 - fy) + high * fy


@njit(cache=True, nogil=True)
def _in_cave(cave_a, cave_b, x, z, y):
    """Tunnels run where two noises are both near their mean."""
    if abs(_trilinear(cave_a, x, z, y) - 0.5) > 0.055:
        return False
    return abs(_trilinear(cave_b, x, z, y) - 0.5) < 0.055


@njit(cache=True, nogil=True)
def _put_if_air(blocks, x, y, z, block):
    mask = blocks.shape[0] - 1
    if 0 <= y < blocks.shape[2] - 1 and blocks[x & mask, z & mask, y] == _AIR:
        blocks[x & mask, z & mask, y] = block


@njit(cache=True, nogil=True)
def _round_tree(blocks, x, y, z, height, leaves, seed):
    """The crown of an oak or a birch: two wide layers, then two narrow ones (Minecraft's small tree)."""
    for layer in range(height - 3, height + 1):
        radius = 2 if layer < height - 1 else 1
        for dx in range(-radius, radius + 1):
            for dz in range(-radius, radius + 1):
                corner = abs(dx) == radius and abs(dz) == radius
                if corner and (layer == height or _hash01(x + dx, y + layer, z + dz, seed + _SALT_LEAF) < 0.55):
                    continue
                _put_if_air(blocks, x + dx, y + layer, z + dz, leaves)


@njit(cache=True, nogil=True)
def _conical_tree(blocks, x, y, z, height, leaves):
    """The crown of a spruce: rings that widen and narrow in turn towards the ground."""
    _put_if_air(blocks, x, y + height, z, leaves)
    for layer in range(2, height):
        down = height - layer
        radius = 1 if down % 2 == 1 else (2 if down > 2 else 1)
        for dx in range(-radius, radius + 1):
            for dz in range(-radius, radius + 1):
                if abs(dx) == radius and abs(dz) == radius:
                    continue
                _put_if_air(blocks, x + dx, y + layer, z + dz, leaves)


@njit(cache=True, nogil=True)
def _flat_crown(blocks, x, y, z, radius, leaves, seed):
    """Two flat layers, the upper one narrower: the crown of an acacia or a dark oak."""
    for layer in range(2):
        reach = radius - layer
        for dx in range(-reach, reach + 1):
            for dz in range(-reach, reach + 1):
                far = abs(dx) + abs(dz)
                if far > 2 * reach - 1 or (
                    far == 2 * reach - 1 and _hash01(x + dx, y, z + dz, seed + _SALT_LEAF) < 0.5
                ):
                    continue
                _put_if_air(blocks, x + dx, y + layer, z + dz, leaves)


@njit(cache=True, nogil=True)
def _acacia(blocks, x, y, z, height, seed):
    """A trunk that bends to one side half way up, below a flat crown."""
    mask = blocks.shape[0] - 1
    turn = int(_hash01(x, z, 8, seed + _SALT_TREE) * 4.0)
    dx, dz = (1 - turn) % 2 * (1 - turn), (2 - turn) % 2 * (2 - turn)
    bend = height - 2 - int(_hash01(x, z, 9, seed + _SALT_TREE) * 2.0)
    for layer in range(height):
        step = min(2, max(0, layer - bend + 1))
        blocks[(x + dx * step) & mask, (z + dz * step) & mask, y + layer] = _LOGS[TREE_ACACIA]
    _flat_crown(blocks, x + 2 * dx, y + height - 1, z + 2 * dz, 3, _LEAVES[TREE_ACACIA], seed)


@njit(cache=True, nogil=True)
def _dark_oak(blocks, x, y, z, height, seed):
    """A trunk of two by two below a wide, flat crown."""
    mask = blocks.shape[0] - 1
    for dx in range(2):
        for dz in range(2):
            for layer in range(height):
                blocks[(x + dx) & mask, (z + dz) & mask, y + layer] = _LOGS[TREE_DARK_OAK]
            low = y - 1
            while low > 0 and blocks[(x + dx) & mask, (z + dz) & mask, low] == _AIR:
                blocks[(x + dx) & mask, (z + dz) & mask, low] = _LOGS[TREE_DARK_OAK]  # on a slope
                low -= 1
            _flat_crown(blocks, x + dx, y + height - 1, z + dz, 3, _LEAVES[TREE_DARK_OAK], seed)


@njit(cache=True, nogil=True)
def _plant_tree(blocks, x, y, z, kind, seed):
    """A tree whose lowest log stands at (x, y, z)."""
    height = _LOWEST_TRUNK[kind] + int(_hash01(x, z, 1, seed + _SALT_TREE) * (1.0 if kind == TREE_BUSH else 3.0))
    if y + height >= blocks.shape[2] - 1:
        return
    blocks[x, z, y - 1] = _DIRT
    if kind == TREE_ACACIA:
        _acacia(blocks, x, y, z, height, seed)
        return
    if kind == TREE_DARK_OAK:
        _dark_oak(blocks, x, y, z, height, seed)
        return
    for layer in range(height):
        blocks[x, z, y + layer] = _LOGS[kind]
    if kind == TREE_SPRUCE:
        _conical_tree(blocks, x, y, z, height, _LEAVES[kind])
    elif kind == TREE_BUSH:
        _flat_crown(blocks, x, y, z, 2, _LEAVES[kind], seed)
    else:
        _round_tree(blocks, x, y, z, height, _LEAVES[kind], seed)


@njit(cache=True, nogil=True)
def _plant_trees(blocks, heights, seed, chance, spacing, first, second, second_share, soil):
    """At most one tree in each square of spacing x spacing, where the ground is ``soil`` and the trunk has room."""
    size = blocks.shape[0]
    for cell_x in range(size // spacing):
        for cell_z in range(size // spacing):
            if _hash01(cell_x, cell_z, 0, seed + _SALT_TREE) >= chance:
                continue
            x = cell_x * spacing + 1 + int(_hash01(cell_x, cell_z, 2, seed + _SALT_TREE) * (spacing - 2))
            z = cell_z * spacing + 1 + int(_hash01(cell_x, cell_z, 3, seed + _SALT_TREE) * (spacing - 2))
            y = heights[x, z]
            if blocks[x, z, y] != soil or blocks[x, z, y + 1] != _AIR:
                continue
            kind = second if _hash01(cell_x, cell_z, 4, seed + _SALT_TREE) < second_share else first
            _plant_tree(blocks, x, y + 1, z, kind, seed)


@njit(cache=True, nogil=True)
def _scatter_plants(blocks, heights, seed, grass, ferns, flowers, melons, cactus, dead_bush):
    """Grass, ferns, flowers and melons on grass, cactus and dead bushes on sand."""
    size = blocks.shape[0]
    for x in range(size):
        for z in range(size):
            y = heights[x, z]
            if blocks[x, z, y + 1] != _AIR:
                continue
            draw = _hash01(x, z, 5, seed + _SALT_PLANT)
            ground = blocks[x, z, y]
            if ground == _GRASS_BLOCK:
                if draw < grass:
                    blocks[x, z, y + 1] = _FERN if draw < grass * ferns else _GRASS
                elif draw > 1.0 - melons:
                    blocks[x, z, y + 1] = _MELON
                elif draw < grass + flowers:
                    second = _hash01(x >> 3, z >> 3, 6, seed + _SALT_PLANT) < 0.5
                    blocks[x, z, y + 1] = _POPPY if second else _DANDELION
            elif ground in (_SAND, _RED_SAND):
                if draw < dead_bush:
                    blocks[x, z, y + 1] = _DEAD_BUSH
                elif draw < dead_bush + cactus:
                    tall = 2 + int(_hash01(x, z, 7, seed + _SALT_PLANT) * 2.0)
                    for k in range(1, tall + 1):
                        blocks[x, z, y + k] = _CACTUS


def _find_spawn(world: World, solid: NDArray[np.bool_]) -> tuple[int, int, int]:
    """The feet cell nearest to the middle on dry, open ground (no crown overhead); else on top of the middle."""
    size = world.size
    middle = size // 2
    grid = np.indices((size, size)) - middle
    order = np.argsort((grid**2).sum(0), axis=None, kind="stable")
    for cell in order:
        x, z = divmod(int(cell), size)
        y = int(world.tops[x, z])
        if solid[world.blocks[x, z, y]] and y < world.blocks.shape[2] - 2:
            return x, y + 1, z
    return middle, int(world.tops[middle, middle]) + 1, middle


_SPAWN_GROUND: Final = np.zeros(256, np.bool_)
for _name in ("grass_block", "sand", "red_sand", "stone", "snow_block", "gravel", "dirt"):
    _SPAWN_GROUND[block_id(_name)] = True


def generate(seed: int, biome: str | None = None, size: int = DEFAULT_SIZE) -> World:
    """Make a world of size x size columns.

    Args:
        seed: any integer; the same seed gives the same world everywhere.
        biome: a key of ``BIOMES`` or an alias; None for the default.
        size: a power of two, at least 32.

    Raises:
        SimulatorError: no such biome, or a size that the world cannot have.
    """
    kind = resolve_biome(biome)
    if size < 32:
        raise SimulatorError(f"A generated world needs a size of at least 32; got {size}.")
    world = World.empty(size)
    rng = np.random.default_rng([seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF])
    salt = int(rng.integers(1 << 30))
    heights = _heights(rng, size, kind)
    heights += max(0, kind.water + 3 - int(heights.max()))  # there is dry land somewhere
    caves = rng.random((2, size // 8, size // 8, 16))
    _fill(
        world.blocks,
        heights,
        salt,
        caves[0],
        caves[1],
        kind.water,
        kind.ice,
        (block_id(kind.surface), block_id(kind.filler), kind.depth, block_id(kind.shore)),
        kind.shore_height,
        kind.bare_above,
        kind.snow_above,
    )
    first, second = kind.tree_kinds
    soil = block_id(kind.surface)
    _plant_trees(world.blocks, heights, salt, kind.trees, kind.tree_spacing, first, second, kind.second_share, soil)
    plants = (kind.grass, kind.ferns, kind.flowers, kind.melons, kind.cactus, kind.dead_bush)
    _scatter_plants(world.blocks, heights, salt, *plants)
    rebuild(world.blocks, world.masks, world.tops)
    world.spawn = _find_spawn(world, _SPAWN_GROUND)
    return world


class WorldPool:
    """A fixed set of worlds made ahead, so that a reset costs one memory copy instead of a generation.

    World i depends on (seed, biome, i) only. Worlds are generated when first asked for and kept. Training
    and held-out worlds differ by their seed.
    """

    def __init__(self, seed: int, biome: str | None = None, count: int = 8, size: int = DEFAULT_SIZE) -> None:
        if count < 1:
            raise SimulatorError(f"A pool needs at least one world; got count={count}.")
        resolve_biome(biome)
        self.seed, self.biome, self.count, self.size = seed, biome, count, size
        self._worlds: list[World | None] = [None] * count

    def world(self, index: int) -> World:
        """World ``index % count`` of the pool itself: read it, do not write to it."""
        slot = index % self.count
        world = self._worlds[slot]
        if world is None:
            entropy = np.random.SeedSequence([self.seed & 0xFFFFFFFFFFFFFFFF, slot]).generate_state(1, np.uint64)
            world = self._worlds[slot] = generate(int(entropy[0]), self.biome, self.size)
        return world

    def copy_into(self, index: int, target: World) -> None:
        """Overwrite ``target`` with world ``index % count``."""
        self.world(index).copy_into(target)

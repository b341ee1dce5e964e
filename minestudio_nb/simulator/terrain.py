"""Worlds from a seed: heights, ground, caves, ores, water, trees and plants, for a few biomes.

The same seed, biome and size give the same world on every machine: value noise is drawn by NumPy's PCG64 on
small lattices and interpolated; everything else hangs on an integer hash of the cell. All noise wraps round,
as the world does.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.blocks import block_id
from minestudio_nb.simulator.world import DEFAULT_SIZE, HEIGHT, World, rebuild

TREE_NONE: Final = 0
TREE_OAK: Final = 1
TREE_BIRCH: Final = 2
TREE_SPRUCE: Final = 3


@dataclass(frozen=True)
class Biome:
    """What makes a landscape.

    ``base`` is the mean height and ``amplitude`` the largest deviation from it, in cells; ``water`` the
    height up to which hollows fill; ``detail`` the share of each finer octave of the height. ``surface``
    covers ``filler`` covers stone; above ``bare_above`` stone lies open and above ``snow_above`` snow covers
    it. One tree may stand in each square of ``tree_spacing`` cells, with probability ``trees``;
    ``tree_kinds`` are (first, second) and ``second_share`` the share of the second. ``grass``, ``flowers``,
    ``cactus`` and ``dead_bush`` are probabilities per cell of ground.
    """

    base: int = 27
    amplitude: float = 4.0
    water: int = 23
    detail: float = 0.5
    surface: str = "grass_block"
    filler: str = "dirt"
    shore: str = "sand"
    bare_above: int = HEIGHT
    snow_above: int = HEIGHT
    trees: float = 0.0
    tree_spacing: int = 8
    tree_kinds: tuple[int, int] = (TREE_OAK, TREE_BIRCH)
    second_share: float = 0.2
    grass: float = 0.07
    flowers: float = 0.01
    cactus: float = 0.0
    dead_bush: float = 0.0


BIOMES: Final[dict[str, Biome]] = {
    "plains": Biome(trees=0.05, grass=0.1, flowers=0.015),
    "forest": Biome(base=28, amplitude=8.0, trees=0.65, tree_spacing=7),
    "birch_forest": Biome(base=28, amplitude=8.0, trees=0.7, tree_spacing=7, tree_kinds=(TREE_BIRCH, TREE_OAK)),
    "dense_forest": Biome(base=28, amplitude=5.0, water=22, trees=0.97, tree_spacing=6, grass=0.03),
    "taiga": Biome(
        base=28, amplitude=9.0, trees=0.6, tree_spacing=7, tree_kinds=(TREE_SPRUCE, TREE_SPRUCE), flowers=0.0
    ),
    "meadow": Biome(base=28, amplitude=2.5, trees=0.03, grass=0.03, flowers=0.02),
    "desert": Biome(
        amplitude=6.0,
        water=15,
        surface="sand",
        filler="sandstone",
        grass=0.0,
        flowers=0.0,
        cactus=0.006,
        dead_bush=0.008,
    ),
    "mountains": Biome(
        base=31,
        amplitude=21.0,
        water=22,
        detail=0.45,
        shore="gravel",
        bare_above=38,
        snow_above=45,
        trees=0.25,
        tree_kinds=(TREE_SPRUCE, TREE_OAK),
        grass=0.06,
    ),
}
_ALIASES: Final = {"extreme_hills": "mountains", "hills": "mountains", "dark_forest": "dense_forest"}

DEFAULT_BIOME: Final = "forest"

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
# Log and leaves by kind of tree.
_LOGS: Final = np.array([0, block_id("oak_log"), block_id("birch_log"), block_id("spruce_log")])
_LEAVES: Final = np.array([0, block_id("oak_leaves"), block_id("birch_leaves"), block_id("spruce_leaves")])
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
    return np.clip(heights, 6, HEIGHT - 13)


@njit(cache=True, nogil=True)
def _fill(blocks, heights, seed, cave_a, cave_b, water, surface, filler, shore, bare_above, snow_above):
    """Ground, ores, caves and water of every column."""
    size = blocks.shape[0]
    lattice = cave_a.shape[0]
    for x in range(size):
        for z in range(size):
            top = heights[x, z]
            wet = top <= water
            for y in range(top + 1):
                blocks[x, z, y] = _STONE if y < top - 3 else filler
            blocks[x, z, top] = surface
            if wet or top == water + 1:
                for y in range(top - 1, top + 1):
                    blocks[x, z, y] = shore
            elif top > bare_above:
                for y in range(top - 3, top + 1):
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
                blocks[x, z, y] = _WATER


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
def _plant_tree(blocks, x, y, z, kind, seed):
    """A tree whose lowest log stands at (x, y, z). Heights as in Minecraft: oak 4-6, birch 5-7, spruce 6-8."""
    lowest = 4 if kind == TREE_OAK else (5 if kind == TREE_BIRCH else 6)
    height = lowest + int(_hash01(x, z, 1, seed + _SALT_TREE) * 3.0)
    if y + height >= blocks.shape[2] - 1:
        return
    blocks[x, z, y - 1] = _DIRT
    for layer in range(height):
        blocks[x, z, y + layer] = _LOGS[kind]
    if kind == TREE_SPRUCE:
        _conical_tree(blocks, x, y, z, height, _LEAVES[kind])
    else:
        _round_tree(blocks, x, y, z, height, _LEAVES[kind], seed)


@njit(cache=True, nogil=True)
def _plant_trees(blocks, heights, seed, chance, spacing, first, second, second_share):
    """At most one tree in each square of spacing x spacing, where the ground is grass and the trunk has room."""
    size = blocks.shape[0]
    for cell_x in range(size // spacing):
        for cell_z in range(size // spacing):
            if _hash01(cell_x, cell_z, 0, seed + _SALT_TREE) >= chance:
                continue
            x = cell_x * spacing + 1 + int(_hash01(cell_x, cell_z, 2, seed + _SALT_TREE) * (spacing - 2))
            z = cell_z * spacing + 1 + int(_hash01(cell_x, cell_z, 3, seed + _SALT_TREE) * (spacing - 2))
            y = heights[x, z]
            if blocks[x, z, y] != _GRASS_BLOCK or blocks[x, z, y + 1] != _AIR:
                continue
            kind = second if _hash01(cell_x, cell_z, 4, seed + _SALT_TREE) < second_share else first
            _plant_tree(blocks, x, y + 1, z, kind, seed)


@njit(cache=True, nogil=True)
def _scatter_plants(blocks, heights, seed, grass, flowers, cactus, dead_bush):
    """Grass and flowers on grass, cactus and dead bushes on sand."""
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
                    blocks[x, z, y + 1] = _GRASS
                elif draw < grass + flowers:
                    second = _hash01(x >> 3, z >> 3, 6, seed + _SALT_PLANT) < 0.5
                    blocks[x, z, y + 1] = _POPPY if second else _DANDELION
            elif ground == _SAND:
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
for _name in ("grass_block", "sand", "stone", "snow_block", "gravel", "dirt"):
    _SPAWN_GROUND[block_id(_name)] = True


def biome_name(name: str | None) -> str:
    """The key of ``BIOMES`` that a name means ("extreme_hills" and Minecraft's "minecraft:" prefix are understood);
    None: the default.

    Raises:
        SimulatorError: no such biome; the message names the nearest one.
    """
    plain = (name or DEFAULT_BIOME).removeprefix("minecraft:")
    plain = _ALIASES.get(plain, plain)
    if plain in BIOMES:
        return plain
    near = difflib.get_close_matches(plain, [*BIOMES, *_ALIASES], n=1, cutoff=0.0)
    raise SimulatorError(
        f"This world has no biome {name!r}. The nearest is {near[0]!r}; there are {', '.join(BIOMES)}."
    )


def resolve_biome(name: str | None) -> Biome:
    """The biome of a name, see ``biome_name``."""
    return BIOMES[biome_name(name)]


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
    caves = rng.random((2, size // 8, size // 8, 16))
    _fill(
        world.blocks,
        heights,
        salt,
        caves[0],
        caves[1],
        kind.water,
        block_id(kind.surface),
        block_id(kind.filler),
        block_id(kind.shore),
        kind.bare_above,
        kind.snow_above,
    )
    first, second = kind.tree_kinds
    _plant_trees(world.blocks, heights, salt, kind.trees, kind.tree_spacing, first, second, kind.second_share)
    _scatter_plants(world.blocks, heights, salt, kind.grass, kind.flowers, kind.cactus, kind.dead_bush)
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

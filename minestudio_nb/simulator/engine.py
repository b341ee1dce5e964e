"""The engine: one world, its player and its mobs, advanced by ticks and looked at through a camera.

``VoxelSim`` puts MineStudio's interface on top; traces are replayed on the engine alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.actions import TICK_FIELDS
from minestudio_nb.simulator.bodies import box_is_free
from minestudio_nb.simulator.interaction import drop_of_block, remove_block
from minestudio_nb.simulator.inventory import empty_inventory, fill_inventory
from minestudio_nb.simulator.mobs import MOB_HALF, MOB_HEIGHT, summon
from minestudio_nb.simulator.state import (
    ANIMAL_SPEED,
    M_KIND,
    M_X,
    M_Y,
    M_Z,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_ANIMAL_SPEED,
    S_DEAD,
    S_FALL_DAMAGE,
    S_RAIN,
    S_TILE_DROPS,
    S_TIME,
    SimState,
)
from minestudio_nb.simulator.terrain import WorldPool, shared_pool
from minestudio_nb.simulator.tick import advance
from minestudio_nb.simulator.vitals import HALF_WIDTH, HEIGHT, body_height
from minestudio_nb.simulator.world import World, get_block

WEATHERS: Final = ("clear", "rain", "thunder")
STATE_FORMAT: Final = 2
_SPAWN_TRIES: Final = 400
_OPEN_CELLS: Final = 3
"""A place is open towards a side where so many cells at eye level let the player through."""
_TOPSOIL: Final = np.zeros(256, np.bool_)
for _name in ("grass_block", "sand", "red_sand", "snow_block"):
    _TOPSOIL[table.block_id(_name)] = True
_MOST_POOLS: Final = 8  # biomes whose worlds are kept

_GROUND: Final = np.zeros(256, np.bool_)
for _name in (
    "grass_block", "dirt", "coarse_dirt", "podzol", "grass_path", "sand", "red_sand", "gravel", "stone", "sandstone",
    "snow_block", "terracotta",
):  # fmt: skip
    _GROUND[table.block_id(_name)] = True
_SOLID: Final = table.SOLID
_LIQUID: Final = table.LIQUID
_BEDROCK: Final = table.block_id("bedrock")
_IN_CROWN: Final = np.array(
    [i < table.NUM_BLOCKS and table.BLOCKS[i].name.endswith(("_leaves", "_log")) for i in range(256)]
)


@njit(cache=True, nogil=True)
def ground_below_trees(blocks, x, z):
    """The y on which a player can stand under the open sky or under leaves; -1 where there is no such ground."""
    for y in range(blocks.shape[2] - 3, 0, -1):
        block = get_block(blocks, x, y, z)
        if _LIQUID[block]:
            return -1
        if _SOLID[block] and not _IN_CROWN[block]:
            above, head = get_block(blocks, x, y + 1, z), get_block(blocks, x, y + 2, z)
            if _GROUND[block] and not _SOLID[above] and not _SOLID[head]:
                return y + 1
            return -1
    return -1


@dataclass(frozen=True)
class WorldChoice:
    """Which world of which pool: enough to generate it again."""

    seed: int
    biome: str | None
    pool_size: int
    world_size: int
    index: int


@dataclass
class Recording:
    """What has been done to an engine: runs of ticks, and commands between them.

    Attributes:
        runs: ticks, tick row as int8 bytes, pitch and yaw.
        commands: number of runs before it, seed, text.
    """

    runs: list[tuple[int, bytes, float, float]] = field(default_factory=list)
    commands: list[tuple[int, int, str]] = field(default_factory=list)

    def add_run(self, ticks: int, action: NDArray[np.int32], camera: NDArray[np.float64]) -> None:
        """Note a call of ``VoxelEngine.run``."""
        self.runs.append((ticks, action.astype(np.int8).tobytes(), float(camera[0]), float(camera[1])))

    def add_command(self, command: str, seed: int) -> None:
        """Note a chat command."""
        self.commands.append((len(self.runs), seed, command))


class VoxelEngine:
    """One simulation without rewards, callbacks and spaces.

    Args:
        world_seed: of the pool of worlds.
        biome: of the first reset; None for the default.
        inventory: what the player has after a reset, see ``inventory.fill_inventory``.
        pool_size: how many different worlds there are, generated when first needed and kept: 1.3 MB each at the default
            size, shared by all engines of the process.
        world_size: columns along x and z, a power of two.
        fall_damage: whether falling hurts.
        animal_speed: how fast animals stroll and flee, as a share of Minecraft's speeds, 0 to 2.
        unknown_commands: "error", or "warn" to pass over chat commands that cannot be carried out, with one warning for
            each text.
    """

    def __init__(
        self,
        world_seed: int = 0,
        biome: str | None = None,
        inventory: Mapping[Any, Any] | None = None,
        pool_size: int = 4,
        world_size: int = 128,
        fall_damage: bool = True,
        animal_speed: float = ANIMAL_SPEED / 100,
        unknown_commands: Literal["error", "warn"] = "error",
    ) -> None:
        if unknown_commands not in ("error", "warn"):
            raise SimulatorError(f"unknown_commands is 'error' or 'warn'; got {unknown_commands!r}.")
        self.unknown_commands = unknown_commands
        self.ignored_commands: set[str] = set()
        self.biome = biome
        self.fall_damage = fall_damage
        if not 0.0 <= animal_speed <= 2.0:
            raise SimulatorError(f"animal_speed is a share of Minecraft's speeds, 0 to 2; got {animal_speed}.")
        self.animal_speed = animal_speed
        self._inventory = dict(inventory or {})
        fill_inventory(empty_inventory(), self._inventory)  # complain now, not at the first reset
        self.choice = WorldChoice(int(world_seed), biome, pool_size, world_size, 0)
        self._pools: dict[tuple[int, str | None, int, int], WorldPool] = {}
        self._pool(self.choice)  # checks the arguments
        self.state = SimState.blank(World.empty(world_size))
        self.serial = 0
        self.recording: Recording | None = None
        self._noop = np.zeros(TICK_FIELDS, np.int32)
        self._still = np.zeros(2)

    def _pool(self, choice: WorldChoice) -> WorldPool:
        key = (choice.seed, choice.biome, choice.pool_size, choice.world_size)
        if key not in self._pools:
            if len(self._pools) >= _MOST_POOLS:
                del self._pools[next(iter(self._pools))]
            self._pools[key] = shared_pool(*key)
        return self._pools[key]

    def pristine(self, choice: WorldChoice) -> World:
        """A world as generated. It is the pool's own: read it, do not write to it."""
        return self._pool(choice).world(choice.index)

    def reset(self, rng: np.random.Generator, biome: str | None = None) -> None:
        """Start over in one of the pool's worlds, at a random place on dry ground, looking in a random direction.

        Args:
            rng: decides on the world, the place, and the seed of the ticks' own generator.
            biome: overrides the engine's.

        Raises:
            SimulatorError: there is no such biome.
        """
        self.recording = None
        self._load_world(rng, biome or self.biome)
        self.state.clear(int(rng.integers(1 << 62)))
        self._spawn(rng)
        fill_inventory(self.state.inventory, self._inventory)
        self.state.status[S_FALL_DAMAGE] = int(self.fall_damage)
        self.state.status[S_ANIMAL_SPEED] = round(100.0 * self.animal_speed)
        self.serial += 1

    def use_seed(self, seed: int) -> None:
        """Have all later worlds made from this seed, one world for each biome."""
        old = self.choice
        self.choice = WorldChoice(int(seed), old.biome, 1, old.world_size, 0)

    def change_world(self, rng: np.random.Generator, biome: str | None) -> None:
        """Move the player to a random place in another world; inventory, counters and time stay, mobs and
        items do not.

        Raises:
            SimulatorError: there is no such biome.
        """
        self._load_world(rng, biome)
        self.state.remove_entities()
        self.state.player[P_Z + 1 : P_Z + 4] = 0.0
        self._spawn(rng)
        self.serial += 1

    def _load_world(self, rng: np.random.Generator, biome: str | None) -> None:
        old = self.choice
        choice = WorldChoice(old.seed, biome, old.pool_size, old.world_size, int(rng.integers(old.pool_size)))
        self.pristine(choice).copy_into(self.state.world)
        self.choice = choice

    def _spawn(self, rng: np.random.Generator) -> None:
        """Put the player on a random place under the sky; on the world's own spawn if none is found.

        Topsoil underfoot and a view to two sides at least keep it out of the mouths of caves and of pits. Where a
        biome has little topsoil, the second half of the tries takes any ground.
        """
        world, player = self.state.world, self.state.player
        for attempt in range(_SPAWN_TRIES):
            x, z = (int(v) for v in rng.integers(world.size, size=2))
            y = int(ground_below_trees(world.blocks, x, z))
            if y <= 0 or not box_is_free(world.blocks, x + 0.5, float(y), z + 0.5, HALF_WIDTH, HEIGHT):
                continue
            soil = _TOPSOIL[get_block(world.blocks, x, y - 1, z)] or attempt >= _SPAWN_TRIES // 2
            if soil and _open_sides(world, x, y + 1, z) >= 2:
                player[[P_X, P_Y, P_Z]] = (x + 0.5, y, z + 0.5)
                break
        player[P_YAW] = rng.uniform(-180.0, 180.0)

    def run(self, action: NDArray[np.int32], camera: NDArray[np.float64], ticks: int = 1) -> int:
        """Advance by ``ticks`` with one action held; the camera turns on the first. See ``tick.run_ticks``.

        Returns:
            How many ticks ran; fewer if the player died.
        """
        if self.recording is not None:
            self.recording.add_run(ticks, action, camera)
        self.serial += 1
        return advance(self.state, action, camera, ticks)

    def idle(self, ticks: int) -> None:
        """Advance by ``ticks`` with no key pressed."""
        if ticks > 0:
            self.run(self._noop, self._still, ticks)

    @property
    def dead(self) -> bool:
        """Whether the player died."""
        return bool(self.state.status[S_DEAD])

    def set_weather(self, name: str) -> None:
        """Set the weather to one of WEATHERS.

        Raises:
            SimulatorError: no such weather.
        """
        if name not in WEATHERS:
            raise SimulatorError(f"The weather is one of {', '.join(WEATHERS)}; got {name!r}.")
        self.state.status[S_RAIN] = WEATHERS.index(name)

    def set_time(self, ticks: int) -> None:
        """Set the time of day: 0 sunrise, 6000 noon, 12000 sunset, 18000 midnight."""
        self.state.status[S_TIME] = ticks

    def teleport(self, x: float, y: float, z: float) -> None:
        """Put the player's feet at a point, or as far above it as blocks are in the way; it stands still."""
        blocks = self.state.world.blocks
        y = max(1.0, y)
        while y < blocks.shape[2] and not box_is_free(blocks, x, y, z, HALF_WIDTH, HEIGHT):
            y = float(int(y) + 1)
        player = self.state.player
        player[P_X : P_Z + 1] = (x, y, z)
        player[P_Z + 1 : P_Z + 4] = 0.0

    def free_bodies(self) -> None:
        """Lift the player and mobs out of blocks that were put into their place."""
        state = self.state
        blocks, player = state.world.blocks, state.player
        x, y, z = player[P_X : P_Z + 1].tolist()
        if not box_is_free(blocks, x, y, z, HALF_WIDTH, body_height(state.status)):
            self.teleport(x, y, z)
        for mob in state.mobs:
            kind = int(mob[M_KIND])
            while kind >= 0 and not box_is_free(blocks, mob[M_X], mob[M_Y], mob[M_Z], MOB_HALF[kind], MOB_HEIGHT[kind]):
                mob[M_Y] = np.floor(mob[M_Y]) + 1.0

    def break_block(self, x: int, y: int, z: int) -> None:
        """Remove a block as if by the right tool: it drops what it yields."""
        arrays = self.state.arrays()
        block = self.state.world.get(x, y, z)
        remove_block(arrays, x, y, z, -1)
        if self.state.status[S_TILE_DROPS]:
            drop_of_block(arrays, block, 0, x, y, z)

    def summon_on_ground(self, kind: int, x: float, y: float, z: float) -> None:
        """Add a mob at (x, z): on the open ground there, or from height ``y`` up where there is none (water, rock).

        Raises:
            SimulatorError: there is no kind of this number.
        """
        ground = int(ground_below_trees(self.state.world.blocks, int(np.floor(x)), int(np.floor(z))))
        summon(self.state, kind, x, float(ground) if ground > 0 else y, z)

    def cells_around(
        self, x0: int, x1: int, y0: int, y1: int, z0: int, z1: int
    ) -> tuple[NDArray[np.uint8], tuple[int, int, int]]:
        """The blocks in a box around the cell of the player's feet, both ends included.

        Returns:
            uint8[x, z, y] of block ids, and x, y, z of its first cell relative to the feet.
        """
        blocks, player = self.state.world.blocks, self.state.player
        x, y, z = (int(np.floor(v)) for v in player[P_X : P_Z + 1])
        mask = blocks.shape[0] - 1
        xs, ys, zs = np.arange(x0, x1 + 1) + x, np.arange(y0, y1 + 1) + y, np.arange(z0, z1 + 1) + z
        cells = blocks[np.ix_(xs & mask, zs & mask, np.clip(ys, 0, blocks.shape[2] - 1))]
        cells[:, :, ys < 0] = _BEDROCK
        cells[:, :, ys >= blocks.shape[2]] = table.AIR
        return cells, (x0, y0, z0)

    def get_state(self) -> dict[str, Any]:
        """Everything that the future depends on, as arrays and plain values.

        The world is kept as the differences from the generated one, thus a state takes some ten kilobytes.
        """
        world, pristine = self.state.world, self.pristine(self.choice)
        changed = np.flatnonzero(world.blocks.reshape(-1) != pristine.blocks.reshape(-1))
        arrays = {name: getattr(self.state, name).copy() for name in SimState.ARRAYS}
        arrays["changed_cells"] = changed
        arrays["changed_blocks"] = world.blocks.reshape(-1)[changed]
        return {"format": STATE_FORMAT, "choice": vars(self.choice).copy(), "checksum": _checksum(pristine)} | arrays

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Return to what ``get_state`` gave, on this or another engine.

        Raises:
            SimulatorError: the state is of another format, or this version generates another world from its seed.
        """
        if state.get("format") != STATE_FORMAT:
            raise SimulatorError(f"This version reads states of format {STATE_FORMAT}; got {state.get('format')!r}.")
        choice = WorldChoice(**state["choice"])
        pristine = self.pristine(choice)
        if _checksum(pristine) != state["checksum"]:
            raise SimulatorError(
                f"The state belongs to a world that this version no longer generates (seed {choice.seed}, biome "
                f"{choice.biome}, index {choice.index}). Use the version that saved it."
            )
        arrays = {name: np.array(state[name]) for name in SimState.ARRAYS}
        for name, array in arrays.items():
            expected = getattr(self.state, name)
            if array.dtype != expected.dtype or array.shape[1:] != expected.shape[1:]:
                raise SimulatorError(
                    f"The state's {name} is {array.dtype}{list(array.shape)}, here it is {expected.dtype}"
                    f"{list(expected.shape)}: it was saved by a version with other items. Use that version."
                )
        self.choice = choice
        world = pristine.copy()
        world.blocks.reshape(-1)[state["changed_cells"]] = state["changed_blocks"]
        world.rebuild()
        self.state = SimState(world, **arrays)
        self.serial += 1
        self.recording = None


def _checksum(world: World) -> int:
    return zlib.crc32(world.blocks.tobytes())


def _open_sides(world: World, x: int, y: int, z: int) -> int:
    """Towards how many of the four sides nothing solid stands near, seen from one cell."""
    return sum(
        not any(
            table.SOLID[get_block(world.blocks, x + dx * step, y, z + dz * step)] for step in range(1, _OPEN_CELLS + 1)
        )
        for dx, dz in ((1, 0), (-1, 0), (0, 1), (0, -1))
    )

"""The state of one simulation as plain arrays, and the names of their columns.

Everything that a tick reads or writes is here, so that a state is copied, saved and compared as bytes, and the
kernels in ``physics`` and ``mobs`` need no Python object.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.simulator.blocks import NUM_ITEMS
from minestudio_nb.simulator.world import World

# player: float64[PLAYER_FIELDS]. Positions in blocks (feet, middle of the box), velocities in blocks per tick, angles
# in degrees as Minecraft has them: yaw 0 looks to +z and grows towards -x, pitch grows downwards.
P_X: Final = 0
P_Y: Final = 1
P_Z: Final = 2
P_VX: Final = 3
P_VY: Final = 4
P_VZ: Final = 5
P_YAW: Final = 6
P_PITCH: Final = 7
P_HEALTH: Final = 8  # half hearts, 0 to 20
P_FOOD: Final = 9  # half drumsticks, 0 to 20
P_BREAKING: Final = 10  # share of the targeted block that is broken, 0 to 1
P_FALL: Final = 11  # blocks fallen since the feet last stood
P_WALKED: Final = 12  # blocks walked, for the counter of centimetres and the swing of the hand
P_SATURATION: Final = 13  # what is used up before P_FOOD, 0 to P_FOOD
P_EXHAUSTION: Final = 14  # 4 of it take 1 of saturation, else of food
P_LAST_HURT: Final = 15  # half hearts of the last hit, while S_HURT runs
PLAYER_FIELDS: Final = 24

# status: int64[STATUS_FIELDS].
S_TICK: Final = 0  # ticks since the reset
S_TIME: Final = 1  # time of day in ticks, growing; 0 is sunrise, 6000 noon, 18000 midnight
S_RAIN: Final = 2  # 0 clear, 1 rain, 2 thunder
S_DEAD: Final = 3
S_ON_GROUND: Final = 4
S_SPRINTING: Final = 5
S_SNEAKING: Final = 6
S_JUMP_DELAY: Final = 7
S_SLOT: Final = 8  # selected hotbar slot, 0 to 8
S_HIT_DELAY: Final = 9
S_USE_DELAY: Final = 10
S_ATTACK_HELD: Final = 11
S_SINCE_ATTACK: Final = 12  # ticks since the last hit on a mob
S_SWING: Final = 13  # ticks left of the arm's swing
S_HURT: Final = 14  # ticks left of the red flash, during which nothing hurts again
S_TARGET: Final = 15  # TARGET_*
S_TARGET_X: Final = 16  # cell of the targeted block
S_TARGET_Y: Final = 17
S_TARGET_Z: Final = 18
S_TARGET_FACE: Final = 19
S_TARGET_ID: Final = 20  # block id, or row of the mob
S_BREAK_X: Final = 21  # cell that P_BREAKING is about
S_BREAK_Y: Final = 22
S_BREAK_Z: Final = 23
S_FALL_DAMAGE: Final = 24  # 1: falling hurts
S_INVULNERABLE: Final = 25  # ticks during which nothing hurts
S_NIGHT_VISION: Final = 26  # ticks during which it is bright
S_IN_WATER: Final = 27
S_DROP_HELD: Final = 28
S_BOW_DRAW: Final = 29  # ticks that the bow has been drawn; 0: it is not
S_EAT: Final = 30  # ticks that the player has been eating; 0: it is not
S_USE_SLOT: Final = 31  # inventory slot of what is drawn or eaten
S_FOOD_TIMER: Final = 32  # ticks towards the next healing or starving
S_AIR: Final = 33  # ticks of breath left under water; FULL_AIR in the open
S_FIRE: Final = 34  # ticks left of burning
S_USE_HELD: Final = 35  # 1: the use key was down in the last tick
S_LOST_ITEMS: Final = 36  # items that vanished: by age, in lava, or for want of a row
S_DIFFICULTY: Final = 37  # index into DIFFICULTIES
# Game rules, 1 or 0.
S_DAYLIGHT_CYCLE: Final = 38
S_NATURAL_REGENERATION: Final = 40
S_MOB_LOOT: Final = 41
S_TILE_DROPS: Final = 42
S_MOB_GRIEFING: Final = 43
S_DROWNING_DAMAGE: Final = 44
S_FIRE_DAMAGE: Final = 45
S_UNDER_WATER: Final = 50  # 1: the eyes are under water
S_IN_LAVA: Final = 51
S_HUNGER: Final = 52  # ticks left of the effect hunger
S_ANIMAL_SPEED: Final = 53  # how fast animals are, in percent of Minecraft's
S_ARMOR: Final = 54  # points of what the player wears, as of this tick
S_TOUGHNESS: Final = 55  # the same of its toughness
S_ARMOR_WEAR: Final = 56  # uses by which the hits of this tick wear each piece
S_STRENGTH: Final = 57  # ticks left of the effect strength
S_STRENGTH_LEVEL: Final = 58  # 1 for the effect's first level
STATUS_FIELDS: Final = 64

DIFFICULTIES: Final = ("peaceful", "easy", "normal", "hard")
PEACEFUL: Final = 0
EASY: Final = 1
NORMAL: Final = 2
HARD: Final = 3
FULL_AIR: Final = 300
START_SATURATION: Final = 5.0

TARGET_NONE: Final = 0
TARGET_BLOCK: Final = 1
TARGET_MOB: Final = 2

SWING_TICKS: Final = 6
"""Length of the arm's swing (Minecraft: ``LivingEntity.getCurrentSwingDuration``)."""

# stats: int32[len(EVENTS), NUM_ITEMS], counters since the reset. Columns are item ids, but MOB_NAMES in kill_entity and
# CUSTOM_NAMES in custom; damage_dealt has one.
EVENTS: Final = (
    "mine_block", "pickup", "use_item", "break_item", "craft_item", "drop", "kill_entity", "damage_dealt", "custom",
)  # fmt: skip
E_MINE: Final = 0
E_PICKUP: Final = 1
E_USE: Final = 2
E_BREAK: Final = 3
E_CRAFT: Final = 4
E_DROP: Final = 5
E_KILL: Final = 6
E_DAMAGE: Final = 7
E_CUSTOM: Final = 8

CUSTOM_NAMES: Final = (
    "play_one_minute", "walk_one_cm", "jump", "deaths", "mob_kills", "damage_taken", "interact_with_crafting_table",
    "interact_with_furnace", "open_chest",
)  # fmt: skip
C_PLAY: Final = 0  # ticks, in spite of the name that Minecraft gives it
C_WALK: Final = 1
C_JUMP: Final = 2
C_DEATHS: Final = 3
C_KILLS: Final = 4
C_TAKEN: Final = 5  # tenths of half hearts, as Minecraft counts
C_SCREENS: Final = 6  # the first of three

# mobs: float64[capacity, MOB_FIELDS], the order that the renderer takes. A row with kind -1 is free.
M_KIND: Final = 0
M_X: Final = 1
M_Y: Final = 2
M_Z: Final = 3
M_YAW: Final = 4  # degrees, as the player's
M_HEALTH: Final = 5
M_HURT: Final = 6  # ticks left of the red flash
M_VX: Final = 7
M_VY: Final = 8
M_VZ: Final = 9
M_LIMB: Final = 10  # phase of the legs' swing, radians
M_PITCH: Final = 11
M_FALL: Final = 12  # blocks fallen since it last stood
M_LAST_HURT: Final = 13  # half hearts of the last hit, while M_HURT runs
M_FIRE: Final = 14  # ticks left of burning
M_SWELL: Final = 15  # how far a creeper's fuse has burnt, 0 to 1
M_DRAW: Final = 16  # how far a skeleton has drawn its bow, 0 to 1
MOB_FIELDS: Final = 18

# minds: int32[capacity, MIND_FIELDS].
MIND_WALK: Final = 0  # ticks left of strolling
MIND_FLEE: Final = 1  # ticks left of fleeing
MIND_COOLDOWN: Final = 2  # ticks until it may hit again
MIND_ON_GROUND: Final = 3
MIND_HEADING: Final = 4  # yaw that it turns to, in degrees
MIND_CREDIT: Final = 5  # ticks during which its death is the player's kill
MIND_ANGRY: Final = 6  # 1: the player hit it
MIND_SEEN: Final = 7  # ticks for which it remembers the player, or counts how long it has seen it
MIND_DETOUR: Final = 8  # ticks left of going round something
MIND_SIDE: Final = 9  # to which side: 1 or -1. A skeleton steps to this side
MIND_WALL: Final = 10  # whether it met a wall in its last tick, see mob_motion
MIND_GOAL: Final = 11  # yaw along which it wants to go, in degrees
MIND_FIELDS: Final = 12

# items: float64[ITEM_CAPACITY, ITEM_FIELDS], stacks that lie or fly about. A row with I_ITEM -1 is free.
I_ITEM: Final = 0  # item id
I_X: Final = 1  # middle of the bottom of its box
I_Y: Final = 2
I_Z: Final = 3
I_VX: Final = 4  # blocks per tick
I_VY: Final = 5
I_VZ: Final = 6
I_COUNT: Final = 7
I_AGE: Final = 8  # ticks
I_DELAY: Final = 9  # ticks until it may be picked up
I_DAMAGE: Final = 10  # wear of a tool: uses so far
ITEM_FIELDS: Final = 11
ITEM_CAPACITY: Final = 64

# arrows: float64[ARROW_CAPACITY, ARROW_FIELDS].
A_STATE: Final = 0  # ARROW_*
A_X: Final = 1
A_Y: Final = 2
A_Z: Final = 3
A_VX: Final = 4  # blocks per tick
A_VY: Final = 5
A_VZ: Final = 6
A_YAW: Final = 7  # degrees, where the tip points: as the player's
A_PITCH: Final = 8
A_AGE: Final = 9  # ticks since it was shot, or since it stuck
A_DAMAGE: Final = 10  # half hearts per block of speed
A_OWNER: Final = 11  # -1 the player, else the row of the mob that shot it
A_CRITICAL: Final = 12  # 1: shot at full draw
A_SHAKE: Final = 13  # ticks left of trembling after it stuck
ARROW_FIELDS: Final = 14
ARROW_CAPACITY: Final = 32
ARROW_FREE: Final = -1
ARROW_FLYING: Final = 0
ARROW_STUCK: Final = 1

# Columns of a row of the inventory.
SLOT_ITEM: Final = 0
SLOT_COUNT: Final = 1
SLOT_DAMAGE: Final = 2  # wear of a tool: uses so far
SLOT_FIELDS: Final = 3
INVENTORY_SLOTS: Final = 41
OFFHAND_SLOT: Final = 40
FULL_HEALTH: Final = 20.0
ANIMAL_SPEED: Final = 50  # percent of Minecraft's
_ON_AT_START: Final = (
    S_FALL_DAMAGE, S_DAYLIGHT_CYCLE, S_NATURAL_REGENERATION, S_MOB_LOOT, S_TILE_DROPS, S_MOB_GRIEFING,
    S_DROWNING_DAMAGE, S_FIRE_DAMAGE,
)  # fmt: skip


class Arrays(NamedTuple):
    """The arrays of one simulation as kernels take them; for shapes see ``SimState`` and ``world.World``."""

    blocks: NDArray[np.uint8]
    masks: NDArray[np.uint64]
    tops: NDArray[np.int32]
    player: NDArray[np.float64]
    status: NDArray[np.int64]
    inventory: NDArray[np.int32]
    stats: NDArray[np.int32]
    mobs: NDArray[np.float64]
    minds: NDArray[np.int32]
    items: NDArray[np.float64]
    arrows: NDArray[np.float64]
    rng: NDArray[np.uint64]


@dataclass
class SimState:
    """The arrays of one simulation.

    Attributes:
        world: blocks and what is derived from them.
        player: float64[PLAYER_FIELDS].
        status: int64[STATUS_FIELDS].
        inventory: int32[41, 3] of item id, count and wear; 0-8 hotbar, 9-35 rest, 36-39 feet to head, 40 off hand.
        stats: int32[len(EVENTS), NUM_ITEMS], counters since the reset.
        mobs: float64[capacity, MOB_FIELDS].
        minds: int32[capacity, MIND_FIELDS].
        items: float64[ITEM_CAPACITY, ITEM_FIELDS].
        arrows: float64[ARROW_CAPACITY, ARROW_FIELDS].
        rng: uint64[1], the state of the generator that ticks draw from.
    """

    world: World
    player: NDArray[np.float64]
    status: NDArray[np.int64]
    inventory: NDArray[np.int32]
    stats: NDArray[np.int32]
    mobs: NDArray[np.float64]
    minds: NDArray[np.int32]
    items: NDArray[np.float64]
    arrows: NDArray[np.float64]
    rng: NDArray[np.uint64]
    _arrays: Arrays | None = field(default=None, init=False, repr=False, compare=False)

    ARRAYS = ("player", "status", "inventory", "stats", "mobs", "minds", "items", "arrows", "rng")

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name != "_arrays":
            object.__setattr__(self, "_arrays", None)  # it held the old array

    @classmethod
    def blank(cls, world: World, mob_capacity: int = 16) -> SimState:
        """A state around ``world`` (kept, not copied) with a player of full health at its spawn, and no mobs."""
        state = cls(
            world,
            np.zeros(PLAYER_FIELDS),
            np.zeros(STATUS_FIELDS, np.int64),
            np.zeros((INVENTORY_SLOTS, SLOT_FIELDS), np.int32),
            np.zeros((len(EVENTS), NUM_ITEMS), np.int32),
            np.zeros((mob_capacity, MOB_FIELDS)),
            np.zeros((mob_capacity, MIND_FIELDS), np.int32),
            np.zeros((ITEM_CAPACITY, ITEM_FIELDS)),
            np.zeros((ARROW_CAPACITY, ARROW_FIELDS)),
            np.zeros(1, np.uint64),
        )
        state.clear(seed=0)
        return state

    def arrays(self) -> Arrays:
        """The arrays themselves, for kernels. The same tuple until one of them is exchanged."""
        if self._arrays is None:
            world = self.world
            rest = (getattr(self, name) for name in self.ARRAYS)
            self._arrays = Arrays(world.blocks, world.masks, world.tops, *rest)
        return self._arrays

    def clear(self, seed: int) -> None:
        """Start a new life: empty inventory and counters, no mobs or items, full health, feet at the world's spawn.

        Args:
            seed: of the generator that ticks draw from, any int.
        """
        for name in self.ARRAYS:
            getattr(self, name).fill(0)
        x, y, z = self.world.spawn
        self.player[[P_X, P_Y, P_Z]] = (x + 0.5, y, z + 0.5)
        self.player[P_HEALTH] = self.player[P_FOOD] = FULL_HEALTH
        self.player[P_SATURATION] = START_SATURATION
        self.status[list(_ON_AT_START)] = 1
        self.status[S_DIFFICULTY] = NORMAL
        self.status[S_AIR] = FULL_AIR
        self.status[S_ANIMAL_SPEED] = ANIMAL_SPEED
        self.status[S_SINCE_ATTACK] = 100
        self.status[S_BREAK_Y] = -1
        self.remove_entities()
        self.rng[0] = seed & 0xFFFF_FFFF_FFFF_FFFF

    def remove_entities(self) -> None:
        """Take mobs, items and arrows out of the world."""
        self.mobs[:, M_KIND] = -1.0
        self.items[:, I_ITEM] = -1.0
        self.arrows[:, A_STATE] = ARROW_FREE

    def free_mob_row(self) -> int:
        """The first free row of ``mobs``; both mob arrays double when none is free."""
        free = np.flatnonzero(self.mobs[:, M_KIND] < 0)
        if free.size:
            return int(free[0])
        rows = len(self.mobs)
        self.mobs = np.concatenate([self.mobs, np.zeros_like(self.mobs)])
        self.mobs[rows:, M_KIND] = -1.0
        self.minds = np.concatenate([self.minds, np.zeros_like(self.minds)])
        return rows

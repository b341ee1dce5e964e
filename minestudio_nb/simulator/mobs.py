"""Mobs: which there are, how they are hurt, and what is left of them. ``mob_motion`` moves them, ``behaviour`` is what
they want."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.bodies import box_is_free, randint, uniform
from minestudio_nb.simulator.items import drop_item
from minestudio_nb.simulator.state import (
    C_KILLS,
    E_CUSTOM,
    E_KILL,
    M_HEALTH,
    M_HURT,
    M_KIND,
    M_LAST_HURT,
    M_VX,
    M_VY,
    M_VZ,
    M_X,
    M_Y,
    M_YAW,
    M_Z,
    MIND_ANGRY,
    MIND_CREDIT,
    MIND_FLEE,
    MIND_HEADING,
    MIND_ON_GROUND,
    S_MOB_LOOT,
    SimState,
)


@dataclass(frozen=True)
class MobKind:
    """One kind of mob.

    ``width`` and ``height`` of its box are in blocks, ``health`` in half hearts, ``drops`` a list of (item, least,
    most). ``stroll`` and ``run`` are Minecraft's: the attribute of movement speed times the factor of what it does,
    strolling, and fleeing or chasing. ``attack`` is the damage of its hand in half hearts, ``sight`` how far it sees a
    player, in blocks.
    """

    name: str
    width: float
    height: float
    health: float
    stroll: float
    run: float
    drops: tuple[tuple[str, int, int], ...] = ()
    hostile: bool = False
    attack: float = 0.0
    sight: float = 16.0
    burns: bool = False


# Minecraft 1.16's values. The order is that of the renderer's models; new kinds go at the end.
MOB_KINDS: Final[tuple[MobKind, ...]] = (
    MobKind("cow", 0.9, 1.4, 10.0, 0.2, 0.4, (("beef", 1, 3), ("leather", 0, 2))),
    MobKind("sheep", 0.9, 1.3, 8.0, 0.23, 0.2875, (("mutton", 1, 2), ("white_wool", 1, 1))),
    MobKind("pig", 0.9, 0.9, 10.0, 0.25, 0.3125, (("porkchop", 1, 3),)),
    MobKind("zombie", 0.6, 1.95, 20.0, 0.23, 0.23, (("rotten_flesh", 0, 2),), True, 3.0, 35.0, burns=True),
    MobKind("chicken", 0.4, 0.7, 4.0, 0.25, 0.35, (("chicken", 1, 1), ("feather", 0, 2))),
    MobKind("skeleton", 0.6, 1.99, 20.0, 0.25, 0.25, (("arrow", 0, 2), ("bone", 0, 2)), True, 2.0, burns=True),
    MobKind("spider", 1.4, 0.9, 16.0, 0.24, 0.3, (("string", 0, 2),), True, 2.0),
    MobKind("creeper", 0.6, 1.7, 20.0, 0.2, 0.25, (("gunpowder", 0, 2),), True),
)
MOB_NAMES: Final = tuple(kind.name for kind in MOB_KINDS)
COW, SHEEP, PIG, ZOMBIE, CHICKEN, SKELETON, SPIDER, CREEPER = range(8)

KNOCK_BACK: Final = 0.4
SPRINT_KNOCK_BACK: Final = 0.5  # more, along the player's view
MOB_HURT_TICKS: Final = 10
FLEE_TICKS: Final = 60
CREDIT_TICKS: Final = 100  # after a hit of the player's, during which a death counts as the player's kill


def _ground_speed(attribute: float) -> float:
    """Blocks per tick of a mob that walks with this attribute: its input and its acceleration are both proportional to
    it, and ground friction takes 0.454 of the speed each tick."""
    return 0.98 * attribute**2 / (1.0 - 0.6 * 0.91)


MOB_HALF: Final = np.array([kind.width / 2 for kind in MOB_KINDS])
MOB_HEIGHT: Final = np.array([kind.height for kind in MOB_KINDS])
MOB_HEALTH: Final = np.array([kind.health for kind in MOB_KINDS])
MOB_STROLL: Final = np.array([_ground_speed(kind.stroll) for kind in MOB_KINDS])
MOB_RUN: Final = np.array([_ground_speed(kind.run) for kind in MOB_KINDS])
"""Blocks per tick."""
MOB_HOSTILE: Final = np.array([kind.hostile for kind in MOB_KINDS])
MOB_BURNS: Final = np.array([kind.burns for kind in MOB_KINDS])
MOB_ATTACK: Final = np.array([kind.attack for kind in MOB_KINDS])
MOB_SIGHT: Final = np.array([kind.sight for kind in MOB_KINDS])
_MOST_DROPS: Final = max(len(kind.drops) for kind in MOB_KINDS)
MOB_DROPS: Final = np.zeros((len(MOB_KINDS), _MOST_DROPS, 3), np.int32)
"""int32[kind, n, 3] of item id, least and most; most 0 for none."""
for _row, _kind in zip(MOB_DROPS, MOB_KINDS, strict=True):
    for _entry, (_item, _least, _most) in zip(_row, _kind.drops, strict=False):
        _entry[:] = (table.item_id(_item), _least, _most)


def mob_kind(name: str) -> int:
    """The number of a kind of mob, by its Minecraft name with or without "minecraft:".

    Raises:
        SimulatorError: this world has no such mob; the message names the nearest.
    """
    plain = name.removeprefix("minecraft:")
    if plain in MOB_NAMES:
        return MOB_NAMES.index(plain)
    near = difflib.get_close_matches(plain, MOB_NAMES, n=1, cutoff=0.0)[0]
    raise SimulatorError(f"This world has no mob {name!r}; it has {', '.join(MOB_NAMES)}. The nearest is {near!r}.")


def summon(state: SimState, kind: int, x: float, y: float, z: float) -> int:
    """Add a mob with its feet at a point, or above it where there are blocks. Its yaw is random.

    Returns:
        Its row in ``state.mobs``.

    Raises:
        SimulatorError: there is no kind of this number.
    """
    if not 0 <= kind < len(MOB_KINDS):
        raise SimulatorError(f"Mob kinds are 0 to {len(MOB_KINDS) - 1}; got {kind}.")
    row = state.free_mob_row()
    blocks = state.world.blocks
    while y < blocks.shape[2] and not box_is_free(blocks, x, y, z, MOB_HALF[kind], MOB_HEIGHT[kind]):
        y = math.floor(y) + 1.0
    state.mobs[row] = 0.0
    state.mobs[row, [M_KIND, M_X, M_Y, M_Z]] = (kind, x, y, z)
    state.mobs[row, M_YAW] = 360.0 * uniform(state.rng) - 180.0
    state.mobs[row, M_HEALTH] = MOB_KINDS[kind].health
    state.minds[row] = 0
    state.minds[row, MIND_HEADING] = round(state.mobs[row, M_YAW])
    return row


@njit(cache=True, nogil=True)
def push_mob(mob, mind, away_x, away_z, strength):
    """Knock a mob along (away_x, away_z), of any length, as ``LivingEntity.knockback`` does."""
    length = math.sqrt(away_x * away_x + away_z * away_z)
    if length < 1e-4:
        return
    mob[M_VX] = 0.5 * mob[M_VX] + strength * away_x / length
    mob[M_VZ] = 0.5 * mob[M_VZ] + strength * away_z / length
    if mind[MIND_ON_GROUND]:
        mob[M_VY] = min(0.4, 0.5 * mob[M_VY] + strength)


@njit(cache=True, nogil=True)
def drop_loot(s, kind, x, y, z):
    """Drop what a mob leaves when it dies, where its feet are."""
    if not s.status[S_MOB_LOOT]:
        return
    for entry in range(MOB_DROPS.shape[1]):
        drop = MOB_DROPS[kind, entry]
        if drop[2] > 0:
            drop_item(s, drop[0], randint(s.rng, drop[1], drop[2]), x, y, z)


@njit(cache=True, nogil=True)
def kill_mob(s, row):
    """Take a dead mob out of the world: its loot stays, and the player who hit it last has the kill."""
    mob = s.mobs[row]
    kind = int(mob[M_KIND])
    mob[M_KIND] = -1.0
    if s.minds[row, MIND_CREDIT] > 0:
        s.stats[E_KILL, kind] += 1
        s.stats[E_CUSTOM, C_KILLS] += 1
    drop_loot(s, kind, mob[M_X], mob[M_Y], mob[M_Z])


@njit(cache=True, nogil=True)
def hurt_mob(s, row, damage, by_player):
    """Take half hearts from a mob; at zero it dies.

    For MOB_HURT_TICKS after a hit only what a harder hit takes more than it counts.

    Args:
        s: ``state.Arrays``, changed in place.
        row: of the mob.
        damage: half hearts.
        by_player: whether the player did it: who hits an animal makes it flee, and gets the kill.

    Returns:
        The half hearts taken; 0.0 for a hit that did not count. A mob that died is gone: its M_KIND is -1.
    """
    mob, mind = s.mobs[row], s.minds[row]
    fresh = mob[M_HURT] <= 0.0
    loss = damage if fresh else damage - mob[M_LAST_HURT]
    if loss <= 0.0:
        return 0.0
    if fresh:
        mob[M_HURT] = MOB_HURT_TICKS
    mob[M_LAST_HURT] = damage
    loss = min(loss, mob[M_HEALTH])
    mob[M_HEALTH] -= loss
    mind[MIND_FLEE] = FLEE_TICKS
    if by_player:
        mind[MIND_CREDIT] = CREDIT_TICKS
        mind[MIND_ANGRY] = 1
    if mob[M_HEALTH] <= 0.0:
        kill_mob(s, row)
    return loss

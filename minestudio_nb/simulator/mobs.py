"""Mobs: what they are, and how they live for a tick.

Animals stroll, jump up single blocks, swim, and flee when hit; zombies walk towards the player and hit it. They are
slower than Minecraft's, whose fleeing cows outrun a walking player, so that hunting can be learned within minutes.
What they drop lies about (``items``).
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.bodies import (
    box_is_free,
    clip_move,
    cos_deg,
    heading_deg,
    is_liquid_at,
    next_random,
    randint,
    sin_deg,
    uniform,
)
from minestudio_nb.simulator.items import drop_item
from minestudio_nb.simulator.physics import AIR_DRAG, AIR_FRICTION, GRAVITY, GROUND_FRICTION, JUMP_SPEED, hurt_player
from minestudio_nb.simulator.state import (
    M_HEALTH,
    M_HURT,
    M_KIND,
    M_LIMB,
    M_VX,
    M_VY,
    M_VZ,
    M_X,
    M_Y,
    M_YAW,
    M_Z,
    MIND_COOLDOWN,
    MIND_FLEE,
    MIND_ON_GROUND,
    MIND_WALK,
    P_X,
    P_Y,
    P_Z,
    S_MOB_LOOT,
    SimState,
)


@dataclass(frozen=True)
class MobKind:
    """One kind of mob.

    ``width`` and ``height`` of its box are in blocks, ``health`` in half hearts, ``drops`` a list of (item, least,
    most).
    """

    name: str
    width: float
    height: float
    health: float
    drops: tuple[tuple[str, int, int], ...] = ()
    hostile: bool = False


# Boxes, health and drops: Minecraft 1.16. The order is that of the renderer's models.
MOB_KINDS: Final[tuple[MobKind, ...]] = (
    MobKind("cow", 0.9, 1.4, 10.0, (("beef", 1, 3), ("leather", 0, 2))),
    MobKind("sheep", 0.9, 1.3, 8.0, (("mutton", 1, 2), ("white_wool", 1, 1))),
    MobKind("pig", 0.9, 0.9, 10.0, (("porkchop", 1, 3),)),
    MobKind("zombie", 0.6, 1.95, 20.0, (("rotten_flesh", 0, 2),), hostile=True),
)
MOB_NAMES: Final = tuple(kind.name for kind in MOB_KINDS)

WALK_SPEED: Final = 0.05  # blocks per tick: 1.0 m/s
FLEE_SPEED: Final = 0.07  # 1.4 m/s
CHASE_SPEED: Final = 0.11  # 2.2 m/s
FLEE_TICKS: Final = 30
STROLL_CHANCE: Final = 1 / 120  # per tick, as Minecraft's stroll goal
CHASE_DISTANCE: Final = 16.0
HIT_DISTANCE: Final = 1.3
HIT_DAMAGE: Final = 3.0
HIT_COOLDOWN: Final = 20
KNOCK_BACK: Final = 0.4
MOB_HURT_TICKS: Final = 10

MOB_HALF: Final = np.array([kind.width / 2 for kind in MOB_KINDS])
MOB_HEIGHT: Final = np.array([kind.height for kind in MOB_KINDS])
_HOSTILE: Final = np.array([kind.hostile for kind in MOB_KINDS])
_MOST_DROPS: Final = max(len(kind.drops) for kind in MOB_KINDS)
MOB_DROPS: Final = np.zeros((len(MOB_KINDS), _MOST_DROPS, 3), np.int32)
"""int32[kind, n, 3] of item id, least and most; most 0 for none."""
for _row, _kind in zip(MOB_DROPS, MOB_KINDS, strict=True):
    for _entry, (_item, _least, _most) in zip(_row, _kind.drops, strict=False):
        _entry[:] = (table.item_id(_item), _least, _most)


@njit(cache=True, nogil=True)
def drop_loot(s, kind, x, y, z):
    """Drop what a mob leaves when it dies, where its feet are."""
    if not s.status[S_MOB_LOOT]:
        return
    for entry in range(MOB_DROPS.shape[1]):
        drop = MOB_DROPS[kind, entry]
        if drop[2] > 0:
            drop_item(s, drop[0], randint(s.rng, drop[1], drop[2]), x, y, z)


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
    return row


@njit(cache=True, nogil=True)
def strike_mob(mob, mind, damage, yaw):
    """Hit a mob from behind ``yaw`` (degrees): it loses health, is knocked away, and flees. Returns whether it died."""
    mob[M_HEALTH] -= damage
    mob[M_HURT] = MOB_HURT_TICKS
    mob[M_VX] = 0.5 * mob[M_VX] - KNOCK_BACK * sin_deg(yaw)
    mob[M_VZ] = 0.5 * mob[M_VZ] + KNOCK_BACK * cos_deg(yaw)
    mob[M_VY] = min(KNOCK_BACK, 0.5 * mob[M_VY] + KNOCK_BACK)
    mind[MIND_FLEE] = FLEE_TICKS
    return mob[M_HEALTH] <= 0.0


@njit(cache=True, nogil=True)
def _stay_near(mob, player, size):
    """The world wraps round: move a mob by whole worlds to where it is nearest to the player."""
    mob[M_X] += size * math.floor((player[P_X] - mob[M_X]) / size + 0.5)
    mob[M_Z] += size * math.floor((player[P_Z] - mob[M_Z]) / size + 0.5)


@njit(cache=True, nogil=True)
def _choose_speed(mob, mind, player, rng):
    """Decide where to and how fast: turns ``mob``'s yaw, returns the wanted speed in blocks per tick."""
    away_x, away_z = mob[M_X] - player[P_X], mob[M_Z] - player[P_Z]
    if _HOSTILE[int(mob[M_KIND])]:
        if away_x * away_x + away_z * away_z < CHASE_DISTANCE * CHASE_DISTANCE:
            mob[M_YAW] = heading_deg(-away_x, -away_z)
            return CHASE_SPEED
    elif mind[MIND_FLEE] > 0:
        if mind[MIND_FLEE] % 20 == 0:
            mob[M_YAW] = heading_deg(away_x, away_z) + 90.0 * (uniform(rng) - 0.5)
        mind[MIND_FLEE] -= 1
        return FLEE_SPEED
    if mind[MIND_WALK] > 0:
        mind[MIND_WALK] -= 1
        return WALK_SPEED
    if uniform(rng) < STROLL_CHANCE:
        mob[M_YAW] = 360.0 * uniform(rng) - 180.0
        mind[MIND_WALK] = randint(rng, 40, 100)
    return 0.0


@njit(cache=True, nogil=True)
def _move_mob(blocks, mob, mind, speed):
    """Move one mob for a tick at ``speed`` along its yaw, with gravity, water, walls and single steps."""
    kind = int(mob[M_KIND])
    half, height = MOB_HALF[kind], MOB_HEIGHT[kind]
    friction = GROUND_FRICTION if mind[MIND_ON_GROUND] else AIR_FRICTION
    push = speed * (1.0 - friction)
    mob[M_VX] -= push * sin_deg(mob[M_YAW])
    mob[M_VZ] += push * cos_deg(mob[M_YAW])
    if is_liquid_at(blocks, mob[M_X], mob[M_Y] + 0.4 * height, mob[M_Z]):
        mob[M_VY] = min(mob[M_VY] + GRAVITY + 0.04, 0.12)
    falling = mob[M_VY]
    moved = clip_move(blocks, mob[M_X], mob[M_Y], mob[M_Z], half, height, 1, falling)
    mob[M_Y] += moved
    mind[MIND_ON_GROUND] = 1 if falling <= 0.0 and moved != falling else 0
    if moved != falling:
        mob[M_VY] = 0.0
    wall = False
    for axis in (0, 2):
        wanted = mob[M_VX + axis]
        moved = clip_move(blocks, mob[M_X], mob[M_Y], mob[M_Z], half, height, axis, wanted)
        mob[M_X + axis] += moved
        wall = wall or moved != wanted
    mob[M_VY] = (mob[M_VY] - GRAVITY) * AIR_DRAG
    if wall and mind[MIND_ON_GROUND] and speed > 0.0:
        mob[M_VY] = JUMP_SPEED
    mob[M_VX] *= friction
    mob[M_VZ] *= friction
    pace = math.sqrt(mob[M_VX] * mob[M_VX] + mob[M_VZ] * mob[M_VZ])
    # The legs swing with the distance walked and stop in the middle.
    mob[M_LIMB] = mob[M_LIMB] + 6.0 * pace if pace > 0.005 else 0.0


@njit(cache=True, nogil=True)
def _attack_player(mob, mind, player, status, stats):
    """A hostile mob within reach hits the player, at most once in HIT_COOLDOWN ticks."""
    if mind[MIND_COOLDOWN] > 0:
        mind[MIND_COOLDOWN] -= 1
        return
    dx, dy, dz = player[P_X] - mob[M_X], player[P_Y] - mob[M_Y], player[P_Z] - mob[M_Z]
    if abs(dy) < 2.0 and dx * dx + dz * dz < HIT_DISTANCE * HIT_DISTANCE:
        hurt_player(player, status, stats, HIT_DAMAGE)
        mind[MIND_COOLDOWN] = HIT_COOLDOWN


@njit(cache=True, nogil=True)
def tick_mobs(s):
    """One tick of all mobs; ``s`` is ``state.Arrays``, changed in place."""
    next_random(s.rng)
    for row in range(s.mobs.shape[0]):
        mob, mind = s.mobs[row], s.minds[row]
        if mob[M_KIND] < 0:
            continue
        if mob[M_HURT] > 0:
            mob[M_HURT] -= 1
        _stay_near(mob, s.player, s.blocks.shape[0])
        speed = _choose_speed(mob, mind, s.player, s.rng)
        _move_mob(s.blocks, mob, mind, speed)
        if _HOSTILE[int(mob[M_KIND])]:
            _attack_player(mob, mind, s.player, s.status, s.stats)

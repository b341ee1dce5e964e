"""What mobs want, tick by tick: animals stroll and flee; zombies, skeletons, spiders and creepers hunt the player.

Hostile mobs follow Minecraft 1.16's goals. Animals move at a share of the game's speeds (S_ANIMAL_SPEED), because a
cow that flees as fast as the game's, faster than a sprinting player, cannot be hunted by somebody who is still
learning to walk.
"""

from __future__ import annotations

import math
from typing import Final

from numba import njit

from minestudio_nb.simulator.arrows import launch_arrow
from minestudio_nb.simulator.bodies import bell, heading_deg, next_random, randint, solid_along, uniform
from minestudio_nb.simulator.explosions import explode
from minestudio_nb.simulator.mob_motion import DEEPEST_STEP, feel_liquids, move_mob, push_apart, steer, turn_to
from minestudio_nb.simulator.mobs import (
    CREEPER,
    KNOCK_BACK,
    MOB_ATTACK,
    MOB_BURNS,
    MOB_HALF,
    MOB_HEALTH,
    MOB_HEIGHT,
    MOB_HOSTILE,
    MOB_RUN,
    MOB_SIGHT,
    MOB_STROLL,
    SKELETON,
    SPIDER,
    hurt_mob,
)
from minestudio_nb.simulator.state import (
    A_DAMAGE,
    A_OWNER,
    HARD,
    M_DRAW,
    M_FIRE,
    M_HEALTH,
    M_HURT,
    M_KIND,
    M_PITCH,
    M_SWELL,
    M_VX,
    M_VY,
    M_VZ,
    M_X,
    M_Y,
    M_YAW,
    M_Z,
    MIND_ANGRY,
    MIND_COOLDOWN,
    MIND_CREDIT,
    MIND_DETOUR,
    MIND_FLEE,
    MIND_GOAL,
    MIND_HEADING,
    MIND_ON_GROUND,
    MIND_SEEN,
    MIND_SIDE,
    MIND_WALK,
    MIND_WALL,
    P_X,
    P_Y,
    P_Z,
    PEACEFUL,
    S_ANIMAL_SPEED,
    S_DIFFICULTY,
    S_FIRE_DAMAGE,
    S_RAIN,
    S_TIME,
)
from minestudio_nb.simulator.vitals import (
    EXHAUSTION_HURT,
    body_height,
    by_difficulty,
    eye_height,
    hurt_player,
    push_player,
)

STROLL_CHANCE: Final = 1 / 120  # per tick, as Minecraft's stroll goal
MEMORY_TICKS: Final = 60  # for which a hunter that lost sight of the player goes on
HIT_COOLDOWN: Final = 20
PLAYER_WIDTH: Final = 0.6
EYE_SHARE: Final = 0.85  # of a mob's height at which its eyes are

DAWN: Final = 23460  # the sun burns from here, in ticks of the day,
DUSK: Final = 12542  # to here
BURN_CHANCE: Final = 0.04  # per tick in the sun
BURN_TICKS: Final = 160

BOW_RANGE: Final = 15.0
BOW_DRAW_TICKS: Final = 20
BOW_INTERVAL: Final = 40  # ticks between shots; 20 on hard
BOW_SPEED: Final = 1.6
STRAFE_SHARE: Final = 0.5  # of its speed, at which a skeleton keeps its distance

LEAP_SPEED: Final = 0.4
FUSE_TICKS: Final = 30
SWELL_DISTANCE: Final = 3.0
CALM_DISTANCE: Final = 7.0
CREEPER_POWER: Final = 3.0


@njit(cache=True, nogil=True)
def sun_is_up(status):
    """Whether it is so bright that the undead burn: by day, without rain."""
    time = status[S_TIME] % 24000
    return (time < DUSK or time >= DAWN) and status[S_RAIN] == 0


@njit(cache=True, nogil=True)
def _under_sky(tops, mob):
    mask = tops.shape[0] - 1
    return tops[math.floor(mob[M_X]) & mask, math.floor(mob[M_Z]) & mask] < mob[M_Y] + 1.0


@njit(cache=True, nogil=True)
def _sees_player(s, mob):
    """Whether no block is between a mob's eyes and the player's."""
    p = s.player
    y = mob[M_Y] + EYE_SHARE * MOB_HEIGHT[int(mob[M_KIND])]
    x, z = mob[M_X], mob[M_Z]
    return solid_along(s.blocks, x, y, z, p[P_X] - x, p[P_Y] + eye_height(s.status) - y, p[P_Z] - z) > 1.0


@njit(cache=True, nogil=True)
def _stay_near(mob, player, size):
    """The world wraps round: move a mob by whole worlds to where it is nearest to the player."""
    mob[M_X] += size * math.floor((player[P_X] - mob[M_X]) / size + 0.5)
    mob[M_Z] += size * math.floor((player[P_Z] - mob[M_Z]) / size + 0.5)


@njit(cache=True, nogil=True)
def _stroll(blocks, mob, mind, rng, speed):
    """Walk about now and then; returns the speed of this tick."""
    if mind[MIND_WALK] <= 0:
        mind[MIND_DETOUR] = 0
        turn_to(mob, mind)
        if uniform(rng) < STROLL_CHANCE:
            mind[MIND_GOAL] = randint(rng, -180, 179)
            mind[MIND_WALK] = randint(rng, 40, 100)
        return 0.0
    mind[MIND_WALK] -= 1
    gait = steer(blocks, mob, mind, rng, float(mind[MIND_GOAL]), speed, DEEPEST_STEP)
    if gait == 0.0 or mind[MIND_DETOUR] != 0:  # it goes nowhere in particular, so it just goes somewhere else
        mind[MIND_DETOUR] = 0
        mind[MIND_GOAL] = randint(rng, -180, 179)
        mind[MIND_WALK] -= 10
    return gait


@njit(cache=True, nogil=True)
def _live_as_animal(blocks, mob, mind, player, rng, share):
    """One tick of an animal, which has a share of its full speed; returns its speed."""
    kind = int(mob[M_KIND])
    if mind[MIND_FLEE] <= 0:
        return _stroll(blocks, mob, mind, rng, share * MOB_STROLL[kind])
    if mind[MIND_FLEE] % 20 == 0:
        away = heading_deg(mob[M_X] - player[P_X], mob[M_Z] - player[P_Z])
        mind[MIND_GOAL] = int(away + 90.0 * (uniform(rng) - 0.5))
        mind[MIND_DETOUR] = 0
    mind[MIND_FLEE] -= 1
    return steer(blocks, mob, mind, rng, float(mind[MIND_GOAL]), share * MOB_RUN[kind], DEEPEST_STEP)


@njit(cache=True, nogil=True)
def _hit_player(s, mob, mind, distance_2):
    """A hostile mob near the player hits it, at most once in HIT_COOLDOWN ticks."""
    if mind[MIND_COOLDOWN] > 0:
        return
    kind = int(mob[M_KIND])
    width = 2.0 * MOB_HALF[kind]
    reach_2 = (4.0 if kind == SPIDER else 4.0 * width * width) + PLAYER_WIDTH
    if distance_2 > reach_2 or not _sees_player(s, mob):
        return
    mind[MIND_COOLDOWN] = HIT_COOLDOWN
    if hurt_player(s.player, s.status, s.stats, by_difficulty(s.status, MOB_ATTACK[kind]), EXHAUSTION_HURT):
        push_player(s.player, s.status, s.player[P_X] - mob[M_X], s.player[P_Z] - mob[M_Z], KNOCK_BACK)


@njit(cache=True, nogil=True)
def _shoot(s, row, flat):
    """A skeleton shoots at the player, a little above it, the more so the farther it is."""
    mob, p = s.mobs[row], s.player
    y = mob[M_Y] + EYE_SHARE * MOB_HEIGHT[SKELETON] - 0.1
    rise = p[P_Y] + body_height(s.status) / 3.0 - y + 0.2 * flat
    difficulty = s.status[S_DIFFICULTY]
    inaccuracy = 14.0 - 4.0 * difficulty
    shot = launch_arrow(
        s.arrows, s.rng, mob[M_X], y, mob[M_Z], p[P_X] - mob[M_X], rise, p[P_Z] - mob[M_Z], BOW_SPEED, inaccuracy
    )
    s.arrows[shot, A_OWNER] = row
    s.arrows[shot, A_DAMAGE] = max(1.0, 2.0 + 0.25 * bell(s.rng) + 0.11 * difficulty)


@njit(cache=True, nogil=True)
def _deepest_step(s, mob):
    """How far a hunter jumps down after the player: the deeper, the more of its health is left."""
    spare = mob[M_HEALTH] - 0.33 * MOB_HEALTH[int(mob[M_KIND])]
    return DEEPEST_STEP + max(0, int(spare) - 4 * (HARD - s.status[S_DIFFICULTY]))


@njit(cache=True, nogil=True)
def _live_as_skeleton(s, row, distance, sees):
    """One tick of a skeleton that knows of the player: (speed, yaw of its movement). It faces the player all along."""
    mob, mind = s.mobs[row], s.minds[row]
    yaw = heading_deg(s.player[P_X] - mob[M_X], s.player[P_Z] - mob[M_Z])
    speed = MOB_RUN[SKELETON]
    if sees and distance < BOW_RANGE and mind[MIND_COOLDOWN] <= 0:
        mob[M_DRAW] += 1.0 / BOW_DRAW_TICKS
        if mob[M_DRAW] >= 1.0 - 1e-9:
            _shoot(s, row, distance)
            mob[M_DRAW] = 0.0
            mind[MIND_COOLDOWN] = BOW_INTERVAL // 2 if s.status[S_DIFFICULTY] == HARD else BOW_INTERVAL
    elif not sees:
        mob[M_DRAW] = 0.0
    if not sees or distance > BOW_RANGE:
        return steer(s.blocks, mob, mind, s.rng, yaw, speed, _deepest_step(s, mob)), mob[M_YAW]
    if mind[MIND_SIDE] == 0 or (uniform(s.rng) < 0.015):
        mind[MIND_SIDE] = 1 if uniform(s.rng) < 0.5 else -1
    if mind[MIND_WALL]:
        mind[MIND_SIDE] = -mind[MIND_SIDE]
    way = 90.0
    if distance * distance > 0.75 * BOW_RANGE * BOW_RANGE:
        way = 45.0
    elif distance * distance < 0.25 * BOW_RANGE * BOW_RANGE:
        way = 135.0
    way = yaw + way * mind[MIND_SIDE]
    # It looks where it steps, then turns its face back to the player.
    facing = mob[M_YAW]
    mob[M_YAW], mind[MIND_HEADING] = way, int(way)
    mind[MIND_DETOUR] = 0
    gait = steer(s.blocks, mob, mind, s.rng, way, STRAFE_SHARE * speed, DEEPEST_STEP)
    if gait == 0.0 or mind[MIND_DETOUR] != 0:
        mind[MIND_SIDE] = -mind[MIND_SIDE]
        mind[MIND_DETOUR] = 0
        gait = 0.0
    mob[M_YAW], mind[MIND_HEADING] = facing, int(yaw)
    turn_to(mob, mind)
    return gait, way


@njit(cache=True, nogil=True)
def _live_as_creeper(s, row, distance, sees):
    """The fuse of a creeper: it burns near the player and goes back when it is far. Returns whether it exploded."""
    mob = s.mobs[row]
    burning = mob[M_SWELL] > 0.0
    if sees and distance < (CALM_DISTANCE if burning else SWELL_DISTANCE):
        mob[M_SWELL] += 1.0 / FUSE_TICKS
    else:
        mob[M_SWELL] = max(0.0, mob[M_SWELL] - 1.0 / FUSE_TICKS)
    if mob[M_SWELL] < 1.0 - 1e-9:
        return False
    mob[M_KIND] = -1.0
    explode(s, mob[M_X], mob[M_Y], mob[M_Z], CREEPER_POWER)
    return True


@njit(cache=True, nogil=True)
def _leap(s, mob, mind, distance):
    """A spider near the player jumps at it."""
    if mind[MIND_ON_GROUND] and 2.0 < distance < 4.0 and uniform(s.rng) < 0.2:
        dx, dz = s.player[P_X] - mob[M_X], s.player[P_Z] - mob[M_Z]
        flat = max(0.1, math.sqrt(dx * dx + dz * dz))
        mob[M_VX] = 0.2 * mob[M_VX] + LEAP_SPEED * dx / flat
        mob[M_VZ] = 0.2 * mob[M_VZ] + LEAP_SPEED * dz / flat
        mob[M_VY] = LEAP_SPEED


@njit(cache=True, nogil=True)
def _live_as_hunter(s, row):
    """One tick of a hostile mob: (speed, yaw of its movement)."""
    mob, mind = s.mobs[row], s.minds[row]
    kind = int(mob[M_KIND])
    dx, dy, dz = s.player[P_X] - mob[M_X], s.player[P_Y] - mob[M_Y], s.player[P_Z] - mob[M_Z]
    distance_2 = dx * dx + dy * dy + dz * dz
    distance = math.sqrt(distance_2)
    sees = distance < MOB_SIGHT[kind] and _sees_player(s, mob)
    if kind == SPIDER and not mind[MIND_ANGRY] and sun_is_up(s.status) and _under_sky(s.tops, mob):
        sees = False  # in the light it leaves alone who leaves it alone
        mind[MIND_SEEN] = 0
    mind[MIND_SEEN] = MEMORY_TICKS if sees else max(0, mind[MIND_SEEN] - 1)
    if kind == CREEPER and _live_as_creeper(s, row, distance, sees):
        return 0.0, 0.0
    if mind[MIND_SEEN] == 0 or distance > MOB_SIGHT[kind]:
        mob[M_DRAW] = mob[M_PITCH] = 0.0
        return _stroll(s.blocks, mob, mind, s.rng, MOB_STROLL[kind]), mob[M_YAW]
    mob[M_PITCH] = min(40.0, max(-40.0, heading_deg(dy, math.sqrt(dx * dx + dz * dz))))
    if kind == SKELETON:
        return _live_as_skeleton(s, row, distance, sees)
    if kind == SPIDER:
        _leap(s, mob, mind, distance)
    if kind == CREEPER and mob[M_SWELL] > 0.0:
        mind[MIND_HEADING] = int(heading_deg(dx, dz))
        turn_to(mob, mind)
        return 0.0, mob[M_YAW]
    if kind != CREEPER:
        _hit_player(s, mob, mind, distance_2)
    speed = steer(s.blocks, mob, mind, s.rng, heading_deg(dx, dz), MOB_RUN[kind], _deepest_step(s, mob))
    if dx * dx + dz * dz < 0.25:  # it cannot come nearer
        speed = 0.0
    return speed, mob[M_YAW]


@njit(cache=True, nogil=True)
def _pass_time(mob, mind):
    """Run down a mob's timers."""
    if mob[M_HURT] > 0:
        mob[M_HURT] -= 1
    if mind[MIND_COOLDOWN] > 0:
        mind[MIND_COOLDOWN] -= 1
    if mind[MIND_CREDIT] > 0:
        mind[MIND_CREDIT] -= 1


@njit(cache=True, nogil=True)
def _catch_fire(s, mob):
    """The undead catch fire in the sun."""
    if sun_is_up(s.status) and _under_sky(s.tops, mob) and uniform(s.rng) < BURN_CHANCE:
        mob[M_FIRE] = max(mob[M_FIRE], BURN_TICKS)


@njit(cache=True, nogil=True)
def tick_mobs(s):
    """One tick of all mobs; ``s`` is ``state.Arrays``, changed in place.

    What every animal does takes plain arrays: passing all of ``s`` costs more than most of it.
    """
    next_random(s.rng)
    alive = 0
    share = 0.01 * s.status[S_ANIMAL_SPEED]
    fire_hurts = s.status[S_FIRE_DAMAGE] != 0
    for row in range(s.mobs.shape[0]):
        mob, mind = s.mobs[row], s.minds[row]
        if mob[M_KIND] < 0:
            continue
        kind = int(mob[M_KIND])
        if MOB_HOSTILE[kind] and s.status[S_DIFFICULTY] == PEACEFUL:
            mob[M_KIND] = -1.0
            continue
        alive += 1
        _pass_time(mob, mind)
        _stay_near(mob, s.player, s.blocks.shape[0])
        if MOB_HOSTILE[kind]:
            if MOB_BURNS[kind]:
                _catch_fire(s, mob)
            speed, yaw = _live_as_hunter(s, row)
        else:
            speed = _live_as_animal(s.blocks, mob, mind, s.player, s.rng, share)
            yaw = mob[M_YAW]
        if mob[M_KIND] < 0:
            continue
        harm = feel_liquids(s.blocks, mob, fire_hurts)
        if harm > 0.0:
            hurt_mob(s, row, harm, False)
            if mob[M_KIND] < 0:
                continue
        harm = move_mob(s.blocks, mob, mind, speed, yaw)
        if harm > 0.0:
            hurt_mob(s, row, harm, False)
    if alive > 0:
        push_apart(s.player, s.status, s.mobs)

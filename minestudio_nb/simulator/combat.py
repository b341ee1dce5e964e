"""Hitting mobs with what is in the hand, as in Minecraft 1.16.

Three things differ on purpose. While the attack key is held on a mob, the player hits it again every ten ticks, where
the game wants a new click; a click on a mob that still flashes from the last hit is not spent; and a miss costs
nothing.
"""

from __future__ import annotations

from typing import Final

from numba import njit

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.bodies import cos_deg, sin_deg
from minestudio_nb.simulator.inventory import wear
from minestudio_nb.simulator.mobs import KNOCK_BACK, MOB_HALF, MOB_HEIGHT, SPRINT_KNOCK_BACK, hurt_mob, push_mob
from minestudio_nb.simulator.physics import GROUND_FRICTION
from minestudio_nb.simulator.state import (
    E_DAMAGE,
    E_USE,
    M_HURT,
    M_KIND,
    M_X,
    M_Y,
    M_Z,
    P_FALL,
    P_VX,
    P_VZ,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_ATTACK_HELD,
    S_IN_WATER,
    S_ON_GROUND,
    S_SINCE_ATTACK,
    S_SLOT,
    S_SPRINTING,
    S_STRENGTH,
    S_STRENGTH_LEVEL,
    S_TARGET,
    S_TARGET_ID,
    SLOT_ITEM,
    TARGET_NONE,
)
from minestudio_nb.simulator.vitals import EXHAUSTION_ATTACK, add_exhaustion

HOLD_HIT_INTERVAL: Final = 10  # ticks between hits while the key is held
STRONG: Final = 0.9  # share of the recovery from which on a hit can be critical, sweep, or throw back
STRENGTH_DAMAGE: Final = 3.0  # half hearts for each level of the effect
CRITICAL_FACTOR: Final = 1.5
SWEEP_DAMAGE: Final = 1.0  # to all around the one that a sword hits
SWEEP_SIDE: Final = 1.0  # blocks round its box that a sweep reaches
SWEEP_UP: Final = 0.25
SWEEP_REACH: Final = 3.0
FASTEST_SWEEP: Final = 1 / 6  # blocks per tick; who walks faster does not sweep

_ATTACK: Final = table.ITEM_ATTACK
_ATTACK_SPEED: Final = table.ITEM_ATTACK_SPEED
_TOOL: Final = table.ITEM_TOOL
_WEAR: Final = table.WEAR_BY_HITTING
_SWORD: Final = table.TOOL_SWORD


@njit(cache=True, nogil=True)
def attack_charge(item, ticks):
    """How far an attack has recovered some ticks after the last one, 0 to 1."""
    return min(1.0, (ticks + 0.5) * _ATTACK_SPEED[item] / 20.0)


@njit(cache=True, nogil=True)
def _sweep(s, row):
    """Hit all mobs close to the one that a sword hits."""
    mobs, player = s.mobs, s.player
    kind = int(mobs[row, M_KIND])
    x, y, z, half, height = mobs[row, M_X], mobs[row, M_Y], mobs[row, M_Z], MOB_HALF[kind], MOB_HEIGHT[kind]
    for other in range(mobs.shape[0]):
        other_kind = int(mobs[other, M_KIND])
        if other == row or other_kind < 0:
            continue
        ox, oy, oz = mobs[other, M_X], mobs[other, M_Y], mobs[other, M_Z]
        near = half + SWEEP_SIDE + MOB_HALF[other_kind]
        if abs(ox - x) > near or abs(oz - z) > near:
            continue
        if oy > y + height + SWEEP_UP or oy + MOB_HEIGHT[other_kind] < y - SWEEP_UP:
            continue
        dx, dy, dz = ox - player[P_X], oy - player[P_Y], oz - player[P_Z]
        if dx * dx + dy * dy + dz * dz >= SWEEP_REACH * SWEEP_REACH:
            continue
        if hurt_mob(s, other, SWEEP_DAMAGE, True) > 0.0 and mobs[other, M_KIND] >= 0:
            push_mob(mobs[other], s.minds[other], -sin_deg(player[P_YAW]), cos_deg(player[P_YAW]), KNOCK_BACK)


@njit(cache=True, nogil=True)
def _stands(player):
    """Whether the player walked slowly, if at all, in this tick; friction has taken its share of the speed since."""
    vx, vz = player[P_VX] / GROUND_FRICTION, player[P_VZ] / GROUND_FRICTION
    return vx * vx + vz * vz < FASTEST_SWEEP * FASTEST_SWEEP


@njit(cache=True, nogil=True)
def hit_mob(s):
    """Hit the targeted mob, with the damage that the time since the last hit allows; ``s`` is ``state.Arrays``."""
    player, status, mobs = s.player, s.status, s.mobs
    row = status[S_TARGET_ID]
    if mobs[row, M_HURT] > 0 or (status[S_ATTACK_HELD] and status[S_SINCE_ATTACK] < HOLD_HIT_INTERVAL):
        return
    item = s.inventory[status[S_SLOT], SLOT_ITEM]
    charge = attack_charge(item, status[S_SINCE_ATTACK])
    status[S_SINCE_ATTACK] = 0
    strength = STRENGTH_DAMAGE * status[S_STRENGTH_LEVEL] if status[S_STRENGTH] > 0 else 0.0
    damage = (_ATTACK[item] + strength) * (0.2 + 0.8 * charge * charge)
    strong = charge > STRONG
    sprinting = strong and status[S_SPRINTING] != 0
    falling = player[P_FALL] > 0.0 and not status[S_ON_GROUND] and not status[S_IN_WATER]
    if strong and falling and not status[S_SPRINTING]:
        damage *= CRITICAL_FACTOR
    if strong and not sprinting and _TOOL[item] == _SWORD and status[S_ON_GROUND] and _stands(player):
        _sweep(s, row)
    away_x, away_z = mobs[row, M_X] - player[P_X], mobs[row, M_Z] - player[P_Z]
    loss = hurt_mob(s, row, damage, True)
    s.stats[E_DAMAGE, 0] += int(10.0 * loss + 0.5)
    add_exhaustion(player, EXHAUSTION_ATTACK)
    if _WEAR[item] > 0:
        s.stats[E_USE, item] += 1
        wear(s.inventory, s.stats, status[S_SLOT], _WEAR[item])
    if mobs[row, M_KIND] < 0:
        status[S_TARGET] = TARGET_NONE
        return
    push_mob(mobs[row], s.minds[row], away_x, away_z, KNOCK_BACK)
    if sprinting:
        push_mob(mobs[row], s.minds[row], -sin_deg(player[P_YAW]), cos_deg(player[P_YAW]), SPRINT_KNOCK_BACK)
        player[P_VX] *= 0.6
        player[P_VZ] *= 0.6
        status[S_SPRINTING] = 0

"""What keeps the player alive: health, hunger, breath and fire, as in Minecraft 1.16.

Every harm to the player goes through ``hurt_player``. Numbers: Minecraft Wiki, "Hunger", "Damage", "Drowning", "Fire".
"""

from __future__ import annotations

import math
from typing import Final

from numba import njit

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.bodies import liquid_depths, submerged, touches
from minestudio_nb.simulator.state import (
    C_DEATHS,
    C_TAKEN,
    E_CUSTOM,
    EASY,
    FULL_AIR,
    FULL_HEALTH,
    HARD,
    P_EXHAUSTION,
    P_FOOD,
    P_HEALTH,
    P_LAST_HURT,
    P_SATURATION,
    P_VX,
    P_VY,
    P_VZ,
    P_X,
    P_Y,
    P_Z,
    PEACEFUL,
    S_AIR,
    S_ARMOR,
    S_ARMOR_WEAR,
    S_DEAD,
    S_DIFFICULTY,
    S_DROWNING_DAMAGE,
    S_FIRE,
    S_FIRE_DAMAGE,
    S_FOOD_TIMER,
    S_HUNGER,
    S_HURT,
    S_IN_LAVA,
    S_IN_WATER,
    S_INVULNERABLE,
    S_NATURAL_REGENERATION,
    S_ON_GROUND,
    S_RAIN,
    S_SNEAKING,
    S_TICK,
    S_TOUGHNESS,
    S_UNDER_WATER,
)

HALF_WIDTH: Final = 0.3
HEIGHT: Final = 1.8
SNEAK_HEIGHT: Final = 1.5
EYE: Final = 1.62
SNEAK_EYE: Final = 1.27

HURT_TICKS: Final = 10  # after a hit, during which only the excess of a harder hit counts

# Exhaustion; 4 of it take one half drumstick, from the saturation first.
EXHAUSTION_LEVEL: Final = 4.0
MOST_EXHAUSTION: Final = 40.0
EXHAUSTION_SPRINT: Final = 0.1  # per block
EXHAUSTION_SWIM: Final = 0.01  # per block
EXHAUSTION_JUMP: Final = 0.05
EXHAUSTION_SPRINT_JUMP: Final = 0.2
EXHAUSTION_BREAK: Final = 0.005  # per block broken
EXHAUSTION_ATTACK: Final = 0.1
EXHAUSTION_HURT: Final = 0.1
EXHAUSTION_HEAL: Final = 6.0  # per half heart
EXHAUSTION_HUNGER: Final = 0.005  # per tick of the effect hunger

FULL_FOOD: Final = 20.0
HEALING_FOOD: Final = 18.0
SPRINTING_FOOD: Final = 6.0  # sprinting takes more than this
FAST_HEAL_TICKS: Final = 10
HEAL_TICKS: Final = 80

BREATH_TICKS: Final = 20  # from the last breath to the first harm, and between harms
AIR_REGAINED: Final = 4  # per tick
DROWN_DAMAGE: Final = 2.0
LAVA_DAMAGE: Final = 4.0
LAVA_FIRE_TICKS: Final = 300
FIRE_INTERVAL: Final = 20
CACTUS_DAMAGE: Final = 1.0

_CACTUS: Final = table.block_id("cactus")


@njit(cache=True, nogil=True)
def eye_height(status):
    """Height of the eyes above the feet, in blocks."""
    return SNEAK_EYE if status[S_SNEAKING] else EYE


@njit(cache=True, nogil=True)
def body_height(status):
    """Height of the player's box, in blocks."""
    return SNEAK_HEIGHT if status[S_SNEAKING] else HEIGHT


@njit(cache=True, nogil=True)
def add_exhaustion(player, amount):
    """Tire the player."""
    player[P_EXHAUSTION] = min(MOST_EXHAUSTION, player[P_EXHAUSTION] + amount)


@njit(cache=True, nogil=True)
def by_difficulty(status, damage):
    """The damage that a mob's attack does at the difficulty of this world."""
    difficulty = status[S_DIFFICULTY]
    if difficulty == PEACEFUL:
        return 0.0
    if difficulty == EASY:
        return min(damage / 2.0 + 1.0, damage)
    return 1.5 * damage if difficulty == HARD else damage


@njit(cache=True, nogil=True)
def after_armor(damage, armor, toughness):
    """The share of a hit that armor lets through, in half hearts (Minecraft Wiki, "Armor")."""
    held = min(20.0, max(armor / 5.0, armor - damage / (2.0 + toughness / 4.0)))
    return damage * (1.0 - held / 25.0)


@njit(cache=True, nogil=True)
def hurt_player(player, status, stats, amount, exhaustion):
    """Take half hearts from the player, who is dead at zero.

    For HURT_TICKS after a hit only what a harder hit takes more than it counts.

    Args:
        player, status, stats: see ``state``; changed in place.
        amount: half hearts.
        exhaustion: what the hit adds to it; armor helps against hits that add some, as in the game.

    Returns:
        Whether the hit counted anew, so that it also pushes.
    """
    if amount <= 0.0 or status[S_INVULNERABLE] > 0 or status[S_DEAD]:
        return False
    fresh = status[S_HURT] == 0
    if fresh:
        loss = amount
        status[S_HURT] = HURT_TICKS
    else:
        loss = amount - player[P_LAST_HURT]
        if loss <= 0.0:
            return False
    player[P_LAST_HURT] = amount
    if exhaustion > 0.0 and status[S_ARMOR] > 0:
        status[S_ARMOR_WEAR] += max(1, int(loss / 4.0))
        loss = after_armor(loss, status[S_ARMOR], status[S_TOUGHNESS])
    add_exhaustion(player, exhaustion)
    player[P_HEALTH] = max(0.0, player[P_HEALTH] - loss)
    stats[E_CUSTOM, C_TAKEN] += int(10.0 * loss + 0.5)
    if player[P_HEALTH] <= 0.0:
        status[S_DEAD] = 1
        stats[E_CUSTOM, C_DEATHS] += 1
    return fresh


@njit(cache=True, nogil=True)
def push_player(player, status, away_x, away_z, strength):
    """Knock the player along (away_x, away_z), of any length, as ``LivingEntity.knockback`` does."""
    length = math.sqrt(away_x * away_x + away_z * away_z)
    if length < 1e-4:
        return
    player[P_VX] = 0.5 * player[P_VX] + strength * away_x / length
    player[P_VZ] = 0.5 * player[P_VZ] + strength * away_z / length
    if status[S_ON_GROUND]:
        player[P_VY] = min(0.4, 0.5 * player[P_VY] + strength)


@njit(cache=True, nogil=True)
def feed(player, food, saturation):
    """Add half drumsticks, and saturation, which never exceeds them."""
    player[P_FOOD] = min(FULL_FOOD, player[P_FOOD] + food)
    player[P_SATURATION] = min(player[P_FOOD], player[P_SATURATION] + saturation)


@njit(cache=True, nogil=True)
def heal(player, amount):
    """Give half hearts back."""
    player[P_HEALTH] = min(FULL_HEALTH, player[P_HEALTH] + amount)


@njit(cache=True, nogil=True)
def _digest(player, status):
    """Exhaustion takes saturation, then food."""
    if status[S_HUNGER] > 0:
        status[S_HUNGER] -= 1
        add_exhaustion(player, EXHAUSTION_HUNGER)
    if player[P_EXHAUSTION] > EXHAUSTION_LEVEL:
        player[P_EXHAUSTION] -= EXHAUSTION_LEVEL
        if player[P_SATURATION] > 0.0:
            player[P_SATURATION] = max(0.0, player[P_SATURATION] - 1.0)
        elif status[S_DIFFICULTY] != PEACEFUL:
            player[P_FOOD] = max(0.0, player[P_FOOD] - 1.0)


@njit(cache=True, nogil=True)
def _heal_or_starve(player, status, stats):
    """Natural healing of the well fed, and the harm of hunger (``FoodStats.tick``)."""
    wounded = 0.0 < player[P_HEALTH] < FULL_HEALTH
    heals = status[S_NATURAL_REGENERATION] != 0
    difficulty = status[S_DIFFICULTY]
    if difficulty == PEACEFUL and heals:
        if wounded and status[S_TICK] % 20 == 0:
            heal(player, 1.0)
        if player[P_FOOD] < FULL_FOOD and status[S_TICK] % 10 == 0:
            player[P_FOOD] += 1.0
    if heals and wounded and player[P_SATURATION] > 0.0 and player[P_FOOD] >= FULL_FOOD:
        status[S_FOOD_TIMER] += 1
        if status[S_FOOD_TIMER] >= FAST_HEAL_TICKS:
            spent = min(player[P_SATURATION], EXHAUSTION_HEAL)
            heal(player, spent / EXHAUSTION_HEAL)
            add_exhaustion(player, spent)
            status[S_FOOD_TIMER] = 0
    elif heals and wounded and player[P_FOOD] >= HEALING_FOOD:
        status[S_FOOD_TIMER] += 1
        if status[S_FOOD_TIMER] >= HEAL_TICKS:
            heal(player, 1.0)
            add_exhaustion(player, EXHAUSTION_HEAL)
            status[S_FOOD_TIMER] = 0
    elif player[P_FOOD] <= 0.0:
        status[S_FOOD_TIMER] += 1
        if status[S_FOOD_TIMER] >= HEAL_TICKS:
            least = 10.0 if difficulty <= EASY else (0.0 if difficulty == HARD else 1.0)
            if player[P_HEALTH] > least:
                hurt_player(player, status, stats, 1.0, 0.0)
            status[S_FOOD_TIMER] = 0
    else:
        status[S_FOOD_TIMER] = 0


@njit(cache=True, nogil=True)
def _breathe(player, status, stats):
    """Air runs out under water and comes back above it."""
    if not status[S_UNDER_WATER]:
        status[S_AIR] = min(FULL_AIR, status[S_AIR] + AIR_REGAINED)
        return
    status[S_AIR] -= 1
    if status[S_AIR] <= -BREATH_TICKS:
        status[S_AIR] = 0
        if status[S_DROWNING_DAMAGE]:
            hurt_player(player, status, stats, DROWN_DAMAGE, 0.0)


@njit(cache=True, nogil=True)
def _burn(tops, player, status, stats):
    """Lava and fire; water and rain put it out."""
    if status[S_IN_LAVA] and status[S_FIRE_DAMAGE]:
        hurt_player(player, status, stats, LAVA_DAMAGE, EXHAUSTION_HURT)
        status[S_FIRE] = LAVA_FIRE_TICKS
    if status[S_FIRE] == 0:
        return
    mask = tops.shape[0] - 1
    roof = tops[math.floor(player[P_X]) & mask, math.floor(player[P_Z]) & mask]
    if not status[S_IN_LAVA] and (status[S_IN_WATER] or (status[S_RAIN] and roof < player[P_Y])):
        status[S_FIRE] = 0
        return
    if status[S_FIRE] % FIRE_INTERVAL == 0 and not status[S_IN_LAVA] and status[S_FIRE_DAMAGE]:
        hurt_player(player, status, stats, 1.0, 0.0)
    status[S_FIRE] -= 1


@njit(cache=True, nogil=True)
def feel_liquids(blocks, player, status):
    """Set S_IN_WATER, S_IN_LAVA and S_UNDER_WATER; returns how deep the feet are in water and in lava, in blocks."""
    x, y, z = player[P_X], player[P_Y], player[P_Z]
    water, lava = liquid_depths(blocks, x, y, z, HALF_WIDTH, body_height(status))
    status[S_IN_WATER] = 1 if water > 0.0 else 0
    status[S_IN_LAVA] = 1 if lava > 0.0 else 0
    # The game looks a ninth of a block below the eyes.
    under = water > 0.0 and submerged(blocks, x, y + eye_height(status) - 1.0 / 9.0, z)
    status[S_UNDER_WATER] = 1 if under else 0
    return water, lava


@njit(cache=True, nogil=True)
def tick_vitals(blocks, tops, player, status, stats):
    """One tick of hunger, healing, breath, fire and prickles. After the movement, which feels the liquids.

    Args:
        blocks, tops: see ``world.World``.
        player, status, stats: see ``state``; changed in place.
    """
    _digest(player, status)
    _heal_or_starve(player, status, stats)
    _breathe(player, status, stats)
    _burn(tops, player, status, stats)
    if touches(blocks, player[P_X], player[P_Y], player[P_Z], HALF_WIDTH, body_height(status), _CACTUS):
        hurt_player(player, status, stats, CACTUS_DAMAGE, EXHAUSTION_HURT)

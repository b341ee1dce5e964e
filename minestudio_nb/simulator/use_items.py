"""Items that take time to use: drawing a bow and eating, as in Minecraft 1.16.

An item is used as long as the use key is held; meanwhile the player walks slowly (``physics.USING_FACTOR``) and can
neither hit nor place. S_USE_SLOT says which slot's item it is.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.actions import TICK_USE
from minestudio_nb.simulator.arrows import launch_arrow
from minestudio_nb.simulator.bodies import cos_deg, sin_deg, uniform
from minestudio_nb.simulator.inventory import BACKPACK_SLOTS, take_one, wear
from minestudio_nb.simulator.state import (
    A_CRITICAL,
    E_USE,
    OFFHAND_SLOT,
    P_FOOD,
    P_PITCH,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_BOW_DRAW,
    S_EAT,
    S_HUNGER,
    S_SLOT,
    S_USE_DELAY,
    S_USE_SLOT,
    SLOT_COUNT,
    SLOT_ITEM,
)
from minestudio_nb.simulator.vitals import FULL_FOOD, eye_height, feed

FULL_DRAW_TICKS: Final = 20
LEAST_CHARGE: Final = 0.1  # a bow drawn less lets no arrow go
ARROW_SPEED: Final = 3.0  # blocks per tick at full draw
BOW_INACCURACY: Final = 1.0
EAT_TICKS: Final = 32
HUNGER_TICKS: Final = 600  # of the effect that some food has
AFTER_MEAL: Final = 4  # ticks until the next bite, as between any two uses

# Half drumsticks, and how much saturation each brings, halved (Minecraft Wiki, "Food").
FOODS: Final = {
    "apple": (4, 0.3),
    "baked_potato": (5, 0.6),
    "beef": (3, 0.3),
    "beetroot": (1, 0.6),
    "bread": (5, 0.6),
    "carrot": (3, 0.6),
    "chicken": (2, 0.3),
    "cod": (2, 0.1),
    "cooked_beef": (8, 0.8),
    "cooked_chicken": (6, 0.6),
    "cooked_cod": (5, 0.6),
    "cooked_mutton": (6, 0.8),
    "cooked_porkchop": (8, 0.8),
    "cooked_rabbit": (5, 0.6),
    "cooked_salmon": (6, 0.8),
    "cookie": (2, 0.1),
    "enchanted_golden_apple": (4, 1.2),
    "golden_apple": (4, 1.2),
    "golden_carrot": (6, 1.2),
    "melon_slice": (2, 0.3),
    "mutton": (2, 0.3),
    "porkchop": (3, 0.3),
    "potato": (1, 0.3),
    "pumpkin_pie": (8, 0.3),
    "rabbit": (3, 0.3),
    "rotten_flesh": (4, 0.1),
    "salmon": (2, 0.1),
    "spider_eye": (2, 0.8),
    "sweet_berries": (2, 0.1),
    "tropical_fish": (1, 0.1),
}
_SICKENING: Final = {"chicken": 0.3, "rotten_flesh": 0.8}  # chance of hunger
_ALWAYS_EATEN: Final = ("golden_apple", "enchanted_golden_apple")

FOOD_POINTS: Final = np.zeros(table.NUM_ITEMS)
FOOD_SATURATION: Final = np.zeros(table.NUM_ITEMS)
FOOD_SICKENS: Final = np.zeros(table.NUM_ITEMS)
FOOD_ALWAYS: Final = np.zeros(table.NUM_ITEMS, np.bool_)
for _name, (_points, _modifier) in FOODS.items():
    if _name in table.ITEM_NAMES:
        _item = table.item_id(_name)
        FOOD_POINTS[_item], FOOD_SATURATION[_item] = _points, 2.0 * _points * _modifier
        FOOD_SICKENS[_item], FOOD_ALWAYS[_item] = _SICKENING.get(_name, 0.0), _name in _ALWAYS_EATEN
for _array in (FOOD_POINTS, FOOD_SATURATION, FOOD_SICKENS, FOOD_ALWAYS):
    _array.setflags(write=False)

_BOW: Final = table.item_id("bow")
_ARROW: Final = table.item_id("arrow")


@njit(cache=True, nogil=True)
def find_arrows(inventory):
    """The slot that a bow takes its arrow from: the off hand, else the first in the backpack; -1 for none."""
    if inventory[OFFHAND_SLOT, SLOT_COUNT] > 0 and inventory[OFFHAND_SLOT, SLOT_ITEM] == _ARROW:
        return OFFHAND_SLOT
    for slot in range(BACKPACK_SLOTS):
        if inventory[slot, SLOT_COUNT] > 0 and inventory[slot, SLOT_ITEM] == _ARROW:
            return slot
    return -1


@njit(cache=True, nogil=True)
def bow_charge(ticks):
    """How far a bow drawn for some ticks is charged, 0 to 1."""
    share = ticks / FULL_DRAW_TICKS
    return min(1.0, (share * share + 2.0 * share) / 3.0)


@njit(cache=True, nogil=True)
def begin_use(s, slot):
    """Begin to draw the bow or to eat the food in a slot; returns whether there is something to do with it."""
    item = s.inventory[slot, SLOT_ITEM]
    if s.inventory[slot, SLOT_COUNT] == 0:
        return False
    status = s.status
    if item == _BOW:
        if find_arrows(s.inventory) < 0:
            return False
        status[S_BOW_DRAW] = 1
    elif FOOD_POINTS[item] > 0.0 and (s.player[P_FOOD] < FULL_FOOD or FOOD_ALWAYS[item]):
        status[S_EAT] = 1
    else:
        return False
    status[S_USE_SLOT] = slot
    return True


@njit(cache=True, nogil=True)
def _shoot(s, slot, ticks):
    """Let go of a bow that was drawn for some ticks."""
    arrows_slot = find_arrows(s.inventory)
    charge = bow_charge(ticks)
    if arrows_slot < 0 or charge < LEAST_CHARGE:
        return
    player = s.player
    flat = cos_deg(player[P_PITCH])
    dx, dy = -sin_deg(player[P_YAW]) * flat, -sin_deg(player[P_PITCH])
    y = player[P_Y] + eye_height(s.status) - 0.1
    row = launch_arrow(
        s.arrows, s.rng, player[P_X], y, player[P_Z], dx, dy, cos_deg(player[P_YAW]) * flat,
        ARROW_SPEED * charge, BOW_INACCURACY,
    )  # fmt: skip
    s.arrows[row, A_CRITICAL] = 1.0 if charge >= 1.0 else 0.0
    s.stats[E_USE, _BOW] += 1
    wear(s.inventory, s.stats, slot, 1)
    take_one(s.inventory, arrows_slot)


@njit(cache=True, nogil=True)
def _swallow(s, slot):
    """Eat up the food in a slot."""
    item = s.inventory[slot, SLOT_ITEM]
    feed(s.player, FOOD_POINTS[item], FOOD_SATURATION[item])
    if FOOD_SICKENS[item] > 0.0 and uniform(s.rng) < FOOD_SICKENS[item]:
        s.status[S_HUNGER] = HUNGER_TICKS
    s.stats[E_USE, item] += 1
    take_one(s.inventory, slot)


@njit(cache=True, nogil=True)
def go_on_using(s, action):
    """One tick of an item that is being used.

    Letting go of the use key shoots the bow; letting go of food, or selecting another slot, ends it with nothing.

    Args:
        s: ``state.Arrays``, changed in place.
        action: int32[TICK_FIELDS].

    Returns:
        Whether an item is still being used, so that the hands do nothing else.
    """
    status = s.status
    drawn, eaten, slot = status[S_BOW_DRAW], status[S_EAT], status[S_USE_SLOT]
    if drawn == 0 and eaten == 0:
        return False
    item = s.inventory[slot, SLOT_ITEM]
    held = s.inventory[slot, SLOT_COUNT] > 0 and (item == _BOW if drawn > 0 else FOOD_POINTS[item] > 0.0)
    if not held or (slot != OFFHAND_SLOT and slot != status[S_SLOT]):
        status[S_BOW_DRAW] = status[S_EAT] = 0
        return False
    if not action[TICK_USE]:
        status[S_BOW_DRAW] = status[S_EAT] = 0
        if drawn > 0:
            _shoot(s, slot, drawn)
        return False
    if drawn > 0:
        status[S_BOW_DRAW] = drawn + 1
        return True
    status[S_EAT] = eaten + 1
    if status[S_EAT] >= EAT_TICKS:
        status[S_EAT] = 0
        status[S_USE_DELAY] = AFTER_MEAL
        _swallow(s, slot)
    return True

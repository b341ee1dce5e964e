"""Armor: what the player wears is summed up each tick, wears with hits, and is put on with the use key.

How much it holds off is in ``vitals.after_armor``.
"""

from __future__ import annotations

from typing import Final

from numba import njit

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.inventory import take_one, wear
from minestudio_nb.simulator.state import S_ARMOR, S_ARMOR_WEAR, S_TOUGHNESS, SLOT_COUNT, SLOT_DAMAGE, SLOT_ITEM

FIRST_SLOT: Final = 36
LAST_SLOT: Final = 39

_ARMOR: Final = table.ITEM_ARMOR
_TOUGHNESS: Final = table.ITEM_TOUGHNESS
_WORN: Final = table.ITEM_WORN


@njit(cache=True, nogil=True)
def tick_armor(s):
    """Wear the player's armor by the last tick's hits, and sum it up for this one's; ``s`` is ``state.Arrays``."""
    status, inventory = s.status, s.inventory
    status[S_ARMOR] = status[S_TOUGHNESS] = 0
    for slot in range(FIRST_SLOT, LAST_SLOT + 1):
        item = inventory[slot, SLOT_ITEM]
        if inventory[slot, SLOT_COUNT] > 0 and _WORN[item] == slot:
            status[S_ARMOR] += _ARMOR[item]
            status[S_TOUGHNESS] += _TOUGHNESS[item]
            if status[S_ARMOR_WEAR] > 0:
                wear(inventory, s.stats, slot, status[S_ARMOR_WEAR])
    status[S_ARMOR_WEAR] = 0


@njit(cache=True, nogil=True)
def put_on(s, slot):
    """Put on the armor in a slot, if its place is free; returns whether it did."""
    item = s.inventory[slot, SLOT_ITEM]
    place = _WORN[item]
    if s.inventory[slot, SLOT_COUNT] == 0 or place == 0 or s.inventory[place, SLOT_COUNT] > 0:
        return False
    damage = s.inventory[slot, SLOT_DAMAGE]
    take_one(s.inventory, slot)
    s.inventory[place, SLOT_ITEM], s.inventory[place, SLOT_COUNT], s.inventory[place, SLOT_DAMAGE] = item, 1, damage
    return True

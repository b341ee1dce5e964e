"""The inventory: 41 slots of (item id, count, wear), kernels that put in and take out, and the names of slots.

Slots are numbered as MineStudio numbers them: 0-8 hotbar, 9-35 the rest of the backpack, 36-39 feet, legs, chest and
head, 40 the off hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.state import (
    E_BREAK,
    INVENTORY_SLOTS,
    OFFHAND_SLOT,
    SLOT_COUNT,
    SLOT_DAMAGE,
    SLOT_FIELDS,
    SLOT_ITEM,
)

BACKPACK_SLOTS: Final = 36
EQUIPMENT_SLOTS: Final = {"offhand": OFFHAND_SLOT, "head": 39, "chest": 38, "legs": 37, "feet": 36}
EMPTY: Final = "none"

_STACK_SIZE: Final = table.STACK_SIZE
_DURABILITY: Final = table.ITEM_DURABILITY


@njit(cache=True, nogil=True)
def give(inventory, item, count, damage=0):
    """Put items into the backpack: onto stacks of the same item first, then into free slots, lowest slot first.

    Args:
        inventory: int32[41, 3].
        item, count: item id, and how many.
        damage: their wear; only items of equal wear share a stack.

    Returns:
        How many found room.
    """
    left = count
    for slot in range(BACKPACK_SLOTS):
        stack = inventory[slot]
        if left > 0 and stack[SLOT_COUNT] > 0 and stack[SLOT_ITEM] == item and stack[SLOT_DAMAGE] == damage:
            moved = min(left, _STACK_SIZE[item] - stack[SLOT_COUNT])
            if moved > 0:
                stack[SLOT_COUNT] += moved
                left -= moved
    for slot in range(BACKPACK_SLOTS):
        stack = inventory[slot]
        if left > 0 and stack[SLOT_COUNT] == 0:
            moved = min(left, _STACK_SIZE[item])
            stack[SLOT_ITEM], stack[SLOT_COUNT], stack[SLOT_DAMAGE] = item, moved, damage
            left -= moved
    return count - left


@njit(cache=True, nogil=True)
def take_one(inventory, slot):
    """Remove one item from a slot; an emptied slot holds zeros."""
    inventory[slot, SLOT_COUNT] -= 1
    if inventory[slot, SLOT_COUNT] <= 0:
        inventory[slot, :] = 0


@njit(cache=True, nogil=True)
def wear(inventory, stats, slot, uses):
    """Wear the tool in a slot by some uses; a tool that is used up is gone and counted as broken.

    Args:
        inventory, stats: see ``state``.
        slot: what is in it may be anything; only what has a durability wears.
        uses: how much.
    """
    item = inventory[slot, SLOT_ITEM]
    if inventory[slot, SLOT_COUNT] == 0 or _DURABILITY[item] == 0:
        return
    inventory[slot, SLOT_DAMAGE] += uses
    if inventory[slot, SLOT_DAMAGE] >= _DURABILITY[item]:
        stats[E_BREAK, item] += 1
        take_one(inventory, slot)


def empty_inventory() -> NDArray[np.int32]:
    """An inventory with nothing in it: int32[41, 3]."""
    return np.zeros((INVENTORY_SLOTS, SLOT_FIELDS), np.int32)


def slot_number(name: int | str, selected: int = 0) -> int:
    """The number of a slot: a number, "mainhand", "offhand", "feet", ... or a command's "hotbar.3", "weapon.offhand".

    Args:
        name: the slot.
        selected: the slot of the hotbar that the main hand holds.

    Raises:
        SimulatorError: there is no such slot.
    """
    text = str(name)
    if text.isdigit() and int(text) < INVENTORY_SLOTS:
        return int(text)
    group, _, part = text.rpartition(".")
    if group in ("", "weapon", "armor"):
        if text in ("weapon", "mainhand", "weapon.mainhand"):
            return selected
        if part in EQUIPMENT_SLOTS:
            return EQUIPMENT_SLOTS[part]
    if part.isdigit():
        if group in ("hotbar", "container") and int(part) < (9 if group == "hotbar" else BACKPACK_SLOTS):
            return int(part)
        if group == "inventory" and int(part) < BACKPACK_SLOTS - 9:
            return 9 + int(part)
    raise SimulatorError(
        f"No inventory slot is called {name!r}. Slots are 0..{INVENTORY_SLOTS - 1}, mainhand, offhand, head, chest, "
        "legs, feet, and in commands hotbar.0-8, inventory.0-26, weapon.mainhand, weapon.offhand, armor.<part>."
    )


def set_slot(inventory: NDArray[np.int32], slot: int, item: str, count: int) -> None:
    """Put a stack into a slot, over what is there. "air" and "none", or a count of 0, empty it.

    Raises:
        SimulatorError: unknown item, or a count that one stack cannot hold.
    """
    if item.removeprefix("minecraft:") in ("air", EMPTY) or count == 0:
        inventory[slot] = 0
        return
    number = table.item_id(item)
    if not 0 < count <= _STACK_SIZE[number]:
        raise SimulatorError(f"A stack of {item} holds 1 to {_STACK_SIZE[number]} items; got {count}.")
    inventory[slot] = (number, count, 0)


def fill_inventory(inventory: NDArray[np.int32], contents: Mapping[Any, Any]) -> None:
    """Put MineStudio's ``inventory`` argument into the slots; other slots stay as they are.

    Args:
        inventory: int32[41, 3].
        contents: slot -> ``{"type": name, "quantity": n}`` (quantity 1 if left out), or slot -> name.

    Raises:
        SimulatorError: unknown slot or item, or too many items for one stack.
    """
    for slot, stack in contents.items():
        if isinstance(stack, str):
            stack = {"type": stack}
        if not isinstance(stack, Mapping) or "type" not in stack:
            raise SimulatorError(
                "An inventory maps a slot to {'type': name, 'quantity': n}, or to a name; "
                f"got {stack!r} for slot {slot!r}."
            )
        set_slot(inventory, slot_number(slot), str(stack["type"]), int(stack.get("quantity", 1)))


def describe(inventory: NDArray[np.int32]) -> dict[int, dict[str, Any]]:
    """The slots as ``info["inventory"]`` has them: ``{slot: {"type": name, "quantity": n}}``, "none" where empty."""
    result: dict[int, dict[str, Any]] = {}
    for slot, (item, count, _) in enumerate(inventory.tolist()):
        result[slot] = {"type": table.item_name(item) if count else EMPTY, "quantity": count}
    return result


def describe_equipment(inventory: NDArray[np.int32], selected: int) -> dict[str, dict[str, Any]]:
    """What is held and worn as ``info["equipped_items"]`` has it: ``{"mainhand": {"type": ...}, ...}``."""
    result: dict[str, dict[str, Any]] = {}
    for name, slot in {"mainhand": selected, **EQUIPMENT_SLOTS}.items():
        item, count, damage = inventory[slot].tolist()
        worn_out = int(table.ITEM_DURABILITY[item]) if count else 0
        result[name] = {
            "type": table.item_name(item) if count else EMPTY,
            "damage": damage,
            "maxDamage": worn_out,
        }
    return result

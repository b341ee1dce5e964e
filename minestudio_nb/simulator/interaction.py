"""What the player does to the world: look at a target, break it, hit it, place blocks, use and drop items.

Speeds and delays are Minecraft 1.16's. What hits do is in ``combat``, what bows and food do in ``use_items``.
"""

from __future__ import annotations

from typing import Final

from numba import njit

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.actions import TICK_ATTACK, TICK_DROP, TICK_USE
from minestudio_nb.simulator.armor import put_on
from minestudio_nb.simulator.blocks import TOOL_SHEARS
from minestudio_nb.simulator.bodies import cos_deg, randint, ray_enters_box, sin_deg, uniform
from minestudio_nb.simulator.combat import hit_mob
from minestudio_nb.simulator.inventory import take_one, wear
from minestudio_nb.simulator.items import drop_from_block, throw_item
from minestudio_nb.simulator.mobs import MOB_HALF, MOB_HEIGHT
from minestudio_nb.simulator.placing import BLOCK_REACH, PASSED, REFUSED, USED, opens_screen, use_bucket, use_on_block
from minestudio_nb.simulator.portals import empty_portal
from minestudio_nb.simulator.state import (
    E_DROP,
    E_MINE,
    E_USE,
    M_KIND,
    M_X,
    M_Y,
    M_Z,
    OFFHAND_SLOT,
    P_BREAKING,
    P_PITCH,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_ATTACK_HELD,
    S_BREAK_X,
    S_BREAK_Y,
    S_BREAK_Z,
    S_DROP_HELD,
    S_HIT_DELAY,
    S_ON_GROUND,
    S_SINCE_ATTACK,
    S_SLOT,
    S_SWING,
    S_TARGET,
    S_TARGET_FACE,
    S_TARGET_ID,
    S_TARGET_X,
    S_TARGET_Y,
    S_TARGET_Z,
    S_TILE_DROPS,
    S_UNDER_WATER,
    S_USE_DELAY,
    SLOT_DAMAGE,
    SLOT_ITEM,
    SWING_TICKS,
    TARGET_BLOCK,
    TARGET_MOB,
    TARGET_NONE,
)
from minestudio_nb.simulator.use_items import begin_use, go_on_using
from minestudio_nb.simulator.vitals import EXHAUSTION_BREAK, add_exhaustion, eye_height
from minestudio_nb.simulator.world import get_block, raycast, set_block

MOB_REACH: Final = 3.0
HIT_DELAY: Final = 5  # ticks between two blocks
USE_DELAY: Final = 4  # ticks between two uses while the key is held
HOLD_HIT_INTERVAL: Final = 10  # ticks between hits while the key is held
ROUNDING: Final = 1e-9  # 60 times 1/60 must be a whole block

_HARDNESS: Final = table.HARDNESS
_BLOCK_TOOL: Final = table.BLOCK_TOOL
_BLOCK_TIER: Final = table.BLOCK_TIER
_REQUIRES_TOOL: Final = table.REQUIRES_TOOL
_REPLACEABLE: Final = table.REPLACEABLE
_SOLID: Final = table.SOLID
_CROSS: Final = table.CROSS
_OBSIDIAN: Final = table.block_id("obsidian")
_DROP_ITEM: Final = table.DROP_ITEM
_DROP_MIN: Final = table.DROP_MIN
_DROP_MAX: Final = table.DROP_MAX
_SELDOM_ITEM: Final = table.SELDOM_ITEM
_SELDOM_CHANCE: Final = table.SELDOM_CHANCE
_SHEARED: Final = table.SHEARED
_ITEM_TOOL: Final = table.ITEM_TOOL
_ITEM_TIER: Final = table.ITEM_TIER
_ITEM_SPEED: Final = table.ITEM_SPEED
_WEAR_BY_MINING: Final = table.WEAR_BY_MINING
_PLACES_BLOCK: Final = table.PLACES_BLOCK


@njit(cache=True, nogil=True)
def find_target(blocks, player, status, mobs, hit):
    """Set the S_TARGET fields to the block or mob under the cross-hair, whichever is nearer and within reach.

    Args:
        blocks: uint8[X, Z, Y].
        player, status, mobs: see ``state``.
        hit: int64[5], scratch.
    """
    yaw, pitch = player[P_YAW], player[P_PITCH]
    flat = cos_deg(pitch)
    dx, dy, dz = -sin_deg(yaw) * flat, -sin_deg(pitch), cos_deg(yaw) * flat
    x, y, z = player[P_X], player[P_Y] + eye_height(status), player[P_Z]
    status[S_TARGET] = TARGET_NONE
    distance = raycast(blocks, x, y, z, dx, dy, dz, BLOCK_REACH, hit)
    if distance >= 0.0:
        status[S_TARGET] = TARGET_BLOCK
        status[S_TARGET_X], status[S_TARGET_Y], status[S_TARGET_Z] = hit[0], hit[1], hit[2]
        status[S_TARGET_FACE], status[S_TARGET_ID] = hit[3], hit[4]
    nearest = MOB_REACH if distance < 0.0 else min(MOB_REACH, distance)
    for row in range(mobs.shape[0]):
        kind = int(mobs[row, M_KIND])
        if kind < 0 or abs(mobs[row, M_X] - x) > 5.0 or abs(mobs[row, M_Z] - z) > 5.0:
            continue
        half, height = MOB_HALF[kind], MOB_HEIGHT[kind]
        at = ray_enters_box(x, y, z, dx, dy, dz, mobs[row, M_X], mobs[row, M_Y], mobs[row, M_Z], half, height, nearest)
        if at >= 0.0:
            nearest = at
            status[S_TARGET] = TARGET_MOB
            status[S_TARGET_ID] = row


@njit(cache=True, nogil=True)
def breaking_speed(block, item, on_ground, in_water):
    """The share of a block that one tick breaks (Minecraft Wiki, "Breaking"); 1 or more breaks at once, 0 never.

    Args:
        block: block id.
        item: id of the item in the hand; 0 for the bare hand.
        on_ground, in_water: where the player stands, and whether its eyes are under water; in the air and under water
            it takes five times as long.
    """
    hardness = _HARDNESS[block]
    if hardness < 0.0:
        return 0.0
    if hardness == 0.0:
        return 1.0
    right_tool = _BLOCK_TOOL[block] != 0 and _ITEM_TOOL[item] == _BLOCK_TOOL[block]
    speed = _ITEM_SPEED[item] if right_tool else 1.0
    if not on_ground:
        speed /= 5.0
    if in_water:
        speed /= 5.0
    return speed / hardness / (30.0 if can_harvest(block, item) else 100.0)


@njit(cache=True, nogil=True)
def can_harvest(block, item):
    """Whether breaking ``block`` with ``item`` in the hand drops anything."""
    if not _REQUIRES_TOOL[block]:
        return True
    return _ITEM_TOOL[item] == _BLOCK_TOOL[block] and _ITEM_TIER[item] >= _BLOCK_TIER[block]


@njit(cache=True, nogil=True)
def drop_of_block(s, block, item, x, y, z):
    """Drop what a block yields to ``item``: itself under shears, else its seldom drops, else its usual one."""
    if _SHEARED[block] and _ITEM_TOOL[item] == TOOL_SHEARS:
        drop_from_block(s, block, 1, x, y, z)
        return
    for entry in range(_SELDOM_ITEM.shape[1]):
        if _SELDOM_ITEM[block, entry] >= 0 and uniform(s.rng) < _SELDOM_CHANCE[block, entry]:
            drop_from_block(s, _SELDOM_ITEM[block, entry], 1, x, y, z)
            return
    if _DROP_ITEM[block] >= 0:
        drop_from_block(s, _DROP_ITEM[block], randint(s.rng, _DROP_MIN[block], _DROP_MAX[block]), x, y, z)


@njit(cache=True, nogil=True)
def remove_block(s, x, y, z, item):
    """Break a block with ``item``: it drops what it yields to that, and plants above it fall.

    Args:
        s: ``state.Arrays``.
        x, y, z: its cell.
        item: item id; 0 for the bare hand, -1 for nothing to drop.
    """
    block = get_block(s.blocks, x, y, z)
    set_block(s.blocks, s.masks, s.tops, x, y, z, 0)
    if block == _OBSIDIAN:
        empty_portal(s, x, y, z)
    if item >= 0 and s.status[S_TILE_DROPS] and can_harvest(block, item):
        drop_of_block(s, block, item, x, y, z)
    above = y + 1
    while _CROSS[get_block(s.blocks, x, above, z)]:
        plant = get_block(s.blocks, x, above, z)
        set_block(s.blocks, s.masks, s.tops, x, above, z, 0)
        if s.status[S_TILE_DROPS]:
            drop_of_block(s, plant, 0, x, above, z)
        above += 1


@njit(cache=True, nogil=True)
def _break_block(s, x, y, z):
    """Break a block with what is in the hand, which wears."""
    slot = s.status[S_SLOT]
    item, block = s.inventory[slot, SLOT_ITEM], get_block(s.blocks, x, y, z)
    if _ITEM_TOOL[item] == TOOL_SHEARS:
        uses, counts = 1, _SHEARED[block] or _BLOCK_TOOL[block] == TOOL_SHEARS
    else:
        uses, counts = (_WEAR_BY_MINING[item] if _HARDNESS[block] > 0.0 else 0), _WEAR_BY_MINING[item] > 0
    if counts:
        s.stats[E_USE, item] += 1
    wear(s.inventory, s.stats, slot, uses)
    if can_harvest(block, item):
        s.stats[E_MINE, block] += 1
    remove_block(s, x, y, z, item)


@njit(cache=True, nogil=True)
def _dig(s, item):
    """One tick of the attack key on the targeted block."""
    player, status = s.player, s.status
    x, y, z = status[S_TARGET_X], status[S_TARGET_Y], status[S_TARGET_Z]
    if x != status[S_BREAK_X] or y != status[S_BREAK_Y] or z != status[S_BREAK_Z]:
        status[S_BREAK_X], status[S_BREAK_Y], status[S_BREAK_Z] = x, y, z
        player[P_BREAKING] = 0.0
    if status[S_HIT_DELAY] > 0:
        return
    speed = breaking_speed(status[S_TARGET_ID], item, status[S_ON_GROUND] != 0, status[S_UNDER_WATER] != 0)
    player[P_BREAKING] += speed
    if player[P_BREAKING] >= 1.0 - ROUNDING:
        _break_block(s, x, y, z)
        add_exhaustion(player, EXHAUSTION_BREAK)
        player[P_BREAKING] = 0.0
        status[S_BREAK_Y] = -1
        status[S_HIT_DELAY] = 0 if speed >= 1.0 else HIT_DELAY


@njit(cache=True, nogil=True)
def _use(s, hit):
    """The use key: on the block that is looked at, else by itself; the main hand first, then the off hand."""
    s.status[S_USE_DELAY] = USE_DELAY
    if opens_screen(s):
        s.status[S_SWING] = SWING_TICKS
        return
    for slot in (s.status[S_SLOT], OFFHAND_SLOT):
        outcome = use_on_block(s, slot)
        if outcome == USED or (outcome == PASSED and use_bucket(s, slot, hit)):
            s.status[S_SWING] = SWING_TICKS
            return
        if outcome == REFUSED or begin_use(s, slot) or put_on(s, slot):
            return


@njit(cache=True, nogil=True)
def interact(s, action, hit):
    """One tick of the attack, use and drop keys.

    Args:
        s: ``state.Arrays``, changed in place.
        action: int32[TICK_FIELDS].
        hit: int64[5], scratch.
    """
    player, status, inventory = s.player, s.status, s.inventory
    find_target(s.blocks, player, status, s.mobs, hit)
    slot = status[S_SLOT]
    item = inventory[slot, 0]
    status[S_SINCE_ATTACK] += 1
    if status[S_HIT_DELAY] > 0:
        status[S_HIT_DELAY] -= 1
    using = go_on_using(s, action)
    if action[TICK_ATTACK] and not using:
        if status[S_SWING] == 0 and (not status[S_ATTACK_HELD] or status[S_TARGET] != TARGET_NONE):
            status[S_SWING] = SWING_TICKS
        if status[S_TARGET] == TARGET_BLOCK:
            _dig(s, item)
        else:
            player[P_BREAKING] = 0.0
            if status[S_TARGET] == TARGET_MOB:
                hit_mob(s)
        status[S_ATTACK_HELD] = 1
    else:
        player[P_BREAKING] = 0.0
        status[S_ATTACK_HELD] = 0
        status[S_HIT_DELAY] = 0
    if status[S_USE_DELAY] > 0:
        status[S_USE_DELAY] -= 1
    # Who is breaking a block cannot use anything.
    if action[TICK_USE] and status[S_USE_DELAY] == 0 and not using and player[P_BREAKING] == 0.0:
        _use(s, hit)
    if not action[TICK_USE]:
        status[S_USE_DELAY] = 0
    if action[TICK_DROP] and not status[S_DROP_HELD] and inventory[slot, 1] > 0:
        item, damage = inventory[slot, SLOT_ITEM], inventory[slot, SLOT_DAMAGE]
        s.stats[E_DROP, item] += 1
        take_one(inventory, slot)
        throw_item(s, item, 1, damage)
    status[S_DROP_HELD] = action[TICK_DROP]

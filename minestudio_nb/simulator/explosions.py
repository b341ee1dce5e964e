"""Explosions, as Minecraft 1.16's ``Explosion``: what they break, and whom they hurt and throw."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.bodies import solid_along, uniform
from minestudio_nb.simulator.interaction import drop_of_block, remove_block
from minestudio_nb.simulator.mobs import MOB_HALF, MOB_HEIGHT, hurt_mob
from minestudio_nb.simulator.state import (
    M_KIND,
    M_VX,
    M_X,
    M_Y,
    M_Z,
    P_VX,
    P_X,
    P_Y,
    P_Z,
    S_MOB_GRIEFING,
    S_TILE_DROPS,
)
from minestudio_nb.simulator.vitals import (
    EXHAUSTION_HURT,
    HALF_WIDTH,
    body_height,
    by_difficulty,
    eye_height,
    hurt_player,
)
from minestudio_nb.simulator.world import get_block

_RAYS: Final = 16  # along each edge of the cube on whose surface the rays end
_STEP: Final = 0.3  # blocks
_LOSS: Final = 0.225  # strength lost in a step through air
_LEAST_RESISTANCE: Final = 0.3

# Blast resistance (Minecraft Wiki, "Explosion"); a block that is not named here has its hardness.
_RESISTANCES: Final = {
    6.0: (
        "stone", "cobblestone", "granite", "diorite", "andesite", "stone_bricks", "bricks", "mossy_cobblestone",
        "gold_block", "iron_block", "diamond_block",
    ),
    3.0: ("oak_planks", "birch_planks", "spruce_planks"),
    9.0: ("end_stone",),
    4.2: ("terracotta",),
    1200.0: ("obsidian",),
    100.0: ("water", "lava"),
    3600000.0: ("bedrock", "nether_portal"),
}  # fmt: skip
BLAST_RESISTANCE: Final = np.maximum(table.HARDNESS, 0.0)
for _resistance, _names in _RESISTANCES.items():
    for _name in _names:
        BLAST_RESISTANCE[table.block_id(_name)] = _resistance
BLAST_RESISTANCE.setflags(write=False)


@njit(cache=True, nogil=True)
def _break_blocks(s, x, y, z, power):
    """Break what rays from the centre reach; each loses strength in air and more in blocks. One in ``power`` drops."""
    last = _RAYS - 1
    for i in range(_RAYS):
        for j in range(_RAYS):
            for k in range(_RAYS):
                if 0 < i < last and 0 < j < last and 0 < k < last:
                    continue
                dx, dy, dz = 2.0 * i / last - 1.0, 2.0 * j / last - 1.0, 2.0 * k / last - 1.0
                length = math.sqrt(dx * dx + dy * dy + dz * dz)
                strength = power * (0.7 + 0.6 * uniform(s.rng))
                cx, cy, cz = x, y, z
                while strength > 0.0:
                    bx, by, bz = math.floor(cx), math.floor(cy), math.floor(cz)
                    block = get_block(s.blocks, bx, by, bz)
                    if block != 0:
                        strength -= (BLAST_RESISTANCE[block] + _LEAST_RESISTANCE) * _STEP
                        if strength > 0.0 and by >= 0:
                            if s.status[S_TILE_DROPS] and uniform(s.rng) * power < 1.0:
                                drop_of_block(s, block, 0, bx, by, bz)
                            remove_block(s, bx, by, bz, -1)
                    cx, cy, cz = cx + _STEP * dx / length, cy + _STEP * dy / length, cz + _STEP * dz / length
                    strength -= _LOSS


@njit(cache=True, nogil=True)
def exposure(blocks, x, y, z, body_x, body_y, body_z, half, height):
    """The share of a body's box that sees a point: of points spread over the box, those without a block between."""
    seen = total = 0
    steps_side, steps_up = int(4.0 * half + 1.0), int(2.0 * height + 1.0)
    for i in range(steps_side + 1):
        for j in range(steps_up + 1):
            for k in range(steps_side + 1):
                px = body_x + half * (2.0 * i / steps_side - 1.0)
                py = body_y + height * j / steps_up
                pz = body_z + half * (2.0 * k / steps_side - 1.0)
                total += 1
                if solid_along(blocks, x, y, z, px - x, py - y, pz - z) > 1.0 - 1e-6:
                    seen += 1
    return seen / total


@njit(cache=True, nogil=True)
def _impact(distance, power, seen):
    """(damage in half hearts, speed in blocks per tick) for a body at a distance."""
    share = distance / (2.0 * power)
    if share > 1.0:
        return 0.0, 0.0
    force = (1.0 - share) * seen
    return math.floor((force * force + force) / 2.0 * 7.0 * 2.0 * power + 1.0), force


@njit(cache=True, nogil=True)
def explode(s, x, y, z, power):
    """Explode at a point with Minecraft's strength ``power``: a creeper has 3, TNT 4. ``s`` is ``state.Arrays``.

    Bodies are hurt by how near they are and how much of them the centre sees.
    """
    if s.status[S_MOB_GRIEFING]:
        _break_blocks(s, x, y, z, power)
    p = s.player
    height = body_height(s.status)
    dx, dz = p[P_X] - x, p[P_Z] - z
    dy = p[P_Y] - y
    distance = math.sqrt(dx * dx + dy * dy + dz * dz)
    if distance <= 2.0 * power:
        seen = exposure(s.blocks, x, y, z, p[P_X], p[P_Y], p[P_Z], HALF_WIDTH, height)
        damage, force = _impact(distance, power, seen)
        hurt_player(p, s.status, s.stats, by_difficulty(s.status, damage), EXHAUSTION_HURT)
        dy += eye_height(s.status)
        length = max(1e-6, math.sqrt(dx * dx + dy * dy + dz * dz))
        for axis, part in enumerate((dx, dy, dz)):
            p[P_VX + axis] += force * part / length
    for row in range(s.mobs.shape[0]):
        mob = s.mobs[row]
        kind = int(mob[M_KIND])
        if kind < 0:
            continue
        dx, dy, dz = mob[M_X] - x, mob[M_Y] - y, mob[M_Z] - z
        distance = math.sqrt(dx * dx + dy * dy + dz * dz)
        if distance > 2.0 * power:
            continue
        seen = exposure(s.blocks, x, y, z, mob[M_X], mob[M_Y], mob[M_Z], MOB_HALF[kind], MOB_HEIGHT[kind])
        damage, force = _impact(distance, power, seen)
        dy += 0.85 * MOB_HEIGHT[kind]
        length = max(1e-6, math.sqrt(dx * dx + dy * dy + dz * dz))
        for axis, part in enumerate((dx, dy, dz)):
            mob[M_VX + axis] += force * part / length
        hurt_mob(s, row, damage, False)

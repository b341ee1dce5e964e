"""What Minecraft Java Edition 1.16 is published to do, and how to measure the same in VoxelSim.

Each row of ``ROWS`` names one number, the page of the Minecraft Wiki that has it, and a function that measures ours in
a running world. A test compares them, and ``docs/generate.py`` writes them into ``docs/physics.md``. Published values
are given as the page has them, so a tolerance covers their rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from minestudio_nb.simulator.actions import CameraConfig
from minestudio_nb.simulator.arrows import launch_arrow
from minestudio_nb.simulator.blocks import block_id
from minestudio_nb.simulator.explosions import explode
from minestudio_nb.simulator.state import (
    A_STATE,
    A_VX,
    A_VY,
    A_VZ,
    A_Y,
    A_Z,
    ARROW_FLYING,
    ARROW_FREE,
    M_HEALTH,
    M_X,
    M_Z,
    P_EXHAUSTION,
    P_FOOD,
    P_HEALTH,
    P_SATURATION,
    P_VY,
    P_X,
    P_Y,
    P_Z,
    S_AIR,
    S_DEAD,
    S_HURT,
    S_ON_GROUND,
    S_SINCE_ATTACK,
    S_TIME,
)
from tests.support.flat_world import GROUND, FlatWorld


@dataclass(frozen=True)
class Row:
    """One published number: ``measure`` gives ours, which differs by ``tolerance`` at most."""

    group: str
    what: str
    published: float
    unit: str
    page: str
    tolerance: float
    measure: Callable[[], float]


def _speed(warm_up: int = 40, ticks: int = 40, **keys: int) -> float:
    flat = FlatWorld()
    flat.run(warm_up, **keys)
    before = flat.position
    flat.run(ticks, **keys)
    moved = flat.position - before
    return math.hypot(moved[0], moved[2]) / ticks * 20


def _speed_using(item: str) -> float:
    flat = FlatWorld()
    flat.hold(item)
    flat.hold("arrow", 1, slot=9)
    flat.run(40, forward=1, use=1)
    before = flat.position
    flat.run(40, forward=1, use=1)
    return math.dist(flat.position, before) / 2.0


def _jump_height(**keys: int) -> float:
    flat = FlatWorld()
    heights = []
    for _ in range(12):
        flat.run(1, jump=1, **keys)
        heights.append(float(flat.player[P_Y]) - GROUND)
    return max(heights)


def _fall(ticks: int, field: int) -> float:
    """Speed in blocks per tick (P_VY), or blocks fallen (P_Y), after some ticks in the air."""
    flat = FlatWorld()
    flat.player[P_Y] = 1e4
    flat.player[P_VY] = 0.0
    flat.run(ticks)
    return float(-flat.player[P_VY] if field == P_VY else 1e4 - flat.player[P_Y])


def _fall_damage(blocks: float, ground: str = "stone") -> float:
    flat = FlatWorld()
    flat.state.world.blocks[:, :, GROUND - 1] = block_id(ground)
    flat.player[P_Y] = GROUND + blocks
    flat.player[P_VY] = 0.0
    while True:
        flat.run(1)
        if flat.state.status[S_ON_GROUND] or flat.state.status[S_DEAD]:
            return 20.0 - float(flat.player[P_HEALTH])


def _swim_speed() -> float:
    flat = FlatWorld()
    flat.state.world.blocks[:, :, GROUND : GROUND + 10] = block_id("water")
    flat.state.world.rebuild()
    flat.run(60, forward=1)
    before = flat.position
    flat.run(20, forward=1)
    return math.dist(flat.position, before)


def _breaking(block: str, tool: str | None) -> float:
    flat = FlatWorld()
    flat.put(8, GROUND + 1, 10, block)
    if tool:
        flat.hold(tool)
    flat.run(1)
    for tick in itertools.count(1):
        flat.run(1, attack=1)
        if flat.block(8, GROUND + 1, 10) == 0:
            return tick
    raise AssertionError


def _target(kind: str = "cow") -> tuple[FlatWorld, int]:
    """A flat world at night with a mob of great health within the player's reach."""
    flat = FlatWorld()
    flat.state.status[S_TIME] = 18000
    row = flat.add_mob(kind, 8.5, 10.3, health=1000.0)
    flat.look(0.0, 15.0)
    flat.run(1)
    return flat, row


def _hit(item: str | None, since: int = 100, falling: bool = False) -> float:
    flat, row = _target()
    if item:
        flat.hold(item)
    if falling:
        flat.run(8, jump=1)  # past the top of the jump, which is in the sixth tick
        flat.look(0.0, 45.0)
    flat.state.mobs[row, [M_X, M_Z]] = (8.5, 10.3)
    flat.state.status[S_SINCE_ATTACK] = since - 1  # the tick itself counts
    before = float(flat.state.mobs[row, M_HEALTH])
    flat.run(1, attack=1)
    return before - float(flat.state.mobs[row, M_HEALTH])


def _recovery(item: str) -> float:
    """Ticks until a hit does its full damage again, to the tick."""
    full = _hit(item)
    return next(ticks for ticks in itertools.count(1) if _hit(item, ticks) >= full - 1e-9)


def _flying(draw: int) -> tuple[FlatWorld, np.ndarray]:
    """An arrow, shot straight up after ``draw`` ticks of drawing, after its first tick of flight."""
    flat = FlatWorld()
    flat.hold("bow")
    flat.hold("arrow", 1, slot=9)
    flat.look(0.0, -90.0)
    flat.run(draw, use=1)
    flat.run(1)
    arrow = flat.state.arrows[0]
    assert arrow[A_STATE] == ARROW_FLYING
    return flat, arrow


def _arrow_speed(draw: int) -> float:
    return float(np.linalg.norm(_flying(draw)[1][[A_VX, A_VY, A_VZ]]))


def _arrow_climb(draw: int) -> float:
    flat, arrow = _flying(draw)
    start, highest = float(arrow[A_Y]), 0.0
    while arrow[A_VY] > 0.0:
        flat.run(1)
        highest = float(arrow[A_Y])
    return highest - start


def _arrow_range() -> float:
    """The greatest distance of a fully drawn bow over level ground, aimed at all angles, without spread."""
    farthest = 0.0
    for pitch in range(30, 50, 2):
        flat = FlatWorld()
        s = flat.state
        up, forward = math.sin(math.radians(pitch)), math.cos(math.radians(pitch))
        row = launch_arrow(s.arrows, s.rng, 8.5, GROUND + 1.52, 8.5, 0.0, up, forward, 3.0, 0.0)
        while s.arrows[row, A_STATE] == ARROW_FLYING:
            flat.run(1)
        farthest = max(farthest, float(s.arrows[row, A_Z]) - 8.5)
    return farthest


def _arrow_damage(draw: int, seed: int = 0) -> float:
    flat, row = _target()
    flat.state.rng[0] = seed
    flat.hold("bow")
    flat.hold("arrow", 1, slot=9)
    flat.look(0.0, 5.0)
    flat.run(draw, use=1)
    flat.state.mobs[row, [M_X, M_Z]] = (8.5, 11.5)
    before = float(flat.state.mobs[row, M_HEALTH])
    flat.run(1)
    while flat.state.arrows[0, A_STATE] == ARROW_FLYING:
        flat.run(1)
    assert flat.state.arrows[0, A_STATE] == ARROW_FREE, "it stuck, so it missed"
    return before - float(flat.state.mobs[row, M_HEALTH])


def _eat(item: str, field: int) -> float:
    """What a meal adds to P_FOOD or P_SATURATION of a hungry player; or, for S_TIME, how many ticks it takes."""
    flat = FlatWorld()
    flat.player[P_FOOD] = 2.0
    flat.player[P_SATURATION] = 0.0
    flat.hold(item)
    ticks = 0
    while flat.count(item):
        flat.run(1, use=1)
        ticks += 1
    if field == S_TIME:
        return ticks
    return float(flat.player[field]) - (2.0 if field == P_FOOD else 0.0)


def _exhaustion_of_sprinting() -> float:
    flat = FlatWorld()
    flat.run(40, forward=1, sprint=1)
    before, start = flat.player[P_EXHAUSTION], flat.position
    flat.run(20, forward=1, sprint=1)
    return float(flat.player[P_EXHAUSTION] - before) / math.dist(flat.position, start)


def _exhaustion_of_jump(**keys: int) -> float:
    flat = FlatWorld()
    flat.run(20, **keys)
    before = float(flat.player[P_EXHAUSTION])
    flat.run(1, jump=1, **keys)
    return float(flat.player[P_EXHAUSTION]) - before


def _healing_ticks(food: float, saturation: float) -> float:
    """Ticks between two healings of a player at half its health."""
    flat = FlatWorld()
    flat.player[P_HEALTH] = 10.0
    flat.player[P_FOOD], flat.player[P_SATURATION] = food, saturation
    for tick in itertools.count(1):
        flat.run(1)
        if flat.player[P_HEALTH] > 10.0:
            return tick
    raise AssertionError


def _starved_to() -> float:
    flat = FlatWorld()
    flat.player[P_FOOD] = flat.player[P_SATURATION] = 0.0
    flat.run(20 * 120)
    return float(flat.player[P_HEALTH])


def _drowning(harm: int) -> float:
    """Ticks under water until the player has been hurt ``harm`` times."""
    flat = FlatWorld()
    flat.state.world.blocks[:, :, GROUND : GROUND + 20] = block_id("water")
    flat.state.world.rebuild()
    flat.state.status[S_AIR] = 300
    flat.player[P_FOOD] = 10.0  # so that nothing heals
    for tick in itertools.count(1):
        flat.run(1)
        if 20.0 - flat.player[P_HEALTH] >= 2.0 * harm:
            return tick
    raise AssertionError


def _zombie_hit() -> float:
    flat, _ = _target("zombie")
    flat.player[P_FOOD] = 10.0
    while not flat.state.status[S_HURT]:
        flat.run(1)
    return 20.0 - float(flat.player[P_HEALTH])


def _creeper_damage() -> float:
    """Of an explosion at the player's feet, who would survive it."""
    flat = FlatWorld()
    flat.player[P_HEALTH] = 100.0
    s = flat.state
    explode(s.arrays(), float(s.player[P_X]), float(s.player[P_Y]), float(s.player[P_Z]), 3.0)
    return 100.0 - float(flat.player[P_HEALTH])


def _creeper_fuse() -> float:
    flat = FlatWorld()
    flat.state.status[S_TIME] = 18000
    flat.player[P_HEALTH] = 1000.0
    flat.add_mob("creeper", 8.5, 10.5)
    for tick in itertools.count(1):
        flat.run(1)
        if flat.player[P_HEALTH] < 1000.0:
            return tick
    raise AssertionError


def _bin(number: int) -> float:
    return float(CameraConfig().bin_degrees()[number])


_MOVING = [
    Row("Movement", "walking", 4.317, "m/s", "Transportation", 5e-4, partial(_speed, forward=1)),
    Row("Movement", "sprinting", 5.612, "m/s", "Sprinting", 5e-4, partial(_speed, forward=1, sprint=1)),
    Row("Movement", "sneaking", 1.295, "m/s", "Sneaking", 5e-4, partial(_speed, forward=1, sneak=1)),
    Row("Movement", "walking sideways", 4.317, "m/s", "Transportation", 5e-4, partial(_speed, left=1)),
    Row("Movement", "sprinting and jumping", 7.127, "m/s", "Transportation", 5e-3,
        partial(_speed, 240, 240, forward=1, sprint=1, jump=1)),
    Row("Movement", "drawing a bow", 0.8634, "m/s", "Bow", 5e-3, partial(_speed_using, "bow")),
    Row("Movement", "swimming under water", 1.97, "m/s", "Swimming", 0.02, _swim_speed),
    Row("Movement", "height of a jump", 1.2522, "blocks", "Jumping", 5e-5, _jump_height),
    Row("Movement", "falling speed after 20 ticks", 3.92 * (1 - 0.98**20), "blocks/tick", "Falling", 1e-6,
        partial(_fall, 20, P_VY)),
    Row("Movement", "terminal speed", 3.92, "blocks/tick", "Falling", 2e-3, partial(_fall, 400, P_VY)),
    Row("Movement", "fallen after 20 ticks", 3.92 * (20 - (1 - 0.98**20) * 50), "blocks", "Falling", 1e-3,
        partial(_fall, 20, P_Y)),
]  # fmt: skip

_FALLS = [
    Row("Falling", f"damage after {blocks} blocks on {ground}", damage, "half hearts", "Damage", 0.0,
        partial(_fall_damage, blocks, ground))
    for blocks, damage, ground in (
        (3, 0, "stone"), (4, 1, "stone"), (5, 2, "stone"), (10, 7, "stone"), (22, 19, "stone"), (23, 20, "stone"),
        (23, 4, "hay_block"),
    )
]  # fmt: skip

_BREAKING_TICKS = {
    "dirt": {None: 15, "wooden_shovel": 8, "diamond_shovel": 2},
    "grass_block": {None: 18, "iron_shovel": 3},
    "sand": {None: 15},
    "gravel": {None: 18, "stone_shovel": 5},
    "clay": {None: 18},
    "oak_log": {
        None: 60, "wooden_axe": 30, "stone_axe": 15, "iron_axe": 10, "diamond_axe": 8, "netherite_axe": 7,
        "golden_axe": 5,
    },
    "oak_planks": {None: 60, "diamond_axe": 8},
    "oak_leaves": {None: 6},
    "crafting_table": {None: 75, "iron_axe": 13},
    "bookshelf": {None: 45},
    "pumpkin": {None: 30},
    "stone": {
        None: 150, "wooden_pickaxe": 23, "stone_pickaxe": 12, "iron_pickaxe": 8, "diamond_pickaxe": 6,
        "netherite_pickaxe": 5, "golden_pickaxe": 4,
    },
    "cobblestone": {None: 200, "iron_pickaxe": 10, "diamond_pickaxe": 8},
    "sandstone": {None: 80, "wooden_pickaxe": 12},
    "coal_ore": {"wooden_pickaxe": 45, "diamond_pickaxe": 12},
    "iron_ore": {"wooden_pickaxe": 150, "stone_pickaxe": 23, "iron_pickaxe": 15},
    "diamond_ore": {"iron_pickaxe": 15, "diamond_pickaxe": 12},
    "furnace": {"iron_pickaxe": 18},
    "obsidian": {"diamond_pickaxe": 188, "netherite_pickaxe": 167},
    "netherrack": {None: 40, "wooden_pickaxe": 6},
    "glass": {None: 9},
    "ice": {None: 15, "iron_pickaxe": 3},
    "white_wool": {None: 24, "shears": 5},
    "glowstone": {None: 9},
}  # fmt: skip
_BREAKING = [
    Row("Breaking", f"{block}, {(tool or 'hand').replace('_', ' ')}", ticks, "ticks", "Breaking", 0.0,
        partial(_breaking, block, tool))
    for block, tools in _BREAKING_TICKS.items()
    for tool, ticks in tools.items()
]  # fmt: skip

_FIGHTING = [
    *(
        Row("Fighting", f"damage, {(item or 'hand').replace('_', ' ')}", damage, "half hearts", "Damage", 1e-6,
            partial(_hit, item))
        for item, damage in (
            (None, 1.0), ("wooden_sword", 4.0), ("stone_sword", 5.0), ("iron_sword", 6.0), ("golden_sword", 4.0),
            ("diamond_sword", 7.0), ("netherite_sword", 8.0), ("wooden_axe", 7.0), ("iron_axe", 9.0),
            ("diamond_axe", 9.0), ("diamond_pickaxe", 5.0), ("diamond_shovel", 5.5),
        )
    ),
    Row("Fighting", "damage, diamond sword, 5 ticks after a hit", 7.0 * (0.2 + 0.8 * (5.5 / 12.5) ** 2), "half hearts",
        "Damage", 1e-6, partial(_hit, "diamond_sword", 5)),
    Row("Fighting", "critical damage, diamond sword", 10.5, "half hearts", "Damage", 1e-6,
        partial(_hit, "diamond_sword", 100, True)),
    Row("Fighting", "recovery of a sword", 12.5, "ticks", "Damage", 0.5, partial(_recovery, "diamond_sword")),
    Row("Fighting", "recovery of a wooden axe", 25.0, "ticks", "Damage", 0.5, partial(_recovery, "wooden_axe")),
    Row("Fighting", "damage of a zombie", 3.0, "half hearts", "Zombie", 0.0, _zombie_hit),
    Row("Fighting", "fuse of a creeper", 30.0, "ticks", "Creeper", 1.0, _creeper_fuse),
    Row("Fighting", "greatest damage of a creeper", 43.0, "half hearts", "Creeper", 0.0, _creeper_damage),
]  # fmt: skip

_SHOOTING = [
    *(
        Row("Bow", f"speed of an arrow after {draw} ticks", speed, "blocks/tick", "Bow", 0.1,
            partial(_arrow_speed, draw))
        for draw, speed in ((5, 0.5625), (10, 1.25), (15, 2.0625), (20, 3.0), (40, 3.0))
    ),
    Row("Bow", "climb of an arrow, fully drawn", 64.0, "blocks", "Bow", 3.0, partial(_arrow_climb, 20)),
    Row("Bow", "farthest shot over level ground", 120.0, "blocks", "Arrow", 6.0, _arrow_range),
    Row("Bow", "damage, drawn 10 ticks", 3.0, "half hearts", "Bow", 0.0, partial(_arrow_damage, 10)),
    Row("Bow", "damage, drawn 19 ticks", 6.0, "half hearts", "Bow", 0.0, partial(_arrow_damage, 19)),
    Row("Bow", "least damage, fully drawn", 6.0, "half hearts", "Bow", 0.0,
        lambda: min(_arrow_damage(20, seed) for seed in range(30))),
    Row("Bow", "greatest damage, fully drawn", 11.0, "half hearts", "Bow", 0.0,
        lambda: max(_arrow_damage(20, seed) for seed in range(30))),
]  # fmt: skip

_EATING = [
    *(
        Row("Hunger", f"{what} of {item.replace('_', ' ')}", value, unit, "Food", 1e-9, partial(_eat, item, field))
        for item, food, saturation in (
            ("apple", 4, 2.4), ("bread", 5, 6.0), ("beef", 3, 1.8), ("cooked_beef", 8, 12.8), ("chicken", 2, 1.2),
            ("rotten_flesh", 4, 0.8),
        )
        for what, field, value, unit in (
            ("food", P_FOOD, food, "half drumsticks"),
            ("saturation", P_SATURATION, min(saturation, 2 + food), "points"),
        )
    ),
    Row("Hunger", "time of a meal", 32.0, "ticks", "Food", 0.0, partial(_eat, "bread", S_TIME)),
    Row("Hunger", "exhaustion, per metre of sprinting", 0.1, "points", "Hunger", 1e-9, _exhaustion_of_sprinting),
    Row("Hunger", "exhaustion, per jump", 0.05, "points", "Hunger", 1e-9, _exhaustion_of_jump),
    Row("Hunger", "exhaustion, per jump while sprinting", 0.2, "points", "Hunger", 1e-9,
        partial(_exhaustion_of_jump, forward=1, sprint=1)),
    Row("Hunger", "healing with full food and saturation", 10.0, "ticks", "Hunger", 0.0,
        partial(_healing_ticks, 20, 20)),
    Row("Hunger", "healing with 18 food", 80.0, "ticks", "Hunger", 0.0, partial(_healing_ticks, 18, 0)),
    Row("Hunger", "health that starving leaves, normal difficulty", 1.0, "half hearts", "Hunger", 0.0, _starved_to),
    Row("Hunger", "first harm under water", 320.0, "ticks", "Drowning", 1.0, partial(_drowning, 1)),
    Row("Hunger", "second harm under water", 340.0, "ticks", "Drowning", 1.0, partial(_drowning, 2)),
]  # fmt: skip

_CAMERA = [
    Row("Camera", f"bin {number} of 0 to 10", degrees, "degrees", "mu-law of Video PreTraining", 5e-5,
        partial(_bin, number))
    for number, degrees in enumerate(
        (-10.0, -5.8095, -3.2154, -1.6095, -0.6154, 0.0, 0.6154, 1.6095, 3.2154, 5.8095, 10.0)
    )
]  # fmt: skip

ROWS: tuple[Row, ...] = (*_MOVING, *_FALLS, *_BREAKING, *_FIGHTING, *_SHOOTING, *_EATING, *_CAMERA)


def number(value: float) -> str:
    """A number as the table shows it."""
    return f"{value:.4f}".rstrip("0").rstrip(".") if value else "0"


def table() -> str:
    """The rows as Markdown, ours measured now."""
    lines = []
    for group, rows in itertools.groupby(ROWS, key=lambda row: row.group):
        lines += ["", f"### {group}", "", "| quantity | Minecraft 1.16 | VoxelSim | unit | source |"]
        lines += ["|---|---|---|---|---|"]
        for row in rows:
            ours = number(row.measure())
            lines.append(f"| {row.what} | {number(row.published)} | {ours} | {row.unit} | {row.page} |")
    return "\n".join(lines[1:])

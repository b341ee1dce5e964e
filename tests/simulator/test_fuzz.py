"""Random keys and random commands in all biomes: nothing raises but what is refused, and what must hold holds.

Checked after every few ticks: the player is never inside a block, all numbers are finite and in their ranges, items are
conserved, counters never fall, the world's derived arrays are true; and now and then that a state can be saved and
restored, and that the recorded episode lives through the same states again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.actions import (
    TICK_ATTACK,
    TICK_DROP,
    TICK_FIELDS,
    TICK_FORWARD,
    TICK_HOTBAR,
    TICK_INVENTORY,
    TICK_JUMP,
    TICK_USE,
)
from minestudio_nb.simulator.biomes import BIOMES
from minestudio_nb.simulator.bodies import box_is_free
from minestudio_nb.simulator.commands import execute
from minestudio_nb.simulator.crafting import RECIPES, SMELTING
from minestudio_nb.simulator.engine import VoxelEngine
from minestudio_nb.simulator.mobs import MOB_NAMES
from minestudio_nb.simulator.replay import EpisodeTrace, replay
from minestudio_nb.simulator.rules import FIXED, RULES
from minestudio_nb.simulator.state import (
    A_STATE,
    E_BREAK,
    E_CUSTOM,
    E_DROP,
    E_PICKUP,
    E_USE,
    FULL_HEALTH,
    I_COUNT,
    I_DAMAGE,
    I_ITEM,
    I_Y,
    M_KIND,
    P_FOOD,
    P_HEALTH,
    P_PITCH,
    P_SATURATION,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_LOST_ITEMS,
    S_SNEAKING,
    SimState,
)
from minestudio_nb.simulator.world import rebuild

_BOW, _ARROW = table.item_id("bow"), table.item_id("arrow")
_BUCKETS = [table.item_id(name) for name in ("bucket", "water_bucket", "lava_bucket")]
_USEFUL = (
    "bow", "arrow 64", "diamond_pickaxe", "iron_axe", "golden_sword", "dirt 64", "torch 9", "obsidian 20", "bread 5",
    "water_bucket", "bucket 3", "lava_bucket", "flint_and_steel", "wooden_shovel", "shears", "sand 30", "oak_sapling 4",
)  # fmt: skip
_NONSENSE = ("", "@x", "~~", "nonsense", "-1", "1e400", "{", "[", "@e[", "nan", "\u00e4")
_COMMANDS = (
    "/give @p {item} {count}", "/give {player} {useful}", "/give {player} {useful}", "/give @s {item}",
    "/clear {player} {item} {count}", "/replaceitem entity @s {slot} {item}", "/replaceitem entity @p hotbar.3 air",
    "/kill @e[type={mob}]", "/kill @e[type=!player,limit=2]", "/kill @e[type=item]", "/kill @e[distance=3..9]",
    "/time set {time}", "/time add {count}", "/weather {weather}", "/teleportbiome @a {biome}",
    "/tp @p {near}", "/tp @s ~ ~3 ~ {angle} {angle}", "/tp @e[type={mob}] {near}", "/tp ^1 ^ ^2", "/tp @p {far}",
    "/effect give @p {effect} {count} {level}", "/effect clear @p", "/summon {mob} {near}", "/summon {mob} {near}",
    "/execute at @e[type={mob}] run setblock ~ ~ ~ {block}", "/execute as @p at @p run summon minecraft:{mob} ~1 ~3 ~",
    "/execute if block ~ ~-1 ~ {block} run give @p {item}", "/setblock {near} {block}",
    "/setblock {near} {block} destroy",
    "/fill {near} {near} {block} {mode}", "/fill {near} {near} air", "/difficulty {difficulty}",
    "/gamerule {rule} {value}", "/craft {recipe} {count}", "/craft stick", "/smelt {smelted} 2", "/gamemode survival",
)  # fmt: skip


class Fuzzer:
    """One engine that is played at random, and what must hold for it."""

    def __init__(self, seed: int, biome: str, world_size: int = 32) -> None:
        self.rng = np.random.default_rng(seed)
        self.engine = VoxelEngine(world_seed=seed, biome=biome, pool_size=1, world_size=world_size)
        self.refused = self.done = self.lives = self.ticks = 0
        self.begin()

    def begin(self) -> None:
        """Start a life and its recording."""
        self.engine.reset(self.rng)
        self.lives += 1
        for stack in self.rng.choice(_USEFUL, 6, replace=False):
            execute(self.engine, f"/give @p {stack}", 0)
        self.trace = EpisodeTrace.begin(self.engine, 0)
        self.stats = self.engine.state.stats.copy()

    def pick(self, values: Any) -> str:
        return str(self.rng.choice(list(values)))

    def number(self, low: int, high: int) -> str:
        return str(int(self.rng.integers(low, high + 1)))

    def command(self) -> str:
        """A random command; one in six has a word that is wrong."""
        relative = [self.pick(("~", f"~{self.number(-5, 5)}", f"~{self.rng.uniform(-5, 5):.2f}")) for _ in range(3)]
        command = self.pick(_COMMANDS).format(
            item=self.pick(table.ITEM_NAMES), useful=self.pick(_USEFUL), count=self.number(0, 70),
            player=self.pick(("@p", "@s", "@a", "@r", "@e")), mob=self.pick(MOB_NAMES),
            slot=self.pick(("hotbar.0", "weapon.mainhand", "weapon.offhand", "inventory.5", "armor.head", "horse.1")),
            time=self.pick(("day", "midnight", "13000", "2d")), weather=self.pick(("clear", "rain", "thunder")),
            biome=self.pick(BIOMES), near=" ".join(relative), angle=self.number(-400, 400),
            far=f"{self.number(-(10**6), 10**6)} {self.number(-9, 90)} {self.number(-(10**6), 10**6)}",
            effect=self.pick(("instant_health", "saturation", "night_vision", "resistance")), level=self.number(0, 5),
            block=self.pick([block.name for block in table.BLOCKS]),
            mode=self.pick(("replace", "keep", "hollow", "destroy")),
            difficulty=self.pick(("peaceful", "easy", "normal", "hard")), rule=self.pick((*RULES, *FIXED)),
            value=self.pick(("true", "false", "3")), recipe=self.pick(RECIPES), smelted=self.pick(SMELTING),
        )  # fmt: skip
        if self.rng.random() < 1 / 6:
            words = command.split()
            at = int(self.rng.integers(len(words)))
            words[at : at + 1] = self.pick(_NONSENSE).split()
            command = " ".join(words)
        return command

    def act(self) -> None:
        """Hold random keys for some ticks."""
        rng = self.rng
        row = (rng.random(TICK_FIELDS) < 0.15).astype(np.int32)
        row[TICK_FORWARD], row[TICK_ATTACK], row[TICK_USE] = rng.random(3) < (0.6, 0.5, 0.4)
        row[TICK_JUMP], row[TICK_DROP] = rng.random(2) < (0.3, 0.1)
        row[TICK_HOTBAR] = rng.integers(1, 10) if rng.random() < 0.2 else 0
        row[TICK_INVENTORY] = rng.random() < 0.02
        camera = rng.normal(0.0, 12.0, 2)
        if rng.random() < 0.3:
            camera[0] += (30.0 - self.engine.state.player[P_PITCH]) / 2
        ticks = int(rng.integers(1, 12)) if rng.random() < 0.9 else int(rng.integers(20, 60))
        before = self.snapshot()
        self.ticks += self.engine.run(row, camera, ticks)
        self.check_conservation(before)

    def talk(self) -> None:
        """Say a random command."""
        try:
            execute(self.engine, self.command(), int(self.rng.integers(1 << 31)))
            self.done += 1
        except SimulatorError:
            self.refused += 1

    def snapshot(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, bytes, int]:
        """Items held, items lying, counters, items lost, blocks and mobs."""
        state = self.engine.state
        blocks = state.world.blocks.tobytes()
        mobs = int((state.mobs[:, M_KIND] >= 0).sum())
        return self.held(), self.lying(), state.stats.copy(), int(state.status[S_LOST_ITEMS]), blocks, mobs

    def held(self) -> np.ndarray:
        inventory = self.engine.state.inventory
        return np.bincount(inventory[:, 0], inventory[:, 1], table.NUM_ITEMS)

    def lying(self) -> np.ndarray:
        items = self.engine.state.items
        items = items[items[:, I_ITEM] >= 0]
        return np.bincount(items[:, I_ITEM].astype(int), items[:, I_COUNT], table.NUM_ITEMS)

    def check_conservation(self, before: tuple[np.ndarray, np.ndarray, np.ndarray, int, bytes, int]) -> None:
        """What is held changes by what was picked up, thrown, used up and broken; what lies likewise, and by drops."""
        held, lying, stats, lost, blocks, mobs = before
        after, state = self.snapshot(), self.engine.state
        change = (after[2] - stats).astype(np.int64)
        expected = change[E_PICKUP] - change[E_DROP] - change[E_BREAK]
        used_up = (table.PLACES_BLOCK >= 0) | (table.ITEM_FOOD > 0)
        expected -= np.where(used_up, change[E_USE], 0)
        expected[_ARROW] -= change[E_USE, _BOW]
        gained = (after[0] - held).astype(np.int64)
        buckets = np.isin(np.arange(table.NUM_ITEMS), _BUCKETS)
        assert (gained == expected)[~buckets].all(), self.names(gained - expected)
        # Each use of a bucket makes another of it; one that finds no room lies down.
        assert (gained - expected)[buckets].sum() <= 0
        appeared = (after[1] - lying).astype(np.int64) + change[E_PICKUP] - change[E_DROP]
        appeared[_ARROW] = max(appeared[_ARROW], 0)  # those that stuck in the ground are picked up as arrows
        assert appeared.sum() + after[3] - lost >= 0, "something vanished without being counted"
        if after[4] == blocks and after[5] >= mobs and not change[E_USE, used_up | buckets].any():
            quiet = np.arange(table.NUM_ITEMS) != _ARROW
            assert appeared[quiet].sum() + after[3] - lost == 0 or self.laid_an_egg(appeared), self.names(appeared)
        assert (state.stats >= stats).all(), "a counter fell"

    def laid_an_egg(self, appeared: np.ndarray) -> bool:
        egg = table.item_id("egg")
        return appeared[egg] > 0 and not np.delete(appeared, egg).any()

    def names(self, changes: np.ndarray) -> dict[str, int]:
        return {table.item_name(i): int(changes[i]) for i in np.flatnonzero(changes)}

    def check(self) -> None:
        """All that must hold at any time."""
        state, blocks = self.engine.state, self.engine.state.world.blocks
        for name in ("player", "mobs", "items", "arrows"):
            assert np.isfinite(getattr(state, name)).all(), name
        player = state.player
        height = 1.5 if state.status[S_SNEAKING] else 1.8
        assert box_is_free(blocks, player[P_X], player[P_Y], player[P_Z], 0.3, height), "the player is inside a block"
        assert 0.0 <= player[P_HEALTH] <= FULL_HEALTH
        assert 0.0 <= player[P_SATURATION] <= player[P_FOOD] <= 20.0
        assert -90.0 <= player[P_PITCH] <= 90.0
        assert -180.0 <= player[P_YAW] <= 180.0
        item, count, damage = state.inventory.T
        assert ((count >= 0) & (count <= table.STACK_SIZE[item])).all()
        assert ((count > 0) == (item > 0)).all()
        assert ((damage == 0) | ((damage > 0) & (damage < table.ITEM_DURABILITY[item]))).all()
        lying = state.items[state.items[:, I_ITEM] >= 0]
        kinds = lying[:, I_ITEM].astype(int)
        assert ((lying[:, I_COUNT] >= 1) & (lying[:, I_COUNT] <= table.STACK_SIZE[kinds])).all()
        assert (lying[:, I_DAMAGE] <= np.maximum(0, table.ITEM_DURABILITY[kinds] - 1)).all()
        assert (lying[:, I_Y] >= 0.0).all(), "an item fell out of the world"
        assert np.isin(state.arrows[:, A_STATE], (-1, 0, 1)).all()
        assert state.stats[E_CUSTOM].min() >= 0

    def check_deeply(self) -> None:
        """What is too slow for every step: derived arrays, saving, and the replay of this life."""
        state = self.engine.state
        masks, tops = state.world.masks.copy(), state.world.tops.copy()
        rebuild(state.world.blocks, masks, tops)
        assert (masks == state.world.masks).all()
        assert (tops == state.world.tops).all()
        saved = self.engine.get_state()
        other = VoxelEngine(pool_size=1, world_size=state.world.size)
        other.set_state(saved)
        row = np.zeros(TICK_FIELDS, np.int32)
        row[TICK_FORWARD] = 1
        trace = self.trace.end(self.engine)
        for engine in replay(EpisodeTrace.from_bytes(trace.to_bytes())):
            last = engine.state
        self.assert_equal(last, state, "replayed")
        for engine in (self.engine, other):
            engine.run(row, np.ones(2), 40)
        self.assert_equal(other.state, self.engine.state, "restored")

    @staticmethod
    def assert_equal(first: SimState, second: SimState, what: str) -> None:
        for name in SimState.ARRAYS:
            assert getattr(first, name).tobytes() == getattr(second, name).tobytes(), f"{name} differs when {what}"
        assert first.world.blocks.tobytes() == second.world.blocks.tobytes(), what

    def run(self, steps: int, deep_every: int, talk: float = 0.1) -> None:
        """Play for some steps; a life ends with death, or after ``deep_every`` steps with the deep check."""
        for step in range(1, steps + 1):
            if self.rng.random() < talk:
                self.talk()
            else:
                self.act()
            self.check()
            if self.engine.dead or step % deep_every == 0:
                self.check_deeply()
                self.begin()


@pytest.mark.parametrize("biome", sorted(BIOMES))
def test_random_play_keeps_all_that_must_hold(biome: str) -> None:
    fuzzer = Fuzzer(7, biome)
    fuzzer.run(steps=240, deep_every=120)
    assert fuzzer.ticks > 500


def test_random_commands_are_carried_out_or_refused() -> None:
    fuzzer = Fuzzer(3, "plains")
    fuzzer.run(steps=600, deep_every=300, talk=0.7)
    assert fuzzer.done > 100
    assert fuzzer.refused > 30


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(4))
def test_hours_of_random_play(seed: int) -> None:
    """More than an hour of game time in each biome, for each seed."""
    for number, biome in enumerate(sorted(BIOMES)):
        fuzzer = Fuzzer(100 * seed + number, biome, world_size=64)
        while fuzzer.ticks < 72_000:
            fuzzer.run(steps=1000, deep_every=500, talk=0.05)

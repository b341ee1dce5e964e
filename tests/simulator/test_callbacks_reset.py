"""Callbacks that say how an episode starts, against MineStudio's semantics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import VoxelSim
from minestudio_nb.simulator.blocks import ITEM_NAMES, block_id
from minestudio_nb.simulator.callbacks import (
    FastResetCallback,
    HardResetCallback,
    InitInventoryCallback,
    MinecraftCallback,
)
from minestudio_nb.simulator.callbacks.resets import Quantity
from minestudio_nb.simulator.state import P_X, P_Z, S_RAIN, S_TIME


def make(*callbacks: MinecraftCallback, **options: Any) -> VoxelSim:
    options = {"obs_size": (16, 16), "render_size": (32, 18), "world_size": 32, "pool_size": 2, **options}
    return VoxelSim(callbacks=callbacks, **options)


def test_fast_reset_starts_in_its_biomes_from_the_second_reset_on() -> None:
    callback = FastResetCallback(biomes=["desert"], random_tp_range=1000, start_time=6000, start_weather="rain")
    sim = make(callback, preferred_spawn_biome="plains", num_empty_frames=3, inventory={0: "dirt"})
    assert sim.reset()[1]["location_stats"]["biome"] == "plains"
    sim.engine.state.world.set(5, 60, 5, block_id("stone"))
    _, info = sim.reset()
    assert info["location_stats"]["biome"] == "desert"
    assert info["inventory"][0]["type"] == "dirt"
    assert sim.engine.state.status[[S_TIME, S_RAIN]].tolist() == [6003, 1]
    assert sim.engine.state.world.get(5, 60, 5) == 0
    with pytest.raises(SimulatorError, match="nearest"):
        FastResetCallback(biomes=["dessert"], random_tp_range=1)
    with pytest.raises(SimulatorError, match="weather"):
        FastResetCallback(biomes=["desert"], random_tp_range=1, start_weather="hail")


def test_a_hard_reset_builds_the_world_of_its_seed_and_goes_to_its_place() -> None:
    place = {"seed": 7, "position": [12.5, 64, -3.5]}
    one, other = make(HardResetCallback([place]), seed=1), make(HardResetCallback([place]), seed=2)
    for sim in (one, other):
        for _ in range(2):
            info = sim.reset()[1]
            assert (info["player_pos"]["x"], info["player_pos"]["z"]) == (12.5, -3.5)
            assert info["health"] == 20.0, "nobody falls from the height of Minecraft's worlds"
            assert sim.engine.state.status[S_TIME] == 20 + 50, "MineStudio lets the world settle for 50 ticks"
    np.testing.assert_array_equal(one.engine.state.world.blocks, other.engine.state.world.blocks)
    far = make(HardResetCallback([{"seed": 8, "position": [12.5, 64, -3.5]}]))
    far.reset()
    assert (far.engine.state.world.blocks != one.engine.state.world.blocks).any()


def test_a_hard_reset_draws_among_its_places_and_wins_over_a_fast_one() -> None:
    places = [{"seed": 1, "position": [4.5, 30, 4.5]}, {"seed": 2, "position": [20.5, 30, 20.5]}]
    sim = make(HardResetCallback(places))
    seen = set()
    for _ in range(12):
        sim.reset()
        x, z = sim.engine.state.player[[P_X, P_Z]]
        assert x == z == {1: 4.5, 2: 20.5}[sim.engine.choice.seed]
        seen.add(sim.engine.choice.seed)
    assert seen == {1, 2}
    state = sim.get_state()
    again = make(HardResetCallback(places))
    again.set_state(state)
    np.testing.assert_array_equal(again.engine.state.world.blocks, sim.engine.state.world.blocks)
    for broken in ([], [{"seed": 1}], [{"seed": "a", "position": [0, 1, 2]}], [{"seed": 1, "position": [0, 1]}]):
        with pytest.raises(SimulatorError, match="HardResetCallback needs"):
            HardResetCallback(broken)


def test_items_are_put_into_their_slots() -> None:
    wanted = [
        {"slot": 0, "type": "oak_planks", "quantity": 3},
        {"slot": "8", "type": "minecraft:stone", "quantity": ">=64"},
        {"slot": 20, "type": "dirt", "quantity": "<12,>10"},
        {"slot": 40, "type": "obsidian", "quantity": 64},
        {"slot": "random", "type": "diamond_axe", "quantity": "random"},
    ]
    sim = make(InitInventoryCallback(wanted), inventory={1: "torch"})
    slots = set()
    for _ in range(8):
        inventory = sim.reset()[1]["inventory"]
        held = {slot: (stack["type"], stack["quantity"]) for slot, stack in inventory.items() if stack["quantity"]}
        drawn = {slot for slot, (item, _) in held.items() if item == "diamond_axe"}
        assert len(drawn) == 1
        slots |= drawn
        fixed = {0: ("oak_planks", 3), 8: ("stone", 64), 20: ("dirt", 11), 40: ("obsidian", 64)}
        assert fixed.items() <= held.items()
    assert len(slots) > 2
    assert not slots & {0, 8, 20, 40}


def test_distractions_fill_other_slots_with_known_items() -> None:
    wanted = [{"slot": slot, "type": "dirt", "quantity": 1} for slot in range(4)]
    sim = make(InitInventoryCallback(wanted, distraction_level="middle"))
    numbers = set()
    for _ in range(6):
        inventory = sim.reset()[1]["inventory"]
        assert [inventory[slot]["type"] for slot in range(4)] == ["dirt"] * 4
        others = [stack for slot, stack in inventory.items() if slot >= 4 and stack["quantity"]]
        assert {stack["type"] for stack in others} <= set(ITEM_NAMES)
        numbers.add(len(others))
    assert numbers <= set(range(7, 16)) and len(numbers) > 1
    full = make(InitInventoryCallback(wanted, distraction_level=[99]))
    assert sum(stack["quantity"] > 0 for stack in full.reset()[1]["inventory"].values()) == 36


def test_quantities() -> None:
    rng = np.random.default_rng(0)
    assert {Quantity(">2", 5).draw(rng) for _ in range(60)} == {3, 4, 5}
    assert {Quantity("< 3", 64).draw(rng) for _ in range(40)} == {1, 2}, "a slot with nothing in it is no item"
    draws = [Quantity("random", 64).draw(rng) for _ in range(500)]
    assert 0.65 < draws.count(1) / 500 < 0.76 and max(draws) > 50
    for wanted, stack in (("<1", 64), (65, 64), (2, 1), (">5,<5", 64), ("many", 64), ("", 64)):
        with pytest.raises(SimulatorError):
            Quantity(wanted, stack)


@pytest.mark.parametrize(
    ("entry", "message"),
    [({"slot": 41}, "No inventory slot"), ({"type": "drit"}, "nearest name is 'dirt'"), ({"metadata": "x"}, "takes")],
)
def test_inventories_that_cannot_be_are_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulatorError, match=message):
        make(InitInventoryCallback([{"slot": 0, "type": "dirt", "quantity": 1, **entry}]))
    with pytest.raises(SimulatorError, match="zero, one, easy"):
        InitInventoryCallback([], distraction_level="very")

"""Chat commands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import VoxelSim
from minestudio_nb.simulator.blocks import block_id
from minestudio_nb.simulator.state import (
    M_KIND,
    M_X,
    P_HEALTH,
    P_X,
    P_Y,
    P_Z,
    S_INVULNERABLE,
    S_NIGHT_VISION,
    S_RAIN,
    S_TIME,
)


@pytest.fixture
def sim() -> VoxelSim:
    sim = VoxelSim(obs_size=(16, 16), render_size=(32, 18), world_size=32, pool_size=2)
    sim.reset()
    return sim


def run(sim: VoxelSim, command: str) -> dict[str, Any]:
    return dict(sim.env.execute_cmd(command)[-1])


def kinds(sim: VoxelSim) -> list[int]:
    return sorted(int(k) for k in sim.engine.state.mobs[:, M_KIND] if k >= 0)


def test_give_and_clear(sim: VoxelSim) -> None:
    info = run(sim, "/give @p minecraft:diamond_pickaxe 1")
    assert info["inventory"][0] == {"type": "diamond_pickaxe", "quantity": 1}
    info = run(sim, "/give @s arrow 100")
    assert [info["inventory"][slot]["quantity"] for slot in (1, 2)] == [64, 36]
    assert run(sim, "/clear @p arrow")["inventory"][1]["type"] == "none"
    assert run(sim, "/clear")["inventory"][0]["type"] == "none"


def test_replaceitem(sim: VoxelSim) -> None:
    info = run(sim, "/replaceitem entity @s weapon.offhand minecraft:obsidian 64")
    assert info["inventory"][40] == {"type": "obsidian", "quantity": 64}
    assert run(sim, "/replaceitem entity @s hotbar.4 air")["inventory"][4]["type"] == "none"


def test_time_and_weather(sim: VoxelSim) -> None:
    run(sim, "/time set 6000")
    assert sim.engine.state.status[S_TIME] == 6001, "one tick passes"
    run(sim, "/time set midnight")
    run(sim, "/time add 10")
    assert sim.engine.state.status[S_TIME] == 18012
    run(sim, "/weather rain")
    assert sim.engine.state.status[S_RAIN] == 1


def test_summon_and_kill(sim: VoxelSim) -> None:
    x, z = sim.engine.state.player[[P_X, P_Z]]
    run(sim, "/summon minecraft:sheep ~2 ~3 ~1")
    run(sim, "/execute as @p at @p run summon minecraft:cow ~1.5 ~3 ~-2 {Age:0}")
    run(sim, "/summon pig")
    assert kinds(sim) == [0, 1, 2]
    assert sim.engine.state.mobs[0, M_X] == pytest.approx(x + 2, abs=0.2)
    run(sim, "/kill @e[type=cow]")
    assert kinds(sim) == [1, 2]
    run(sim, "/kill @e[type=item]")
    assert kinds(sim) == [1, 2]
    run(sim, "/kill @e[type=!player]")
    assert kinds(sim) == []
    assert not sim.engine.dead
    assert run(sim, "/kill @s")["is_dead"]
    assert np.isfinite(z)


def test_teleport_goes_anywhere_and_never_into_blocks(sim: VoxelSim) -> None:
    run(sim, "/tp 1000 40 -2000")
    assert sim.engine.state.player[[P_X, P_Z]].tolist() == [1000.0, -2000.0]
    run(sim, "/tp @s ~ 5 ~")
    assert sim.engine.state.player[P_Y] > 10.0


def test_teleportbiome_changes_the_world_and_keeps_the_inventory(sim: VoxelSim) -> None:
    run(sim, "/give @p dirt 3")
    info = run(sim, "/teleportbiome @a desert 10 ~0 20")
    assert info["location_stats"]["biome"] == "desert"
    assert info["inventory"][0] == {"type": "dirt", "quantity": 3}


def test_setblock_and_fill(sim: VoxelSim) -> None:
    run(sim, "/setblock 3 50 4 minecraft:gold_block")
    assert sim.engine.state.world.get(3, 50, 4) == block_id("gold_block")
    run(sim, "/fill 0 55 0 2 56 1 glass")
    blocks = sim.engine.state.world.blocks
    assert (blocks == block_id("glass")).sum() == 12


def test_effects(sim: VoxelSim) -> None:
    sim.engine.state.player[P_HEALTH] = 10.0
    run(sim, "/effect give @s instant_health 1 0")
    assert sim.engine.state.player[P_HEALTH] == 14.0
    run(sim, "/effect give @p minecraft:night_vision 60")
    run(sim, "/effect give @p resistance 10 4")
    assert sim.engine.state.status[[S_NIGHT_VISION, S_INVULNERABLE]].tolist() == [1198, 199]
    run(sim, "/effect clear @p")
    assert sim.engine.state.status[[S_NIGHT_VISION, S_INVULNERABLE]].sum() == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/dance", "not known here; known are"),
        ("", "not known here"),
        ("/give @e dirt", "one player"),
        ("/give @p dirtt", "nearest name is 'dirt'"),
        ("/give @p", "cannot be read"),
        ("/give @p dirt many", "cannot be read"),
        ("/time set", "cannot be read"),
        ("/weather hail", "clear, rain, thunder"),
        ("/kill @e[distance=..3]", "takes a player"),
        ("/summon minecraft:dragon", "cow, sheep, pig"),
        ("/tp 1 2", "three coordinates"),
        ("/fill 0 0 0 40 40 40 stone", "32768"),
        ("/effect give @p levitation", "instant_health"),
        ("/replaceitem block 0 0 0 x", "replaceitem entity"),
    ],
)
def test_what_is_not_known_is_an_error(sim: VoxelSim, command: str, message: str) -> None:
    with pytest.raises(SimulatorError, match=message):
        sim.env.execute_cmd(command)

"""Chat commands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import VoxelSim
from minestudio_nb.simulator.blocks import block_id, item_id, item_name
from minestudio_nb.simulator.state import (
    E_CRAFT,
    E_PICKUP,
    I_COUNT,
    I_ITEM,
    M_HEALTH,
    M_KIND,
    M_X,
    M_Y,
    P_HEALTH,
    P_PITCH,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_DIFFICULTY,
    S_INVULNERABLE,
    S_NIGHT_VISION,
    S_RAIN,
    S_SLOT,
    S_TIME,
)


@pytest.fixture
def sim() -> VoxelSim:
    sim = VoxelSim(obs_size=(16, 16), render_size=(32, 18), world_size=32, pool_size=2)
    sim.reset()
    return sim


def run(sim: VoxelSim, command: str) -> dict[str, Any]:
    return dict(sim.env.execute_cmd(command)[-1])


def stacks(sim: VoxelSim) -> dict[str, int]:
    """What lies about, and how many of it in all."""
    counts: dict[str, int] = {}
    for row in sim.engine.state.items:
        if row[I_ITEM] >= 0:
            name = item_name(int(row[I_ITEM]))
            counts[name] = counts.get(name, 0) + int(row[I_COUNT])
    return counts


def kinds(sim: VoxelSim) -> list[int]:
    return sorted(int(k) for k in sim.engine.state.mobs[:, M_KIND] if k >= 0)


def test_a_gift_of_air_is_none(sim: VoxelSim) -> None:
    run(sim, "/give @s air 3")
    assert not sim.engine.state.inventory.any()


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
    assert stacks(sim), "what is killed leaves its drops"
    run(sim, "/kill @e[type=item]")
    assert not stacks(sim)
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
        ("/replaceitm", "nearest is 'replaceitem'"),
        ("", "not known here"),
        ("/give @e dirt", "one player"),
        ("/give @p dirtt", "nearest name is 'dirt'"),
        ("/give @p", "cannot be read"),
        ("/give @p dirt many", "cannot be read"),
        ("/time set", "cannot be read"),
        ("/weather hail", "clear, rain, thunder"),
        ("/kill @e[name=Bob]", "type, distance, limit and sort"),
        ("/kill @e[type=cowe]", "nearest name is 'cow'"),
        ("/kill cow", "selector is @p"),
        ("/execute run execute run dance", "not known here"),
        ("/execute facing entity @p run kill", "knows as, at"),
        ("/give @p bow{Enchantments:1}", "only Damage"),
        ("/give @p bow{Damage:9999}", "wears out at 384"),
        ("/setblock 1 2 3 chest{LootTable:1}", "no data"),
        ("/setblock 1 2 3 stone fast", "replace, keep or destroy"),
        ("/replaceitem entity @s enderchest.3 dirt", "No inventory slot"),
        ("/gamemode creative", "only game mode here is survival"),
        ("/gamerule keepInventroy true", "nearest is 'keepInventory'"),
        ("/gamerule doMobSpawning true", "only be false"),
        ("/gamerule doDaylightCycle 3", "true or false"),
        ("/difficulty hardcore", "peaceful, easy"),
        ("/time set noo", "cannot be read"),
        ("/time set -5", "not negative"),
        ("/tp 1 2 1e99", "30 million"),
        ("/tp ^ ^ 3", "do not mix"),
        ("/tp @s 1 50 2 nan 0", "finite"),
        ("/tp @s 1 50 2 90", "two angles"),
        ("/tp nan 50 2", "30 million"),
        ("/clear @p dirt -3", "a count is 0"),
        ("/kill @e[type=cow,limit=-1]", "at least 1"),
        ("/summon cow ~ ~ ~ {Health:nan}", "finite"),
        ("/summon cow ~ ~ ~ {Health:-3}", "positive"),
        ("/summon cow ~ ~ ~ {NoAI:1b}", "Age"),
        ("/craft stone", "no recipe for stone"),
        ("/craft stick", "2 planks"),
        ("/craft chest", "crafting table within"),
        ("/smelt dirt", "not smelted"),
        ("/smelt glass", "furnace within"),
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


def test_what_has_no_room_is_dropped_at_the_feet(sim: VoxelSim) -> None:
    run(sim, "/give @p diamond_axe 40")
    assert (sim.engine.state.inventory[:36, 1] == 1).all()
    assert stacks(sim) == {"diamond_axe": 4}
    assert sim.engine.state.stats[E_PICKUP].sum() == 0, "what is given is not picked up"


def test_clear_takes_as_many_as_it_is_told(sim: VoxelSim) -> None:
    run(sim, "/give @p dirt 100")
    info = run(sim, "/clear @s dirt 70")
    assert [info["inventory"][slot]["quantity"] for slot in (0, 1)] == [0, 30]
    run(sim, "/clear @s dirt 0")
    assert sim.engine.state.inventory[1, 1] == 30


def test_replaceitem_knows_the_selected_slot_and_wear(sim: VoxelSim) -> None:
    sim.step(sim.env_action_to_agent_action({"hotbar.4": 1}))
    assert sim.engine.state.status[S_SLOT] == 3
    run(sim, "/replaceitem entity @p weapon.mainhand minecraft:bow{Damage:10} 1")
    assert sim.engine.state.inventory[3].tolist() == [item_id("bow"), 1, 10]
    assert run(sim, "/replaceitem entity @p weapon air")["inventory"][3]["type"] == "none"


def test_selectors(sim: VoxelSim) -> None:
    for offset in (2, 4, 6):
        run(sim, f"/summon cow ~{offset} ~ ~")
    run(sim, "/summon sheep ~3 ~ ~")
    run(sim, "/kill @e[type=cow,sort=nearest,limit=1]")
    assert kinds(sim) == [0, 0, 1]
    assert sim.engine.state.mobs[0, M_KIND] == -1, "the nearest"
    run(sim, "/kill @e[type=!player,type=!sheep,type=!item]")
    assert kinds(sim) == [1]
    run(sim, "/kill @e[type=sheep,distance=40..]")
    assert kinds(sim) == [1]
    run(sim, "/kill @e[type=sheep,distance=..9]")
    assert kinds(sim) == []
    assert not sim.engine.dead
    run(sim, "/kill @e")
    assert sim.engine.dead


def test_execute_goes_from_entity_to_entity(sim: VoxelSim) -> None:
    run(sim, "/summon cow ~4 ~ ~")
    run(sim, "/summon cow ~-4 ~ ~")
    run(sim, "/execute at @e[type=cow] run summon pig ~ ~1 ~")
    assert kinds(sim) == [0, 0, 2, 2]
    run(sim, "/execute as @e[type=cow] run kill @s")
    assert kinds(sim) == [2, 2]
    run(sim, "/execute positioned 3 50 4 run setblock ~ ~ ~1 glass")
    assert sim.engine.state.world.get(3, 50, 5) == block_id("glass")
    run(sim, "/execute if block 3 50 5 glass unless entity @e[type=cow] run setblock 3 50 5 stone")
    assert sim.engine.state.world.get(3, 50, 5) == block_id("stone")
    run(sim, "/execute if entity @e[type=cow] run kill @p")
    assert not sim.engine.dead


def test_tp_turns_and_goes_to_others(sim: VoxelSim) -> None:
    run(sim, "/tp @s 10 50 10 90 30")
    player = sim.engine.state.player
    assert (player[P_X], player[P_YAW], player[P_PITCH]) == (10.0, 90.0, 30.0)
    run(sim, "/tp @s 10 50 10 90 0")
    run(sim, "/tp ^ ^ ^5")
    assert player[P_X] == pytest.approx(5.0), "yaw 90 looks to -x"
    run(sim, "/summon cow 20 50 20")
    run(sim, "/tp @s @e[type=cow]")
    assert player[[P_X, P_Z]] == pytest.approx([20.0, 20.0], abs=0.3)
    run(sim, "/tp @e[type=cow] ~3 ~ ~")
    assert sim.engine.state.mobs[0, M_X] - player[P_X] == pytest.approx(3.0, abs=0.3)


def test_blocks_put_over_bodies_lift_them(sim: VoxelSim) -> None:
    y = float(sim.engine.state.player[P_Y])
    run(sim, "/summon cow ~ ~ ~")
    run(sim, "/execute as @p at @s run fill ~-1 ~ ~-1 ~1 ~1 ~1 minecraft:dirt")
    assert sim.engine.state.player[P_Y] == pytest.approx(y + 2.0, abs=0.2)
    assert sim.engine.state.mobs[0, M_Y] >= y + 1.5


def test_fill_modes(sim: VoxelSim) -> None:
    blocks = sim.engine.state.world.blocks
    glass, stone = block_id("glass"), block_id("stone")
    run(sim, "/fill 0 50 0 4 54 4 glass outline")
    assert (blocks == glass).sum() == 5**3 - 3**3
    run(sim, "/setblock 2 52 2 stone")
    run(sim, "/fill 0 50 0 4 54 4 glass keep")
    assert (blocks == glass).sum() == 5**3 - 1
    run(sim, "/fill 0 50 0 4 54 4 air replace glass")
    assert (blocks == glass).sum() == 0
    assert blocks[2, 2, 52] == stone
    run(sim, "/fill 0 50 0 4 54 4 glass hollow")
    assert (blocks == glass).sum() == 98
    assert blocks[2, 2, 52] == 0
    run(sim, "/setblock 2 52 2 diamond_ore")
    run(sim, "/setblock 2 52 2 air destroy")
    assert stacks(sim)["diamond"] == 1
    run(sim, "/fill 2 52 2 2 52 2 lava 0 replace air")
    assert blocks[2, 2, 52] == block_id("lava")


def test_difficulty_and_rules(sim: VoxelSim) -> None:
    run(sim, "/summon zombie ~5 ~ ~")
    run(sim, "/summon cow ~5 ~ ~")
    run(sim, "/difficulty peaceful")
    assert kinds(sim) == [0]
    run(sim, "/summon zombie ~5 ~ ~")
    assert kinds(sim) == [0]
    run(sim, "/difficulty hard")
    assert sim.engine.state.status[S_DIFFICULTY] == 3
    run(sim, "/gamerule doDaylightCycle false")
    run(sim, "/time set noon")
    sim.engine.idle(10)
    assert sim.engine.state.status[S_TIME] == 6000
    run(sim, "/gamerule doMobLoot false")
    run(sim, "/kill @e[type=cow]")
    assert not stacks(sim)
    for harmless in ("/gamerule keepInventory true", "/gamerule randomTickSpeed 0", "/gamemode survival"):
        run(sim, harmless)
    run(sim, "/time set 1d")
    assert sim.engine.state.status[S_TIME] == 24000


def test_a_summoned_mob_has_the_health_that_it_was_given(sim: VoxelSim) -> None:
    run(sim, "/summon cow ~5 ~ ~ {Age:0,Health:3.0f}")
    assert sim.engine.state.mobs[0, M_HEALTH] == 3.0


def test_from_logs_to_a_stone_pickaxe(sim: VoxelSim) -> None:
    run(sim, "/give @p oak_log 3")
    run(sim, "/give @p cobblestone 11")
    run(sim, "/craft oak_planks 12")
    run(sim, "/craft stick")
    run(sim, "/craft crafting_table")
    with pytest.raises(SimulatorError, match="crafting table within"):
        run(sim, "/craft minecraft:stone_pickaxe")
    run(sim, "/setblock ~2 ~ ~ crafting_table")
    run(sim, "/craft minecraft:stone_pickaxe")
    run(sim, "/craft furnace")
    counts = {row["type"]: row["quantity"] for row in run(sim, "/time add 1")["inventory"].values() if row["quantity"]}
    assert counts == {"oak_planks": 6, "stick": 2, "crafting_table": 1, "stone_pickaxe": 1, "furnace": 1}
    made = {name: int(sim.engine.state.stats[E_CRAFT, item_id(name)]) for name in counts}
    assert made == {"oak_planks": 12, "stick": 4, "crafting_table": 1, "stone_pickaxe": 1, "furnace": 1}


def test_smelting_takes_fuel(sim: VoxelSim) -> None:
    run(sim, "/setblock ~2 ~ ~ furnace")
    run(sim, "/give @p iron_ore 9")
    with pytest.raises(SimulatorError, match="fuel"):
        run(sim, "/smelt iron_ingot 9")
    run(sim, "/give @p coal 3")
    run(sim, "/smelt iron_ingot 9")
    state = sim.engine.state
    rows = state.inventory[state.inventory[:, 1] > 0].tolist()
    assert sorted(rows) == sorted([[item_id("coal"), 1, 0], [item_id("iron_ingot"), 9, 0]]), "one coal smelts eight"
    assert state.stats[E_CRAFT, item_id("iron_ingot")] == 9


def test_a_lenient_simulation_passes_over_what_it_does_not_know_with_one_warning() -> None:
    sim = VoxelSim(obs_size=(16, 16), world_size=32, pool_size=1, unknown_commands="warn")
    sim.reset()
    with pytest.warns(UserWarning, match=r"'/summon minecraft:boat' is ignored.*nearest"):
        sim.env.execute_cmd("/summon minecraft:boat")
    sim.env.execute_cmd("/summon minecraft:boat")  # a second warning would be an error here
    with pytest.warns(UserWarning, match="ignored"):
        sim.env.execute_cmd("/dance")
    sim.env.execute_cmd("/give @p dirt")
    assert sim.engine.state.inventory[0, 1] == 1
    with pytest.raises(SimulatorError, match="'error' or 'warn'"):
        VoxelSim(unknown_commands="maybe")

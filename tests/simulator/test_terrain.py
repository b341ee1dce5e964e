"""Worlds from a seed."""

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import biomes, terrain
from minestudio_nb.simulator.blocks import SOLID, block_id


def _share(world, name):
    return float((world.blocks == block_id(name)).mean())


@pytest.mark.parametrize("biome", list(biomes.BIOMES))
def test_every_biome_can_be_lived_in(biome):
    world = terrain.generate(1, biome, 64)
    rebuilt = world.copy()
    rebuilt.rebuild()
    assert np.array_equal(world.masks, rebuilt.masks)
    assert np.array_equal(world.tops, rebuilt.tops)
    assert (world.blocks[:, :, 0] == block_id("bedrock")).all()
    assert (world.blocks[:, :, -1] == 0).all()
    x, y, z = world.spawn
    assert SOLID[world.get(x, y - 1, z)]
    assert not SOLID[world.get(x, y, z)] and not SOLID[world.get(x, y + 1, z)]
    assert _share(world, "coal_ore") > 0


def test_there_is_land_in_every_ocean():
    for seed in range(30):
        world = terrain.generate(seed, "ocean", 32)
        x, y, z = world.spawn
        assert SOLID[world.get(x, y - 1, z)]


def test_the_same_seed_gives_the_same_world():
    first, second, other = (terrain.generate(seed, "forest", 64) for seed in (5, 5, 6))
    assert np.array_equal(first.blocks, second.blocks)
    assert first.spawn == second.spawn
    assert not np.array_equal(first.blocks, other.blocks)


def test_worlds_stay_what_they_are():
    """A change here changes every recorded episode: it needs a reason and a note to users."""
    world = terrain.generate(2024, "dense_forest", 32)
    counts = {name: int((world.blocks == block_id(name)).sum()) for name in ("oak_log", "oak_leaves", "water", "stone")}
    assert counts == {"oak_log": 89, "oak_leaves": 934, "water": 0, "stone": 21495}


def test_biomes_look_like_their_names():
    worlds = {name: terrain.generate(3, name, 128) for name in biomes.BIOMES}
    woods = ("oak", "birch", "spruce", "jungle", "acacia", "dark_oak")
    logs = {name: sum(_share(world, f"{wood}_log") for wood in woods) for name, world in worlds.items()}
    assert logs["dense_forest"] > 1.5 * logs["forest"] > 3 * logs["plains"] > 0
    assert logs["desert"] == 0
    assert _share(worlds["desert"], "sand") > 0.01 and _share(worlds["desert"], "cactus") > 0
    assert _share(worlds["birch_forest"], "birch_log") > _share(worlds["birch_forest"], "oak_log")
    assert worlds["mountains"].tops.max() > worlds["plains"].tops.max() + 8
    assert _share(worlds["mountains"], "snow_block") > 0
    assert _share(worlds["mountains"], "water") > 0
    assert logs["jungle"] > logs["forest"] and _share(worlds["jungle"], "jungle_log") > 0.6 * logs["jungle"]
    assert _share(worlds["dark_forest"], "dark_oak_log") > _share(worlds["dark_forest"], "oak_log")
    assert _share(worlds["savanna"], "acacia_log") > 0 and logs["savanna"] < logs["forest"]
    assert _share(worlds["badlands"], "terracotta") > 0.1 and _share(worlds["badlands"], "red_sand") > 0.01
    for name in ("snowy_tundra", "snowy_taiga"):
        assert _share(worlds[name], "snow_block") > 0.01 and _share(worlds[name], "ice") > 0
    assert logs["snowy_taiga"] > 3 * logs["snowy_tundra"] > 0
    under_water = {name: float((world.tops == biomes.BIOMES[name].water).mean()) for name, world in worlds.items()}
    assert under_water["ocean"] > 0.7 > under_water["beach"] > 0.3 > under_water["plains"]
    assert 0.15 < under_water["swamp"] < 0.6


def test_the_land_wraps_without_a_step():
    heights = terrain._heights(np.random.default_rng(0), 128, biomes.BIOMES["mountains"])
    inside = np.abs(np.diff(heights, axis=0)).max()
    assert np.abs(heights[0] - heights[-1]).max() <= inside


def test_trees_stand_on_dirt_and_are_whole():
    world = terrain.generate(9, "dense_forest", 64)
    log = block_id("oak_log")
    xs, zs, ys = np.nonzero(world.blocks == log)
    lowest = {}
    for x, z, y in zip(xs, zs, ys, strict=True):
        lowest[x, z] = min(lowest.get((x, z), 99), y)
    assert len(lowest) > 20
    for (x, z), y in lowest.items():
        assert world.get(x, y - 1, z) == block_id("dirt")
        assert (world.blocks[x, z, y : y + 4] == log).all()


OVERWORLD = """
ocean deep_ocean frozen_ocean deep_frozen_ocean cold_ocean deep_cold_ocean lukewarm_ocean deep_lukewarm_ocean
warm_ocean deep_warm_ocean river frozen_river beach stone_shore snowy_beach forest wooded_hills flower_forest
birch_forest birch_forest_hills tall_birch_forest tall_birch_hills dark_forest dark_forest_hills jungle jungle_hills
modified_jungle jungle_edge modified_jungle_edge bamboo_jungle bamboo_jungle_hills taiga taiga_hills taiga_mountains
snowy_taiga snowy_taiga_hills snowy_taiga_mountains giant_tree_taiga giant_tree_taiga_hills giant_spruce_taiga
giant_spruce_taiga_hills mushroom_fields mushroom_field_shore swamp swamp_hills savanna savanna_plateau
shattered_savanna shattered_savanna_plateau plains sunflower_plains desert desert_hills desert_lakes snowy_tundra
snowy_mountains ice_spikes mountains wooded_mountains gravelly_mountains modified_gravelly_mountains mountain_edge
badlands badlands_plateau modified_badlands_plateau wooded_badlands_plateau modified_wooded_badlands_plateau
eroded_badlands
"""


def test_every_biome_of_the_overworld_means_one_of_ours():
    assert len(OVERWORLD.split()) == 68
    for name in OVERWORLD.split():
        assert biomes.biome_name(f"minecraft:{name}") in biomes.BIOMES
    assert biomes.biome_name("giant_tree_taiga") == "taiga"
    for name in ("nether_wastes", "the_end", "mushrooms"):
        with pytest.raises(SimulatorError, match="The nearest is"):
            biomes.biome_name(name)


def test_all_kinds_of_trees_are_whole():
    """Every log of a trunk touches another or the ground, and every crown has leaves of its kind."""
    for name, wood in (("jungle", "jungle"), ("savanna", "acacia"), ("dark_forest", "dark_oak")):
        world = terrain.generate(9, name, 64)
        log, leaves = block_id(f"{wood}_log"), block_id(f"{wood}_leaves")
        xs, zs, ys = np.nonzero(world.blocks == log)
        assert len(xs) > 20
        for x, z, y in zip(xs.tolist(), zs.tolist(), ys.tolist(), strict=True):
            near = [(dx, dy, dz) for dx in (-1, 0, 1) for dy in (-1, 0) for dz in (-1, 0, 1) if dy or dx or dz]
            assert any(SOLID[world.get(x + dx, y + dy, z + dz)] for dx, dy, dz in near)
        assert (world.blocks == leaves).sum() > 2 * len(xs)


def test_names_of_biomes():
    assert biomes.resolve_biome("minecraft:extreme_hills") is biomes.BIOMES["mountains"]
    assert biomes.resolve_biome(None) is biomes.BIOMES[biomes.DEFAULT_BIOME]
    with pytest.raises(SimulatorError, match="desert"):
        biomes.resolve_biome("dessert")


def test_a_pool_gives_copies_and_knows_its_worlds_by_index():
    pool, again, held_out = (terrain.WorldPool(seed, "plains", 2, 32) for seed in (1, 1, 2))
    target = terrain.World.empty(32)
    pool.copy_into(3, target)
    assert np.array_equal(target.blocks, again.world(1).blocks)
    assert not np.array_equal(pool.world(0).blocks, pool.world(1).blocks)
    assert not np.array_equal(pool.world(0).blocks, held_out.world(0).blocks)
    target.set(0, 40, 0, 1)
    assert pool.world(1).get(0, 40, 0) == 0
    with pytest.raises(SimulatorError, match="at least one"):
        terrain.WorldPool(1, count=0)

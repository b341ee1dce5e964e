"""Worlds from a seed."""

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import terrain
from minestudio_nb.simulator.blocks import SOLID, block_id


def _share(world, name):
    return float((world.blocks == block_id(name)).mean())


@pytest.mark.parametrize("biome", list(terrain.BIOMES))
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
    worlds = {name: terrain.generate(3, name, 128) for name in terrain.BIOMES}
    logs = {
        name: _share(world, "oak_log") + _share(world, "birch_log") + _share(world, "spruce_log")
        for name, world in worlds.items()
    }
    assert logs["dense_forest"] > 1.5 * logs["forest"] > 3 * logs["plains"] > 0
    assert logs["desert"] == 0
    assert _share(worlds["desert"], "sand") > 0.01 and _share(worlds["desert"], "cactus") > 0
    assert _share(worlds["birch_forest"], "birch_log") > _share(worlds["birch_forest"], "oak_log")
    assert worlds["mountains"].tops.max() > worlds["plains"].tops.max() + 8
    assert _share(worlds["mountains"], "snow_block") > 0
    assert _share(worlds["mountains"], "water") > 0


def test_the_land_wraps_without_a_step():
    heights = terrain._heights(np.random.default_rng(0), 128, terrain.BIOMES["mountains"])
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


def test_names_of_biomes():
    assert terrain.resolve_biome("minecraft:extreme_hills") is terrain.BIOMES["mountains"]
    assert terrain.resolve_biome(None) is terrain.BIOMES[terrain.DEFAULT_BIOME]
    with pytest.raises(SimulatorError, match="desert"):
        terrain.resolve_biome("dessert")


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

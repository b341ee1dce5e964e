"""The world's arrays: consistency, copies, rays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import world as w
from minestudio_nb.simulator.blocks import block_id

STONE, WATER, GRASS = block_id("stone"), block_id("water"), block_id("grass")

edit = st.tuples(
    st.integers(-20, 20), st.integers(-2, 66), st.integers(-20, 20), st.sampled_from([0, STONE, WATER, GRASS])
)


@settings(max_examples=50, deadline=None)
@given(st.lists(edit, max_size=40))
def test_edits_keep_masks_and_tops_true(edits):
    world = w.World.empty(8)
    for x, y, z, block in edits:
        world.set(x, y, z, block)
        if 0 <= y < 64:
            assert world.get(x, y, z) == block
    rebuilt = world.copy()
    rebuilt.rebuild()
    assert np.array_equal(world.masks, rebuilt.masks)
    assert np.array_equal(world.tops, rebuilt.tops)


def test_the_world_wraps_round_and_ends_above_and_below():
    world = w.World.empty(8)
    world.set(-1, 3, 9, STONE)
    assert world.get(7, 3, 1) == world.get(15, 3, -7) == STONE
    assert world.get(0, -1, 0) == block_id("bedrock")
    assert world.get(0, 64, 0) == 0


def test_plants_do_not_shade():
    world = w.World.empty(8)
    world.set(1, 4, 1, STONE)
    world.set(1, 5, 1, GRASS)
    assert world.tops[1, 1] == 4
    assert int(world.masks[1, 1]) == 0b110000
    world.set(1, 4, 1, 0)
    assert world.tops[1, 1] == -1


def test_bytes_and_copies_give_the_same_world():
    world = w.World.empty(16)
    world.blocks[:] = np.random.default_rng(0).integers(0, 60, world.blocks.shape)
    world.rebuild()
    world.spawn = (3, 9, 4)
    target = w.World.empty(16)
    world.copy_into(target)
    for other in (w.World.from_bytes(world.to_bytes()), world.copy(), target):
        assert np.array_equal(other.blocks, world.blocks)
        assert np.array_equal(other.masks, world.masks)
        assert np.array_equal(other.tops, world.tops)
        assert other.spawn == (3, 9, 4)
        other.set(0, 0, 0, (world.get(0, 0, 0) + 1) % 60)
        assert other.get(0, 0, 0) != world.get(0, 0, 0)


@pytest.mark.parametrize("change", [lambda b: b[:10], lambda b: b"XXXX" + b[4:], lambda b: b[:-5]])
def test_damaged_bytes_are_an_error(change):
    with pytest.raises(SimulatorError, match="not a saved world"):
        w.World.from_bytes(change(w.World.empty(8).to_bytes()))


@pytest.mark.parametrize("size", [0, 4, 100])
def test_a_size_that_cannot_wrap_is_an_error(size):
    with pytest.raises(SimulatorError, match="power of two"):
        w.World.empty(size)


@pytest.mark.parametrize(
    ("direction", "cell", "face", "distance"),
    [
        ((1, 0, 0), (8, 5, 5), w.FACE_WEST, 2.5),
        ((-1, 0, 0), (2, 5, 5), w.FACE_EAST, 2.5),
        ((0, 1, 0), (5, 8, 5), w.FACE_DOWN, 2.5),
        ((0, -1, 0), (5, 2, 5), w.FACE_UP, 2.5),
        ((0, 0, 1), (5, 5, 8), w.FACE_NORTH, 2.5),
        ((0, 0, -1), (5, 5, 2), w.FACE_SOUTH, 2.5),
    ],
)
def test_rays_along_the_axes(direction, cell, face, distance):
    world = w.World.empty(16)
    world.set(*cell, STONE)
    hit = np.zeros(5, np.int64)
    t = w.raycast(world.blocks, 5.5, 5.5, 5.5, *(float(d) for d in direction), 4.5, hit)
    assert t == pytest.approx(distance)
    assert tuple(hit) == (*cell, face, STONE)
    step = (w.FACE_DX[face], w.FACE_DY[face], w.FACE_DZ[face])
    assert step == tuple(-d for d in direction)


def test_rays_have_a_reach_pass_water_and_miss_plants_at_the_edge():
    world = w.World.empty(16)
    hit = np.zeros(5, np.int64)
    world.set(7, 5, 5, WATER)
    world.set(9, 5, 5, STONE)
    assert w.raycast(world.blocks, 5.5, 5.5, 5.5, 1.0, 0.0, 0.0, 3.0, hit) == -1.0
    assert w.raycast(world.blocks, 5.5, 5.5, 5.5, 1.0, 0.0, 0.0, 4.5, hit) == pytest.approx(3.5)
    world.set(7, 5, 5, GRASS)
    assert w.raycast(world.blocks, 5.5, 5.5, 5.5, 1.0, 0.0, 0.0, 4.5, hit) == pytest.approx(1.5)
    assert w.raycast(world.blocks, 5.5, 5.95, 5.5, 1.0, 0.0, 0.0, 4.5, hit) == pytest.approx(3.5)


def test_a_ray_agrees_with_small_steps():
    world = w.World.empty(16)
    rng = np.random.default_rng(3)
    world.blocks[rng.random(world.blocks.shape) < 0.03] = STONE
    world.set(8, 30, 8, 0)
    hit = np.zeros(5, np.int64)
    for _ in range(30):
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        t = w.raycast(world.blocks, 8.5, 30.5, 8.5, *direction, 12.0, hit)
        steps = np.arange(0, 12, 2e-3)[:, None] * direction + (8.5, 30.5, 8.5)
        cells = np.floor(steps).astype(int)
        solid = [world.get(*cell) == STONE for cell in cells]
        first = int(np.argmax(solid)) if any(solid) else -1
        if first >= 0 and t >= 0:
            assert first * 2e-3 == pytest.approx(t, abs=0.02)
        else:
            assert first == -1 and (t < 0 or t > 11.9)

"""What the fast ways of the renderer must not change: every ray ends where a plain walk through the cells ends."""

import numpy as np
import pytest

from minestudio_nb.simulator import clearance, lamplight, raymarch, render, sky, terrain
from minestudio_nb.simulator import world as w
from minestudio_nb.simulator.blocks import block_id

SIDE, SIZE = 40, (96, 72)  # 72 is no multiple of the pieces in which rows are drawn


def _scattered(share, seed, size=64):
    """A floor, and single blocks of stone in the air above it."""
    rng = np.random.default_rng(seed)
    world = w.World.empty(size)
    world.blocks[:, :, 10:40] = np.where(rng.random((size, size, 30)) < share, block_id("stone"), 0)
    world.blocks[:, :, :10] = block_id("stone")
    world.blocks[30:34, 30:34, 10:16] = 0
    world.rebuild()
    return world


def _depths(world, eye, size=SIZE):
    """The depth image of a view, and the directions of its rays: float32[h, w], float64[h, w, 3]."""
    width, height = size
    view, env = np.zeros(raymarch.VIEW_FIELDS, np.float32), np.zeros(sky.ENV_FIELDS, np.float32)
    raymarch.set_view(*eye, render.TAN_V, render.TAN_H, view)
    render._set_env(render.new_scene(), False, env)
    out, depth = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.float32)
    glow, aim = lamplight.new_workspace()[0], np.array([-1, 0, -1, 0])
    raymarch.draw_world(world.blocks, world.masks, world.tops, glow, view, env, aim, out, depth)
    v = (1 - (2 * np.arange(height) + 1) / height) * render.TAN_V
    u = ((2 * np.arange(width) + 1) / width - 1) * render.TAN_H
    forward, right, up = (view[k : k + 3].astype(float) for k in (3, 6, 9))
    return depth, forward + v[:, None, None] * up + u[None, :, None] * right


def _walk(world, origin, direction, far):
    """Distance to the first block, cell by cell (Amanatides and Woo); ``far`` without one."""
    cell = np.floor(origin).astype(int)
    step = np.where(direction > 0, 1, -1)
    following = (cell + (direction > 0) - origin) / direction
    t = 0.0
    while t < far:
        axis = int(np.argmin(following))
        t = following[axis]
        cell[axis] += step[axis]
        following[axis] += abs(1 / direction[axis])
        if not 0 <= cell[1] < 64:
            return far
        if t < far and world.get(*(int(c) for c in cell)):
            return t
    return far


@pytest.mark.parametrize(
    ("share", "yaw", "pitch"), [(0.0, 20.0, 5.0), (0.004, -130.0, -8.0), (0.03, 60.0, 35.0), (0.01, 45.0, -85.0)]
)
def test_rays_end_where_a_plain_walk_ends(share, yaw, pitch):
    world = _scattered(share, seed=int(abs(yaw)))
    eye = (32.4, 12.62, 31.7)
    depth, directions = _depths(world, (*eye, yaw, pitch))
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(SIZE[1], size=160), rng.integers(SIZE[0], size=160)
    expected = np.array(
        [_walk(world, np.array(eye), directions[j, i], render.DEFAULT_FAR) for j, i in zip(rows, columns, strict=True)]
    )
    wrong = np.abs(depth[rows, columns] - expected) > 0.02
    assert wrong.sum() <= 1  # a ray through an edge may go either way


def test_the_eye_above_all_blocks_and_beyond_the_world():
    world = _scattered(0.0, seed=0)
    for eye in ((32.5, 11.0, 32.5), (32.5, 63.0, 32.5), (32.5, 70.0, 32.5), (-1000.5, 20.0, 4000.5)):
        depth, directions = _depths(world, (*eye, 10.0, 60.0))
        middle = SIZE[1] // 2, SIZE[0] // 2
        ground = 10.0 if world.get(int(np.floor(eye[0])), 9, int(np.floor(eye[2]))) else 0.0
        assert depth[middle] == pytest.approx((ground - eye[1]) / directions[middle][1], rel=1e-3)


def test_nothing_stands_before_the_clear_distance():
    """Every ray of a wedge and band meets nothing in the slabs that it may skip; and there are many of those."""
    world, wedges, slabs = terrain.generate(3, "forest", 64), 8, 60
    x, y, z = world.spawn
    ox, oy, oz = x + 0.3 + 64, y + 1.62, z + 0.6 + 64
    clear = np.zeros(4 * wedges * clearance.BANDS, np.uint8)
    single = np.float32
    rng = np.random.default_rng(0)
    skipped = []
    for _ in range(150):
        yaw, slope = rng.uniform(-np.pi, np.pi), rng.uniform(-0.6, 0.9)
        dx, dz = np.cos(yaw), np.sin(yaw)
        length = max(abs(dx), abs(dz))
        along_x = abs(dx) > abs(dz)
        sector = (0 if dx > 0 else 1) if along_x else (2 if dz > 0 else 3)
        wedge = int(((dz if along_x else dx) / length + 1) * wedges / 2) + sector * wedges
        clearance.find_clear(
            world.masks.reshape(-1), 64, 64, single(ox), single(oy), single(oz), single(63.9), slabs, wedge, wedges,
            clear,
        )  # fmt: skip
        band = int((slope + clearance.STEEPEST) * clearance.BANDS_PER_SLOPE) + 1
        bound = int(clear[wedge * clearance.BANDS + band])
        direction = np.array([dx, slope * length, dz]) / length
        met = _walk(world, np.array([ox, oy, oz]), direction, 100.0)
        major = ox if along_x else oz
        edge = np.floor(major) + 1 - major if sector in (0, 2) else major - np.floor(major)
        assert bound == 0 or met >= edge + bound - 1 - 1e-3
        skipped.append(bound)
    assert np.mean(skipped) > 5


@pytest.mark.parametrize(("biome", "time"), [("forest", 6000.0), ("desert", 12400.0), ("taiga", 23500.0)])
def test_pixels_drawn_together_are_those_drawn_one_by_one(biome, time):
    """Near lamps every pixel is walked by itself; lamps without light change nothing else."""
    world = terrain.generate(4, biome, 64)
    x, y, z = world.spawn
    renderer, scene = render.Renderer(SIZE), render.new_scene()
    scene[render.SCENE_TIME] = time
    view, env = np.zeros(raymarch.VIEW_FIELDS, np.float32), np.zeros(sky.ENV_FIELDS, np.float32)
    render._set_env(scene, False, env)
    renderer._glow[:] = 0
    different = []
    for yaw in (0.0, 95.0, 215.0):
        raymarch.set_view(x + 0.5, y + 1.62, z + 0.5, yaw, 10.0, render.TAN_V, render.TAN_H, view)
        frames = []
        for lamps in (0.0, 1.0):
            env[sky.ENV_LAMPS] = lamps
            out, depth = np.empty((SIZE[1], SIZE[0], 3), np.uint8), np.empty((SIZE[1], SIZE[0]), np.float32)
            aim = np.array([-1, 0, -1, 0])
            raymarch.draw_world(world.blocks, world.masks, world.tops, renderer._glow, view, env, aim, out, depth)
            frames.append(out.astype(int))
        different.append((np.abs(frames[0] - frames[1]).max(-1) > 1).mean())
    assert max(different) < 0.002

"""Frames per second of the world renderer on one core, against another renderer of the same world.

    python benchmarks/renderer.py [--peer FOLDER] [--rounds 7] [--biomes forest,desert] [--sizes 128]

Times are CPU seconds of this process, so a busy machine disturbs them little. Ours and the peer take turns within each
round, and the medians over the rounds are shown. FOLDER holds a module ``render_col`` with ``render`` and ``build`` and
a module ``tex`` with ``make`` and ``OFF``: the prototype from which this renderer comes. Both draw the same blocks
from the same poses; the world only, without mobs, hand and interface. "whole frame" is ours with all of these.
"""

from __future__ import annotations

import argparse
import importlib
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minestudio_nb.simulator import raymarch, render, sky, terrain
from minestudio_nb.simulator.blocks import BLOCKS, block_id, item_id
from minestudio_nb.simulator.world import World

SIZES = (64, 128, 224)
BIOMES = ("forest", "dense_forest", "plains", "desert", "mountains")
POSES = 12
Draw = Callable[[int], object]


def poses(world: World) -> list[tuple[float, float, float, float, float]]:
    """Eyes x, y, z, yaw, pitch on the ground all over the world."""
    rng = np.random.default_rng(0)
    found = []
    while len(found) < POSES:
        x, z = (int(v) for v in rng.integers(world.size, size=2))
        top = int(world.tops[x, z])
        if BLOCKS[world.blocks[x, z, top]].name in ("grass_block", "sand", "stone"):
            found.append((x + 0.5, top + 2.62, z + 0.5, float(rng.uniform(-180, 180)), float(rng.uniform(-20, 40))))
    return found


def ours_world(world: World, eyes: list, size: int) -> Draw:
    """Draw pose k with ``raymarch.draw_world``."""
    renderer = render.Renderer((size, size))
    scene = render.new_scene()
    env = np.zeros(sky.ENV_FIELDS, np.float32)
    render._set_env(scene, False, env)
    view, aim = np.zeros(raymarch.VIEW_FIELDS, np.float32), np.array([-1, 0, -1, 0])
    out, depth, glow = np.empty((size, size, 3), np.uint8), renderer._depth, renderer._glow

    def draw(k: int) -> object:
        raymarch.set_view(*eyes[k], render.TAN_V, render.TAN_H, view)
        return raymarch.draw_world(world.blocks, world.masks, world.tops, glow, view, env, aim, out, depth)

    return draw


def ours_whole(world: World, eyes: list, size: int) -> Draw:
    """Draw pose k with ``Renderer``: hand, interface and six mobs around the player."""
    renderer = render.Renderer((size, size), occlusion=False)
    scene = render.new_scene()
    inventory = np.zeros((41, 3), np.int32)
    inventory[:3] = [(item_id("diamond_axe"), 1, 0), (block_id("oak_log"), 7, 0), (item_id("beef"), 3, 0)]
    scene[render.SCENE_HELD] = inventory[0, 0]
    mobs = np.zeros((6, 12))
    mobs[:, 0] = (0, 1, 2, 0, 1, 2)
    out = np.empty((size, size, 3), np.uint8)

    def draw(k: int) -> object:
        scene[:5] = eyes[k]
        angle = np.arange(6) * (2 * math.pi / 6)
        mobs[:, 1], mobs[:, 3] = eyes[k][0] + 7 * np.cos(angle), eyes[k][2] + 7 * np.sin(angle)
        mobs[:, 2] = eyes[k][1] - 1.62
        return renderer.render(world, mobs, inventory, scene, out)

    return draw


def peer_world(folder: str, world: World, eyes: list, size: int) -> Draw:
    """Draw pose k with the peer's renderer; block ids that it lacks become stone."""
    sys.path.insert(0, folder)
    module, textures = importlib.import_module("render_col"), importlib.import_module("tex")
    texels, faces = textures.make()
    known = np.array(
        [textures.ID.get(b.name, 0 if b.cross else 3) for b in BLOCKS] + [0] * (256 - len(BLOCKS)), np.uint8
    )
    blocks = np.ascontiguousarray(known[world.blocks]).reshape(-1)
    side, height = world.size, world.blocks.shape[2]
    columns = np.zeros(side * side, np.uint64)
    module.build(blocks, side, side, height, columns)
    out, depth = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.float32)
    top = int(world.tops.max())
    single = np.float32

    def draw(k: int) -> object:
        x, y, z, yaw, pitch = eyes[k]
        return module.render(
            blocks, columns, side, side, height, world.tops, top, texels, faces, textures.OFF, single(x), single(y),
            single(z), single(math.radians(yaw)), single(math.radians(pitch)), single(render.TAN_V),
            single(render.TAN_H), single(render.DEFAULT_FAR), single(1.0), out, depth,
        )  # fmt: skip

    return draw


def frames_per_second(draw: Draw, seconds: float) -> float:
    """Draw all poses in turn for a while."""
    count, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        for k in range(POSES):
            draw(k)
        count += POSES
    return count / (time.process_time() - start)


def compare(arguments: argparse.Namespace, biome: str, world: World, eyes: list, size: int) -> None:
    """Measure one biome at one size and print a line."""
    draws = {"ours": ours_world(world, eyes, size), "whole": ours_whole(world, eyes, size)}
    if arguments.peer:
        draws["peer"] = peer_world(str(Path(arguments.peer).resolve()), world, eyes, size)
    rates: dict[str, list[float]] = {name: [] for name in draws}
    for draw in draws.values():
        draw(0)
    for _ in range(arguments.rounds):
        for name, draw in draws.items():
            rates[name].append(frames_per_second(draw, arguments.seconds))
    middle = {name: statistics.median(values) for name, values in rates.items()}
    ours, peer = middle["ours"], middle.get("peer", math.nan)
    print(f"{biome:13s} {size:5d} {ours:9.0f} {peer:9.0f} {ours / peer:9.2f} {middle['whole']:11.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="folder of the other renderer's modules")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="CPU seconds per measurement")
    parser.add_argument("--biomes", default=",".join(BIOMES))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    arguments = parser.parse_args()
    print(f"{'biome':13s} {'size':>5} {'ours':>9} {'peer':>9} {'ours/peer':>9} {'whole frame':>11}   frames/s")
    for biome in arguments.biomes.split(","):
        world = terrain.generate(3, biome)
        eyes = poses(world)
        for size in map(int, arguments.sizes.split(",")):
            compare(arguments, biome, world, eyes, size)


if __name__ == "__main__":
    main()

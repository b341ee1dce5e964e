"""The list of what ``compile_cache.warm_up`` compiles: each entry calls one kernel with the types of real use.

Parts of the renderer come before the whole: the whole then finds them compiled, and the progress moves.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from minestudio_nb.simulator import figures, hand, hud, lamplight, raymarch, render, sky, terrain
from minestudio_nb.simulator.actions import TICK_FIELDS
from minestudio_nb.simulator.compile_cache import register
from minestudio_nb.simulator.engine import VoxelEngine
from minestudio_nb.simulator.inventory import empty_inventory
from minestudio_nb.simulator.sim import VoxelSim
from minestudio_nb.simulator.state import MOB_FIELDS, SimState
from minestudio_nb.simulator.tick import advance
from minestudio_nb.simulator.world import World

_SIZE = 32
_FRAME = 16


@lru_cache(maxsize=1)
def _world() -> World:
    """A small world of air."""
    world = World.empty(_SIZE)
    world.set(0, 0, 0, 1)
    return world


def _draw_world() -> None:
    world = _world()
    view = np.zeros(raymarch.VIEW_FIELDS, np.float32)
    raymarch.set_view(0.0, 5.0, 0.0, 0.0, 0.0, render.TAN_V, render.TAN_H, view)
    env = np.ones(sky.ENV_FIELDS, np.float32)
    aim = np.zeros(raymarch.AIM_FIELDS, np.int64)
    out = np.empty((_FRAME, _FRAME, 3), np.uint8)
    glow, depth = lamplight.new_workspace()[0], np.empty((_FRAME, _FRAME), np.float32)
    raymarch.draw_world(world.blocks, world.masks, world.tops, glow, view, env, aim, out, depth)


def _draw_mobs() -> None:
    view = np.ones(raymarch.VIEW_FIELDS, np.float32)
    env = np.ones(sky.ENV_FIELDS, np.float32)
    out, depth = np.empty((_FRAME, _FRAME, 3), np.uint8), np.zeros((_FRAME, _FRAME), np.float32)
    world = _world()
    glow, _queue = lamplight.new_workspace()
    figures.draw_mobs(world.blocks, world.tops, glow, np.full((1, MOB_FIELDS), -1.0), view, env, True, out, depth)
    figures.draw_items(world.blocks, world.tops, glow, render.NO_ITEMS, view, env, True, out, depth)
    figures.draw_arrows(world.tops, glow, render.NO_ARROWS, view, env, out, depth)
    hand.draw_hand(0, False, 0.0, 0.0, 0.0, True, 1.0, np.float32(1), np.float32(1), env, out, depth)


def _draw_hud() -> None:
    sheet = hud.hud_sheet(_FRAME, _FRAME)
    out = np.empty((_FRAME, _FRAME, 3), np.uint8)
    hud.draw_hud(sheet.pixels, sheet.sprites, sheet.places, empty_inventory(), 0, 20.0, 20.0, 300.0, out)


def _render() -> None:
    renderer = render.Renderer((_FRAME, _FRAME))
    renderer.render(_world(), np.full((1, MOB_FIELDS), -1.0), empty_inventory(), render.new_scene())


def _tick() -> None:
    state = SimState.blank(_world().copy())
    action, camera = np.zeros(TICK_FIELDS, np.int32), np.zeros(2)
    advance(state, action, camera, 1)


def _engine() -> None:
    """What only an engine's reset and step call."""
    engine = VoxelEngine(pool_size=1, world_size=_SIZE)
    engine.reset(np.random.default_rng(0))
    engine.idle(1)


def _simulation() -> None:
    """What only VoxelSim, its callbacks and commands call."""
    sim = VoxelSim(obs_size=(_FRAME, _FRAME), world_size=_SIZE, pool_size=1)
    sim.reset()
    for command in (
        "/give @p dirt",
        "/summon cow ~ ~ ~",
        "/tp 1 60 1",
        "/setblock 1 2 3 stone",
        "/kill @e[type=cow]",
        "/setblock 1 2 3 air destroy",
        "/give @p diamond_axe 40",
    ):
        sim.env.execute_cmd(command)
    sim.step(sim.noop_action())


register("terrain", lambda: terrain.generate(0, "forest", _SIZE))
register("player, blocks and mobs", _tick)
register("resets", _engine)
register("picture of the world", _draw_world)
register("picture of the mobs", _draw_mobs)
register("interface", _draw_hud)
register("frames", _render)
register("simulation", _simulation)

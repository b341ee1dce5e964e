"""A flat world of stone with a player on it, driven by named actions."""

from __future__ import annotations

from typing import Any

import numpy as np

from minestudio_nb.simulator import mobs
from minestudio_nb.simulator.actions import TICK_FIELDS, fill_tick_row
from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.state import M_HEALTH, P_PITCH, P_X, P_Y, P_YAW, P_Z, SimState
from minestudio_nb.simulator.tick import advance
from minestudio_nb.simulator.world import World

GROUND = 10


class FlatWorld:
    """32x32 columns of stone, 10 high; the player stands at (8.5, 10, 8.5) and looks to +z."""

    def __init__(self) -> None:
        world = World.empty(32)
        world.blocks[:, :, :GROUND] = block_id("stone")
        world.rebuild()
        world.spawn = (8, GROUND, 8)
        self.state = SimState.blank(world)
        self.run(20)

    @property
    def player(self) -> np.ndarray:
        return self.state.player

    @property
    def position(self) -> np.ndarray:
        return self.state.player[[P_X, P_Y, P_Z]].copy()

    def run(self, ticks: int = 1, **keys: Any) -> int:
        """Hold keys for some ticks; "hotbar_3" stands for "hotbar.3"."""
        row, camera = np.zeros(TICK_FIELDS, np.int32), np.zeros(2)
        fill_tick_row({key.replace("hotbar_", "hotbar."): value for key, value in keys.items()}, row, camera)
        return advance(self.state, row, camera, ticks)

    def look(self, yaw: float, pitch: float) -> None:
        self.player[P_YAW], self.player[P_PITCH] = yaw, pitch

    def put(self, x: int, y: int, z: int, name: str) -> None:
        self.state.world.set(x, y, z, block_id(name))

    def block(self, x: int, y: int, z: int) -> int:
        return self.state.world.get(x, y, z)

    def hold(self, name: str, count: int = 1, slot: int = 0) -> None:
        self.state.inventory[slot] = (item_id(name), count, 0)

    def count(self, name: str) -> int:
        inventory = self.state.inventory
        return int(inventory[inventory[:, 0] == item_id(name), 1].sum())

    def add_mob(self, name: str, x: float, z: float, health: float | None = None) -> int:
        row = mobs.summon(self.state, mobs.mob_kind(name), x, GROUND, z)
        if health is not None:
            self.state.mobs[row, M_HEALTH] = health
        return row

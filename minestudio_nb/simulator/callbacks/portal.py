"""A nether portal's frame that somebody has left unfinished."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.callbacks.base import MinecraftCallback, Observation
from minestudio_nb.simulator.state import P_PITCH, P_X, P_YAW, P_Z

WIDTH: Final = 4
HEIGHT: Final = 5
FRAME: Final = tuple(
    (along, up) for along in range(WIDTH) for up in range(HEIGHT) if along in (0, WIDTH - 1) or up in (0, HEIGHT - 1)
)
"""Cells of a frame, as steps along it and up from its lowest corner."""
HOLE: Final = tuple((along, up) for along in range(1, WIDTH - 1) for up in range(1, HEIGHT - 1))
LOW: Final = tuple(cell for cell in FRAME if cell[1] < 2 and cell != (0, 0))
"""Cells that a player who stands before the frame can fill. The corner where the score begins is none of them."""
CLEARED: Final = 7  # blocks to each side of the player, as far as GateRewardsCallback looks
CEILING: Final = 7


class PortalFrameCallback(MinecraftCallback):
    """After each reset, levels the ground and puts the player before a portal's frame that lacks some blocks.

    Side, distance, lateral offset and the missing blocks are random, and the player looks about where the frame's foot
    is. The blocks that are missing are among the five next to the foot; each can be placed against one that stands or
    has been placed. MineStudio has no such callback; there, /fill commands in a CommandsCallback build a frame.

    Args:
        missing: how many blocks are missing, 1 to 5.
        distance: the least and the largest distance to the frame, in blocks.

    Raises:
        SimulatorError: a number is out of range.
    """

    def __init__(self, missing: int = 4, distance: tuple[int, int] = (3, 4)) -> None:
        if not 1 <= missing <= len(LOW):
            raise SimulatorError(f"PortalFrameCallback can leave out 1 to {len(LOW)} blocks; got missing={missing}.")
        near, far = (int(value) for value in distance)
        if not 2 <= near <= far <= CLEARED - 1:
            raise SimulatorError(
                f"PortalFrameCallback needs 2 <= near <= far <= {CLEARED - 1} as distance; got {list(distance)}."
            )
        self.missing = int(missing)
        self.distance = (near, far)

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Build, and look again."""
        rng = sim.np_random
        distance = int(rng.integers(self.distance[0], self.distance[1] + 1))
        offset = int(rng.integers(1, WIDTH - 1))  # the player stands opposite one of the hole's columns
        side = int(rng.integers(4))
        ahead_x, ahead_z = ((0, 1), (-1, 0), (0, -1), (1, 0))[side]
        gaps = {LOW[index] for index in rng.choice(len(LOW), self.missing, replace=False)}
        for low, high, block in ((0, CEILING, "air"), (-2, -2, "dirt"), (-1, -1, "grass_block")):
            sim.execute(f"/fill ~-{CLEARED} ~{low} ~-{CLEARED} ~{CLEARED} ~{high} ~{CLEARED} {block}")
        for along, up in FRAME:
            if (along, up) not in gaps:
                # Along x before a player who looks along z, else along z: both grow with the coordinate, as the score
                # has it.
                x = ahead_x * distance + (along - offset) * (ahead_x == 0)
                z = ahead_z * distance + (along - offset) * (ahead_z == 0)
                sim.execute(f"/setblock ~{x} ~{up} ~{z} obsidian")
        player = sim.engine.state.player
        player[P_X], player[P_Z] = np.floor(player[P_X]) + 0.5, np.floor(player[P_Z]) + 0.5
        player[P_YAW] = (90.0 * side + rng.uniform(-15.0, 15.0) + 180.0) % 360.0 - 180.0
        player[P_PITCH] = rng.uniform(15.0, 45.0)
        return sim.look_again(obs, info)

    def __repr__(self) -> str:
        return f"PortalFrameCallback(missing={self.missing}, distance={list(self.distance)})"

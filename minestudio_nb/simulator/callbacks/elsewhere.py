"""MineStudio's callbacks that only the real game has: they can be imported and subclassed, and say so when made."""

from __future__ import annotations

from typing import Any, Final

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.callbacks.base import MinecraftCallback


class _RealGameOnly(MinecraftCallback):
    """Refuses to be made. ``instead``: what VoxelSim has for the purpose."""

    instead: str = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise SimulatorError(
            f"{type(self).__name__} needs real Minecraft (env_config.simulator=minecraft); VoxelSim has none of it. "
            f"{self.instead}".rstrip()
        )


class DemonstrationCallback(_RealGameOnly):
    """Offers MineStudio's reference videos of a task to policies that imitate them."""

    instead = "Leave it out, or put the path of your own video into the observation with a callback of your own."


class PlayCallback(_RealGameOnly):
    """Shows the game in a window and lets a person or a policy play."""

    instead = "To play by hand, use VoxelSim.play()."


class PointCallback(_RealGameOnly):
    """Marks a point of the game's window."""

    instead = "To play by hand, use VoxelSim.play()."


class PlaySegmentCallback(_RealGameOnly):
    """Segments what is shown in the game's window."""

    instead = "To play by hand, use VoxelSim.play()."


REAL_GAME_ONLY: Final = (DemonstrationCallback, PlayCallback, PlaySegmentCallback, PointCallback)

"""Looking at an engine through the player's eyes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from minestudio_nb.simulator.biomes import biome_name
from minestudio_nb.simulator.engine import VoxelEngine
from minestudio_nb.simulator.render import (
    SCENE_AIR,
    SCENE_BOW,
    SCENE_BREAKING,
    SCENE_EATEN,
    SCENE_FOOD,
    SCENE_HEALTH,
    SCENE_HELD,
    SCENE_HURT,
    SCENE_NIGHT_VISION,
    SCENE_OFFHAND,
    SCENE_PALETTE,
    SCENE_PITCH,
    SCENE_PRECIPITATION,
    SCENE_RAIN,
    SCENE_SLOT,
    SCENE_SWING,
    SCENE_TARGET_X,
    SCENE_TARGET_Y,
    SCENE_TARGET_Z,
    SCENE_TIME,
    SCENE_USES_OFFHAND,
    SCENE_X,
    SCENE_Y,
    SCENE_YAW,
    SCENE_Z,
    Renderer,
    new_scene,
)
from minestudio_nb.simulator.state import (
    OFFHAND_SLOT,
    P_BREAKING,
    P_FOOD,
    P_HEALTH,
    P_PITCH,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_AIR,
    S_BOW_DRAW,
    S_EAT,
    S_HURT,
    S_NIGHT_VISION,
    S_RAIN,
    S_SLOT,
    S_SWING,
    S_TARGET,
    S_TARGET_X,
    S_TARGET_Y,
    S_TARGET_Z,
    S_TIME,
    S_USE_SLOT,
    SWING_TICKS,
    TARGET_BLOCK,
)
from minestudio_nb.simulator.textures import palette_of
from minestudio_nb.simulator.vitals import eye_height

_DRY: Final = ("desert", "savanna", "badlands")
"""Where nothing falls from a grey sky (Minecraft Wiki, "Rain")."""
_SNOWY: Final = ("snowy_tundra", "snowy_taiga")


@njit(cache=True, nogil=True)
def _set_scene(player, status, inventory, scene):
    """Describe to the renderer what the player sees, does and has."""
    scene[SCENE_X], scene[SCENE_Y], scene[SCENE_Z] = player[P_X], player[P_Y] + eye_height(status), player[P_Z]
    scene[SCENE_YAW], scene[SCENE_PITCH] = player[P_YAW], player[P_PITCH]
    scene[SCENE_TIME], scene[SCENE_RAIN] = status[S_TIME], status[S_RAIN]
    scene[SCENE_NIGHT_VISION], scene[SCENE_HURT] = status[S_NIGHT_VISION], status[S_HURT]
    aimed = status[S_TARGET] == TARGET_BLOCK
    scene[SCENE_TARGET_X], scene[SCENE_TARGET_Z] = status[S_TARGET_X], status[S_TARGET_Z]
    scene[SCENE_TARGET_Y] = status[S_TARGET_Y] if aimed else -1
    scene[SCENE_BREAKING] = player[P_BREAKING] if aimed else 0.0
    slot = status[S_SLOT]
    scene[SCENE_SLOT] = slot
    scene[SCENE_HELD] = inventory[slot, 0] if inventory[slot, 1] > 0 else 0
    offhand = inventory[OFFHAND_SLOT]
    scene[SCENE_OFFHAND] = offhand[0] if offhand[1] > 0 else 0
    scene[SCENE_BOW], scene[SCENE_EATEN] = status[S_BOW_DRAW], status[S_EAT]
    scene[SCENE_USES_OFFHAND] = status[S_USE_SLOT] == OFFHAND_SLOT
    scene[SCENE_SWING] = (SWING_TICKS - status[S_SWING]) / SWING_TICKS if status[S_SWING] > 0 else 0.0
    scene[SCENE_AIR] = status[S_AIR]
    scene[SCENE_HEALTH], scene[SCENE_FOOD] = player[P_HEALTH], player[P_FOOD]


class View:
    """The player's eyes, at one size of image.

    Args:
        width, height: of the image, in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._renderer = Renderer(self.size)
        self._scene = new_scene()
        self._biome: str | None = None
        self._set_biome()

    def _set_biome(self) -> None:
        name = biome_name(self._biome)
        self._scene[SCENE_PALETTE] = palette_of(name)
        self._scene[SCENE_PRECIPITATION] = 0.0 if name in _DRY else (2.0 if name in _SNOWY else 1.0)

    def render(self, engine: VoxelEngine, out: NDArray[np.uint8]) -> None:
        """Draw what the player sees now into ``out``, uint8[height, width, 3]."""
        state = engine.state
        if engine.choice.biome != self._biome:
            self._biome = engine.choice.biome
            self._set_biome()
        _set_scene(state.player, state.status, state.inventory, self._scene)
        self._renderer.render(
            state.world, state.mobs, state.inventory, self._scene, out, items=state.items, arrows=state.arrows
        )

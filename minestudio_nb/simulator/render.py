"""Frames: the world, the mobs, the hand and the interface, drawn straight at the wanted size.

The angle of view is Minecraft's at 640x360: 70 degrees high and 102.4 wide, whatever the size of the frame. A square
frame is thus the wide one squeezed, which is what shrinking Minecraft's frame gives.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.figures import draw_arrows, draw_items, draw_mobs
from minestudio_nb.simulator.hand import draw_hand
from minestudio_nb.simulator.hud import draw_hud, hud_sheet
from minestudio_nb.simulator.lamplight import glow_at, new_workspace, spread_light
from minestudio_nb.simulator.occlusion import darken_corners
from minestudio_nb.simulator.raymarch import (
    AIM_COLUMN,
    AIM_CRACK,
    AIM_FIELDS,
    AIM_OUTLINE,
    AIM_Y,
    VIEW_FIELDS,
    cover_light,
    draw_world,
    set_view,
)
from minestudio_nb.simulator.sky import (
    ENV_CLEAR,
    ENV_CLOUD,
    ENV_DRIFT,
    ENV_FAR,
    ENV_FIELDS,
    ENV_FOG,
    ENV_FOG_SLOPE,
    ENV_GLOW,
    ENV_HORIZON,
    ENV_LAMPS,
    ENV_LIGHT,
    ENV_PALETTE,
    ENV_RIPPLE,
    ENV_STARS,
    ENV_SUN_X,
    ENV_SUN_Y,
    ENV_ZENITH,
)
from minestudio_nb.simulator.state import ARROW_FIELDS, ARROW_FREE, FULL_AIR, ITEM_FIELDS
from minestudio_nb.simulator.textures import PALETTE_FACES
from minestudio_nb.simulator.walk import ONE, F
from minestudio_nb.simulator.weather import draw_rain
from minestudio_nb.simulator.world import World

FIELD_OF_VIEW: Final = 70.0
"""Vertical angle of view in degrees (Minecraft's "Normal")."""
TAN_V: Final = math.tan(math.radians(FIELD_OF_VIEW / 2))
TAN_H: Final = TAN_V * 16.0 / 9.0

DEFAULT_FAR: Final = 72.0
"""How far one sees, in blocks."""
OUTLINE_WIDTH: Final = 200
"""Narrower frames show no outline around the targeted block: it would be thinner than a pixel."""

# scene: float64[SCENE_FIELDS], all that a frame shows besides the world, the mobs and the inventory.
SCENE_X: Final = 0
SCENE_Y: Final = 1  # of the eye
SCENE_Z: Final = 2
SCENE_YAW: Final = 3  # degrees; 0 looks to +z (south), 90 to -x (west)
SCENE_PITCH: Final = 4  # degrees, positive looks down
SCENE_TIME: Final = 5  # time of day in ticks; 0 is sunrise, 6000 noon, 18000 midnight
SCENE_RAIN: Final = 6  # 0 clear, more than 0: grey sky
SCENE_NIGHT_VISION: Final = 7  # more than 0: as bright as noon
SCENE_TARGET_X: Final = 8  # the block that the player aims at
SCENE_TARGET_Y: Final = 9  # negative: none
SCENE_TARGET_Z: Final = 10
SCENE_BREAKING: Final = 11  # share of it that is broken; 0: no cracks
SCENE_HELD: Final = 12  # item id in the hand, 0 for none
SCENE_SWING: Final = 13  # progress of the arm's swing, 0 at rest, up to 1
SCENE_SLOT: Final = 14  # selected slot of the hotbar, 0 to 8
SCENE_HEALTH: Final = 15  # half hearts
SCENE_FOOD: Final = 16  # half drumsticks
SCENE_HURT: Final = 17  # more than 0: the frame reddens
SCENE_FAR: Final = 18  # how far one sees, in blocks
SCENE_HUD: Final = 19  # 0: neither hand nor interface
SCENE_PALETTE: Final = 20  # the biome's colours, see ``textures.palette_of``
SCENE_OFFHAND: Final = 21  # item id in the off hand, 0 for none
SCENE_BOW: Final = 22  # ticks that the bow in the hand has been drawn
SCENE_EATEN: Final = 23  # ticks that the item in the hand has been eaten
SCENE_USES_OFFHAND: Final = 24  # whether these two are about the off hand
SCENE_AIR: Final = 25  # ticks of breath left under water
SCENE_PRECIPITATION: Final = 26  # what falls in rain: 0 nothing, 1 rain, 2 snow
SCENE_FIELDS: Final = 27

_DAY_HORIZON: Final = np.array([184.0, 210.0, 255.0], np.float32)
_DAY_ZENITH: Final = np.array([120.0, 167.0, 255.0], np.float32)
_NIGHT_HORIZON: Final = np.array([11.0, 13.0, 24.0], np.float32)
_NIGHT_ZENITH: Final = np.array([4.0, 5.0, 12.0], np.float32)
_RAIN_SKY: Final = np.array([150.0, 156.0, 166.0], np.float32)
_NIGHT_LIGHT: Final = 0.31
"""Light at midnight: red and green in Minecraft 1.16 at its default brightness (``LightTexture``; blue has 0.49)."""
_FAST: Final = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}


@njit(cache=True, nogil=True)
def sun_angle(time):
    """The sun's angle from the zenith as a share of the circle, 0 at noon (Minecraft 1.16, ``DimensionType``)."""
    share = time / 24000.0 - 0.25
    share -= math.floor(share)
    return share + (0.5 - math.cos(share * math.pi) / 2.0 - share) / 3.0


@njit(cache=True, nogil=True)
def day_brightness(time):
    """Light of the open sky at a time of day in ticks: 1 by day, 0 by night, with dawn and dusk between."""
    return min(max(math.cos(sun_angle(time) * 2.0 * math.pi) * 2.0 + 0.5, 0.0), 1.0)


@njit(**_FAST)
def _set_env(scene, stars, env):
    """Fill ``env`` for a scene's time, weather and biome. ``stars``: whether they are larger than a pixel."""
    day = F(day_brightness(scene[SCENE_TIME]))
    wet = F(0.9) if scene[SCENE_RAIN] > 1 else (F(0.75) if scene[SCENE_RAIN] > 0 else F(0.0))
    for k in range(3):
        horizon = _NIGHT_HORIZON[k] + (_DAY_HORIZON[k] - _NIGHT_HORIZON[k]) * day
        zenith = _NIGHT_ZENITH[k] + (_DAY_ZENITH[k] - _NIGHT_ZENITH[k]) * day
        grey = _RAIN_SKY[k] * max(day, F(0.1)) * (F(0.6) if scene[SCENE_RAIN] > 1 else ONE)
        env[ENV_HORIZON + k] = horizon + (grey - horizon) * wet
        env[ENV_ZENITH + k] = zenith + (grey - zenith) * wet
    angle = sun_angle(scene[SCENE_TIME]) * 2.0 * math.pi
    env[ENV_SUN_X], env[ENV_SUN_Y] = -math.sin(angle), math.cos(angle)
    gloom = 0.4 if scene[SCENE_RAIN] > 1 else 0.25
    env[ENV_LIGHT] = (_NIGHT_LIGHT + (1.0 - _NIGHT_LIGHT) * day) * (1.0 - gloom * wet)
    if scene[SCENE_NIGHT_VISION] > 0:
        env[ENV_LIGHT] = 1.0
    env[ENV_GLOW] = max(1.0 - abs(math.cos(angle)) / 0.4, 0.0) * (1.0 - wet) * 0.9
    env[ENV_CLEAR] = 1.0 - wet
    env[ENV_CLOUD] = 26.0 + 229.0 * day - 60.0 * wet * day
    env[ENV_STARS] = max(1.0 - 2.0 * day, 0.0) * (1.0 - wet) if stars else 0.0
    env[ENV_RIPPLE] = (scene[SCENE_TIME] * 0.015) % 16.0
    env[ENV_PALETTE] = scene[SCENE_PALETTE] * PALETTE_FACES
    env[ENV_DRIFT] = scene[SCENE_TIME] * 0.003
    env[ENV_FAR] = scene[SCENE_FAR]
    env[ENV_FOG] = scene[SCENE_FAR] * 0.6
    env[ENV_FOG_SLOPE] = 1.0 / (scene[SCENE_FAR] * 0.4)


@njit(cache=True, nogil=True)
def _set_aim(scene, shape, outline, aim):
    """Fill ``aim`` for the targeted block of a scene."""
    aim[AIM_COLUMN], aim[AIM_CRACK], aim[AIM_OUTLINE] = -1, -1, 0
    if scene[SCENE_TARGET_Y] >= 0:
        x = math.floor(scene[SCENE_TARGET_X]) & (shape[0] - 1)
        z = math.floor(scene[SCENE_TARGET_Z]) & (shape[1] - 1)
        aim[AIM_COLUMN] = x * shape[1] + z
        aim[AIM_Y] = int(scene[SCENE_TARGET_Y])
        aim[AIM_OUTLINE] = 1 if outline else 0
        if scene[SCENE_BREAKING] > 0.0:
            aim[AIM_CRACK] = min(int(scene[SCENE_BREAKING] * 10.0), 9)


@njit(cache=True, nogil=True)
def _moonlight(night, out):
    """Make a picture of the world bluer, fully where ``night`` is 1."""
    blue = np.int32(256 + 120 * night)
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[j, i, 2] = np.uint8(min((np.int32(out[j, i, 2]) * blue) >> 8, 255))


@njit(cache=True, nogil=True)
def _redden(out):
    """The flash of being hurt."""
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[j, i, 0] = np.uint8(np.int32(out[j, i, 0]) * 7 // 8 + 32)
            out[j, i, 1] = np.uint8(np.int32(out[j, i, 1]) * 7 // 8)
            out[j, i, 2] = np.uint8(np.int32(out[j, i, 2]) * 7 // 8)


@njit(**_FAST)
def _draw_hands(scene, detailed, light, env, out, depth):
    """Draw what the player holds in both hands."""
    for off in range(2):
        item = int(scene[SCENE_OFFHAND if off else SCENE_HELD])
        if off and item == 0:
            break
        used = (scene[SCENE_USES_OFFHAND] > 0) == (off == 1)
        bow, eaten = (scene[SCENE_BOW], scene[SCENE_EATEN]) if used else (0.0, 0.0)
        swing = 0.0 if off else scene[SCENE_SWING]
        draw_hand(item, off == 1, swing, bow, eaten, detailed, light, F(TAN_V), F(TAN_H), env, out, depth)


@njit(**_FAST)
def render_frame(
    blocks, masks, tops, glow, queue, mobs, items, arrows, inventory, scene, pixels, sprites, places, occlusion,
    out, depth,
):  # fmt: skip
    """Draw one frame into ``out``.

    Args:
        blocks: uint8[X, Z, Y]; masks: uint64[X, Z]; tops: int32[X, Z], as in ``World``.
        glow, queue: workspace of ``lamplight.spread_light``.
        mobs, items, arrows: float64[E, ...], see ``state`` for their columns.
        inventory: int32[slots, 3] of item id, count and wear; the first nine rows are the hotbar.
        scene: float64[SCENE_FIELDS].
        pixels, sprites, places: of the ``HudSheet`` of the frame's size.
        occlusion: whether to darken corners (ambient occlusion); costs about a quarter of the time.
        out: uint8[H, W, 3], written.
        depth: float32[H, W], workspace.
    """
    view = np.empty(VIEW_FIELDS, np.float32)
    env = np.empty(ENV_FIELDS, np.float32)
    aim = np.empty(AIM_FIELDS, np.int64)
    x, y, z = scene[SCENE_X], scene[SCENE_Y], scene[SCENE_Z]
    set_view(x, y, z, scene[SCENE_YAW], scene[SCENE_PITCH], TAN_V, TAN_H, view)
    _set_env(scene, out.shape[1] >= OUTLINE_WIDTH, env)
    _set_aim(scene, blocks.shape, out.shape[1] >= OUTLINE_WIDTH, aim)
    env[ENV_LAMPS] = spread_light(blocks, x, y, z, glow, queue)
    draw_world(blocks, masks, tops, glow, view, env, aim, out, depth)
    if occlusion:
        darken_corners(blocks, view, out, depth)
    detailed = out.shape[1] >= OUTLINE_WIDTH
    draw_mobs(blocks, tops, glow, mobs, view, env, detailed, out, depth)
    draw_items(blocks, tops, glow, items, view, env, detailed, out, depth)
    draw_arrows(tops, glow, arrows, view, env, out, depth)
    night = max(1.0 - 2.0 * day_brightness(scene[SCENE_TIME]), 0.0)
    if night > 0.0 and not scene[SCENE_NIGHT_VISION] > 0:
        _moonlight(night, out)
    if scene[SCENE_RAIN] > 0 and scene[SCENE_PRECIPITATION] > 0:
        snow = scene[SCENE_PRECIPITATION] > 1.0
        draw_rain(tops, scene[SCENE_TIME], snow, x, z, view, env, out, depth)
    if scene[SCENE_HUD] > 0:
        cell_x, cell_y, cell_z = math.floor(x), math.floor(y), math.floor(z)
        cover = cover_light(tops.reshape(-1), tops.shape[0], tops.shape[1], cell_x, cell_y, cell_z)
        light = max(F(cover) * env[ENV_LIGHT], F(0.12))
        if env[ENV_LAMPS] > 0:
            light = max(light, glow_at(glow, 0, cell_y, 0))
        _draw_hands(scene, detailed, light, env, out, depth)
        if scene[SCENE_HURT] > 0:
            _redden(out)
        draw_hud(
            pixels, sprites, places, inventory, int(scene[SCENE_SLOT]),
            scene[SCENE_HEALTH], scene[SCENE_FOOD], scene[SCENE_AIR], out,
        )  # fmt: skip


def new_scene() -> NDArray[np.float64]:
    """A scene at noon: full health and food, empty hand, first slot, no target."""
    scene = np.zeros(SCENE_FIELDS)
    scene[SCENE_TIME] = 6000.0
    scene[SCENE_TARGET_Y] = -1.0
    scene[SCENE_HEALTH] = scene[SCENE_FOOD] = 20.0
    scene[SCENE_AIR] = FULL_AIR
    scene[SCENE_PRECIPITATION] = 1.0
    scene[SCENE_FAR] = DEFAULT_FAR
    scene[SCENE_HUD] = 1.0
    return scene


NO_ITEMS: Final = np.full((1, ITEM_FIELDS), -1.0)
NO_ARROWS: Final = np.full((1, ARROW_FIELDS), float(ARROW_FREE))


class Renderer:
    """Draws frames of one size; holds what a frame needs besides the state.

    Args:
        size: (width, height) in pixels.
        occlusion: whether to darken corners; None: for frames at least ``OUTLINE_WIDTH`` wide.
    """

    def __init__(self, size: tuple[int, int], occlusion: bool | None = None) -> None:
        width, height = size
        if width < 16 or height < 16:
            raise SimulatorError(f"A frame must be at least 16x16 pixels; got {width}x{height}.")
        self.size = (width, height)
        self.occlusion = width >= OUTLINE_WIDTH if occlusion is None else occlusion
        self._depth = np.empty((height, width), np.float32)
        self._sheet = hud_sheet(height, width)
        self._glow, self._queue = new_workspace()

    def render(
        self,
        world: World,
        mobs: NDArray[np.float64],
        inventory: NDArray[np.int32],
        scene: NDArray[np.float64],
        out: NDArray[np.uint8] | None = None,
        items: NDArray[np.float64] = NO_ITEMS,
        arrows: NDArray[np.float64] = NO_ARROWS,
    ) -> NDArray[np.uint8]:
        """Draw a frame.

        Args:
            world: what stands.
            mobs, inventory: see ``state``; scene: float64[SCENE_FIELDS].
            out: uint8[height, width, 3] to write to; None for a new array.
            items, arrows: see ``state``.

        Returns:
            ``out``.
        """
        if out is None:
            out = np.empty((*self._depth.shape, 3), np.uint8)
        elif out.shape != (*self._depth.shape, 3) or out.dtype != np.uint8:
            raise SimulatorError(
                f"This renderer draws uint8 frames of shape {(*self._depth.shape, 3)}; got {out.dtype} {out.shape}."
            )
        sheet = self._sheet
        render_frame(
            world.blocks, world.masks, world.tops, self._glow, self._queue, mobs, items, arrows, inventory, scene,
            sheet.pixels, sheet.sprites, sheet.places, self.occlusion, out, self._depth,
        )  # fmt: skip
        return out

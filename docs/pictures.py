"""Draws the pictures in docs/images: what the embedded world looks like. Run it again when the renderer changes.

python docs/pictures.py [name ...]     # voxelsim, biomes, sheet, sizes; all of them without a name
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minestudio_nb.simulator import VoxelSim
from minestudio_nb.simulator.biomes import BIOMES
from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.callbacks import CommandsCallback, SummonMobsCallback
from minestudio_nb.simulator.mobs import MOB_NAMES, mob_kind
from minestudio_nb.simulator.state import (
    A_PITCH,
    A_STATE,
    A_X,
    A_Y,
    A_YAW,
    A_Z,
    ARROW_STUCK,
    I_AGE,
    I_COUNT,
    I_ITEM,
    I_X,
    I_Y,
    I_Z,
    M_HEALTH,
    M_KIND,
    M_LIMB,
    M_VX,
    M_X,
    M_Y,
    M_YAW,
    M_Z,
    OFFHAND_SLOT,
    P_HEALTH,
    P_PITCH,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_AIR,
    S_BOW_DRAW,
    S_TIME,
)
from minestudio_nb.simulator.view import View

IMAGES = Path(__file__).parent / "images"
Frame = NDArray[np.uint8]
Size = tuple[int, int]
LARGE: Size = (480, 270)
SMALL: Size = (400, 225)
MOBS = [{"name": name, "number": 3, "range_x": [-7, 7], "range_z": [-7, 7]} for name in ("cow", "sheep", "pig")]

SCENES = (
    ("dense_forest", 5, ["/give @p diamond_axe 1"], False, 1000),
    ("plains", 11, ["/give @p diamond_sword 1"], True, 6000),
    ("mountains", 3, ["/give @p diamond_pickaxe 1", "/give @p cobblestone 12"], False, 9000),
    ("desert", 2, ["/give @p obsidian 10"], False, 6000),
    ("forest", 8, ["/give @p oak_planks 32", "/give @p torch 4"], False, 12400),
    ("taiga", 4, ["/give @p bow 1", "/give @p arrow 16"], True, 3000),
)


def scene(biome: str, seed: int, commands: list[str], mobs: bool, time: int, size: Size = LARGE) -> Frame:
    """One frame, uint8 (H, W, 3), of the side to which the view is widest."""
    callbacks = [CommandsCallback([*commands, f"/time set {time}"])]
    if mobs:
        callbacks.append(SummonMobsCallback(MOBS))
    sim = VoxelSim("env", (64, 64), size, seed=seed, preferred_spawn_biome=biome, callbacks=callbacks)
    sim.reset()
    frames = []
    for _ in range(8):
        action = sim.noop_action()
        action["camera"] = np.array([0.0, 45.0])
        sim.step(action)
        frames.append(sim.render().copy())
    sim.close()
    return max(frames, key=lambda frame: float(frame.std()))


class Stage:
    """A flat meadow with the player in the middle at (64.5, 10, 64.5), looking to +z, on which things are put."""

    X, Y, Z = 64, 10, 64

    def __init__(self, ground: str = "grass_block", time: int = 5000) -> None:
        self.sim = VoxelSim("env", (64, 64), SMALL, seed=2, preferred_spawn_biome="plains")
        self.sim.reset()
        self.state = self.sim.engine.state
        self.world = self.state.world
        self.world.blocks[:] = 0
        self.world.blocks[:, :, : self.Y] = block_id(ground)
        self.world.rebuild()
        self.state.mobs[:, M_KIND] = self.state.items[:, I_ITEM] = self.state.arrows[:, A_STATE] = -1
        self.state.player[[P_X, P_Y, P_Z]] = self.X + 0.5, self.Y, self.Z + 0.5
        self.state.status[S_TIME] = time
        self.look(0.0, 8.0)

    def look(self, yaw: float, pitch: float) -> None:
        """Turn the head."""
        self.state.player[[P_YAW, P_PITCH]] = yaw, pitch

    def hold(self, *names: str, off: str = "") -> None:
        """Put items into the hotbar, and one into the off hand."""
        self.state.inventory[:] = 0
        for slot, name in enumerate(names):
            self.state.inventory[slot] = (item_id(name), 1, 0)
        if off:
            self.state.inventory[OFFHAND_SLOT] = (item_id(off), 1, 0)

    def put(self, name: str, *cells: tuple[int, int, int]) -> None:
        """Put blocks at cells that are counted from the player's feet: to the left, up, ahead."""
        for left, up, ahead in cells:
            self.world.set(self.X + left, self.Y + up, self.Z + ahead, block_id(name))

    def mob(self, name: str, left: float, ahead: float, yaw: float, walks: bool = False) -> None:
        """Add a mob."""
        row = int(np.flatnonzero(self.state.mobs[:, M_KIND] < 0)[0])
        mob = self.state.mobs[row]
        mob[:] = 0
        mob[[M_KIND, M_X, M_Y, M_Z]] = mob_kind(name), self.X + 0.5 + left, self.Y, self.Z + 0.5 + ahead
        mob[[M_YAW, M_HEALTH]] = yaw, 10
        if walks:
            mob[[M_LIMB, M_VX]] = 1.4, 0.1

    def item(self, row: int, name: str, left: float, ahead: float, count: int = 1) -> None:
        """Let an item lie about."""
        item = self.state.items[row]
        item[:] = 0
        item[[I_ITEM, I_X, I_Y, I_Z]] = item_id(name), self.X + 0.5 + left, self.Y, self.Z + 0.5 + ahead
        item[[I_COUNT, I_AGE]] = count, 11 * row

    def arrow(self, row: int, left: float, up: float, ahead: float, yaw: float, pitch: float) -> None:
        """Let an arrow stick."""
        arrow = self.state.arrows[row]
        arrow[:] = 0
        arrow[[A_STATE, A_X, A_Y, A_Z]] = ARROW_STUCK, self.X + 0.5 + left, self.Y + up, self.Z + 0.5 + ahead
        arrow[[A_YAW, A_PITCH]] = yaw, pitch

    def frame(self, size: Size = SMALL) -> Frame:
        """What the player sees."""
        out = np.empty((size[1], size[0], 3), np.uint8)
        View(*size).render(self.sim.engine, out)
        return out


def mobs_from(yaw: float, walks: bool = False) -> Frame:
    """All kinds of mobs in two rows, turned by ``yaw``."""
    stage = Stage()
    for k, name in enumerate(MOB_NAMES):
        row, column = divmod(k, 5)
        in_row = min(5, len(MOB_NAMES) - 5 * row)
        stage.mob(name, (column - (in_row - 1) / 2) * 1.7, 4.2 + 2.4 * row, yaw, walks)
    stage.state.player[P_Y] += 2.0
    stage.look(0.0, 26.0)
    return stage.frame()


def lying_items() -> Frame:
    """Items that lie about, and arrows in a wall."""
    stage = Stage()
    stage.put("stone_bricks", *((x, y, 8) for x in range(-12, 13) for y in range(3)))
    names = ("cobblestone", "diamond_sword", "oak_log", "apple", "grass_block", "torch", "poppy", "iron_pickaxe", "bow")
    for k, name in enumerate((*names, "white_wool", "beef", "diamond")):
        stage.item(k, name, (k % 6 - 2.5) * 0.9, 2.6 + 1.1 * (k // 6), count=(1, 1, 20, 64)[k % 4])
    for k in range(5):
        stage.arrow(k, k - 2.0, 0.7 + 0.35 * (k % 3), 7.4, 15.0 * (k - 2), 8.0 * (k % 2))
    stage.look(0.0, 16.0)
    return stage.frame()


def hands(item: str, off: str = "", bow: int = 0) -> Frame:
    """What the hands hold."""
    stage = Stage()
    stage.put("stone", *((x, y, 7) for x in range(-12, 13) for y in range(3)))
    stage.hold(item, off=off)
    stage.state.status[S_BOW_DRAW] = bow
    return stage.frame()


def portal() -> Frame:
    """A gate at dusk."""
    stage = Stage(time=13000)
    cells = [(x, y) for x in range(-2, 2) for y in range(5)]
    inside = [(x, y) for x, y in cells if x in (-1, 0) and y in (1, 2, 3)]
    stage.put("obsidian", *((x, y, 5) for x, y in cells if (x, y) not in inside))
    stage.put("nether_portal", *((x, y, 5) for x, y in inside))
    stage.hold("flint_and_steel")
    stage.look(0.0, -4.0)
    return stage.frame()


def torches() -> Frame:
    """A room and a meadow at night, lit by torches."""
    stage = Stage(time=18000)
    walls = [(x, y, z) for x in range(-4, 5) for y in range(4) for z in range(5, 12) if abs(x) == 4 or z in (5, 11)]
    stage.put("oak_planks", *(cell for cell in walls if not (abs(cell[0]) < 2 and cell[2] == 5 and cell[1] < 3)))
    stage.put("cobblestone", *((x, 4, z) for x in range(-4, 5) for z in range(5, 12)))
    stage.put("torch", (3, 0, 8), (-3, 0, 10), (-5, 0, 3), (6, 0, 6))
    stage.hold("torch")
    stage.look(0.0, 4.0)
    return stage.frame()


def pond(below: bool) -> Frame:
    """Water from above, and from within."""
    stage = Stage(ground="sand")
    stage.put("water", *((x, y, z) for x in range(-6, 7) for z in range(1, 12) for y in (-1, -2, -3)))
    stage.put("sand", *((x, -3, z) for x in range(-6, 7) for z in range(1, 12) if (x * x + 3 * z) % 5 < 2))
    stage.put("clay", (-2, -3, 6), (1, -2, 8), (2, -2, 8))
    stage.hold("bucket")
    if below:
        stage.state.player[[P_Y, P_Z]] = stage.Y - 3, stage.Z + 4.5
        stage.state.status[S_AIR] = 171
        stage.look(0.0, -6.0)
    else:
        stage.look(0.0, 22.0)
    return stage.frame()


def weather(biome: str, seed: int, kind: str, time: int = 4000) -> Frame:
    """Rain, snow or thunder."""
    return scene(biome, seed, [f"/weather {kind}", "/give @p stone_pickaxe"], False, time, SMALL)


def sky(time: int, yaw: float, pitch: float) -> Frame:
    """The sky above plains at a time of day."""
    stage = Stage(time=time)
    stage.look(yaw, pitch)
    return stage.frame()


def montage(frames: Iterable[Frame], columns: int, name: str, quality: int = 80) -> None:
    """Write frames of one size, row by row, as a picture."""
    tiles = list(frames)
    high, wide = tiles[0].shape[:2]
    sheet = Image.new("RGB", (columns * wide, -(-len(tiles) // columns) * high))
    for number, tile in enumerate(tiles):
        sheet.paste(Image.fromarray(tile), (number % columns * wide, number // columns * high))
    sheet.save(IMAGES / f"{name}.jpg", quality=quality, optimize=True)


def draw_voxelsim() -> None:
    """The README's picture."""
    montage((scene(*chosen) for chosen in SCENES), 3, "voxelsim", 82)


def draw_biomes() -> None:
    """Every biome by day."""
    montage((scene(name, 7, [], False, 5000, (320, 180)) for name in BIOMES), 5, "voxelsim_biomes")


def draw_sheet() -> None:
    """Times of day, weather, water, mobs, things, hands."""
    montage(
        [
            sky(12700, 90.0, -8.0), sky(18000, 90.0, -60.0), torches(),
            weather("taiga", 4, "rain"), weather("snowy_tundra", 2, "rain"), weather("forest", 2, "thunder"),
            pond(below=False), pond(below=True), portal(),
            mobs_from(180.0), mobs_from(90.0, walks=True), mobs_from(0.0),
            lying_items(), hands("diamond_sword", "shield"), hands("grass_block", "torch"),
            hands("bow", bow=5), hands("bow", bow=14), hands("bow", bow=20),
        ],
        3,
        "voxelsim_sheet",
    )  # fmt: skip


def draw_sizes() -> None:
    """One moment at 640x360, 128x128 and 64x64; the small ones enlarged, not smoothed."""
    stage = Stage()
    stage.hold("iron_pickaxe", "bow", "oak_log", "torch", off="shield")
    stage.state.inventory[[2, 3], 1] = 37, 12
    stage.state.inventory[0, 2] = 120
    stage.state.player[P_HEALTH] = 13
    stage.put("oak_log", *((2, y, 6) for y in range(4)))
    stage.put("oak_leaves", *((x, y, z) for x in range(0, 5) for z in range(4, 9) for y in (4, 5) if (x, z) != (2, 6)))
    stage.mob("sheep", -2.0, 5.0, 150.0)
    stage.mob("cow", 0.0, 7.0, 60.0)
    tiles = [Image.fromarray(stage.frame(size)) for size in ((640, 360), (128, 128), (64, 64))]
    sheet = Image.new("RGB", (640 + 2 * 360, 360))
    for k, tile in enumerate(tiles):
        sheet.paste(
            tile if k == 0 else tile.resize((360, 360), Image.Resampling.NEAREST), (0 if k == 0 else 280 + 360 * k, 0)
        )
    sheet.save(IMAGES / "voxelsim_sizes.jpg", quality=85, optimize=True)


DRAWN: dict[str, Callable[[], None]] = {
    "voxelsim": draw_voxelsim,
    "biomes": draw_biomes,
    "sheet": draw_sheet,
    "sizes": draw_sizes,
}


def main() -> None:
    """Writes the pictures."""
    IMAGES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or DRAWN:
        DRAWN[name]()


if __name__ == "__main__":
    main()

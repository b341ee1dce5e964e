"""Draws docs/images/voxelsim.jpg: what the embedded world looks like. Run it again when the renderer changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from minestudio_nb.simulator import VoxelSim
from minestudio_nb.simulator.callbacks import CommandsCallback, SummonMobsCallback

IMAGES = Path(__file__).parent / "images"
SIZE = (480, 270)
COLUMNS = 3
MOBS = [{"name": name, "number": 3, "range_x": [-7, 7], "range_z": [-7, 7]} for name in ("cow", "sheep", "pig")]

SCENES = (
    ("dense_forest", 5, ["/give @p diamond_axe 1"], False, 1000),
    ("plains", 11, ["/give @p diamond_sword 1"], True, 6000),
    ("mountains", 3, ["/give @p diamond_pickaxe 1", "/give @p cobblestone 12"], False, 9000),
    ("desert", 2, ["/give @p obsidian 10"], False, 6000),
    ("forest", 8, ["/give @p oak_planks 32", "/give @p torch 4"], False, 12400),
    ("taiga", 4, ["/give @p bow 1", "/give @p arrow 16"], True, 3000),
)


def scene(biome: str, seed: int, commands: list[str], mobs: bool, time: int) -> np.ndarray:
    """One frame, uint8 (H, W, 3), of the side to which the view is widest."""
    callbacks = [CommandsCallback([*commands, f"/time set {time}"])]
    if mobs:
        callbacks.append(SummonMobsCallback(MOBS))
    sim = VoxelSim("env", (64, 64), SIZE, seed=seed, preferred_spawn_biome=biome, callbacks=callbacks)
    sim.reset()
    frames = []
    for _ in range(8):
        action = sim.noop_action()
        action["camera"] = np.array([0.0, 45.0])
        sim.step(action)
        frames.append(sim.render().copy())
    sim.close()
    return max(frames, key=lambda frame: float(frame.std()))


def main() -> None:
    """Writes the picture."""
    IMAGES.mkdir(exist_ok=True)
    rows = -(-len(SCENES) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * SIZE[0], rows * SIZE[1]))
    for number, chosen in enumerate(SCENES):
        tile = Image.fromarray(scene(*chosen))
        sheet.paste(tile, (number % COLUMNS * SIZE[0], number // COLUMNS * SIZE[1]))
    sheet.save(IMAGES / "voxelsim.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()

"""Textures and icons."""

import numpy as np

from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator import icons, textures
from minestudio_nb.simulator.hud import item_icon
from minestudio_nb.simulator.painting import PAINTERS


def _mean(name, rows=slice(None)):
    return textures.texture(name)[rows, :, :3].mean((0, 1))


def test_painting_is_repeatable_and_well_formed():
    for name in PAINTERS:
        image = textures.texture(name)
        assert image.shape == (16, 16, 4) and image.dtype == np.uint8
        assert set(np.unique(image[..., 3])) <= {0, 255}
        assert np.array_equal(image, textures.texture(name))


def test_colours_are_what_the_names_say():
    red, green, blue = _mean("grass_top")
    assert green > red > blue
    red, green, blue = _mean("water")
    assert blue > green > red
    fringe, earth = _mean("grass_side", slice(0, 2)), _mean("grass_side", slice(8, 16))
    assert fringe[1] > fringe[0] and earth[0] > earth[1] > earth[2]
    assert _mean("birch_bark").mean() > 1.5 * _mean("oak_bark").mean() > 1.5 * _mean("spruce_bark").mean()
    assert _mean("obsidian").mean() < 60


def test_leaves_glass_and_plants_have_holes_and_stone_has_none():
    for name in ("oak_leaves", "glass", "grass", "torch"):
        assert 0.05 < (textures.texture(name)[..., 3] == 0).mean() < 0.99
    assert (textures.texture("stone")[..., 3] == 255).all()


def test_the_packed_texels_are_the_textures():
    for name in ("stone", "oak_leaves"):
        start = textures.tile(name) * textures.TILE_TEXELS
        packed = textures.TEXELS[start : start + 256].astype("<u4").view(np.uint8).reshape(16, 16, 4)
        assert np.array_equal(packed, textures.texture(name))
        smallest = textures.TEXELS[start + 340 : start + 341].astype("<u4").view(np.uint8)
        visible = textures.texture(name)[textures.texture(name)[..., 3] > 0][:, :3]
        assert np.abs(smallest[:3] - visible.mean(0)).max() < 12


def test_every_block_has_faces_of_its_own():
    for block in table.BLOCKS[1:]:
        top, _bottom, side, _front = textures.block_faces(block.name)
        number = table.block_id(block.name)
        assert textures.FACES[number * 4 + textures.FACE_TOP] == textures.tile(top)
        assert textures.FACES[number * 4 + textures.FACE_SIDE_X] == textures.tile(side)


def test_icons_differ_and_fill_the_slot():
    pictures = {}
    for name in table.ITEM_NAMES[1:]:
        icon = item_icon(table.item_id(name))
        assert icon.shape == (16, 16, 4)
        assert (icon[..., 3] > 0).sum() >= 12, name
        pictures.setdefault(icon.tobytes(), []).append(name)
    twins = [names for names in pictures.values() if len(names) > 1]
    assert twins == []


def test_cracks_grow():
    stages = icons.crack_stages()
    assert stages.shape == (10, 16, 16)
    counts = stages.sum((1, 2))
    assert (np.diff(counts) > 0).all() and counts[0] >= 3
    assert (stages[:-1] <= stages[1:]).all()

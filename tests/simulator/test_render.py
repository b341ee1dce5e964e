"""Frames: what must be seen where, and golden images.

After a wanted change of the pictures: MSNB_WRITE_GOLDEN=1 pytest tests/simulator/test_render.py, and look at them.
"""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import biomes, lamplight, models, render, terrain, textures
from minestudio_nb.simulator import world as w
from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.mobs import MOB_KINDS, mob_kind
from minestudio_nb.simulator.state import (
    A_PITCH,
    A_STATE,
    A_X,
    A_Y,
    A_YAW,
    A_Z,
    ARROW_FIELDS,
    ARROW_FREE,
    I_AGE,
    I_COUNT,
    I_ITEM,
    I_X,
    I_Y,
    I_Z,
    ITEM_FIELDS,
)

GOLDEN = Path(__file__).parent / "golden"
NO_MOBS = np.full((1, 12), -1.0)
EMPTY = np.zeros((41, 3), np.int32)


def _room(size=64):
    """A flat world of stone with its top at y = 10."""
    world = w.World.empty(size)
    world.blocks[:, :, :10] = block_id("stone")
    world.rebuild()
    return world


def _scene(x=32.5, y=11.62, z=32.5, yaw=0.0, pitch=0.0, **fields):
    scene = render.new_scene()
    scene[:5] = x, y, z, yaw, pitch
    scene[render.SCENE_HUD] = 0.0
    for name, value in fields.items():
        scene[getattr(render, f"SCENE_{name}")] = value
    return scene


def _frame(world, scene, size=(64, 64), mobs=NO_MOBS, inventory=EMPTY, occlusion=False, **moving):
    return render.Renderer(size, occlusion).render(world, mobs, inventory, scene, **moving).astype(int)


def _hue(frame, row, column):
    return frame[row - 2 : row + 2, column - 2 : column + 2].mean((0, 1))


def test_sky_above_ground_below():
    frame = _frame(_room(), _scene())
    red, green, blue = _hue(frame, 4, 32)
    assert blue > green > red and blue > 200
    grey = _hue(frame, 58, 32)
    assert np.ptp(grey) < 6 and 80 < grey.mean() < 150


@pytest.mark.parametrize(
    ("yaw", "dx", "dz"), [(0.0, 0, 1), (90.0, -1, 0), (180.0, 0, -1), (-90.0, 1, 0), (270.0, 1, 0)]
)
def test_yaw_turns_as_in_minecraft(yaw, dx, dz):
    world = _room()
    for y in range(10, 13):
        world.set(32 + 3 * dx, y, 32 + 3 * dz, block_id("red_wool"))
    red, green, blue = _hue(_frame(world, _scene(yaw=yaw)), 32, 32)
    assert red > 1.8 * green and red > 1.8 * blue


def test_right_is_right_and_pitch_looks_down():
    world = _room()
    world.blocks[28, 36, 10:14] = block_id("red_wool")  # south-west: to the right when looking south
    world.rebuild()
    frame = _frame(world, _scene())
    redness = (frame[..., 0] - frame[..., 2]).clip(0).sum(0)
    assert redness[40:].sum() > 20 * max(redness[:24].sum(), 1)
    assert np.ptp(_hue(_frame(world, _scene(pitch=90.0)), 32, 32)) < 6


def test_the_angle_of_view_is_that_of_a_wide_frame():
    """A wall 4 away, from y 10 to 14, spans tangents of 1.62 / 4 below and 2.38 / 4 above the middle, of 0.70."""
    world = _room()
    world.blocks[:, 36, 10:14] = block_id("red_wool")
    world.rebuild()
    frame = _frame(world, _scene(z=32.0), size=(128, 128))
    red = frame[:, 64, 0] > 2 * frame[:, 64, 2]
    rows = np.nonzero(red)[0]
    assert rows.min() == pytest.approx(64 * (1 - 2.38 / 4 / render.TAN_V), abs=1.5)
    assert rows.max() == pytest.approx(64 * (1 + 1.62 / 4 / render.TAN_V), abs=1.5)


def test_frames_wrap_with_the_world():
    world = terrain.generate(3, "forest", 64)
    x, y, z = world.spawn
    here = _frame(world, _scene(x + 0.5, y + 1.62, z + 0.5, 30.0))
    there = _frame(world, _scene(x + 0.5 - 6400, y + 1.62, z + 0.5 + 640, 30.0))
    assert np.abs(here - there).mean() < 2.0


def test_night_is_dark_and_night_vision_is_not():
    day, night = _frame(_room(), _scene(pitch=40.0)), _frame(_room(), _scene(pitch=40.0, TIME=18000))
    assert night.mean() < 0.4 * day.mean()
    seen = _frame(_room(), _scene(pitch=40.0, TIME=18000, NIGHT_VISION=1.0))
    assert seen[40:].mean() == pytest.approx(day[40:].mean(), rel=0.1)


def test_the_light_of_the_day():
    """Values of Minecraft's formula: full light from 0 to 12000 but for the first minute, none from 13800 on."""
    assert render.day_brightness(6000) == 1.0
    assert render.day_brightness(0) == pytest.approx(0.93, abs=0.02)
    assert render.day_brightness(18000) == 0.0
    assert 0 < render.day_brightness(13000) < render.day_brightness(12000) < 1.0
    assert render.day_brightness(24000 + 6000) == 1.0


def test_a_roof_shades_and_glowstone_shines():
    open_air, covered = _room(), _room()
    covered.blocks[:, :, 20] = block_id("stone")
    covered.rebuild()
    down = _scene(pitch=60.0)
    assert _frame(covered, down).mean() < 0.8 * _frame(open_air, down).mean()
    covered.set(32, 9, 34, block_id("glowstone"))
    lit = _frame(covered, _scene(pitch=45.0, TIME=18000))
    assert lit.max() > 150


def test_a_torch_lights_its_surroundings_and_not_through_walls():
    dark = _room()
    dark.blocks[:, :, 16] = block_id("stone")
    dark.rebuild()
    night = _scene(pitch=40.0, TIME=18000)
    before = _frame(dark, night)
    dark.set(32, 10, 35, block_id("torch"))
    lit = _frame(dark, night)
    assert lit[40:60].mean() > 2 * before[40:60].mean()
    dark.blocks[:, 34, 10:16] = block_id("stone")
    dark.rebuild()
    walled = _frame(dark, night)
    dark.set(32, 10, 35, 0)
    assert np.array_equal(walled, _frame(dark, night))


def test_light_spreads_a_level_less_with_each_cell():
    world, (glow, queue) = _room(), lamplight.new_workspace()
    assert not lamplight.spread_light(world.blocks, 32.5, 11.0, 32.5, glow, queue)
    world.set(33, 10, 32, block_id("torch"))  # level 14
    world.blocks[30, :, 10:] = block_id("stone")
    world.rebuild()
    assert lamplight.spread_light(world.blocks, 32.5, 11.0, 32.5, glow, queue)
    middle = lamplight.GLOW_SIZE // 2
    levels = [int(glow[middle + dx, middle + dz, y]) for dx, y, dz in ((1, 10, 0), (0, 10, 0), (1, 13, 2), (-2, 10, 0))]
    assert levels == [14, 13, 9, 0]  # the last lies within the wall
    assert glow[middle - 3, middle, 10] == 0  # and behind it nothing shines


def test_leaves_let_one_see_through():
    world = _room()
    world.blocks[:, 35, 10:16] = block_id("oak_leaves")
    world.blocks[:, 36, 10:16] = block_id("red_wool")
    world.rebuild()
    frame = _frame(world, _scene(z=33.9), size=(128, 128))[40:80, 40:80]
    red = (frame[..., 0] > 2 * frame[..., 1]).mean()
    green = (frame[..., 1] > frame[..., 0]).mean()
    assert 0.05 < red < 0.45 and green > 0.4


def test_water_is_blue_from_above_and_tints_from_within():
    world = _room()
    world.blocks[:, :, 6:10] = block_id("water")
    world.rebuild()
    red, _green, blue = _hue(_frame(world, _scene(pitch=50.0)), 32, 32)
    assert blue > 1.5 * red
    below = _frame(world, _scene(y=8.0, pitch=30.0)).mean((0, 1))
    assert below[2] > 2 * below[0]


def test_plants_are_thin():
    world = _room()
    world.set(32, 10, 34, block_id("poppy"))
    with_flower = _frame(world, _scene(pitch=20.0), size=(128, 128))
    without = _frame(_room(), _scene(pitch=20.0), size=(128, 128))
    changed = (np.abs(with_flower - without).max(-1) > 8).mean()
    assert 0.001 < changed < 0.06


def test_cracks_darken_the_target_only():
    world = _room()
    world.blocks[30:35, 34, 10:14] = block_id("stone")
    world.rebuild()
    aimed = {"TARGET_X": 32, "TARGET_Y": 11, "TARGET_Z": 34}
    plain = _frame(world, _scene())
    means = [_frame(world, _scene(**aimed, BREAKING=share)).mean() for share in (0.05, 0.5, 0.95)]
    assert plain.mean() > means[0] > means[1] > means[2]
    changed = np.abs(plain - _frame(world, _scene(**aimed, BREAKING=0.95))).max(-1) > 0
    assert changed.any() and not changed[:, :8].any() and not changed[:8].any()


def test_the_outline_needs_a_large_frame():
    world = _room()
    world.blocks[30:35, 35, 10:14] = block_id("stone")
    world.rebuild()
    aimed = {"TARGET_X": 32, "TARGET_Y": 11, "TARGET_Z": 35}
    for size, expected in (((64, 64), False), ((320, 180), True)):
        changed = np.abs(_frame(world, _scene(), size) - _frame(world, _scene(**aimed), size)).max() > 0
        assert changed == expected


def test_corners_are_darker_with_occlusion():
    world = _room()
    world.blocks[:, 36:, 10:16] = block_id("stone")
    world.rebuild()
    scene = _scene(pitch=20.0)
    plain, shaded = (_frame(world, scene, (128, 128), occlusion=on) for on in (False, True))
    assert (shaded <= plain).all()
    corner = 64 + round(64 * (1.62 / 3.5 - np.tan(np.radians(20))) / (1 + 1.62 / 3.5 * np.tan(np.radians(20))) / 0.7)
    at_corner = shaded[corner, 64].mean() / plain[corner, 64].mean()
    assert at_corner < 0.8
    assert shaded[125, 64].mean() == pytest.approx(plain[125, 64].mean(), abs=1.0)


def _mob(kind, x=32.5, y=10.0, z=36.5, yaw=180.0, hurt=0.0):
    mob = np.zeros((1, 12))
    mob[0, :7] = kind, x, y, z, yaw, 10.0, hurt
    return mob


def test_mobs_look_like_what_they_are():
    pig = _hue(_frame(_room(), _scene(pitch=10.0), mobs=_mob(mob_kind("pig"))), 40, 32)
    assert pig[0] > pig[1] + 30
    zombie = _frame(_room(), _scene(), mobs=_mob(mob_kind("zombie")))
    changed = np.abs(zombie - _frame(_room(), _scene())).max(-1) > 0
    rows, columns = np.nonzero(changed)
    # Two blocks high at 4 blocks less half its depth: from 1.62 below the eye to 0.38 above.
    assert rows.min() == pytest.approx(32 * (1 - 0.38 / 3.8 / 0.7), abs=2)
    assert rows.max() == pytest.approx(32 * (1 + 1.62 / 3.9 / 0.7), abs=2)
    assert abs(columns.mean() - 31.5) < 2


def test_mobs_hide_behind_walls_redden_when_hit_and_wrap():
    world = _room()
    cow = _mob(mob_kind("cow"))
    seen, hurt = _frame(world, _scene(), mobs=cow), _frame(world, _scene(), mobs=_mob(mob_kind("cow"), hurt=5.0))
    assert (hurt - seen)[..., 0].sum() > 1000 and (hurt - seen)[..., 2].sum() < 0
    far = _frame(world, _scene(), mobs=_mob(mob_kind("cow"), x=32.5 + 640, z=36.5 - 64))
    assert np.abs(far - seen).mean() < 0.2
    world.blocks[:, 34, 10:14] = block_id("stone")
    world.rebuild()
    assert np.array_equal(_frame(world, _scene(), mobs=cow), _frame(world, _scene()))


def test_a_mob_faces_its_yaw():
    """A cow that looks at the player shows the white blaze of its face; from behind there is none."""
    face = _frame(_room(), _scene(), (128, 128), _mob(mob_kind("cow"), yaw=180.0))
    back = _frame(_room(), _scene(), (128, 128), _mob(mob_kind("cow"), yaw=0.0))
    assert face[70:76, 63:65].mean() > 1.5 * back[70:76, 63:65].mean()


def _lying(name, z=34.0, count=1, age=0):
    items = np.zeros((1, ITEM_FIELDS))
    items[0, [I_ITEM, I_X, I_Y, I_Z, I_COUNT, I_AGE]] = (item_id(name), 32.5, 10.0, z, count, age)
    return items


def _changed(seen, plain):
    return np.abs(seen - plain).max(-1) > 0


def test_lying_items_are_small_turn_and_bob():
    down = _scene(pitch=30)
    plain = _frame(_room(), down, (128, 128))
    for name in ("red_wool", "diamond_sword", "poppy"):
        first, later = (_frame(_room(), down, (128, 128), items=_lying(name, age=age)) for age in (0, 12))
        assert 0.001 < _changed(first, plain).mean() < 0.04
        assert _changed(first, later).mean() > 0.001


def test_large_stacks_show_more_items_and_a_shadow_lies_below():
    down = _scene(pitch=30)
    plain, one, many = (
        _frame(_room(), down, (320, 180), **fields)
        for fields in ({}, {"items": _lying("red_wool")}, {"items": _lying("red_wool", count=64)})
    )
    red_one, red_many = ((frame[..., 0] > 2 * frame[..., 1]).sum() for frame in (one, many))
    assert red_many > 1.5 * red_one
    shade = _changed(one, plain) & ((plain - one).min(-1) > 3) & (np.ptp(one, -1) < 6)
    assert 20 < shade.sum() < 800


def _arrow(yaw, pitch=0.0):
    arrows = np.zeros((1, ARROW_FIELDS))
    arrows[0, [A_X, A_Y, A_Z, A_YAW, A_PITCH]] = (32.5, 11.62, 34.5, yaw, pitch)
    return arrows


def test_arrows_are_long_thin_and_point_where_they_fly():
    plain = _frame(_room(), _scene(), (320, 180))
    across, along, upright = (
        np.nonzero(_changed(_frame(_room(), _scene(), (320, 180), arrows=_arrow(*angles)), plain))
        for angles in ((90.0, 0.0), (0.0, 0.0), (90.0, 90.0))
    )
    assert np.ptp(across[1]) > 3 * np.ptp(across[0]) and np.ptp(upright[0]) > 2 * np.ptp(upright[1])
    assert 0 < np.ptp(along[1]) < np.ptp(across[1]) / 2
    free = _arrow(0.0)
    free[0, A_STATE] = ARROW_FREE
    assert np.array_equal(_frame(_room(), _scene(), (320, 180), arrows=free), plain)


def test_every_mob_has_a_model_that_is_as_tall_as_its_box():
    for kind, mob in enumerate(MOB_KINDS):
        parts = models.PART_SHAPES[models.MODEL_START[kind] : models.MODEL_START[kind + 1]]
        assert parts[:, 1].min() == pytest.approx(0.0, abs=0.03), mob.name
        assert parts[:, 4].max() == pytest.approx(mob.height, abs=0.3), mob.name


def test_the_interface():
    inventory = EMPTY.copy()
    inventory[2] = item_id("diamond_axe"), 1, 0
    bare = _frame(_room(), _scene(HUD=0.0), (640, 360))
    empty = _frame(_room(), _scene(HUD=1.0, HELD=0), (640, 360))
    full = _frame(_room(), _scene(HUD=1.0, HELD=0), (640, 360), inventory=inventory)
    assert (empty[178:182, 318:322] != bare[178:182, 318:322]).all(-1).any()  # the crosshair
    changed = np.nonzero(np.abs(full - empty).max(-1))
    # The third slot's icon: 16 units at column 72 + 2 * 20 and row 161, two pixels each.
    assert changed[1].min() >= 224 and changed[1].max() < 256 and changed[0].min() >= 322 and changed[0].max() < 354
    hearts = [_frame(_room(), _scene(HUD=1.0, HEALTH=h), (640, 360))[288:306, 138:300, 0].sum() for h in (20, 9, 0)]
    assert hearts[0] > hearts[1] > hearts[2]
    moved = _frame(_room(), _scene(HUD=1.0, SLOT=8), (640, 360))
    assert np.abs(moved - empty)[310:360, 450:520].max() > 50


def _hud(inventory=EMPTY, **fields):
    return _frame(_room(), _scene(HUD=1.0, **fields), (640, 360), inventory=inventory)


def test_wear_shows_below_the_icon_from_green_to_red():
    axe, colours = item_id("diamond_axe"), []
    for used in (0, 300, 1500):
        inventory = EMPTY.copy()
        inventory[0] = axe, 1, used
        row = _hud(inventory)[348, 148:174]  # 13 units below the icon's top at 161, from 2 to 15 units right of 72
        colours.append((int((row[:, 1] > 150).sum()), int((row[:, 0] > 150).sum())))
    # 1561 uses: 300 leave 0.81 of 26 pixels, more green than red; 1500 leave 0.04 of them, red.
    assert colours[1][0] == 21 and colours[1][1] == 0
    assert colours[2] == (0, 1)


def test_breath_shows_as_bubbles_under_water_only():
    open_air, drowning, empty = (_hud(AIR=air) for air in (300, 121, 0))
    assert np.array_equal(open_air, empty)
    columns = np.nonzero(_changed(drowning, open_air)[262:280].any(0))[0]
    # 121 ticks: four whole bubbles and one that bursts, from the right edge of the food leftwards, 16 pixels each.
    assert columns.max() in range(496, 504) and columns.min() in range(420, 440)


def test_armor_shows_above_the_hearts_when_it_is_worn():
    inventory = EMPTY.copy()
    inventory[38] = item_id("iron_chestplate"), 1, 0  # 6 points: three whole pieces of ten
    changed = _changed(_hud(inventory), _hud())
    rows, columns = np.nonzero(changed)
    assert rows.min() in range(262, 266) and rows.max() < 282 and columns.max() in range(290, 302)
    bright = _hud(inventory)[262:280, 138:300].min(-1) > 180
    assert np.nonzero(bright.any(0))[0].max() < 3 * 16 + 2


def test_the_off_hand_has_a_slot_of_its_own():
    inventory = EMPTY.copy()
    inventory[40] = block_id("torch"), 5, 0
    rows, columns = np.nonzero(_changed(_hud(inventory), _hud()))
    assert columns.min() == 80 and columns.max() < 126 and rows.min() >= 314


def test_rain_falls_outdoors_only_and_snow_is_whiter():
    down = _scene(RAIN=1.0, PRECIPITATION=1.0)
    dry = _frame(_room(), _scene(RAIN=1.0, PRECIPITATION=0.0), (320, 180))
    wet, snow = (_frame(_room(), _scene(RAIN=1.0, PRECIPITATION=kind), (320, 180)) for kind in (1.0, 2.0))
    assert 0.01 < _changed(wet, dry).mean() < 0.4
    assert snow[_changed(snow, dry)].mean() > wet[_changed(wet, dry)].mean() + 40
    later = _frame(_room(), _scene(RAIN=1.0, TIME=6001.0), (320, 180))
    assert _changed(later, wet).mean() > 0.005
    roofed = _room()
    roofed.blocks[:, :, 20] = block_id("stone")
    roofed.rebuild()
    assert np.array_equal(*(_frame(roofed, scene) for scene in (down, _scene(RAIN=1.0, PRECIPITATION=0.0))))


def test_biomes_have_their_own_green():
    world = _room()
    world.blocks[:, :, 9] = block_id("grass_block")
    grass = {
        biome: _hue(_frame(world, _scene(pitch=80.0, PALETTE=textures.palette_of(biome))), 32, 32)
        for biome in ("plains", "jungle", "desert")
    }
    # The ratios of Minecraft's colours: 0x59C93C and 0xBFB755 over 0x91BD59.
    assert grass["jungle"] / grass["plains"] == pytest.approx([89 / 145, 201 / 189, 60 / 89], rel=0.05)
    assert grass["desert"] / grass["plains"] == pytest.approx([191 / 145, 183 / 189, 85 / 89], rel=0.05)


def test_every_biome_has_colours():
    assert set(biomes.BIOMES) <= set(textures.BIOME_COLOURS)


def test_stars_and_moon_at_night():
    up = {"pitch": -60.0, "yaw": 0.0}
    night, day = (_frame(_room(), _scene(**up, TIME=time), (320, 180)) for time in (18000, 6000))
    stars = night.max(-1) > 60
    assert 10 < stars.sum() < 1500 and night.mean() < 0.2 * day.mean()
    moon = _frame(_room(), _scene(pitch=-90.0, TIME=18000), (320, 180))[84:96, 154:166]
    assert moon.mean() > 150


def test_open_water_stands_below_its_cell_and_ice_is_looked_through():
    world = _room()
    world.blocks[:, 36:, 9] = block_id("water")
    world.blocks[:, 36:, 8] = block_id("red_wool")
    world.rebuild()
    frame = _frame(world, _scene(y=10.3), (320, 180))
    # From 0.3 above the stone its edge at 3.5 hides the water's surface, 0.11 lower, up to a distance of 4.8.
    assert frame[100, 160, 2] > 1.2 * frame[100, 160, 0]
    icy = _room()
    icy.blocks[:, 36, 10:14] = block_id("ice")
    icy.blocks[:, 37, 10:14] = block_id("red_wool")
    icy.rebuild()
    plain = _room()
    plain.blocks[:, 36, 10:14] = block_id("ice")
    plain.rebuild()
    through, alone = (_hue(_frame(w, _scene(pitch=10.0)), 30, 32) for w in (icy, plain))
    assert through[1] < alone[1] - 20


def test_the_hand_swings_and_holds():
    rest, held, swung = (
        _frame(_room(), _scene(HUD=1.0, **fields), (128, 128))
        for fields in ({"HELD": 0}, {"HELD": item_id("diamond_sword")}, {"HELD": 0, "SWING": 0.4})
    )
    assert np.abs(rest - held)[60:110, 70:].max() > 40
    assert np.abs(rest - swung)[60:110].max() > 40


def test_the_off_hand_is_on_the_left_and_items_have_a_thickness():
    empty = _frame(_room(), _scene(HUD=1.0), (640, 360))
    off = _frame(_room(), _scene(HUD=1.0, OFFHAND=item_id("bucket")), (640, 360))
    columns = np.nonzero(_changed(off, empty)[:288])[1]  # above the hotbar
    assert columns.size > 1000 and columns.max() < 320
    sword = _frame(_room(), _scene(HUD=1.0, HELD=item_id("iron_ingot")), (640, 360))
    flat = _frame(_room(), _scene(HUD=1.0, HELD=item_id("iron_ingot")), (192, 108))
    tones = [
        len(np.unique(frame[frame.shape[0] // 2 :, frame.shape[1] * 2 // 3 :].reshape(-1, 3), axis=0))
        for frame in (sword, flat)
    ]
    assert tones[0] > tones[1]


def test_drawing_a_bow_has_three_pictures_and_eating_moves_the_food():
    bow = {"HUD": 1.0, "HELD": item_id("bow")}
    frames = [_frame(_room(), _scene(**bow, BOW=ticks), (320, 180)) for ticks in (0, 5, 14, 20)]
    for one, other in itertools.pairwise(frames):
        assert _changed(one, other).mean() > 0.01
    food = {"HUD": 1.0, "HELD": item_id("apple")}
    held, eaten = (_frame(_room(), _scene(**food, EATEN=ticks), (320, 180)) for ticks in (0, 25))
    red = [np.nonzero(frame[..., 0] > 2 * frame[..., 1])[1].mean() for frame in (held[:140], eaten[:140])]
    assert red[1] < red[0] - 20  # towards the mouth


def test_frames_repeat_bit_for_bit_and_go_where_they_are_told():
    world = terrain.generate(3, "forest", 64)
    x, y, z = world.spawn
    scene = _scene(x + 0.5, y + 1.62, z + 0.5, 30.0, HUD=1.0)
    renderer = render.Renderer((64, 48))
    buffer = np.empty((48, 64, 3), np.uint8)
    assert renderer.render(world, NO_MOBS, EMPTY, scene, buffer) is buffer
    assert np.array_equal(buffer, renderer.render(world, NO_MOBS, EMPTY, scene))
    with pytest.raises(SimulatorError, match=r"\(48, 64, 3\)"):
        renderer.render(world, NO_MOBS, EMPTY, scene, np.empty((64, 48, 3), np.uint8))
    with pytest.raises(SimulatorError, match="16x16"):
        render.Renderer((8, 64))


@pytest.mark.parametrize("y", [-3.0, 63.5, 64.0, 75.0])
def test_eyes_outside_the_heights_of_the_world(y):
    world = _room()
    world.blocks[20, 20, 63] = 3
    world.rebuild()
    frame = _frame(world, _scene(y=y, pitch=80.0))
    if y > 60:
        assert np.ptp(_hue(frame, 32, 32)) < 60  # stone in haze; the sky has 71
    _frame(world, _scene(y=y, pitch=-90.0))


GALLERY = {
    "forest": (3, "forest", 30.0, 5.0, {"HELD": item_id("diamond_axe")}),
    "dense_forest": (3, "dense_forest", 0.0, 0.0, {}),
    "desert_dusk": (6, "desert", 90.0, 0.0, {"TIME": 12600.0, "HELD": block_id("furnace")}),
    "mountains_rain": (4, "mountains", 160.0, -5.0, {"RAIN": 1.0, "HELD": item_id("bow")}),
}


@pytest.mark.parametrize("name", list(GALLERY))
def test_golden_images(name):
    seed, biome, yaw, pitch, fields = GALLERY[name]
    world = terrain.generate(seed, biome, 64)
    x, y, z = world.spawn
    mobs = np.concatenate([_mob(kind, x + 2.0 * kind - 2, y, z + 6.0, 150.0) for kind in range(4)])
    inventory = EMPTY.copy()
    inventory[:3] = [(item_id("diamond_axe"), 1, 0), (block_id("oak_log"), 12, 0), (item_id("beef"), 3, 0)]
    scene = _scene(x + 0.5, y + 1.62, z + 0.5, yaw, pitch, HUD=1.0, PALETTE=textures.palette_of(biome), **fields)
    frame = render.Renderer((224, 126)).render(world, mobs, inventory, scene)
    path = GOLDEN / f"{name}.png"
    if os.environ.get("MSNB_WRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        Image.fromarray(frame).save(path, optimize=True)
    golden = np.asarray(Image.open(path)).astype(int)
    assert np.abs(frame - golden).mean() < 0.01 * 255

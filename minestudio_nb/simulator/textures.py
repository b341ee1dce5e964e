"""Block textures, drawn by code: 16x16 texels each, with four smaller levels for the distance.

Nothing here is copied from Minecraft's art. Each texture is a small program over a random generator that is seeded by
the texture's name, so that adding one leaves the others as they are.

``TEXELS`` and ``FACES`` are what the renderer reads: ``TEXELS[tile * TILE_TEXELS + LEVEL_START[level] + row * side +
column]`` is one texel, packed as 0xAABBGGRR; ``FACES[palette * PALETTE_FACES + block * 4 + face]`` is the tile of a
face, in the colours of a biome.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.simulator import paint_made, paint_mobs, paint_nature
from minestudio_nb.simulator.blocks import BLOCKS, ITEMS, block_id
from minestudio_nb.simulator.icons import SHAPES, draw_item
from minestudio_nb.simulator.painting import PAINTERS, Image, paint

LEVELS: Final = 5
LEVEL_START: Final = (0, 256, 320, 336, 340)
TILE_TEXELS: Final = 341

# Order of the faces in FACES: the two kinds of sides differ, so that a furnace can have a front.
FACE_SIDE_X: Final = 0
FACE_TOP: Final = 1
FACE_SIDE_Z: Final = 2
FACE_BOTTOM: Final = 3


# Blocks whose faces are not all the texture of the block's own name: (top, bottom, side x, side z).
_FACES: Final[dict[str, tuple[str, str, str, str]]] = {
    "grass_block": ("grass_top", "dirt", "grass_side", "grass_side"),
    "podzol": ("podzol_top", "dirt", "podzol_top", "podzol_top"),
    "grass_path": ("path_top", "dirt", "dirt", "dirt"),
    "oak_log": ("oak_top", "oak_top", "oak_bark", "oak_bark"),
    "birch_log": ("birch_top", "birch_top", "birch_bark", "birch_bark"),
    "spruce_log": ("spruce_top", "spruce_top", "spruce_bark", "spruce_bark"),
    "jungle_log": ("jungle_top", "jungle_top", "jungle_bark", "jungle_bark"),
    "acacia_log": ("acacia_top", "acacia_top", "acacia_bark", "acacia_bark"),
    "dark_oak_log": ("dark_oak_top", "dark_oak_top", "dark_oak_bark", "dark_oak_bark"),
    "crafting_table": ("crafting_table_top", "oak_planks", "crafting_table_side", "crafting_table_side"),
    "furnace": ("furnace_side", "furnace_side", "furnace_side", "furnace_front"),
    "bookshelf": ("oak_planks", "oak_planks", "bookshelf", "bookshelf"),
    "chest": ("chest_side", "chest_side", "chest_side", "chest_front"),
    "pumpkin": ("pumpkin_top", "pumpkin_top", "pumpkin_side", "pumpkin_side"),
    "melon": ("melon_side", "melon_side", "melon_side", "melon_side"),
    "hay_block": ("hay_top", "hay_top", "hay_side", "hay_side"),
    "snow_block": ("snow", "snow", "snow", "snow"),
    "cactus": ("cactus_top", "cactus_top", "cactus_side", "cactus_side"),
    "tnt": ("tnt_top", "tnt_top", "tnt_side", "tnt_side"),
}


# Colours of grass, leaves and water by biome (Minecraft Wiki, "Color": 1.16's values). Textures are painted in the
# colours of the plains, which come first.
BIOME_COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "plains": (0x91BD59, 0x77AB2F, 0x3F76E4),
    "meadow": (0x91BD59, 0x77AB2F, 0x3F76E4),
    "forest": (0x79C05A, 0x59AE30, 0x3F76E4),
    "birch_forest": (0x88BB67, 0x6BA941, 0x3F76E4),
    "dense_forest": (0x79C05A, 0x59AE30, 0x3F76E4),
    "dark_forest": (0x507A32, 0x59AE30, 0x3F76E4),
    "taiga": (0x86B783, 0x68A464, 0x3F76E4),
    "mountains": (0x8AB689, 0x6DA36B, 0x3F76E4),
    "desert": (0xBFB755, 0xAEA42A, 0x3F76E4),
    "savanna": (0xBFB755, 0xAEA42A, 0x3F76E4),
    "jungle": (0x59C93C, 0x30BB0B, 0x3F76E4),
    "swamp": (0x6A7039, 0x6A7039, 0x617B64),
    "badlands": (0x90814D, 0x9E814D, 0x3F76E4),
    "beach": (0x91BD59, 0x77AB2F, 0x3F76E4),
    "ocean": (0x8EB971, 0x71A74D, 0x3F76E4),
    "snowy_tundra": (0x80B497, 0x60A17B, 0x3D57D6),
    "snowy_taiga": (0x80B497, 0x60A17B, 0x3D57D6),
}
# Which of them a texture takes.
_TINTED: Final = {
    "grass_top": 0, "grass_side": 0, "grass": 0, "fern": 0, "sugar_cane": 0, "oak_leaves": 1, "water": 2,
}  # fmt: skip
PALETTE_FACES: Final = 4 * 256

# Importing these modules has filled PAINTERS; naming them keeps the imports, and fixes the order of the tiles.
_PAINTED_BY: Final = (paint_nature, paint_made, paint_mobs)
_TILES: Final[dict[str, int]] = {name: i for i, name in enumerate(PAINTERS)}
FIRST_ITEM_TILE: Final = len(_TILES)
"""Item ``FIRST_ITEM + k`` has the tile ``FIRST_ITEM_TILE + k``."""


def texture(name: str) -> Image:
    """One texture, uint8[16, 16, 4]. Names are the keys of ``painting.PAINTERS``."""
    return paint(name)


def tile(name: str) -> int:
    """The number of a texture's tile in ``TEXELS``."""
    return _TILES[name]


def block_faces(block: str) -> tuple[str, str, str, str]:
    """The textures of a block's faces: top, bottom, sides towards x, sides towards z."""
    return _FACES.get(block, (block, block, block, block))


def _rgb(colour: int) -> NDArray[np.float64]:
    return np.array([colour >> 16, (colour >> 8) & 255, colour & 255], float)


def _tinted(name: str, biome: str) -> Image:
    """A texture in the colours of a biome."""
    image, which = paint(name), _TINTED[name]
    ratio = _rgb(BIOME_COLOURS[biome][which]) / _rgb(BIOME_COLOURS["plains"][which])
    grown = image[..., 1] > image[..., 0] if which == 0 else np.ones(image.shape[:2], bool)  # not the earth below grass
    image[grown, :3] = np.clip(image[grown, :3] * ratio + 0.5, 0, 255).astype(np.uint8)
    return image


def palette_of(biome: str) -> int:
    """The palette of one of ``biomes.BIOMES``; that of the plains for a name without colours."""
    names = list(BIOME_COLOURS)
    return names.index(biome) if biome in names else 0


def _levels(image: Image) -> NDArray[np.uint8]:
    """The texture and its four halvings, uint8[341, 4].

    Colours are averaged weighted by opacity; a texel stays opaque while at least 40 % of what it covers is, so that
    crowns and grass do not dissolve with the distance.
    """
    current = image.astype(float)
    levels = [current]
    for _ in range(LEVELS - 1):
        side = current.shape[0] // 2
        blocks = current.reshape(side, 2, side, 2, 4)
        weight = blocks[..., 3:] + 1e-3
        rgb = (blocks[..., :3] * weight).sum((1, 3)) / weight.sum((1, 3))
        alpha = np.where(blocks[..., 3:].mean((1, 3)) >= 102.0, 255.0, 0.0)
        current = np.concatenate([rgb, alpha], -1)
        levels.append(current)
    return np.concatenate([np.clip(level + 0.5, 0, 255).reshape(-1, 4) for level in levels]).astype(np.uint8)


def item_tile(name: str) -> int:
    """The number of the tile of an item that is no block, or of one of ``icons.SHAPES``."""
    return FIRST_ITEM_TILE + [*(item.name for item in ITEMS), *SHAPES].index(name)


def _pack_texels() -> NDArray[np.uint32]:
    """All textures, the icons of the items that are no blocks, their shapes, and the textures of other palettes."""
    images = [paint(name) for name in _TILES]
    images += [draw_item(name) for name in (*(item.name for item in ITEMS), *SHAPES)]
    images += [_tinted(name, biome) for biome in list(BIOME_COLOURS)[1:] for name in _TINTED]
    texels = np.stack([_levels(image) for image in images])
    return np.ascontiguousarray(texels).view("<u4").astype(np.uint32).reshape(-1)


def _pack_faces() -> NDArray[np.int32]:
    faces = np.zeros((256, 4), np.int32)
    for block in BLOCKS[1:]:
        top, bottom, side_x, side_z = block_faces(block.name)
        faces[block_id(block.name)] = (_TILES[side_x], _TILES[top], _TILES[side_z], _TILES[bottom])
    palettes = [faces]
    first = FIRST_ITEM_TILE + len(ITEMS) + len(SHAPES)
    for _ in range(len(BIOME_COLOURS) - 1):
        tinted = faces.copy()
        for k, name in enumerate(_TINTED):
            tinted[faces == _TILES[name]] = first + k
        palettes.append(tinted)
        first += len(_TINTED)
    return np.concatenate(palettes).reshape(-1)


def _frozen(values: NDArray) -> NDArray:
    values.setflags(write=False)
    return values


TEXELS: Final = _frozen(_pack_texels())
FACES: Final = _frozen(_pack_faces())

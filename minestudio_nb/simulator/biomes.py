"""The biomes: what makes a landscape, and which of them stands for each biome of Minecraft."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.world import HEIGHT

TREE_NONE: Final = 0
TREE_OAK: Final = 1
TREE_BIRCH: Final = 2
TREE_SPRUCE: Final = 3
TREE_JUNGLE: Final = 4
TREE_ACACIA: Final = 5
TREE_DARK_OAK: Final = 6
TREE_BUSH: Final = 7


@dataclass(frozen=True)
class Biome:
    """What makes a landscape.

    ``base`` is the mean height and ``amplitude`` the largest deviation from it, in cells; heights come in steps of
    ``terrace``. ``water`` is the height up to which hollows fill, ``ice`` whether its surface is frozen; ``detail``
    the share of each finer octave of the height. ``surface`` covers ``depth`` cells of ``filler``, which cover stone;
    ``shore`` lies under water and up to ``shore_height`` above it; above ``bare_above`` stone lies open and above
    ``snow_above`` snow covers it. One tree may stand in each square of ``tree_spacing`` cells, with probability
    ``trees``; ``tree_kinds`` are (first, second) and ``second_share`` the share of the second. ``grass``, ``flowers``,
    ``melons``, ``cactus`` and ``dead_bush`` are probabilities per cell of ground, ``ferns`` the share of ferns among
    grass.
    """

    base: int = 27
    amplitude: float = 4.0
    water: int = 23
    ice: bool = False
    detail: float = 0.5
    terrace: int = 1
    surface: str = "grass_block"
    filler: str = "dirt"
    depth: int = 3
    shore: str = "sand"
    shore_height: int = 1
    bare_above: int = HEIGHT
    snow_above: int = HEIGHT
    trees: float = 0.0
    tree_spacing: int = 8
    tree_kinds: tuple[int, int] = (TREE_OAK, TREE_BIRCH)
    second_share: float = 0.2
    grass: float = 0.07
    ferns: float = 0.0
    flowers: float = 0.01
    melons: float = 0.0
    cactus: float = 0.0
    dead_bush: float = 0.0


BIOMES: Final[dict[str, Biome]] = {
    "plains": Biome(trees=0.05, grass=0.1, flowers=0.015),
    "forest": Biome(base=28, amplitude=8.0, trees=0.65, tree_spacing=7),
    "birch_forest": Biome(base=28, amplitude=8.0, trees=0.7, tree_spacing=7, tree_kinds=(TREE_BIRCH, TREE_OAK)),
    "dense_forest": Biome(base=28, amplitude=5.0, water=22, trees=0.97, tree_spacing=6, grass=0.03),
    "taiga": Biome(
        base=28, amplitude=9.0, trees=0.6, tree_spacing=7, tree_kinds=(TREE_SPRUCE, TREE_SPRUCE), flowers=0.0
    ),
    "meadow": Biome(base=28, amplitude=2.5, trees=0.03, grass=0.03, flowers=0.02),
    "desert": Biome(
        amplitude=6.0,
        water=15,
        surface="sand",
        filler="sandstone",
        grass=0.0,
        flowers=0.0,
        cactus=0.006,
        dead_bush=0.008,
    ),
    "mountains": Biome(
        base=31,
        amplitude=21.0,
        water=22,
        detail=0.45,
        shore="gravel",
        bare_above=38,
        snow_above=45,
        trees=0.25,
        tree_kinds=(TREE_SPRUCE, TREE_OAK),
        grass=0.06,
    ),
    "snowy_tundra": Biome(
        amplitude=6.0, ice=True, surface="snow_block", shore="gravel", shore_height=-1, trees=0.04,
        tree_kinds=(TREE_SPRUCE, TREE_SPRUCE)
    ),
    "snowy_taiga": Biome(
        base=28, amplitude=9.0, ice=True, surface="snow_block", shore="gravel", shore_height=-1, trees=0.55,
        tree_spacing=7, tree_kinds=(TREE_SPRUCE, TREE_SPRUCE),
    ),
    "dark_forest": Biome(
        base=28, amplitude=6.0, trees=0.95, tree_spacing=7, tree_kinds=(TREE_DARK_OAK, TREE_OAK), second_share=0.25,
        grass=0.03,
    ),
    "jungle": Biome(
        base=29, amplitude=9.0, trees=0.97, tree_spacing=5, tree_kinds=(TREE_JUNGLE, TREE_BUSH), second_share=0.5,
        grass=0.16, ferns=0.3, melons=0.002,
    ),
    "savanna": Biome(
        amplitude=5.0, water=20, trees=0.3, tree_spacing=11, tree_kinds=(TREE_ACACIA, TREE_OAK), second_share=0.15,
        grass=0.3, flowers=0.003,
    ),
    "swamp": Biome(
        base=25, amplitude=4.0, shore="dirt", shore_height=-1, trees=0.35, tree_kinds=(TREE_OAK, TREE_OAK), grass=0.14
    ),
    "badlands": Biome(
        base=30, amplitude=15.0, water=15, detail=0.4, terrace=4, surface="red_sand", filler="terracotta", depth=18,
        shore="red_sand", grass=0.0, flowers=0.0, cactus=0.004, dead_bush=0.012,
    ),
    "beach": Biome(base=24, amplitude=6.0, shore_height=3, trees=0.05, grass=0.03),
    "ocean": Biome(base=20, amplitude=14.0, water=25, trees=0.2, grass=0.05),
}  # fmt: skip

NEAREST: Final[dict[str, tuple[str, ...]]] = {
    "plains": ("sunflower_plains", "river", "mushroom_fields", "mushroom_field_shore", "mushroom_island"),
    "forest": ("wooded_hills", "flower_forest", "forest_hills"),
    "birch_forest": ("birch_forest_hills", "tall_birch_forest", "tall_birch_hills"),
    "dark_forest": ("dark_forest_hills", "roofed_forest"),
    "taiga": (
        "taiga_hills", "taiga_mountains", "giant_tree_taiga", "giant_tree_taiga_hills", "giant_spruce_taiga",
        "giant_spruce_taiga_hills", "redwood_taiga", "redwood_taiga_hills",
    ),
    "desert": ("desert_hills", "desert_lakes"),
    "mountains": (
        "wooded_mountains", "gravelly_mountains", "modified_gravelly_mountains", "mountain_edge", "stone_shore",
        "extreme_hills", "smaller_extreme_hills", "extreme_hills_with_trees", "stone_beach", "hills",
    ),
    "snowy_tundra": (
        "snowy_mountains", "ice_spikes", "snowy_beach", "frozen_river", "frozen_ocean", "deep_frozen_ocean",
        "ice_plains", "ice_flats", "ice_mountains", "cold_beach",
    ),
    "snowy_taiga": ("snowy_taiga_hills", "snowy_taiga_mountains", "taiga_cold", "taiga_cold_hills"),
    "jungle": (
        "jungle_hills", "modified_jungle", "jungle_edge", "modified_jungle_edge", "bamboo_jungle",
        "bamboo_jungle_hills",
    ),
    "savanna": ("savanna_plateau", "shattered_savanna", "shattered_savanna_plateau", "savanna_rock"),
    "swamp": ("swamp_hills", "swampland"),
    "badlands": (
        "badlands_plateau", "modified_badlands_plateau", "wooded_badlands_plateau",
        "modified_wooded_badlands_plateau", "eroded_badlands", "mesa", "mesa_rock", "mesa_clear_rock",
    ),
    "beach": ("beaches",),
    "ocean": (
        "deep_ocean", "cold_ocean", "deep_cold_ocean", "lukewarm_ocean", "deep_lukewarm_ocean", "warm_ocean",
        "deep_warm_ocean",
    ),
}  # fmt: skip
"""Every other biome of Minecraft 1.16's overworld (Minecraft Wiki, "Biome/ID") by the nearest of ours, with names of
earlier versions, which the real game's engine knows, too."""
_ALIASES: Final = {name: ours for ours, names in NEAREST.items() for name in names}

DEFAULT_BIOME: Final = "forest"


def biome_name(name: str | None) -> str:
    """The key of ``BIOMES`` that a name means ("extreme_hills" and Minecraft's "minecraft:" prefix are understood);
    None: the default.

    Raises:
        SimulatorError: no such biome; the message names the nearest one.
    """
    plain = (name or DEFAULT_BIOME).removeprefix("minecraft:")
    plain = _ALIASES.get(plain, plain)
    if plain in BIOMES:
        return plain
    near = difflib.get_close_matches(plain, [*BIOMES, *_ALIASES], n=1, cutoff=0.0)
    raise SimulatorError(
        f"This world has no biome {name!r}. The nearest is {near[0]!r}; there are {', '.join(BIOMES)}."
    )


def resolve_biome(name: str | None) -> Biome:
    """The biome of a name, see ``biome_name``."""
    return BIOMES[biome_name(name)]

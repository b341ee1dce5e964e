"""What the words of chat commands mean: tokens, coordinates, selectors, items, blocks and their data."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.bodies import cos_deg, sin_deg
from minestudio_nb.simulator.engine import VoxelEngine
from minestudio_nb.simulator.mobs import MOB_NAMES
from minestudio_nb.simulator.state import A_STATE, A_X, I_ITEM, I_X, M_KIND, M_X, P_PITCH, P_X, P_YAW
from minestudio_nb.simulator.vitals import eye_height

_PLAYER_SELECTORS: Final = ("@p", "@a", "@r")
_ENTITY_KINDS: Final = ("player", "item", "arrow", *MOB_NAMES)
_SORTS: Final = ("nearest", "furthest", "random", "arbitrary")


@dataclass(frozen=True)
class Entity:
    """Something that a selector can mean: ``what`` is "player", "mob", "item" or "arrow", ``row`` its row there."""

    what: str
    row: int = 0

    def where(self, engine: VoxelEngine) -> tuple[float, float, float]:
        """Its feet."""
        state = engine.state
        if self.what == "player":
            values = state.player[P_X : P_X + 3]
        elif self.what == "mob":
            values = state.mobs[self.row, M_X : M_X + 3]
        elif self.what == "item":
            values = state.items[self.row, I_X : I_X + 3]
        else:
            values = state.arrows[self.row, A_X : A_X + 3]
        x, y, z = values.tolist()
        return x, y, z

    def kind(self, engine: VoxelEngine) -> str:
        """Its type, as selectors name it."""
        return MOB_NAMES[int(engine.state.mobs[self.row, M_KIND])] if self.what == "mob" else self.what


PLAYER: Final = Entity("player")


@dataclass(frozen=True)
class Context:
    """Who carries out a command, and where: what "@s", "~" and "^" refer to.

    Attributes:
        engine: the world.
        rng: for what involves chance.
        executor: who "@s" is.
        x, y, z: the point that "~" counts from.
    """

    engine: VoxelEngine
    rng: np.random.Generator
    executor: Entity
    x: float
    y: float
    z: float

    @classmethod
    def of_player(cls, engine: VoxelEngine, rng: np.random.Generator) -> Context:
        """The player, where it stands."""
        return cls(engine, rng, PLAYER, *PLAYER.where(engine))

    def at(self, entity: Entity) -> Context:
        """The same, at the place of an entity."""
        x, y, z = entity.where(self.engine)
        return replace(self, x=x, y=y, z=z)


def split_words(text: str) -> list[str]:
    """The words of a command: separated by spaces, but not within brackets and quotes."""
    words, depth, quoted, word = [], 0, False, ""
    for letter in text:
        if letter == '"':
            quoted = not quoted
        elif not quoted and letter in "[{":
            depth += 1
        elif not quoted and letter in "]}":
            depth -= 1
        if letter.isspace() and depth <= 0 and not quoted:
            if word:
                words.append(word)
            word = ""
        else:
            word += letter
    return [*words, word] if word else words


def read_pairs(text: str, separator: str) -> list[tuple[str, str]]:
    """The entries of a list such as "type=cow,limit=1" or "Age:0,Health:5"."""
    pairs = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        key, found, value = entry.partition(separator)
        if not found:
            raise ValueError(f"{entry!r} has no {separator!r}")
        pairs.append((key.strip(), value.strip()))
    return pairs


def read_position(context: Context, words: list[str]) -> tuple[float, float, float]:
    """Three coordinates: absolute, "~" with an offset from the context's place, or "^" left, up and ahead of the view.

    Raises:
        ValueError: fewer than three, or no numbers.
    """
    if len(words) < 3:
        raise ValueError("a position has three coordinates")
    if any(word.startswith("^") for word in words[:3]):
        return _ahead(context, words[:3])
    values = []
    for word, origin in zip(words, (context.x, context.y, context.z), strict=False):
        relative = word.startswith("~")
        value = float(word[relative:] or 0.0) + (origin if relative else 0.0)
        if not abs(value) < 3e7:  # the border of Minecraft's world; also false for NaN
            raise ValueError(f"coordinates lie within 30 million blocks, got {word}")
        values.append(value)
    return values[0], values[1], values[2]


def _ahead(context: Context, words: list[str]) -> tuple[float, float, float]:
    if not all(word.startswith("^") for word in words):
        raise ValueError("'^' coordinates do not mix with others")
    left, up, ahead = (float(word[1:] or 0.0) for word in words)
    player = context.engine.state.player
    yaw, pitch = float(player[P_YAW]), float(player[P_PITCH])
    flat, rise = cos_deg(pitch), -sin_deg(pitch)
    forward = np.array([-sin_deg(yaw) * flat, rise, cos_deg(yaw) * flat])
    above = np.array([sin_deg(yaw) * rise, flat, -cos_deg(yaw) * rise])
    side = np.array([cos_deg(yaw), 0.0, sin_deg(yaw)])
    origin = np.array([context.x, context.y + eye_height(context.engine.state.status), context.z])
    x, y, z = (origin + left * side + up * above + ahead * forward).tolist()
    return x, y, z


def read_cell(context: Context, words: list[str]) -> tuple[int, int, int]:
    """The cell that holds a position."""
    x, y, z = (math.floor(value) for value in read_position(context, words))
    return x, y, z


def _all_entities(engine: VoxelEngine) -> list[Entity]:
    state = engine.state
    found = [] if engine.dead else [PLAYER]
    found += [Entity("mob", int(row)) for row in np.flatnonzero(state.mobs[:, M_KIND] >= 0)]
    found += [Entity("item", int(row)) for row in np.flatnonzero(state.items[:, I_ITEM] >= 0)]
    return found + [Entity("arrow", int(row)) for row in np.flatnonzero(state.arrows[:, A_STATE] >= 0)]


def _range_holds(text: str, value: float) -> bool:
    """Whether a value lies in a range such as "3", "..5", "2.." or "2..5"."""
    low, dots, high = text.partition("..")
    if not dots:
        return value == float(text)
    return (not low or value >= float(low)) and (not high or value <= float(high))


def _type_matches(wanted: str, kind: str) -> bool:
    negated = wanted.startswith("!")
    name = wanted.removeprefix("!").removeprefix("minecraft:")
    if name not in _ENTITY_KINDS:
        near = difflib.get_close_matches(name, _ENTITY_KINDS, n=1, cutoff=0.0)[0]
        raise SimulatorError(f"This world has no entity {name!r}. The nearest name is {near!r}.")
    return (name == kind) != negated


def select(context: Context, text: str) -> list[Entity]:
    """The entities that a selector means; none is no error.

    Args:
        context: who asks, and where.
        text: "@p", "@a", "@r", "@s" or "@e"; "@e" with any of type=, type=!, distance=, limit=, sort=.

    Raises:
        SimulatorError: it is no selector, or asks for what is not known here.
        ValueError: a number cannot be read.
    """
    head, _, rest = text.partition("[")
    if rest and not rest.endswith("]"):
        raise ValueError(f"the selector {text!r} lacks its ']'")
    if head in _PLAYER_SELECTORS:
        found = [PLAYER]
    elif head == "@s":
        found = [context.executor]
    elif head == "@e":
        found = _all_entities(context.engine)
    else:
        raise SimulatorError(f"A selector is @p, @a, @r, @s or @e; got {text!r}.")

    def distance(entity: Entity) -> float:
        return math.dist(entity.where(context.engine), (context.x, context.y, context.z))

    limit, sort = len(found), "arbitrary"
    for key, value in read_pairs(rest.removesuffix("]"), "="):
        if key == "type":
            found = [e for e in found if _type_matches(value, e.kind(context.engine))]
        elif key == "distance":
            found = [e for e in found if _range_holds(value, distance(e))]
        elif key == "limit":
            limit = int(value)
            if limit < 1:
                raise ValueError(f"a limit is at least 1, got {limit}")
        elif key == "sort" and value in _SORTS:
            sort = value
        else:
            raise SimulatorError(
                f"A selector's arguments here are type, distance, limit and sort ({', '.join(_SORTS)}); "
                f"got {key}={value}."
            )
    if sort in ("nearest", "furthest"):
        found.sort(key=distance, reverse=sort == "furthest")
    elif sort == "random":
        found = [found[i] for i in context.rng.permutation(len(found))]
    return found[:limit]


def check_player(context: Context, text: str) -> bool:
    """Whether a selector that must mean players means the one there is.

    Raises:
        SimulatorError: it can mean something else.
    """
    found = select(context, text)
    if any(entity != PLAYER for entity in found) or (text.startswith("@e") and "type=player" not in text):
        raise SimulatorError(f"The one player is selected by @p, @s, @a, @r; got {text!r}.")
    return bool(found)


def read_item(text: str) -> tuple[int, int]:
    """Item id and wear of "dirt", "minecraft:bow" or "bow{Damage:10}".

    Raises:
        SimulatorError: unknown item, or data that means nothing here.
    """
    name, _, data = text.partition("{")
    number, damage = table.item_id(name), 0
    for key, value in read_pairs(data.removesuffix("}"), ":"):
        if key != "Damage":
            raise SimulatorError(f"Of an item's data only Damage is known here; got {key}.")
        damage = int(value)
        if not 0 <= damage < max(1, int(table.ITEM_DURABILITY[number])):
            raise SimulatorError(
                f"{name} wears out at {table.ITEM_DURABILITY[number]} uses (0: never); got Damage {damage}."
            )
    return number, damage


def read_block(text: str) -> int:
    """The id of a block. Its states, as in "oak_log[axis=x]", are passed over: blocks have none here.

    Raises:
        SimulatorError: unknown block, or data.
    """
    if "{" in text:
        raise SimulatorError(f"Blocks have no data here; got {text!r}.")
    return table.block_id(text.partition("[")[0])


def read_count(text: str, most: int) -> int:
    """A number from 0 to ``most``.

    Raises:
        ValueError: it is none.
    """
    value = int(text)
    if not 0 <= value <= most:
        raise ValueError(f"a count is 0 to {most}, got {value}")
    return value


def read_number(text: str) -> float:
    """A number that is neither infinite nor NaN.

    Raises:
        ValueError: it is none.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a number is finite, got {text}")
    return value


def nearest(name: str, known: Any) -> str:
    """The known name that looks most like ``name``."""
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]

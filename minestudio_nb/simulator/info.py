"""``info`` of a step: MineStudio's keys, computed when they are read.

Most training loops read one or two keys, and building all of them takes longer than the tick. A ``StepInfo`` holds
copies of the small arrays of its step, so it stays true after later steps; only ``pov``, which needs the whole world,
must be read before the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.engine import VoxelEngine
from minestudio_nb.simulator.inventory import describe, describe_equipment
from minestudio_nb.simulator.mobs import MOB_NAMES
from minestudio_nb.simulator.state import (
    CUSTOM_NAMES,
    E_CUSTOM,
    E_DAMAGE,
    E_KILL,
    EVENTS,
    M_HEALTH,
    M_KIND,
    M_X,
    M_Y,
    M_YAW,
    M_Z,
    P_FOOD,
    P_HEALTH,
    P_PITCH,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_DEAD,
    S_RAIN,
    S_SLOT,
    S_TIME,
)

_SPECIAL_COLUMNS: Final = {E_KILL: MOB_NAMES, E_DAMAGE: ("damage_dealt",), E_CUSTOM: CUSTOM_NAMES}


def event_row(event: str) -> int:
    """The row of ``stats`` that counts an event.

    Raises:
        SimulatorError: nothing of this name is counted.
    """
    if event in EVENTS:
        return EVENTS.index(event)
    raise SimulatorError(f"No event is called {event!r}; counted are {', '.join(EVENTS)}.")


def object_column(event: str, name: str) -> int:
    """The column of ``stats`` that counts an event with an object: an item, a mob, or a custom counter.

    Raises:
        SimulatorError: the event or the object is unknown.
    """
    names = _SPECIAL_COLUMNS.get(event_row(event))
    if names is None:
        return table.item_id(name)
    plain = name.removeprefix("minecraft:")
    if plain not in names:
        raise SimulatorError(f"{event} counts {', '.join(names)}; got {name!r}.")
    return names.index(plain)


class _Snapshot:
    """Copies of the small arrays after a step, and the makers of the keys."""

    __slots__ = (
        "biome",
        "engine",
        "inventory",
        "mob_bounds",
        "mobs",
        "player",
        "render",
        "serial",
        "stats",
        "status",
        "voxel_origin",
        "voxels",
    )

    def __init__(self, engine: VoxelEngine, render: Callable[[], NDArray[np.uint8]]) -> None:
        state = engine.state
        self.engine = engine
        self.serial = engine.serial
        self.biome = engine.choice.biome
        self.player = state.player.copy()
        self.status = state.status.copy()
        self.inventory = state.inventory.copy()
        self.stats = state.stats.copy()
        self.render = render
        self.voxels: NDArray[np.uint8] | None = None
        self.voxel_origin = (0, 0, 0)
        self.mobs: NDArray[np.float64] | None = None
        self.mob_bounds: tuple[Sequence[float], Sequence[float]] = ((), ())

    def counters(self, row: int) -> dict[str, int]:
        """The nonzero counters of an event."""
        names = _SPECIAL_COLUMNS.get(row)
        values = self.stats[row]
        return {
            (names[column] if names else table.item_name(column)): int(values[column])
            for column in np.flatnonzero(values).tolist()
        }

    def player_pos(self) -> dict[str, float]:
        p = self.player.tolist()
        return {"x": p[P_X], "y": p[P_Y], "z": p[P_Z], "pitch": p[P_PITCH], "yaw": p[P_YAW]}

    def location_stats(self) -> dict[str, Any]:
        p = self.player.tolist()
        return {
            "biome": self.biome,
            "is_raining": bool(self.status[S_RAIN]),
            "time": int(self.status[S_TIME]),
            "xpos": p[P_X],
            "ypos": p[P_Y],
            "zpos": p[P_Z],
            "pitch": p[P_PITCH],
            "yaw": p[P_YAW],
        }

    def voxel_list(self) -> list[dict[str, Any]]:
        if self.voxels is None:
            return []
        names = [block.name for block in table.BLOCKS]
        x0, y0, z0 = self.voxel_origin
        return [
            {"x": x0 + x, "y": y0 + y, "z": z0 + z, "type": names[block]}
            for (x, z, y), block in zip(np.ndindex(*self.voxels.shape), self.voxels.reshape(-1).tolist(), strict=True)
        ]

    def mob_list(self) -> list[dict[str, Any]]:
        if self.mobs is None:
            return []
        low, high = self.mob_bounds
        found = []
        for mob in self.mobs[self.mobs[:, M_KIND] >= 0.0]:
            offset = mob[[M_X, M_Y, M_Z]] - self.player[[P_X, P_Y, P_Z]]
            if (offset >= low).all() and (offset <= high).all():
                x, y, z = offset.tolist()
                name = MOB_NAMES[int(mob[M_KIND])]
                found.append(
                    {"name": name, "x": x, "y": y, "z": z, "yaw": float(mob[M_YAW]), "health": float(mob[M_HEALTH])}
                )
        return found

    def pov(self) -> NDArray[np.uint8]:
        if self.engine.serial != self.serial:
            raise SimulatorError(
                "info['pov'] is rendered when it is read, and the world has moved on since this step. "
                "Read it before the next step or reset."
            )
        return self.render()


_MAKERS: Final[dict[str, Callable[[_Snapshot], Any]]] = {
    "inventory": lambda s: describe(s.inventory),
    "equipped_items": lambda s: describe_equipment(s.inventory, int(s.status[S_SLOT])),
    "player_pos": _Snapshot.player_pos,
    "location_stats": _Snapshot.location_stats,
    "isGuiOpen": lambda s: False,
    "health": lambda s: float(s.player[P_HEALTH]),
    "food_level": lambda s: float(s.player[P_FOOD]),
    "is_dead": lambda s: bool(s.status[S_DEAD]),
    "selected_slot": lambda s: int(s.status[S_SLOT]),
    **{event: (lambda s, row=row: s.counters(row)) for row, event in enumerate(EVENTS)},
}
_KEYS: Final = frozenset(_MAKERS)
_ON_REQUEST: Final[dict[str, Callable[[_Snapshot], Any]]] = {
    "voxels": _Snapshot.voxel_list,
    "mobs": _Snapshot.mob_list,
}
_OWN_KEYS: Final = _KEYS | {"voxels", "mobs", "pov"}


class StepInfo(dict[str, Any]):
    """MineStudio's ``info``, filled in on demand.

    Keys: inventory, equipped_items, player_pos, location_stats, isGuiOpen, health, food_level, is_dead,
    selected_slot, one dict of cumulative counters for each event (mine_block, pickup, use_item, break_item, craft_item,
    drop, kill_entity, damage_dealt, custom), ``voxels`` and ``mobs`` when the action or a callback asked for them
    (lists of mappings, with x, y and z relative to the player), and ``pov``: the frame at ``render_size``. ``pov`` is
    there by name but is not listed until it was read, so that copying, printing or pickling an info never renders.
    Pickling gives a plain dict.
    """

    __slots__ = ("_pending", "_snapshot")

    def __init__(self, engine: VoxelEngine, render: Callable[[], NDArray[np.uint8]]) -> None:
        super().__init__()
        self._snapshot = _Snapshot(engine, render)
        self._pending: frozenset[str] = _KEYS

    def add_voxels(self, voxels: NDArray[np.uint8], origin: tuple[int, int, int]) -> None:
        """Offer ``voxels``: uint8[x, z, y] of block ids, and the coordinates of its first cell relative to the
        player."""
        self._snapshot.voxels, self._snapshot.voxel_origin = voxels, origin
        self._pending |= {"voxels"}

    def add_mobs(self, low: Sequence[float], high: Sequence[float]) -> None:
        """Offer ``mobs``: those whose place relative to the player lies between two corners (x, y, z), in blocks."""
        self._snapshot.mobs, self._snapshot.mob_bounds = self._snapshot.engine.state.mobs.copy(), (low, high)
        self._pending |= {"mobs"}

    def extras(self) -> dict[str, Any]:
        """The entries that others have put in: all keys but those listed above."""
        return {key: value for key, value in dict.items(self) if key not in _OWN_KEYS}

    def __missing__(self, key: str) -> Any:
        if key == "pov":
            value = self._snapshot.pov()
        elif key in self._pending:
            value = (_MAKERS.get(key) or _ON_REQUEST[key])(self._snapshot)
        else:
            raise KeyError(key)
        super().__setitem__(key, value)
        return value

    def _fill(self) -> None:
        for key in self._pending:
            if not super().__contains__(key):
                self.__missing__(key)

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._pending or key == "pov"

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or ``default``."""
        return self[key] if key in self else default  # noqa: SIM401 - get is what is defined here

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def pop(self, key: str, *default: Any) -> Any:
        """Remove a key and return its value."""
        if key in self._pending:
            value = self[key]
            self._pending -= {key}
            super().pop(key)
            return value
        return super().pop(key, *default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of a key, which becomes ``default`` if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def copy(self) -> StepInfo:
        """A copy, as lazy as the original."""
        other = StepInfo.__new__(StepInfo)
        dict.__init__(other)
        other._snapshot, other._pending = self._snapshot, self._pending
        dict.update(other, dict.items(self))
        return other

    __copy__ = copy

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return super().__iter__()

    def __len__(self) -> int:
        self._fill()
        return super().__len__()

    def keys(self):  # type: ignore[no-untyped-def]
        """All keys but an unread ``pov``."""
        self._fill()
        return super().keys()

    def items(self):  # type: ignore[no-untyped-def]
        """All items but an unread ``pov``."""
        self._fill()
        return super().items()

    def values(self):  # type: ignore[no-untyped-def]
        """All values but an unread ``pov``."""
        self._fill()
        return super().values()

    def __eq__(self, other: object) -> bool:
        self._fill()
        if isinstance(other, StepInfo):
            other._fill()
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        self._fill()
        return super().__repr__()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self.items()),)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        from copy import deepcopy

        return {key: deepcopy(value, memo) for key, value in self.items()}

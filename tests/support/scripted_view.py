"""A session that does as a test tells it, for displays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.fields import FieldSpec
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.contracts.view import Recording, Tile, ViewHead
from minestudio_nb.errors import SessionStateError


class ScriptedView:
    """Implements :class:`minestudio_nb.contracts.view.SessionView`; tests change its lists at any time."""

    def __init__(self) -> None:
        self.all_points: list[Mapping[str, Any]] = []
        self.all_events: list[Event] = []
        self.all_episodes: list[Mapping[str, Any]] = []
        self.all_edits: list[Edit] = []
        self.all_tiles: dict[str, Tile] = {}
        self.values: dict[str, Any] = {"train_config.learning_rate": 3e-4}
        self.status: dict[str, Any] = {"iteration": 0, "num_iterations": 10}
        self.name, self.state, self.held_by = "scripted", "TRAINING", ""
        self.orders: list[tuple[str, dict[str, Any]]] = []
        self.refreshed = 0
        self.enlarged: list[tuple[str, ...]] = []
        """What each call of ``tiles`` asked for."""
        self.refresh_error: Exception | None = None

    def add_point(self, iteration: int, tasks: Mapping[str, Any] | None = None, **values: float) -> None:
        """Closes an iteration; ``ppo__loss=1`` is the metric ``ppo/loss``."""
        named = {name.replace("__", "/"): value for name, value in values.items()}
        point = {"iteration": iteration, "time": 1.7e9 + iteration, "env_steps": 64 * iteration, "values": named}
        self.all_points.append({**point, "tasks": tasks or {}})

    def add_tiles(self, count: int, side: int = 8) -> None:
        """Environments 0/0, 0/1, ...; the frame of number k is grey of 10 k + 5."""
        for k in range(count):
            frame = np.full((side, side, 3), 10 * k + 5, np.uint8)
            self.all_tiles[f"0/{k}"] = Tile(frame, k, float(k), 0.5, np.array([k]), "task")

    def refresh(self) -> None:
        self.refreshed += 1
        if self.refresh_error is not None:
            raise self.refresh_error

    def head(self) -> ViewHead:
        return ViewHead(self.name, self.state, 1.7e9, dict(self.status), held_by=self.held_by)

    def points(self, since: int = 0) -> Sequence[Mapping[str, Any]]:
        return self.all_points[since:]

    def events(self, since: int = 0) -> Sequence[Event]:
        return self.all_events[since:]

    def episodes(self, since: int = 0) -> Sequence[Mapping[str, Any]]:
        return self.all_episodes[since:]

    def edits(self) -> Sequence[Edit]:
        return tuple(self.all_edits)

    def tiles(self, large: Collection[str] = ()) -> Mapping[str, Tile]:
        self.enlarged.append(tuple(large))
        return dict(self.all_tiles)

    def fields(self) -> Sequence[tuple[FieldSpec, Any]]:
        specs = {
            "train_config.learning_rate": FieldSpec(
                "train_config.learning_rate", "float", 1e-4, "Step size.", minimum=0.0, exclusive_minimum=True,
                maximum=1.0, live=True, scale="log",
            ),
        }  # fmt: skip
        return [(specs[key], value) for key, value in self.values.items()]

    def recording(self, path: str) -> Recording:
        if path != "episode.mp4":
            raise SessionStateError(f"nothing is known of {path}")
        return Recording(b"video", "video/mp4", [1.0, 0.0], [0.5, float("nan")], [0.5, 0.0], [[3], [4]])

    def order(self, kind: str, **arguments: Any) -> str:
        self.orders.append((kind, arguments))
        if kind == "set" and arguments["value"] > 1:
            raise SessionStateError("train_config.learning_rate must be 0 < x <= 1, 7 came")
        if kind == "stop":
            raise ZeroDivisionError("a fault inside")
        return f"{kind} done"

"""What goes to the browser, as values that JSON can hold and as packed numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from minestudio_nb.contracts.fields import FieldSpec
from minestudio_nb.contracts.looks import mark_kind
from minestudio_nb.contracts.telemetry import Event

__all__ = ["FIXED_COLUMNS", "clean", "column_names", "event_row", "field_row", "pack_points", "thin_out"]

FIXED_COLUMNS = ("iteration", "time", "env_steps")
TASK_COLUMNS = {"task/": "return_mean", "task_std/": "return_std"}
"""Columns of these prefixes hold a statistic of the latest episodes of one task."""
MAX_TEXT = 4_000
"""Longest text that is sent; tracebacks are longer at times."""

Point = Mapping[str, Any]


def clean(value: Any) -> Any:
    """``value`` as JSON can hold it: numbers that are not finite become None, arrays lists, unknown objects texts."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + " ..."
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [clean(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return clean(value.tolist())
    return clean(str(value))


def event_row(event: Event) -> dict[str, Any]:
    """An event as a dict, with ``mark``: how it is marked beside a curve, or None."""
    row: dict[str, Any] = clean({**event.to_dict(), "mark": mark_kind(event)})
    return row


def field_row(spec: FieldSpec, value: Any) -> dict[str, Any]:
    """A setting with its value in force, for a form."""
    row: dict[str, Any] = clean({**asdict(spec), "range": spec.range_text, "value": value})
    return row


def column_names(point: Point) -> list[str]:
    """The columns that a point fills, beyond the fixed ones."""
    return [*point["values"], *(prefix + task for task in point.get("tasks", {}) for prefix in TASK_COLUMNS)]


def pack_points(points: Sequence[Point], names: Sequence[str]) -> npt.NDArray[np.float64]:
    """float64 ``(len(points), 3 + len(names))``: iteration, Unix seconds, environment steps, then ``names``.

    NaN where a point lacks a value.
    """
    rows = np.full((len(points), len(FIXED_COLUMNS) + len(names)), np.nan)
    places = {name: column for column, name in enumerate(names, start=len(FIXED_COLUMNS))}
    for row, point in zip(rows, points, strict=True):
        row[: len(FIXED_COLUMNS)] = [point[column] for column in FIXED_COLUMNS]
        for name, value in point["values"].items():
            row[places[name]] = value
        for task, statistics in point.get("tasks", {}).items():
            for prefix, key in TASK_COLUMNS.items():
                row[places[prefix + task]] = statistics.get(key, math.nan)
    return rows


def thin_out(points: Sequence[Point], most: int) -> Sequence[Point]:
    """At most ``most`` of the points, evenly chosen, with the first and the last."""
    if len(points) <= most:
        return points
    return [points[i] for i in np.linspace(0, len(points) - 1, most).round().astype(int)]

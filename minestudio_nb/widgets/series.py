"""Curves out of points, and numbers as people read them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Point", "duration", "number", "series", "smooth", "sparkline", "thin", "with_unit"]

Point = Mapping[str, Any]
"""One closed iteration: ``iteration``, ``time`` (Unix seconds), ``env_steps``, ``values`` (metric name -> float)."""

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*%#"


def series(points: Sequence[Point], metric: str, x: str = "env_steps") -> tuple[list[float], list[float]]:
    """``x`` and value of every point that has a finite value of ``metric``."""
    pairs = [(float(point[x]), point["values"].get(metric, math.nan)) for point in points]
    finite = [(at, float(value)) for at, value in pairs if math.isfinite(value)]
    return [at for at, _ in finite], [value for _, value in finite]


def smooth(values: Sequence[float], weight: float = 0.85) -> list[float]:
    """Exponential moving average, corrected for its start as in Adam: the first value is the first of ``values``."""
    if not 0 <= weight < 1:
        raise ValueError(f"weight must be 0 <= x < 1, {weight!r} came")
    average, smoothed = 0.0, []
    for count, value in enumerate(values, 1):
        average = weight * average + (1 - weight) * value
        smoothed.append(average / (1 - weight**count))
    return smoothed


def thin(xs: Sequence[float], ys: Sequence[float], limit: int) -> tuple[list[float], list[float]]:
    """At most ``limit`` points: means of equal runs of neighbours."""
    if len(xs) <= limit:
        return list(xs), list(ys)
    edges = [round(k * len(xs) / limit) for k in range(limit + 1)]
    spans = [(low, high) for low, high in itertools.pairwise(edges) if high > low]
    return (
        [sum(xs[low:high]) / (high - low) for low, high in spans],
        [sum(ys[low:high]) / (high - low) for low, high in spans],
    )


def sparkline(values: Sequence[float], width: int = 32, blocks: str = BLOCKS, least_span: float = 0.0) -> str:
    """The finite ``values`` as one line of block characters, at most ``width`` of them; empty when there are none.

    The lowest block is the lowest value, and the highest block the highest, or ``least_span`` above the lowest where
    that is more, so that small noise does not look like progress.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    _, means = thin(finite, finite, width)
    low = min(means)
    high = max(*means, low + least_span)
    if high == low:
        return blocks[0] * len(means)
    return "".join(blocks[min(int((value - low) / (high - low) * len(blocks)), len(blocks) - 1)] for value in means)


def number(value: Any) -> str:
    """A number as people read it: ``12,345``, ``3.42``, ``1.2e-05``; a dash for None and NaN; other things as text."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return "–" if math.isnan(value) else f"{value}"
    size = abs(value)
    if value == int(value) and size < 1e15:
        return f"{int(value):,}"
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 0.1:
        return f"{value:.3g}" if size < 100 else f"{value:.0f}"
    return f"{value:.2g}"


def with_unit(value: Any, unit: str) -> str:
    """``number(value)`` with its unit; bytes as MB or GB, seconds as :func:`duration`."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return number(value)
    if unit == "bytes":
        return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"
    if unit == "s" and value >= 60:
        return duration(value)
    return f"{number(value)} {unit}".strip()


def duration(seconds: float | None) -> str:
    """``45 s``, ``3 min 05 s``, ``2 h 07 min``; a dash for None and NaN."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

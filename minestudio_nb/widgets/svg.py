"""Charts as SVG text. Colours and fonts come from CSS, so they follow the page's light or dark theme; no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from minestudio_nb.contracts.looks import MARKS, MarkKind, mark_kind
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.widgets.series import Point, number, thin

__all__ = ["CHART_CSS", "Line", "Marker", "dot_strip", "event_markers", "line_chart", "sparkline_svg", "ticks"]

POINTS_DRAWN = 400
"""Points per line; more are averaged."""

CHART_CSS = """
.chart{display:block;width:100%;height:auto;font:12px system-ui,sans-serif}
.chart text{fill:var(--muted)}
.chart .grid{stroke:var(--line);stroke-width:1}
.chart .marker{stroke:var(--muted);stroke-width:1;stroke-dasharray:3 3}
.chart polyline{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.chart .faint{stroke-width:1.2;opacity:.3}
.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}
.chart .dot{stroke:none;opacity:.75}
.dot.c1{fill:var(--c1)}.dot.c2{fill:var(--c2)}.dot.c3{fill:var(--c3)}
.chart .goal{stroke:var(--c3);stroke-dasharray:6 4;stroke-width:1.5}
""" + "".join(f".chart .marker.{kind}{{stroke:{look.colour}}}\n" for kind, look in MARKS.items())


@dataclass(frozen=True)
class Line:
    """One line of a chart. ``colour`` 1 to 3; ``faint`` for raw values behind a smoothed line."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: int = 1
    faint: bool = False


@dataclass(frozen=True)
class Marker:
    """A vertical line at ``x`` with a tooltip, for an event."""

    x: float
    text: str
    kind: MarkKind = "edit"


def event_markers(points: Sequence[Point], events: Sequence[Event], most: int) -> list[Marker]:
    """The newest ``most`` events that are marked, each at the env steps of its iteration, or of its time."""
    steps = {point["iteration"]: point["env_steps"] for point in points}
    marked = [(kind, event) for event in events if (kind := mark_kind(event))]
    markers = []
    for kind, event in marked[-most:]:
        x = steps.get(event.iteration)
        if x is None:
            x = max((point["env_steps"] for point in points if point["time"] <= event.time), default=0)
        markers.append(Marker(x, f"{event.kind}: {event.message}", kind))
    return markers


@dataclass(frozen=True)
class _Frame:
    """Maps data to pixels."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    width: int
    height: int
    left: int = 52
    right: int = 12
    top: int = 10
    bottom: int = 24
    y_ticks: Sequence[float] = field(default_factory=tuple)

    def x(self, value: float) -> float:
        return self.left + (value - self.x_low) / (self.x_high - self.x_low) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        return (
            self.height
            - self.bottom
            - (value - self.y_low) / (self.y_high - self.y_low) * (self.height - self.top - self.bottom)
        )


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that cover ``low`` to ``high``, about ``count`` of them."""
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"ticks need finite limits, {low!r} and {high!r} came")
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # constant, but for rounding
        low, high = (low - abs(low) * 0.1, high + abs(high) * 0.1) if low else (0.0, 1.0)
    raw = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / raw)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    width: int = 330,
    height: int = 170,
    markers: Sequence[Marker] = (),
    goal: float | None = None,
    x_label: str = "env steps",
) -> str:
    """An SVG element with the lines, round ticks and a tooltip per line; a note in its place when there is no data."""
    drawn = [line for line in lines if line.xs]
    if not drawn:
        return f'<p class="empty">{escape(title)}: nothing was measured.</p>'
    frame = _frame(drawn, width, height, goal)
    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">',
        _grid(frame, x_label),
        *(_marker(frame, marker) for marker in markers if frame.x_low <= marker.x <= frame.x_high),
    ]
    if goal is not None:
        y = frame.y(goal)
        parts.append(f'<line class="goal" x1="{frame.left}" x2="{width - frame.right}" y1="{y:.1f}" y2="{y:.1f}">')
        parts.append(f"<title>goal {number(goal)}</title></line>")
    parts += [_polyline(frame, line) for line in sorted(drawn, key=lambda line: not line.faint)]
    return "".join(parts) + "</svg>"


def _frame(lines: Sequence[Line], width: int, height: int, goal: float | None) -> _Frame:
    xs = [x for line in lines for x in line.xs]
    strong = [y for line in lines if not line.faint for y in line.ys] or [y for line in lines for y in line.ys]
    faint = sorted(y for line in lines if line.faint for y in line.ys)
    # Single wild raw values must not flatten the smoothed line: of the faint ones the middle 98 % count.
    inner = faint[len(faint) // 100 : len(faint) - len(faint) // 100]
    ys = strong + inner + ([goal] if goal is not None else [])
    y_ticks = ticks(min(ys), max(ys), 4)
    x_low, x_high = min(xs), max(xs)
    if x_high == x_low:
        x_low, x_high = x_low - 1, x_high + 1
    return _Frame(x_low, x_high, y_ticks[0], y_ticks[-1], width, height, y_ticks=y_ticks)


def _grid(frame: _Frame, x_label: str) -> str:
    parts = []
    for value in frame.y_ticks:
        y = frame.y(value)
        parts.append(
            f'<line class="grid" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{frame.left - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>')
    baseline = frame.height - 7
    for value in ticks(frame.x_low, frame.x_high, 5):
        if value >= frame.x_low and frame.x(value) <= frame.width - frame.right - 75:  # room for the label
            parts.append(f'<text x="{frame.x(value):.1f}" y="{baseline}" text-anchor="middle">{_short(value)}</text>')
    parts.append(f'<text x="{frame.width - frame.right}" y="{baseline}" text-anchor="end">{escape(x_label)}</text>')
    return "".join(parts)


def _marker(frame: _Frame, marker: Marker) -> str:
    x = frame.x(marker.x)
    return (
        f'<line class="marker {marker.kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" '
        f'y2="{frame.height - frame.bottom}"><title>{escape(marker.text)}</title></line>'
    )


def _polyline(frame: _Frame, line: Line) -> str:
    xs, ys = thin(line.xs, line.ys, POINTS_DRAWN)
    top, bottom = frame.y_high, frame.y_low
    places = " ".join(f"{frame.x(x):.1f},{frame.y(min(max(y, bottom), top)):.1f}" for x, y in zip(xs, ys, strict=True))
    kind = f"c{line.colour}" + (" faint" if line.faint else "")
    if len(xs) == 1:
        x, y = places.split(",")
        return f'<circle class="dot {kind}" cx="{x}" cy="{y}" r="3"><title>{escape(line.name)}</title></circle>'
    title = f"{line.name}: last {number(line.ys[-1])}"
    return f'<polyline class="{kind}" points="{places}"><title>{escape(title)}</title></polyline>'


def dot_strip(groups: Sequence[tuple[str, Sequence[float]]], *, width: int = 460, x_label: str = "return") -> str:
    """One row of dots per group (a dot per episode, stacked where they coincide) over one axis, the mean as a bar."""
    filled = [(name, [value for value in values if math.isfinite(value)]) for name, values in groups]
    filled = [(name, values) for name, values in filled if values]
    if not filled:
        return '<p class="empty">No episodes were played.</p>'
    everything = [value for _, values in filled for value in values]
    x_ticks = ticks(min(everything), max(everything), 6)
    row, height = 64, 64 * len(filled) + 26
    frame = _Frame(x_ticks[0], x_ticks[-1], 0, 1, width, height, left=130, right=24)
    parts = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="returns of single episodes">']
    for value in x_ticks:
        x = frame.x(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{height - 22}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{_short(value)}</text>')
    parts.append(f'<text x="4" y="{height - 6}">{escape(x_label)}</text>')
    for index, (name, values) in enumerate(filled):
        parts.append(_strip_row(frame, name, values, base=row * (index + 1) - 2, colour=2 - index % 2))
    return "".join(parts) + "</svg>"


def _strip_row(frame: _Frame, name: str, values: Sequence[float], base: int, colour: int) -> str:
    mean = sum(values) / len(values)
    stacked: dict[int, int] = {}
    parts = [f'<text x="4" y="{base - 18}">{escape(name)}</text>']
    for value in sorted(values):
        place = round(frame.x(value) / 8)
        level = stacked[place] = stacked.get(place, 0) + 1
        y = base - 6 - min(level - 1, 6) * 7.5
        parts.append(f'<circle class="dot c{colour}" cx="{frame.x(value):.1f}" cy="{y:.1f}" r="3.5">')
        parts.append(f"<title>{number(value)}</title></circle>")
    x = frame.x(mean)
    parts.append(f'<line class="c{colour}" stroke-width="2.5" x1="{x:.1f}" x2="{x:.1f}" y1="{base - 54}" y2="{base}">')
    parts.append(f"<title>mean {number(mean)}</title></line>")
    return "".join(parts)


def sparkline_svg(values: Sequence[float], *, width: int = 140, height: int = 26, label: str = "") -> str:
    """A small line without axes in the current text colour; empty text below two finite values."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    _, ys = thin(finite, finite, width // 2)
    low, high = min(ys), max(ys)
    span = high - low or 1.0
    places = " ".join(
        f"{k * (width - 4) / (len(ys) - 1) + 2:.1f},{height - 3 - (y - low) / span * (height - 6):.1f}"
        for k, y in enumerate(ys)
    )
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="{escape(label)}" style="vertical-align:middle">'
        f'<polyline points="{places}" fill="none" stroke="#2e8b57" stroke-width="1.8" stroke-linejoin="round"/></svg>'
    )


def _short(value: float) -> str:
    """A tick label: ``50k``, ``1.5M``, ``0.002``."""
    size = abs(value)
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= limit:
            return f"{value / limit:g}{suffix}"
    return f"{value:.6g}"

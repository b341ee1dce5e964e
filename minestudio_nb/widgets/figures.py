"""Curves of one or several runs over one axis, with what happened to them, as a matplotlib figure."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from minestudio_nb.contracts.looks import MARKS, MarkKind, mark_kind
from minestudio_nb.contracts.showing import shown_safely
from minestudio_nb.contracts.telemetry import METRICS, Event, without_unit
from minestudio_nb.widgets.series import Point, smooth, thin

__all__ = ["COLOURS", "Axis", "Mark", "NotebookFigure", "Track", "marks_of", "metrics_figure"]

Axis = Literal["iteration", "step", "time"]

COLOURS = ("#2e8b57", "#c8662b", "#3a6fb0", "#9b5fc0", "#b8860b", "#c94f6d", "#3f97a5", "#7a8794")
"""One per run, again from the first where there are more runs."""
POINTS_DRAWN = 2000
LABELLED_EDITS = 6
"""Up to so many edits have their setting and value written beside them."""
BANDS = 2
"""Up to so many runs show the spread of their episodes."""
_SPREAD = {"episode/return": "return", "episode/return_window": "return", "episode/length_steps": "length"}


@dataclass(frozen=True)
class Mark:
    """Something that happened; ``iteration`` None says that ``time`` counts."""

    kind: MarkKind
    iteration: int | None
    time: float
    text: str = ""


@dataclass(frozen=True)
class Track:
    """One run as it is drawn."""

    name: str
    points: Sequence[Point]
    """All its points; each may hold ``elapsed``, the seconds of the run so far."""
    inherited: int = 0
    """How many of the first points are those of the run that it was forked from."""
    marks: Sequence[Mark] = field(default_factory=tuple)
    drawn_apart: bool = False
    """Whether the run that it was forked from is drawn too, so that the inherited part need not be."""


class NotebookFigure(Figure):
    """A figure that belongs to no pyplot state and shows itself in a notebook whether pyplot was imported or not."""

    @shown_safely
    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=160)
        return buffer.getvalue(), {"width": round(self.get_figwidth() * 100)}


def marks_of(events: Iterable[Event]) -> list[Mark]:
    """Those of ``events`` that are marked, see :func:`minestudio_nb.contracts.looks.mark_kind`."""
    marks = []
    for event in events:
        kind = mark_kind(event)
        if kind is not None:
            text = event.message.partition(" applied")[0] if kind == "edit" else event.message
            marks.append(Mark(kind, event.iteration, event.time, text))
    return marks


def metrics_figure(
    tracks: Sequence[Track], metrics: Sequence[str], *, x: Axis = "iteration", smoothing: float = 0.8, title: str = ""
) -> NotebookFigure:
    """One chart per metric, one line per run.

    Thin: as measured; thick: smoothed. A band is one standard deviation of the latest episodes around their mean, for
    returns and lengths. The part that a fork inherited is dashed, and a circle says where it branched off.

    Args:
        metrics: full names.
        x: iterations, environment steps, or time since the start of the run (for a fork, of the first of its line).
        smoothing: weight of the moving average, 0 to below 1; 0 draws what was measured.
    """
    columns = 1 if len(metrics) <= 2 else 2
    rows = math.ceil(len(metrics) / columns)
    width, height = (9.0, 3.7) if columns == 1 else (5.6, 3.0)
    figure = NotebookFigure(figsize=(width * columns, height * rows + 0.2), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    scale, x_label = _x_unit(tracks, x)
    for index, metric in enumerate(metrics):
        axes = figure.add_subplot(rows, columns, index + 1)
        for number, track in enumerate(tracks):
            colour = COLOURS[number % len(COLOURS)]
            _draw_track(axes, track, metric, x, scale, smoothing, colour, len(tracks))
        _finish(axes, tracks, metric, x, x_label, scale)
        if index == 0 and axes.get_legend_handles_labels()[0]:
            legend = axes.legend(fontsize=8, framealpha=0.85, edgecolor="none", loc="best")
            for text in legend.get_texts():
                text.set_parse_math(False)  # names of runs may hold $
    if title:
        figure.suptitle(title, fontweight="bold", x=0.01, ha="left", parse_math=False)
    return figure


def _draw_track(
    axes: Axes, track: Track, metric: str, x: Axis, scale: float, smoothing: float, colour: str, count: int
) -> None:
    placed = [(_x_of(point, x) / scale, _value(point, metric), index) for index, point in enumerate(track.points)]
    placed = [(at, value, index) for at, value, index in placed if math.isfinite(value) and math.isfinite(at)]
    if not placed:
        return
    xs, ys = [at for at, _, _ in placed], [value for _, value, _ in placed]
    inherited = sum(index < track.inherited for _, _, index in placed)
    if metric in _SPREAD and count <= BANDS:
        _draw_band(axes, track, _SPREAD[metric], x, scale, colour, single=count == 1)
    thick = smooth(ys, smoothing)
    own = max(inherited - 1, 0)  # from the branching point on, so that the line is not torn
    if smoothing > 0:
        axes.plot(
            *thin(xs[own:], ys[own:], POINTS_DRAWN), color=colour, linewidth=0.8, alpha=0.3 if count == 1 else 0.18
        )
    if inherited and not track.drawn_apart:
        axes.plot(*thin(xs[:inherited], thick[:inherited], POINTS_DRAWN), "--", color=colour, linewidth=1.3, alpha=0.7)
    label = _shown(track.name) if count > 1 else ("smoothed" if smoothing > 0 else "as measured")
    marker = "o" if len(xs) - own == 1 else None
    axes.plot(*thin(xs[own:], thick[own:], POINTS_DRAWN), color=colour, linewidth=2, label=label, marker=marker)
    if inherited:
        axes.plot(xs[own], thick[own], "o", color="white", markeredgecolor=colour, markeredgewidth=1.8, zorder=5)
    if count > 1:
        _mark_line(axes, track, xs, thick, [index for _, _, index in placed], colour)


def _draw_band(axes: Axes, track: Track, what: str, x: Axis, scale: float, colour: str, single: bool) -> None:
    spread = [(_x_of(point, x) / scale, *_pooled(point, what)) for point in track.points[track.inherited :]]
    spread = [row for row in spread if all(map(math.isfinite, row))]
    if len(spread) < 2:
        return
    xs = [at for at, _, _ in spread]
    at, low = thin(xs, [mean - deviation for _, mean, deviation in spread], POINTS_DRAWN)
    _, high = thin(xs, [mean + deviation for _, mean, deviation in spread], POINTS_DRAWN)
    label = "latest episodes, ± 1 std" if single else None
    axes.fill_between(at, low, high, color=colour, alpha=0.13 if single else 0.08, linewidth=0, label=label)


def _pooled(point: Point, what: str) -> tuple[float, float]:
    """Mean and deviation over the latest episodes of all tasks, each task with the same weight."""
    tasks = [task for task in (point.get("tasks") or {}).values() if f"{what}_mean" in task]
    if not tasks:
        return math.nan, math.nan
    means = [float(task[f"{what}_mean"]) for task in tasks]
    mean = sum(means) / len(means)
    square = sum(float(task[f"{what}_std"]) ** 2 + each**2 for task, each in zip(tasks, means, strict=True))
    return mean, math.sqrt(max(0.0, square / len(tasks) - mean**2))


def _mark_line(
    axes: Axes, track: Track, xs: Sequence[float], ys: Sequence[float], indices: Sequence[int], colour: str
) -> None:
    """Edits and faults of one of several runs, on its line."""
    for mark in track.marks:
        if mark.kind == "checkpoint":
            continue
        place = _nearest(mark, [track.points[index] for index in indices])
        if place is not None:
            sign = MARKS[mark.kind].marker
            axes.plot(xs[place], ys[place], sign, color=colour, markeredgecolor="white", markersize=8, zorder=6)


def _nearest(mark: Mark, points: Sequence[Point]) -> int | None:
    """The last point before something happened, or the first."""
    if not points:
        return None
    key, limit = ("time", mark.time) if mark.iteration is None else ("iteration", mark.iteration)
    before = [index for index, point in enumerate(points) if point[key] <= limit]
    return before[-1] if before else 0


def _finish(axes: Axes, tracks: Sequence[Track], metric: str, x: Axis, x_label: str, scale: float) -> None:
    spec = METRICS[metric]
    axes.set_title(without_unit(metric).replace("_", " "), loc="left", fontsize=11, fontweight="bold")
    axes.set_ylabel(spec.unit)
    axes.set_xlabel(x_label)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    if x == "step":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    elif x == "iteration":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if not axes.lines:
        axes.text(0.5, 0.5, "nothing was measured yet", transform=axes.transAxes, ha="center", color="#66706a")
        axes.set_yticks([])
        return
    if all(not np.any(line.get_ydata()) for line in axes.lines):
        axes.set_ylim(-0.05, 1)
    if len(tracks) == 1:
        _mark_axes(axes, tracks[0], x, scale)


def _mark_axes(axes: Axes, track: Track, x: Axis, scale: float) -> None:
    """Edits, checkpoints and faults of the only run, along the axis."""
    edits = [mark for mark in track.marks if mark.kind == "edit"]
    for kind, look in MARKS.items():
        sign, colour, label = look.marker, look.colour, look.meaning
        for mark in track.marks:
            place = _nearest(mark, track.points) if mark.kind == kind else None
            if place is None:
                continue
            at = _x_of(track.points[place], x) / scale
            low = axes.get_xaxis_transform()  # y counts from the lower end of the chart
            axes.plot(at, 0.0, sign, color=colour, markersize=7, transform=low, clip_on=False, zorder=6, label=label)
            label = "_"
            if kind != "checkpoint":
                axes.axvline(at, color=colour, linewidth=0.9, linestyle=":", alpha=0.8)
            if kind == "edit" and len(edits) <= LABELLED_EDITS:
                axes.annotate(
                    _setting(mark.text), (at, 1.0), xycoords=low, xytext=(-3, -3),
                    textcoords="offset points", rotation=90, ha="right", va="top", fontsize=7.5, color=colour,
                    parse_math=False,
                )  # fmt: skip


def _shown(name: str) -> str:
    """``name`` so that a legend lists it: labels that begin with an underscore are left out."""
    return f"\u200b{name}" if name.startswith("_") else name


def _setting(text: str) -> str:
    """``learning_rate = 0.0005`` of ``train_config.learning_rate = 0.0005``."""
    key, sign, value = text.partition(" = ")
    return f"{key.rpartition('.')[2]}{sign}{value}"


def _x_of(point: Point, x: Axis) -> float:
    if x == "time":
        return float(point.get("elapsed", math.nan))
    return float(point["iteration" if x == "iteration" else "env_steps"])


def _value(point: Point, metric: str) -> float:
    value = point["values"].get(metric)
    return math.nan if value is None else float(value)


def _x_unit(tracks: Sequence[Track], x: Axis) -> tuple[float, str]:
    """What the numbers of the axis are divided by, and its label."""
    if x != "time":
        return 1.0, "iteration" if x == "iteration" else "environment steps"
    longest = max((_x_of(track.points[-1], x) for track in tracks if track.points), default=0.0)
    if longest < 180:
        return 1.0, "seconds since the start"
    return (60.0, "minutes since the start") if longest < 3 * 3600 else (3600.0, "hours since the start")

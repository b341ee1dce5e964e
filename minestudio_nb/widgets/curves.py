"""The training curves as a matplotlib figure or PNG, for notebooks that stay readable and for the run directory."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from minestudio_nb.widgets.panels import PANELS, Panel
from minestudio_nb.widgets.series import Point, series, smooth, thin

__all__ = ["PANELS", "Panel", "curves_figure", "curves_png"]

GREEN, ORANGE, BLUE = "#2e8b57", "#c8662b", "#3a6fb0"
_COLOURS = (GREEN, ORANGE, BLUE)


def curves_figure(points: Sequence[Point], title: str = "", goal: float | None = None) -> Figure:
    """The return on top and :data:`PANELS` below, over env steps.

    Thin: single iterations; thick: mean over the last episodes (return) or exponential moving average (the rest).
    ``goal`` draws a line at the target return. The figure belongs to no pyplot state.
    """
    panels = [panel for panel in PANELS if any(series(points, metric)[0] for metric, _ in panel.metrics)]
    rows = (len(panels) + 2) // 3
    figure = Figure(figsize=(11, 3.4 + 2.3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1 + rows, 3, height_ratios=[1.5, *[1.0] * rows])
    _draw_return(figure.add_subplot(grid[0, :]), points, goal)
    for index, panel in enumerate(panels):
        _draw_panel(figure.add_subplot(grid[1 + index // 3, index % 3]), points, panel)
    if title:
        figure.suptitle(title, fontweight="bold", x=0.01, ha="left")
    return figure


def curves_png(points: Sequence[Point], title: str = "", goal: float | None = None, dpi: int = 110) -> bytes:
    """:func:`curves_figure` as PNG bytes."""
    buffer = io.BytesIO()
    curves_figure(points, title, goal).savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _draw_return(axes: Axes, points: Sequence[Point], goal: float | None) -> None:
    axes.set_title("Return per episode", loc="left")
    xs, raw = series(points, "episode/return")
    if not xs:
        axes.text(0.5, 0.5, "no episode has ended yet", transform=axes.transAxes, ha="center", color="grey")
    else:
        axes.plot(xs, raw, ".", markersize=3, color=GREEN, alpha=0.35, label="mean of an iteration")
        window_x, window = series(points, "episode/return_window")
        axes.plot(window_x, window, color=GREEN, linewidth=2, label="mean of the latest episodes")
    if goal is not None:
        axes.axhline(goal, color=BLUE, linestyle="--", linewidth=1.2, label=f"goal {goal:g}")
    if xs or goal is not None:
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set_xlabel("env steps")
    _finish(axes)


def _draw_panel(axes: Axes, points: Sequence[Point], panel: Panel) -> None:
    axes.set_title(panel.title, loc="left", fontsize=10)
    for (metric, name), colour in zip(panel.metrics, _COLOURS, strict=False):
        xs, ys = series(points, metric)
        if xs:
            axes.plot(*thin(xs, ys, 1000), color=colour, linewidth=0.8, alpha=0.3)
            axes.plot(*thin(xs, smooth(ys), 1000), color=colour, linewidth=1.6, label=name)
    if len(panel.metrics) > 1:
        axes.legend(frameon=False, fontsize=7)
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if not any(np.any(np.asarray(line.get_ydata())) for line in axes.lines):
        axes.set_ylim(-0.05, 1)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)

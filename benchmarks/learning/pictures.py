"""Curves of the learning benchmarks: ``docs/images/learning_*.png``, from the raw results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from benchmarks.learning.registry import Experiment, Result, experiments
from benchmarks.learning.runner import newest, read_results
from benchmarks.learning.statistics import at_steps, bootstrap_interval, iqm

__all__ = ["draw", "draw_all"]

COLOURS = ("#2e8b57", "#c8662b", "#4a6fa5", "#8a5a9e")
GREY = "#555555"


def draw_all() -> None:
    """A picture of each experiment that has results."""
    for experiment in experiments():
        lines = newest(read_results(experiment.name)).values()
        if lines:
            draw(experiment, list(lines))


def draw(experiment: Experiment, lines: Sequence[Result]) -> None:
    """Thin: each seed. Thick: their interquartile mean, in its interval."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for arm, colour in zip(experiment.arms, COLOURS, strict=False):
        curves = [line["curve"] for line in lines if line["arm"] == arm.name and line["curve"][0]]
        if not curves:
            continue
        for curve in curves:
            axes.plot(*curve, color=colour, linewidth=0.6, alpha=0.45)
        steps, returns = at_steps(curves)
        seeds = f"{len(curves)} seed" + "s" * (len(curves) > 1)
        axes.plot(steps, iqm(returns), color=colour, linewidth=2.0, label=f"{arm.title} ({seeds})")
        if len(curves) > 1:
            axes.fill_between(steps, *bootstrap_interval(returns), color=colour, alpha=0.18, linewidth=0)
    chance = [value for line in lines for value in line.get("random", ())]
    if chance:
        axes.axhline(float(np.mean(chance)), color=GREY, linestyle=":", linewidth=1.0, label="random policy")
    if experiment.solved is not None:
        axes.axhline(
            experiment.solved, color=GREY, linestyle="--", linewidth=1.0, label=f"solved: {experiment.solved:g}"
        )
    axes.set_title(experiment.title, fontsize=10)
    axes.set_xlabel("env steps", fontsize=9)
    axes.set_ylabel(f"{experiment.measure}, latest 50 episodes", fontsize=9)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=3)
    figure.savefig(experiment.picture, dpi=110, metadata={"Software": None})

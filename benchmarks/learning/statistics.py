"""Interquartile means over runs, with bootstrap intervals, as Agarwal et al. 2021 (2108.13264) recommend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["at_steps", "bootstrap_interval", "iqm", "mean_over_steps"]

RESAMPLES = 2000
CONFIDENCE = 0.95
Floats = NDArray[np.float64]


def iqm(values: ArrayLike) -> Floats:
    """Mean over axis 0 without the lowest and the highest quarter; of 5 runs the middle three, of 3 runs all.

    As ``scipy.stats.trim_mean(values, 0.25)``: the number left out on each side is rounded down.
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=0)
    cut = len(ordered) // 4
    middle: Floats = ordered[cut : len(ordered) - cut].mean(0)
    return middle


def bootstrap_interval(values: ArrayLike, seed: int = 0) -> tuple[Floats, Floats]:
    """Percentiles 2.5 and 97.5 of the interquartile mean when runs (axis 0) are drawn anew, with replacement.

    Stratified by task; since each experiment is one, its runs are the only stratum. With three runs it can only be
    rough.
    """
    runs = np.asarray(values, np.float64)
    chosen = np.random.default_rng(seed).integers(0, len(runs), (RESAMPLES, len(runs)))
    means = iqm(np.moveaxis(runs[chosen], 1, 0))
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return low, high


def mean_over_steps(curve: Sequence[Sequence[float]]) -> float:
    """The mean of a curve ``[steps, returns]`` of at least two points over its steps: how early it rises counts."""
    steps, returns = np.asarray(curve, np.float64)
    return float(np.trapezoid(returns, steps) / (steps[-1] - steps[0]))


def at_steps(curves: Sequence[Sequence[Sequence[float]]], points: int = 100) -> tuple[Floats, Floats]:
    """Curves ``[steps, returns]`` on common steps: ``(points,)`` and ``(curves, points)``, linear in between.

    The steps go from the latest beginning to the earliest end, so that nothing is made up.
    """
    begin = max(curve[0][0] for curve in curves)
    end = min(curve[0][-1] for curve in curves)
    steps = np.linspace(begin, max(begin, end), points)
    return steps, np.array([np.interp(steps, *curve) for curve in curves])

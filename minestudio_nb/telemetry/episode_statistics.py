"""Statistics of finished episodes, per task."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["EpisodeStatistics", "TaskStatistics"]


@dataclass(frozen=True)
class TaskStatistics:
    """Means and standard deviations (population formula) over the latest episodes of one task."""

    episodes: int
    """Since the start, not only among the latest."""
    return_mean: float
    return_std: float
    length_mean: float
    """Steps (policy decisions)."""
    length_std: float
    terminated_fraction: float


class _Task:
    def __init__(self, window: int) -> None:
        self.count = 0
        self.latest: deque[tuple[float, float, float]] = deque(maxlen=window)  # return, length, terminated


class EpisodeStatistics:
    """The latest ``window`` episodes of each task, and of all tasks together."""

    def __init__(self, window: int) -> None:
        self.window = window
        self._tasks: dict[str, _Task] = {}
        self._returns: deque[float] = deque(maxlen=window)

    def add(self, task: str, episode_return: float, length: float, terminated: bool) -> None:
        """Takes a finished episode."""
        record = self._tasks.setdefault(task, _Task(self.window))
        record.count += 1
        record.latest.append((episode_return, length, float(terminated)))
        self._returns.append(episode_return)

    def tasks(self) -> dict[str, TaskStatistics]:
        """Statistics by task, in order of names."""
        return {name: _summarise(self._tasks[name]) for name in sorted(self._tasks)}

    def return_window(self) -> float:
        """Mean return over the latest ``window`` episodes of all tasks together; NaN before the first."""
        return sum(self._returns) / len(self._returns) if self._returns else math.nan

    def window_size(self) -> int:
        """How many episodes :meth:`return_window` is the mean of."""
        return len(self._returns)

    def get_state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        tasks = {name: {"count": task.count, "latest": [*task.latest]} for name, task in self._tasks.items()}
        return {"returns": [*self._returns], "tasks": tasks}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what :meth:`get_state` gave."""
        self._returns = deque(state["returns"], maxlen=self.window)
        self._tasks = {}
        for name, saved in state["tasks"].items():
            task = self._tasks[name] = _Task(self.window)
            task.count = int(saved["count"])
            task.latest.extend(saved["latest"])


def _summarise(task: _Task) -> TaskStatistics:
    means, deviations = np.mean(task.latest, axis=0), np.std(task.latest, axis=0)
    return TaskStatistics(
        task.count, float(means[0]), float(deviations[0]), float(means[1]), float(deviations[1]), float(means[2])
    )

"""Statistics of finished episodes, per task."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minestudio_nb.contracts.fragments import EpisodeSummary, StreamId

__all__ = ["EpisodeStatistics", "TaskStatistics"]


@dataclass(frozen=True)
class TaskStatistics:
    """Means and standard deviations over the window of one task (population formula; NaN while it is empty)."""

    episodes: int
    """Since the start, not only in the window."""
    return_mean: float
    return_std: float
    length_mean: float
    """Steps (policy decisions)."""
    length_std: float
    terminated_fraction: float


@dataclass
class _Task:
    window: deque[EpisodeSummary]
    count: int = field(default=0)


class EpisodeStatistics:
    """The last ``window`` episodes of each task, by the time at which they finished."""

    def __init__(self, window: int = 50) -> None:
        self._window = window
        self._tasks: dict[str, _Task] = {}

    def add(self, episodes: Iterable[EpisodeSummary]) -> None:
        """Takes finished episodes."""
        for episode in episodes:
            task = self._tasks.setdefault(episode.task, _Task(deque(maxlen=self._window)))
            task.window.append(episode)
            task.count += 1

    def merge(self, other: EpisodeStatistics) -> None:
        """Adds what ``other`` has seen; the newest episodes of both make the window."""
        for name, theirs in other._tasks.items():
            ours = self._tasks.setdefault(name, _Task(deque(maxlen=self._window)))
            both = sorted([*ours.window, *theirs.window], key=lambda episode: episode.finished_at)
            ours.window = deque(both, maxlen=self._window)
            ours.count += theirs.count

    def tasks(self) -> dict[str, TaskStatistics]:
        """Statistics by task, in order of names."""
        return {name: self._summarise(self._tasks[name]) for name in sorted(self._tasks)}

    def return_window(self) -> float:
        """Mean return over the last ``window`` episodes of all tasks together; NaN before the first."""
        returns = [episode.episode_return for episode in self._latest()]
        return float(np.mean(returns)) if returns else float("nan")

    def count(self) -> int:
        """Episodes since the start."""
        return sum(task.count for task in self._tasks.values())

    def get_state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            name: {"count": task.count, "window": [_to_plain(episode) for episode in task.window]}
            for name, task in self._tasks.items()
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what :meth:`get_state` gave."""
        self._tasks = {
            name: _Task(deque([_from_plain(item) for item in task["window"]], maxlen=self._window), task["count"])
            for name, task in state.items()
        }

    def _latest(self) -> list[EpisodeSummary]:
        everything = [episode for task in self._tasks.values() for episode in task.window]
        return sorted(everything, key=lambda episode: episode.finished_at)[-self._window :]

    @staticmethod
    def _summarise(task: _Task) -> TaskStatistics:
        returns = np.array([episode.episode_return for episode in task.window])
        lengths = np.array([episode.length for episode in task.window], np.float64)
        ended = np.array([episode.terminated for episode in task.window])
        return TaskStatistics(
            task.count,
            float(returns.mean()),
            float(returns.std()),
            float(lengths.mean()),
            float(lengths.std()),
            float(ended.mean()),
        )


def _to_plain(episode: EpisodeSummary) -> dict[str, Any]:
    return {**vars(episode), "stream": list(episode.stream), "extras": dict(episode.extras)}


def _from_plain(item: Mapping[str, Any]) -> EpisodeSummary:
    return EpisodeSummary(**{**item, "stream": StreamId(*item["stream"])})

"""Episode statistics, against numbers computed by hand."""

from __future__ import annotations

import math

import pytest

from minestudio_nb.telemetry.episode_statistics import EpisodeStatistics


def test_windows_per_task_and_of_all_together() -> None:
    statistics = EpisodeStatistics(window=3)
    assert math.isnan(statistics.return_window()) and statistics.tasks() == {}
    for value, length, terminated in ((9, 10, True), (1, 4, True), (2, 5, True), (6, 9, False)):
        statistics.add("b", value, length, terminated)
    statistics.add("a", 20, 7, True)
    tasks = statistics.tasks()
    assert list(tasks) == ["a", "b"]
    # The latest three of b: returns 1, 2, 6 and lengths 4, 5, 9.
    assert tasks["b"].episodes == 4
    assert tasks["b"].return_mean == 3.0
    assert tasks["b"].return_std == pytest.approx(math.sqrt((4 + 1 + 9) / 3))
    assert tasks["b"].length_mean == 6.0
    assert tasks["b"].length_std == pytest.approx(math.sqrt((4 + 1 + 9) / 3))
    assert tasks["b"].terminated_fraction == pytest.approx(2 / 3)
    assert tasks["a"].return_std == 0.0
    assert statistics.return_window() == pytest.approx((2 + 6 + 20) / 3)
    assert statistics.window_size() == 3

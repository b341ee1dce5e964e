"""Episode statistics and evaluation, against numbers computed by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from minestudio_nb.contracts.fragments import EpisodeSummary, StreamId
from minestudio_nb.environments.build import env_seed
from minestudio_nb.environments.spaces import spec_of
from minestudio_nb.rollout.episode_statistics import EpisodeStatistics
from minestudio_nb.rollout.evaluation import EVALUATOR, evaluate
from tests.support.checking_policy import CheckingPolicy
from tests.support.counting_env import CountingEnv, TracingEnv, episode_length


def episode(
    value: float, length: int = 10, task: str = "a", at: float = 0.0, terminated: bool = True
) -> EpisodeSummary:
    return EpisodeSummary(StreamId(0, 0), task, value, length, 0, terminated, not terminated, at)


def test_windows_per_task() -> None:
    statistics = EpisodeStatistics(window=3)
    assert math.isnan(statistics.return_window())
    statistics.add([episode(9, at=1), episode(1, 4, at=2), episode(2, 5, at=3), episode(6, 9, at=4, terminated=False)])
    statistics.add([episode(20, 7, "b", at=5)])
    tasks = statistics.tasks()
    assert list(tasks) == ["a", "b"]
    assert tasks["a"].episodes == 4
    assert tasks["a"].return_mean == 3.0
    assert tasks["a"].return_std == pytest.approx(math.sqrt((4 + 1 + 9) / 3))
    assert tasks["a"].length_mean == 6.0
    assert tasks["a"].length_std == pytest.approx(math.sqrt((4 + 1 + 9) / 3))
    assert tasks["a"].terminated_fraction == pytest.approx(2 / 3)
    assert tasks["b"].return_std == 0.0
    assert statistics.return_window() == pytest.approx((2 + 6 + 20) / 3)
    assert statistics.count() == 5


def test_merging_in_either_order_gives_the_newest_episodes() -> None:
    left, right = EpisodeStatistics(3), EpisodeStatistics(3)
    left.add([episode(1, at=1), episode(3, at=3), episode(5, at=5)])
    right.add([episode(2, at=2), episode(4, at=4)])
    one, other = EpisodeStatistics(3), EpisodeStatistics(3)
    for part in (left, right):
        one.merge(part)
    for part in (right, left):
        other.merge(part)
    assert one.tasks() == other.tasks()
    assert one.return_window() == 4.0
    assert one.count() == 5


def test_statistics_survive_a_checkpoint() -> None:
    statistics = EpisodeStatistics(3)
    statistics.add([episode(value, at=value) for value in range(5)])
    restored = EpisodeStatistics(3)
    restored.set_state(statistics.get_state())
    assert restored.tasks() == statistics.tasks()
    assert restored.return_window() == statistics.return_window() == 3.0


@pytest.mark.parametrize("num_envs", [1, 3, 8])
def test_evaluation_plays_each_seed_once_and_whole(num_envs: int) -> None:
    policy = CheckingPolicy(spec_of(CountingEnv(0)))
    result = evaluate(policy, SameIndex, 5, deterministic=True, seed=4, num_envs=num_envs)
    assert result.lengths == [episode_length(0, 0)] * 5
    assert result.seeds == [env_seed(4, EVALUATOR, number, held_out=True) for number in range(5)]
    # Steps 0, 1, 2 with actions (step, 0) and reward step + 16 * step.
    assert result.returns == [float(17 * (0 + 1 + 2))] * 5


class SameIndex(CountingEnv):
    """All of them are environment 0, so that results do not depend on which of them played."""

    def __init__(self, **_: Any) -> None:
        super().__init__(0)


def test_the_first_episodes_are_recorded_with_values() -> None:
    policy = CheckingPolicy(spec_of(CountingEnv(0)))
    result = evaluate(policy, CountingEnv, 4, record=2, num_envs=2)
    assert len(result.recordings) == 2
    for recording, length, total in zip(result.recordings, result.lengths, result.returns, strict=False):
        assert recording.values == [float(step) for step in range(length)]
        assert sum(recording.rewards) == total
        assert [int(frame[0, 0, 0]) for frame in recording.frames] == list(range(length))
    (traced,) = evaluate(policy, TracingEnv, 1, record=1).recordings
    assert traced.trace == [0, episode_length(0, 0)]


def test_a_random_policy_is_uniform_and_repeatable() -> None:
    first = evaluate(None, CountingEnv, 40, random_policy=True, seed=1)
    again = evaluate(None, CountingEnv, 40, random_policy=True, seed=1)
    assert first.returns == again.returns
    assert len(set(np.round(first.returns, 3))) > 10
    with pytest.raises(ValueError, match="needs a policy"):
        evaluate(None, CountingEnv, 1)


def test_evaluation_can_be_cut_short() -> None:
    calls = iter([False] * 4 + [True] * 100)
    result = evaluate(None, CountingEnv, 100, random_policy=True, num_envs=2, should_stop=lambda: next(calls))
    assert len(result.returns) < 100

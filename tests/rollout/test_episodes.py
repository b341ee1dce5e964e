"""Evaluation, against numbers computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minestudio_nb.environments.build import env_seed
from minestudio_nb.environments.spaces import spec_of
from minestudio_nb.rollout.evaluation import EVALUATOR, TRIES, evaluate
from tests.support.checking_policy import CheckingPolicy
from tests.support.counting_env import CountingEnv, TracingEnv, episode_length
from tests.support.faulty_env import FaultyEnv


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


@pytest.mark.parametrize("num_envs", [1, 2])
def test_an_environment_that_fails_is_replaced_and_its_episode_begun_anew(
    num_envs: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def faulty(index: int, seed: int) -> FaultyEnv:
        return FaultyEnv(0, tmp_path, {(0, 0): "raise", (0, 2): "nan"})

    policy = CheckingPolicy(spec_of(CountingEnv(0)))
    result = evaluate(policy, faulty, 3, deterministic=True, record=3, num_envs=num_envs)
    assert result.returns == [float(17 * (0 + 1 + 2))] * 3 and result.lengths == [3] * 3
    assert [recording.values for recording in result.recordings] == [[0.0, 1.0, 2.0]] * 3
    assert [len(recording.frames) for recording in result.recordings] == [3] * 3
    assert caplog.text.count("begins anew") == 2 and "broken on purpose" in caplog.text


def test_an_evaluation_gives_up_where_an_episode_fails_again_and_again(tmp_path: Path) -> None:
    def faulty(index: int, seed: int) -> FaultyEnv:
        (tmp_path / f"built {len(list(tmp_path.glob('built *')))}").touch()
        return FaultyEnv(0, tmp_path, {(0, 1): "raise!"})

    with pytest.raises(RuntimeError, match="broken on purpose"):
        evaluate(None, faulty, 1, random_policy=True)
    assert len(list(tmp_path.glob("built *"))) == TRIES


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

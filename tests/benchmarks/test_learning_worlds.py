"""The environments of the learning benchmarks: what they show, that seeds decide everything, and Crafter's score."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from benchmarks.learning.crafter_world import PREFIX, CrafterEnv, crafter_score, success_rates, success_table, summary
from benchmarks.learning.grids import CellKinds, doorkey_pixels, memory_kinds
from benchmarks.learning.registry import ROOT, find
from minestudio_nb import OnlineSession


class Cells(gymnasium.Env[Any, Any]):
    """Shows one column of three cells: a ball (6) far away, then a wall (2), then a key (5)."""

    observation_space = gymnasium.spaces.Box(0, 255, (1, 3, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.array([[[6, 0, 0], [2, 5, 0], [5, 1, 2]]], np.uint8), {}


def needs(package: str) -> Any:
    return pytest.importorskip(package, reason=f"{package} is not installed: pip install -e '.[bench]'")


def played(make: Callable[[], Any], seed: int, steps: int) -> list[Any]:
    """Observations, rewards and ends of an episode after ``reset(seed=seed)``, always with the same actions."""
    env, random = make(), np.random.default_rng(0)
    seen: list[Any] = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        obs, reward, terminated, truncated, _ = env.step(int(random.integers(env.action_space.n)))
        seen += [obs, reward, terminated, truncated]
        if terminated or truncated:
            seen.append(env.reset()[0])
    return seen


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_cells_of_the_nearest_rows_become_kinds_one_hot() -> None:
    env = CellKinds(Cells(), rows=2)
    obs, _ = env.reset()
    wall, key = np.eye(11)[2], np.eye(11)[5]
    np.testing.assert_array_equal(obs, np.concatenate([wall, key]))
    assert env.observation_space.contains(obs)


@pytest.mark.parametrize("make", [doorkey_pixels, memory_kinds, CrafterEnv])
def test_what_an_environment_shows_is_in_its_space_and_seeds_decide_it(make: Callable[..., Any]) -> None:
    needs("crafter" if make is CrafterEnv else "minigrid")
    env = make()
    obs, _ = env.reset(seed=1)
    assert env.observation_space.contains(obs)
    first = played(make, 1, 60)
    assert same(first, played(make, 1, 60))
    assert not same(first, played(make, 2, 60))


def test_doorkey_is_seen_as_pixels_with_its_own_end_and_reward() -> None:
    needs("minigrid")
    env = doorkey_pixels()
    assert env.observation_space == gymnasium.spaces.Box(0, 255, (56, 56, 3), np.uint8)
    env.reset(seed=0)
    ends = [env.step(0)[1:4] for _ in range(250)]  # turning on the spot
    assert ends[-2:] == [(0, False, False), (0, False, True)]


def test_memory_shows_kinds_and_lasts_245_steps() -> None:
    needs("minigrid")
    env = memory_kinds()
    obs, _ = env.reset(seed=0)
    assert obs.shape == (7 * 4 * 11,) and obs.dtype == np.float32 and obs.sum() == 28
    assert env.unwrapped.max_steps == 245  # type: ignore[attr-defined]


@pytest.mark.parametrize(("rows", "most"), [(4, 2), (7, 3)])
def test_what_is_to_be_remembered_is_out_of_sight_at_the_fork(rows: int, most: int) -> None:
    """Keys and balls in sight at the fork, in the direction that shows most: two ends, and with all rows the third."""
    needs("minigrid")
    env: Any = memory_kinds(rows)
    env.reset(seed=0)
    env.unwrapped.agent_pos, seen = (5, 3), []
    for direction in range(4):
        env.unwrapped.agent_dir = direction
        kinds = env.observation(env.unwrapped.gen_obs()["image"]).reshape(-1, 11)
        seen.append(int(kinds[:, [5, 6]].sum()))
    assert max(seen) == most


def test_crafter_gives_equal_episodes_in_spite_of_its_sets() -> None:
    """Long enough that creatures are taken away, which Crafter draws from a set of objects."""
    needs("crafter")
    assert same(played(CrafterEnv, 3, 250), played(CrafterEnv, 3, 250))


def test_crafter_says_at_the_end_what_was_achieved_and_why_it_ended() -> None:
    needs("crafter")
    env = CrafterEnv()
    env.reset(seed=0)
    env._game._player.inventory["health"] = 0
    _, _, terminated, truncated, info = env.step(0)
    assert (terminated, truncated) == (True, False)
    assert len(info["extras"]) == 22 and set(info["extras"].values()) == {0.0}
    env.reset(seed=0)
    env._game._player.achievements["collect_wood"] = 3
    env._game._step = 9_999
    _, reward, terminated, truncated, info = env.step(0)
    assert (terminated, truncated, reward) == (False, True, 1.0)
    assert info["extras"][PREFIX + "collect_wood"] == 1.0 and sum(info["extras"].values()) == 1.0


def test_the_score_of_crafter_by_hand() -> None:
    episodes = [{PREFIX + "a": 1.0, PREFIX + "b": 0.0, "other": 7.0}, {PREFIX + "a": 1.0, PREFIX + "b": 1.0}]
    assert success_rates(episodes) == {"a": 100.0, "b": 50.0}
    assert crafter_score([100.0, 0.0]) == pytest.approx(math.sqrt(101.0) - 1.0)  # exp((ln 101 + ln 1) / 2) - 1
    assert crafter_score([3.0, 3.0]) == pytest.approx(3.0)


def test_the_summary_of_crafter_by_hand() -> None:
    episodes = [{PREFIX + "eat_cow": 1.0, PREFIX + "wake_up": 0.0}, {PREFIX + "eat_cow": 0.0, PREFIX + "wake_up": 0.0}]
    ours = summary([2.0, 1.0], episodes)
    assert ours == {"mean_return": 1.5, "score": 6.141, "success": {"eat_cow": 50.0, "wake_up": 0.0}}  # sqrt(51) - 1
    chance = {f"random_{key}": value for key, value in summary([0.5], episodes[1:]).items()}
    assert success_table([{**ours, **chance}]).splitlines()[2:] == [
        "| eat cow | 50.0 | 0.0 |",
        "| wake up | 0.0 | 0.0 |",
    ]


def test_the_records_of_training_episodes_hold_what_crafter_is_scored_by(tmp_path: Path) -> None:
    """From the environment's end of an episode, through a session, to the score."""
    needs("crafter")
    with OnlineSession("crafter", runtime="inline", run_root=tmp_path) as session:
        small = ["train_config.num_iterations=1", "rollout_config.worker_config.num_envs=1", "policy=cnn"]
        small += ["train_config.batch_size_per_gpu=1", "train_config.batches_per_iteration=1"]
        small += [
            "train_config.epochs_per_iteration=1",
            "rollout_config.fragment_length=64",
            "+env_config.kwargs.length=30",
        ]
        session.load_config(ROOT / find("crafter").config, small)
        session.start_rollout()
        session.start_trainer()
        session.wait(timeout=240)
        episodes = session.episodes()
    assert len(episodes) == 2
    assert len(summary(list(episodes["episode_return"]), list(episodes["extras"]))["success"]) == 22

"""The learning benchmarks' bookkeeping: statistics by hand, runs that are done and that are not, the page."""

from __future__ import annotations

import fcntl
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from benchmarks.learning import page, runner
from benchmarks.learning.registry import Arm, Experiment, Job, Published, Result, experiments
from benchmarks.learning.sb3 import ppo_arguments
from benchmarks.learning.statistics import at_steps, bootstrap_interval, iqm, mean_over_steps
from benchmarks.learning.training import load, settings_of, thinned


def test_the_interquartile_mean_by_hand() -> None:
    assert iqm([100.0, 1.0, 2.0, 3.0, -50.0]) == 2.0
    assert iqm([1.0, 2.0, 6.0]) == 3.0
    assert iqm([4.0, 0.0, 1.0, 90.0]) == 2.5
    assert iqm([[1.0, 10.0], [3.0, 30.0]]).tolist() == [2.0, 20.0]


def test_bootstrap_intervals_by_hand() -> None:
    assert [float(end) for end in bootstrap_interval([7.0, 7.0, 7.0])] == [7.0, 7.0]
    # All three draws are 0 with probability 1/27, more than the 2.5 % below the interval; and so for 6.
    assert [float(end) for end in bootstrap_interval([0.0, 3.0, 6.0])] == [0.0, 6.0]
    # Of five draws k are 30, with probability 1/5 each. Middle three: k = 2 gives 10, 3 gives 20, 4 gives 30.
    # P(k >= 4) = 0.7 % and P(k >= 3) = 5.8 %: the interval ends at 20.
    assert [float(end) for end in bootstrap_interval([0.0, 0.0, 30.0, 0.0, 0.0])] == [0.0, 20.0]
    low, high = bootstrap_interval([[0.0, 5.0], [3.0, 5.0], [6.0, 5.0]])
    assert low.tolist() == [0.0, 5.0] and high.tolist() == [6.0, 5.0]


def test_curves_meet_where_all_of_them_are() -> None:
    steps, returns = at_steps([[[0, 10, 20], [0.0, 10.0, 20.0]], [[10, 30], [1.0, 3.0]]], points=3)
    assert steps.tolist() == [10.0, 15.0, 20.0]
    assert returns.tolist() == [[10.0, 15.0, 20.0], [1.0, 1.5, 2.0]]
    # From 100 to 200 at 1 on average, from 200 to 500 at 3.
    assert mean_over_steps([[100, 200, 500], [0.0, 2.0, 4.0]]) == pytest.approx((100 * 1 + 300 * 3) / 400)
    kept = thinned(list(range(250)), [float(step) for step in range(250)])
    assert kept[0] == kept[1] == [*range(0, 250, 3)]
    assert thinned([1, 2], [0.5, 1.23456]) == [[1, 2], [0.5, 1.235]]
    assert thinned([], []) == [[], []]


def a_run(job: Job, folder: Path) -> Result:
    """An arm's ``train`` that takes no time."""
    assert folder.is_dir() and not list(folder.iterdir())
    greedy = [float(job.seed), job.seed + 2.0]
    return {
        "env_steps": 300,
        "cpu_seconds": 4.0,
        "greedy": greedy,
        "sampled": [1.0],
        "settings": {},
        "curve": [[0, 100, 200], [0.0, 2.0, 6.0]],
    }


ARM = Arm("ours", "ours", train=a_run)
TRIAL = Experiment("trial", "Trial run", "configs/cartpole.yaml", "About it.", (ARM,), (0, 1, 5), cpu_seconds=9.0)


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SCRATCH", tmp_path / "scratch")


def test_a_finished_run_is_a_line_and_is_not_made_again(tmp_path: Path) -> None:
    first, second, third = runner.missing([TRIAL], folder=tmp_path)
    line = runner.run_here(second, tmp_path)
    assert line is not None and line["seed"] == 1 and line["versions"]["torch"]
    assert runner.read_results("trial", tmp_path) == [line]
    assert runner.run_here(second, tmp_path) is None
    assert runner.missing([TRIAL], folder=tmp_path) == [first, third]
    assert runner.missing([TRIAL], [1, 2], tmp_path) == [Job(TRIAL, ARM, 2)]
    assert runner.estimate(first, tmp_path) == 4.0


def test_a_run_that_is_cut_short_leaves_nothing(tmp_path: Path) -> None:
    def cut(job: Job, folder: Path) -> Result:
        (folder / "half").write_text("a checkpoint")
        raise KeyboardInterrupt

    job = Job(TRIAL, replace(ARM, train=cut), 0)
    with pytest.raises(KeyboardInterrupt):
        runner.run_here(job, tmp_path)
    assert runner.read_results("trial", tmp_path) == []
    assert runner.run_here(Job(TRIAL, ARM, 0), tmp_path) is not None


def test_a_line_that_was_cut_off_does_not_count_and_spoils_no_other(tmp_path: Path) -> None:
    runner.run_here(Job(TRIAL, ARM, 0), tmp_path)
    path = tmp_path / "trial.jsonl"
    whole = path.read_text()
    path.write_text(whole + whole.replace('"seed": 0', '"seed": 1')[:40])
    assert [job.seed for job in runner.missing([TRIAL], folder=tmp_path)] == [1, 5]
    assert runner.run_here(Job(TRIAL, ARM, 1), tmp_path) is not None
    assert [line["seed"] for line in runner.read_results("trial", tmp_path)] == [0, 1]


def test_a_run_at_hand_in_another_process_is_left_to_it(tmp_path: Path) -> None:
    runner.SCRATCH.mkdir()
    with (runner.SCRATCH / "trial-ours-5.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert runner.run_here(Job(TRIAL, ARM, 5), tmp_path) is None
    assert runner.run_here(Job(TRIAL, ARM, 5), tmp_path) is not None


def test_the_page_says_what_the_lines_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = Published("8 ± 1", "Somebody, 1M steps", "https://example.org/somebody")
    trial = replace(TRIAL, published=(published,), finding="It **falls short**, for a reason.")
    monkeypatch.setattr(page, "experiments", lambda: (trial,))
    assert "Trial" not in page.page(tmp_path)
    for seed in (0, 5):
        runner.run_here(Job(trial, ARM, seed), tmp_path)
    text = page.page(tmp_path)
    # Seeds 0 and 5 have means of 1 and 6: in the middle 3.5, in the interval both ends.
    assert "| [Trial run](#trial-run) | ours | **3.50** [1.00, 6.00] greedy |  | 8 ± 1 | 300 | 2 |" in text
    assert "| ours | **3.50** [1.00, 6.00] | **1.00** [1.00, 1.00] | **2.50** [2.50, 2.50] | 300 | 4 | 2 |" in text
    assert "Published: **8 ± 1**, [Somebody, 1M steps](https://example.org/somebody)." in text
    assert "It **falls short**, for a reason." in text
    assert "Not run yet: ours, seed 1." in text


def test_every_line_was_made_with_the_settings_that_its_experiment_has_now() -> None:
    """Else the page would name others than those that were used."""
    for experiment in experiments():
        now: dict[str, Any] = {}
        for line in runner.newest(runner.read_results(experiment.name)).values():
            arm = experiment.arm(line["arm"])
            if arm.name not in now:
                now[arm.name] = json.loads(json.dumps(settings_of(load(Job(experiment, arm, 0)).config)))
            assert line["settings"] == now[arm.name], (
                f"{line['experiment']} {line['arm']} {line['seed']}: delete its line"
            )


def test_velocities_are_hidden() -> None:
    masked = gymnasium.make("benchmarks.learning.classic:MaskedCartPole-v1")
    whole = gymnasium.make("CartPole-v1")
    seen, state = masked.reset(seed=3)[0], whole.reset(seed=3)[0]
    assert masked.observation_space.contains(seen) and seen.dtype == np.float32
    # An episode ends at 2.4 m and at 12 degrees.
    units = np.array([2.4, np.pi * 12 / 180])
    np.testing.assert_allclose(seen * units, state[[0, 2]], rtol=1e-6)
    np.testing.assert_allclose(masked.step(1)[0] * units, whole.step(1)[0][[0, 2]], rtol=1e-6)
    assert masked.spec is not None and masked.spec.max_episode_steps == 500


def test_stable_baselines3_gets_the_same_hyperparameters() -> None:
    acrobot = next(experiment for experiment in experiments() if experiment.name == "acrobot")
    config = load(Job(acrobot, acrobot.arms[0], 7)).config
    given = ppo_arguments(config)
    alike = {"n_steps": 128, "batch_size": 128, "n_epochs": 4, "ent_coef": 0.01, "vf_coef": 0.25, "seed": 7}
    assert {key: given[key] for key in alike} == alike
    # Theirs is asked with what is left after the iteration's steps were counted.
    assert given["learning_rate"](1.0 - 1 / 586) == pytest.approx(2.5e-4)
    assert given["learning_rate"](0.0) == pytest.approx(2.5e-4 / 586)
    with pytest.raises(ValueError, match=r"target_kl=0\.1"):
        ppo_arguments(config.with_value("train_config.target_kl", 0.1))
    with pytest.raises(ValueError, match="mlp"):
        ppo_arguments(config.with_value("policy_config.name", "cnn"))

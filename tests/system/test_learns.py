"""The whole system learns: the proof that its parts are put together rightly."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from minestudio_nb import OnlineSession

ROOT = Path(__file__).parents[2]


def play_cartpole(tmp_path: Path, seed: int, *overrides: str) -> tuple[float, int]:
    """Trains the shipped configuration inline; mean return of 20 held-out greedy episodes, and steps taken."""
    with OnlineSession(f"cartpole-{seed}", runtime="inline", run_root=tmp_path) as session:
        seeds = [f"train_config.seed={seed}", f"rollout_config.worker_config.seed={seed}"]
        session.load_config("cartpole", [*seeds, *overrides])
        session.start_rollout()
        session.start_trainer()
        status = session.wait(timeout=900)
        return session.evaluate(20).mean_return, status.env_steps


def test_cartpole_learns_in_a_minute(tmp_path: Path) -> None:
    """A random policy stays below 30; with wrong signs or mixed-up fragments it never gets to 150."""
    mean_return, steps = play_cartpole(tmp_path, 0, "train_config.max_env_steps=20000")
    assert mean_return >= 150
    assert steps <= 20_000 + 256


@pytest.mark.timeout(1500)
def test_a_task_of_voxelsim_learns_from_pixels_in_half_a_minute(tmp_path: Path) -> None:
    """Seeds 0, 1 and 2 came to 15 blocks and more, in which nobody has dug before; a random policy mines one."""
    sizes = ["rollout_config.num_rollout_workers=1", "train_config.max_env_steps=12000", "schedule=alternate"]
    in_order = "rollout_config.worker_config.execution=in_worker"  # the same numbers on a slow machine
    with OnlineSession("stone", runtime="inline", run_root=tmp_path) as session:
        session.load_config("mine_stone", [*sizes, in_order])
        session.start_rollout()
        chance = session.evaluate(10, random_policy=True).mean_return
        session.start_trainer()
        session.wait(timeout=1200)
        learned = session.evaluate(10, deterministic=False).mean_return
    assert chance < 3
    assert learned > 7


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cartpole_is_solved_within_150k_steps(tmp_path: Path, seed: int) -> None:
    mean_return, steps = play_cartpole(tmp_path, seed)
    assert mean_return >= 475
    assert steps <= 150_000


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_demo_learns_on_ray(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "minestudio_nb.run", "chop_tree", "--run-root", str(tmp_path), "--report"]
    # A process of its own: this one may be connected to the cluster of other tests.
    done = subprocess.run(
        [*command, "--name", "demo", "--report"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout.decode()
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["learned"] and summary["env_steps"] <= 250_000
    assert summary["return_random"] < 0.6 and summary["return_final"] > 1.5
    for name in ("report.html", "curves.png", "before.mp4", "after.mp4"):
        assert (tmp_path / "demo" / name).stat().st_size > 10_000, name


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("task", ["hunt", "mine_stone", "shoot", "place_frame"])
def test_a_task_is_learned_as_documented(task: str, tmp_path: Path) -> None:
    """Training reaches the configuration's target, and what was learned holds in worlds that it never saw."""
    command = [sys.executable, "-m", "minestudio_nb.run", task, "--run-root", str(tmp_path), "--name", task, "--report"]
    log = tmp_path / "log"
    with log.open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, timeout=3000)
    assert done.returncode == 0, log.read_text()[-4000:]
    summary = json.loads((tmp_path / task / "summary.json").read_text())
    assert summary["learned"]
    assert summary["return_final"] > 0.6 * summary["target_return"] > 1.2 * summary["return_random"]


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("lag", "objective", "learns"),
    [(0, "decoupled", True), (2, "decoupled", True), (8, "decoupled", True), (8, "plain", False)],
)
def test_old_data_is_learned_from_with_the_decoupled_objective_only(lag: int, objective: str, learns: bool) -> None:
    """As in ``benchmarks/staleness.py``, whose other seeds docs/ppo.md shows."""
    spec = importlib.util.spec_from_file_location("staleness", ROOT / "benchmarks" / "staleness.py")
    assert spec is not None and spec.loader is not None
    staleness = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(staleness)
    result = staleness.train(lag, objective, seed=1)
    assert result["staleness"] == lag
    assert (result["reached_at"] is not None) is learns
    assert (result["final"] >= 475) is learns

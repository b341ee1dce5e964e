"""A session under a random killer for half an hour.

MSNB_SOAK_MINUTES sets another length, MSNB_SOAK_SEED other victims.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from minestudio_nb.runtime.processes import CLUSTER_MARK
from minestudio_nb.trainer.checkpoints import LATEST, CheckpointStore, find_checkpoints, read_newest
from tests.runtime.ray_support import REPOSITORY

MINUTES = float(os.environ.get("MSNB_SOAK_MINUTES", "30"))
SEED = int(os.environ.get("MSNB_SOAK_SEED", "1"))
STEPS_PER_ITERATION = 6 * 32
GROWTH_BYTES = 150 * 2**20


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_newest_checkpoint(run: Path) -> None:
    """It is that of the last iteration, as it was written by its checksums, with all that a trainer goes on from."""
    store = CheckpointStore(run / "checkpoints")
    folder, checkpoint, problems = read_newest(find_checkpoints(LATEST, store))
    assert not problems and folder == store.newest()
    last = rows(run / "metrics.jsonl")[-1]
    progress = checkpoint.state["progress"]
    assert checkpoint.iteration == progress["iteration"] == last["iteration"]
    assert progress["version"] == last["values"]["train/policy_version"]
    assert checkpoint.weights and all(torch.isfinite(tensor).all() for tensor in checkpoint.weights.values())
    assert len(checkpoint.optimizer["state"]) > 0


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What the killer saw, and the run's directory."""
    root = tmp_path_factory.mktemp("soak")
    log = root / "log"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for name in (CLUSTER_MARK, "RAY_ADDRESS"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "tests.support.soak", str(root), str(MINUTES), str(SEED)]
    with log.open("w") as output:
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=60 * MINUTES + 1800,
        )
    text = log.read_text()
    assert done.returncode == 0, text[-6000:]
    seen = json.loads(text.splitlines()[-1])
    print(text)
    return seen, root / "soak"


@pytest.mark.full
@pytest.mark.timeout(60 * MINUTES + 2000)
def test_a_session_under_a_random_killer_loses_and_doubles_nothing(soaked: tuple[dict[str, Any], Path]) -> None:
    seen, run = soaked
    assert seen["failure"] == "" and seen["left"] == []
    roles = {name.partition(" ")[2] for name in seen["killed"]}
    if MINUTES >= 10:
        assert roles == {"environment", "rollout worker", "trainer", "buffer", "supervisor"}
    assert sum(seen["killed"].values()) >= MINUTES * 2

    points = rows(run / "metrics.jsonl")
    iterations = [point["iteration"] for point in points]
    assert iterations == list(range(1, len(points) + 1)), "none is missing, none is there twice"
    assert all(lost <= 1 for lost in seen["lost"]), "never more than recovery_interval"
    versions = [point["values"]["train/policy_version"] for point in points]
    assert all(before < after for before, after in pairwise(versions))
    trained = [point["values"]["train/samples_total"] for point in points]
    assert all(before < after <= before + 2 * 2 * STEPS_PER_ITERATION for before, after in pairwise(trained))


@pytest.mark.full
@pytest.mark.timeout(60 * MINUTES + 2000)
def test_what_was_played_adds_up(soaked: tuple[dict[str, Any], Path]) -> None:
    seen, run = soaked
    points, episodes = rows(run / "metrics.jsonl"), rows(run / "episodes.jsonl")
    steps = [point["env_steps"] for point in points]
    assert all(before <= after for before, after in pairwise(steps))
    keys = [json.dumps([row["stream"], row["finished_at"], row["length"]]) for row in episodes]
    assert len(set(keys)) == len(keys), "no episode is counted twice"
    assert all(row["episode_return"] == row["length"] for row in episodes), "CartPole gives 1 for each step"
    # A supervisor that died knew of episodes, which are on disk, and of steps of the open iteration, which are not.
    forgotten = 3 * STEPS_PER_ITERATION * (1 + sum(n for name, n in seen["killed"].items() if "supervisor" in name))
    assert sum(row["length"] for row in episodes) <= steps[-1] + forgotten


@pytest.mark.full
@pytest.mark.timeout(60 * MINUTES + 2000)
def test_what_a_resume_would_read_is_whole(soaked: tuple[dict[str, Any], Path]) -> None:
    check_newest_checkpoint(soaked[1])


@pytest.mark.full
@pytest.mark.timeout(60 * MINUTES + 2000)
def test_nothing_grows_and_nothing_half_written_is_left(soaked: tuple[dict[str, Any], Path]) -> None:
    seen, run = soaked
    for role, settled, now in seen["grown"]:
        assert now - settled < GROWTH_BYTES, f"{role} grew from {settled / 2**20:.0f} to {now / 2**20:.0f} MiB"
    hidden = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.name.startswith(".")}
    assert not hidden and not list(run.rglob("*.tmp")) and not (run / "cluster.json").exists()
    assert (run / "checkpoints" / "latest").read_text().strip() == f"iteration_{len(rows(run / 'metrics.jsonl')):06d}"

"""A run that is killed again and again is, in the end, the run that was left alone: bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minestudio_nb.trainer import CheckpointStore
from tests.session.test_determinism import is_of_the_run

HELD = ("buffer/fragments", "buffer/bytes")
"""With KL the buffer keeps fragments that were read; a checkpoint does not."""


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def recorded(run: Path) -> dict[str, Any]:
    """All that a run has left, without what a clock says."""
    points = rows(run / "metrics.jsonl")
    newest = CheckpointStore(run / "checkpoints").newest()
    assert newest is not None
    state = CheckpointStore(run / "checkpoints").load()
    progress = {key: value for key, value in state.state["progress"].items() if key != "seconds"}
    return {
        "iterations": [point["iteration"] for point in points],
        "steps": [point["env_steps"] for point in points],
        "tasks": [point["tasks"] for point in points],
        "numbers": [
            {name: value for name, value in point["values"].items() if is_of_the_run(name) and name not in HELD}
            for point in points
        ],
        "episodes": [
            {key: value for key, value in row.items() if "_at" not in key} for row in rows(run / "episodes.jsonl")
        ],
        "weights": (newest / "weights.safetensors").read_bytes(),
        "everything else": (newest / "state.safetensors").read_bytes(),
        "progress": progress,
        "hub": state.extra["hub"],
    }


@pytest.mark.parametrize(
    ("world", "iterations", "seed"),
    [
        ("counting", 16, 1),
        pytest.param("counting", 60, 2, marks=pytest.mark.full),
        pytest.param("voxel", 12, 3, marks=pytest.mark.full),
    ],
)
def test_a_run_killed_at_random_moments_is_the_run_that_was_not(
    world: str, iterations: int, seed: int, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.support.interrupted", str(tmp_path), world, str(iterations), str(seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=250)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(done.stdout.split()[-1]) >= iterations // 6, "it was killed"
    through, cut = recorded(tmp_path / "through"), recorded(tmp_path / "cut")
    assert through["iterations"] == list(range(1, iterations + 1))
    assert through["numbers"][-1]["ppo/learning_rate"] < through["numbers"][0]["ppo/learning_rate"]
    for part, value in through.items():
        assert repr(cut[part]) == repr(value), part  # as text, for NaN is not equal to itself
    edits = [row for row in rows(tmp_path / "cut" / "events.jsonl") if row["kind"] == "edit"]
    assert len(edits) == 1 and cut["progress"]["edits"] == {"train_config.entropy_bonus_coef": (0.0, 0.03)}
    left = {path.name for path in (tmp_path / "cut").rglob(".*")} | {path.name for path in tmp_path.rglob("*.tmp")}
    assert not left, "what was being written at a kill is gone"

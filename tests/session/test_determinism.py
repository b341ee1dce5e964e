"""The same seed gives the same numbers, all that is recorded, twice."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from minestudio_nb import OnlineSession
from minestudio_nb.contracts.telemetry import METRICS

OF_THE_CLOCK = {"s", "steps/s", "samples/s", "frames/s", "ms", "%", "bytes"}
"""Units of what differs from run to run because machines are not clocks; the buffer's bytes do not."""


def run(root: Path, seed: int, policy: str) -> dict[str, Any]:
    """Two workers with two environments each; reuse, several passes, KL to a reference, value normalisation."""
    online = {
        "env_config": {"simulator": "gymnasium", "id": "CartPole-v1"},
        "policy_config": {"name": policy},
        "rollout_config": {
            "num_rollout_workers": 2,
            "fragment_length": 16,
            "worker_config": {"num_envs": 2, "execution": "in_worker", "seed": seed},
            "replay_buffer_config": {"max_reuse": 2, "max_staleness": 1},
        },
        "train_config": {
            "seed": seed,
            "num_iterations": 5,
            "batch_size_per_gpu": 2,
            "batches_per_iteration": 4,
            "context_length": 8,
            "epochs_per_iteration": 2,
            "kl_divergence_coef_rho": 0.2,
            "coef_rho_decay": 0.9,
            "use_normalized_vf": True,
            "clip_vloss": True,
            "learning_rate": 1e-3,
        },
    }
    with OnlineSession("run", runtime="inline", run_root=root) as session:
        session.load_config(online)
        session.start_rollout()
        session.start_trainer()
        session.wait(timeout=250)
        evaluation = session.evaluate(4)
    folder = root / "run"
    points = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    episodes = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    (checkpoint,) = [path for path in (folder / "checkpoints").iterdir() if path.name.endswith("005")]
    return {
        "numbers": [
            {name: value for name, value in point["values"].items() if is_of_the_run(name)} for point in points
        ],
        "steps": [point["env_steps"] for point in points],
        "episodes": [{key: value for key, value in episode.items() if "_at" not in key} for episode in episodes],
        "weights": (checkpoint / "weights.safetensors").read_bytes(),
        "state": (checkpoint / "state.safetensors").read_bytes(),
        "evaluation": (evaluation.returns, evaluation.lengths, evaluation.seeds),
    }


def is_of_the_run(name: str) -> bool:
    return name == "buffer/bytes" or (METRICS[name].unit not in OF_THE_CLOCK and not name.startswith("system/"))


@pytest.mark.parametrize("policy", ["mlp", "mlp_gru"])
def test_the_same_seed_inline_gives_the_same_numbers(policy: str, tmp_path: Path) -> None:
    first, second, other = (run(tmp_path / str(index), seed, policy) for index, seed in enumerate((3, 3, 4)))
    assert len(first["numbers"]) == 5 and len(first["numbers"][0]) > 25
    assert all(math.isfinite(point["ppo/loss"]) for point in first["numbers"])
    assert any(point["buffer/reuse"] > 1 for point in first["numbers"]), "old data is part of it"
    for part in first:
        # As text, for NaN is not equal to itself.
        assert repr(first[part]) == repr(second[part]), part
        if part != "steps":
            assert repr(first[part]) != repr(other[part]), f"{part} does not depend on the seed"

"""Two processes train as one: equal weights, one mind about edits, pauses, stops and skipped updates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support.fragments import FeedStore
from tests.support.training import Bench, same_weights, small_config

ROOT = Path(__file__).parents[2]
ONE_PROCESS = {"num_iterations": 1, "gradient_accumulation": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.trainer.two_ranks"]
    ranks = [
        subprocess.Popen([*command, str(rank), str(folder)], env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        errors = [rank.communicate(timeout=150)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(errors)
    return folder


def result(folder: Path, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, Any]]:
    """Weights, which must be the same bits on both ranks, and the facts of rank 0 and rank 1."""
    weights = [load_file(str(folder / f"{name}{rank}.safetensors")) for rank in range(2)]
    assert same_weights(*weights), f"ranks drifted apart in {name}"
    return weights[0], *(json.loads((folder / f"{name}{rank}.json").read_text()) for rank in range(2))


@pytest.mark.parametrize(("name", "full_batch"), [("union", True), ("per_step", False)])
def test_two_ranks_do_what_one_does_on_the_union_of_their_data(folder: Path, name: str, full_batch: bool) -> None:
    weights, main, other = result(folder, name)
    alone = Bench(small_config(**ONE_PROCESS, normalize_advantage_full_batch=full_batch))
    alone.run()
    for key, tensor in alone.weights.items():
        torch.testing.assert_close(weights[key], tensor, rtol=1e-4, atol=2e-6)
    point = alone.telemetry.points[1]
    for key in ("ppo/loss", "ppo/value_loss", "ppo/grad_norm", "ppo/advantage_std", "ppo/effective_sample_size"):
        assert main["points"]["1"][key] == pytest.approx(point[key], rel=1e-4), key
    assert main["samples"] == other["samples"] == 64
    assert main["published"] == 2 and other["published"] == 0 and other["points"] == {}


def test_what_one_rank_lost_is_replaced(folder: Path) -> None:
    _, main, other = result(folder, "lost")
    assert main["points"]["1"]["buffer/lost_fragments"] == 2 and main["samples"] == other["samples"] == 64


def test_nan_on_one_rank_is_skipped_on_both(folder: Path) -> None:
    weights, main, other = result(folder, "poisoned")
    assert [main["points"][k]["ppo/updates_skipped"] for k in ("1", "2", "3")] == [0, 1, 0]
    assert main["events"] == ["update_skipped"] and other["events"] == []
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    assert main["samples"] == other["samples"] == 2 * 64


def test_orders_reach_both_ranks_at_the_same_border(folder: Path) -> None:
    _, main, other = result(folder, "orders")
    assert main["iterations"] == other["iterations"] == 4
    assert main["learning_rate"] == other["learning_rate"] == 5e-3
    assert main["edits"] == ["applied"] and "state" in main["events"]
    rates = [main["points"][k]["ppo/learning_rate"] for k in main["points"]]
    assert rates == [1e-2, 1e-2, 5e-3, 5e-3]
    assert (folder / "checkpoints" / "iteration_000004").is_dir()


def test_the_feed_is_that_of_one_process() -> None:
    """The comparison above is worth something only if one process trains on the same fragments."""
    store = FeedStore()
    Bench(small_config(**ONE_PROCESS), store).run()
    assert store.taken == [list(range(8))]


LOST = """
import os, signal, sys, torch
import torch.distributed as dist
from minestudio_nb.errors import RankLostError
from minestudio_nb.trainer import TorchCollective
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
collective = TorchCollective()
assert collective.all_reduce(torch.ones(1)).item() == 2
if rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
try:
    collective.broadcast(collective.all_reduce(torch.ones(1)).item())
except RankLostError as error:
    print(error, flush=True)
    os._exit(0)
"""


def test_a_rank_whose_peer_is_killed_says_that_and_no_failure_of_its_own(tmp_path: Path) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOST]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meet")], env=env, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        said = ranks[0].communicate(timeout=150)[0]
        ranks[1].communicate(timeout=60)
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert said.startswith("another training process is gone, or cannot be reached: ")
    assert [rank.returncode for rank in ranks] == [0, -9]

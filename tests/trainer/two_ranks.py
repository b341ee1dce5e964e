"""What each of two ranks runs in ``test_two_ranks.py``: started as a module, it writes weights and facts to files."""

from __future__ import annotations

import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file

from minestudio_nb.policies import build_policy
from minestudio_nb.trainer import CheckpointStore, TorchCollective
from tests.support.fragments import VECTOR_SPEC, FeedStore
from tests.support.training import Bench, small_config

SIZES = {"num_workers": 2, "batches_per_iteration": 2, "gradient_accumulation": 2}


class RankStore(FeedStore):
    """Both ranks make the same numbered fragments; only rank 0 takes, so rank 1 serves any number it is asked for."""

    def fetch(self, fragment_ids: Any) -> Any:
        return [
            None if number in self.lost else self.fragments.get(number) or self.make(number, 0)
            for number in fragment_ids
        ]


class PoisonedOnOne(RankStore):
    """Rank 1 finds a NaN in the data of its share of the second iteration."""

    def make(self, number: int, version: int) -> Any:
        fragment = super().make(number, version)
        if number == 13 and dist.get_rank() == 1:
            fragment.rewards[0] = np.nan
        return fragment


def union(rank: int) -> Bench:
    """One iteration whose result must be that of one process on all of the data."""
    policy = build_policy({"name": "mlp", "args": {"hidden": [16]}}, VECTOR_SPEC, seed=1 + rank)  # rank 0's must win
    bench = Bench(small_config(**SIZES, num_iterations=1), RankStore(), policy, collective=TorchCollective())
    bench.run()
    return bench


def per_step(rank: int) -> Bench:
    """As :func:`union`, with advantages normalised over each optimizer step."""
    config = small_config(**SIZES, num_iterations=1, normalize_advantage_full_batch=False)
    bench = Bench(config, RankStore(), collective=TorchCollective())
    bench.run()
    return bench


def lost(rank: int) -> Bench:
    """Two fragments of rank 1 are lost and replaced."""
    bench = Bench(small_config(**SIZES, num_iterations=1), RankStore(lost=[5, 6]), collective=TorchCollective())
    bench.run()
    return bench


def orders(rank: int, folder: Path) -> Bench:
    """An edit, a pause and a stop, which only rank 0 hears."""
    bench = Bench(
        small_config(**SIZES, num_iterations=50),
        RankStore(),
        collective=TorchCollective(),
        checkpoints=CheckpointStore(folder / "checkpoints"),
    )
    if rank == 0:
        take, pauses = bench.store.take, iter([True])
        wait = bench.control.wait

        def take_and_order(*arguments: Any) -> Any:
            takes = len(bench.store.taken)
            if takes == 1:
                bench.control.edit("train_config.learning_rate", 5e-3)
                if next(pauses, False):
                    bench.control.pause()
            elif takes == 3:
                bench.control.stop()
            return take(*arguments)

        def wait_and_resume(*arguments: Any) -> Any:
            bench.control.resume()
            return wait(*arguments)

        bench.store.take, bench.control.wait = take_and_order, wait_and_resume
    bench.run()
    return bench


def poisoned(rank: int) -> Bench:
    """NaN on rank 1 only, in iteration 2 of 3."""
    bench = Bench(small_config(**SIZES, num_iterations=3), PoisonedOnOne(), collective=TorchCollective())
    bench.run()
    return bench


def main() -> None:
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'rendezvous'}",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    for name, scenario in {"union": union, "per_step": per_step, "lost": lost, "poisoned": poisoned}.items():
        finish(folder, name, rank, scenario(rank))
    finish(folder, "orders", rank, orders(rank, folder))
    dist.barrier()
    dist.destroy_process_group()
    # Everything is on disk. The threads of gloo may still be ending, and then an interpreter that ends aborts at times.
    sys.stderr.flush()
    os._exit(0)


def finish(folder: Path, name: str, rank: int, bench: Bench) -> None:
    save_file(bench.weights, str(folder / f"{name}{rank}.safetensors"))
    facts = {
        "points": bench.telemetry.points,
        "events": bench.telemetry.kinds(),
        "published": len(bench.publisher.packages),
        "iterations": bench.trainer.progress.iteration,
        "samples": bench.trainer.progress.samples,
        "learning_rate": bench.trainer.config.train_config.learning_rate,
        "edits": [edit.status for edit in bench.control.edits()],
    }
    (folder / f"{name}{rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()

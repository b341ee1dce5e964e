"""Runs that are killed: ``python -m tests.support.interrupted ROOT counting|voxel ITERATIONS SEED``.

Makes two runs below ROOT with the same settings, each in processes of its own: ``through`` in one go, and ``cut``,
which is killed by SIGKILL at random moments and goes on from disk each time, until it is done. Prints how often it was
killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from minestudio_nb import OnlineSession
from minestudio_nb.runtime import inline
from minestudio_nb.trainer import PPOTrainer
from tests.support.counting_env import CountingEnv

LIMIT_SECONDS = 200.0
LOADED = (inline, PPOTrainer)
"""What takes seconds to import is, once, before the processes are forked that use it."""


class Counts(CountingEnv):
    """The counting environment without its picture, for the mlp policy."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        del self.observation_space.spaces["image"]

    def observation(self) -> dict[str, Any]:
        return {"count": super().observation()["count"]}


def configuration(world: str, iterations: int) -> dict[str, Any]:
    """Two workers; several passes, value normalisation, schedules, memory or a reference: all that has a state.

    Not memory and a reference together: what the reference remembered of a stream is made anew from the fragment
    before, which no checkpoint holds, so that KL is masked for the first steps after a resume.
    """
    online: dict[str, Any] = {
        "schedule": "alternate",
        "rollout_config": {
            "num_rollout_workers": 2,
            "fragment_length": 8,
            "worker_config": {"num_envs": 2, "execution": "in_worker"},
        },
        "train_config": {
            "batch_size_per_gpu": 2,
            "batches_per_iteration": 2,
            "num_iterations": iterations,
            "learning_rate": 1e-3,
            "anneal_lr_linearly": True,
            "epochs_per_iteration": 2,
            "context_length": 4,
            "use_normalized_vf": True,
            "keep_interval": 1000,
        },
        "policy_config": {"name": "mlp_gru"},
    }
    if world == "counting":
        return {"online_dict": online, "env_generator": Counts}
    online["train_config"] |= {"kl_divergence_coef_rho": 0.2, "coef_rho_decay": 0.9}
    online["policy_config"] = {"name": "cnn"}
    online["env_config"] = {"simulator": "voxel", "task": "chop_tree"}
    return {"online_dict": online}


def play(root: Path, name: str, world: str, iterations: int) -> None:
    """Runs to the end, from disk where there is something; the first start has a live edit in it."""
    session = OnlineSession(name, runtime="inline", run_root=root)
    again = (root / name / "metrics.jsonl").exists()
    session.load_config(configuration(world, iterations), resume=name if again else None)
    session.start_rollout()
    if not again:
        session.set("train_config.entropy_bonus_coef", 0.03)
    session.start_trainer()
    session.wait(timeout=LIMIT_SECONDS)
    session.stop()


def child(*arguments: Any) -> int:
    """A process that plays and ends; its pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            play(*arguments)
            status = 0
        finally:
            if status:
                sys.excepthook(*sys.exc_info())
            os._exit(status)
    return pid


def ended(pid: int) -> bool:
    """Whether the child has ended, which it must have done well."""
    found, status = os.waitpid(pid, os.WNOHANG)
    assert not found or status == 0, f"the run ended with status {status}"
    return bool(found)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main(root: Path, world: str, iterations: int, seed: int) -> int:
    """How often the run was killed."""
    moments, kills, metrics = random.Random(seed), 0, root / "cut" / "metrics.jsonl"
    pid = child(root, "through", world, iterations)
    while not ended(pid):
        time.sleep(0.02)
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        pid, goal = child(root, "cut", world, iterations), lines(metrics) + moments.randint(2, 4)
        while not (over := ended(pid)) and lines(metrics) < goal:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        if over:
            return kills
        time.sleep(moments.random() * 0.05)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kills += 1


if __name__ == "__main__":
    print("killed", main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))

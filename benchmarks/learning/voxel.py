"""VoxelSim's chop_tree and hunt, as they are shipped, for a fixed number of steps."""

from __future__ import annotations

from benchmarks.learning.registry import Experiment

__all__ = ["EXPERIMENTS"]

NO_GOAL = ("train_config.target_return=null", "train_config.max_minutes=null")
"""The shipped configurations end when a return is reached; curves of several seeds want equal lengths."""


def _steps(count: int) -> tuple[str, ...]:
    return (*NO_GOAL, f"train_config.max_env_steps={count}")


EXPERIMENTS = (
    Experiment(
        name="voxel_chop",
        title="VoxelSim: chop_tree",
        config="configs/chop_tree.yaml",
        about="1 for each log in 20 seconds of a dense forest, from 64x64 pixels ([tasks.md](tasks.md#chop_tree)).",
        cpu_seconds=180,
        overrides=_steps(90_000),
        episodes=32,
        solved=3.0,
        keep_weights=True,
    ),
    Experiment(
        name="voxel_hunt",
        title="VoxelSim: hunt",
        config="configs/hunt.yaml",
        about="0.5 for each hit and 1 for each kill of sheep and pigs on a meadow ([tasks.md](tasks.md#hunt)).",
        cpu_seconds=150,
        overrides=_steps(72_000),
        episodes=32,
        solved=5.0,
    ),
)

"""MineStudio's three online configurations, unmodified, on VoxelSim: rollout and two iterations."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from minestudio_nb import OnlineSession, run
from minestudio_nb.config import build_generator, load_config
from minestudio_nb.environments.build import EnvFactory
from minestudio_nb.simulator import VoxelSim

DATA = Path(__file__).parents[1] / "data" / "minestudio"
NAMES = ("gate_kl", "gate", "config_shoot")

BUDGET = (
    "scale=laptop",
    "rollout_config.num_rollout_workers=1",
    "rollout_config.worker_config.num_envs=2",
    "rollout_config.fragment_length=16",
    "train_config.context_length=16",
    "train_config.batches_per_iteration=2",
    "train_config.num_iterations=2",
)
"""What two cores allow; everything else, the size of images among it, stays as MineStudio has it."""


def module_env(name: str) -> VoxelSim:
    env = build_generator(load_config(DATA / f"{name}.py", simulator="voxel", policy="cnn").env)
    assert type(env) is VoxelSim
    return env


@pytest.mark.parametrize("name", ["gate_kl", *(pytest.param(name, marks=pytest.mark.full) for name in NAMES[1:])])
def test_a_session_runs_it(name: str, tmp_path: Path) -> None:
    with OnlineSession(name, runtime="inline", run_root=tmp_path) as session:
        session.load_config(DATA / f"{name}.py", BUDGET, simulator="voxel", policy="cnn")
        session.start_rollout()
        session.start_trainer()
        status = session.wait(timeout=200)
        assert (status.state, status.iteration) == ("FINISHED", 2)
        metrics = session.metrics()
        assert metrics["train/samples_total"].iloc[-1] == 2 * 4 * 16
        assert metrics["ppo/loss"].notna().all()
        frame = next(iter(session.frames().values()))
        assert frame.shape == (128, 128, 3)
    assert (tmp_path / name / "whole_config.py").read_text() == (DATA / f"{name}.py").read_text()


def test_the_command_line_runs_it(tmp_path: Path) -> None:
    options = ["--runtime", "inline", "--run-root", str(tmp_path), "--name", "gate", "policy=cnn", "env=voxel"]
    in_worker = "rollout_config.worker_config.execution=in_worker"
    assert run.main([str(DATA / "gate.py"), *options, *BUDGET, in_worker]) == 0
    assert len((tmp_path / "gate" / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_ray_runs_it(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "minestudio_nb.run", str(DATA / f"{name}.py"), "--run-root", str(tmp_path)]
    budget = [*BUDGET, "rollout_config.num_cpus_per_worker=0.5"]
    answer = subprocess.run(
        [*command, "--name", name, "policy=cnn", *budget], capture_output=True, text=True, timeout=280, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert len((tmp_path / name / "metrics.jsonl").read_text().splitlines()) == 2


def test_every_reset_prepares_the_world_as_the_file_says() -> None:
    env = module_env("gate_kl")
    for _ in range(2):
        _, info = env.reset()
        assert info["location_stats"]["biome"] == "plains"
        assert info["inventory"][0] == {"type": "diamond_pickaxe", "quantity": 1}
        assert info["equipped_items"]["offhand"]["type"] == "obsidian"
    info = env.step(env.noop_action())[-1]
    assert len(info["voxels"]) == 15**3
    env.close()
    env = module_env("config_shoot")
    _, info = env.reset()
    held = [(slot["type"], slot["quantity"]) for slot in list(info["inventory"].values())[:3]]
    assert held == [("bow", 1), ("arrow", 64), ("arrow", 64)]
    env.close()


def test_our_gate_is_the_environment_of_gate_kl() -> None:
    theirs = module_env("gate_kl")
    loaded = load_config("gate_kl")
    ours = EnvFactory(loaded.env)(0)
    assert isinstance(ours, VoxelSim)
    assert [repr(callback) for callback in ours.callbacks] == [repr(callback) for callback in theirs.callbacks]
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.engine.biome == theirs.engine.biome


def test_our_gate_kl_at_full_size_has_the_settings_of_theirs() -> None:
    theirs = load_config(DATA / "gate_kl.py").config.to_dict()
    ours = load_config("gate_kl", ["scale=cluster"]).config.to_dict()
    differing = sorted(_differing(theirs, ours))
    assert differing == [
        "detach_rollout_manager",
        "logger_config.project",
        "rollout_config.replay_buffer_config.database_config.path",
        "rollout_config.worker_config.video_output_dir",
        "train_config.adam_eps",  # MineStudio leaves torch's 1e-8, ours is PPO's
        "train_config.save_path",
    ]


def _differing(one: dict, other: dict, prefix: str = "") -> list[str]:
    found = []
    for key in one:
        if prefix == "" and key in ("env_config", "policy_config", "generator_module"):
            continue
        if isinstance(one[key], dict):
            found += _differing(one[key], other[key], f"{prefix}{key}.")
        elif one[key] != other[key]:
            found.append(f"{prefix}{key}")
    return found


def test_the_copies_are_unmodified() -> None:
    """As published in the package minestudio 1.1.6; a formatter's edit would show here."""
    sums = {name: hashlib.sha256((DATA / f"{name}.py").read_bytes()).hexdigest()[:16] for name in NAMES}
    assert sums == {"gate_kl": "49e661d4f95c923e", "gate": "33574ef3314197b6", "config_shoot": "9cac0b9e1fa2a1c4"}

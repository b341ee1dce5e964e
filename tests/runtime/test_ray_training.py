"""Training on Ray: live control, evaluation beside it, a trainer that dies, several ranks, MineStudio's functions."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import ray

from minestudio_nb.config import trainers
from minestudio_nb.errors import SessionStateError
from minestudio_nb.runtime import api
from minestudio_nb.runtime.base import Cursor
from minestudio_nb.runtime.calls import call
from minestudio_nb.runtime.names import find_actor, running_sessions
from minestudio_nb.runtime.ray_runtime import RayRuntime
from tests.runtime.ray_support import REPOSITORY, START_SECONDS, eventually, small_spec

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

SMALL = (
    "rollout_config.worker_config.num_envs=4",
    "rollout_config.fragment_length=16",
    "train_config.batch_size_per_gpu=4",
    "train_config.epochs_per_iteration=2",
)


def started(stopping: list[RayRuntime], session: str, root: Path, address: str, *overrides: str) -> RayRuntime:
    runtime = RayRuntime(small_spec(session, root, overrides=(*SMALL, *overrides), address=address))
    stopping.append(runtime)
    runtime.start_rollout(START_SECONDS)
    runtime.start_trainer()
    return runtime


def points(runtime: RayRuntime) -> list[dict[str, Any]]:
    snapshot = runtime.snapshot(Cursor())
    assert snapshot.phase != "failed", snapshot.status
    return [dict(point) for point in snapshot.points]


def test_control_and_evaluation_of_a_running_session(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    runtime = started(stopping, "control", tmp_path, ray_cluster, "train_config.num_iterations=100000")
    eventually(lambda: len(points(runtime)) >= 3, 120.0)

    edit = runtime.edit("train_config.learning_rate", 1e-5)
    applied = eventually(lambda: [e for e in runtime.snapshot(Cursor()).edits if e.status == "applied"])[0]
    assert (applied.revision, applied.value) == (edit.revision, 1e-5)
    runtime.edit("rollout_config.replay_buffer_config.max_staleness", 3)
    runtime.request("checkpoint", label="mine")
    eventually(lambda: list((tmp_path / "control" / "checkpoints").glob("iteration_*-mine")))

    runtime.pause()
    eventually(lambda: any("paused" in event.message for event in runtime.snapshot(Cursor()).events))
    held = runtime.snapshot(Cursor())
    assert held.phase == "paused"
    result = runtime.evaluate(3, True, 1000, False, 0)
    assert len(result.returns) == 3 and result.policy_version == held.status["policy_version"]
    at_random = runtime.evaluate(3, False, 1000, True, 0)
    assert at_random.seeds == result.seeds
    assert len(points(runtime)) == len(held.points), "nothing is trained during a pause"
    runtime.resume()
    eventually(lambda: len(points(runtime)) > len(held.points))

    runtime.edit("train_config.num_iterations", points(runtime)[-1]["iteration"] + 5)
    eventually(lambda: runtime.wait(1.0), 60.0)
    snapshot = runtime.snapshot(Cursor())
    assert (snapshot.phase, snapshot.status["stop_reason"]) == ("finished", "num_iterations")
    assert snapshot.status["iteration"] == snapshot.status["num_iterations"]
    assert [point["iteration"] for point in snapshot.points] == list(range(1, len(snapshot.points) + 1))
    later = runtime.snapshot(snapshot.cursor)
    assert not later.points, "a reader gets each point once"


def test_a_killed_trainer_goes_on_from_its_checkpoint(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    runtime = started(stopping, "revived", tmp_path, ray_cluster, "train_config.num_iterations=100000")
    eventually(lambda: len(points(runtime)) >= 3, 120.0)
    trainer = find_actor("revived", "trainer_1")
    os.kill(call(trainer.pid.remote()), signal.SIGKILL)
    event = eventually(
        lambda: [event for event in runtime.snapshot(Cursor()).events if event.kind == "trainer_restart"], 60.0
    )[0]
    before = len(points(runtime))
    assert "iteration_" in event.message
    eventually(lambda: len(points(runtime)) >= before + 3, 120.0)
    iterations = [point["iteration"] for point in points(runtime)]
    assert iterations == list(range(1, len(iterations) + 1)), "what was done again is there once"
    lines = (tmp_path / "revived" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines][: len(iterations)] == iterations
    resumed = next(event for event in runtime.snapshot(Cursor()).events if event.kind == "resume")
    assert int(resumed.message.split()[-1].rstrip(".")) >= before - 1, "at most one iteration is done again"
    versions = [point["values"]["train/policy_version"] for point in points(runtime)]
    assert versions == sorted(versions)


@pytest.mark.full
def test_a_policy_that_cannot_be_built_fails_with_its_cause(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    runtime = started(stopping, "diverged", tmp_path, ray_cluster, "train_config.resume=/nonexistent/checkpoint")
    assert eventually(lambda: runtime.wait(1.0), 120.0)
    snapshot = runtime.snapshot(Cursor())
    assert snapshot.phase == "failed"
    assert "CheckpointError" in snapshot.status["failure"] and "/nonexistent/checkpoint" in snapshot.status["failure"]
    assert any(event.severity == "error" for event in snapshot.events)


@pytest.mark.full
def test_a_trainer_without_room_fails_with_what_is_free(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    class Occupant:
        """Somebody else's actor."""

        def pid(self) -> int:
            return os.getpid()

    runtime = RayRuntime(small_spec("crowded", tmp_path, overrides=(*SMALL, "timeouts.start=30"), address=ray_cluster))
    stopping.append(runtime)
    runtime.start_rollout(START_SECONDS)
    occupant = ray.remote(Occupant).options(num_cpus=ray.available_resources()["CPU"]).remote()
    try:
        call(occupant.pid.remote(), what="the occupant")
        runtime.start_trainer()
        assert eventually(lambda: runtime.wait(1.0), 60.0)
        assert "it asks for {'CPU': 1.0}, and free are" in runtime.snapshot(Cursor()).status["failure"]
    finally:
        ray.kill(occupant)


def test_the_entry_points_of_minestudio(ray_cluster: str, tmp_path: Path) -> None:
    def cartpole() -> Any:
        import gymnasium

        return gymnasium.make("CartPole-v1", disable_env_checker=True)

    def policy(env_spec: Any) -> Any:
        from minestudio_nb.policies import MlpPolicy

        return MlpPolicy(env_spec)

    settings = {
        "rollout_config": {"num_rollout_workers": 1, "fragment_length": 16, "worker_config": {"num_envs": 4}},
        "train_config": {"num_iterations": 3, "batch_size_per_gpu": 4, "batches_per_iteration": 1},
    }
    with pytest.raises(SessionStateError):
        api.get_rollout_manager("mine")
    manager = api.start_rolloutmanager(
        policy, cartpole, settings, session="mine", address=ray_cluster, run_root=tmp_path
    )
    try:
        assert api.get_rollout_manager("mine") is manager
        handle = api.start_trainer(policy, cartpole, settings, "online_dict = {}\napi_key = 'abc123'", session="mine")
        assert handle.wait(timeout=120.0) == "num_iterations"
        text = (tmp_path / "mine" / "whole_config").read_text()
        assert "online_dict" in text and "abc123" not in text
    finally:
        manager.stop(20.0)
    assert "mine" not in running_sessions()


@pytest.mark.full
def test_two_ranks_train_as_one(ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]) -> None:
    overrides = ("train_config.num_workers=2", "train_config.num_iterations=4", "train_config.batch_size_per_gpu=2")
    runtime = started(stopping, "ranks", tmp_path, ray_cluster, *overrides)
    eventually(lambda: runtime.wait(1.0), 240.0)
    snapshot = runtime.snapshot(Cursor())
    assert snapshot.status["stop_reason"] == "num_iterations", snapshot.status
    assert len(snapshot.points) == 4


@pytest.mark.full
@pytest.mark.timeout(900)
def test_cartpole_is_learned_on_ray(ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]) -> None:
    runtime = RayRuntime(small_spec("learner", tmp_path, address=ray_cluster))
    stopping.append(runtime)
    runtime.start_rollout(START_SECONDS)
    runtime.start_trainer()
    eventually(lambda: runtime.wait(1.0), 600.0)
    assert runtime.snapshot(Cursor()).status["env_steps"] <= 151_000
    assert runtime.evaluate(20, True, 5000, False, 0).mean_return >= 475.0


ONLINE = """
online_dict = {
    "trainer_name": "VTraceTrainer",
    "env_config": {"simulator": "gymnasium", "id": "CartPole-v1"},
    "train_config": {"num_iterations": 3, "batch_size_per_gpu": 2, "batches_per_iteration": 2},
    "rollout_config": {"num_rollout_workers": 1, "fragment_length": 16, "worker_config": {"num_envs": 4}},
}
"""


@pytest.mark.full
@pytest.mark.parametrize("defined", ["in_a_notebook", "in_the_configuration"])
def test_a_trainer_of_ones_own_travels(
    defined: str, ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of docs/custom_trainer.md, known to this process only."""
    page = (REPOSITORY / "docs" / "custom_trainer.md").read_text(encoding="utf-8")
    definition = page.partition("```python\n")[2].partition("```")[0]
    monkeypatch.setattr(trainers, "_REGISTERED", dict(trainers._REGISTERED))
    if defined == "in_a_notebook":
        namespace: dict[str, Any] = {"__name__": "a_notebook"}
        exec(definition + ONLINE, namespace)
        source: Any = namespace["online_dict"]
    else:
        source = tmp_path / "vtrace.py"
        source.write_text(definition + ONLINE)
    runtime = RayRuntime(small_spec("own", tmp_path, source, address=ray_cluster))
    stopping.append(runtime)
    runtime.start_rollout(START_SECONDS)
    runtime.start_trainer()
    eventually(lambda: runtime.wait(1.0), 120.0)
    assert runtime.snapshot(Cursor()).status["stop_reason"] == "num_iterations"
    values = [point["values"] for point in points(runtime)]
    assert len(values) == 3
    assert all("ppo/policy_loss" in value and "ppo/clip_fraction" not in value for value in values)

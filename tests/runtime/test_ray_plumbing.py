"""Data through real actors: every step of every stream arrives once, in order, with the version that acted."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from minestudio_nb.contracts.fragments import Fragment
from minestudio_nb.contracts.weights import WeightsPackage
from minestudio_nb.errors import EnvStartError, ResourceError, SessionStateError
from minestudio_nb.runtime.adapters import RemotePublisher, RemoteStore
from minestudio_nb.runtime.base import Cursor
from minestudio_nb.runtime.calls import call
from minestudio_nb.runtime.names import find_actor, running_sessions, the_session
from minestudio_nb.runtime.ray_runtime import RayRuntime, attach
from tests.runtime.ray_support import START_SECONDS, eventually, small_spec
from tests.support.counting_env import check_fragments

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module


def counting_env(index: int, seed: int) -> Any:
    from tests.support.counting_env import CountingEnv

    return CountingEnv(index)


def checking_policy(env_spec: Any) -> Any:
    from tests.support.checking_policy import CheckingPolicy

    return CheckingPolicy(env_spec)


def counting_config(execution: str, workers: int = 2) -> dict[str, Any]:
    """Two workers with three environments each; an iteration of 12 fragments of 8 steps."""
    return {
        "env_generator": counting_env,
        "policy_generator": checking_policy,
        "online_dict": {
            "schedule": "alternate",
            "timeouts": {"start": 100.0, "reset": 20.0, "step": 20.0},
            "rollout_config": {
                "num_rollout_workers": workers,
                "num_cpus_per_worker": 0.5,
                "fragment_length": 8,
                "worker_config": {"num_envs": 3, "execution": execution},
                "replay_buffer_config": {"max_chunks": 64, "max_staleness": 1},
            },
            "train_config": {"batch_size_per_gpu": 4, "batches_per_iteration": 3},
        },
    }


def package(policy_state: dict[str, Any], version: int) -> WeightsPackage:
    return WeightsPackage("test", version, {**policy_state, "mark": np.array(10.0 * version, np.float32)})


def initial_state(runtime: RayRuntime) -> dict[str, Any]:
    from tests.support.checking_policy import CheckingPolicy

    policy = CheckingPolicy(call(runtime._supervisor.env_spec.remote()))
    return {name: np.array(tensor.detach().numpy()) for name, tensor in policy.state_dict().items()}


def iterations(runtime: RayRuntime, count: int, first: int = 0) -> list[Fragment]:
    """Does what a trainer does: publishes a version, takes an iteration's fragments, ``count`` times."""
    session = runtime.spec.session
    store = RemoteStore(find_actor(session, "replay_buffer"))
    publisher = RemotePublisher(find_actor(session, "supervisor"), 30.0)
    state = initial_state(runtime)
    fragments: list[Fragment] = []
    for version in range(first, first + count):
        publisher.publish(package(state, version))
        metas = store.take(12, version, 60.0)
        assert len({meta.fragment_id for meta in metas}) == 12
        data = store.fetch([meta.fragment_id for meta in metas])
        assert all(fragment is not None for fragment in data)
        fragments += [fragment for fragment in data if fragment is not None]
    return fragments


@pytest.mark.parametrize("execution", [pytest.param("in_worker", marks=pytest.mark.full), "processes"])
def test_streams_are_whole(execution: str, ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]) -> None:
    spec = small_spec(f"plumbing-{execution}", tmp_path, counting_config(execution), address=ray_cluster)
    runtime = RayRuntime(spec)
    stopping.append(runtime)
    runtime.start_rollout(START_SECONDS)
    assert spec.session in running_sessions()
    fragments = iterations(runtime, 4)
    streams = check_fragments(fragments, marks={version: 10.0 * version for version in range(4)})
    assert len(fragments) == 48
    assert {fragment.version for fragment in fragments} == {0, 1, 2, 3}
    assert len(streams) == 6
    buffer = find_actor(spec.session, "replay_buffer")
    stats = call(buffer.stats.remote())
    assert (stats.outstanding, stats.unread) == (0, 0)  # the gate is closed until weights come, or somebody asks
    store = RemoteStore(buffer)
    more = store.fetch([meta.fragment_id for meta in store.take(12, 3, 60.0)])
    fragments += [fragment for fragment in more if fragment is not None]
    assert len(fragments) == 60 and {fragment.version for fragment in fragments[48:]} == {3}
    check_fragments(fragments, marks={version: 10.0 * version for version in range(4)})
    snapshot = runtime.snapshot(Cursor())
    assert (snapshot.phase, snapshot.status["workers_alive"], snapshot.status["policy_version"]) == ("rolling", 2, 3)
    eventually(lambda: {episode["stream"][1] for episode in runtime.snapshot(Cursor()).episodes} == {0, 1, 2})
    assert set(runtime.tiles()) <= {f"{worker}/{env}" for worker in range(2) for env in range(3)}
    assert eventually(lambda: _frames_after_step(runtime), 60.0)
    runtime.stop(20.0)
    assert spec.session not in running_sessions()


def _frames_after_step(runtime: RayRuntime) -> bool:
    runtime.tiles()  # a lease
    iterations(runtime, 1, first=10)
    tiles = runtime.tiles()
    return len(tiles) == 6 and all(tile.frame is not None and tile.frame.shape == (6, 8, 3) for tile in tiles.values())


def test_a_killed_worker_is_replaced(ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]) -> None:
    runtime = RayRuntime(small_spec("replaced", tmp_path, counting_config("in_worker"), address=ray_cluster))
    stopping.append(runtime)
    runtime.start_rollout(START_SECONDS)
    iterations(runtime, 1)
    worker = find_actor("replaced", "rollout_worker_1")
    os.kill(call(worker.pid.remote()), signal.SIGKILL)
    event = eventually(
        lambda: [event for event in runtime.snapshot(Cursor()).events if event.kind == "worker_restart"], 60.0
    )[0]
    assert event.source == "worker 1" and "replaced" in event.message
    fragments = iterations(runtime, 2, first=1)
    assert {fragment.stream.worker for fragment in fragments} == {0, 1}
    eventually(lambda: runtime.snapshot(Cursor()).status["workers_alive"] == 2)


def test_a_broken_environment_is_the_error_of_the_start(ray_cluster: str, tmp_path: Path) -> None:
    def broken_env() -> Any:
        raise RuntimeError("no such world")

    config = {**counting_config("in_worker"), "env_generator": broken_env}
    runtime = RayRuntime(small_spec("broken", tmp_path, config, address=ray_cluster))
    with pytest.raises(EnvStartError, match="no such world"):
        runtime.start_rollout(START_SECONDS)
    assert "broken" not in running_sessions()
    with pytest.raises(SessionStateError, match="not running"):
        runtime.start_trainer()


def test_preflight_refuses_what_would_wait_for_ever(ray_cluster: str, tmp_path: Path) -> None:
    config = counting_config("in_worker")
    config["online_dict"]["rollout_config"]["num_gpus_per_worker"] = 4
    runtime = RayRuntime(small_spec("greedy", tmp_path, config, address=ray_cluster))
    with pytest.raises(ResourceError, match=r"2 x 4 for rollout workers = 8 asked for, 0 there.*scale=laptop"):
        runtime.start_rollout(START_SECONDS)
    assert "greedy" not in running_sessions()


def test_names_find_sessions(ray_cluster: str, tmp_path: Path) -> None:
    with pytest.raises(SessionStateError, match="no supervisor of a session named 'nobody'"):
        attach("nobody", tmp_path, ray_cluster)
    assert the_session("given") == "given"
    with pytest.raises(SessionStateError, match="0 run here"):
        the_session(None)

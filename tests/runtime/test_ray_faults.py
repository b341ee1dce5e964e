"""Processes of a session on Ray that are killed or stopped by real signals: it heals and says so."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest

from minestudio_nb.config import trainers
from minestudio_nb.contracts.fragments import Fragment
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.environments.build import env_seed
from minestudio_nb.runtime.adapters import RemotePublisher, RemoteStore
from minestudio_nb.runtime.base import Cursor
from minestudio_nb.runtime.calls import call
from minestudio_nb.runtime.kept import FILE
from minestudio_nb.runtime.names import find_actor
from minestudio_nb.runtime.ray_runtime import RayRuntime
from minestudio_nb.trainer import PPOTrainer, register_trainer
from minestudio_nb.trainer.base import Verdict
from tests.runtime.ray_support import START_SECONDS, eventually, small_spec
from tests.runtime.test_ray_plumbing import counting_config, initial_state, iterations, package
from tests.runtime.test_ray_training import points, started
from tests.support.counting_env import LIFE, check_fragments

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

HEALED = 240.0
"""Deadline of what takes some seconds on an idle machine."""
HEARTBEAT = 10.0
"""Seconds of silence in these tests; a process that is not stopped answers in milliseconds."""


def counting(
    stopping: list[RayRuntime], session: str, root: Path, address: str, execution: str = "in_worker"
) -> RayRuntime:
    config = counting_config(execution)
    config["online_dict"]["timeouts"]["heartbeat"] = HEARTBEAT
    runtime = RayRuntime(small_spec(session, root, config, address=address))
    stopping.append(runtime)
    runtime.start_rollout(START_SECONDS)
    return runtime


def told(runtime: RayRuntime, kind: str, count: int = 1) -> Event:
    """The event number ``count`` of a kind, waited for."""

    def found() -> list[Event]:
        events = [event for event in runtime.snapshot(Cursor()).events if event.kind == kind]
        return events if len(events) >= count else []

    return eventually(found, HEALED, f"{count} events of kind {kind}")[count - 1]


def rows(runtime: RayRuntime) -> dict[str, dict[str, Any]]:
    return {row["role"]: row for row in runtime.snapshot(Cursor()).status["processes"]}


def pid_of(runtime: RayRuntime, role: str) -> int:
    return int(eventually(lambda: rows(runtime).get(role, {}).get("pid"), HEALED, f"the process of the {role}"))


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def whole(fragments: list[Fragment]) -> None:
    """Nothing came twice, and each stream is whole from each fault to the next."""
    keys = [(f.stream, float(f.obs["count"][0, LIFE]), f.index) for f in fragments]
    assert len(set(keys)) == len(keys)
    by_life: dict[float, list[Fragment]] = {}
    for fragment in fragments:
        by_life.setdefault(float(fragment.obs["count"][0, LIFE]), []).append(fragment)
    for parts in by_life.values():
        check_fragments(parts, from_start=False)


def test_buffer_and_workers_that_are_killed_or_stop_are_replaced(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    runtime = counting(stopping, "healed", tmp_path, ray_cluster)
    store = RemoteStore(find_actor("healed", "replay_buffer"))
    iterations(runtime, 2)
    first = pid_of(runtime, "replay buffer")
    os.kill(first, signal.SIGKILL)
    event = told(runtime, "buffer_restart")
    assert event.severity == "warning" and "its process is gone" in event.message
    iterations(runtime, 2, first=2)
    assert all(meta.fragment_id >= 1 << 32 for meta in store.take(12, 3, 120.0)), "no number is given twice"

    second = pid_of(runtime, "replay buffer")
    assert second != first
    os.kill(second, signal.SIGSTOP)
    message = told(runtime, "buffer_restart", 2).message
    assert re.search(r"it did not answer for 1\d s \(timeouts.heartbeat\) and was killed", message)
    eventually(lambda: gone(second), HEALED)
    assert rows(runtime)["replay buffer"]["restarts"] == 2

    worker = pid_of(runtime, "rollout worker 1")
    os.kill(worker, signal.SIGSTOP)
    event = told(runtime, "worker_restart")
    assert "did not answer for" in event.message and event.source == "worker 1"
    assert event.data["seeds"] == [env_seed(0, 1, env, life=event.data["life"]) for env in range(3)]
    eventually(lambda: gone(worker), HEALED)
    fragments = iterations(runtime, 2, first=5)
    lives = {float(fragment.obs["count"][0, LIFE]) for fragment in fragments if fragment.stream.worker == 1}
    assert lives <= {float(seed % 100_003) for seed in event.data["seeds"]}, "nothing is repeated"
    whole(fragments)
    assert runtime.snapshot(Cursor()).status["failure"] == ""


@pytest.mark.full
def test_a_pause_stops_environments_at_once(ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]) -> None:
    """Fragments are so long that none is finished."""
    config = counting_config("in_worker")
    config["online_dict"]["rollout_config"]["fragment_length"] = 100_000
    runtime = RayRuntime(small_spec("paused", tmp_path, config, address=ray_cluster))
    stopping.append(runtime)
    runtime.start_rollout(START_SECONDS)
    RemotePublisher(find_actor("paused", "supervisor"), 30.0).publish(package(initial_state(runtime), 0))

    def steps() -> int:
        return int(runtime.snapshot(Cursor()).status["env_steps"])

    def stands_still() -> bool:
        before = steps()
        time.sleep(3.0)  # each worker tells its steps every second
        return steps() == before

    eventually(lambda: steps() > 0, HEALED)
    runtime.pause()
    eventually(stands_still, HEALED)
    held = steps()
    runtime.resume()
    eventually(lambda: steps() > held, HEALED)
    assert call(find_actor("paused", "replay_buffer").stats.remote()).fragments == 0


@pytest.fixture
def hanging_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a trainer that blocks in its second iteration, once."""
    monkeypatch.setattr(trainers, "_REGISTERED", dict(trainers._REGISTERED))
    mark = tmp_path / "it blocked"

    @register_trainer
    class HangingTrainer(PPOTrainer):
        def judge(self, means: Sequence[float]) -> Verdict:
            if self.progress.iteration == 1 and not mark.exists():
                mark.touch()
                threading.Event().wait()
            return super().judge(means)

    return HangingTrainer.__name__


@pytest.mark.full
def test_training_that_stands_still_in_a_living_process_is_begun_again(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime], hanging_trainer: str
) -> None:
    settings = (f"trainer_name={hanging_trainer}", "train_config.num_iterations=100000", "timeouts.training_step=15")
    runtime = started(stopping, "still", tmp_path, ray_cluster, *settings)
    event = told(runtime, "silent")
    told_where = r"more than 15 \(timeouts.training_step\): rank 0 was in test_ray_faults.py, line \d+, in judge"
    assert re.search(rf"training stood still for \d+ s, {told_where}", event.message)
    assert "threading.Event().wait()" in event.data["stacks"]["rank 0"]
    restart = told(runtime, "trainer_restart")
    assert "training stood still" in restart.message and "checkpoint iteration_" in restart.message
    eventually(lambda: len(points(runtime)) >= 3, HEALED)
    assert [point["iteration"] for point in points(runtime)][:3] == [1, 2, 3]
    assert [event.kind for event in runtime.snapshot(Cursor()).events].count("trainer_restart") == 1
    row = rows(runtime)["trainer rank 0"]
    assert row["restarts"] == 1 and "training stood still" in row["cause"]


def import_large_module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's own that makes what the supervisor is started with larger than Ray keeps for it."""
    file = folder / "large_table.py"
    file.write_text(f"TABLE = {os.urandom(300_000).hex()!r}\n")
    spec = importlib.util.spec_from_file_location("large_table", file)
    assert spec is not None
    monkeypatch.setitem(sys.modules, "large_table", importlib.util.module_from_spec(spec))


def test_a_supervisor_that_is_killed_comes_back_with_orders_and_checkpoint(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    import_large_module(tmp_path, monkeypatch)
    many = ("train_config.num_iterations=100000", f"timeouts.heartbeat={HEARTBEAT}")
    runtime = started(stopping, "again", tmp_path, ray_cluster, *many)
    eventually(lambda: len(points(runtime)) >= 3, HEALED)
    runtime.edit("train_config.learning_rate", 1e-5)
    eventually(lambda: [e for e in runtime.snapshot(Cursor()).edits if e.status == "applied"], HEALED)
    worker = pid_of(runtime, "rollout worker 0")
    supervisor = find_actor("again", "supervisor")
    number = call(supervisor.pid.remote())
    runtime.request("checkpoint", label="asked")
    os.kill(number, signal.SIGKILL)
    event = told(runtime, "supervisor_restart")
    assert "goes on from the checkpoint iteration_" in event.message
    before = len(points(runtime))
    eventually(lambda: gone(worker), HEALED)
    eventually(lambda: len(points(runtime)) >= before + 3, HEALED)
    numbers = [point["iteration"] for point in points(runtime)]
    assert numbers == list(range(1, len(numbers) + 1)), "no iteration is missing, none is there twice"
    versions = [point["values"]["train/policy_version"] for point in points(runtime)]
    assert versions == sorted(versions)
    rates = [point["values"]["ppo/learning_rate"] for point in points(runtime)]
    assert rates[-1] <= 1e-5
    (edit,) = runtime.snapshot(Cursor()).edits
    assert (edit.revision, edit.status, edit.value) == (1, "applied", 1e-5)
    assert [event.kind for event in runtime.snapshot(Cursor()).events].count("edit") == 1, "it is told once"
    assert runtime.edit("train_config.ppo_clip", 0.1).revision == 2
    assert list((tmp_path / "again" / "checkpoints").glob("iteration_*-asked")), "a wish is not lost with who took it"
    assert json.loads((tmp_path / "again" / FILE).read_text())["requests"] == []
    assert runtime.snapshot(Cursor()).held_by == ""


@pytest.mark.full
def test_a_trainer_that_stops_is_killed_and_training_goes_on(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    many = ("train_config.num_iterations=100000", f"timeouts.heartbeat={HEARTBEAT}")
    runtime = started(stopping, "stalled", tmp_path, ray_cluster, *many)
    eventually(lambda: len(points(runtime)) >= 2, HEALED)
    rank = pid_of(runtime, "trainer rank 0")
    os.kill(rank, signal.SIGSTOP)
    event = told(runtime, "trainer_restart")
    assert "rank 0: it did not answer for" in event.message
    before = len(points(runtime))
    eventually(lambda: len(points(runtime)) >= before + 2, HEALED)
    eventually(lambda: gone(rank), HEALED)
    numbers = [point["iteration"] for point in points(runtime)]
    assert all(second - first == 1 for first, second in pairwise(numbers))
    assert rows(runtime)["trainer rank 0"]["restarts"] == 1

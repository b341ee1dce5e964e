"""More processes that are killed, stop, hang or grow; see :mod:`tests.runtime.test_ray_faults`."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from minestudio_nb.config import trainers
from minestudio_nb.runtime.base import Cursor
from minestudio_nb.runtime.calls import call
from minestudio_nb.runtime.names import find_actor
from minestudio_nb.runtime.ray_runtime import RayRuntime
from minestudio_nb.trainer import PPOTrainer, register_trainer
from tests.runtime.ray_support import START_SECONDS, eventually, small_spec
from tests.runtime.test_ray_faults import HEALED, HEARTBEAT, gone, pid_of, rows, told, whole
from tests.runtime.test_ray_plumbing import counting_config, iterations
from tests.runtime.test_ray_training import points, started

pytestmark = [pytest.mark.ray, pytest.mark.full, pytest.mark.timeout(900)]

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

MANY = ("train_config.num_iterations=100000", f"timeouts.heartbeat={HEARTBEAT}")
TWO = ("train_config.num_workers=2", "train_config.batch_size_per_gpu=2")


def test_a_supervisor_that_stops_is_killed_and_comes_back_paused(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    runtime = started(stopping, "woken", tmp_path, ray_cluster, *MANY)
    eventually(lambda: len(points(runtime)) >= 2, HEALED)
    runtime.pause()
    eventually(lambda: any("paused" in event.message for event in runtime.snapshot(Cursor()).events), HEALED)
    before = len(points(runtime))
    supervisor = int(call(find_actor("woken", "supervisor").pid.remote()))
    os.kill(supervisor, signal.SIGSTOP)
    eventually(lambda: gone(supervisor), HEALED)
    told(runtime, "supervisor_restart")
    eventually(lambda: runtime.snapshot(Cursor()).status["workers_alive"] == 1, HEALED)
    assert runtime.snapshot(Cursor()).phase == "paused"
    eventually(lambda: "trainer rank 0" in rows(runtime), HEALED)
    assert len(points(runtime)) == before, "it is still paused"
    runtime.resume()
    eventually(lambda: len(points(runtime)) >= before + 2, HEALED)
    numbers = [point["iteration"] for point in points(runtime)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_supervisor_that_dies_again_and_again_fails_with_its_cause(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    config = counting_config("in_worker")
    config["online_dict"]["restarts"] = {"without_checkpoint": 0}
    runtime = RayRuntime(small_spec("hopeless", tmp_path, config, address=ray_cluster))
    stopping.append(runtime)
    runtime.start_rollout(START_SECONDS)
    runtime.snapshot(Cursor())
    os.kill(call(find_actor("hopeless", "supervisor").pid.remote()), signal.SIGKILL)
    eventually(lambda: runtime.snapshot(Cursor()).phase == "failed", HEALED)
    assert "the supervisor died 1 times at the beginning" in runtime.snapshot(Cursor()).status["failure"]
    assert runtime.wait(10.0)


def test_a_worker_that_hangs_inside_an_environment_is_replaced(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    directory = str(tmp_path)

    def hanging(index: int, seed: int) -> Any:
        from pathlib import Path

        from tests.support.faulty_env import FaultyEnv

        return FaultyEnv(index, Path(directory), {(2, 2): "block"} if index == 1 else {})

    config = counting_config("in_worker")
    config["env_generator"] = hanging
    config["online_dict"]["timeouts"] |= {"step": 5.0, "heartbeat": HEARTBEAT}
    runtime = RayRuntime(small_spec("hanging", tmp_path, config, address=ray_cluster))
    stopping.append(runtime)
    runtime.start_rollout(START_SECONDS)
    fragments = iterations(runtime, 6)
    event = told(runtime, "worker_restart")
    assert "environment 1's step takes longer than 5 s (timeouts.step)" in event.message
    whole(fragments)
    assert runtime.snapshot(Cursor()).phase == "rolling"


def test_a_worker_that_takes_too_much_memory_is_replaced_and_given_up_at_last(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    config = counting_config("in_worker", workers=1)
    config["online_dict"]["timeouts"]["heartbeat"] = HEARTBEAT
    config["online_dict"]["restarts"] = {"process_per_window": 1, "window": 3600.0}
    config["online_dict"]["rollout_config"]["worker_config"]["worker_memory_mib"] = 50  # torch alone takes more
    runtime = RayRuntime(small_spec("greedy-worker", tmp_path, config, address=ray_cluster))
    stopping.append(runtime)
    runtime.start_rollout(START_SECONDS)
    event = told(runtime, "worker_restart")
    assert re.search(r"it held \d+ MiB of memory, more than 50 \(worker_config.worker_memory_mib\)", event.message)
    eventually(lambda: runtime.snapshot(Cursor()).phase == "failed", HEALED)
    failure = runtime.snapshot(Cursor()).status["failure"]
    assert "rollout worker 0 died 2 times (2 within 3600 s, see restarts), the last time: it held" in failure


def test_a_buffer_that_dies_again_and_again_fails_the_session(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    config = counting_config("in_worker", workers=1)
    config["online_dict"]["timeouts"]["heartbeat"] = HEARTBEAT
    config["online_dict"]["restarts"] = {"process_per_window": 1, "window": 3600.0}
    runtime = RayRuntime(small_spec("buffers", tmp_path, config, address=ray_cluster))
    stopping.append(runtime)
    runtime.start_rollout(START_SECONDS)
    first = pid_of(runtime, "replay buffer")
    os.kill(first, signal.SIGKILL)
    told(runtime, "buffer_restart")
    os.kill(pid_of(runtime, "replay buffer"), signal.SIGKILL)
    eventually(lambda: runtime.snapshot(Cursor()).phase == "failed", HEALED)
    assert "the replay buffer died 2 times within 3600 s" in runtime.snapshot(Cursor()).status["failure"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_one_of_two_ranks_dies_or_stops_and_both_go_on(
    how: signal.Signals, ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    runtime = started(stopping, f"ranks-{how.name.lower()}", tmp_path, ray_cluster, *MANY, *TWO)
    eventually(lambda: len(points(runtime)) >= 2, HEALED)
    rank = pid_of(runtime, "trainer rank 1")
    os.kill(rank, how)
    told(runtime, "trainer_restart")
    before = len(points(runtime))
    eventually(lambda: len(points(runtime)) >= before + 2, 2 * HEALED)
    eventually(lambda: gone(rank), HEALED)
    numbers = [point["iteration"] for point in points(runtime)]
    assert all(second - first == 1 for first, second in pairwise(numbers))


STILL = ("trainer_name=StuckTrainer", "timeouts.training_step=15")


@pytest.fixture
def stuck_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder whose file ``rank`` says which rank of a ``StuckTrainer`` blocks in its first iteration."""
    monkeypatch.setattr(trainers, "_REGISTERED", dict(trainers._REGISTERED))

    @register_trainer
    class StuckTrainer(PPOTrainer):
        def before_update(self) -> None:
            super().before_update()
            if (tmp_path / f"rank {self.collective.rank}").exists():
                threading.Event().wait()

    return tmp_path


def test_one_of_two_ranks_stands_still_and_both_are_begun_again(
    ray_cluster: str, stuck_trainer: Path, stopping: list[RayRuntime]
) -> None:
    (stuck_trainer / "rank 1").touch()
    runtime = started(stopping, "one-still", stuck_trainer, ray_cluster, *MANY, *TWO, *STILL)
    ranks = [pid_of(runtime, "trainer rank 0"), pid_of(runtime, "trainer rank 1")]
    message = told(runtime, "silent").message
    (stuck_trainer / "rank 1").unlink()
    assert re.search(r"rank 0 was in .+; rank 1 was in test_ray_faults_long.py, line \d+, in before_update", message)
    told(runtime, "trainer_restart")
    eventually(lambda: len(points(runtime)) >= 2, 2 * HEALED)
    eventually(lambda: all(gone(rank) for rank in ranks), HEALED)


def test_training_that_stands_still_again_and_again_fails_the_session(
    ray_cluster: str, stuck_trainer: Path, stopping: list[RayRuntime]
) -> None:
    (stuck_trainer / "rank 0").touch()
    settings = (*MANY, *STILL, "restarts.without_checkpoint=1")
    runtime = started(stopping, "still-again", stuck_trainer, ray_cluster, *settings)
    eventually(lambda: runtime.snapshot(Cursor()).phase == "failed", HEALED)
    failure = runtime.snapshot(Cursor()).status["failure"]
    assert "died 2 times without a checkpoint in between: training stood still for" in failure
    assert "timeouts.training_step" in failure and "in before_update" in failure


def test_who_waits_for_the_buffer_or_in_a_pause_does_not_stand_still(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    settings = (*MANY, *TWO, "timeouts.heartbeat=30", "timeouts.training_step=15")
    runtime = started(stopping, "patient", tmp_path, ray_cluster, *settings)
    eventually(lambda: len(points(runtime)) >= 2, HEALED)
    os.kill(pid_of(runtime, "replay buffer"), signal.SIGSTOP)
    told(runtime, "buffer_restart")  # found after two limits
    before = len(points(runtime))
    eventually(lambda: len(points(runtime)) >= before + 2, HEALED)
    runtime.pause()
    eventually(lambda: any("paused" in event.message for event in runtime.snapshot(Cursor()).events), HEALED)
    before = len(points(runtime))
    time.sleep(20.0)
    runtime.resume()
    eventually(lambda: len(points(runtime)) >= before + 2, HEALED)
    assert not [event for event in runtime.snapshot(Cursor()).events if event.kind == "trainer_restart"]


def test_a_buffer_that_dies_while_training_costs_no_iteration(
    ray_cluster: str, tmp_path: Path, stopping: list[RayRuntime]
) -> None:
    runtime = started(stopping, "emptied", tmp_path, ray_cluster, *MANY)
    eventually(lambda: len(points(runtime)) >= 2, HEALED)
    for count in (1, 2):
        before = len(points(runtime))
        os.kill(pid_of(runtime, "replay buffer"), signal.SIGKILL)
        told(runtime, "buffer_restart", count)
        eventually(lambda: len(points(runtime)) >= before + 3, HEALED)  # noqa: B023
    snapshot = runtime.snapshot(Cursor())
    numbers = [point["iteration"] for point in snapshot.points]
    assert numbers == list(range(1, len(numbers) + 1))
    assert not [event for event in snapshot.events if event.kind in ("trainer_restart", "worker_restart", "failure")]
    assert snapshot.status["failure"] == ""

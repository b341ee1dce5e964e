"""Environments that raise, die, hang or lie: the stream goes on, the cut episode is dropped, somebody is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from minestudio_nb.environments.build import EnvFactory
from minestudio_nb.errors import CrashLoopError, EnvStartError
from minestudio_nb.rollout.pool import RestartLimits, RestartRecord
from minestudio_nb.rollout.process_pool import ProcessPool
from minestudio_nb.rollout.worker import RolloutWorker
from tests.support.checking_policy import CheckingPolicy
from tests.support.counting_env import LIFE, CountingEnv, check_fragments
from tests.support.faulty_env import FaultyFactory
from tests.support.rollout_doubles import ListSink, Slot, Telemetry, rollout_config

QUICK = RestartLimits(in_lifetime=20, in_window=10, first_wait=0.01, longest_wait=0.05)
SHORT = {"reset": 1.0, "step": 1.0}


@contextmanager
def started(mode: str, plan: Any, directory: Path, credits: int = 30, **options: Any) -> Iterator[Any]:
    sink, telemetry = ListSink(credits), Telemetry()
    limits = options.pop("limits", QUICK)
    logs = options.pop("logs", None)
    config = rollout_config(mode, num_envs=3, length=6, timeouts=options.pop("timeouts", SHORT), **options)
    factory = FaultyFactory(str(directory), plan)
    worker = RolloutWorker(0, config, factory, CheckingPolicy, sink, Slot(), telemetry, 5, limits=limits, logs=logs)
    try:
        worker.start(60.0)
        yield worker, sink, telemetry
    finally:
        worker.close()
        assert _alive(directory) == []


def _alive(directory: Path) -> list[int]:
    """Processes that held an environment and still run."""
    pids = {int(path.name.split("-")[2]) for path in directory.glob("pid-*")} - {os.getpid()}
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


# The environment is in its second episode or later when it breaks; "episode" 1 of environment 1 has 13 steps.
CASES = [
    ("in_worker", {(1, 4): "raise"}, "RuntimeError: broken on purpose at (1, 4)"),
    ("in_worker", {(2, 0): "raise"}, "RuntimeError: broken on purpose at (2, 0)"),
    ("in_worker", {(1, 3): "nan"}, "must be a finite number; nan came"),
    ("in_worker", {(1, 3): "text"}, "must be a finite number; 'much' came"),
    ("in_worker", {(1, 3): "shape"}, "'count' has shape (1,), but the environment's observation space says (4,)"),
    ("in_worker", {(1, 3): "dtype"}, "'image' has dtype float64, which uint8"),
    ("in_worker", {(1, 3): "nan_obs"}, "'count' holds NaN or infinity"),
    ("in_worker", {(1, 3): "flag"}, "terminated must be True or False; 0 came"),
    ("processes", {(1, 4): "raise"}, "RuntimeError: broken on purpose at (1, 4)"),
    ("processes", {(2, 0): "raise"}, "RuntimeError: broken on purpose at (2, 0)"),
    ("processes", {(1, 4): "exit"}, "exited with status 7"),
    ("processes", {(1, 4): "kill"}, "was killed by SIGKILL"),
    ("processes", {(1, 4): "stop"}, "its step took longer than 1 s (timeouts.step)"),
    ("processes", {(2, 0): "stop"}, "its reset took longer than 1 s (timeouts.reset)"),
    ("processes", {(1, 3): "nan"}, "must be a finite number; nan came"),
    ("processes", {(1, 3): "shape"}, "'count' has shape (1,), but the environment's observation space says (4,)"),
]


@pytest.mark.parametrize(("mode", "plan", "cause"), CASES)
def test_a_fault_is_healed_and_told_and_its_episode_dropped(
    mode: str, plan: dict[Any, str], cause: str, tmp_path: Path
) -> None:
    with started(mode, {1: plan}, tmp_path) as (worker, sink, telemetry):
        worker.run()
        assert telemetry.total("rollout/env_restarts") == 1
    check_fragments(sink.fragments)
    assert len(sink.fragments) == 30
    (event,) = [event for event in telemetry.events if event.kind == "env_restart"]
    assert cause in event.message
    assert event.severity == "warning"
    assert event.source == "worker 0 / env 1"
    if "raise" in plan.values():
        assert "Traceback" in event.data["detail"]
    lives = {float(life) for f in sink.fragments if f.stream.env == 1 for life in f.obs["count"][:, LIFE]}
    assert len(lives) == 2
    kept = sum(f.length for f in sink.fragments)
    dropped = telemetry.total("rollout/dropped_steps")
    assert telemetry.total("rollout/env_steps") == kept + dropped
    assert 0 <= dropped < 6
    # In a reset nothing is tainted: the episode before it ended as it should, but its last step was never told.
    assert event.data["dropped_steps"] == dropped


def test_steps_of_an_episode_that_a_fault_cut_never_reach_a_fragment_of_their_own(tmp_path: Path) -> None:
    """Environment 0 breaks at step 9 of its second episode, which began in the fragment before the open one."""
    with started("in_worker", {0: {(1, 9): "raise"}}, tmp_path, credits=9) as (worker, sink, telemetry):
        worker.run()
    streams = check_fragments(sink.fragments)
    rows = [
        row for f in next(iter(v for k, v in streams.items() if k.env == 0)) for row in f.obs["count"][:-1].tolist()
    ]
    life = rows[0][LIFE]
    # Episode 0 has 3 steps, and 3 of episode 1 complete fragment 0; fragment 1 holds 5 more when step 9 fails.
    assert [row[2:] for row in rows if row[LIFE] == life] == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert telemetry.total("rollout/dropped_steps") == 5


@pytest.mark.parametrize("mode", ["in_worker", "processes"])
def test_an_environment_that_fails_again_and_again_ends_the_worker_with_its_cause(mode: str, tmp_path: Path) -> None:
    limits = RestartLimits(in_lifetime=10, in_window=2, first_wait=0.01)
    with started(mode, {0: {(0, 2): "raise!"}}, tmp_path, limits=limits) as (worker, _, telemetry):
        with pytest.raises(CrashLoopError, match=r"Environment 0 failed 3 times within 60 s.*broken on purpose"):
            worker.run()
        assert telemetry.total("rollout/env_restarts") == 2


def test_limits_are_settings_and_the_end_quotes_what_the_environment_printed(tmp_path: Path) -> None:
    options: dict[str, Any] = {"limits": None, "logs": tmp_path / "logs"}
    restarts = {"env_per_window": 1, "env_lifetime": 5, "window": 3600.0}
    with started("processes", {0: {(0, 2): "raise!"}}, tmp_path, restarts=restarts, **options) as (
        worker,
        _,
        telemetry,
    ):
        with pytest.raises(CrashLoopError) as caught:
            worker.run()
        assert telemetry.total("rollout/env_restarts") == 1
        (event,) = telemetry.events[1:]
        assert "environment 0 is about to raise" in event.data["log"]
    message = str(caught.value)
    assert "Environment 0 failed 2 times within 3600 s, 2 times altogether" in message
    assert "(limits: 1 and 5, see restarts)" in message
    assert "worker0-env0.log:" in message and "  environment 0 is about to raise" in message


def test_an_environment_whose_memory_grows_is_built_anew_and_its_child_ends(tmp_path: Path) -> None:
    plan = {1: {(1, 4): "grow", (2, 0): "block"}}  # it must not outrun the next look at its memory
    options: dict[str, Any] = {"env_memory_mib": 380, "timeouts": {"reset": 60.0, "step": 60.0}}
    with started("processes", plan, tmp_path, **options) as (worker, sink, telemetry):
        worker.run()
    check_fragments(sink.fragments)
    (event,) = [event for event in telemetry.events if event.kind == "env_restart"]
    assert event.source == "worker 0 / env 1"
    assert "MiB of memory, more than 380 (worker_config.env_memory_mib), and were killed" in event.message


def test_the_others_do_not_wait_for_one_that_hangs(tmp_path: Path) -> None:
    """It is given up long after they have delivered everything."""
    with started("processes", {1: {(0, 1): "stop"}}, tmp_path, 200, timeouts={"step": 600.0}) as (worker, sink, told):
        sink.on_put = lambda fragment: worker.stop() if len(sink.fragments) == 40 else None
        worker.run()
        assert {fragment.stream.env for fragment in sink.fragments} == {0, 2}
        assert not [event for event in told.events if event.kind == "env_restart"]


def test_a_pause_counts_for_no_deadline(tmp_path: Path) -> None:
    plan = {1: {(1, 4): "block"}}
    with started("processes", plan, tmp_path, timeouts={"step": 4.0}) as (worker, sink, telemetry):
        runner = threading.Thread(target=worker.run)
        runner.start()
        try:
            assert _wait_until((tmp_path / "blocked").exists, 60.0)
            worker.pause()
            time.sleep(6.0)  # longer than the step's deadline
            held = len(sink.fragments)
            (tmp_path / "go").touch()
            worker.resume()
        finally:
            runner.join(60.0)
        assert not runner.is_alive()
        assert held < len(sink.fragments) == 30
    check_fragments(sink.fragments)
    assert not [event for event in telemetry.events if event.kind == "env_restart"]


def test_a_hang_inside_the_worker_is_seen_from_outside(tmp_path: Path) -> None:
    with started("in_worker", {1: {(1, 4): "block"}}, tmp_path) as (worker, sink, _):
        assert worker.overdue() == ""
        runner = threading.Thread(target=worker.run)
        runner.start()
        try:
            assert _wait_until(worker.overdue, 60.0)
            assert worker.overdue() == "environment 1's step takes longer than 1 s (timeouts.step)"
            (tmp_path / "go").touch()
        finally:
            runner.join(60.0)
        assert worker.overdue() == ""
    assert len(sink.fragments) == 30


@pytest.mark.parametrize("mode", ["in_worker", "processes"])
def test_a_worker_that_replaces_another_repeats_none_of_its_episodes(mode: str) -> None:
    seen = []
    for life in (0, 0, 1, 2):
        sink = ListSink(6)
        worker = RolloutWorker(
            0,
            rollout_config(mode, num_envs=2, length=4),
            CountingEnv,
            CheckingPolicy,
            sink,
            Slot(),
            Telemetry(),
            5,
            life=life,
        )
        try:
            worker.start(60.0)
            worker.run()
        finally:
            worker.close()
        lives = {(f.stream.env, float(f.obs["count"][0, LIFE])) for f in sink.fragments}
        seen.append(lives)
    assert seen[0] == seen[1], "the same seed gives the same episodes"
    assert len(seen[0] | seen[2] | seen[3]) == 6


@pytest.mark.parametrize("mode", ["in_worker", "processes", "auto"])
@pytest.mark.parametrize("place", [(-1, 0), (0, 0)])
def test_an_environment_that_cannot_start_says_why_and_leaves_nothing(
    mode: str, place: tuple[int, int], tmp_path: Path
) -> None:
    with (
        pytest.raises(EnvStartError, match=r"(?s)did not start: RuntimeError: broken on purpose"),
        started(mode, {2: {place: "raise!"}}, tmp_path),
    ):
        pass
    assert _alive(tmp_path) == []


def test_a_process_that_dies_while_it_starts_is_started_again(tmp_path: Path) -> None:
    with started("processes", {1: {(-1, 0): "kill"}}, tmp_path) as (worker, sink, telemetry):
        worker.run()
    check_fragments(sink.fragments)
    assert "failed at its start" in next(e.message for e in telemetry.events if e.kind == "env_restart")


def test_a_start_that_hangs_ends_with_the_phase_that_was_too_slow(tmp_path: Path) -> None:
    pool = ProcessPool(EnvFactory(FaultyFactory(str(tmp_path), {0: {(-1, 0): "stop!"}})), 2)
    try:
        began = time.monotonic()
        with pytest.raises(EnvStartError, match=r"Environments \[0\] .* showed no observation within 3 s"):
            pool.start(3.0)
        assert time.monotonic() - began < 15
    finally:
        pool.close()
    assert _alive(tmp_path) == []


def test_a_constructor_that_fails_during_a_restart_is_tried_again(tmp_path: Path) -> None:
    plan = {1: {(1, 4): "raise"}}
    with started("processes", plan, tmp_path) as (worker, sink, telemetry):
        plan_of_restart = FaultyFactory(str(tmp_path), {1: {(1, 4): "raise", (-1, 0): "exit"}})
        worker._pool._payload = EnvFactory(plan_of_restart, 5, 0).dumps()
        worker.run()
    check_fragments(sink.fragments)
    causes = [event.data["cause"] for event in telemetry.events if event.kind == "env_restart"]
    assert len(causes) == 2
    assert "exited with status 7" in causes[1]


def test_a_process_killed_from_outside_while_it_is_idle(tmp_path: Path) -> None:
    with started("processes", {}, tmp_path, credits=24) as (worker, sink, telemetry):
        worker.collect_round()
        os.kill(worker._pool.pids[2], signal.SIGKILL)
        while worker.collect_round():
            pass
    check_fragments(sink.fragments)
    (event,) = [event for event in telemetry.events if event.kind == "env_restart"]
    assert event.source == "worker 0 / env 2"
    assert "was killed by SIGKILL" in event.message


def test_waits_double_and_limits_hold() -> None:
    record = RestartRecord(
        3, RestartLimits(in_lifetime=6, in_window=4, window_seconds=60, first_wait=2, longest_wait=3)
    )
    assert [record.wait_seconds("x", now) for now in (0, 1, 2, 3)] == [0, 2, 3, 3]
    with pytest.raises(CrashLoopError, match=r"Environment 3 failed 5 times within 60 s, 5 times altogether.*: y"):
        record.wait_seconds("y", 4)
    slow = RestartRecord(0, RestartLimits(in_lifetime=2))
    assert [slow.wait_seconds("x", now) for now in (0, 100)] == [0, 0]
    with pytest.raises(CrashLoopError, match="3 times altogether"):
        slow.wait_seconds("x", 200)


PARENT = """
    import os, sys, time
    from minestudio_nb.environments.build import EnvFactory
    from minestudio_nb.rollout.process_pool import ProcessPool
    from tests.support.faulty_env import FaultyFactory
    pool = ProcessPool(EnvFactory(FaultyFactory(sys.argv[1], {0: {(0, 2): "stop!"}})), 2)
    pool.start(60.0)
    import numpy as np
    pool.submit(np.array([0, 1]), np.zeros((2, 2), np.int64))
    pool.collect(2, 5.0)
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("gone", [signal.SIGKILL, signal.SIGTERM])
def test_environments_die_with_their_worker_however_it_dies(gone: signal.Signals, tmp_path: Path) -> None:
    """Also one that is stopped and so can notice nothing."""
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path)]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment())
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        pids = _alive(tmp_path)
        assert len(pids) == 2
        os.kill(pids[0], signal.SIGSTOP)
        parent.send_signal(gone)
        parent.wait(10)
    assert _wait_until(lambda: not _alive(tmp_path), 10.0)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.getcwd()}


def _wait_until(condition: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def test_shared_memory_leaves_no_name_behind() -> None:
    before = set(os.listdir("/dev/shm"))
    pool = ProcessPool(EnvFactory(CountingEnv), 1)
    try:
        pool.start(60.0)
        assert set(os.listdir("/dev/shm")) - before == set()
    finally:
        pool.close()

"""Who ends with whom: a session's processes are looked for in the process table after each kind of end.

Each test runs a driver of its own, since the test process is itself connected to a cluster. Processes are recognised by
a mark in their environment that everything a driver starts inherits.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from minestudio_nb.runs.checkpoints import newest_first
from minestudio_nb.runtime.cluster import ClusterRecord
from minestudio_nb.runtime.processes import CLUSTER_MARK
from tests.runtime.ray_support import REPOSITORY, eventually, processes_started_for, said, start_driver

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

PRELUDE = """
import sys
from minestudio_nb.config import load_config
from minestudio_nb.runtime.base import Cursor, RuntimeSpec
from minestudio_nb.runtime.ray_runtime import RayRuntime

SMALL = ["train_config.num_iterations=100000", "rollout_config.worker_config.num_envs=4"]

def say(*words):
    print(*words, flush=True)

def start(session, source="cartpole", detached=False):
    runtime = RayRuntime(RuntimeSpec(session, load_config(source, SMALL), ".", None, detached))
    runtime.start_rollout(200.0)
    runtime.start_trainer()
    return runtime

def until_point(runtime, count):
    while True:
        points = runtime.snapshot(Cursor()).points
        if len(points) >= count:
            return points
        assert not runtime.wait(0.2), runtime.snapshot(Cursor()).status
"""


def kill(driver: subprocess.Popen[str]) -> None:
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    for pipe in (driver.stdin, driver.stdout):
        if pipe is not None:
            pipe.close()


def none_left(mark: str, but: int = -1) -> bool:
    return not [process for process in processes_started_for(mark) if process.pid != but]


@pytest.mark.full
def test_failed_start_and_stop_leave_no_process(tmp_path: Path) -> None:
    code = """
def broken_env():
    raise RuntimeError("no such world")

try:
    start("broken", {"env_generator": broken_env, "policy_config": {"name": "mlp"}})
except Exception as error:
    say("failed", type(error).__name__, " ".join(str(error).split()))
sys.stdin.readline()
runtime = start("good")
points = until_point(runtime, 2)
runtime.stop(30.0)
runtime.stop(30.0)
say("stopped", points[-1]["iteration"])
sys.stdin.readline()
"""
    driver = start_driver(PRELUDE + code, "own-stop", tmp_path)
    assert driver.stdin is not None
    try:
        failure = said(driver, "failed")
        assert "EnvStartError" in failure and "no such world" in failure
        assert none_left("own-stop", but=driver.pid)
        driver.stdin.write("\n")
        driver.stdin.flush()
        assert int(said(driver, "stopped").split()[1]) >= 2
        assert none_left("own-stop", but=driver.pid)
        assert not (tmp_path / "good" / "cluster.json").exists()
        assert list((tmp_path / "good" / "checkpoints").glob("iteration_*"))
    finally:
        kill(driver)


def test_a_killed_driver_takes_its_session_along(tmp_path: Path) -> None:
    driver = start_driver(
        PRELUDE + 'until_point(start("mine"), 1)\nsay("ready")\nsys.stdin.read()', "own-kill", tmp_path
    )
    said(driver, "ready")
    assert len(processes_started_for("own-kill")) > 5
    kill(driver)
    eventually(lambda: none_left("own-kill"), 60.0, "the processes of a killed driver")


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_killed_head_takes_everything_along_and_the_session_says_how_to_go_on(tmp_path: Path) -> None:
    """The command that it names is run as it is, and goes on where the session was."""
    code = """
import os, signal
runtime = start("headless")
until_point(runtime, 3)
say("ready")
sys.stdin.readline()
snapshot = runtime.snapshot(Cursor())
say("phase", snapshot.phase, " ".join(snapshot.status["failure"].split()))
runtime.stop(30.0)
say("stopped")
sys.stdin.readline()
"""
    driver = start_driver(PRELUDE + code, "own-head", tmp_path)
    run = tmp_path / "headless"
    assert driver.stdin is not None
    try:
        said(driver, "ready")
        os.kill(ClusterRecord.read(run / "cluster.json").pid, signal.SIGKILL)
        eventually(lambda: none_left("own-head", but=driver.pid), 60.0, "the processes of a killed head")
        driver.stdin.write("\n")
        driver.stdin.flush()
        phase = said(driver, "phase")
        assert "failed" in phase
        said(driver, "stopped")
        assert none_left("own-head", but=driver.pid)
    finally:
        kill(driver)
    command = phase.partition("newest checkpoint: ")[2]
    assert command.startswith("python -m minestudio_nb.run ") and command.endswith("--resume headless")
    done = int(newest_first(run / "checkpoints")[0].name.removeprefix("iteration_"))
    rows = (run / "metrics.jsonl").read_bytes().count(b"\n")
    assert done >= rows - 1, "at most one iteration is lost"
    words = shlex.split(command.replace("python", shlex.quote(sys.executable), 1))
    # The run had no end in sight; nothing else is added.
    words += [f"train_config.num_iterations={done + 5}"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "MSNB_TEST_MARK": "own-head"}
    environment.pop(CLUSTER_MARK, None)
    again = subprocess.run(
        words, cwd="/", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400
    )
    assert again.returncode in (0, 1), again.stdout
    points = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [point["iteration"] for point in points] == list(range(1, done + 6)), again.stdout
    steps = [point["env_steps"] for point in points]
    assert all(after > before for before, after in pairwise(steps))
    versions = [point["values"]["train/policy_version"] for point in points]
    assert versions == sorted(set(versions))
    assert none_left("own-head") and not [path for path in run.rglob(".*") if path.name != ".gitignore"]


@pytest.mark.full
def test_strangers_are_refused(ray_cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import os
os.environ["RAY_AUTH_MODE"] = "disabled"
import ray
try:
    ray.init(address=os.environ["MSNB_TEST_ADDRESS"], log_to_driver=False)
    print("connected", flush=True)
except Exception as error:
    print("refused", type(error).__name__, flush=True)
"""
    monkeypatch.setenv("MSNB_TEST_ADDRESS", ray_cluster)
    driver = start_driver(code, "own-stranger", tmp_path)
    try:
        out, _ = driver.communicate(timeout=120.0)
        assert "refused" in out.splitlines()[-1], out
    finally:
        kill(driver)

"""A session, several processes: who is killed, who watches, who gives the orders.

Each test runs processes of its own, since one process can be connected to one Ray cluster only.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from minestudio_nb import OnlineSession
from tests.runtime.ray_support import START_SECONDS, eventually, processes_started_for, said, start_driver

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

PRELUDE = """
import asyncio, sys, time
import minestudio_nb as ms
from minestudio_nb.errors import *

def say(*words):
    print(*(" ".join(str(word).split()) for word in words), flush=True)

def heard():
    return sys.stdin.readline().strip()

def start(name, **arguments):
    session = ms.OnlineSession(name, run_root=".", **arguments)
    session.load_config("cartpole", ["train_config.num_iterations=100000", "rollout_config.worker_config.num_envs=4"])
    session.start_rollout()
    session.start_trainer()
    return session

def until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, session.status()
        time.sleep(0.1)

def refusal(call, *arguments):
    try:
        call(*arguments)
    except MineStudioError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was refused"
"""
OWNER = """
session = start("kept", detached=True)
session.wait(iterations=3, timeout=120)
session.set("train_config.learning_rate", 5e-4)
until(lambda: session.edits()[0].status == "applied")
say("ready", session.state, session.held_by == "")
heard()
until(lambda: session.status().held_by)
say("watching", session.status().held_by)
say("refused", refusal(session.set, "train_config.learning_rate", 1e-3))
say("not-stopped", refusal(session.stop))
say("state", session.state)
heard()
session.take_controls()
session.pause()
until(lambda: session.status().state == "PAUSED")
say("paused", len(session.metrics()))
heard()
"""
WATCHER = """
session = ms.OnlineSession.attach("kept", run_root=".")
say("attached", session.state, session.points[0]["iteration"], len(session.points), session.edits()[0].value)
say("held", session.held_by)
say("refused", refusal(session.pause))
say("views", session.dashboard()._view.head().held_by == session.held_by != "")
session.take_controls()
say("took", session.held_by == "", refusal(session.resume))
heard()
until(lambda: session.status().held_by)
say("back", session.status().state)
session.detach()
say("detached", session.state, refusal(session.pause))
heard()
"""
HEIR = """
began = time.monotonic()
session = ms.OnlineSession.attach("kept", run_root=".")
held = len(session.metrics())
say("attached", session.state, session.held_by == "", list(session.metrics()["iteration"]) == list(range(1, held + 1)))
counted = session.metrics()["episode/count"].sum()
say("whole", len(session.edits()), len(session.episodes()) >= counted > 0, len(session.events()) > 0)
session.resume()
asyncio.run(session.until(iterations=held + 1, timeout=120))
first = session.status().iteration
result = session.evaluate(20, label="after")
say("evaluated", len(result.returns), session.status().iteration > first)
report = session.stop()
say("stopped", report.iterations > held, session.report().stat().st_size > 10_000)
"""


def tell(driver: subprocess.Popen[str]) -> None:
    """Lets a driver go on that waits in ``heard()``."""
    assert driver.stdin is not None
    driver.stdin.write("\n")
    driver.stdin.flush()


def end(driver: subprocess.Popen[str]) -> None:
    driver.kill()
    driver.wait()
    for pipe in (driver.stdin, driver.stdout):
        if pipe is not None:
            pipe.close()


def test_a_session_is_watched_handed_over_and_outlives_its_kernel(tmp_path: Path) -> None:
    mark = "attach-kept"
    drivers = [start_driver(PRELUDE + OWNER, mark, tmp_path)]
    owner = drivers[0]
    try:
        assert said(owner, "ready") == "ready TRAINING True"
        watcher = start_driver(PRELUDE + WATCHER, mark, tmp_path)
        drivers.append(watcher)
        attached = said(watcher, "attached").split()
        assert attached[1:3] == ["TRAINING", "1"] and int(attached[3]) >= 3 and attached[4] == "0.0005"
        assert f"process {owner.pid} on host" in said(watcher, "held")
        refused = said(watcher, "refused")
        assert f"process {owner.pid}" in refused and "SessionStateError: pause() was refused" in refused
        assert said(watcher, "views") == "views True"
        assert said(watcher, "took") == "took True nothing was refused"

        tell(owner)
        assert f"process {watcher.pid} on host" in said(owner, "watching")
        assert "set() was refused" in said(owner, "refused")
        assert "stop() was refused" in said(owner, "not-stopped")
        assert said(owner, "state") == "state TRAINING"
        tell(owner)
        said(owner, "paused")
        (found,) = OnlineSession.list(tmp_path)
        assert (found.name, found.state, found.alive) == ("kept", "PAUSED", True) and found.iteration >= 3
        tell(watcher)
        assert said(watcher, "back") == "back PAUSED"
        assert said(watcher, "detached").startswith("detached DETACHED SessionStateError: pause() is legal in state")

        end(owner)  # SIGKILL: what a kernel gets that is ended by force
        heir = start_driver(PRELUDE + HEIR, mark, tmp_path)
        drivers.append(heir)
        assert said(heir, "attached") == "attached PAUSED True True"
        assert said(heir, "whole") == "whole 1 True True"
        assert said(heir, "evaluated") == "evaluated 20 True"
        assert said(heir, "stopped") == "stopped True True"
        assert heir.wait(START_SECONDS) == 0
        tell(watcher)
        assert watcher.wait(START_SECONDS) == 0
        eventually(lambda: not processes_started_for(mark), 60.0, "the processes of the session")
        assert len(OnlineSession.list(tmp_path)) == 0
    finally:
        for driver in drivers:
            end(driver)
        for process in processes_started_for(mark):
            process.kill()

"""Processes in sessions of their own end with what started them, and nobody else's process is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from minestudio_nb.environments import engines
from minestudio_nb.environments.engines import EngineGuard, end_engines, machine_folder, register, sweep

OWNER = """
import subprocess, sys
from minestudio_nb.environments.engines import EngineGuard, register
engine = subprocess.Popen(["sh", "-c", "sleep 300 & sleep 300"], start_new_session=True)
{line}
print(engine.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(engines.tempfile, "tempdir", None)
    yield machine_folder("engines")
    monkeypatch.setattr(engines.tempfile, "tempdir", None)


def owner(line: str) -> tuple[subprocess.Popen[str], int]:
    """A process that started and registered an engine of three processes; the engine's pid."""
    command = [sys.executable, "-c", OWNER.format(line=line)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    eventually(lambda: len(session(pid)) == 3)
    return process, pid


def session(pid: int) -> list[int]:
    found = []
    for other in psutil.pids():
        try:
            if os.getsid(other) == pid and psutil.Process(other).status() != psutil.STATUS_ZOMBIE:
                found.append(other)
        except (OSError, psutil.Error):
            continue
    return found


def eventually(condition: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()


def test_the_guard_ends_the_engine_of_a_killed_owner(own_folder: Path) -> None:
    process, pid = owner("guard = EngineGuard(engine.pid)")
    end(process)
    eventually(lambda: not session(pid))
    eventually(lambda: not list(own_folder.iterdir()))


def test_an_owner_ends_its_engine_and_its_guard(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    before = set(psutil.Process().children())  # of other tests
    engine = subprocess.Popen(["sleep", "300"], start_new_session=True)
    guard = EngineGuard(engine.pid, str(work))
    children = set(psutil.Process().children()) - before
    assert len(children) == 2
    assert guard.end() == [engine.pid]
    engine.wait()
    assert not session(engine.pid)
    assert not work.exists()
    assert not [child for child in children if child.is_running()]
    assert guard.end() == []


def test_a_worker_ends_what_a_killed_environment_registered(own_folder: Path) -> None:
    process, pid = owner("register(engine.pid)")
    assert sweep() == []  # its owner lives
    assert len(session(pid)) == 3
    end(process)
    assert len(end_engines(process.pid)) == 3
    assert not session(pid)
    assert not list(own_folder.iterdir())


def test_the_next_worker_ends_what_nobody_else_did(own_folder: Path) -> None:
    process, pid = owner("register(engine.pid)")
    end(process)
    os.kill(pid, signal.SIGKILL)  # the leader: the rest of its session is still the engine's
    eventually(lambda: pid not in session(pid))
    assert len(sweep()) == 2
    assert not session(pid)
    assert not list(own_folder.iterdir())


def test_a_process_that_got_the_pid_later_is_left_alone(own_folder: Path) -> None:
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        path = register(stranger.pid)
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "started": record["started"] - 5, "owner_started": 0}))
        assert sweep() == []
        assert stranger.poll() is None
        assert not path.exists()
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("text", ["{", '{"pid": 1}', "[]"])
def test_records_that_cannot_be_read_are_removed(own_folder: Path, text: str) -> None:
    path = own_folder / "1-x.json"
    path.write_text(text)
    assert sweep() == []
    assert not path.exists()


def test_a_record_of_before_the_machine_was_started_is_removed(own_folder: Path) -> None:
    process = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        path = register(process.pid)
        path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another", "owner_started": 0}))
        assert sweep() == []
        assert process.poll() is None and not path.exists()
    finally:
        process.kill()
        process.wait()


def test_the_folder_is_for_this_user_only(own_folder: Path) -> None:
    assert own_folder.parent.stat().st_mode & 0o777 == 0o700

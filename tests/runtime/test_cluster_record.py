"""Token, record and processes of a cluster, without starting Ray."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from minestudio_nb.errors import ResourceError, RunError
from minestudio_nb.runtime.cluster import (
    ALLOW_UNAUTHENTICATED,
    ClusterRecord,
    ensure_token,
    stop_head,
)
from minestudio_nb.runtime.processes import CLUSTER_MARK, end_marked, find_marked, is_alive


@pytest.fixture
def token_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "secrets" / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_token_is_made_for_its_owner_only(token_path: Path) -> None:
    assert ensure_token() == token_path
    assert mode(token_path) == 0o600
    assert len(token_path.read_text()) == 64


def test_an_existing_token_is_kept_and_its_mode_repaired(token_path: Path) -> None:
    token_path.parent.mkdir()
    token_path.write_text("secret")
    token_path.chmod(0o644)
    ensure_token()
    assert (token_path.read_text(), mode(token_path)) == ("secret", 0o600)


def test_no_authentication_is_refused_unless_asked_for(token_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ResourceError, match=ALLOW_UNAUTHENTICATED):
        ensure_token()
    monkeypatch.setenv(ALLOW_UNAUTHENTICATED, "1")
    assert ensure_token() is None
    assert not token_path.exists()


def record_of(process: psutil.Process, cluster_id: str = "none") -> ClusterRecord:
    return ClusterRecord(
        address="127.0.0.1:1",
        pid=process.pid,
        create_time=process.create_time(),
        session="demo",
        cluster_id=cluster_id,
        temp_dir="/nonexistent/msnb",
        token_path="",
        detached=True,
        started_at=time.time(),
    )


def test_record_comes_back_as_written(tmp_path: Path) -> None:
    record = record_of(psutil.Process())
    record.write(tmp_path / "cluster.json")
    assert ClusterRecord.read(tmp_path / "cluster.json") == record
    assert record.alive


def test_a_missing_or_broken_record_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="resume="):
        ClusterRecord.read(tmp_path / "cluster.json")
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(RunError, match="Remove it"):
        ClusterRecord.read(tmp_path / "cluster.json")


def test_a_reused_pid_is_not_the_recorded_process() -> None:
    own = psutil.Process()
    assert is_alive(own.pid, own.create_time())
    assert not is_alive(own.pid, own.create_time() - 100)


def test_a_record_of_another_machine_counts_as_alive_and_is_left_alone(tmp_path: Path) -> None:
    record = ClusterRecord(**{**record_of(psutil.Process()).__dict__, "create_time": 0.0, "host": "elsewhere"})
    record.write(tmp_path / "cluster.json")
    assert record.elsewhere and record.alive
    stop_head(record, tmp_path / "cluster.json", timeout=2.0)
    assert (tmp_path / "cluster.json").exists()
    assert not ClusterRecord(**{**record.__dict__, "host": ""}).alive


def marked_sleeper(cluster_id: str) -> subprocess.Popen[bytes]:
    """A process with the mark, in a session of its own, that ignores an orderly end."""
    code = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, CLUSTER_MARK: cluster_id},
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()  # it has its handler now
    process.stdout.close()
    return process


def test_marked_processes_end_and_others_stay() -> None:
    ours, other = marked_sleeper("test-ours"), marked_sleeper("test-other")
    try:
        assert [process.pid for process in find_marked("test-ours")] == [ours.pid]
        assert find_marked("test-ours", spare=(ours.pid,)) == []
        assert end_marked("test-ours", timeout=10.0) == []
        assert ours.poll() is not None
        assert other.poll() is None
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


def test_stop_of_a_stubborn_head_is_bounded_and_removes_its_record(tmp_path: Path) -> None:
    head = marked_sleeper("test-stubborn")
    path = tmp_path / "cluster.json"
    record = record_of(psutil.Process(head.pid), "test-stubborn")
    record.write(path)
    began = time.monotonic()
    stop_head(record, path, timeout=2.0)
    assert head.poll() is not None
    assert time.monotonic() - began < 5.0
    assert not path.exists()
    stop_head(record, path, timeout=2.0)  # again: nothing to do

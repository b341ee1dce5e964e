"""What runs below a directory, from what sessions write down."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from minestudio_nb.config import load_config
from minestudio_nb.errors import RunError
from minestudio_nb.results import SessionTable
from minestudio_nb.runs import RunDirectory, SessionRecord
from minestudio_nb.runtime.base import RuntimeSpec
from minestudio_nb.runtime.listing import find_sessions
from minestudio_nb.runtime.phases import Phases
from minestudio_nb.runtime.ray_runtime import attach

SINCE = 1_800_000_000.0


def leave(root: Path, name: str, phase: Any = "training", iteration: int = 3, **fields: Any) -> RunDirectory:
    """A run directory as a session leaves it; its process is this one unless ``fields`` say otherwise."""
    run = RunDirectory.create(root, name)
    run.metrics.write_text(json.dumps({"iteration": iteration, "values": {}}) + '\n{"iteration": 99, "va')
    here = {"host": socket.gethostname(), "pid": os.getpid(), "create_time": psutil.Process().create_time()}
    values = {"runtime": "ray", "address": None, "detached": True, "started_at": SINCE, **here, **fields}
    SessionRecord(session=name, phase=phase, since=SINCE, **values).write(run.session)
    return run


def test_what_runs_is_listed_and_what_was_cut_off_is_marked(tmp_path: Path) -> None:
    leave(tmp_path, "runs")
    leave(tmp_path, "starts", "new", iteration=0)
    leave(tmp_path, "waits", "finished")
    leave(tmp_path, "given", "paused", address="10.0.0.1:6379")
    leave(tmp_path, "cut", create_time=0.0)
    leave(tmp_path, "inside", runtime="inline", create_time=0.0)
    leave(tmp_path, "far", host="elsewhere", pid=1)
    leave(tmp_path, "over", "stopped", closed=True)
    leave(tmp_path, "ended", "finished", closed=True)
    leave(tmp_path, "gone", "failed", create_time=0.0)
    (RunDirectory.create(tmp_path, "broken").session).write_text("{")
    RunDirectory.create(tmp_path, "before").config.write_text("")
    found = {session.name: session for session in find_sessions(tmp_path)}
    states = {name: session.state for name, session in found.items()}
    assert states == {
        "runs": "TRAINING",
        "starts": "STARTING",
        "waits": "FINISHED",
        "given": "PAUSED",
        "cut": "DEAD",
        "inside": "DEAD",
        "far": "TRAINING",
    }
    assert found["runs"].iteration == 3, "the torn last line is left out"
    assert (found["runs"].since, found["runs"].where) == (SINCE, "its own cluster on this machine")
    assert found["given"].where == "cluster 10.0.0.1:6379"
    assert "resume='cut'" in found["cut"].note and not found["cut"].alive
    assert "not looked at" in found["far"].note and found["far"].where.endswith("host elsewhere")


def test_the_table_reads_well_and_escapes(tmp_path: Path) -> None:
    leave(tmp_path, "a-run", iteration=1234, address="<b>")
    table = SessionTable(find_sessions(tmp_path), tmp_path)
    head, row = str(table).splitlines()
    assert head.split() == ["name", "state", "iteration", "since", "where", "note"]
    assert row.startswith("a-run  TRAINING  1,234") and time.strftime("%Y-%m-%d", time.localtime(SINCE)) in row
    html = table._repr_html_()
    assert "<td" in html and "&lt;b&gt;" in html and "<b>" not in html
    assert len(table) == 1 and table[0].name == "a-run" and [found.name for found in table] == ["a-run"]
    nothing = SessionTable([], tmp_path)
    assert "No session runs" in str(nothing) and "No session runs" in nothing._repr_html_()


def test_a_listing_of_many_runs_is_quick(tmp_path: Path) -> None:
    for number in range(100):
        leave(tmp_path, f"run-{number}")
    began = time.process_time()
    assert len(find_sessions(tmp_path)) == 100
    assert time.process_time() - began < 1.0


def test_phases_follow_one_another_and_are_written_down(tmp_path: Path) -> None:
    run, paused = RunDirectory.create(tmp_path, "p"), []
    spec = RuntimeSpec("p", load_config("cartpole"), str(tmp_path), None, True)
    phases = Phases(spec, "ray", run, lambda: bool(paused))

    def written() -> SessionRecord:
        record = SessionRecord.read(run.session)
        assert record is not None
        return record

    assert (written().phase, written().detached, written().pid) == ("new", True, os.getpid())
    assert phases.enter("rolling") and phases.enter("training") and written().phase == "training"
    paused.append(True)
    phases.look()
    assert phases.shown == written().phase == "paused"
    paused.clear()
    phases.look()
    held = written()
    phases.look()
    assert written() == held and held.phase == "training" and held.since == phases.since
    assert phases.enter("failed", "why") and not phases.enter("finished")
    phases.close()
    assert (phases.shown, phases.failure, written().failure) == ("failed", "why", "why") and written().closed


@pytest.mark.parametrize(
    ("phase", "fields", "cause"),
    [
        ("training", {"runtime": "inline"}, r"runtime='inline', inside process .* threads there.*resume='x'"),
        ("finished", {}, r"is over \(finished\).*It has saved no checkpoint yet"),
        ("training", {}, r"never had a cluster, or was stopped.*It has saved no checkpoint yet"),
    ],
)
def test_attaching_to_what_is_not_there_says_why_and_how_to_go_on(
    tmp_path: Path, phase: str, fields: dict[str, Any], cause: str
) -> None:
    leave(tmp_path, "x", phase, **fields)
    with pytest.raises(RunError, match=cause):
        attach("x", tmp_path)
    with pytest.raises(RunError, match="Runs there, newest first: x"):
        attach("y", tmp_path)

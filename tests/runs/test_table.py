"""The table of runs: told from directories alone, whatever lies in them."""

from __future__ import annotations

import json
import math
import os
import socket
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import minestudio_nb as ms
from minestudio_nb.errors import RunError
from minestudio_nb.runs import Origin, RunDirectory, RunRecord, SessionRecord, summarize
from minestudio_nb.runs.summary import NOTHING, TAIL_BYTES
from minestudio_nb.runs.table import SHOWN

NOW = time.time()


def make(root: Path, name: str, iterations: int = 3, record: bool = True, ended: str = "", **more: Any) -> RunDirectory:
    """A run as sessions leave it; this process has started it."""
    run = RunDirectory.create(root, name)
    run.write_text("config.yaml", "trainer_name: PPOTrainer\n")
    for iteration in range(1, iterations + 1):
        values = {"episode/return_window": iteration / 2, "padding": "x" * 200}
        row = {"iteration": iteration, "time": NOW + iteration, "env_steps": 32 * iteration, "values": values}
        append(run.metrics, row)
    if record:
        started = RunRecord("chop_tree", "chop", **more).started("inline", False, NOW)
        (started.ended(ended, "") if ended else started).write(run.path)
    return run


def append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def tell(run: RunDirectory, kind: str, message: str, severity: str = "info", at: float = NOW + 9) -> None:
    append(run.events, {"kind": kind, "message": message, "severity": severity, "time": at})


def states(root: Path) -> dict[str, str]:
    table = ms.runs(root)
    return dict(zip(table["name"], table["state"], strict=True))


def test_a_row_says_what_a_run_is_and_did(tmp_path: Path) -> None:
    origin = Origin("fork", "first", str(tmp_path / "first"), "iteration_000002", 2)
    run = make(tmp_path, "second", iterations=200, ended="STOPPED", origin=origin)
    assert run.metrics.stat().st_size > TAIL_BYTES, "more than is read"
    (row,) = ms.runs(tmp_path).to_dict("records")
    assert (row["config"], row["task"], row["state"]) == ("chop_tree", "chop", "STOPPED")
    assert (row["iterations"], row["env_steps"], row["return"]) == (200, 6400, 100.0)
    assert (row["parent"], row["parent_iteration"]) == ("first", 2)
    assert abs(row["started"].timestamp() - NOW) < 1e-3 and 0 <= row["seconds"] < 86_400


def test_states_are_told_from_records_events_and_processes(tmp_path: Path) -> None:
    make(tmp_path, "running")
    make(tmp_path, "stopped", ended="STOPPED")
    make(tmp_path, "failed", ended="FAILED")
    tell(make(tmp_path, "finished", ended="STOPPED"), "state", "Training ended: num_iterations.")
    tell(make(tmp_path, "stopped-by-order"), "state", "Training ended: stopped.")
    tell(make(tmp_path, "crashed"), "failure", "Training failed: it broke", "error")
    resumed = make(tmp_path, "resumed")
    tell(resumed, "state", "Training ended: num_iterations.", at=NOW - 100)  # of its first start
    gone = make(tmp_path, "gone")
    record = json.loads((gone.path / "run.json").read_text())
    (gone.path / "run.json").write_text(json.dumps({**record, "process_started": 1.0}))
    RunRecord("chop_tree", "chop", created_at=NOW).write(RunDirectory.create(tmp_path, "waiting").path)
    assert states(tmp_path) == {
        "running": "RUNNING",
        "stopped": "STOPPED",
        "failed": "FAILED",
        "finished": "FINISHED",
        "stopped-by-order": "STOPPED",
        "crashed": "FAILED",
        "resumed": "RUNNING",
        "gone": "INTERRUPTED",
        "waiting": "CONFIGURED",
    }
    notes = ms.runs(tmp_path).set_index("name")["note"]
    assert "it broke" in notes["crashed"] and "resume='gone'" in notes["gone"] and notes["running"] == ""


@pytest.mark.parametrize("alive", [True, False])
def test_a_cluster_of_its_own_decides_for_a_detached_run(tmp_path: Path, alive: bool) -> None:
    run = make(tmp_path, "kept", record=False)
    RunRecord("chop_tree", "chop").started("ray", True, NOW).write(run.path)
    create_time = psutil.Process().create_time() if alive else 1.0
    run.write_json("cluster.json", {"pid": os.getpid(), "create_time": create_time})
    assert states(tmp_path) == {"kept": "RUNNING" if alive else "INTERRUPTED"}


@pytest.mark.parametrize("alive", [True, False])
def test_in_a_shared_cluster_the_process_that_keeps_the_session_decides(tmp_path: Path, alive: bool) -> None:
    run = make(tmp_path, "shared", record=False)
    RunRecord("chop_tree", "chop").started("ray", True, NOW).write(run.path)
    for path in (run.metrics, run.events):  # silent for hours, as while it is paused
        if path.exists():
            os.utime(path, (1.0, 1.0))
    created = psutil.Process().create_time() if alive else 1.0
    keeper = (os.getpid(), created, "127.0.0.1:6379", True, NOW)
    SessionRecord("shared", "ray", "paused", NOW, socket.gethostname(), *keeper).write(run.session)
    assert states(tmp_path) == {"shared": "RUNNING" if alive else "INTERRUPTED"}


@pytest.mark.parametrize(("age", "state"), [(10.0, "RUNNING"), (7200.0, "UNKNOWN")])
def test_of_a_run_elsewhere_the_files_tell(tmp_path: Path, age: float, state: str) -> None:
    run = RunDirectory.create(tmp_path, "far")
    record = RunRecord("chop_tree", "chop", created_at=NOW, started_at=NOW, host="another-machine", pid=1)
    record.write(run.path)
    append(run.metrics, {"iteration": 1, "time": time.time() - age, "env_steps": 8, "values": {}})
    os.utime(run.metrics, (time.time() - age, time.time() - age))
    assert states(tmp_path) == {"far": state}


def test_strange_and_damaged_directories_have_a_row_with_the_reason(tmp_path: Path) -> None:
    good = make(tmp_path, "good", ended="STOPPED")
    with good.metrics.open("a") as file:
        file.write('{"iteration": 4, "values": {"episode/ret')  # torn by a killed writer
    make(tmp_path, "bad-record").write_text("run.json", '{"config": ')
    make(tmp_path, "odd-record").write_text("run.json", '{"config": "x", "origin": {"kind": 3}}')
    (tmp_path / "strange").mkdir()
    (tmp_path / "a name with blanks").mkdir()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "file.txt").write_text("")
    noise = make(tmp_path, "noise", iterations=0, record=False)
    noise.metrics.write_bytes(b"\x00\xff\n[1, 2]\nnull\n" * 5000)
    noise.events.write_bytes(b"\x80" * 100_000)
    table = ms.runs(tmp_path).set_index("name")
    assert ".ipynb_checkpoints" not in table.index and "file.txt" not in table.index
    assert table.loc["good", "iterations"] == 3 and table.loc["good", "state"] == "STOPPED"
    assert "not valid JSON" in table.loc["bad-record", "note"]
    assert "not the record of a run" in table.loc["odd-record", "note"]
    assert table.loc["strange", "note"] == NOTHING
    assert "1 to 64 letters" in table.loc["a name with blanks", "note"]
    assert table.loc["noise", "iterations"] == 0 and math.isnan(table.loc["noise", "return"])
    assert set(table.loc[["bad-record", "odd-record", "strange"], "state"]) == {"UNREADABLE"}
    with pytest.raises(RunError):
        summarize(tmp_path / "bad-record")


def test_a_run_of_before_records_is_listed_by_its_files(tmp_path: Path) -> None:
    run = make(tmp_path, "old", record=False)
    tell(run, "execution", "begins", at=NOW - 50)
    tell(run, "state", "Training ended: target_return.")
    (row,) = ms.runs(tmp_path).to_dict("records")
    assert (row["state"], row["note"], row["iterations"]) == ("FINISHED", "ended by target_return", 3)
    assert abs(row["started"].timestamp() - (NOW - 50)) < 1e-3


def test_the_html_escapes_what_comes_from_outside_and_a_part_is_a_plain_frame(tmp_path: Path) -> None:
    run = make(tmp_path, "evil", ended="FAILED")
    record = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**record, "config": "<script>x</script>", "reason": "<b>no</b>"}))
    table = ms.runs(tmp_path)
    html = table._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html and "&lt;b&gt;no" in html
    assert "3" in html and "failed" in html and "1 run in" in html
    assert type(table[["name", "return"]]) is pd.DataFrame
    assert "There is no run in" in ms.runs(tmp_path / "absent")._repr_html_()


def test_the_newest_comes_first_and_runs_is_both_function_and_package(tmp_path: Path) -> None:
    for age, name in ((30, "old"), (10, "new"), (20, "middle")):
        run = make(tmp_path, name, record=False)
        RunRecord("c", "t").started("inline", False, NOW - age).write(run.path)
    assert list(ms.runs(tmp_path)["name"]) == ["new", "middle", "old"]
    import minestudio_nb.runs as package

    assert package.RunDirectory is RunDirectory and package(tmp_path)["name"][0] == "new"


def test_of_many_runs_the_newest_are_shown_and_all_are_there(tmp_path: Path) -> None:
    for number in range(SHOWN + 5):
        RunRecord("c", created_at=NOW - number).write(RunDirectory.create(tmp_path, f"run-{number:03d}").path)
    table = ms.runs(tmp_path)
    html = table._repr_html_()
    assert len(table) == SHOWN + 5 and html.count("<tr>") == SHOWN + 1
    assert f"The newest {SHOWN} of {SHOWN + 5} runs" in html and "run-000" in html and "run-064" not in html

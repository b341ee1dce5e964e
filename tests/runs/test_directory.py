"""Run names, paths that stay inside, atomic writes, the list of runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minestudio_nb.errors import RunError
from minestudio_nb.runs import RunDirectory, check_run_name, fresh_name, list_runs, reserve_name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../a", "a\\b", "a b", "ä", "a\n", "x" * 65, "run\x00", "$(id)", "<b>"]
)
def test_illegal_names_are_refused_with_what_came(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="1 to 64"):
        RunDirectory(tmp_path, name)


@pytest.mark.parametrize("name", ["a", "demo", "chop_tree-1.5", "x" * 64, "...a"])
def test_legal_names(name: str, tmp_path: Path) -> None:
    assert RunDirectory(tmp_path, name).path == tmp_path / name


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_an_accepted_name_is_always_one_directory_inside_the_root(name: str) -> None:
    root = Path("/tmp/root-of-runs")
    try:
        check_run_name(name)
    except RunError:
        return
    assert RunDirectory(root, name).path.parent == root


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "sly").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="leads to"):
        RunDirectory(tmp_path / "runs", "sly")


def test_inside_refuses_traversal_and_links(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "one")
    (run.path / "out").symlink_to(tmp_path)
    assert run.inside("episodes/a.mp4") == run.path / "episodes" / "a.mp4"
    for relative in ("../two", "/etc/passwd", "out/file", "episodes/../../x"):
        with pytest.raises(RunError, match="must lie inside"):
            run.inside(relative)


def test_create_then_open_then_create_again(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "deep" / "runs", "one")
    assert run.checkpoints.is_dir() and run.recordings.is_dir()
    assert RunDirectory.open(run.root, "one").path == run.path
    with pytest.raises(RunError, match="exists already"):
        RunDirectory.create(run.root, "one")
    assert RunDirectory.create(run.root, "one", exist_ok=True).path == run.path


def test_open_names_the_runs_that_exist(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, "known").write_text("config.yaml", "a: 1\n")
    with pytest.raises(RunError, match="known"):
        RunDirectory.open(tmp_path, "unknown")


def test_json_round_trip_leaves_no_temporary_file_and_a_failure_keeps_the_old(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "one")
    run.write_json("summary.json", {"return_final": 3.5})
    with pytest.raises(ValueError):
        run.write_json("summary.json", {"return_final": float("nan")})
    assert run.read_json("summary.json") == {"return_final": 3.5}
    assert sorted(os.listdir(run.path)) == ["checkpoints", "episodes", "summary.json"]
    assert os.stat(run.summary).st_mode & 0o777 == 0o644


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "one")
    run.write_text("summary.json", "{}")
    for folder in (run.path, run.checkpoints):
        code = "import os, pathlib, minestudio_nb.runs.directory as d; d.os.replace = lambda *_: os._exit(9);"
        code += f"d.write_atomically(pathlib.Path({str(folder / 'session.json')!r}), 'half')"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 9
        assert len(list(folder.glob(".session.json.*.tmp"))) == 1
    (run.path / "notes.tmp").write_text("a user's")
    run.tidy()
    assert sorted(path.name for path in run.path.rglob("*")) == ["checkpoints", "episodes", "notes.tmp", "summary.json"]


def test_unreadable_json_is_a_run_error(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "one")
    with pytest.raises(RunError, match="no file"):
        run.read_json("summary.json")
    run.summary.write_text('{"a": ')
    with pytest.raises(RunError, match="not valid JSON"):
        run.read_json("summary.json")


def test_fresh_names_differ_and_are_legal(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        names.append(fresh_name(tmp_path, "my task / <x>"))
        RunDirectory.create(tmp_path, names[-1])
    assert len(set(names)) == 3
    assert all(name.startswith("my-task-x-") for name in names)
    assert check_run_name(fresh_name(tmp_path, "y" * 200))


def test_a_name_is_reserved_by_one_of_many(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def reserve(_: int) -> str:
        together.wait(timeout=30.0)
        return reserve_name(tmp_path, "task")

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(reserve, range(8)))
    assert len(set(names)) == 8
    assert all((tmp_path / name).is_dir() for name in names)


def test_a_name_that_cannot_be_reserved_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        reserve_name(tmp_path / "file", "task")


def test_list_runs_is_newest_first_and_skips_strangers(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "absent") == []
    for age, name in [(30, "old"), (10, "new"), (20, "middle")]:
        run = RunDirectory.create(tmp_path, name)
        run.metrics.write_text(json.dumps({"iteration": 1}) + "\n")
        moment = 1_700_000_000 - age
        os.utime(run.metrics, (moment, moment))
    (tmp_path / "not-a-run").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    assert [run.name for run in list_runs(tmp_path)] == ["new", "middle", "old"]

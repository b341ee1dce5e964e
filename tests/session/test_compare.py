"""Several runs beside each other, and the tree that they form."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest

import minestudio_nb as ms
from minestudio_nb.errors import ConfigError, RunError, TelemetryError
from minestudio_nb.runs import Origin, RunDirectory, RunRecord
from tests.session.test_session_inline import session_of, small
from tests.support.written_runs import edit_event, origin_in, write_run

LR, CLIP = "train_config.learning_rate", "train_config.ppo_clip"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """``parent``, and ``fork``, which branched off after iteration 6 with another learning rate."""
    write_run(tmp_path, "parent", settings={LR: 1e-3}, events=[edit_event(CLIP, 0.1, 4), edit_event(CLIP, 0.05, 8)])
    origin = origin_in(tmp_path, "parent", 6, f"{LR}=5e-4")
    write_run(tmp_path, "fork", range(7, 9), origin, {LR: 5e-4, CLIP: 0.1})
    return tmp_path


def test_table_and_differences_by_hand(root: Path) -> None:
    comparison = ms.compare(["parent", "fork"], run_root=root)
    parent, fork = comparison.table.loc["parent"], comparison.table.loc["fork"]
    assert (parent["iterations"], parent["env_steps"], parent["return"]) == (10, 320, 5.0)
    assert parent["minutes"] == pytest.approx(100 / 60) and fork["minutes"] == pytest.approx(80 / 60)
    assert (fork["iterations"], fork["return"], fork["best"], fork["best_at"]) == (8, 4.0, 4.0, 8)
    assert (fork["parent"], parent["parent"], fork["state"]) == ("parent @ 6", "", "STOPPED")
    assert comparison.diff.to_dict("index") == {
        LR: {"parent": 1e-3, "fork": 5e-4},
        CLIP: {"parent": "0.2 → 0.1 @ 4 → 0.05 @ 8", "fork": 0.1},
    }


def test_a_fork_beside_its_parent_begins_on_its_curve(root: Path) -> None:
    (axes,) = ms.compare(["parent", "fork"], smooth=0, run_root=root).figure.axes
    drawn = {each.get_label(): list(each.get_xdata()) for each in axes.get_lines()}
    assert drawn["fork"] == [6, 7, 8] and drawn["parent"] == list(range(1, 11))
    assert not [each for each in axes.get_lines() if each.get_linestyle() == "--"]
    (alone,) = ms.compare("fork", smooth=0, run_root=root).figure.axes
    assert [each for each in alone.get_lines() if each.get_linestyle() == "--"]


def test_runs_come_by_name_path_or_session_running_ones_too(root: Path) -> None:
    with session_of(root, small(num_iterations=1_000_000), name="live") as session:
        fresh = ms.compare([session, "parent"], run_root=root)
        assert fresh.table.loc["live", "iterations"] == 0 and math.isnan(fresh.table.loc["live", "return"])
        session.start_rollout()
        session.start_trainer()
        session.wait(iterations=2, timeout=60)
        metrics = ["return", "entropy"]
        comparison = ms.compare([session, root / "parent", str(root / "fork")], metrics, x="time", run_root="elsewhere")
        assert list(comparison.table.index) == ["live", "parent", "fork"]
        assert comparison.table.loc["live", "state"] == "TRAINING" and comparison.table.loc["live", "iterations"] >= 2
        assert comparison.table.loc["parent", "ppo/entropy_nats"] == pytest.approx(0.1)
        assert comparison.diff.loc["env_config.simulator", "live"] == "gymnasium"
        assert len(comparison.figure.axes) == 2
        by_name = ms.compare("live", run_root=root)
        assert by_name.table.loc["live", "state"] == "RUNNING", "as its files tell"


def test_components_of_lists_and_modules_are_compared_one_by_one(root: Path) -> None:
    one, two = RunDirectory.open(root, "parent"), RunDirectory.open(root, "fork")
    for run, reward in ((one, 1.0), (two, 2.0)):
        text = f"env_config:\n  callbacks:\n  - name: judge\n  - name: reward\n    args: {{amount: {reward}}}\n"
        run.write_text("config.yaml", text)
    two.write_text("whole_config.py", "def env_generator(): ...\n")
    diff = ms.compare(["parent", "fork"], run_root=root).diff
    assert diff.loc["env_config.callbacks.1.args.amount"].tolist() == [1.0, 2.0]
    assert diff.loc["whole_config.py", "parent"] == "–" and "1 lines" in diff.loc["whole_config.py", "fork"]


def test_what_cannot_be_compared_is_said(root: Path) -> None:
    with pytest.raises(RunError, match=r"no run 'gone'.*Runs there"):
        ms.compare(["parent", "gone"], run_root=root)
    (root / "strange").mkdir()
    with pytest.raises(RunError, match="holds no file of a run"):
        ms.compare("strange", run_root=root)
    with pytest.raises(RunError, match=r"needs runs.*ms.runs\(\)"):
        ms.compare([], run_root=root)
    with pytest.raises(TelemetryError, match="did you mean 'return'"):
        ms.compare("parent", "retrun", run_root=root)
    with pytest.raises(ConfigError, match="smooth must be"):
        ms.compare("parent", smooth=2, run_root=root)


def test_it_shows_itself_escaped_with_pictures_and_without_scripts(root: Path, tmp_path: Path) -> None:
    run = RunDirectory.open(root, "fork")
    run.write_text("config.yaml", "env_config: {task: '<script>alert(1)</script>'}\n")
    comparison = ms.compare(["parent", "fork"], run_root=root)
    html = comparison._repr_html_()
    assert "<script" not in html and "&lt;script&gt;alert(1)" in html
    assert 'src="data:image/png;base64,' in html and "parent @ 6" in html
    assert "env_config.task" in repr(comparison)
    same = ms.compare(["parent", "parent"], run_root=root)
    assert same.diff.empty and "The settings are the same." in same._repr_html_()


def test_damaged_files_cost_their_part_only(root: Path) -> None:
    run = RunDirectory.open(root, "fork")
    run.write_text("config.yaml", "a: [1\n")
    with run.metrics.open("a") as file:
        file.write('{"iteration": 9, "values"')
    comparison = ms.compare(["parent", "fork"], run_root=root)
    assert comparison.table.loc["fork", "iterations"] == 8 and isinstance(comparison.diff, pd.DataFrame)


# The tree.


def test_the_tree_as_text(root: Path) -> None:
    write_run(root, "deeper", range(9, 12), origin_in(root, "fork", 8, f"{CLIP}=0.3"))
    write_run(root, "second", range(4, 6), origin_in(root, "parent", 3))
    write_run(root, "alone")
    tree = ms.lineage(root)
    names = [text[:16].rstrip() for text in str(tree).splitlines()]
    assert names[:4] == ["parent", "├── second", "└── fork", "    └── deeper"]
    facts = str(tree).splitlines()
    assert "stopped, 10 iterations, return 5" in facts[0] and "forked @ 8: ppo_clip=0.3" in facts[3]
    assert facts[4] == "and 1 run without relatives"
    assert [node.name for node in ms.lineage(root, "deeper").nodes] == ["parent", "second", "fork", "deeper"]
    assert [node.name for node in ms.lineage(root, "alone").nodes] == ["alone"]
    with pytest.raises(RunError, match="no run 'gone'"):
        ms.lineage(root, "gone")


def test_a_parent_that_is_gone_or_elsewhere_stays_in_the_tree(root: Path) -> None:
    shutil.rmtree(root / "parent")
    elsewhere = Origin("resume", "far", str(root.parent / "other" / "far"), "iteration_000002", 2)
    write_run(root, "visitor", range(3, 5), elsewhere)
    lines = str(ms.lineage(root)).splitlines()
    assert [" ".join(line.split()) for line in lines if "is gone" in line] == [
        "parent (its directory is gone)",
        f"{root.parent / 'other' / 'far'} (its directory is gone)",
    ]
    assert any(line.startswith("└── fork") for line in lines)
    assert any(line.startswith("└── visitor") and "resumed @ 2" in line for line in lines)


def test_runs_that_name_each_other_as_parents_do_not_hang_it(root: Path) -> None:
    record = RunRecord.read(root / "parent")
    assert record is not None
    data = json.loads((root / "parent" / "run.json").read_text())
    data["origin"] = {**json.loads((root / "fork" / "run.json").read_text())["origin"], "parent": "fork"}
    (root / "parent" / "run.json").write_text(json.dumps(data))
    str(ms.lineage(root))
    str(ms.lineage(root, "fork"))
    ms.compare("fork", run_root=root)


def test_the_drawing_is_escaped_and_small(root: Path) -> None:
    origin = origin_in(root, "parent", 6, "env_config.task='<script>'")
    write_run(root, "evil", range(7, 9), origin)
    html = ms.lineage(root)._repr_html_()
    assert "<script" not in html and "&lt;script&gt;" in html and html.count("<svg") == 1
    assert len(html) < 20_000
    assert "There is no run" in ms.lineage(root / "absent")._repr_html_()

"""Curves of a session as a figure."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minestudio_nb.contracts.telemetry import METRICS, Event, find_metric
from minestudio_nb.errors import ConfigError, TelemetryError
from minestudio_nb.plotting import read_run
from minestudio_nb.widgets.figures import Track, marks_of, metrics_figure
from tests.session.test_session_inline import session_of, small
from tests.support.written_runs import edit_event, origin_in, write_run

LR = "train_config.learning_rate"


def test_frames_have_their_columns_before_anything_happened_and_units_after(tmp_path: Path) -> None:
    with session_of(tmp_path, small(num_iterations=2)) as session:
        assert list(session.metrics().columns) == ["iteration", "time", "env_steps"] and session.metrics().empty
        assert {"kind", "message", "iteration"} <= set(session.events().columns) and session.events().empty
        assert {"episode_return", "length", "task"} <= set(session.episodes().columns) and session.episodes().empty
        session.start_rollout()
        session.start_trainer()
        session.wait(timeout=60)
        metrics = session.metrics()
        assert metrics.attrs["units"]["ppo/entropy_nats"] == "nats" and metrics["iteration"].tolist() == [1, 2]
        assert list(metrics.columns[3:]) == [name for name in METRICS if name in metrics.columns]


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("return", "episode/return"),
        ("episode/return", "episode/return"),
        ("return_window", "episode/return_window"),
        ("entropy", "ppo/entropy_nats"),
        ("kl", "ppo/approx_kl_nats"),
        ("length", "episode/length_steps"),
        ("update", "train/update_seconds"),
        ("lr", "ppo/learning_rate"),
    ],
)
def test_short_names_of_metrics(name: str, metric: str) -> None:
    assert find_metric(name) == metric


def test_every_metric_is_found_by_its_name_without_the_group() -> None:
    for full in METRICS:
        assert find_metric(full.partition("/")[2]) == full


def test_an_unknown_or_ambiguous_metric_names_what_was_meant() -> None:
    with pytest.raises(TelemetryError, match="no metric 'entrpy'; did you mean 'entropy'"):
        find_metric("entrpy")
    with pytest.raises(TelemetryError, match=r"no metric 'zzz'; docs/metrics\.md"):
        find_metric("zzz")


def test_a_running_session_is_drawn_with_what_happened(tmp_path: Path) -> None:
    with session_of(tmp_path, small(num_iterations=1_000_000)) as session:
        assert session.plot().axes[0].texts[0].get_text() == "nothing was measured yet"
        session.start_rollout()
        session.start_trainer()
        session.wait(iterations=3, timeout=60)
        session.set(LR, 5e-4)
        session.checkpoint("here")
        session.wait(iterations=session.status().iteration + 3, timeout=60)
        figure = session.plot(["return", "lr"], smooth=0.5, x="step")
        returns, rates = figure.axes
        assert (returns.get_xlabel(), returns.get_ylabel(), rates.get_ylabel()) == ("environment steps", "reward", "")
        assert returns.get_title("left") == "return" and rates.get_title("left") == "learning rate"
        assert {text.get_text() for text in rates.texts} == {"learning_rate = 0.0005"}
        labels = returns.get_legend_handles_labels()[1]
        assert {"live edit", "checkpoint", "smoothed"} <= set(labels)
        with pytest.raises(TelemetryError, match="did you mean 'return'"):
            session.plot("retrun")
        with pytest.raises(ConfigError, match="x must be one of iteration, step, time; 'steps' came"):
            session.plot(x="steps")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="smooth must be 0 <= x < 1"):
            session.plot(smooth=1.0)


def line(axes: object, label: str) -> np.ndarray:
    return next(np.array(each.get_data()) for each in axes.get_lines() if each.get_label() == label)  # type: ignore[attr-defined]


def test_the_numbers_that_are_drawn(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, "one", range(1, 5)))
    (axes,) = metrics_figure([run.track()], ["episode/return"], smoothing=0.5).axes
    # the moving average by hand: 1, (0.5 + 2)/1.5, (0.25 + 1 + 3)/1.75, (0.125 + 0.5 + 1.5 + 4)/1.875
    np.testing.assert_allclose(line(axes, "smoothed"), [[1, 2, 3, 4], [1, 2.5 / 1.5, 4.25 / 1.75, 6.125 / 1.875]])
    (axes,) = metrics_figure([run.track()], ["episode/return"], smoothing=0, x="time").axes
    np.testing.assert_allclose(line(axes, "as measured"), [[10, 20, 30, 40], [1, 2, 3, 4]])
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.5 - 1) and band[:, 1].max() == pytest.approx(2 + 1)


def test_a_fork_is_drawn_from_its_parents_beginning(tmp_path: Path) -> None:
    write_run(tmp_path, "parent", range(1, 11))
    fork = read_run(write_run(tmp_path, "fork", range(7, 9), origin_in(tmp_path, "parent", 6)))
    assert [point["iteration"] for point in fork.points] == [1, 2, 3, 4, 5, 6, 7, 8] and fork.inherited == 6
    assert [point["elapsed"] for point in fork.points] == [10, 20, 30, 40, 50, 60, 70, 80]
    (axes,) = metrics_figure([fork.track()], ["episode/return"], smoothing=0).axes
    dashed = next(each for each in axes.get_lines() if each.get_linestyle() == "--")
    assert list(dashed.get_xdata()) == [1, 2, 3, 4, 5, 6]
    assert list(line(axes, "as measured")[0]) == [6, 7, 8], "no gap at the branching point"
    (tmp_path / "parent" / "metrics.jsonl").unlink()
    assert read_run_again(tmp_path).inherited == 0


def read_run_again(root: Path) -> object:
    from minestudio_nb.runs import RunDirectory

    return read_run(RunDirectory.open(root, "fork"))


def test_faults_and_edits_become_marks_and_refused_edits_do_not() -> None:
    events = [
        edit_event(LR, 1e-4, 3),
        Event("edit", f"{LR} = 7 rejected: too high", "warning", iteration=4, data={"revision": 2}),
        Event("edit", "There was no reference policy; the present policy is taken as one.", iteration=4),
        Event("checkpoint", "written", iteration=5),
        Event("env_restart", "restarted env 0", "warning", time=12.0),
        Event("failure", "it broke", "error", time=13.0),
        Event("execution", "tells", time=14.0),
    ]
    marks = marks_of(events)
    assert [(mark.kind, mark.iteration) for mark in marks] == [
        ("edit", 3),
        ("checkpoint", 5),
        ("fault", None),
        ("fault", None),
    ]
    assert marks[0].text == f"{LR} = 0.0001"


def test_the_picture_is_there_without_pyplot_and_on_white(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, "one", events=[edit_event(LR, 1e-4, 3)]))
    data, hint = metrics_figure([run.track()], ["episode/return", "ppo/entropy_nats", "ppo/loss"])._repr_png_()
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert picture.shape[1] > hint["width"] and tuple(picture[2, 2]) == (255, 255, 255)
    assert (picture != 255).any(axis=2).mean() > 0.01


def test_odd_tracks_are_drawn_too() -> None:
    nan = {"iteration": 1, "env_steps": 1, "time": 1.0, "elapsed": 1.0, "values": {"episode/return": float("nan")}}
    one = {**nan, "values": {"episode/return": 3.0}}
    tracks = [Track("a", []), Track("b", [nan]), Track("c", [one]), Track("$x_{$", [one, {**one, "iteration": 2}])]
    for x in ("iteration", "step", "time"):
        metrics_figure(tracks, ["episode/return"], x=x)._repr_png_()

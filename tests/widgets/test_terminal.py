"""What a headless run shows, on a terminal and in a log file."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from minestudio_nb.widgets.terminal import LINE_SECONDS, TerminalDisplay, eta_seconds, progress_line


@dataclass
class Goals:
    num_iterations: int = 100
    target_return: float | None = 3.0
    max_env_steps: int | None = None
    max_minutes: float | None = None


@dataclass
class Config:
    train_config: Goals = field(default_factory=Goals)


@dataclass
class Status:
    name: str = "demo"
    state: str = "TRAINING"
    values: dict[str, Any] = field(default_factory=dict)
    latest: dict[str, float] = field(default_factory=dict)
    return_window: float = math.nan


def status_of(points: list[dict[str, Any]], state: str = "TRAINING") -> Status:
    last = points[-1]
    values = {"iteration": last["iteration"], "env_steps": last["env_steps"], "started_at": points[0]["time"]}
    return Status("demo", state, values, last["values"], last["values"]["episode/return_window"])


def test_eta_takes_the_nearest_limit(points: list[dict[str, Any]]) -> None:
    now = points[-1]["time"]
    started = points[0]["time"]
    assert eta_seconds(points, Goals(100), started, now) == pytest.approx(80)  # 40 iterations of 2 s
    assert eta_seconds(points, Goals(100, max_env_steps=7000), started, now) == pytest.approx(20)  # 1,000 steps at 50/s
    assert eta_seconds(points, Goals(100, max_minutes=2), started, now) == pytest.approx(2)  # 118 s of 120 are over
    assert eta_seconds(points, Goals(60), started, now) == 0
    assert eta_seconds(points[:1], Goals(), started, now) is None
    assert eta_seconds([], Goals(), None, now) is None


def test_the_line_has_everything(points: list[dict[str, Any]]) -> None:
    line = progress_line(status_of(points), points, Goals(), points[-1]["time"])
    for part in ("iteration 60/100", "6,000 env steps", "return 3.97 (goal 3) ▁", "50 env steps/s"):
        assert part in line
    for part in ("900 learner samples/s", "staleness 0", "ETA 1 min 20 s"):
        assert part in line
    empty = progress_line(Status(), [], Goals(target_return=None), 0.0)
    assert "iteration 0/100" in empty and "return –" in empty and "ETA –" in empty


def test_a_log_file_gets_few_plain_lines(points: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("minestudio_nb.widgets.terminal.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    display = TerminalDisplay(stream)
    for k in range(1, 40):
        display.update(status_of(points[:k]), points[:k], Config())
        now[0] += 1.0
    display.line("a [bold]message[/bold] with brackets")
    display.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == math.ceil(39 / LINE_SECONDS) + 1
    assert all("iteration" in line and "\x1b" not in line for line in lines[:-1])
    assert lines[-1] == "a [bold]message[/bold] with brackets"


def test_without_news_a_log_file_stays_quiet(points: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("minestudio_nb.widgets.terminal.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    display = TerminalDisplay(stream)
    for _ in range(10):
        display.update(status_of(points), points, Config())
        now[0] += 10.0
    assert len(stream.getvalue().splitlines()) == 1


def test_a_terminal_gets_one_panel_in_place(points: list[dict[str, Any]]) -> None:
    stream = io.StringIO()
    display = TerminalDisplay(stream, force_terminal=True, width=100)
    for k in (1, 30, 60):
        display.update(status_of(points[:k]), points[:k], Config())
    display.close()
    display.close()
    text = stream.getvalue()
    assert text.count("\x1b[1A") >= 2 * 6, "the panel is redrawn over itself"
    last = text.rsplit("╭", 1)[1]
    for part in ("demo", "60 of 100", "3.97 (goal 3)", "↑", "900", "versions", "ETA"):
        assert part in last


def test_a_stream_that_cannot_show_blocks_gets_ascii(points: list[dict[str, Any]]) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="replace", write_through=True)
    TerminalDisplay(stream).update(status_of(points), points, Config())
    assert b"?" not in raw.getvalue() and b"goal 3" in raw.getvalue()

"""Progress of a headless run: one panel updated in place on a terminal, else one line every few seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from minestudio_nb.widgets.series import ASCII_BLOCKS, BLOCKS, Point, duration, number, series, smooth, sparkline

__all__ = ["Goals", "Status", "TerminalDisplay", "eta_seconds", "progress_line"]

LINE_SECONDS = 5.0
"""Time between two lines where the output is not a terminal."""
RECENT_POINTS = 20
"""Iterations over which the speed for the ETA is measured."""
_STATE_STYLE = {"TRAINING": "green", "PAUSED": "yellow", "FAILED": "red", "FINISHED": "cyan"}


class Status(Protocol):
    """What the display reads of a session's status."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> str: ...

    @property
    def values(self) -> Mapping[str, Any]: ...

    @property
    def latest(self) -> Mapping[str, float]: ...

    @property
    def return_window(self) -> float: ...


class Goals(Protocol):
    """What the display reads of the configuration's ``train_config``: the rules that end training."""

    @property
    def num_iterations(self) -> int: ...

    @property
    def target_return(self) -> float | None: ...

    @property
    def max_env_steps(self) -> int | None: ...

    @property
    def max_minutes(self) -> float | None: ...


class _Config(Protocol):
    @property
    def train_config(self) -> Goals: ...


def eta_seconds(points: Sequence[Point], goals: Goals, started_at: float | None, now: float) -> float | None:
    """Seconds until the first of the limits on iterations, env steps and minutes ends training, at the recent speed.

    None before two iterations are known. Reaching ``target_return`` earlier is not foreseen.
    """
    recent = points[-RECENT_POINTS:]
    if len(recent) < 2 or recent[-1]["time"] <= recent[0]["time"]:
        return None
    seconds = float(recent[-1]["time"] - recent[0]["time"])
    iteration_seconds = seconds / (len(recent) - 1)
    candidates: list[float] = [(goals.num_iterations - recent[-1]["iteration"]) * iteration_seconds]
    steps = recent[-1]["env_steps"] - recent[0]["env_steps"]
    if goals.max_env_steps is not None and steps > 0:
        candidates.append((goals.max_env_steps - recent[-1]["env_steps"]) * seconds / steps)
    if goals.max_minutes is not None and started_at is not None:
        candidates.append(started_at + goals.max_minutes * 60 - now)
    return max(min(candidates), 0.0)


def trend(points: Sequence[Point]) -> str:
    """An arrow for where the smoothed return went over the last quarter of the points; empty when that is not clear."""
    _, returns = series(points, "episode/return_window")
    if len(returns) < 8:
        return ""
    before, now = returns[-max(len(returns) // 4, 4)], returns[-1]
    span = max(returns) - min(returns)
    if span == 0 or abs(now - before) < 0.05 * span:
        return "→"
    return "↑" if now > before else "↓"


def progress_line(status: Status, points: Sequence[Point], goals: Goals, now: float, blocks: str = BLOCKS) -> str:
    """All of it in one line of text."""
    values, latest = status.values, status.latest
    _, returns = series(points, "episode/return")
    parts = [
        f"iteration {values.get('iteration', 0)}/{goals.num_iterations}",
        f"{number(values.get('env_steps', 0))} env steps",
        f"return {_return_text(status, goals)} {sparkline(smooth(returns), 16, blocks, _least_span(goals))}".rstrip(),
        f"{number(_rounded(latest, 'rollout/steps_per_second'))} env steps/s",
        f"{number(_rounded(latest, 'train/samples_per_second'))} learner samples/s",
        f"staleness {number(latest.get('rollout/staleness'))}",
        f"ETA {duration(eta_seconds(points, goals, values.get('started_at'), now))}",
    ]
    if status.state != "TRAINING":
        parts.insert(0, status.state)
    return " | ".join(parts)


class TerminalDisplay:
    """Shows a run on ``stream``.

    On a terminal: one panel, updated in place at each :meth:`update`, with :meth:`line` printing above it. Elsewhere:
    at most one progress line every 5 seconds. Nothing is drawn by other threads.
    """

    def __init__(self, stream: TextIO, *, force_terminal: bool | None = None, width: int | None = None) -> None:
        self._console = Console(file=stream, force_terminal=force_terminal, width=width, highlight=False)
        self._blocks = BLOCKS if self._console.encoding.lower().startswith("utf") else ASCII_BLOCKS
        self._live: Live | None = None
        self._last_line = -math.inf
        self._last_iteration = -1

    def line(self, text: str) -> None:
        """One message, above the panel where there is one."""
        self._console.print(Text(text), soft_wrap=not self._console.is_terminal)

    def update(self, status: Status, points: Sequence[Point], config: _Config) -> None:
        """Shows the newest state; call it as often as you like."""
        goals = config.train_config
        if self._console.is_terminal:
            self._panel(status, points, goals)
            return
        now = time.monotonic()
        news = status.values.get("iteration", 0) != self._last_iteration or status.state != "TRAINING"
        if news and now - self._last_line >= LINE_SECONDS:
            self._last_line, self._last_iteration = now, status.values.get("iteration", 0)
            self.line(progress_line(status, points, goals, time.time(), self._blocks))

    def close(self) -> None:
        """Leaves the last panel on the screen and gives the terminal back. May be called more than once."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _panel(self, status: Status, points: Sequence[Point], goals: Goals) -> None:
        panel = render_panel(status, points, goals, time.time(), self._blocks)
        if self._live is None:
            self._live = Live(panel, console=self._console, auto_refresh=False)
            self._live.start(refresh=True)
        else:
            self._live.update(panel, refresh=True)


def render_panel(status: Status, points: Sequence[Point], goals: Goals, now: float, blocks: str = BLOCKS) -> Panel:
    """The panel for a terminal."""
    values, latest = status.values, status.latest
    iteration, total = int(values.get("iteration", 0)), goals.num_iterations
    _, returns = series(points, "episode/return")
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(style="dim", width=18)
    table.add_column(ratio=1)
    table.add_row("iteration", _progress(iteration, total, goals, values))
    spark = Text(sparkline(smooth(returns), 40, blocks, _least_span(goals)), style="green")
    table.add_row("return", Text(f"{_return_text(status, goals)} {trend(points)}  ", style="bold").append_text(spark))
    table.add_row("env steps", _env_steps(values, latest, goals))
    table.add_row("learner samples/s", number(_rounded(latest, "train/samples_per_second")))
    table.add_row("staleness", _staleness(latest))
    table.add_row("ETA", duration(eta_seconds(points, goals, values.get("started_at"), now)))
    style = _STATE_STYLE.get(status.state, "white")
    elapsed = duration(now - values["started_at"]) if values.get("started_at") else ""
    title = Text.assemble(("● ", style), (status.name, "bold"), f"  {status.state.lower()}  {elapsed} ")
    return Panel(table, title=title, title_align="left", border_style=style)


def _progress(iteration: int, total: int, goals: Goals, values: Mapping[str, Any]) -> Table:
    """The count, and a bar for whichever limit is nearest."""
    shares = [iteration / max(total, 1)]
    if goals.max_env_steps:
        shares.append(values.get("env_steps", 0) / goals.max_env_steps)
    row = Table.grid(padding=(0, 2))
    row.add_row(f"{iteration:,} of {total:,}", ProgressBar(total=1.0, completed=min(max(shares), 1.0), width=30))
    return row


def _env_steps(values: Mapping[str, Any], latest: Mapping[str, float], goals: Goals) -> str:
    limit = f" of at most {goals.max_env_steps:,}" if goals.max_env_steps else ""
    speed = number(_rounded(latest, "rollout/steps_per_second"))
    return f"{values.get('env_steps', 0):,}{limit}, {speed} env steps/s"


def _staleness(latest: Mapping[str, float]) -> str:
    return f"{number(latest.get('rollout/staleness'))} versions"


def _return_text(status: Status, goals: Goals) -> str:
    current = "–" if math.isnan(status.return_window) else f"{status.return_window:.2f}"
    return current if goals.target_return is None else f"{current} (goal {goals.target_return:g})"


def _least_span(goals: Goals) -> float:
    """A third of the way to the goal fills the sparkline at least."""
    return abs(goals.target_return or 0.0) / 3


def _rounded(values: Mapping[str, float], name: str) -> float | None:
    value = values.get(name, math.nan)
    return round(value) if math.isfinite(value) else None

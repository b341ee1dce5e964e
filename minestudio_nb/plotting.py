"""A run as data for curves: its points, with those that a fork inherited, its marks and settings."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from minestudio_nb.contracts.telemetry import Event, find_metric
from minestudio_nb.errors import ConfigError, RunError
from minestudio_nb.runs import Origin, RunDirectory, RunRecord, summarize
from minestudio_nb.telemetry import read_history
from minestudio_nb.widgets.figures import Axis, NotebookFigure, Track, marks_of, metrics_figure

if TYPE_CHECKING:
    from minestudio_nb.reading import ReadableSession

__all__ = ["RunData", "chosen_metrics", "plot_session", "read_run", "read_session"]

AXES = ("iteration", "step", "time")
_CONFIG, _MODULE = "config.yaml", "whole_config.py"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class RunData:
    """What there is to draw and to compare of one run."""

    name: str
    directory: Path
    state: str
    points: Sequence[Mapping[str, Any]]
    """Each with ``elapsed``: seconds of training in this line of runs; first those that were inherited."""
    inherited: int
    """How many of the points are those of the run that this one was forked or resumed from."""
    events: Sequence[Event]
    origin: Origin | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The configuration by dotted key, secrets hidden."""

    def track(self, drawn_apart: bool = False) -> Track:
        """How curves show it."""
        return Track(self.name, self.points, self.inherited, marks_of(self.events), drawn_apart)


def chosen_metrics(metrics: str | Sequence[str]) -> list[str]:
    """Full names of the wanted metrics. TelemetryError names the nearest where there is none."""
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    return [find_metric(name) for name in names]


def check_curves(x: str, smooth: float) -> None:
    """ConfigError for an axis or a smoothing that there is not."""
    if x not in AXES:
        raise ConfigError(f"x must be one of {', '.join(AXES)}; {x!r} came")
    if not (isinstance(smooth, (int, float)) and 0 <= smooth < 1):
        raise ConfigError(f"smooth must be 0 <= x < 1, the weight of what came before; {smooth!r} came")


def plot_session(session: ReadableSession, metrics: str | Sequence[str], smooth: float, x: Axis) -> NotebookFigure:
    """See :meth:`minestudio_nb.reading.ReadableSession.plot`."""
    check_curves(x, smooth)
    names = chosen_metrics(metrics)
    run = read_session(session)
    return metrics_figure([run.track()], names, x=x, smoothing=smooth, title=run.name)


def read_session(session: ReadableSession) -> RunData:
    """A session as of its last look; one that was not started yet has no points."""
    directory = session.run_root / (session.name or "(unnamed)")
    try:
        record = RunRecord.read(directory) if session.name else None
    except RunError:
        record = None
    origin = record.origin if record else None
    texts = session.config.files() if session.state != "NEW" else {}
    points, inherited = _with_inherited(session.points, origin)
    return RunData(
        session.name or "(unnamed)",
        directory,
        session.state,
        points,
        inherited,
        session.event_list,
        origin,
        _settings(texts),
    )


def read_run(run: RunDirectory) -> RunData:
    """A run as its directory holds it, running or not."""
    summary = summarize(run.path)
    if summary.state == "UNREADABLE":
        raise RunError(f"{run.path} {summary.note}, so there is nothing to compare.")
    history = read_history(run.path)
    points, inherited = _with_inherited(history.points, summary.origin)
    texts = {name: (run.path / name).read_text("utf-8") for name in (_CONFIG, _MODULE) if (run.path / name).is_file()}
    return RunData(
        run.name, run.path, summary.state, points, inherited, history.events, summary.origin, _settings(texts)
    )


def _with_inherited(own: Sequence[Mapping[str, Any]], origin: Origin | None) -> tuple[list[Mapping[str, Any]], int]:
    """The points of a whole line of runs, each with ``elapsed``, and how many of them are older than the last run."""
    line = [list(own)]
    seen: set[str] = set()
    while origin is not None and origin.parent_path not in seen and Path(origin.parent_path).is_dir():
        seen.add(origin.parent_path)
        until, path = origin.iteration, Path(origin.parent_path)
        try:
            points = read_history(path).points
            record = RunRecord.read(path)
        except (RunError, OSError):
            break
        line.insert(0, [point for point in points if point["iteration"] <= until])
        origin = record.origin if record else None
    timed: list[Mapping[str, Any]] = []
    inherited = 0
    for part in line:
        inherited = len(timed)
        before = float(timed[-1]["elapsed"]) if timed else 0.0
        timed += [{**point, "elapsed": before + point["time"] - _began(part)} for point in part]
    return timed, inherited


def _began(points: Sequence[Mapping[str, Any]]) -> float:
    """When the first of these iterations began."""
    seconds = points[0]["values"].get("train/iteration_seconds") or 0.0
    return float(points[0]["time"]) - (seconds if math.isfinite(seconds) else 0.0)


def _settings(texts: Mapping[str, str]) -> dict[str, Any]:
    """A configuration's files as settings by dotted key; a module of generators counts as one."""
    try:
        tree = yaml.load(texts.get(_CONFIG, ""), Loader=_LOADER)
    except yaml.YAMLError:
        tree = None
    flat = _flat(tree, "") if isinstance(tree, dict) else {}
    if _MODULE in texts:
        text = texts[_MODULE]
        digest = hashlib.sha256(text.encode()).hexdigest()[:7]
        flat[_MODULE] = f"{len(text.splitlines())} lines, {digest}"
    return flat


def _flat(value: Any, key: str) -> dict[str, Any]:
    if isinstance(value, dict) and value:
        items = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = enumerate(value)  # type: ignore[assignment]
    else:
        return {key: value}
    flat: dict[str, Any] = {}
    for name, item in items:
        flat |= _flat(item, f"{key}.{name}" if key else str(name))
    return flat

"""What a session leaves for people to read: videos of evaluated episodes, curves, ``report.html``, ``summary.json``.

Gathers data from the session and hands it to :mod:`minestudio_nb.widgets`, which only draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minestudio_nb.config import LoadedConfig, field_specs, redact, redact_text
from minestudio_nb.errors import RunError
from minestudio_nb.results import shown_path
from minestudio_nb.runs import RunDirectory, RunRecord, write_atomically

if TYPE_CHECKING:
    from minestudio_nb.displays import DisplayedSession
    from minestudio_nb.runtime.base import EvaluationResult
    from minestudio_nb.widgets.report import Fact, ReportData, ReportVideo

__all__ = ["shown_report", "write_report", "write_summary"]

MAX_SHOWN_BYTES = 4_000_000
"""Largest report that a notebook keeps; a larger one is shown without its videos."""

_TITLES: Mapping[str, str] = {"before": "Before training", "after": "After training"}


def write_report(session: DisplayedSession, path: Path) -> Path:
    """Writes the report at ``path``, and beside it the curves and a video of each evaluation with a recording."""
    from minestudio_nb.widgets.curves import curves_png
    from minestudio_nb.widgets.report import render_report

    path.parent.mkdir(parents=True, exist_ok=True)
    name, config = session.run_directory.name, session.config.config
    run = RunDirectory(session.run_root, name)
    points = list(session.points)
    (path.parent / run.curves.name).write_bytes(curves_png(points, name, config.train_config.target_return))
    videos = [
        video
        for label, result in session.evaluations.items()
        for video in _videos(label, result, path.parent, config.rollout_config.worker_config.video_fps)
    ]
    write_atomically(path, render_report(_report_data(session, videos)))
    return path


def shown_report(session: DisplayedSession, path: Path) -> Any:
    """The report at ``path`` for a notebook; without its videos where it is too large for one."""
    from minestudio_nb.widgets.report import ShownReport, render_report

    text = path.read_text(encoding="utf-8")
    if len(text) > MAX_SHOWN_BYTES:
        text = render_report(_report_data(session, []))
    return ShownReport(text, session.poster(), shown_path(path))


def _report_data(session: DisplayedSession, videos: Sequence[ReportVideo]) -> ReportData:
    """What a report of ``session`` tells."""
    from minestudio_nb.widgets.report import Fact, ReportData, summary_facts

    run = RunDirectory(session.run_root, session.run_directory.name)
    points = list(session.points)
    facts = [
        Fact(
            f"return, {_title(label).lower()}", f"{result.mean_return:.2f}", f"{len(result.returns)} held-out episodes"
        )
        for label, result in session.evaluations.items()
    ]
    return ReportData(
        name=run.name,
        state=session.state,
        points=points,
        events=list(session.event_list),
        edits=list(session.edit_list),
        frames=session.poster().mosaic,
        facts=[*_origin(run), *facts, *summary_facts(points)],
        videos=videos,
        evaluations={_title(label): list(result.returns) for label, result in session.evaluations.items()},
        changes=_changes(session.config),
        config_text=run.config.read_text(encoding="utf-8") if run.config.is_file() else "",
        whole_config=redact_text(session.config.whole_config),
        failure=session.failure,
        goal=session.config.config.train_config.target_return,
        goal_reached=session.reached_target(),
    )


def _origin(run: RunDirectory) -> list[Fact]:
    """The run that this one was forked or resumed from."""
    from minestudio_nb.widgets.report import Fact

    try:
        record = RunRecord.read(run.path)
    except RunError:
        return []
    origin = None if record is None else record.origin
    if origin is None:
        return []
    changed = f", with {', '.join(origin.overrides)}" if origin.overrides else ""
    label = "forked from" if origin.kind == "fork" else "resumed from"
    return [Fact(label, origin.parent, f"at iteration {origin.iteration}{changed}")]


def _changes(loaded: LoadedConfig) -> list[tuple[str, str, str]]:
    """The settings that are not at their defaults: key, default, value; secrets removed."""
    rows = []
    for key, spec in field_specs().items():
        value = loaded.config.get(key)
        if value != spec.default and not isinstance(value, Mapping):
            *_, name = key.split(".")
            hidden = redact({name: value})[name]
            rows.append((key, _setting(spec.default), _setting(hidden)))
    return rows


def _setting(value: Any) -> str:
    return "–" if value is None else str(value)


def write_summary(session: DisplayedSession, seconds: float) -> Path:
    """Writes ``summary.json`` into the run directory: what the run cost and what came of it.

    Args:
        seconds: wall time from the start of the rollout to the end of the last evaluation.
    """
    run = RunDirectory(session.run_root, session.run_directory.name)
    config = session.config.config
    points = session.points
    last = points[-1]["values"] if points else {}
    target = config.train_config.target_return
    window = session.return_window()
    summary = {
        "name": run.name,
        "config": session.config.name,
        "seed": config.train_config.seed,
        "return_random": _mean(session.evaluations.get("before")),
        "return_final": _mean(session.evaluations.get("after")),
        "return_window": _finite(window),
        "target_return": target,
        "learned": session.reached_target(),
        "iterations": points[-1]["iteration"] if points else 0,
        "env_steps": points[-1]["env_steps"] if points else 0,
        "seconds": round(seconds, 1),
        "training_seconds": round(points[-1]["time"] - points[0]["time"], 1) if points else 0.0,
        "cpu_seconds": _finite(last.get("system/cpu_seconds_total", math.nan)),
        "held_out_episodes": len(session.evaluations["after"].returns) if "after" in session.evaluations else 0,
    }
    return run.write_json(run.summary.name, summary)


def _videos(label: str, result: EvaluationResult, directory: Path, fps: float) -> list[Any]:
    """The most typical recorded episode of an evaluation as ``<label>.mp4`` in ``directory``, for the report."""
    from minestudio_nb.rollout.filming import film
    from minestudio_nb.telemetry.video import contact_sheet
    from minestudio_nb.widgets.report import ReportVideo

    if not result.traces:
        return []
    episode = min(result.traces, key=lambda trace: abs(sum(trace.rewards) - result.mean_return))
    video = film(episode, directory / label, fps)
    if video is None:
        return []
    caption = f"A typical episode in a world that training never saw; it returned {sum(episode.rewards):.1f}."
    if video.path.suffix == ".mp4":
        return [ReportVideo(_title(label), caption, mp4=video.path.read_bytes(), poster=_poster(episode))]
    from minestudio_nb.rollout.filming import episode_frames

    return [ReportVideo(_title(label), caption, poster=contact_sheet([frame for _, frame in episode_frames(episode)]))]


def _poster(episode: Any) -> bytes:
    """The episode's first frame, as JPEG."""
    from minestudio_nb.rollout.filming import episode_frames
    from minestudio_nb.telemetry.video import jpeg

    _, frame = next(iter(episode_frames(episode)))
    return jpeg(frame)


def _title(label: str) -> str:
    return _TITLES.get(label, label)


def _mean(result: EvaluationResult | None) -> float | None:
    return None if result is None else _finite(result.mean_return)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

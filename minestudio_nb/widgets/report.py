"""A run as one HTML file: no script, nothing fetched, readable years later and without this package.

Every text that comes from outside (names, configuration, events, exceptions) is escaped, and the page forbids scripts.
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.showing import shown_safely
from minestudio_nb.contracts.telemetry import METRICS, Event
from minestudio_nb.widgets.mosaic import Mosaic
from minestudio_nb.widgets.panels import PANELS, Panel
from minestudio_nb.widgets.poster import Poster, became, poster_html
from minestudio_nb.widgets.report_style import STYLE
from minestudio_nb.widgets.series import Point, duration, number, series, smooth, with_unit
from minestudio_nb.widgets.svg import Line, dot_strip, event_markers, line_chart

__all__ = ["Fact", "ReportData", "ReportVideo", "ShownReport", "render_report", "summary_facts"]

MAX_VIDEOS = 8
"""Videos in one report."""
MAX_VIDEO_BYTES = 16_000_000
"""Size of one embedded video; a larger one is only named."""
MAX_EVENTS = 300
"""Newest events in the table."""
MAX_MARKERS = 40
"""Newest edits and faults drawn on the curves."""
_POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Fact:
    """One number of the summary: ``Fact("env steps", "81,920", "of at most 250,000")``."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class ReportVideo:
    """One video. ``mp4`` may be empty when there is only ``poster`` (JPEG bytes), for example a contact sheet."""

    label: str
    caption: str
    mp4: bytes = b""
    poster: bytes = b""


@dataclass(frozen=True)
class ReportData:
    """All that a report shows. Texts are plain; secrets must be removed from the two configuration texts already."""

    name: str
    state: str
    points: Sequence[Point] = ()
    events: Sequence[Event] = ()
    edits: Sequence[Edit] = ()
    frames: Mosaic = field(default_factory=Mosaic)
    """The newest frames."""
    facts: Sequence[Fact] = ()
    videos: Sequence[ReportVideo] = ()
    evaluations: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Returns of held-out episodes by label, for example ``before`` and ``after``, in the order to show."""
    changes: Sequence[tuple[str, str, str]] = ()
    """The settings that are not at their defaults: key, default, value."""
    config_text: str = ""
    """The configuration as used, YAML."""
    whole_config: str = ""
    """The configuration file as it was given."""
    failure: str = ""
    goal: float | None = None
    """The return that training was to reach, and whether it did."""
    goal_reached: bool = False
    created: float = field(default_factory=time.time)


def render_report(data: ReportData) -> str:
    """The HTML of ``data``."""
    sections = [
        _header(data),
        _facts(data.facts),
        _videos(data.videos),
        _frames(data.frames),
        _learning(data),
        _evaluations(data),
        _edits(data.edits),
        _events(data.events),
        _metrics(data.points),
        _configuration(data),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(data.name)} · minestudio_nb</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


def _header(data: ReportData) -> str:
    moment = time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(data.created)).lstrip("0")
    kind = {"FAILED": "bad", "FINISHED": "good", "STOPPED": "good"}.get(data.state, "plain")
    failure = f'<pre class="failure">{escape(data.failure)}</pre>' if data.failure else ""
    return (
        f'<header><h1>{escape(data.name)} <span class="chip {kind}">{escape(data.state.lower())}</span></h1>'
        f'<p class="headline">{_headline(data)}</p><p class="muted">Written {moment}</p>{failure}</header>'
    )


def _headline(data: ReportData) -> str:
    """One sentence: what changed from the first evaluation to the last, or else the return so far."""
    means = [(label, _mean(returns)) for label, returns in data.evaluations.items() if returns]
    _, window = series(data.points, "episode/return_window")
    steps = number(data.points[-1]["env_steps"]) if data.points else "0"
    if len(means) >= 2:
        before, after = means[0][1], means[-1][1]
        change = "rose" if after > before else "fell" if after < before else "stayed"
        sentence = (
            f"Return in held-out worlds {change} from <b>{before:.2f}</b> to <b>{after:.2f}</b> in {steps} env steps."
            if change != "stayed"
            else f"Return in held-out worlds stayed at <b>{after:.2f}</b> after {steps} env steps."
        )
    elif window:
        sentence = f"Mean return over the latest episodes: <b>{window[-1]:.2f}</b> after {steps} env steps."
    else:
        sentence = f"No episode has ended yet; {steps} env steps so far."
    if data.goal is not None and window:
        sentence += f" The goal of {number(data.goal)} was {'' if data.goal_reached else 'not '}reached."
    return sentence


def _facts(facts: Sequence[Fact]) -> str:
    if not facts:
        return ""
    cells = "".join(
        f"<div><dt>{escape(fact.label)}</dt><dd>{escape(fact.value)}"
        + (f"<small>{escape(fact.note)}</small>" if fact.note else "")
        + "</dd></div>"
        for fact in facts
    )
    return f'<dl class="facts">{cells}</dl>'


def _videos(videos: Sequence[ReportVideo]) -> str:
    if not videos:
        return ""
    figures = "".join(_video(video) for video in videos[:MAX_VIDEOS])
    hidden = len(videos) - MAX_VIDEOS
    more = f'<p class="muted">{hidden} more in the run directory.</p>' if hidden > 0 else ""
    return f'<section><h2>What the agent does</h2><div class="videos">{figures}</div>{more}</section>'


def _video(video: ReportVideo) -> str:
    label = escape(video.label)
    poster = f"data:image/jpeg;base64,{_base64(video.poster)}" if video.poster else ""
    if video.mp4 and len(video.mp4) <= MAX_VIDEO_BYTES:
        attribute = f' poster="{poster}"' if poster else ""
        body = (
            f'<video controls loop muted playsinline preload="metadata" aria-label="{label}"{attribute}>'
            f'<source type="video/mp4" src="data:video/mp4;base64,{_base64(video.mp4)}">'
            "This browser cannot play the video.</video>"
        )
    elif poster:
        body = f'<img src="{poster}" alt="{label}">'
    else:
        body = '<p class="empty">Too large to embed; see the run directory.</p>'
    return f"<figure>{body}<figcaption><b>{label}</b> {escape(video.caption)}</figcaption></figure>"


def _frames(frames: Mosaic) -> str:
    if not frames.jpeg:
        return ""
    cells = "".join(
        f"<tr><td>{escape(str(tile['name']))}</td><td>{escape(str(tile['task']))}</td><td>{number(tile['step'])}</td>"
        f"<td>{number(tile['return'])}</td><td>{number(tile['value'])}</td></tr>"
        for tile in frames.layout["tiles"]
    )
    return (
        '<section><h2>Last frames</h2><div class="frames">'
        f'<img src="data:image/jpeg;base64,{_base64(frames.jpeg)}" alt="the newest frames of the environments">'
        '<div class="card scroll"><table><thead><tr><th>environment</th><th>task</th><th>step</th><th>return</th>'
        f"<th>value</th></tr></thead><tbody>{cells}</tbody></table></div></div></section>"
    )


def _learning(data: ReportData) -> str:
    if not data.points:
        return '<section><h2>Learning</h2><p class="empty">No iteration was finished.</p></section>'
    markers = event_markers(data.points, data.events, MAX_MARKERS)
    xs, raw = series(data.points, "episode/return")
    window_x, window = series(data.points, "episode/return_window")
    lines = [
        Line("mean of an iteration", xs, raw, 1, faint=True),
        Line("mean of the latest episodes", window_x, window, 1),
    ]
    chart = line_chart("Return per episode", lines, width=960, height=300, markers=markers, goal=data.goal)
    goal = '<span class="key goal-key">goal</span>' if data.goal is not None else ""
    edits = '<span class="key marker-key">edits, checkpoints and faults</span>' if markers else ""
    legend = (
        f'<span class="key k1">latest episodes</span><span class="key k1 thin">single iterations</span>{goal}{edits}'
    )
    panels = "".join(_panel(panel, data.points) for panel in PANELS)
    return (
        f'<section><h2>Learning</h2><figure class="card"><figcaption><b>Return per episode</b> {legend}</figcaption>'
        f'{chart}</figure><div class="charts">{panels}</div></section>'
    )


def _panel(panel: Panel, points: Sequence[Point]) -> str:
    lines, legend = [], []
    for colour, (metric, name) in enumerate(panel.metrics, 1):
        xs, ys = series(points, metric)
        if xs:
            lines += [Line(name, xs, ys, colour, faint=True), Line(name, xs, smooth(ys), colour)]
            legend.append(f'<span class="key k{colour}">{escape(name)}</span>')
    if not lines:
        return ""
    chart = line_chart(panel.title, lines)
    keys = " ".join(legend) if len(panel.metrics) > 1 else ""
    help_text = f'<p class="muted">{escape(panel.help)}</p>' if panel.help else ""
    return (
        f'<figure class="card"><figcaption><b>{escape(panel.title)}</b> {keys}</figcaption>{chart}{help_text}</figure>'
    )


def _evaluations(data: ReportData) -> str:
    groups = [(label, returns) for label, returns in data.evaluations.items() if returns]
    if not groups:
        return ""
    rows = "".join(
        f"<tr><td>{escape(label)}</td><td>{len(returns)}</td><td>{_mean(returns):.2f}</td>"
        f"<td>{_std(returns):.2f}</td><td>{number(min(returns))}</td><td>{number(max(returns))}</td></tr>"
        for label, returns in groups
    )
    table = (
        "<table><thead><tr><th></th><th>episodes</th><th>mean</th><th>std</th><th>min</th><th>max</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )
    return (
        '<section><h2>Held-out episodes</h2><p class="muted">Played in worlds that training never saw. '
        "One dot is one episode; the bar is the mean.</p>"
        f'<div class="card">{dot_strip(groups, width=960)}{table}</div></section>'
    )


def _edits(edits: Sequence[Edit]) -> str:
    if not edits:
        return ""
    rows = "".join(
        f'<tr class="{"error" if edit.status == "rejected" else "plain"}"><td>{edit.revision}</td>'
        f"<td><code>{escape(edit.key)}</code></td><td>{escape(str(edit.value))}</td><td>{escape(became(edit))}</td></tr>"
        for edit in edits
    )
    return (
        '<section><h2>Edits while it ran</h2><div class="card scroll"><table><thead><tr><th></th><th>setting</th>'
        f"<th>new value</th><th>what became of it</th></tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _events(events: Sequence[Event]) -> str:
    if not events:
        return '<section><h2>Events</h2><p class="empty">Nothing happened that needs telling.</p></section>'
    rows = "".join(
        f'<tr class="{escape(event.severity)}"><td>{time.strftime("%H:%M:%S", time.gmtime(event.time))}</td>'
        f"<td>{escape(event.kind)}</td><td>{'' if event.iteration is None else event.iteration}</td>"
        f"<td>{escape(event.source)}</td><td>{escape(event.message)}</td></tr>"
        for event in reversed(events[-MAX_EVENTS:])
    )
    hidden = len(events) - MAX_EVENTS
    more = f'<p class="muted">{hidden} older ones are in events.jsonl.</p>' if hidden > 0 else ""
    return (
        '<section><h2>Events</h2><div class="card scroll"><table class="events"><thead><tr><th>time (UTC)</th>'
        "<th>kind</th><th>iteration</th><th>source</th><th>what happened</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{more}</section>"
    )


def _metrics(points: Sequence[Point]) -> str:
    if not points:
        return ""
    rows = []
    for name, spec in METRICS.items():
        _, values = series(points, name)
        if not values:
            continue
        bad = f' <span class="bad-text">{escape(spec.bad)}</span>' if spec.bad else ""
        rows.append(
            f"<tr><td><code>{escape(name)}</code></td><td>{escape(with_unit(values[-1], spec.unit))}</td>"
            f"<td>{escape(spec.help)}{bad}</td></tr>"
        )
    return (
        "<section><details><summary><h2>All metrics</h2></summary>"
        '<div class="card scroll"><table class="metrics"><thead><tr><th>metric</th><th>last</th><th>meaning, and '
        '<span class="bad-text">what bad looks like</span></th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></details></section>"
    )


def _configuration(data: ReportData) -> str:
    parts = []
    if data.changes:
        rows = "".join(
            f"<tr><td><code>{escape(key)}</code></td><td>{escape(value)}</td><td>{escape(default)}</td></tr>"
            for key, default, value in data.changes
        )
        parts.append(
            '<section><h2>Settings that are not at their defaults</h2><div class="card scroll"><table class="settings">'
            f"<thead><tr><th>setting</th><th>value</th><th>default</th></tr></thead><tbody>{rows}</tbody></table></div>"
            "</section>"
        )
    for title, text in (("Configuration as used", data.config_text), ("Configuration file", data.whole_config)):
        if text:
            parts.append(
                f"<section><details><summary><h2>{title}</h2></summary>"
                f'<pre class="card">{escape(text)}</pre></details></section>'
            )
    return "".join(parts)


@dataclass(frozen=True)
class ShownReport:
    """A report for the output of a cell: in a frame of its own, or as ``poster`` where frames are taken away."""

    html: str
    poster: Poster
    path: str

    def __repr__(self) -> str:
        return f"Report of {self.poster.name}: {self.path}"

    @shown_safely
    def _repr_mimebundle_(self, /, **_: Any) -> dict[str, Any]:
        frame = (
            f'<iframe title="{escape(repr(self))}" srcdoc="{escape(self.html)}" sandbox="" '
            'style="width:100%;height:760px;border:1px solid rgba(128,128,128,.35);border-radius:8px"></iframe>'
        )
        hide = "<style>.msnb-report:has(iframe) .msnb-poster{display:none}</style>"
        shown = f'{hide}<div class="msnb-report">{frame}{poster_html(self.poster)}<div>{escape(repr(self))}</div></div>'
        return {"text/plain": repr(self), "text/html": shown}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _std(values: Sequence[float]) -> float:
    """Standard deviation of the sample."""
    if len(values) < 2:
        return 0.0
    mean = _mean(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def summary_facts(points: Sequence[Point], minutes_of_training: float | None = None) -> list[Fact]:
    """The facts that points alone tell: iterations, env steps, training time, speed, CPU time, memory."""
    if not points:
        return []
    last = points[-1]
    seconds = minutes_of_training * 60 if minutes_of_training is not None else last["time"] - points[0]["time"]
    facts = [
        Fact("iterations", number(last["iteration"])),
        Fact("env steps", number(last["env_steps"])),
        Fact("training time", duration(seconds)),
    ]
    _, speeds = series(points, "rollout/steps_per_second")
    if speeds:
        facts.append(Fact("env steps/s", number(round(sorted(speeds)[len(speeds) // 2])), "median"))
    for metric, label in (("system/cpu_seconds_total", "CPU time"), ("system/memory_bytes", "memory")):
        _, values = series(points, metric)
        if values:
            facts.append(Fact(label, with_unit(values[-1], METRICS[metric].unit)))
    return facts

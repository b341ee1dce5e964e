"""A session as a picture that stays: what a notebook shows of it where no kernel runs.

Static HTML in which every picture is an image of its own and every style an attribute, so that something readable is
left wherever HTML is cleaned before it is shown. Light; notebooks with a dark theme turn it dark where they take style
sheets. All texts are escaped.
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
from minestudio_nb.contracts.looks import TONES, state_tone
from minestudio_nb.contracts.showing import shown_safely
from minestudio_nb.contracts.telemetry import METRICS, Event
from minestudio_nb.contracts.view import SessionView
from minestudio_nb.widgets.mosaic import Mosaic, build_mosaic
from minestudio_nb.widgets.panels import PANELS, Panel
from minestudio_nb.widgets.series import Point, duration, number, series, smooth, thin, with_unit
from minestudio_nb.widgets.svg import CHART_CSS, Line, Marker, event_markers, line_chart

__all__ = ["Poster", "became", "poster_html", "take_poster"]

POINTS_DRAWN = 150
"""Points per line; the charts are small."""
MAX_ROWS = 8
"""Newest edits, and newest warnings and errors, in the tables."""
MAX_MARKERS = 40
SHOWN = ("head", "environments", "curves", "tuning", "events")
"""The panels of a display that have a part in its picture, in their order."""
_MUTED = "color:#5d6673"
_FIGURES = (
    ("rollout/steps_per_second", "env steps/s"),
    ("train/samples_per_second", "learner samples/s"),
    ("rollout/staleness", "staleness"),
    ("ppo/entropy_nats", "entropy"),
    ("ppo/approx_kl_nats", "KL of an update"),
)
_CHART_COLOURS = {
    "muted": "#5d6673",
    "line": "#e3e7e2",
    "c1": "#2e8b57",
    "c2": "#c8662b",
    "c3": "#3a6fb0",
    "bad": "#c0392b",
}
_DARK = (
    "[data-jp-theme-light='false'] .msnb-poster{background:#16191d!important;color:#e4e7eb!important;"
    "border-color:#363c45!important}"
    "[data-jp-theme-light='false'] .msnb-poster .msnb-chart{filter:invert(.9) hue-rotate(180deg)}"
    "[data-jp-theme-light='false'] .msnb-poster .msnb-muted{color:#a3acb8!important}"
)
# Where a live display follows its poster, one of the two is seen: the display while it is fed, else the poster.
_INSTEAD = (
    ".jp-OutputArea-child:has(.msnb-instead):has(+ .jp-OutputArea-child .msnb-live),"
    ".jp-OutputArea-child:has(.msnb-instead) + .jp-OutputArea-child:not(:has(.msnb-live)){display:none}"
)


@dataclass(frozen=True)
class Poster:
    """How a session stood at one moment; the last line of a cell shows it.

    Attributes:
        values: the runtime's status by name (``iteration``, ``num_iterations``, ``env_steps``, ...).
        points, events, edits: of the whole run.
        mosaic: the newest frames.
        made: Unix seconds.
    """

    name: str
    state: str
    values: Mapping[str, Any] = field(default_factory=dict)
    points: Sequence[Point] = ()
    events: Sequence[Event] = ()
    edits: Sequence[Edit] = ()
    mosaic: Mosaic = field(default_factory=Mosaic)
    failure: str = ""
    made: float = field(default_factory=time.time)

    def __repr__(self) -> str:
        iteration, total = number(self.values.get("iteration", 0)), number(self.values.get("num_iterations"))
        return f"Poster of {self.name}: {self.state}, iteration {iteration} of {total}, {len(self.points)} points"

    @shown_safely
    def _repr_mimebundle_(self, /, **_: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": repr(self), "text/html": poster_html(self)}
        if self.points:  # for what shows pictures but no HTML, such as a PDF
            from minestudio_nb.widgets.curves import curves_png

            bundle["image/png"] = curves_png(self.points, self.name, dpi=80)
        return bundle


def take_poster(view: SessionView, mosaic: Mosaic | None = None, panels: Sequence[str] = SHOWN) -> Poster:
    """How ``view`` stands now; with the frames that it gives, or those of ``mosaic`` where it gives none.

    Frames are asked for only where the panel "environments" is among ``panels``: asking costs the rollout.
    """
    head = view.head()
    fresh = build_mosaic(view.tiles()) if "environments" in panels else Mosaic()
    return Poster(
        name=head.name,
        state=head.state,
        values=dict(head.values),
        points=view.points(),
        events=view.events(),
        edits=view.edits(),
        mosaic=fresh if fresh.jpeg or mosaic is None else mosaic,
        failure=head.failure,
    )


def poster_html(poster: Poster, instead: str = "", panels: Sequence[str] = SHOWN) -> str:
    """The HTML of ``poster``; it gives way to the live display with the key ``instead`` while that is fed.

    ``panels`` are those of the display: a part belongs to a panel, and those of other panels are left out.
    """
    made = time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(poster.made)).lstrip("0")
    note = f"As it stood on {made}."
    if instead:
        note += " The live dashboard takes this place while the kernel runs that shows it."
    drawn = {
        "head": lambda: _figures(poster),
        "environments": lambda: _frames(poster.mosaic),
        "curves": lambda: _curves(poster),
        "tuning": lambda: _edits(poster.edits),
        "events": lambda: _troubles(poster.events),
    }
    parts = [
        _head(poster),
        *(drawn[name]() for name in SHOWN if name in panels),
        f'<div class="msnb-muted" style="{_MUTED};font-size:12px;margin-top:8px">{note}</div>',
    ]
    style = (
        "background:#ffffff;color:#23272e;border:1px solid #d9dde3;border-radius:8px;padding:12px 16px;"
        "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45;max-width:980px"
    )
    sheet = _DARK + (_INSTEAD if instead else "")
    names = f"msnb-poster msnb-instead msnb-for-{escape(instead)}" if instead else "msnb-poster"
    return f'<style>{sheet}</style><div class="{names}" style="{style}">{"".join(parts)}</div>'


def _head(poster: Poster) -> str:
    colour = TONES[state_tone(poster.state)].ground
    chip = (
        f'<span style="background:{colour};color:#ffffff;border-radius:10px;padding:1px 9px;font-weight:600">'
        f"{escape(poster.state.lower())}</span>"
    )
    progress = [f"iteration {number(poster.values.get('iteration', 0))}"]
    if poster.values.get("num_iterations"):
        progress[0] += f" of {number(poster.values['num_iterations'])}"
    if poster.points:
        progress.append(f"{number(poster.points[-1]['env_steps'])} env steps")
        progress.append(f"{duration(poster.points[-1]['time'] - poster.points[0]['time'])} of training")
    failure = (
        f'<pre style="background:#fae6e3;color:#8f2415;padding:8px 10px;margin:8px 0;border-radius:6px;'
        f'white-space:pre-wrap">{escape(poster.failure)}</pre>'
        if poster.failure
        else ""
    )
    return (
        f'<div>{chip} <b style="font-size:16px;margin:0 6px">{escape(poster.name)}</b> '
        f'<span class="msnb-muted" style="{_MUTED}">{escape(" · ".join(progress))}</span></div>{failure}'
    )


def _figures(poster: Poster) -> str:
    if not poster.points:
        return ""
    cells = []
    _, window = series(poster.points, "episode/return_window")
    if window:
        cells.append(("return, latest episodes", number(window[-1])))
    for metric, title in _FIGURES:
        _, values = series(poster.points, metric)
        if values:
            unit = METRICS[metric].unit
            cells.append((title, with_unit(values[-1], "" if "/s" in unit else unit)))
    return '<div style="margin:8px 0">' + "".join(_figure(*cell) for cell in cells) + "</div>"


def _figure(title: str, value: str) -> str:
    return (
        '<span style="display:inline-block;margin-right:24px">'
        f'<span class="msnb-muted" style="{_MUTED}">{escape(title)}</span> <b>{escape(value)}</b></span> '
    )


def _frames(mosaic: Mosaic) -> str:
    if not mosaic.jpeg:
        return ""
    tiles = mosaic.layout["tiles"]
    width = min(max(mosaic.layout["columns"] * mosaic.layout["width"], 280), 296)
    told = "; ".join(f"{tile['name']}: step {tile['step']}, return {number(tile['return'])}" for tile in tiles)
    many = f"the newest frames of {len(tiles)} environments" if len(tiles) > 1 else "the newest frame"
    return _image(mosaic.jpeg, "image/jpeg", width, many, told)


def _curves(poster: Poster) -> str:
    if not poster.points:
        text = "No iteration was finished yet."
        return f'<p class="msnb-muted" style="{_MUTED};margin:8px 0">{text}</p>'
    xs, raw = _series(poster.points, "episode/return")
    window_x, window = _series(poster.points, "episode/return_window")
    lines = [Line("mean of an iteration", xs, raw, 1, faint=True), Line("latest episodes", window_x, window, 1)]
    markers = event_markers(poster.points, poster.events, MAX_MARKERS)
    parts = [_chart("Return per episode", lines, (604, 260) if poster.mosaic.jpeg else (912, 240), markers)]
    parts += [_panel(panel, poster.points) for panel in PANELS]
    return "".join(parts)


def _panel(panel: Panel, points: Sequence[Point]) -> str:
    lines, names = [], []
    for colour, (metric, name) in enumerate(panel.metrics, 1):
        xs, ys = series(points, metric)
        if xs:
            lines.append(Line(name, *thin(xs, smooth(ys), POINTS_DRAWN), colour))
            names.append(name)
    return _chart(panel.title, lines, (296, 160)) if lines else ""


def _series(points: Sequence[Point], metric: str) -> tuple[list[float], list[float]]:
    xs, ys = series(points, metric)
    return thin(xs, ys, POINTS_DRAWN)


def _chart(title: str, lines: Sequence[Line], size: tuple[int, int], markers: Sequence[Marker] = ()) -> str:
    """A chart as an image, with its title and the names of its lines drawn into it."""
    width, height = size
    style = CHART_CSS
    for name, colour in _CHART_COLOURS.items():
        style = style.replace(f"var(--{name})", colour)
    chart = line_chart(title, lines, width=width, height=height, markers=markers)
    if not chart.startswith("<svg"):
        return ""
    inner = chart[chart.index(">") + 1 : chart.rindex("</svg>")]
    named = [line for line in lines if not line.faint] if len(lines) > 1 else []
    keys, rows = _keys(named, 8 + 7.4 * len(title) + 14, width)
    top = 20 + 16 * (rows - 1)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="{width}" height="{height + top}" '
        f'viewBox="0 0 {width} {height + top}"><style>{style}</style>'
        f'<text x="8" y="15" style="font-weight:600;fill:#23272e">{escape(title)}</text>{keys}'
        f'<g transform="translate(0 {top})">{inner}</g></svg>'
    )
    last = "; ".join(f"{line.name} {number(line.ys[-1])} at last" for line in lines if line.ys and not line.faint)
    return _image(svg.encode(), "image/svg+xml", width, f"{title}: {last}", title, "msnb-chart")


def _keys(lines: Sequence[Line], left: float, width: int) -> tuple[str, int]:
    """The names of lines in their colours, from ``left`` on beside the title and then below it; and how many rows."""
    parts, at, row = [], left, 0
    for line in lines:
        space = 16 + 6.2 * len(line.name)
        if at + space > width:
            at, row = 8.0, row + 1
        y = 11 + 16 * row
        parts.append(
            f'<line class="c{line.colour}" stroke-width="3" x1="{at:.0f}" x2="{at + 12:.0f}" y1="{y}" y2="{y}"/>'
            f'<text x="{at + 16:.0f}" y="{y + 4}" style="font-size:11px">{escape(line.name)}</text>'
        )
        at += space + 12
    return "".join(parts), row + 1


def _image(content: bytes, media_type: str, width: int, alt: str, title: str, name: str = "msnb-frames") -> str:
    source = f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
    return (
        f'<img class="{name}" src="{source}" width="{width}" alt="{escape(alt)}" title="{escape(title)}" '
        'style="display:inline-block;vertical-align:top;max-width:100%;height:auto;margin:0 8px 8px 0"> '
    )


def _edits(edits: Sequence[Edit]) -> str:
    rows = [(edit.key, _value(edit.value), became(edit)) for edit in reversed(edits[-MAX_ROWS:])]
    return _table(f"Edits{_of(len(edits))}", ("setting", "new value", "what became of it"), rows)


def became(edit: Edit) -> str:
    """What became of an edit, in a few words."""
    if edit.status == "applied":
        return f"applied @ iteration {edit.iteration}"
    return f"rejected: {edit.reason}" if edit.status == "rejected" else "requested"


def _value(value: Any) -> str:
    """A setting as it was written; measured numbers are rounded, settings are not."""
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def _troubles(events: Sequence[Event]) -> str:
    bad = [event for event in events if event.severity != "info"]
    rows = [
        (time.strftime("%H:%M:%S", time.gmtime(event.time)), event.kind, event.message)
        for event in reversed(bad[-MAX_ROWS:])
    ]
    return _table(f"Warnings and errors{_of(len(bad))}", ("time (UTC)", "kind", "what happened"), rows)


def _of(count: int) -> str:
    return f", the newest {MAX_ROWS} of {count}" if count > MAX_ROWS else ""


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    cell = "text-align:left;padding:2px 16px 2px 0;vertical-align:top"
    head = "".join(f'<th class="msnb-muted" style="{cell};{_MUTED};font-weight:400">{name}</th>' for name in heads)
    lines = ("".join(f'<td style="{cell}">{escape(text)}</td>' for text in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    table = "margin:2px 0;border-collapse:collapse;font-size:13px"
    return (
        f'<div style="margin-top:8px"><b>{escape(title)}</b><table style="{table}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )

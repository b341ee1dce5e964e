"""A session as static HTML: what a notebook shows for the value of a cell. No script, all text escaped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from minestudio_nb.contracts.looks import TONES, state_tone
from minestudio_nb.contracts.telemetry import METRICS
from minestudio_nb.widgets.series import duration, number, smooth, with_unit
from minestudio_nb.widgets.svg import sparkline_svg

__all__ = ["session_html", "table_html"]

_SHOWN = (
    ("rollout/steps_per_second", "env steps/s"),
    ("train/samples_per_second", "learner samples/s"),
    ("rollout/staleness", "staleness"),
    ("ppo/entropy_nats", "entropy"),
    ("ppo/approx_kl_nats", "KL"),
)


def session_html(
    *,
    name: str,
    state: str,
    since: float,
    runtime: str,
    values: Mapping[str, Any],
    latest: Mapping[str, float],
    returns: Sequence[float],
    return_window: float,
    failure: str = "",
    directory: str = "",
    held_by: str = "",
) -> str:
    """HTML of one session.

    Args:
        since: Unix seconds since which ``state`` holds.
        values: status of the runtime (``iteration``, ``num_iterations``, ``env_steps``, ...); may be empty.
        latest: metrics of the newest iteration.
        returns: mean return of each iteration, NaN where no episode ended.
        return_window: mean return over the latest episodes, or NaN.
        held_by: which other process gives the orders.
    """
    colour = TONES[state_tone(state)].text
    age = duration(time.time() - since)
    head = (
        f'<div><span style="color:{colour}">●</span> <b>{escape(name)}</b> '
        f'<span style="color:{colour};font-weight:600">{escape(state)}</span> '
        f'<span style="opacity:.65">for {age}, {escape(runtime)} runtime</span></div>'
    )
    parts = [head, _progress(values), _numbers(values, latest, returns, return_window)]
    if failure:
        parts.append(f'<pre style="color:#c0392b;white-space:pre-wrap;margin:.4em 0">{escape(failure)}</pre>')
    if held_by:
        parts.append(f"<div>Watching: {escape(held_by)} holds the controls.</div>")
    if directory:
        parts.append(f'<div style="opacity:.65;font-size:.9em">{escape(directory)}</div>')
    style = "border:1px solid rgba(128,128,128,.35);border-radius:8px;padding:.7em 1em;max-width:46em;line-height:1.5"
    return f'<div style="{style}">{"".join(parts)}</div>'


def table_html(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> str:
    """HTML of a table of texts; the sentence ``empty`` where there are no rows."""
    if not rows:
        return f"<div>{escape(empty)}</div>"
    cell = "text-align:left;vertical-align:top;padding:.2em .9em .2em 0"
    head = "".join(f'<th scope="col" style="{cell}">{escape(column)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{cell}">{escape(text)}</td>' for text in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _progress(values: Mapping[str, Any]) -> str:
    iteration, total = values.get("iteration", 0), values.get("num_iterations") or 0
    if not total:
        return ""
    share = min(max(iteration / total, 0.0), 1.0)
    return (
        f'<div role="progressbar" aria-label="iterations" aria-valuemin="0" aria-valuemax="{int(total)}" '
        f'aria-valuenow="{int(iteration)}" style="height:5px;border-radius:3px;background:rgba(128,128,128,.25);'
        f'margin:.4em 0"><div style="height:5px;border-radius:3px;width:{share:.1%};background:#2e8b57"></div></div>'
        f"<div>iteration <b>{number(iteration)}</b> of {number(total)}, "
        f"<b>{number(values.get('env_steps', 0))}</b> env steps</div>"
    )


def _numbers(
    values: Mapping[str, Any], latest: Mapping[str, float], returns: Sequence[float], return_window: float
) -> str:
    cells = []
    if return_window == return_window:
        curve = sparkline_svg(smooth([value for value in returns if value == value]), label="return so far")
        cells.append(_cell("return, latest episodes", f"{return_window:.2f}", curve))
    for metric, title in _SHOWN:
        if metric in latest:
            spec = METRICS[metric]
            unit = spec.unit if spec.unit not in title else ""
            cells.append(_cell(title, with_unit(latest[metric], "" if "/s" in unit else unit), title=spec.help))
    alive, workers = values.get("workers_alive"), values.get("workers")
    if workers:
        cells.append(_cell("workers", f"{alive} of {workers}"))
    if not cells:
        return ""
    return f'<div style="display:flex;flex-wrap:wrap;gap:.4em 1.6em;margin-top:.5em">{"".join(cells)}</div>'


def _cell(label: str, value: str, extra: str = "", title: str = "") -> str:
    hint = f' title="{escape(title)}"' if title else ""
    return (
        f'<div{hint}><div style="opacity:.65;font-size:.85em">{escape(label)}</div>'
        f'<div style="font-variant-numeric:tabular-nums"><b>{escape(value)}</b> {extra}</div></div>'
    )

"""Several runs beside each other: their curves, how they ended, and in which settings they differ."""

from __future__ import annotations

import base64
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from minestudio_nb.contracts.showing import shown_safely
from minestudio_nb.errors import RunError
from minestudio_nb.plotting import RunData, check_curves, chosen_metrics, read_run, read_session
from minestudio_nb.reading import ReadableSession
from minestudio_nb.runs import RunDirectory
from minestudio_nb.runs.table import state_colour
from minestudio_nb.widgets.figures import COLOURS, Axis, NotebookFigure, metrics_figure
from minestudio_nb.widgets.series import duration, number

__all__ = ["Comparison", "compare"]

NOT_COMPARED = ("train_config.resume", "generator_module")
"""Settings that say where a run's files are, not what it does."""
ABSENT = "–"
_CELL = "padding:.25em .8em;border-bottom:1px solid rgba(128,128,128,.25);text-align:left;vertical-align:top"


def compare(
    runs: Sequence[str | Path | ReadableSession] | str | Path | ReadableSession,
    metric: str | Sequence[str] = "return",
    smooth: float = 0.8,
    x: Axis = "iteration",
    *,
    run_root: str | Path = "runs",
) -> Comparison:
    """Compares runs, running and ended ones.

    Args:
        runs: names of runs in ``run_root``, paths of run directories, or sessions.
        metric: one or several metrics, in full or short (``"return"``, ``"entropy"``).
        smooth: weight of the moving average, 0 to below 1; 0 draws what was measured.
        x: ``"iteration"``, ``"step"`` (of environments) or ``"time"`` (since the start).

    Raises:
        RunError: there is no such run, or nothing to compare.
        TelemetryError: there is no such metric, with the nearest name.
    """
    check_curves(x, smooth)
    metrics = chosen_metrics(metric)
    wanted = [runs] if isinstance(runs, (str, Path, ReadableSession)) else list(runs)
    if not wanted:
        raise RunError("compare() needs runs: names, paths or sessions. ms.runs() lists those that there are.")
    return Comparison([_read(run, Path(run_root)) for run in wanted], metrics, smooth, x)


def _read(run: str | Path | ReadableSession, root: Path) -> RunData:
    if isinstance(run, ReadableSession):
        if run.state != "NEW":
            run.status()  # takes the newest points
        return read_session(run)
    path = Path(run)
    if isinstance(run, Path) or len(path.parts) > 1:
        return read_run(RunDirectory.open(path.parent, path.name))
    return read_run(RunDirectory.open(root, run))


class Comparison:
    """What :func:`compare` gives; at the end of a cell it shows curves, table and differences."""

    def __init__(self, runs: Sequence[RunData], metrics: Sequence[str], smooth: float, x: Axis) -> None:
        self._runs, self._metrics, self._smooth, self._x = _named_apart(runs), list(metrics), smooth, x

    @cached_property
    def figure(self) -> NotebookFigure:
        """The curves, one chart per metric. The part that a fork inherited is dashed, or its parent's own curve."""
        there = {run.directory for run in self._runs}
        tracks = [
            run.track(drawn_apart=run.origin is not None and Path(run.origin.parent_path) in there)
            for run in self._runs
        ]
        return metrics_figure(tracks, self._metrics, x=self._x, smoothing=self._smooth)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per run: where it came from, how long it is, its latest and its best mean return.

        Returns are means over the latest episodes; ``best_at`` is the iteration of the best one. Iterations, steps and
        minutes count what was inherited too.
        """
        return pd.DataFrame([_summary(run, self._metrics) for run in self._runs]).set_index("run")

    @cached_property
    def diff(self) -> pd.DataFrame:
        """One row per setting in which the runs differ, one column per run; live edits as ``before → after @ k``."""
        values = {run.name: _settings_with_edits(run) for run in self._runs}
        keys = dict.fromkeys(key for settings in values.values() for key in settings if key not in NOT_COMPARED)
        rows = {key: [settings.get(key, ABSENT) for settings in values.values()] for key in keys}
        differing = {key: row for key, row in rows.items() if any(_text(each) != _text(row[0]) for each in row[1:])}
        frame = pd.DataFrame(index=list(differing), columns=list(values), dtype=object)
        for key, row in differing.items():
            frame.loc[key] = pd.Series(row, index=frame.columns, dtype=object)
        return frame.rename_axis("setting")

    def __repr__(self) -> str:
        differences = self.diff.map(_text).to_string() if len(self.diff) else "The settings are the same."
        return f"{self.table.to_string()}\n\n{differences}"

    @shown_safely
    def _repr_html_(self) -> str:
        names = "".join(
            f'<th style="{_CELL};font-weight:600"><span style="color:{colour}">■</span> {escape(run.name)}</th>'
            for run, colour in self._coloured()
        )
        return (
            f'<div style="max-width:72em;line-height:1.45"><img alt="curves of {escape(self._listed())}" '
            f'style="width:100%;max-width:{_pixels(self.figure)}px" src="data:image/png;base64,{_png(self.figure)}">'
            f'<div style="overflow-x:auto">{self._table_html()}{self._diff_html(names)}</div></div>'
        )

    def _listed(self) -> str:
        return ", ".join(run.name for run in self._runs)

    def _coloured(self) -> list[tuple[RunData, str]]:
        return [(run, COLOURS[index % len(COLOURS)]) for index, run in enumerate(self._runs)]

    def _table_html(self) -> str:
        heads = ("run", "state", "from", "iterations", "env steps", "time", "return, latest", "best", "steps/s")
        rows = []
        for (run, colour), (_, row) in zip(self._coloured(), self.table.iterrows(), strict=True):
            best = "" if math.isnan(row["best"]) else f"{number(row['best'])} @ {number(row['best_at'])}"
            cells = (
                f'<span style="color:{colour}">■</span> <b>{escape(run.name)}</b>',
                f'<span style="color:{state_colour(run.state)}">●</span> {escape(run.state.lower())}',
                escape(row["parent"]),
                number(row["iterations"]),
                number(row["env_steps"]),
                duration(row["minutes"] * 60),
                number(row["return"]),
                best,
                number(row["steps_per_second"]),
            )
            rows.append("<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>")
        return _html_table("".join(f'<th style="{_CELL};font-weight:500;opacity:.7">{h}</th>' for h in heads), rows)

    def _diff_html(self, names: str) -> str:
        if self.diff.empty:
            return '<p style="opacity:.7;margin:.8em">The settings are the same.</p>'
        rows = []
        for key, row in self.diff.iterrows():
            cells = [
                f'<td style="{_CELL}{"" if _text(value) == _text(row.iloc[0]) else ";font-weight:600"}">'
                f"{escape(_text(value))}</td>"
                for value in row
            ]
            rows.append(f'<tr><td style="{_CELL}"><code>{escape(str(key))}</code></td>{"".join(cells)}</tr>')
        return _html_table(f'<th style="{_CELL};font-weight:500;opacity:.7">settings that differ</th>{names}', rows)


def _html_table(head: str, rows: Sequence[str]) -> str:
    return (
        '<table style="border-collapse:collapse;font-size:.92em;font-variant-numeric:tabular-nums;margin:.8em 0">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _named_apart(runs: Sequence[RunData]) -> list[RunData]:
    """Runs of the same name in different directories are told apart by these."""
    names = [run.name for run in runs]
    return [
        replace(run, name=f"{run.directory.parent.name}/{run.name}") if names.count(run.name) > 1 else run
        for run in runs
    ]


def _summary(run: RunData, metrics: Sequence[str]) -> dict[str, Any]:
    points = run.points
    last: Mapping[str, Any] = points[-1] if points else {"iteration": 0, "env_steps": 0, "elapsed": 0.0, "values": {}}
    window = [(_number(point["values"].get("episode/return_window")), point["iteration"]) for point in points]
    window = [(value, iteration) for value, iteration in window if not math.isnan(value)]
    best, best_at = max(window, key=lambda each: each[0], default=(math.nan, 0))
    own = points[run.inherited :]
    speeds = [_number(point["values"].get("rollout/steps_per_second")) for point in own]
    speeds = [speed for speed in speeds if not math.isnan(speed)]
    origin = run.origin
    row = {
        "run": run.name,
        "state": run.state,
        "parent": "" if origin is None else f"{origin.parent} @ {origin.iteration}",
        "iterations": last["iteration"],
        "env_steps": last["env_steps"],
        "minutes": last["elapsed"] / 60,
        "return": window[-1][0] if window else math.nan,
        "best": best,
        "best_at": best_at,
        "steps_per_second": statistics.median(speeds) if speeds else math.nan,
    }
    for metric in metrics:
        if not metric.startswith("episode/return"):
            row[metric] = _number(last["values"].get(metric))
    return row


def _settings_with_edits(run: RunData) -> Mapping[str, Any]:
    """The settings of a run; those that were edited while it ran with all their values."""
    settings = dict(run.settings)
    for event in run.events:
        key = event.data.get("key") if event.kind == "edit" and event.severity == "info" else None
        if key in settings:
            settings[key] = f"{_text(settings[key])} → {_text(event.data.get('value'))} @ {event.iteration}"
    return settings


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _pixels(figure: NotebookFigure) -> int:
    return round(figure.get_figwidth() * 100)


def _png(figure: NotebookFigure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return base64.b64encode(buffer.getvalue()).decode("ascii")

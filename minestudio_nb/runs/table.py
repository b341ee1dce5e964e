"""The runs of a directory as a DataFrame that reads well in a notebook."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from minestudio_nb.contracts.looks import TONES, state_tone
from minestudio_nb.contracts.showing import shown_safely
from minestudio_nb.runs.summary import RunSummary, summaries

__all__ = ["COLUMNS", "RunsTable", "runs_table", "state_colour"]

COLUMNS = (
    "name",
    "state",
    "config",
    "task",
    "iterations",
    "env_steps",
    "return",
    "started",
    "seconds",
    "parent",
    "parent_iteration",
    "note",
)

SHOWN = 60
"""Newest runs that a notebook shows; the DataFrame has all of them."""


class RunsTable(pd.DataFrame):  # type: ignore[misc]  # pandas comes without types
    """A DataFrame with one row per run, see :func:`runs_table`. What is taken out of it is a plain DataFrame."""

    _metadata = ["root"]  # noqa: RUF012  pandas reads it

    root: str

    @shown_safely
    def _repr_html_(self) -> str:
        return table_html(self.to_dict("records"), self.root)


def runs_table(run_root: str | os.PathLike[str] = "runs") -> RunsTable:
    """The runs below ``run_root``, running and ended ones, the newest first.

    Columns: ``name``, ``state`` (see :class:`RunSummary`), ``config``, ``task``, ``iterations``, ``env_steps``,
    ``return`` (mean over the latest episodes), ``started`` (UTC), ``seconds`` (from the start to the last sign of
    life), ``parent`` and ``parent_iteration`` (the run and the iteration it was forked or resumed from) and ``note``. A
    directory that is not a run, or is damaged, has a row too, with the reason in ``note``.
    """
    table = RunsTable([_row(run) for run in summaries(run_root)], columns=list(COLUMNS))
    table["started"] = pd.to_datetime(table["started"], unit="s", utc=True)
    table["parent_iteration"] = table["parent_iteration"].astype("Int64")
    table.root = str(Path(run_root))
    return table


def _row(run: RunSummary) -> dict[str, Any]:
    origin = run.origin
    return {
        "name": run.name,
        "state": run.state,
        "config": run.config,
        "task": run.task,
        "iterations": run.iterations,
        "env_steps": run.env_steps,
        "return": run.episode_return,
        "started": run.started,
        "seconds": run.seconds,
        "parent": "" if origin is None else origin.parent,
        "parent_iteration": None if origin is None else origin.iteration,
        "note": run.note,
    }


def state_colour(state: str) -> str:
    """The colour that stands for a state, of a run or of a session, on light and on dark ground."""
    return TONES[state_tone(state)].text


def table_html(rows: Sequence[dict[str, Any]], root: str) -> str:
    """The rows of a :class:`RunsTable` as HTML without script; all texts escaped, colours fit light and dark."""
    if not rows:
        return f'<p style="opacity:.7">There is no run in <code>{escape(root)}</code> yet.</p>'
    heads = ("run", "state", "configuration", "iterations", "env steps", "return", "started (UTC)", "took", "from")
    right = (3, 4, 5, 7)
    cell = "padding:.3em .8em;border-bottom:1px solid rgba(128,128,128,.25);vertical-align:top;"
    head = "".join(
        f'<th style="{cell}font-weight:500;opacity:.7;text-align:{"right" if index in right else "left"}">{text}</th>'
        for index, text in enumerate(heads)
    )
    body = "".join(_row_html(row, cell, right) for row in rows[:SHOWN])
    count = "1 run" if len(rows) == 1 else f"{len(rows)} runs"
    if len(rows) > SHOWN:
        count = f"The newest {SHOWN} of {count}"
    return (
        '<div style="max-width:100%;overflow-x:auto"><table style="border-collapse:collapse;font-size:.92em;'
        f'font-variant-numeric:tabular-nums"><caption style="text-align:left;opacity:.7;padding:.2em .8em">{count} in '
        f"{escape(root)}, the newest first</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row_html(row: dict[str, Any], cell: str, right: Sequence[int]) -> str:
    state, note = str(row["state"]), str(row["note"] or "")
    config = row["config"] or row["task"]
    if row["config"] and row["task"] not in ("", "default", row["config"]):
        config = f"{row['config']} · {row['task']}"
    parent = f"{row['parent']} @ {row['parent_iteration']}" if row["parent"] else ""
    if note:
        note = f'<div style="opacity:.7;font-size:.9em;max-width:28em;white-space:normal">{escape(_short(note))}</div>'
    values = (
        f"<b>{escape(str(row['name']))}</b>{note}",
        f'<span style="color:{state_colour(state)}">●</span> {escape(state.lower())}',
        escape(str(config)),
        f"{row['iterations']:,}" if row["iterations"] else "",
        f"{row['env_steps']:,}" if row["env_steps"] else "",
        "" if _missing(row["return"]) else f"{row['return']:.2f}",
        "" if _missing(row["started"]) else f"{row['started']:%Y-%m-%d %H:%M}",
        _took(row["seconds"]),
        escape(parent),
    )
    return (
        "<tr>"
        + "".join(
            f'<td style="{cell}white-space:nowrap;text-align:{"right" if index in right else "left"}">{value}</td>'
            for index, value in enumerate(values)
        )
        + "</tr>"
    )


def _missing(value: Any) -> bool:
    return value is None or value != value or value is pd.NaT


def _short(text: str, length: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _took(seconds: float) -> str:
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"

"""What there is to say about a run from its directory alone, and quickly: of long files only the end is read."""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minestudio_nb.errors import RunError
from minestudio_nb.runs.directory import RunDirectory
from minestudio_nb.runs.presence import SessionRecord
from minestudio_nb.runs.record import Origin, RunRecord, is_alive

__all__ = ["RunSummary", "last_row", "summaries", "summarize"]

TAIL_BYTES = 32_768
"""Read at first from the end of a file; a line of metrics has about 3,000 bytes."""
SILENCE_SECONDS = 900.0
"""A run whose processes cannot be looked at counts as running while its files were written to within this time."""
_GO_ON = "its processes are gone; load_config(..., resume={!r}) goes on from its checkpoint"
NOTHING = "holds no file of a run"
_FILES = ("run.json", "config.yaml", "metrics.jsonl", "events.jsonl", "cluster.json")


@dataclass(frozen=True)
class RunSummary:
    """One row of the table of runs. Numbers are NaN, and texts empty, where nothing is known."""

    name: str
    path: Path
    state: str
    """``CONFIGURED`` (a fork not started yet), ``RUNNING``, ``FINISHED`` (by a rule of its configuration), ``STOPPED``
    (by somebody), ``FAILED``, ``INTERRUPTED`` (its processes are gone without a word), ``UNKNOWN`` (they are elsewhere,
    and silent), or ``UNREADABLE`` (not a run, or damaged; ``note`` says why)."""
    config: str = ""
    task: str = ""
    iterations: int = 0
    env_steps: int = 0
    episode_return: float = math.nan
    """Mean return over the latest episodes."""
    started: float = math.nan
    """Unix seconds."""
    seconds: float = math.nan
    """From the first start to the last sign of life."""
    origin: Origin | None = None
    note: str = ""


def summaries(root: str | os.PathLike[str]) -> list[RunSummary]:
    """Every directory in ``root``, the newest run first; hidden ones are left out. Never raises for what is in them."""
    base = Path(root).expanduser()
    found = []
    for entry in sorted(base.iterdir()) if base.is_dir() else ():
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        try:
            found.append(summarize(entry))
        except (RunError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            found.append(RunSummary(entry.name, entry, "UNREADABLE", note=str(error)))
    return sorted(found, key=lambda run: (math.isnan(run.started), -run.started if run.started == run.started else 0.0))


def summarize(path: Path) -> RunSummary:
    """The summary of the run in ``path``. Raises RunError when that is not a run, or when its record is damaged."""
    run = RunDirectory(path.parent, path.name)
    if not any((run.path / name).is_file() for name in _FILES):
        return RunSummary(path.name, path, "UNREADABLE", note=NOTHING)
    record = RunRecord.read(run.path)
    point = next((row for row in _rows_from_the_end(run.metrics) if isinstance(row.get("values"), dict)), {})
    last_sign = max([_number(point.get("time")), *_written(run)], key=lambda moment: (moment == moment, moment))
    started = _started(run, record)
    state, note = _state(run, record, last_sign)
    if record is not None and record.ended_at is not None:
        last_sign = record.ended_at
    if state == "RUNNING":
        last_sign = time.time()
    return RunSummary(
        name=path.name,
        path=run.path,
        state=state,
        config=record.config if record else "",
        task=record.task if record else "",
        iterations=int(point.get("iteration") or 0),
        env_steps=int(point.get("env_steps") or 0),
        episode_return=_number(point.get("values", {}).get("episode/return_window")),
        started=started,
        seconds=math.nan if state == "CONFIGURED" else max(0.0, last_sign - started),
        origin=record.origin if record else None,
        note=note,
    )


def _state(run: RunDirectory, record: RunRecord | None, last_sign: float) -> tuple[str, str]:
    """The state, and what one should know about it."""
    if record is not None and record.started_at is None:
        return "CONFIGURED", "forked, and not started yet"
    since = record.started_at if record is not None and record.started_at is not None else -math.inf
    told = _told_end(run, since)
    if told is not None and told[0] != "STOPPED":
        return told
    if record is not None and record.ended_at is not None:
        return record.ended_as or "STOPPED", record.reason
    if told is not None:
        return told
    keeper = _keeper_alive(run)
    if keeper or _cluster_alive(run) or (record is not None and not record.detached and record.process_alive):
        return "RUNNING", ""
    if keeper is False:
        return "INTERRUPTED", _GO_ON.format(run.name)
    if record is None or not record.here or (record.detached and not run.cluster.is_file()):
        return _by_silence(last_sign)
    return "INTERRUPTED", _GO_ON.format(run.name)


def _keeper_alive(run: RunDirectory) -> bool | None:
    """Whether the process that ``session.json`` names runs on this machine; None where that cannot be known."""
    try:
        keeper = SessionRecord.read(run.session)
    except RunError:
        return None
    if keeper is None or keeper.closed or keeper.host != socket.gethostname():
        return None
    return is_alive(keeper.pid, keeper.create_time)


def _by_silence(last_sign: float) -> tuple[str, str]:
    silence = time.time() - last_sign
    if silence < SILENCE_SECONDS:
        return "RUNNING", ""
    return "UNKNOWN", f"its processes cannot be seen from here, and it wrote nothing for {silence / 60:.0f} minutes"


def _told_end(run: RunDirectory, since: float) -> tuple[str, str] | None:
    """State and reason as the newest event after ``since`` says that training ended or failed."""
    for event in _rows_from_the_end(run.events):
        if _number(event.get("time")) < since:
            return None
        kind, message = event.get("kind"), str(event.get("message", ""))
        if kind == "failure" and event.get("severity") == "error":
            return "FAILED", message
        if kind == "state" and message.startswith("Training ended"):
            reason = message.removeprefix("Training ended").strip(": .")
            return ("STOPPED", "") if reason == "stopped" else ("FINISHED", f"ended by {reason}")
    return None


def _cluster_alive(run: RunDirectory) -> bool:
    """Whether the head that ``cluster.json`` names runs on this machine."""
    if not run.cluster.is_file():
        return False
    try:
        record = run.read_json(run.cluster.name)
        return is_alive(int(record["pid"]), float(record["create_time"]))
    except (RunError, KeyError, TypeError, ValueError):
        return False


def _started(run: RunDirectory, record: RunRecord | None) -> float:
    if record is not None:
        return record.created_at
    for path in (run.events, run.metrics):
        if path.is_file():
            with path.open("rb") as file:
                row = _parsed(file.readline(1_000_000))
            if row is not None and math.isfinite(_number(row.get("time"))):
                return _number(row["time"])
    return min(_written(run), default=math.nan)


def _written(run: RunDirectory) -> list[float]:
    return [path.stat().st_mtime for path in (run.config, run.metrics, run.events) if path.is_file()]


def last_row(path: Path) -> dict[str, Any] | None:
    """The last whole object of a ``.jsonl`` file; None where there is none, or where it cannot be read."""
    try:
        return next(_rows_from_the_end(path), None)
    except OSError:
        return None


def _rows_from_the_end(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a ``.jsonl`` file, the last first, as far as somebody asks; torn and foreign lines left out."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        size, rest = TAIL_BYTES, b""
        while end > 0:
            begin = max(0, end - size)
            file.seek(begin)
            lines = (file.read(end - begin) + rest).split(b"\n")
            rest = lines.pop(0) if begin > 0 else b""
            for line in reversed(lines):
                row = _parsed(line)
                if row is not None:
                    yield row
            end, size = begin, size * 2


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan

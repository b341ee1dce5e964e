"""Small values that a session hands out: its status, its goal while it is waited for, its stop report."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minestudio_nb.contracts.showing import shown_safely

if TYPE_CHECKING:
    from minestudio_nb.runtime.listing import FoundSession

__all__ = ["Goal", "SessionStatus", "SessionTable", "StopReport"]


def shown_path(path: Path) -> str:
    """``path`` as people read it: relative where it lies below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


@dataclass(frozen=True)
class Goal:
    """What somebody waits for; the first goal that is reached counts. Without any, the end of training."""

    iterations: int | None = None
    env_steps: int | None = None
    target_return: float | None = None
    timeout: float | None = None
    began: float = field(default_factory=time.monotonic)

    def reached(self, status: Mapping[str, Any], return_window: float) -> bool:
        """Whether one of the goals holds for this status and mean return over the latest episodes."""
        if self.iterations is not None and status.get("iteration", 0) >= self.iterations:
            return True
        if self.env_steps is not None and status.get("env_steps", 0) >= self.env_steps:
            return True
        return self.target_return is not None and return_window >= self.target_return

    def expired(self) -> bool:
        """Whether the timeout has passed."""
        return self.timeout is not None and time.monotonic() - self.began > self.timeout

    def __str__(self) -> str:
        names = ("iterations", "env_steps", "target_return")
        wanted = [f"{name}={getattr(self, name)}" for name in names if getattr(self, name) is not None]
        return "goal " + ", ".join(wanted) if wanted else "the end of training"


@dataclass(frozen=True)
class SessionStatus:
    """What a session is doing, at one moment."""

    name: str
    state: str
    since: float
    runtime: str
    values: Mapping[str, Any]
    """The runtime's status, see :class:`minestudio_nb.runtime.base.Snapshot`."""
    latest: Mapping[str, float]
    """Metrics of the newest iteration."""
    returns: Sequence[float]
    return_window: float
    failure: str
    directory: str
    held_by: str = ""
    """Which other process gives the orders; empty where this one may."""

    @property
    def iteration(self) -> int:
        """Iterations finished."""
        return int(self.values.get("iteration", 0))

    @property
    def env_steps(self) -> int:
        """Environment steps collected."""
        return int(self.values.get("env_steps", 0))

    def __str__(self) -> str:
        parts = [f"OnlineSession {self.name!r}: {self.state}"]
        if self.values:
            parts.append(f"iteration {self.iteration} of {self.values.get('num_iterations', '?')}")
            parts.append(f"{self.env_steps:,} env steps")
        if not math.isnan(self.return_window):
            parts.append(f"return {self.return_window:.2f} (latest episodes)")
        speed = self.latest.get("rollout/steps_per_second")
        if speed is not None and not math.isnan(speed):
            parts.append(f"{speed:.0f} steps/s")
        if self.failure:
            parts.append(f"failed: {self.failure}")
        if self.held_by:
            parts.append(f"watching; {self.held_by} holds the controls")
        return ", ".join(parts)

    __repr__ = __str__

    @shown_safely
    def _repr_html_(self) -> str:
        from minestudio_nb.widgets.session_html import session_html

        return session_html(
            name=self.name,
            state=self.state,
            since=self.since,
            runtime=self.runtime,
            values=self.values,
            latest=self.latest,
            returns=self.returns,
            return_window=self.return_window,
            failure=self.failure,
            directory=self.directory,
            held_by=self.held_by,
        )


class SessionTable(Sequence["FoundSession"]):
    """What ``OnlineSession.list()`` found: a sequence, and a table where it is the value of a cell."""

    COLUMNS = ("name", "state", "iteration", "since", "where", "note")

    def __init__(self, found: Sequence[FoundSession], run_root: Path) -> None:
        self._found = tuple(found)
        self._root = run_root

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, index: Any) -> Any:
        return self._found[index]

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (found.name, found.state, f"{found.iteration:,}", _clock(found.since), found.where, found.note)
            for found in self._found
        ]

    def _nothing(self) -> str:
        return f"No session runs below {shown_path(self._root)}."

    def __str__(self) -> str:
        if not self._found:
            return self._nothing()
        rows = [self.COLUMNS, *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(self.COLUMNS))]
        lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__

    @shown_safely
    def _repr_html_(self) -> str:
        from minestudio_nb.widgets.session_html import table_html

        return table_html(self.COLUMNS, self._rows(), empty=self._nothing())


def _clock(moment: float) -> str:
    """Date and time of day, as they are here."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


@dataclass(frozen=True)
class StopReport:
    """What a session did and what it left on disk."""

    name: str
    iterations: int
    env_steps: int
    return_window: float
    stop_reason: str
    failure: str
    seconds_to_stop: float
    files: Mapping[str, str]
    """What was saved: kind -> path."""

    @classmethod
    def collect(cls, status: SessionStatus, directory: Path | None, seconds: float) -> StopReport:
        """The report of a session that ended with ``status`` and wrote into ``directory``."""
        wanted = ("config.yaml", "metrics.jsonl", "events.jsonl", "episodes.jsonl", "checkpoints", "report.html")
        paths = {} if directory is None else {name: directory / name for name in wanted}
        files = {name: shown_path(path) for name, path in paths.items() if _is_there(path)}
        return cls(
            name=status.name,
            iterations=status.iteration,
            env_steps=status.env_steps,
            return_window=status.return_window,
            stop_reason=str(status.values.get("stop_reason") or "stop() was called"),
            failure=status.failure,
            seconds_to_stop=seconds,
            files=files,
        )

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.iterations} iterations, {self.env_steps:,} env steps"]
        lines += [f"  ended: {self.failure or self.stop_reason}"]
        if not math.isnan(self.return_window):
            lines.append(f"  mean return over the latest episodes: {self.return_window:.2f}")
        lines += [f"  {kind}: {path}" for kind, path in self.files.items()]
        return "\n".join(lines)

    __repr__ = __str__


def _is_there(path: Path) -> bool:
    """Whether there is such a file, or such a folder with something in it."""
    return any(path.iterdir()) if path.is_dir() else path.exists()

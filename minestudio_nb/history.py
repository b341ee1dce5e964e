"""What a session has seen of its run: points, events, episodes, edits and the newest status."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.fragments import EpisodeSummary
from minestudio_nb.contracts.telemetry import METRICS, Event
from minestudio_nb.runtime.base import Cursor, Snapshot
from minestudio_nb.telemetry import read_history

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["History"]


class History:
    """Grows by the snapshots of a runtime; :meth:`reload` replaces it by what the run wrote to disk.

    ``points`` are ``{iteration, time, env_steps, values, tasks}``, one per iteration; ``status`` and ``held_by`` are
    those of the newest snapshot, see :class:`minestudio_nb.runtime.base.Snapshot`.
    """

    def __init__(self) -> None:
        self.cursor = Cursor()
        self.status: Mapping[str, Any] = {}
        self.points: list[Mapping[str, Any]] = []
        self.events: list[Event] = []
        self.episodes: list[Mapping[str, Any]] = []
        self.edits: Sequence[Edit] = ()
        self.held_by = ""

    def absorb(self, snapshot: Snapshot, directory: Path | None = None) -> None:
        """Takes a snapshot's news. What it no longer holds (a runtime keeps the newest few thousand) is read from the
        run's ``directory``, as far as that can be seen from here."""
        if directory is not None and self._misses(snapshot):
            self._catch_up(snapshot, directory)
        if snapshot.cursor.rewinds != self.cursor.rewinds:  # the runtime went back to a checkpoint, and sent all anew
            del self.points[snapshot.cursor.points - len(snapshot.points) :]
            del self.episodes[snapshot.cursor.episodes - len(snapshot.episodes) :]
        self.cursor = snapshot.cursor
        self.status = snapshot.status
        self.points.extend(snapshot.points)
        self.events.extend(snapshot.events)
        self.episodes.extend(snapshot.episodes)
        self.edits = snapshot.edits
        self.held_by = snapshot.held_by

    def _misses(self, snapshot: Snapshot) -> bool:
        now, then = snapshot.cursor, self.cursor
        return (
            now.points - len(snapshot.points) > then.points
            or now.events - len(snapshot.events) > then.events
            or now.episodes - len(snapshot.episodes) > then.episodes
        )

    def _catch_up(self, snapshot: Snapshot, directory: Path) -> None:
        """Takes what lies between the last snapshot and this one from the files, which number things alike."""
        written = read_history(directory)
        now, then = snapshot.cursor, self.cursor
        first = now.points - len(snapshot.points)
        same = written.points[first]["time"] if len(written.points) > first else None
        if snapshot.points and same not in (None, snapshot.points[0]["time"]):
            return  # another run of this name
        self.points.extend(written.points[then.points : first])
        self.events.extend(written.events[then.events : now.events - len(snapshot.events)])
        self.episodes.extend(written.episodes[then.episodes : now.episodes - len(snapshot.episodes)])

    def reload(self, directory: Path) -> None:
        """Reads everything that the run in ``directory`` wrote, also what came after the last snapshot."""
        if not directory.is_dir():
            return
        written = read_history(directory)
        self.points = list(written.points) or self.points
        self.events = list(written.events) or self.events
        self.episodes = list(written.episodes) or self.episodes

    @property
    def return_window(self) -> float:
        """Mean return over the latest episodes (``episode_statistics_config.window``), or NaN before the first."""
        return float(self.status.get("return_window", math.nan))

    @property
    def window_is_full(self) -> bool:
        """Whether as many episodes as the window holds have finished; a few lucky ones reach no goal."""
        return bool(self.status.get("window_full"))

    def metrics_frame(self) -> pd.DataFrame:
        """One row per iteration: ``iteration``, ``time`` (Unix seconds), ``env_steps``, and a column per metric.

        Metrics are in the order of their catalogue; NaN where one was not measured. ``frame.attrs["units"]`` has the
        unit of each column.
        """
        import pandas as pd

        columns = ("iteration", "time", "env_steps")
        frame = pd.DataFrame([{**{k: point[k] for k in columns}, **point["values"]} for point in self.points])
        measured = [name for name in METRICS if name in frame.columns]
        frame = frame.reindex(columns=[*columns, *measured])
        frame.attrs["units"] = {"time": "s", "env_steps": "steps", **{name: METRICS[name].unit for name in measured}}
        return frame

    def tasks_frame(self) -> pd.DataFrame:
        """One row per task, from the newest point."""
        import pandas as pd

        latest = self.points[-1].get("tasks", {}) if self.points else {}
        return pd.DataFrame.from_dict(latest, orient="index")

    def episodes_frame(self) -> pd.DataFrame:
        """One row per finished training episode."""
        import pandas as pd

        columns = None if self.episodes else [member.name for member in fields(EpisodeSummary)]
        return pd.DataFrame(list(self.episodes), columns=columns)

    def events_frame(self) -> pd.DataFrame:
        """One row per event."""
        import pandas as pd

        names = [member.name for member in fields(Event)]
        return pd.DataFrame([event.to_dict() for event in self.events], columns=names)

"""The one place where the numbers, events and episodes of a session come together.

::

    workers, trainer --metrics/event/episodes--> Hub --iteration(k)--> point k --> metrics.jsonl, exporters
                                                  |
                         news(points=n, ...)  <---+   widgets and sessions read what they have not seen

The files are the source of truth: :meth:`Hub.reload` restores a hub from them after its process died.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.contracts.fragments import EpisodeSummary
from minestudio_nb.contracts.telemetry import METRICS, Event, MetricBatch, Stat, merge_batches
from minestudio_nb.telemetry.episode_statistics import EpisodeStatistics
from minestudio_nb.telemetry.exporters import Exporter, ExporterThread
from minestudio_nb.telemetry.files import JsonLinesFile, RunFiles, read_json_lines
from minestudio_nb.telemetry.resources import ResourceMeter

__all__ = ["RETURN_WINDOW", "Hub", "News", "Point", "read_history"]

_logger = logging.getLogger(__name__)

RETURN_WINDOW = 50
"""Usual number of episodes in ``episode/return_window``."""
POINTS_KEPT, EVENTS_KEPT, EPISODES_KEPT = 10_000, 2_000, 5_000
"""Sizes of the ring buffers; a point takes about 3 KB. What left them is still in the files."""

Point = Mapping[str, Any]
"""One closed iteration: ``iteration``, ``time`` (Unix seconds), ``env_steps`` (total), ``values`` (name -> float), and
``tasks`` (task -> the fields of :class:`TaskStatistics` by name)."""

STORE_FULL, STORE_FREE = 0.8, 0.65
"""Share of Ray's object store from which it counts as full, since Ray moves objects to disk from there on, and below
which it no longer does."""

T = TypeVar("T")


@dataclass(frozen=True)
class News:
    """What a hub holds beyond what the reader has seen. The three numbers go into the next :meth:`Hub.news`."""

    points: Sequence[Point] = ()
    events: Sequence[Event] = ()
    episodes: Sequence[Mapping[str, Any]] = ()
    """:class:`EpisodeSummary` as dicts, ``stream`` as ``[worker, env]``."""
    points_seen: int = 0
    events_seen: int = 0
    episodes_seen: int = 0
    rewinds: int = 0
    """Grows whenever what a reader has seen may no longer hold: what came after a checkpoint was taken back, see
    :meth:`Hub.rewind`, or another hub took over."""


class _Ring(Generic[T]):
    """The newest items of a numbered sequence."""

    def __init__(self, capacity: int) -> None:
        self.total = 0
        self._items: deque[T] = deque(maxlen=capacity)

    def add(self, item: T) -> None:
        self._items.append(item)
        self.total += 1

    def since(self, number: int) -> list[T]:
        """Items from ``number`` on, as far as they are still held."""
        new = min(max(self.total - number, 0), len(self._items))
        return list(islice(self._items, len(self._items) - new, None))

    def last(self) -> T | None:
        return self._items[-1] if self._items else None

    def cut(self, is_later: Callable[[T], bool]) -> int:
        """Removes items from the end for as long as ``is_later``; how many."""
        before = self.total
        while self._items and is_later(self._items[-1]):
            self._items.pop()
            self.total -= 1
        return before - self.total


class Hub:
    """Implements :class:`minestudio_nb.contracts.protocols.TelemetrySink`. Any thread may call any method.

    The sink methods never raise and never wait for an exporter. What goes wrong inside (a metric that nobody declared,
    a full disk, a failing exporter) becomes a warning event, once per cause.

    Args:
        files: where ``metrics.jsonl``, ``events.jsonl`` and ``episodes.jsonl`` go; None keeps everything in memory.
        exporters: further receivers of points and events; they run on a thread of their own.
        resources: what the session uses of its machine, for the metrics ``system/...``.
        window: episodes in ``episode/return_window``.
        hide: takes secrets out of what events say, before anybody sees them.
        rewinds: where :attr:`News.rewinds` begins. A hub that replaces another begins above it, so that readers of the
            other notice.
    """

    def __init__(
        self,
        files: RunFiles | None = None,
        exporters: Iterable[Exporter] = (),
        resources: ResourceMeter | None = None,
        window: int = RETURN_WINDOW,
        hide: Callable[[Any], Any] | None = None,
        rewinds: int = 0,
    ) -> None:
        self._lock = threading.RLock()
        self._hide = hide
        self._points: _Ring[Point] = _Ring(POINTS_KEPT)
        self._events: _Ring[Event] = _Ring(EVENTS_KEPT)
        self._episodes: _Ring[Mapping[str, Any]] = _Ring(EPISODES_KEPT)
        self._statistics = EpisodeStatistics(window)
        self._open: MetricBatch = {}
        self._open_episodes: list[EpisodeSummary] = []
        self._env_steps = 0
        self._begun_with = 0
        self._rewinds = rewinds
        self._closed_at = math.nan
        self._warned: set[str] = set()
        self._resources = resources
        self._files: dict[str, JsonLinesFile] = {}
        if files is not None:
            paths = {"metrics": files.metrics, "events": files.events, "episodes": files.episodes}
            self._files = {name: JsonLinesFile(path) for name, path in paths.items()}
        self._exporters = ExporterThread(exporters, self.event)
        self._exporters.start()

    @classmethod
    def reload(
        cls,
        files: RunFiles,
        exporters: Iterable[Exporter] = (),
        resources: ResourceMeter | None = None,
        window: int = RETURN_WINDOW,
        hide: Callable[[Any], Any] | None = None,
        rewinds: int = 0,
    ) -> Hub:
        """A hub that goes on where the one that wrote ``files`` stopped. What was merged but not closed is lost."""
        hub = cls(files, (), resources, window, hide, rewinds)
        history = _read(files.metrics, files.events, files.episodes)
        for point in history.points:
            hub._points.add(point)
        for event in history.events:
            hub._events.add(event)
        for episode in history.episodes:
            hub._episodes.add(episode)
            hub._count(episode)
        if history.points:
            hub._env_steps = int(history.points[-1]["env_steps"])
        hub._exporters = ExporterThread(exporters, hub.event)
        hub._exporters.start()  # last: their events come after the history
        if history.points:
            hub._exporters.rewind(history.points[-1])  # they go on from there, whatever else they got
        return hub

    # The sink: what the parts of the system call.

    def metrics(self, batch: MetricBatch) -> None:
        """Merges ``batch`` into the open iteration."""
        with self._lock:
            self._merge(batch)

    def iteration(self, iteration: int, batch: MetricBatch) -> None:
        """Merges ``batch`` and closes iteration ``iteration``: one point, with all that was added since the last."""
        use = {} if self._resources is None else self._resources.values()  # takes milliseconds: not under the lock
        with self._lock:
            self._merge(batch)
            self._look_at_store(use)
            now = time.time()
            self._derive(now, use)
            values = {name: self._open[name].value(METRICS[name].reduction) for name in METRICS if name in self._open}
            tasks = {name: vars(statistics) for name, statistics in self._statistics.tasks().items()}
            point = {
                "iteration": iteration,
                "time": now,
                "env_steps": self._env_steps,
                "values": values,
                "tasks": tasks,
            }
            self._open, self._open_episodes, self._closed_at = {}, [], now
            self._points.add(point)
            self._write("metrics", [point])
            self._exporters.point(point)

    def event(self, event: Event) -> None:
        """Keeps, writes and exports one event."""
        if self._hide is not None:
            event = replace(event, message=self._hide(event.message), data=self._hide(event.data))
        with self._lock:
            self._events.add(event)
            self._write("events", [vars(event)])
        self._exporters.event(event)

    def episodes(self, episodes: Sequence[EpisodeSummary]) -> None:
        """Keeps and writes finished episodes; they count in the open iteration's ``episode/`` metrics."""
        rows = [
            {**vars(episode), "stream": list(episode.stream), "extras": dict(episode.extras)} for episode in episodes
        ]
        with self._lock:
            self._open_episodes.extend(episodes)
            for row in rows:
                self._episodes.add(row)
                self._count(row)
            self._write("episodes", rows)

    # For readers.

    def news(self, points: int = 0, events: int = 0, episodes: int = 0, rewinds: int | None = None) -> News:
        """What came after the first ``points`` points, ``events`` events and ``episodes`` episodes of the session.

        A reader that gives another number of ``rewinds`` than there is now gets all points and episodes that are held.
        """
        with self._lock:
            if rewinds not in (None, self._rewinds):
                points = episodes = 0
            return News(
                self._points.since(points),
                self._events.since(events),
                self._episodes.since(episodes),
                self._points.total,
                self._events.total,
                self._episodes.total,
                self._rewinds,
            )

    def return_window(self) -> float:
        """Mean return over the newest finished episodes, at most ``window`` of them; NaN before the first."""
        with self._lock:
            return self._statistics.return_window()

    def window_size(self) -> int:
        """How many episodes :meth:`return_window` is the mean of."""
        with self._lock:
            return self._statistics.window_size()

    @property
    def env_steps(self) -> int:
        """Environment steps since the session started."""
        with self._lock:
            return self._env_steps + self._open_steps()

    @property
    def iterations_done(self) -> int:
        """Iterations completed, those of a run that this one goes on from included."""
        with self._lock:
            last = self._points.last()
            return self._begun_with if last is None else int(last["iteration"])

    def get_state(self) -> dict[str, Any]:
        """What a checkpoint keeps, for a run elsewhere that goes on from it: plain data."""
        with self._lock:
            return {
                "env_steps": self.env_steps,
                "statistics": self._statistics.get_state(),
                "episodes": self._episodes.total,
            }

    def rewind(self, iteration: int, state: Mapping[str, Any] | None = None) -> None:
        """Training goes on after ``iteration``: points of later ones are taken back, since they will come again.

        Args:
            state: what :meth:`get_state` gave for the checkpoint, where the whole session goes on from there: steps,
                episodes and statistics are then those of that moment. None where only the trainer was replaced: what
                the environments did meanwhile stays counted.
        """
        with self._lock:
            gone = self._points.cut(lambda point: point["iteration"] > iteration)
            self._cut("metrics", lambda row: int(row.get("iteration") or 0) > iteration)
            if self._points.last() is None:
                self._begun_with = iteration
                self._reread_points()  # older ones than the ring held are in the file
            if state is not None:
                self._open, self._open_episodes = {}, []
                self._env_steps = int(state["env_steps"])
                self._statistics.set_state(state["statistics"])
                surplus = self._episodes.total - int(state.get("episodes", self._episodes.total))
                if surplus > 0:
                    self._episodes.cut(_first(surplus))
                    self._episodes.total -= max(0, self._episodes.total - int(state["episodes"]))
                    self._cut("episodes", _first(surplus))
                    gone += surplus
            self._rewinds += gone > 0
            self._exporters.rewind(self._points.last() or {})

    def last_point(self) -> Point | None:
        """The newest point, or None before the first iteration closed."""
        with self._lock:
            return self._points.last()

    def close(self, timeout: float = 10.0) -> None:
        """Lets the exporters finish within ``timeout`` seconds and closes the files; later news stay in memory only."""
        self._exporters.close(timeout)
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files = {}

    # Inside; from here on all is called with the lock held.

    def _merge(self, batch: Mapping[str, Stat]) -> None:
        known = {name: stat for name, stat in batch.items() if name in METRICS}
        for name in batch.keys() - known.keys():
            self._warn_once(
                f"metric {name}",
                f"The metric {name!r} is not in the catalogue and is left out{nearest_hint(name, METRICS)}.",
            )
        self._open = merge_batches([self._open, known])

    def _derive(self, now: float, use: Mapping[str, float]) -> None:
        """Adds the metrics that only the hub can know."""
        steps = self._open_steps()
        self._env_steps += steps
        derived: list[tuple[str, float]] = [("rollout/env_steps_total", self._env_steps)]
        if steps and now > self._closed_at:
            derived.append(("rollout/steps_per_second", steps / (now - self._closed_at)))
        if "episode/count" not in self._open and self._open_episodes:
            for episode in self._open_episodes:
                derived.append(("episode/return", episode.episode_return))
                derived.append(("episode/length_steps", episode.length))
                derived.append(("episode/count", 1))
        if self._statistics.window_size():
            derived.append(("episode/return_window", self._statistics.return_window()))
        derived += use.items()
        for name, value in derived:
            self._open.setdefault(name, Stat()).add(value)

    def _count(self, episode: Mapping[str, Any]) -> None:
        self._statistics.add(
            str(episode.get("task", "default")),
            _number(episode.get("episode_return")),
            _number(episode.get("length")),
            bool(episode.get("terminated")),
        )

    def _open_steps(self) -> int:
        stat = self._open.get("rollout/env_steps")
        return round(stat.total) if stat is not None else 0

    def _write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        file = self._files.get(name)
        if file is None:
            return
        try:
            file.append(rows)
        except OSError as error:
            self._warn_once(
                f"file {name}", f"{file.path} cannot be written: {error}. It is tried again with each new row."
            )
        else:
            self._warned.discard(f"file {name}")

    def _reread_points(self) -> None:
        file = self._files.get("metrics")
        if file is not None:
            self._points.total = 0
            for row in read_json_lines(file.path):
                self._points.add(_point(row))

    def _cut(self, name: str, is_later: Callable[[Mapping[str, Any]], bool]) -> None:
        file = self._files.get(name)
        if file is None:
            return
        try:
            file.cut(is_later)
        except OSError as error:
            self._warn_once(f"cut {name}", f"{file.path} keeps rows that are taken back: {error}.")

    def _look_at_store(self, use: Mapping[str, float]) -> None:
        """Tells once that Ray's object store is too small, and again when it was not and is once more.

        What Ray has moved to disk counts in the replay buffer's bytes only.
        """
        used, share = use.get("system/object_store_bytes", 0.0), use.get("system/object_store_fraction", 0.0)
        if not share:
            return
        size, held = used / share, self._open.get("buffer/bytes", Stat(last=0.0)).last
        wanted = max(used, held)
        if wanted >= STORE_FULL * size:
            self._warn_once(
                "object store",
                f"Ray's object store of {size / 2**20:.0f} MiB is full: {wanted / 2**20:.0f} MiB are held, and Ray "
                "moves fragments to disk and back, which is slow. Lower replay_buffer_config.max_chunks, or give the "
                "cluster a larger store.",
            )
        elif wanted < STORE_FREE * size:
            self._warned.discard("object store")

    def _warn_once(self, cause: str, message: str) -> None:
        if cause in self._warned:
            return
        self._warned.add(cause)
        _logger.warning("%s", message)
        self.event(Event("telemetry", message, "warning", "telemetry"))


def read_history(directory: Path) -> News:
    """Everything that the run in ``directory`` wrote, without the limits of a hub's ring buffers."""
    return _read(directory / "metrics.jsonl", directory / "events.jsonl", directory / "episodes.jsonl")


def _read(metrics: Path, events: Path, episodes: Path) -> News:
    points = [_point(row) for row in read_json_lines(metrics) if isinstance(row.get("values"), dict)]
    known = {field.name for field in fields(Event)}
    told = [
        Event(**{key: value for key, value in row.items() if key in known})
        for row in read_json_lines(events)
        if "kind" in row and "message" in row
    ]
    finished = [row for row in read_json_lines(episodes) if "episode_return" in row]
    return News(points, told, finished, len(points), len(told), len(finished))


def _point(row: Mapping[str, Any]) -> Point:
    values = {name: _number(value) for name, value in row["values"].items()}
    return {
        "iteration": int(row.get("iteration") or 0),
        "time": _number(row.get("time")),
        "env_steps": int(row.get("env_steps") or 0),
        "values": values,
        "tasks": row.get("tasks") or {},
    }


def _first(count: int) -> Callable[[Any], bool]:
    """A condition that holds for the first ``count`` rows that it is asked about."""
    left = iter(range(count))
    return lambda row: next(left, None) is not None


def _number(value: Any) -> float:
    """A number of a file; NaN for null, which stands for NaN and infinities there."""
    return float(value) if isinstance(value, (int, float)) else math.nan

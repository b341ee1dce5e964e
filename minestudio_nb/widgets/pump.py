"""The pump: one thread that tells the browser what is new in a session, and no more than the browser can take.

Messages to the browser, each a dict with binary buffers beside it::

    {k: "history", seq, time, shown, names, rows, head, events, episodes, edits, fields, catalogue}  + [points]
    {k: "tick", seq, time, base, shown, rows?, head?, events?, episodes?, edits?, fields?, tiles?, large?}
                                                + [points?, JPEG of all tiles?, JPEG of each enlarged one ...]

and from it::

    {k: "hello", view}                          a view opened, or has missed something: all get the whole history
    {k: "ack", view, seq}                       it has drawn all messages up to ``seq``
    {k: "look", view, fps, tiles, focus, visible}   which environments it wants to see, or which one enlarged, how often
    {k: "bye", view}                            it closed

Points are float64, a row each of iteration, time, environment steps and one value for each of ``names``; ``shown`` is
how many points, events and episodes a view has with this message, ``base`` how many it must have had before; one that
has fewer says hello. Ticks carry all that the slowest view has not acknowledged, so that a tick may be left out and no
point is ever lost; pictures are never sent twice, one that has not changed is called the same. What is due at about
the same time goes in one tick, since each message costs the kernel more than most of what is in it. While too many
ticks are unacknowledged nothing is sent, and without a view the thread ends.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.looks import state_tone
from minestudio_nb.contracts.telemetry import METRICS
from minestudio_nb.contracts.view import SessionView
from minestudio_nb.widgets.messages import clean, column_names, event_row, field_row, pack_points, thin_out
from minestudio_nb.widgets.mosaic import MOST_TILES, Mosaic, build_large, build_mosaic

__all__ = ["Pump", "PumpSettings"]

_logger = logging.getLogger(__name__)

Send = Callable[[dict[str, Any], list[bytes]], None]

DEFAULT_FPS = 5.0
MOST_FPS = 20.0
LARGE_FPS = 4.0
MOST_LARGE = 4
"""Environments that may be enlarged at a time, by different views."""
SHORTEST_PAUSE = 0.005
"""Seconds; timers are not more exact than this."""


@dataclass(frozen=True)
class PumpSettings:
    """How much is sent, and how often.

    Attributes:
        data_seconds: between two looks at points, events and the head.
        in_flight: ticks that may be unacknowledged.
        view_seconds: a view that has acknowledged nothing for so long is gone.
        most_points: rows of a history; longer ones are thinned out evenly, and keep first and last.
        most_events, most_episodes: of a history, the newest.
    """

    data_seconds: float = 0.5
    in_flight: int = 6
    view_seconds: float = 5.0
    most_points: int = 2_000
    most_events: int = 300
    most_episodes: int = 500


@dataclass(frozen=True)
class _Shown:
    """How much a view has: numbers of points, events and episodes."""

    points: int = 0
    events: int = 0
    episodes: int = 0


@dataclass
class _Client:
    """One view in one page."""

    seen_at: float
    acked: int
    """The newest message that it has drawn; what it has then is ``Pump._sent[acked]``."""
    fps: float = DEFAULT_FPS
    tiles: tuple[str, ...] | None = None
    """The environments that it wants to see; None: as many as fit."""
    focus: str | None = None
    """The environment that it wants to see enlarged, instead of all others."""
    visible: bool = True

    @property
    def rate(self) -> float:
        """Pictures per second that it wants."""
        if not self.visible:
            return 0.0
        return self.fps if self.focus is None else min(self.fps, LARGE_FPS)

    def look(self, message: Mapping[str, Any]) -> None:
        """Takes a ``look`` message; wrong types leave things as they are."""
        fps, tiles, visible = message.get("fps"), message.get("tiles"), message.get("visible")
        if isinstance(fps, (int, float)) and math.isfinite(fps):
            self.fps = min(max(float(fps), 0.0), MOST_FPS)
        if isinstance(tiles, list):
            self.tiles = tuple(str(name) for name in tiles[:MOST_TILES]) or None
        if "focus" in message:
            self.focus = str(message["focus"]) if message["focus"] else None
        if isinstance(visible, bool):
            self.visible = visible


class Pump:
    """See the module. ``receive`` may be called from any thread; ``send`` is called in the pump's own.

    Args:
        view: what is shown.
        send: delivers a message to all views of the display.
        settings: see :class:`PumpSettings`.
        on_data: is called after each look at the session's numbers.
        pictures: whether the display shows environments; where not, no frames are asked for.
    """

    def __init__(
        self,
        view: SessionView,
        send: Send,
        settings: PumpSettings | None = None,
        on_data: Callable[[], None] | None = None,
        pictures: bool = True,
    ) -> None:
        self._view = view
        self._pictured = pictures
        self._send = send
        self._settings = settings or PumpSettings()
        self._on_data = on_data
        self.mosaic = Mosaic()
        """The newest frames that were sent."""
        self._lock = threading.RLock()
        self._clients: dict[str, _Client] = {}
        self._greeting: set[str] = set()
        """Views that wait for the history."""
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._seq = 0
        self._sent: dict[int, _Shown] = {0: _Shown()}
        self._names: dict[str, None] = {}
        """The columns of a point beyond the fixed ones, in order of their first appearance."""
        self._run_name: str | None = None
        """Of the run that views know."""
        self._scanned = 0
        self._newest_time = math.nan
        """Points whose names are known."""
        self._told: dict[str, Any] = {}
        """What the last message said of things that are sent only when they change."""
        self._field_rows: tuple[list[Any], list[dict[str, Any]]] = ([], [])
        self._edit_rows: tuple[tuple[Edit, ...], list[dict[str, Any]]] = ((), [])
        """What the rows were made of, and the rows: making them costs more than all else, and they hardly change."""
        self._held_back = False
        self._pictures: dict[str, bytes] = {}
        """What was sent last: the picture of all tiles by an empty name, enlarged environments by theirs."""
        self._data_at = -math.inf
        self._frames_at = -math.inf
        self.statistics = {"messages": 0, "held_back": 0, "bytes": 0}
        """Messages sent, ticks left out because a browser was behind, and bytes of all buffers."""

    # From the browser.

    def receive(self, message: Mapping[str, Any]) -> None:
        """Takes a message of a view. What is no such message is ignored: a page may be older than this process."""
        kind, name = message.get("k"), str(message.get("view", ""))
        with self._lock:
            urgent = self._held_back or kind != "ack"
            if kind in ("hello", "look"):
                self._pictures = {}
            if kind == "hello":
                self._clients[name] = _Client(time.monotonic(), self._seq)
                self._greeting.add(name)
                self._start()
            elif kind == "bye":
                self._clients.pop(name, None)
            elif name in self._clients:
                client = self._clients[name]
                client.seen_at = time.monotonic()
                seq = message.get("seq")
                if kind == "ack" and isinstance(seq, int) and client.acked < seq <= self._seq:
                    client.acked = seq
                elif kind == "look":
                    client.look(message)
        if urgent:
            self._wake.set()

    def close(self, timeout: float = 5.0) -> None:
        """Ends the thread, within ``timeout`` seconds."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    @property
    def running(self) -> bool:
        """Whether somebody looks."""
        return self._thread is not None

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="msnb-pump", daemon=True)
            self._thread.start()

    # The thread.

    def _run(self) -> None:
        while True:
            try:
                self._turn()
            except Exception:
                _logger.warning("a display left out an update", exc_info=True)
            with self._lock:
                if self._closed or not self._clients:
                    self._thread = None
                    return
            self._wake.wait(self._pause())
            self._wake.clear()

    def _pause(self) -> float:
        """Seconds until something is due."""
        rate = self._frame_rate()
        due = self._data_at + self._settings.data_seconds
        if rate > 0:
            picture = self._frames_at + 1.0 / rate
            due = picture if self._with_frames(rate) else min(due, picture)
        return min(max(due - time.monotonic(), SHORTEST_PAUSE), self._settings.data_seconds)

    def _with_frames(self, rate: float) -> bool:
        """Whether data wait for the next frames, which come more often."""
        return rate * self._settings.data_seconds >= 1.0

    def _is_due(self, now: float) -> tuple[bool, bool]:
        """Whether it is time for data, and for frames."""
        rate, waited = self._frame_rate(), now - self._data_at
        frames = rate > 0 and now - self._frames_at >= 1.0 / rate - SHORTEST_PAUSE
        if rate > 0 and self._with_frames(rate):
            return frames and waited >= self._settings.data_seconds - 0.5 / rate, frames
        return waited >= self._settings.data_seconds, frames

    def _frame_rate(self) -> float:
        if not self._pictured:
            return 0.0
        with self._lock:
            return max((client.rate for client in self._clients.values()), default=0.0)

    def _turn(self) -> None:
        """Sends what is due."""
        now = time.monotonic()
        with self._lock:
            gone = [n for n, client in self._clients.items() if now - client.seen_at > self._settings.view_seconds]
            for name in gone:
                del self._clients[name]
            if not self._clients or self._closed:
                return
            greeting, self._greeting = self._greeting, set()
            behind = self._seq - min(client.acked for client in self._clients.values())
        data, frames = self._is_due(now)
        if frames:
            self._frames_at = now  # also where they are left out
        if greeting:
            data = True
        if data:
            self._data_at = now  # also where the session gives none
            self._view.refresh()
        anew = (data and (self._is_another_run() or self._went_back())) or bool(greeting)
        self._held_back = behind >= self._settings.in_flight
        if anew or (data and self._new_names()):
            self._send_history()
        elif self._held_back:
            self.statistics["held_back"] += data or frames
        elif data or frames:
            self._send_tick(data, frames)
        if data and self._on_data is not None:
            self._on_data()

    def _is_another_run(self) -> bool:
        """Whether the session has begun another run than the one that views know, under another name."""
        name, before = self._view.head().name, self._run_name
        self._run_name = name
        if before in (None, name):
            return False
        self._names, self._scanned, self.mosaic = {}, 0, Mosaic()
        return True

    def _went_back(self) -> bool:
        """Whether the trainer has gone back to a checkpoint, so that points that were shown are no more."""
        if not self._scanned:
            return False
        newest = next(iter(self._view.points(self._scanned - 1)), None)
        if newest is not None and newest["time"] == self._newest_time:
            return False
        self._scanned = 0
        return True

    def _new_names(self) -> bool:
        """Whether points have columns that were not known before."""
        known = len(self._names)
        points = self._view.points(self._scanned)
        for point in points:
            self._names.update(dict.fromkeys(column_names(point)))
        self._scanned += len(points)
        if points:
            self._newest_time = points[-1]["time"]
        return len(self._names) > known

    def _send_history(self) -> None:
        """Sends everything to all views: to one that opened, or because there are new columns."""
        self._new_names()
        limits = self._settings
        points, events, episodes = self._view.points(), self._view.events(), self._view.episodes()
        rows = pack_points(thin_out(points, limits.most_points), list(self._names))
        self._told = self._standing()
        message = {
            "k": "history",
            "names": list(self._names),
            "rows": len(rows),
            "events": [event_row(event) for event in events[-limits.most_events :]],
            "episodes": [clean(episode) for episode in episodes[-limits.most_episodes :]],
            "catalogue": {name: asdict(spec) for name, spec in METRICS.items()},
            **self._told,
        }
        shown = _Shown(len(points), len(events), len(episodes))
        self._deliver(message, [rows.tobytes()], shown)

    def _send_tick(self, data: bool, frames: bool) -> None:
        buffers: list[bytes] = []
        with self._lock:
            base = self._sent[min(client.acked for client in self._clients.values())]
        message: dict[str, Any] = {"k": "tick", "base": [base.points, base.events, base.episodes]}
        shown = self._sent[self._seq]
        if data:
            points, events = self._view.points(base.points), self._view.events(base.events)
            episodes = self._view.episodes(base.episodes)
            shown = _Shown(base.points + len(points), base.events + len(events), base.episodes + len(episodes))
            standing = self._standing()
            message |= {key: value for key, value in standing.items() if self._told.get(key) != value}
            self._told = standing
            if points:
                rows = pack_points(points, list(self._names))
                message["rows"] = len(rows)
                buffers.append(rows.tobytes())
            if events:
                message["events"] = [event_row(event) for event in events]
            if episodes:
                message["episodes"] = [clean(episode) for episode in episodes]
        if frames:
            self._add_tiles(message, buffers)
        self._deliver(message, buffers, shown)  # also when it is empty: to acknowledge shows that the view is there

    def _add_tiles(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        """Adds one picture of all tiles that some view wants to see, and one of each that is enlarged somewhere."""
        with self._lock:
            looking = [client for client in self._clients.values() if client.rate > 0]
        focused = list(dict.fromkeys(client.focus for client in looking if client.focus is not None))[:MOST_LARGE]
        tiles = self._view.tiles(focused)
        order = sorted(tiles, key=_tile_order)
        mosaic = build_mosaic({name: tiles[name] for name in _chosen(order, looking)})
        message["tiles"] = {"all": order, **mosaic.layout}
        if mosaic.jpeg:
            self.mosaic = mosaic
        self._add_picture("", mosaic.jpeg, message["tiles"], buffers)
        message["large"] = []
        for name in focused:
            if name in tiles:
                large = build_large(name, tiles[name])
                message["large"].append(large.layout)
                self._add_picture(name, large.jpeg, large.layout, buffers)

    def _add_picture(self, name: str, jpeg: bytes, layout: dict[str, Any], buffers: list[bytes]) -> None:
        """Adds a picture and says in its layout which buffer it is, or that it is the ``same`` as before."""
        if jpeg and self._pictures.get(name) == jpeg:
            layout["same"] = True
        elif jpeg:
            layout["buffer"] = len(buffers)
            buffers.append(jpeg)
        self._pictures[name] = jpeg

    def _standing(self) -> dict[str, Any]:
        """What is sent when it changes."""
        head, edits, fields = self._view.head(), tuple(self._view.edits()), list(self._view.fields())
        if edits != self._edit_rows[0]:
            self._edit_rows = edits, [clean(asdict(edit)) for edit in edits]
        if fields != self._field_rows[0]:
            self._field_rows = fields, [field_row(spec, value) for spec, value in fields]
        return {
            "head": {**vars(head), "tone": state_tone(head.state), "values": clean(head.values)},
            "edits": self._edit_rows[1],
            "fields": self._field_rows[1],
        }

    def _deliver(self, message: dict[str, Any], buffers: list[bytes], shown: _Shown) -> None:
        with self._lock:
            self._seq += 1
            self._sent[self._seq] = shown
            if message["k"] == "history":  # it replaces what a view has, whatever it has missed
                for client in self._clients.values():
                    client.acked = self._seq
            least = min((client.acked for client in self._clients.values()), default=self._seq)
            self._sent = {seq: counts for seq, counts in self._sent.items() if seq >= least}
        message |= {"seq": self._seq, "time": time.time(), "shown": [shown.points, shown.events, shown.episodes]}
        self.statistics["messages"] += 1
        self.statistics["bytes"] += sum(map(len, buffers))
        self._send(message, buffers)


def _chosen(names: list[str], looking: Iterable[_Client]) -> list[str]:
    """Those of ``names`` that views which enlarge none want to see."""
    wishes = [client.tiles for client in looking if client.focus is None]
    if all(wish is not None for wish in wishes):
        wanted = {name for wish in wishes if wish is not None for name in wish}
        names = [name for name in names if name in wanted]
    return names[:MOST_TILES]


def _tile_order(name: str) -> tuple[int, ...]:
    """Workers, then environments, as numbers."""
    return tuple(int(part) if part.isdigit() else 0 for part in name.split("/"))

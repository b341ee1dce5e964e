"""The clock of a game that a person plays in a view: ticks at a steady rate, frames as fast as the view takes them.

The loop is a thread that exists only while somebody looks: a view holds a lease that each of its messages renews. World
time passes only while the player plays. A slow machine skips frames, never ticks; frames that the view has not
acknowledged are not queued, the next one is drawn later. Nothing that goes wrong on the thread gets into a notebook's
cell: the view shows it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal

from minestudio_nb.contracts.playing import Playable

__all__ = ["BUTTONS", "TICK_SECONDS", "GameLoop", "GameState"]

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.05
MAX_CATCH_UP: Final = 10
"""Ticks that may follow each other without a frame; what is missing beyond that, after a stall, is given up."""
LEASE_SECONDS: Final = 5.0
FRAMES_IN_FLIGHT: Final = 2
LOST_SECONDS: Final = 2.0
"""After so long without an acknowledgement a frame counts as lost, as when the page was loaded anew."""
DEGREES_PER_PIXEL: Final = 0.15
"""Of mouse movement; Minecraft's default sensitivity."""
TURN_DEGREES: Final = 6.0
"""Per tick while an arrow key is held."""

_LOOK: Final = {"look_up": (-1.0, 0.0), "look_down": (1.0, 0.0), "look_left": (0.0, -1.0), "look_right": (0.0, 1.0)}
BUTTONS: Final = frozenset(
    {"attack", "back", "drop", "forward", "inventory", "jump", "left", "right", "sneak", "sprint", "use"}
    | {f"hotbar.{slot}" for slot in range(1, 10)}
    | set(_LOOK)
)
"""What a view may say is held: env actions, and four to look around."""

GameState = Literal["paused", "playing", "over", "failed", "closed"]
Order = Literal["play", "pause", "reset", "record"]


class GameLoop:
    """One game and its views. Every method may be called from any thread.

    Args:
        game: called by one thread at a time, under ``game_lock``.
        send: takes ``{"k": "frame" | "state", "seq": int, "hud": {...}}`` and the JPEG of a frame, or None.
        record: whether episodes are saved when they end.
    """

    def __init__(
        self, game: Playable, send: Callable[[Mapping[str, Any], bytes | None], None], record: bool = False
    ) -> None:
        self.game_lock = threading.RLock()
        self._game, self._send = game, send
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._views: dict[str, float] = {}
        self._orders: deque[tuple[Order, bool]] = deque()
        self._held: frozenset[str] = frozenset()
        self._pressed: set[str] = set()
        self._mouse = [0.0, 0.0]
        self._scroll = 0
        self._state: GameState = "paused"
        self._closed = self._finished = False
        self._due = 0.0
        self._recording = record
        self._frame_due = True
        self._sent = self._acknowledged = 0
        self._sent_at = 0.0
        self._error = self._note = ""
        self._episode = self._step = 0
        self._return = self._last_reward = 0.0
        self._ended = ""
        self._tick_times: deque[float] = deque(maxlen=40)
        self._begin()

    # What views say.

    def hello(self, view: str) -> None:
        """A view has appeared, or been loaded anew: it gets a frame, and the thread runs."""
        with self._wake:
            if self._closed:
                return
            self._views[view] = time.monotonic() + LEASE_SECONDS
            self._acknowledged = self._sent
            self._frame_due = True
            self._ensure_thread()
            self._wake.notify_all()

    def renew(self, view: str) -> None:
        """A view is still there. One that was given up, since it had been silent, is taken back."""
        with self._wake:
            if view in self._views:
                self._views[view] = time.monotonic() + LEASE_SECONDS
            else:
                self.hello(view)

    def bye(self, view: str) -> None:
        """A view is gone; without any, the game pauses and its thread ends."""
        with self._wake:
            self._views.pop(view, None)
            self._release()
            self._wake.notify_all()

    def acknowledge(self, seq: int) -> None:
        """A view has drawn frame ``seq``."""
        with self._wake:
            self._acknowledged = max(self._acknowledged, min(seq, self._sent))
            self._wake.notify_all()

    def input(
        self, held: Collection[str], pressed: Collection[str], pixels: tuple[float, float], scroll: int = 0
    ) -> None:
        """What the player does.

        Args:
            held: buttons that are down now (of ``BUTTONS``; others are ignored).
            pressed: buttons that went down since the last message; each counts for a tick, however short it was.
            pixels: movement of the mouse to the right and downwards since the last message.
            scroll: steps of the wheel, positive to the right.
        """
        right, down = (float(value) for value in pixels)
        if not (math.isfinite(right) and math.isfinite(down)):
            return
        with self._wake:
            self._held = BUTTONS.intersection(held)
            if self._state == "playing":
                self._pressed |= BUTTONS.intersection(pressed)
                self._mouse[0] += down * DEGREES_PER_PIXEL
                self._mouse[1] += right * DEGREES_PER_PIXEL
                self._scroll += int(scroll)

    def order(self, what: Order, value: bool = True) -> None:
        """``play``, ``pause``, ``reset`` (another episode) or ``record`` on or off; done by the thread, in order."""
        with self._wake:
            if self._closed:
                return
            self._orders.append((what, bool(value)))
            if self._thread is None:
                self._carry_out()
                self._ensure_thread()
            self._wake.notify_all()

    def settle(self, timeout: float = 10.0) -> bool:
        """Waits until all orders so far have been carried out; False when that took longer than ``timeout`` seconds."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._orders, timeout)

    def close(self, timeout: float = 10.0) -> None:
        """Ends the thread and the episode. Idempotent."""
        with self._wake:
            was_closed, self._closed = self._closed, True
            self._views.clear()
            thread = self._thread
            self._wake.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        if not was_closed:
            self._finish()
            self._send({"k": "state", "seq": self._sent, "hud": self.hud()}, None)

    # What can be seen.

    @property
    def state(self) -> GameState:
        """What the game is doing."""
        return "closed" if self._closed else self._state

    @property
    def running(self) -> bool:
        """Whether the thread exists."""
        return self._thread is not None

    def hud(self) -> dict[str, Any]:
        """What is written around the picture: plain numbers and texts."""
        return {
            "state": self.state,
            "episode": self._episode,
            "step": self._step,
            "return": round(self._return, 4),
            "reward": round(self._last_reward, 4),
            "ended": self._ended,
            "recording": self._recording,
            "ticks_per_second": self._ticks_per_second(),
            "note": self._note,
            "error": self._error,
        }

    def _ticks_per_second(self) -> float:
        times = list(self._tick_times)
        if len(times) < 2 or times[-1] <= times[0]:
            return 0.0
        return round((len(times) - 1) / (times[-1] - times[0]), 1)

    # The thread.

    def _ensure_thread(self) -> None:
        """Starts the thread if somebody looks and there is none. The lock is held."""
        if self._thread is None and self._views:
            self._thread = threading.Thread(target=self._run, name="minestudio_nb-play", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                with self._wake:
                    if not self._wait():
                        return
                self._carry_out()
                self._advance()
                self._show()
        except Exception as error:
            log.exception("the game has stopped")
            with self._wake:
                self._thread = None
                self._state, self._error = "failed", f"{type(error).__name__}: {error}"
            self._send({"k": "state", "seq": self._sent, "hud": self.hud()}, None)

    def _wait(self) -> bool:
        """Until there is something to do; False when nobody looks any more. The lock is held."""
        while True:
            now = time.monotonic()
            for view in [view for view, until in self._views.items() if until < now]:
                del self._views[view]
                self._release()
            if self._closed:
                self._orders.clear()
            elif self._orders:
                return True
            if not self._views or self._closed:
                self._thread = None
                self._release()
                self._wake.notify_all()
                if self._state == "playing":
                    self._state = "paused"
                return False
            playing = self._state == "playing"
            if (playing and now >= self._due) or (self._frame_due and self._may_send(now)):
                return True
            self._wake.wait(max(0.001, self._due - now) if playing else LEASE_SECONDS / 10)

    def _carry_out(self) -> None:
        """All orders that have come. One leaves the queue when it has been carried out."""
        while True:
            with self._wake:
                if not self._orders:
                    return
                what, value = self._orders[0]
                self._frame_due = True
            try:
                self._obey(what, value)
            finally:
                with self._wake:
                    self._orders.popleft()
                    self._wake.notify_all()

    def _obey(self, what: Order, value: bool) -> None:
        if what == "record":
            self._recording = value
        elif what == "pause" and self._state == "playing":
            self._release()
            self._state = "paused"
        elif what == "play" and self._state == "paused":
            self._start()
        elif what == "reset" or (what == "play" and self._state == "over"):
            self._finish()
            self._begin()
            self._state, self._error = "paused", ""
            if what == "play":
                self._start()

    def _start(self) -> None:
        self._tick_times.clear()
        self._due = time.monotonic()
        self._state = "playing"

    def _advance(self) -> None:
        """The ticks that are due."""
        now = time.monotonic()
        if self._state != "playing" or now < self._due:
            return
        wanted = 1 + int((now - self._due) / TICK_SECONDS)
        for _ in range(min(wanted, MAX_CATCH_UP)):
            if self._state == "playing":
                self._tick()
        self._due += wanted * TICK_SECONDS

    def _tick(self) -> None:
        with self._wake:
            held = self._held | self._pressed
            turn = (self._mouse[0], self._mouse[1])
            scroll, self._scroll = self._scroll, 0
            self._pressed.clear()
            self._mouse = [0.0, 0.0]
            self._frame_due = True
        for name in held & _LOOK.keys():
            pitch, yaw = _LOOK[name]
            turn = (turn[0] + pitch * TURN_DEGREES, turn[1] + yaw * TURN_DEGREES)
        with self.game_lock:
            outcome = self._game.tick(held - _LOOK.keys(), turn, scroll)
        self._tick_times.append(time.monotonic())
        self._step += 1
        self._return += outcome.reward
        if outcome.reward:
            self._last_reward = outcome.reward
        if outcome.ended:
            self._ended = outcome.ended
            self._release()
            self._state = "over"
            self._finish()

    def _begin(self) -> None:
        with self.game_lock:
            self._game.reset()
        self._episode += 1
        self._step, self._return, self._last_reward, self._ended = 0, 0.0, 0.0, ""
        self._finished = False

    def _finish(self) -> None:
        """Keeps the episode, unless nothing was done in it or it was kept already."""
        if self._step and not self._finished:
            with self.game_lock:
                self._note = self._game.finish(self._recording)
            self._finished = True

    def _release(self) -> None:
        """Lets go of all buttons."""
        self._held = frozenset()
        self._pressed.clear()
        self._mouse = [0.0, 0.0]
        self._scroll = 0

    def _may_send(self, now: float) -> bool:
        if self._sent - self._acknowledged < FRAMES_IN_FLIGHT:
            return True
        if now - self._sent_at < LOST_SECONDS:
            return False
        self._acknowledged = self._sent
        return True

    def _show(self) -> None:
        """A frame, if there is something new to see and the view keeps up."""
        with self._wake:
            if not (self._frame_due and self._may_send(time.monotonic())):
                return
            self._frame_due = False
            self._sent += 1
            self._sent_at = time.monotonic()
            seq = self._sent
        with self.game_lock:
            picture = self._game.jpeg()
        self._send({"k": "frame", "seq": seq, "hud": self.hud()}, picture)

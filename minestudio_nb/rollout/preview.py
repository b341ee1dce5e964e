"""Live previews of environments, made only while somebody looks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from minestudio_nb.contracts.specs import ObsSpec
from minestudio_nb.contracts.view import Tile
from minestudio_nb.environments.slot import IDLE, RESET, START, WAIT, EnvArrays, Picture
from minestudio_nb.rollout.viewing import image_key
from minestudio_nb.telemetry.video import jpeg as compress

__all__ = ["LARGE_SHARE", "Preview"]

LARGE_FPS = 4.0
"""Most large pictures per second of one environment."""
LARGE_SHARE = 0.015
"""Share of all workers' time that large pictures of one environment may take."""
LARGE_WAIT_SECONDS = 5.0
"""Longest wait for the next of them: one that took very long, as the first can on a busy machine, delays one more only
by this."""
LARGE_QUALITY = 75
"""Of their JPEG."""
LONG_RESET_SECONDS = 1.0
"""After this time of resetting an environment is shown as doing that."""


class Preview:
    """How each environment stands. ``request`` and ``tiles`` may be called from any thread.

    Args:
        spec: of the observations.
        worker: whose environments these are.
        spare: the share of this worker's time that large pictures may take.
    """

    def __init__(self, spec: ObsSpec, worker: int, spare: float = LARGE_SHARE) -> None:
        self._key = image_key(spec)
        self._worker = worker
        self._spare = spare
        self._until = 0.0
        self._period = 0.0
        self._taken: dict[int, float] = {}
        self._decisions: dict[int, tuple[float, npt.NDArray[Any]]] = {}
        self._tiles: dict[int, Tile] = {}
        self._arrays: EnvArrays | None = None
        self._faults: dict[int, _Fault] = {}
        self._large: dict[int, _Large] = {}
        self._lock = threading.Lock()

    def request(self, seconds: float, fps: float = 10.0, large: Collection[str] = ()) -> None:
        """Keeps frames coming for ``seconds`` from now, at most ``fps`` per second of each environment; and large
        pictures of those environments of this worker that ``large`` names."""
        self._period = 1.0 / fps
        self._until = until = time.monotonic() + seconds
        with self._lock:
            names = {f"{self._worker}/{env}": env for env in self._tiles}
            for env in (names[name] for name in large if name in names):
                if not self._wants_large(env):
                    self._large[env] = _Large()
                self._large[env].until = until

    @property
    def active(self) -> bool:
        """Whether somebody looks."""
        return time.monotonic() <= self._until

    def tiles(self) -> dict[str, Tile]:
        """``{"worker/env": Tile}``; frames are as old as the last time that somebody asked for them."""
        with self._lock:
            tiles = dict(self._tiles)
            pictures = {env: large for env, large in self._large.items() if self._wants_large(env)}
        shown = {}
        for env, tile in sorted(tiles.items()):
            further = {**self._standing(env), **_shown(pictures.get(env))}
            shown[f"{self._worker}/{env}"] = replace(tile, **further) if further else tile
        return shown

    # The rest is called by the thread that steps the environments.

    def decided(self, ids: Iterable[int], values: npt.NDArray[np.float32], actions: npt.NDArray[Any]) -> None:
        """The policy decided for environments ``ids``."""
        for row, env in enumerate(ids):
            self._decisions[env] = (float(values[row]), actions[row].copy())

    def update(
        self,
        ids: Iterable[int],
        arrays: EnvArrays,
        steps: npt.NDArray[np.int64],
        returns: npt.NDArray[np.float64],
        tasks: Sequence[str],
    ) -> None:
        """Takes in how environments ``ids`` stand, if somebody wants to see it; the arrays have one row for each."""
        if not self.active:
            return
        now = time.monotonic()
        due = [env for env in ids if now - self._taken.get(env, 0.0) >= self._period]
        self.keep(due, arrays, steps, returns, tasks)

    def keep(
        self,
        ids: Iterable[int],
        arrays: EnvArrays,
        steps: npt.NDArray[np.int64],
        returns: npt.NDArray[np.float64],
        tasks: Sequence[str],
    ) -> None:
        """As ``update``, whoever looks: the first frames are there before anybody asked."""
        self._arrays = arrays
        images = None if self._key is None else arrays.obs[self._key]
        for env in ids:
            self._taken[env] = time.monotonic()
            value, action = self._decisions.get(env, (math.nan, None))
            frame = None if images is None else images[env].copy()
            tile = Tile(frame, int(steps[env]), float(returns[env]), value, action, tasks[env])
            with self._lock:
                self._tiles[env] = tile

    def failed(self, env: int, cause: str, restarts: int) -> None:
        """Environment ``env`` broke, and is built anew."""
        self._faults[env] = _Fault(cause, restarts, down=True)

    def moved(self, stepped: Iterable[int], started: Iterable[int]) -> None:
        """Environments showed something new: after a step, or as the first of their new life."""
        for env in started:
            if env in self._faults:
                self._faults[env] = replace(self._faults[env], down=False)
        if self._large:
            with self._lock:
                for env in (*stepped, *started):
                    if env in self._large:
                        self._large[env].moved = True

    def due_pictures(self) -> list[int]:
        """Environments of which a large picture is wanted now; they are not named again before it is taken."""
        if not self._large:
            return []
        now = time.monotonic()
        with self._lock:
            self._large = {env: large for env, large in self._large.items() if self._wants_large(env)}
            due = [env for env, large in self._large.items() if large.moved and now >= large.next_at]
            for env in due:
                self._large[env].moved = False
        return due

    def take_picture(self, env: int, picture: Picture) -> None:
        """A large picture came; the next one waits until this one has been paid for."""
        with self._lock:
            if env in self._large:
                large = self._large[env]
                large.picture, large.jpeg = picture, None
                wait = min(LARGE_WAIT_SECONDS, picture.seconds / self._spare)
                large.next_at = time.monotonic() + max(1.0 / LARGE_FPS, wait)

    def _wants_large(self, env: int) -> bool:
        return env in self._large and time.monotonic() <= self._large[env].until

    def _standing(self, env: int) -> dict[str, Any]:
        """State, cause and restarts of an environment; what its process says of itself is in shared memory."""
        fault, arrays = self._faults.get(env), self._arrays
        if fault is not None and fault.down:
            return {"state": "restarting", "cause": fault.cause, "restarts": fault.restarts}
        standing = {} if fault is None else {"cause": fault.cause, "restarts": fault.restarts}
        phase = IDLE if arrays is None else int(arrays.phase[env])
        if phase == WAIT:
            return {**standing, "state": "restarting", "cause": "It waits until other environments have started."}
        if phase == START:
            return {**standing, "state": "restarting", "cause": "It is built anew after its restart_interval."}
        if phase == RESET and arrays is not None and time.monotonic() - arrays.phase_since[env] > LONG_RESET_SECONDS:
            return {**standing, "state": "resetting"}
        return standing


@dataclass(frozen=True)
class _Fault:
    """The last fault of an environment."""

    cause: str
    restarts: int
    down: bool
    """Whether it has not come back yet."""


@dataclass
class _Large:
    """An environment that somebody looks at closely."""

    until: float = 0.0
    next_at: float = 0.0
    moved: bool = True
    picture: Picture | None = None
    jpeg: bytes | None = None
    """Of the picture, once somebody has fetched it."""


def _shown(large: _Large | None) -> dict[str, Any]:
    """``large`` and ``pressed`` of a tile. Who asks compresses the picture, so that no step waits for that."""
    picture = None if large is None else large.picture
    if large is None or picture is None:
        return {}
    jpeg = large.jpeg
    if jpeg is None:
        jpeg = b"" if picture.frame is None else compress(picture.frame, LARGE_QUALITY)
        if large.picture is picture:
            large.jpeg = jpeg
    return {"large": jpeg, "pressed": picture.pressed}

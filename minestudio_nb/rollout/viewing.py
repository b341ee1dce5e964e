"""Recorded episodes: what one shows from its first observation on, for people to see later."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from minestudio_nb.contracts.fragments import EpisodeSummary, StreamId
from minestudio_nb.contracts.specs import ObsSpec
from minestudio_nb.environments.slot import RECORD, EnvArrays

__all__ = ["EpisodeRecorder", "RecordedEpisode", "image_key"]

Frame = npt.NDArray[np.uint8]


def image_key(spec: ObsSpec) -> str | None:
    """The first observation that people can look at: uint8 ``(H, W, 3)``; None where there is none."""
    return next((key for key, box in spec.items() if box.is_image and box.shape[-1] == 3), None)


@dataclass
class RecordedEpisode:
    """One episode from its first observation on. Lists have one item per step.

    Either ``trace`` is what the environment recorded, from which frames of any size can be rendered, or ``frames`` are
    what the policy saw at each step, and at the end of a truncated episode; both are empty where there is neither.
    """

    stream: StreamId
    task: str = "default"
    trace: Any = None
    frames: list[Frame] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    actions: list[list[float]] = field(default_factory=list)


Deliver = Callable[[RecordedEpisode, EpisodeSummary], str | None]
"""Takes a recorded episode, and returns where it was stored, relative to the run directory."""


class EpisodeRecorder:
    """Records the next episodes of one worker. ``request`` may be called from any thread."""

    def __init__(self, spec: ObsSpec, worker: int, deliver: Deliver | None) -> None:
        self._key = image_key(spec)
        self._worker = worker
        self._deliver = deliver
        self._pending = 0
        self._marked: set[int] = set()
        """Environments that were told to record their next episode, and have not begun it."""
        self._open: dict[int, RecordedEpisode] = {}
        self._traced: dict[int, bool] = {}
        self._lock = threading.Lock()

    def request(self, episodes: int) -> None:
        """Records ``episodes`` more, from those that begin next."""
        with self._lock:
            self._pending += episodes

    @property
    def active(self) -> bool:
        """Whether there is anything to do; where not, the other methods need not be called."""
        return bool(self._pending or self._open)

    def mark(self, arrays: EnvArrays) -> None:
        """Tells environments to record their next episode, as many as are wanted."""
        free = [env for env in range(len(arrays.record)) if env not in self._marked and env not in self._open]
        for env in free[: max(0, self._pending - len(self._marked))]:
            arrays.record[env] = RECORD.WANTED
            self._marked.add(env)

    def begin(self, env: int, arrays: EnvArrays) -> None:
        """Environment ``env`` shows the first observation of an episode."""
        if env not in self._marked or arrays.record[env] not in (RECORD.TRACE, RECORD.FRAMES):
            return
        self._marked.remove(env)
        with self._lock:
            self._pending -= 1
        self._open[env] = RecordedEpisode(StreamId(self._worker, env))
        self._traced[env] = bool(arrays.record[env] == RECORD.TRACE)
        self._keep_frame(env, arrays.obs)

    def decided(
        self, ids: Iterable[int], values: npt.NDArray[np.float32], actions: npt.NDArray[Any], version: int
    ) -> None:
        """The policy decided for environments ``ids``."""
        for row, env in enumerate(ids):
            if env in self._open:
                self._open[env].values.append(float(values[row]))
                self._open[env].actions.append(actions[row].tolist())
                self._open[env].versions.append(version)

    def stepped(self, ids: Iterable[int], arrays: EnvArrays) -> None:
        """Environments ``ids`` stepped; those whose episode ended show the next one already."""
        for env in ids:
            if env in self._open:
                self._open[env].rewards.append(float(arrays.rewards[env]))
                if arrays.truncated[env]:
                    self._keep_frame(env, arrays.final_obs)
                elif not arrays.terminated[env]:
                    self._keep_frame(env, arrays.obs)

    def finish(self, env: int, trace: Any, summary: EpisodeSummary) -> str | None:
        """The episode of ``env`` ended: delivers it if it was recorded, and says where it was stored."""
        episode = self._open.pop(env, None)
        if episode is None or self._deliver is None:
            return None
        episode.task, episode.trace = summary.task, trace
        return self._deliver(episode, summary)

    def cut(self, env: int, arrays: EnvArrays) -> None:
        """A fault cut the episode of ``env``: another one is recorded instead."""
        if self._open.pop(env, None) is not None:
            arrays.record[env] = RECORD.WANTED
            self._marked.add(env)
            with self._lock:
                self._pending += 1

    def _keep_frame(self, env: int, source: Mapping[str, npt.NDArray[Any]]) -> None:
        if self._key is not None and not self._traced[env]:
            self._open[env].frames.append(source[self._key][env].copy())

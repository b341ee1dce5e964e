"""Fragments: ``T`` consecutive steps of one environment, the unit that travels from rollout to training.

Index conventions, used everywhere: step ``t`` acts on ``obs[t]`` and leads to ``obs[t + 1]``. When an episode ends at
step ``t``, ``obs[t + 1]`` is already the first observation of the next episode and ``first[t + 1]`` is True. The
observation that a *truncated* episode ended with, which the value bootstrap needs, is kept in ``final_obs`` beside its
step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["EpisodeSummary", "Fragment", "FragmentMeta", "StreamId"]


class StreamId(NamedTuple):
    """The stream of consecutive fragments of one environment: rollout worker index and environment index within it."""

    worker: int
    env: int


@dataclass(frozen=True)
class FragmentMeta:
    """What the replay buffer knows of a fragment without its data."""

    fragment_id: int
    """Unique and increasing in the order in which the buffer received the fragments."""
    stream: StreamId
    index: int
    """Position in its stream: 0, 1, 2, ..."""
    version: int
    """The oldest policy version that acted in it."""
    length: int
    """Number of steps T."""
    nbytes: int
    task: str = "default"


@dataclass
class Fragment:
    """``T`` steps of one environment. Arrays are read-only by convention once the fragment is finished.

    Shapes: ``obs[key]`` ``(T + 1, *box.shape)``; ``actions`` ``(T, K)`` in the action spec's dtype; ``rewards``
    float32 ``(T,)``; ``terminated``, ``truncated`` bool ``(T,)``; ``first`` bool ``(T + 1,)``; ``log_probs``,
    ``values`` float32 ``(T,)`` (of the behaviour policy, in nats and reward units); ``versions`` int64 ``(T,)``;
    ``final_steps`` int64 ``(F,)`` and ``final_obs[key]`` ``(F, *box.shape)`` for the F truncations inside; ``state``
    the policy's recurrent state before ``obs[0]`` as a tuple of arrays without batch dimension, empty for a stateless
    policy.
    """

    stream: StreamId
    index: int
    obs: Mapping[str, npt.NDArray[Any]]
    actions: npt.NDArray[Any]
    rewards: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    first: npt.NDArray[np.bool_]
    log_probs: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]
    versions: npt.NDArray[np.int64]
    final_steps: npt.NDArray[np.int64]
    final_obs: Mapping[str, npt.NDArray[Any]]
    state: tuple[npt.NDArray[Any], ...] = ()
    task: str = "default"

    @property
    def length(self) -> int:
        """Number of steps T."""
        return len(self.rewards)

    @property
    def version(self) -> int:
        """The oldest policy version that acted in it."""
        return int(self.versions.min())

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays: list[npt.NDArray[Any]] = [
            self.actions,
            self.rewards,
            self.terminated,
            self.truncated,
            self.first,
            self.log_probs,
            self.values,
        ]
        arrays += [self.versions, self.final_steps, *self.obs.values(), *self.final_obs.values(), *self.state]
        return sum(array.nbytes for array in arrays)

    def meta(self, fragment_id: int) -> FragmentMeta:
        """Its metadata under the buffer's number ``fragment_id``."""
        return FragmentMeta(fragment_id, self.stream, self.index, self.version, self.length, self.nbytes, self.task)


@dataclass(frozen=True)
class EpisodeSummary:
    """One finished episode. ``trace`` is a path relative to the run directory when the episode was recorded."""

    stream: StreamId
    task: str
    episode_return: float
    length: int
    """Steps (policy decisions)."""
    version: int
    """Policy version at its last step."""
    terminated: bool
    truncated: bool
    finished_at: float
    """Unix time in seconds."""
    extras: Mapping[str, float] = field(default_factory=dict)
    trace: str | None = None

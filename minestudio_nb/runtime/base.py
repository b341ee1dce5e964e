"""What a session asks of a runtime. Two implement it: :mod:`.inline` (one process, no Ray) and :mod:`.ray_runtime`.

The session calls, in this order::

    runtime = make_runtime(...)
    runtime.start_rollout(timeout)     # every environment has shown a first frame
    runtime.start_trainer()            # returns at once
    runtime.snapshot(cursor)           # as often as somebody looks
    runtime.stop(timeout)              # leaves no process

A runtime never decides about session states; it reports in ``Snapshot.phase`` what its trainer does. Where another
process holds the controls (:mod:`.claims`), orders raise SessionStateError.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.contracts.view import Tile
from minestudio_nb.runs.presence import Phase
from minestudio_nb.runtime.own_code import unfold

if TYPE_CHECKING:  # a Ray head imports this package and has no use for the configuration's own imports
    from minestudio_nb.config.load import LoadedConfig

__all__ = ["Cursor", "EvaluationResult", "Phase", "Runtime", "RuntimeSpec", "Snapshot"]


@dataclass(frozen=True)
class RuntimeSpec:
    """All that a runtime is started with."""

    session: str
    """Session name, also the name of the run directory."""
    config: LoadedConfig
    run_root: str
    """Directory that holds run directories (``runs``), absolute."""
    address: str | None = None
    """Ray address; None starts a cluster of the session's own."""
    detached: bool = False
    """Whether the session outlives the process that started it."""
    far: bool = False
    """Whether ``run_root`` is a directory of the cluster's head that the process that started it does not see."""
    trainer_nodes: tuple[str, ...] = ()
    """Ids of the nodes that see the run directory and so may train; empty: all do."""
    code: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Sources of the user's own modules, see :mod:`.own_code`; where the spec arrives, they can be imported."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.code:
            unfold(self.code)


@dataclass(frozen=True)
class Cursor:
    """How much a reader has seen: numbers of points, events, episodes; ``rewinds`` grows where some no longer hold."""

    points: int = 0
    events: int = 0
    episodes: int = 0
    rewinds: int = 0


@dataclass(frozen=True)
class Snapshot:
    """What changed since a cursor, and what holds now. Everything in it is plain data."""

    phase: Phase
    cursor: Cursor
    status: Mapping[str, Any]
    """``iteration, num_iterations, env_steps, return_window, window_full, policy_version, workers, workers_alive,
    started_at, since, stop_reason, failure``; times are Unix seconds, ``since`` is that of the phase; ``stop_reason``
    and ``failure`` are texts, empty while there is none; ``return_window`` is the mean return of the latest episodes,
    ``window_full`` says whether these are as many as ``episode_statistics_config.window``. ``buffer_fragments`` is the
    capacity of the replay buffer. ``processes`` lists the rollout workers, with Ray also replay buffer and training
    processes, each with ``role, state, pid, node, restarts, cause``, and with Ray ``silent_seconds``, 0 while it
    answers; ``resources`` are the newest values of the metrics ``system/...``, without that prefix, with ``cores`` and
    ``gpus`` of the machine."""
    points: Sequence[Mapping[str, Any]] = ()
    """One dict per closed iteration: ``iteration, time, env_steps, values: {metric: float}``."""
    events: Sequence[Event] = ()
    episodes: Sequence[Mapping[str, Any]] = ()
    edits: Sequence[Edit] = ()
    held_by: str = ""
    """Which other process holds the controls; empty where this one may give orders."""


@dataclass(frozen=True)
class EvaluationResult:
    """Returns and lengths of evaluation episodes, in the order of their seeds."""

    returns: Sequence[float]
    lengths: Sequence[int]
    seeds: Sequence[int]
    policy_version: int
    deterministic: bool
    traces: Sequence[Any] = field(default_factory=tuple)
    """Recorded episodes, when asked for and when the environment can record them."""

    @property
    def mean_return(self) -> float:
        """Mean undiscounted return."""
        return float(np.mean(self.returns)) if self.returns else float("nan")


class Runtime(Protocol):
    """The interface; see the module docstring for the calling order. All waits take a deadline in seconds."""

    spec: RuntimeSpec

    def start_rollout(self, timeout: float) -> EnvSpec:
        """Builds environments and policies; returns when each environment has shown a first observation, or raises."""

    def start_trainer(self) -> None:
        """Starts training in the background. Raises at once for what can be known at once."""

    def snapshot(self, cursor: Cursor) -> Snapshot:
        """News since ``cursor``; answers within a second whatever the trainer does."""

    def edit(self, key: str, value: Any) -> Edit:
        """Requests a live edit (already validated) and returns it with its revision."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def request(self, kind: str, **arguments: Any) -> None:
        """A one-shot wish: ``"checkpoint"`` (label=), ``"record"`` (episodes=)."""

    def evaluate(
        self, episodes: int, deterministic: bool, seed: int, random_policy: bool, record: int
    ) -> EvaluationResult:
        """Runs ``episodes`` episodes on held-out seeds with the newest weights, without disturbing training data.

        ``random_policy`` acts uniformly at random instead; the first ``record`` episodes come back as traces.
        """

    def tiles(self, large: Collection[str] = ()) -> Mapping[str, Tile]:
        """How each environment stands, with its newest frame, by ``"worker/env"``.

        Each call renews a lease of a few seconds; without one no frame is copied, and none rendered for ``large``.
        """

    def wait(self, timeout: float) -> bool:
        """Blocks until the trainer has finished, failed or stopped; False after ``timeout`` seconds."""

    def take_controls(self) -> None:
        """Makes this process the one that gives orders; all others watch from then on."""

    def detach(self) -> None:
        """Leaves the session running and lets this process go; SessionStateError where it would end with the process.

        Nothing else may be called afterwards.
        """

    def stop(self, timeout: float) -> None:
        """Stops trainer and rollout, saves what must be saved, ends every process that it started. Idempotent."""

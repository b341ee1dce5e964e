"""What a rollout worker sees of its environments, wherever they run, and when a broken one is given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.environments.slot import EnvArrays, EpisodeEnd, Picture
from minestudio_nb.errors import CrashLoopError

__all__ = ["Deadlines", "EnvFault", "EnvPool", "Outcome", "PoolKind", "RestartLimits", "RestartRecord"]

PoolKind = Literal["in_worker", "processes"]


@dataclass(frozen=True)
class Deadlines:
    """Longest seconds per phase; ``start`` is from building to the first observation."""

    start: float = 120.0
    reset: float = 60.0
    step: float = 30.0

    @classmethod
    def of(cls, config: OnlineConfig) -> Deadlines:
        """Those of ``timeouts``."""
        return cls(config.timeouts.start, config.timeouts.reset, config.timeouts.step)


@dataclass(frozen=True)
class EnvFault:
    """One environment failed, and is being built anew."""

    index: int
    cause: str
    """One sentence."""
    detail: str = ""
    """Traceback, where there is one."""
    retry_seconds: float = 0.0
    restarts: int = 1
    """How often this environment has been restarted, this time included."""
    log: str = ""
    """The last lines that its process printed, where they are kept."""


@dataclass
class Outcome:
    """What happened in the environments since the last look."""

    stepped: list[int] = field(default_factory=list)
    """Finished the step they were told: reward, flags and the next observation are in the arrays."""
    started: list[int] = field(default_factory=list)
    """Show the first observation of a new episode after they were (re)built."""
    ends: dict[int, EpisodeEnd] = field(default_factory=dict)
    """Of those that stepped and thereby ended an episode."""
    faults: list[EnvFault] = field(default_factory=list)
    pictures: dict[int, Picture] = field(default_factory=dict)
    """Of those that were asked for one. Nobody waits for them: an outcome with nothing else is empty."""

    def __bool__(self) -> bool:
        return bool(self.stepped or self.started or self.faults)


class EnvPool(Protocol):
    """The environments of one worker. Not thread-safe: one thread calls. ::

    spec = pool.start(timeout)                  # arrays.obs shows all first observations
    pool.submit(ids, actions)                   # ids: those that showed an observation and were not told to step since
    outcome = pool.collect(limit, timeout)      # empty after ``timeout`` seconds
    """

    kind: PoolKind
    spec: EnvSpec
    arrays: EnvArrays
    start_faults: list[EnvFault]
    """Environments that were restarted before :meth:`start` returned."""

    def start(self, timeout: float) -> EnvSpec:
        """Starts all environments in parallel; returns when each has shown a first observation.

        Raises:
            EnvStartError: an environment cannot be built, or one did not get there in time.
        """

    def submit(self, ids: npt.NDArray[np.intp], actions: npt.NDArray[Any]) -> None:
        """Tells environments ``ids`` to step with ``actions`` ``(len(ids), K)``."""

    def collect(self, limit: int, timeout: float, linger: float = 0.0) -> Outcome:
        """What came back, of at most ``limit`` environments; waits up to ``timeout`` seconds for the first.

        It waits up to ``linger`` seconds more while fewer than ``limit`` are there and others may come: environments
        that were told to step together answer almost together, and one batch of two costs less than two of one.

        Raises:
            CrashLoopError: an environment failed too often.
        """

    @property
    def running(self) -> int:
        """Environments of which something will come without a further submit."""

    def ask_picture(self, index: int) -> None:
        """Has environment ``index`` show itself to people once, beside its steps; what comes is in a later outcome.

        One that is being rebuilt shows nothing.
        """

    def get_states(self) -> list[Any]:
        """The state of each environment that offers one, else None. None may be stepping."""

    def set_states(self, states: Sequence[Any]) -> None:
        """Takes back the states that are not None, and the observations shown with them are the caller's business."""

    def hold(self, held: bool) -> None:
        """Suspends the deadlines of environments while ``held``: a pause counts for none of them. Idempotent."""

    def overdue(self) -> str:
        """What has taken too long and cannot be ended by the pool itself, in words; empty if nothing. Any thread."""

    def close(self) -> None:
        """Ends everything within a few seconds. Idempotent."""


@dataclass(frozen=True)
class RestartLimits:
    """When restarting an environment is given up, and how long to wait before it."""

    in_lifetime: int = 100
    in_window: int = 3
    window_seconds: float = 60.0
    first_wait: float = 0.5
    longest_wait: float = 30.0

    @classmethod
    def of(cls, config: OnlineConfig) -> RestartLimits:
        """Those of ``restarts``."""
        limits = config.restarts
        return cls(limits.env_lifetime, limits.env_per_window, limits.window)


class RestartRecord:
    """The restarts of one environment."""

    def __init__(self, index: int, limits: RestartLimits) -> None:
        self.count = 0
        self._index = index
        self._limits = limits
        self._recent: deque[float] = deque()

    def wait_seconds(self, cause: str, now: float) -> float:
        """Counts one more restart, and says after how many seconds it may happen.

        The first within a window happens at once, later ones after a wait that doubles.

        Raises:
            CrashLoopError: there were too many, within a window or altogether.
        """
        limits = self._limits
        self.count += 1
        self._recent.append(now)
        while now - self._recent[0] > limits.window_seconds:
            self._recent.popleft()
        if self.count > limits.in_lifetime or len(self._recent) > limits.in_window:
            within = f"{len(self._recent)} times within {limits.window_seconds:.0f} s, {self.count} times altogether"
            raise CrashLoopError(
                f"Environment {self._index} failed {within}, and was given up "
                f"(limits: {limits.in_window} and {limits.in_lifetime}, see restarts). The last cause: {cause}"
            )
        if len(self._recent) == 1:
            return 0.0
        return min(limits.longest_wait, limits.first_wait * 2.0 ** (len(self._recent) - 2))

"""Every exception that minestudio_nb raises on purpose.

::

    MineStudioError
    ├── ConfigError            a configuration cannot be used; lists every problem at once
    ├── SessionStateError      a session method was called in the wrong state
    ├── RunError               a run name, run directory or recorded run is unusable
    ├── ResourceError          the machine or cluster lacks what was asked for
    ├── SimulatorError         VoxelSim was given a name, command or state it does not know
    ├── EnvError               an environment failed
    │   ├── EnvStartError      ... before it showed its first observation
    │   ├── EnvTimeoutError    ... it missed the deadline of a phase (start, reset, step)
    │   ├── EnvCrashError      ... its code raised, or its process died
    │   └── CrashLoopError     ... again and again, so that restarting it was given up
    ├── UnsupportedSpaceError  an observation or action space that no policy here can use
    ├── WeightsError           weights do not fit the policy
    ├── CheckpointError        a checkpoint is missing, incomplete or of another policy
    ├── TrainingError          the trainer cannot go on
    │   └── RankLostError      ... on this rank, since another one is gone
    ├── StoreTimeoutError      fragments did not arrive before a deadline
    └── TelemetryError         a metric is not in the catalogue, or is used against its declaration
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "CheckpointError",
    "ConfigError",
    "CrashLoopError",
    "EnvCrashError",
    "EnvError",
    "EnvStartError",
    "EnvTimeoutError",
    "MineStudioError",
    "RankLostError",
    "ResourceError",
    "RunError",
    "SessionStateError",
    "SimulatorError",
    "StoreTimeoutError",
    "TelemetryError",
    "TrainingError",
    "UnsupportedSpaceError",
    "WeightsError",
]


class MineStudioError(Exception):
    """Base of all exceptions raised on purpose by this package."""


class ConfigError(MineStudioError):
    """A configuration cannot be used.

    ``problems`` holds one text per problem, each with the rule, what came, and what to do.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__(message, self.problems)

    def __str__(self) -> str:
        lines = [str(self.args[0])]
        lines += [f"  {number}. {problem}" for number, problem in enumerate(self.problems, 1)]
        return "\n".join(lines)


class SessionStateError(MineStudioError):
    """A session method was called in a state in which it is not legal."""


class RunError(MineStudioError):
    """A run name, run directory or recorded run is unusable."""


class ResourceError(MineStudioError):
    """The machine or the cluster lacks what was asked for."""


class SimulatorError(MineStudioError):
    """VoxelSim was given a name, command or state that it does not know."""


class EnvError(MineStudioError):
    """An environment failed."""


class EnvStartError(EnvError):
    """An environment could not be built or never showed a first observation."""


class EnvTimeoutError(EnvError):
    """An environment missed the deadline of a phase (start, reset or step)."""


class EnvCrashError(EnvError):
    """An environment raised an exception, or the process that held it died."""


class CrashLoopError(EnvError):
    """Environments failed so often that restarting them was given up."""


class UnsupportedSpaceError(MineStudioError):
    """An observation or action space that no policy of this package can use."""


class WeightsError(MineStudioError):
    """Weights do not fit the policy that should take them."""


class CheckpointError(MineStudioError):
    """A checkpoint is missing, incomplete or belongs to another policy."""


class TrainingError(MineStudioError):
    """The trainer cannot go on."""


class RankLostError(TrainingError):
    """Ranks train together, and another one does not answer any more; what ended it is the cause."""


class StoreTimeoutError(MineStudioError):
    """Fragments did not arrive before a deadline."""


class TelemetryError(MineStudioError):
    """A metric is not in the catalogue, or is used against its declaration."""

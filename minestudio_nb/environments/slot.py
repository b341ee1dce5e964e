"""One environment that writes into arrays: what a rollout worker and an environment's process have in common."""

from __future__ import annotations

import logging
import math
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from minestudio_nb.contracts.specs import SINGLE_KEY, EnvSpec
from minestudio_nb.environments.action_words import action_words
from minestudio_nb.environments.spaces import flatten_observation, spec_of
from minestudio_nb.errors import EnvCrashError

__all__ = [
    "IDLE",
    "RECORD",
    "RESET",
    "START",
    "STEP",
    "WAIT",
    "EnvArrays",
    "EnvSlot",
    "EpisodeEnd",
    "Picture",
    "StepCost",
]

_logger = logging.getLogger(__name__)

IDLE, START, RESET, STEP, WAIT = 0, 1, 2, 3, 4
"""Phases of an environment. START, RESET and STEP have deadlines; in WAIT it waits until others have started."""


class RECORD:
    """Values of :attr:`EnvArrays.record`, the little protocol by which one episode is recorded."""

    OFF = 0
    WANTED = 1
    """The next episode shall be recorded."""
    TRACE = 2
    """This episode is being recorded by the environment itself, which gives a trace at its end."""
    FRAMES = 3
    """This episode shall be recorded, and the environment keeps no trace: keep its images instead."""


_ALIGNMENT = 64


@dataclass
class EnvArrays:
    """What ``n`` environments show and are told, as arrays over one buffer, which may be shared between processes.

    ``obs[key]`` and ``final_obs[key]`` have shape ``(n, *box.shape)``; ``actions`` ``(n, K)`` in the action
    spec's dtype; ``rewards`` float32 ``(n,)``; ``terminated``, ``truncated`` bool ``(n,)``; ``phase`` and ``record``
    uint8 ``(n,)``; ``phase_since`` float64 ``(n,)`` in seconds of ``time.monotonic``. An environment writes only its
    own row, and only between being told to step and its answer.
    """

    obs: dict[str, npt.NDArray[Any]]
    final_obs: dict[str, npt.NDArray[Any]]
    actions: npt.NDArray[Any]
    rewards: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    phase: npt.NDArray[np.uint8]
    record: npt.NDArray[np.uint8]
    phase_since: npt.NDArray[np.float64]

    @staticmethod
    def _layout(spec: EnvSpec, n: int) -> tuple[list[tuple[str, tuple[int, ...], str, int]], int]:
        arrays = [(f"obs:{key}", (n, *box.shape), box.dtype) for key, box in spec.obs.items()]
        arrays += [(f"final:{key}", (n, *box.shape), box.dtype) for key, box in spec.obs.items()]
        arrays += [("actions", (n, spec.action.size), spec.action.dtype), ("rewards", (n,), "float32")]
        arrays += [("terminated", (n,), "bool"), ("truncated", (n,), "bool"), ("phase", (n,), "uint8")]
        arrays += [("record", (n,), "uint8"), ("phase_since", (n,), "float64")]
        placed, offset = [], 0
        for name, shape, dtype in arrays:
            placed.append((name, shape, dtype, offset))
            size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            offset += -(-size // _ALIGNMENT) * _ALIGNMENT
        return placed, offset

    @classmethod
    def nbytes(cls, spec: EnvSpec, n: int) -> int:
        """Size of the buffer for ``n`` environments."""
        return cls._layout(spec, n)[1]

    @classmethod
    def over(cls, buffer: Any, spec: EnvSpec, n: int) -> EnvArrays:
        """Arrays over ``buffer``, a writable buffer of at least :meth:`nbytes` bytes; two calls see the same memory."""
        views: dict[str, npt.NDArray[Any]] = {}
        for name, shape, dtype, offset in cls._layout(spec, n)[0]:
            views[name] = np.ndarray(shape, dtype, buffer, offset)
        obs = {key: views.pop(f"obs:{key}") for key in spec.obs.keys}
        final = {key: views.pop(f"final:{key}") for key in spec.obs.keys}
        return cls(obs, final, **views)


@dataclass(frozen=True)
class EpisodeEnd:
    """What an environment says about an episode that has just ended, beside the arrays."""

    task: str | None = None
    """``info["task"]``, where the environment gives one."""
    extras: Mapping[str, float] = field(default_factory=dict)
    """``info["extras"]``: further numbers about the episode."""
    trace: Any = None
    """What the environment recorded of it, where that was wanted and it can."""


@dataclass(frozen=True)
class Picture:
    """What an environment shows to people, other than what it shows to the policy."""

    frame: npt.NDArray[np.uint8] | None
    """uint8 ``(H, W, 3)`` of its ``render()``; None where that gives no such frame."""
    pressed: str
    """The last action in words; empty before the first of an episode."""
    seconds: float
    """How long it took to make."""


@dataclass(frozen=True)
class StepCost:
    """What one step costs, measured with random actions."""

    wall_seconds: float
    cpu_seconds: float
    waits: float
    """Voluntary context switches per step: near 0 for computation, 1 or more where it sleeps or reads a socket."""
    trusted: bool
    """Whether the environment's class is gymnasium's or this package's."""

    @property
    def is_waiting(self) -> bool:
        """Whether a step spends its time waiting rather than computing, so that environments overlap in processes."""
        return self.waits >= 0.5 and self.wall_seconds - self.cpu_seconds > max(0.001, self.cpu_seconds)


class EnvSlot:
    """Holds environment ``index``: builds it, steps it, and begins the next episode by itself. ::

    spec = slot.build()
    slot.attach(arrays)
    slot.reset()                      # arrays.obs[...][index] is the first observation
    end = slot.step()                 # acts on arrays.actions[index]; an EpisodeEnd where an episode ended

    After an episode's end ``arrays.obs`` already shows the next episode's first observation, and ``arrays.final_obs``
    the last one of a truncated episode. Exceptions of the environment's code pass through.

    An environment with an attribute ``on_wait`` gets a function there, to be called with True when its reset begins to
    wait for other environments' starts, and with False when it need not wait any more.
    """

    def __init__(
        self,
        factory: Callable[[int], gymnasium.Env[Any, Any]],
        index: int,
        seed: int,
        task: str = "default",
        restart_interval: float | None = None,
    ) -> None:
        self.index = index
        self.env: Any = None
        self.spec: EnvSpec | None = None
        self._factory = factory
        self._seed: int | None = seed
        self._task = task
        self._restart_interval = restart_interval
        self._arrays: EnvArrays | None = None
        self._obs: dict[str, npt.NDArray[Any]] = {}
        self._final: dict[str, npt.NDArray[Any]] = {}
        self._single: npt.NDArray[Any] | None = None
        self._observe_into: Any = None
        self._built_at = 0.0
        self._action: Any = None
        """The last action of this episode, in the environment's form; the arrays may show the next one already."""
        self._mute: set[str] = set()
        """What it cannot tell people, since it raised when it was asked."""

    def build(self) -> EnvSpec:
        """Builds the environment and says what it shows and accepts."""
        self._phase(START)
        self.env = self._factory(self.index)
        self._built_at = time.monotonic()
        self._observe_into = getattr(self.env, "observe_into", None)
        inner = getattr(self.env, "unwrapped", self.env)
        if hasattr(inner, "on_wait"):
            inner.on_wait = self._waits
        self.spec = spec_of(self.env, self._task)
        return self.spec

    def attach(self, arrays: EnvArrays) -> None:
        """Says where to write."""
        self._arrays = arrays
        self._obs = {key: array[self.index, ...] for key, array in arrays.obs.items()}
        self._final = {key: array[self.index, ...] for key, array in arrays.final_obs.items()}
        assert self.spec is not None
        self._single = None if self.spec.obs.is_dict else self._obs[SINGLE_KEY]

    def reset(self, seed: int | None = None) -> None:
        """Begins an episode; the first one of this slot's life with its own seed, unless ``seed`` is given."""
        arrays = self._get_arrays()
        self._phase(RESET)
        seed = self._seed if seed is None else seed
        observation, _ = self.env.reset(seed=seed) if seed is not None else self.env.reset()
        self._seed = None
        self._action = None
        self._write(observation, self._obs)
        if arrays.record[self.index] != RECORD.OFF:
            can_trace = hasattr(self.env, "start_trace")
            arrays.record[self.index] = RECORD.TRACE if can_trace else RECORD.FRAMES
            if can_trace:
                self.env.start_trace()
        self._phase(IDLE)

    def step(self, start_next: bool = True) -> EpisodeEnd | None:
        """One decision: acts on ``arrays.actions[index]`` and writes what came of it.

        With ``start_next`` False the caller resets after an episode's end, and nothing is rebuilt.
        """
        arrays, index = self._get_arrays(), self.index
        self._phase(STEP)
        assert self.spec is not None
        action = self.spec.action.decode(arrays.actions[index])
        observation, reward, terminated, truncated, info = self.env.step(action)
        reward = _number(reward)
        _require_flags(terminated, truncated)
        self._action = action
        truncated = bool(truncated) and not terminated  # where both hold there is nothing to bootstrap from
        arrays.rewards[index] = reward
        arrays.terminated[index] = terminated
        arrays.truncated[index] = truncated
        if not (terminated or truncated):
            self._write(observation, self._obs)
            arrays.phase[index] = IDLE
            return None
        if truncated:
            self._write(observation, self._final)
        end = self._end(info)
        if not start_next:
            return end
        age = time.monotonic() - self._built_at
        if self._restart_interval is not None and age > self._restart_interval:
            self.close()
            self.build()
        self.reset()
        return end

    def look(self) -> Picture:
        """What people see of it now. Never raises: an environment that cannot be shown can be learned from all the
        same."""
        began = time.perf_counter()
        frame = self._try("picture", self._render, None)
        pressed = "" if self._action is None else self._try("action's name", self._describe_action, "")
        return Picture(frame, pressed, time.perf_counter() - began)

    def _render(self) -> npt.NDArray[np.uint8] | None:
        if getattr(self.env, "render_mode", None) != "rgb_array":
            return None
        frame = np.array(self.env.render())
        return frame if frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 else None

    def _describe_action(self) -> str:
        assert self.spec is not None
        return action_words(self.env, self.spec.action, self._action)

    def _try(self, what: str, make: Callable[[], Any], otherwise: Any) -> Any:
        if what in self._mute:
            return otherwise
        try:
            return make()
        except Exception:
            _logger.warning("environment %d gives no %s, and is not asked again", self.index, what, exc_info=True)
            self._mute.add(what)
            return otherwise

    def measure(self, steps: int = 32) -> StepCost:
        """The cost of a step, from ``steps`` random ones. The environment must be reset afterwards."""
        space = self.env.action_space
        space.seed(0)
        self.env.reset(seed=self._seed)
        actions = [space.sample() for _ in range(steps)]
        wall = cpu = waits = 0.0
        for action in actions:
            wall_0, cpu_0, waits_0 = time.perf_counter(), time.thread_time(), _voluntary_switches()
            _, _, terminated, truncated, _ = self.env.step(action)
            wall += time.perf_counter() - wall_0
            cpu += time.thread_time() - cpu_0
            waits += _voluntary_switches() - waits_0
            if terminated or truncated:
                self.env.reset()
        module = type(getattr(self.env, "unwrapped", self.env)).__module__.partition(".")[0]
        return StepCost(wall / steps, cpu / steps, waits / steps, module in ("gymnasium", "minestudio_nb"))

    def get_state(self) -> Any:
        """The environment's own state, or None where it offers none."""
        return self.env.get_state() if hasattr(self.env, "get_state") else None

    def set_state(self, state: Any) -> None:
        """Takes back what :meth:`get_state` gave; the arrays are the caller's business."""
        self.env.set_state(state)

    def close(self) -> None:
        """Closes the environment; harmless when there is none."""
        env, self.env, self._observe_into = self.env, None, None
        if env is not None:
            env.close()

    def _end(self, info: Mapping[str, Any]) -> EpisodeEnd:
        arrays = self._get_arrays()
        recording = arrays.record[self.index]
        trace = self.env.finish_trace() if recording == RECORD.TRACE else None
        if recording in (RECORD.TRACE, RECORD.FRAMES):  # otherwise the worker may be writing at this moment
            arrays.record[self.index] = RECORD.OFF
        task = info.get("task") if info else None
        extras = info.get("extras") if info else None
        numbers = {str(name): float(value) for name, value in extras.items()} if extras else {}
        return EpisodeEnd(str(task) if task is not None else None, numbers, trace)

    def _write(self, observation: Any, out: dict[str, npt.NDArray[Any]]) -> None:
        if self._observe_into is not None:
            self._observe_into(out)
        elif self._single is not None:
            _put(SINGLE_KEY, observation, out[SINGLE_KEY])
        else:
            assert self.spec is not None
            for key, value in flatten_observation(observation, self.spec.obs).items():
                _put(key, value, out[key])

    def _get_arrays(self) -> EnvArrays:
        if self._arrays is None:
            raise EnvCrashError("attach() must come before reset() and step().")
        return self._arrays

    def _waits(self, begins: bool) -> None:
        """An environment whose start is heavy waits for its turn, or has it: what follows counts as a start."""
        self._phase(WAIT if begins else START)

    def _phase(self, phase: int) -> None:
        if self._arrays is not None:
            self._arrays.phase_since[self.index] = time.monotonic()
            self._arrays.phase[self.index] = phase


def _put(key: str, value: Any, out: npt.NDArray[Any]) -> None:
    """Writes one part of an observation; EnvCrashError where it is not what the space declares, or not finite.

    Looked at with each step: numpy would silently broadcast another shape, and garbage would reach the policy.
    """
    array = np.asarray(value)
    if array.shape != out.shape:
        raise EnvCrashError(
            f"The observation {key!r} has shape {array.shape}, but the environment's observation space says "
            f"{out.shape}. Correct the space or the observation."
        )
    if array.dtype != out.dtype and not np.can_cast(array.dtype, out.dtype, "same_kind"):
        raise EnvCrashError(
            f"The observation {key!r} has dtype {array.dtype}, which {out.dtype} of the environment's observation "
            "space cannot hold. Correct the space or the observation."
        )
    out[...] = array
    # The sum of squares is the cheapest way to see that nothing is wrong; it overflows for some good observations.
    if out.dtype.kind == "f" and not math.isfinite(np.vdot(out, out)) and not np.isfinite(out).all():
        raise EnvCrashError(f"The observation {key!r} holds NaN or infinity.")


def _number(reward: Any) -> float:
    """A reward as a number; EnvCrashError where it is none, or not finite."""
    try:
        number = float(reward)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise EnvCrashError(f"The environment's reward must be a finite number; {reward!r} came from step().")
    return number


def _require_flags(terminated: Any, truncated: Any) -> None:
    """EnvCrashError unless both are booleans: of anything else it is unknown what it means."""
    for name, flag in (("terminated", terminated), ("truncated", truncated)):
        if not isinstance(flag, (bool, np.bool_)):
            raise EnvCrashError(f"{name} must be True or False; {flag!r} came from step().")


def _voluntary_switches() -> int:
    who = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)  # the former is Linux only
    return resource.getrusage(who).ru_nvcsw

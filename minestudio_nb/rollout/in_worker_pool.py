"""Environments stepped one after another in the worker's own process: the fastest way for cheap, trusted ones."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.environments.build import EnvFactory
from minestudio_nb.environments.slot import RESET, START, STEP, EnvArrays, EnvSlot
from minestudio_nb.errors import EnvStartError
from minestudio_nb.rollout.pool import Deadlines, EnvFault, Outcome, PoolKind, RestartLimits, RestartRecord

__all__ = ["InWorkerPool"]

_logger = logging.getLogger(__name__)


class InWorkerPool:
    """An :class:`EnvPool` in this process. Exceptions are healed; a hang or a crash of the interpreter is not.

    A hang is seen, by :meth:`overdue` from another thread: with Ray the worker is replaced then.

    ``slots`` may hold environments that were built before, to measure them. ``stop`` ends the wait for a restart early.
    """

    kind: PoolKind = "in_worker"

    def __init__(
        self,
        factory: EnvFactory,
        num_envs: int,
        restart_interval: float | None = None,
        limits: RestartLimits | None = None,
        stop: threading.Event | None = None,
        slots: Sequence[EnvSlot] = (),
        deadlines: Deadlines | None = None,
    ) -> None:
        self.spec: EnvSpec
        self.arrays: EnvArrays
        self.start_faults: list[EnvFault] = []
        self._factory = factory
        self._restart_interval = restart_interval
        self._slots: list[EnvSlot] = list(slots)
        self._num_envs = num_envs
        self._restarts = [RestartRecord(index, limits or RestartLimits()) for index in range(num_envs)]
        self._stop = stop or threading.Event()
        self._deadlines = deadlines or Deadlines()
        self._down: dict[int, float] = {}
        self._outcome = Outcome()

    def start(self, timeout: float) -> EnvSpec:
        """Builds and resets all environments; see :class:`EnvPool`. ``timeout`` is looked at between two of them."""
        deadline = time.monotonic() + timeout
        for index in range(self._num_envs):
            if time.monotonic() > deadline:
                raise EnvStartError(f"Only {index} of {self._num_envs} environments had started after {timeout:.0f} s.")
            self._start_one(index)
        return self.spec

    def submit(self, ids: npt.NDArray[np.intp], actions: npt.NDArray[Any]) -> None:
        """Steps environments ``ids`` right away."""
        self.arrays.actions[ids] = actions
        stepped = self._outcome.stepped
        for index in ids.tolist():
            try:
                end = self._slots[index].step()
            except Exception as error:  # noqa: BLE001 - whatever a user's environment raises is a fault of that one
                self._fail(index, error)
                continue
            stepped.append(index)
            if end is not None:
                self._outcome.ends[index] = end

    def collect(self, limit: int, timeout: float, linger: float = 0.0) -> Outcome:
        """What the last submit brought, and restarts that are due; waits for one only when there is nothing else."""
        del limit, linger  # all of them stepped in this thread already
        if self._down:
            if not self._outcome:
                self._stop.wait(min(timeout, max(0.0, min(self._down.values()) - time.monotonic())))
            now = time.monotonic()
            for index in [index for index, due in self._down.items() if due <= now]:
                self._restart(index)
        outcome, self._outcome = self._outcome, Outcome()
        return outcome

    @property
    def running(self) -> int:
        """Environments that wait to be rebuilt; all others stepped when they were told."""
        return len(self._down) + bool(self._outcome)

    def ask_picture(self, index: int) -> None:
        """See :class:`EnvPool`; made right away."""
        if index not in self._down:
            self._outcome.pictures[index] = self._slots[index].look()

    def get_states(self) -> list[Any]:
        """See :class:`EnvPool`; None also for one that waits to be rebuilt."""
        return [None if slot.index in self._down else slot.get_state() for slot in self._slots]

    def set_states(self, states: Sequence[Any]) -> None:
        """See :class:`EnvPool`."""
        for slot, state in zip(self._slots, states, strict=True):
            if state is not None:
                slot.set_state(state)

    def hold(self, held: bool) -> None:
        """See :class:`EnvPool`; nothing runs here while nobody steps it."""

    def overdue(self) -> str:
        """See :class:`EnvPool`."""
        arrays = getattr(self, "arrays", None)  # None before the first environment is built
        if arrays is None:
            return ""
        now = time.monotonic()
        for index, phase in enumerate(arrays.phase.tolist()):
            name = {STEP: "step", RESET: "reset", START: "start"}.get(phase)
            if name is None or index in self._down:
                continue
            limit = getattr(self._deadlines, name)
            if now - arrays.phase_since[index] > limit and arrays.phase[index] == phase:
                return f"environment {index}'s {name} takes longer than {limit:g} s (timeouts.{name})"
        return ""

    def close(self) -> None:
        """Closes all environments."""
        for slot in self._slots:
            self._close_slot(slot)

    def _start_one(self, index: int) -> None:
        try:
            if index == len(self._slots):
                self._slots.append(self._new_slot(index))
            slot = self._slots[index]
            spec = slot.spec or slot.build()
            if index == 0:
                self.spec = spec
                self.arrays = EnvArrays.over(bytearray(EnvArrays.nbytes(spec, self._num_envs)), spec, self._num_envs)
            elif spec != self.spec:
                raise EnvStartError(f"Environment {index} has other spaces than environment 0: {spec} and {self.spec}.")
            slot.attach(self.arrays)
            slot.reset()
        except EnvStartError:
            raise
        except Exception as error:
            text = f"Environment {index} ({self._factory.describe()}) did not start: {type(error).__name__}: {error}"
            raise EnvStartError(text) from error

    def _new_slot(self, index: int) -> EnvSlot:
        factory = self._factory
        seed = factory.seed_of(index, self._restarts[index].count)
        return EnvSlot(factory, index, seed, factory.task, self._restart_interval)

    def _fail(self, index: int, error: Exception) -> None:
        self._close_slot(self._slots[index])
        cause = f"{type(error).__name__}: {error}"
        now = time.monotonic()
        wait = self._restarts[index].wait_seconds(cause, now)
        self._down[index] = now + wait
        detail = "".join(traceback.format_exception(error))
        self._outcome.faults.append(EnvFault(index, cause, detail, wait, self._restarts[index].count))

    def _restart(self, index: int) -> None:
        self.arrays.phase_since[index] = time.monotonic()
        self.arrays.phase[index] = START  # it has none to say so itself yet
        del self._down[index]
        slot = self._new_slot(index)
        self._slots[index] = slot
        try:
            if slot.build() != self.spec:
                raise EnvStartError("it came back with other spaces than before")
            slot.attach(self.arrays)
            slot.reset()
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(index, error)
            return
        self._outcome.started.append(index)

    @staticmethod
    def _close_slot(slot: EnvSlot) -> None:
        try:
            slot.close()
        except Exception:
            _logger.warning("closing environment %d raised", slot.index, exc_info=True)

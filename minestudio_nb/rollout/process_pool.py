"""Each environment in a process of its own, acted on when it answers: for slow, waiting or untrusted environments."""

from __future__ import annotations

import contextlib
import mmap
import os
import selectors
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import psutil

from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.environments.build import EnvFactory
from minestudio_nb.environments.engines import machine_folder, sweep
from minestudio_nb.environments.shared import anonymous_memory
from minestudio_nb.environments.slot import IDLE, RESET, START, WAIT, EnvArrays, EpisodeEnd, Picture, StepCost
from minestudio_nb.errors import CrashLoopError, EnvCrashError, EnvStartError
from minestudio_nb.rollout.env_process import EnvProcess
from minestudio_nb.rollout.pool import Deadlines, EnvFault, Outcome, PoolKind, RestartLimits, RestartRecord

__all__ = ["ProcessPool"]

CLOSE_SECONDS = 3.0
"""How long environments may take to close by themselves before they are killed."""
MINECRAFT_CLOSE_SECONDS = 20.0
"""The same where a game engine has to end, and a film may have to be written."""

MEMORY_SECONDS = 2.0
"""How often the memory of environments is looked at, where it has a limit."""

State = Literal["down", "starting", "stepping", "ready"]


@dataclass
class _Member:
    """One environment: its process while there is one, what it is doing, and until when that may last."""

    index: int
    restarts: RestartRecord
    process: EnvProcess | None = None
    state: State = "down"
    deadline: float = 0.0
    """When a missing answer is a fault, or for ``"down"`` when to build anew; seconds of ``time.monotonic``."""
    cost: StepCost | None = None
    asked_picture: bool = False
    """Whether a picture was asked for that has not come."""


class ProcessPool:
    """An :class:`EnvPool` of child processes over shared memory.

    Observations, rewards, flags and actions are in one anonymous shared memory that vanishes with the last process that
    has it, however that ends. A step costs one small message each way; waiting is one epoll with the next deadline.

    What environments print goes to files in the folder ``logs``, one for each environment; errors quote the last
    lines. Without that folder it goes where this process prints, except for Minecraft and for another interpreter.
    ``memory_limit`` in bytes is for all processes of one environment together.
    """

    kind: PoolKind = "processes"

    def __init__(
        self,
        factory: EnvFactory,
        num_envs: int,
        deadlines: Deadlines | None = None,
        restart_interval: float | None = None,
        limits: RestartLimits | None = None,
        measure: bool = False,
        logs: Path | None = None,
        memory_limit: float | None = None,
    ) -> None:
        self.spec: EnvSpec
        self.arrays: EnvArrays
        self._factory = factory
        self._memory_limit = memory_limit
        self._memory_due = 0.0
        self._held_at: float | None = None
        """Since when deadlines are suspended; None: they hold."""
        self._held_until = 0.0
        """When they were last suspended; what began before may take its whole time from there."""
        self._deadlines = deadlines or Deadlines()
        self._restart_interval = restart_interval
        self._measure = measure
        self._is_minecraft = factory.kind == "minecraft"
        if logs is None and (self._is_minecraft or factory.python is not None):
            logs = machine_folder("logs")
        self._logs = logs
        limits = limits or RestartLimits()
        self._members = [_Member(index, RestartRecord(index, limits)) for index in range(num_envs)]
        self._payload = factory.dumps()
        self._memory = anonymous_memory()
        self._size = 0
        self._selector = selectors.DefaultSelector()
        self._spawner = ThreadPoolExecutor(1, "env-spawner")
        self._answered: deque[_Member] = deque()
        self._ends: dict[int, EpisodeEnd] = {}
        self._events = Outcome()
        self.start_faults: list[EnvFault] = []
        """Processes that died, and were started again, before :meth:`start` returned."""
        self._closed = False

    def start(self, timeout: float) -> EnvSpec:
        """Starts all processes at once; see :class:`EnvPool`. A process that dies is tried again within ``timeout``.

        Where environments start in turns, ``timeout`` is for each turn.
        """
        if self._is_minecraft:
            sweep()  # engines that a killed worker left behind
        deadline = time.monotonic() + timeout
        for member in self._members:
            self._spawn(member)
        while late := [member for member in self._members if member.state != "ready"]:
            left = deadline - time.monotonic()
            if left <= 0:
                self._raise_late(late, timeout)
            try:
                self._look(left)
            except CrashLoopError as error:
                raise EnvStartError(str(error)) from error
            broken = [fault for fault in self._events.faults if fault.detail]
            if broken:
                raise EnvStartError(
                    f"Environment {broken[0].index} ({self._factory.describe()}) did not start: {broken[0].cause}\n"
                    f"{broken[0].detail}\n{broken[0].log}".rstrip()
                )
            deadline = max(deadline, self._turns_until(timeout))
        self.start_faults, self._events = self._events.faults, Outcome()
        return self.spec

    def _raise_late(self, late: Sequence[_Member], timeout: float) -> None:
        causes = "; ".join(dict.fromkeys(fault.cause for fault in self._events.faults)) or "no fault seen"
        tail = next((member.process.log_tail() for member in late if member.process is not None), "")
        raise EnvStartError(
            f"Environments {[member.index for member in late]} of {self._factory.describe()} showed no observation "
            f"within {timeout:.0f} s ({causes}). Raise timeouts.start, or look at what the environment does when it "
            f"starts.\n{tail}".rstrip()
        )

    def _turns_until(self, timeout: float) -> float:
        """Until when the environment whose turn to start came last may take; 0 where none has waited."""
        if not self._size:
            return 0.0
        if (self.arrays.phase == WAIT).any():
            return time.monotonic() + timeout
        begun = self.arrays.phase_since[self.arrays.phase == START]
        return float(begun.max()) + timeout if begun.size else 0.0

    @property
    def step_cost(self) -> StepCost | None:
        """What environment 0 measured before it started, where that was wanted."""
        return self._members[0].cost

    @property
    def pids(self) -> list[int | None]:
        """Process id of each environment, None while it has no process."""
        return [member.process.pid if member.process else None for member in self._members]

    @property
    def running(self) -> int:
        """Environments of which something will come without a further submit."""
        busy = sum(member.state != "ready" for member in self._members)
        return busy + len(self._answered) + bool(self._events)

    @property
    def _stepping(self) -> bool:
        return any(member.state == "stepping" for member in self._members)

    def submit(self, ids: npt.NDArray[np.intp], actions: npt.NDArray[Any]) -> None:
        """Wakes environments ``ids``."""
        self.arrays.actions[ids] = actions
        due = time.monotonic() + self._deadlines.step
        for index in ids.tolist():
            member = self._members[index]
            if member.state != "ready" or member.process is None:
                raise EnvCrashError(f"Environment {index} was told to step while it is {member.state}.")
            member.state, member.deadline = "stepping", due
            try:
                member.process.channel.send_step()
            except OSError:
                self._fail(member, member.process.describe_death())

    def collect(self, limit: int, timeout: float, linger: float = 0.0) -> Outcome:
        """See :class:`EnvPool`. Answers beyond ``limit`` are kept, first come first served."""
        self._look(0.0 if self._answered or self._events else timeout)
        if linger and self._answered:
            until = time.monotonic() + linger
            while len(self._answered) < limit and not self._events and self._stepping:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._look(left)
        outcome, self._events = self._events, Outcome()
        while self._answered and len(outcome.stepped) < limit:
            index = self._answered.popleft().index
            outcome.stepped.append(index)
            if index in self._ends:
                outcome.ends[index] = self._ends.pop(index)
        return outcome

    def ask_picture(self, index: int) -> None:
        """See :class:`EnvPool`; made by the environment's process, after the step at hand."""
        member = self._members[index]
        if member.process is None or member.state not in ("ready", "stepping") or member.asked_picture:
            return
        try:
            member.process.channel.send(("look",))
        except OSError:
            return  # it has just died, which shows when somebody reads
        member.asked_picture = True

    def get_states(self) -> list[Any]:
        """See :class:`EnvPool`; None also for one that is being rebuilt."""
        return self._ask([("get_state",) if member.state == "ready" else None for member in self._members])

    def set_states(self, states: Sequence[Any]) -> None:
        """See :class:`EnvPool`."""
        self._ask([None if state is None else ("set_state", state) for state in states])

    def hold(self, held: bool) -> None:
        """See :class:`EnvPool`. Answers that come meanwhile come in time, and deaths are seen."""
        now = time.monotonic()
        if held:
            self._held_at = self._held_at or now
        elif self._held_at is not None:
            for member in self._members:
                member.deadline += now - self._held_at
            self._held_at, self._held_until = None, now

    def overdue(self) -> str:
        """See :class:`EnvPool`; what is late here is killed by the pool."""
        return ""

    def close(self) -> None:
        """Asks all environments to close, and kills those that have not after a few seconds."""
        if self._closed:
            return
        self._closed = True
        for member in self._members:
            if member.process is not None:
                member.process.ask_to_close()
        deadline = time.monotonic() + (MINECRAFT_CLOSE_SECONDS if self._is_minecraft else CLOSE_SECONDS)
        for member in self._members:
            self._end(member, grace=max(0.0, deadline - time.monotonic()))
        self._selector.close()
        os.close(self._memory)
        self._spawner.shutdown()

    # Waiting and answering.

    def _look(self, timeout: float) -> None:
        """Handles everything that has arrived, waiting up to ``timeout`` seconds for the first, then deadlines."""
        now = time.monotonic()
        if timeout > 0:
            next_deadline = min((m.deadline for m in self._members if m.state != "ready"), default=now + timeout)
            timeout = max(0.0, min(timeout, next_deadline - now))
        for key, _ in self._selector.select(timeout):
            self._read(key.data, key.fileobj)
        self._enforce_deadlines()
        if self._memory_limit is not None and time.monotonic() >= self._memory_due:
            self._enforce_memory(self._memory_limit)

    def _read(self, member: _Member, source: Any) -> None:
        """Takes one message, or notices a death; ``source`` is the socket or the descriptor that tells of the death."""
        process = member.process
        if process is None or source not in (process.channel, process.died):
            return  # ended by an event that was handled just before
        try:
            if source is not process.channel and not process.channel.poll():
                self._fail(member, process.describe_death())  # it left no message behind
                return
            message = process.channel.receive()
        except (EOFError, OSError):
            self._fail(member, process.describe_death())
            return
        if message is None:
            member.state = "ready"
            self._answered.append(member)
        else:
            self._handle(member, *message)

    def _handle(self, member: _Member, kind: str, *arguments: Any) -> None:
        if kind == "end":
            member.state = "ready"
            self._answered.append(member)
            self._ends[member.index] = arguments[0]
        elif kind == "spec":
            self._welcome(member, arguments[0], arguments[1])
        elif kind == "ready":
            member.state = "ready"
            self._events.started.append(member.index)
        elif kind == "picture":
            self._take_picture(member, *arguments)
        elif kind == "error":
            self._fail(member, arguments[0], arguments[1])
        else:
            self._fail(member, f"its process sent an unknown message {kind!r}")

    def _take_picture(
        self, member: _Member, frame: tuple[tuple[int, int, int], bytes] | None, pressed: str, seconds: float
    ) -> None:
        pixels = None if frame is None else np.frombuffer(frame[1], np.uint8).reshape(frame[0])
        member.asked_picture = False
        self._events.pictures[member.index] = Picture(pixels, pressed, seconds)

    def _welcome(self, member: _Member, spec: EnvSpec, cost: StepCost | None) -> None:
        """The first environment that is built decides the layout of the memory; all others must agree."""
        assert member.process is not None
        if not self._size:
            count = len(self._members)
            self.spec, self._size = spec, EnvArrays.nbytes(spec, count)
            os.ftruncate(self._memory, self._size)
            self.arrays = EnvArrays.over(mmap.mmap(self._memory, self._size), spec, count)
        if spec != self.spec:
            self._fail(
                member, f"its spaces differ from those of the other environments: {spec} and {self.spec}", "spec"
            )
            return
        member.cost = cost
        try:
            member.process.channel.send(("attach", self._size))
        except OSError:
            self._fail(member, member.process.describe_death())

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        for member in self._members:
            if member.state == "ready" or now < member.deadline:
                continue
            if member.state == "down":
                self._spawn(member)
                continue
            if self._held_at is not None:
                continue
            phase, begun = self._phase_of(member, now)
            limit = getattr(self._deadlines, phase)
            if begun is not None and now < (begun := max(begun, self._held_until)) + limit:
                member.deadline = begun + limit
                continue
            pid = member.process.pid if member.process else 0
            self._fail(member, f"its {phase} took longer than {limit:g} s (timeouts.{phase}); process {pid} was killed")

    def _enforce_memory(self, limit: float) -> None:
        self._memory_due = time.monotonic() + MEMORY_SECONDS
        for member in self._members:
            held = 0 if member.process is None else _tree_bytes(member.process.pid)
            if held > limit:
                text = f"its processes held {held / 2**20:.0f} MiB of memory, more than {limit / 2**20:.0f}"
                self._fail(member, f"{text} (worker_config.env_memory_mib), and were killed")

    def _phase_of(self, member: _Member, now: float) -> tuple[str, float | None]:
        """Whose deadline counts for a member that has missed one, and since when, where that was not known before.

        A step that ended an episode goes on with a reset, or a rebuild, which has a deadline of its own. Waiting for
        other environments' starts is nobody's fault.
        """
        phase = int(self.arrays.phase[member.index]) if self._size else IDLE
        if phase == WAIT:
            return "start", now
        if phase == START:
            return "start", float(self.arrays.phase_since[member.index])
        if member.state == "starting":  # its first reset belongs to its start
            return "start", None
        if phase == RESET:
            return "reset", float(self.arrays.phase_since[member.index])
        return "step", None

    # Faults.

    def _spawn(self, member: _Member) -> None:
        start = {
            "factory": self._payload,
            "index": member.index,
            "num_envs": len(self._members),
            "restarts": member.restarts.count,
            "restart_interval": self._restart_interval,
            "measure": self._measure and member.index == 0,
        }
        if self._size:
            self.arrays.phase[member.index] = IDLE  # whatever its predecessor was doing
        log = self._logs and self._logs / f"worker{self._factory.worker}-env{member.index}.log"
        member.process = EnvProcess(self._spawner, self._factory.python, self._memory, start, log)
        member.state, member.deadline = "starting", time.monotonic() + self._deadlines.start
        self._selector.register(member.process.channel, selectors.EVENT_READ, member)
        if member.process.died is not None:
            self._selector.register(member.process.died, selectors.EVENT_READ, member)

    def _fail(self, member: _Member, cause: str, detail: str = "") -> None:
        """Ends the environment's process and plans its successor; an answer that nobody has seen is forgotten."""
        tail = member.process.log_tail() if member.process is not None else ""
        self._end(member)
        if member in self._answered:
            self._answered.remove(member)
            self._ends.pop(member.index, None)
        now = time.monotonic()
        wait = member.restarts.wait_seconds(f"{cause}\n{tail}".rstrip(), now)
        member.state, member.deadline = "down", now + wait
        self._events.faults.append(EnvFault(member.index, cause, detail, wait, member.restarts.count, tail))

    def _end(self, member: _Member, grace: float = 0.0) -> None:
        process, member.process, member.state = member.process, None, "down"
        member.asked_picture = False
        if process is None:
            return
        self._selector.unregister(process.channel)
        if process.died is not None:
            self._selector.unregister(process.died)
        process.kill(grace)

    def _ask(self, questions: Sequence[tuple[Any, ...] | None]) -> list[Any]:
        """Sends each environment its question and returns the answers; None where there was no question."""
        asked = []
        for member, question in zip(self._members, questions, strict=True):
            if question is None or member.process is None:
                continue
            if member.state != "ready":
                raise EnvCrashError(f"Environment {member.index} must not be {member.state} while its state is moved.")
            member.process.channel.send(question)
            asked.append(member)
        answers: list[Any] = [None] * len(self._members)
        for member in asked:
            answers[member.index] = self._answer(member)
        return answers

    def _answer(self, member: _Member) -> Any:
        assert member.process is not None
        kind, arguments = "picture", []
        while kind == "picture":
            if arguments:
                self._take_picture(member, *arguments)
            if not member.process.channel.poll(self._deadlines.step):
                raise EnvCrashError(
                    f"Environment {member.index} did not give its state within {self._deadlines.step:g} s."
                )
            kind, *arguments = member.process.channel.receive()
        if kind != "state":
            raise EnvCrashError(f"Environment {member.index} did not give its state: {arguments}")
        return arguments[0]


def _tree_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
    return total

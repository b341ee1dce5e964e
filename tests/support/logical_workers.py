"""Many rollout workers on few processes: each is an asyncio task that says what a real one says and does no steps.

Supervisor, rollout manager, telemetry hub and replay buffer are the real ones. In the supervisor's process the manager
gets :class:`Hosts` in place of ``ray``: where it would start a worker's actor, one of at most :data:`HOSTS` actors
takes one more task, and the manager holds a :class:`LogicalActor` that passes its calls on.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray

from minestudio_nb.contracts.fragments import EpisodeSummary, FragmentMeta, StreamId
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.contracts.telemetry import Stat
from minestudio_nb.contracts.view import Tile
from minestudio_nb.contracts.weights import WeightsPackage
from minestudio_nb.runtime import buffer_service, rollout_manager, supervisor
from minestudio_nb.runtime.actors import ACQUIRE_SECONDS, WeightsSlot
from minestudio_nb.runtime.adapters import RemoteTelemetry
from minestudio_nb.runtime.base import RuntimeSpec
from minestudio_nb.runtime.buffer_actor import ReplayBufferActor
from minestudio_nb.runtime.calls import QUICK
from minestudio_nb.runtime.claims import Holder
from tests.support.fragments import VECTOR_SPEC, make_fragment

__all__ = ["HOSTS", "Load", "LogicalWorker", "MeasuredBuffer", "MeasuredSupervisor", "WorkerHost"]

HOSTS = 8
"""Actors that the logical workers are spread over, at most."""
BEAT_SECONDS = 0.01
"""How often the buffer's event loop is asked how late it is."""


@dataclass(frozen=True)
class Load:
    """What one logical worker does. ``fragment_seconds`` is how long its environments take for a fragment each."""

    envs: int = 4
    length: int = 64
    fragment_seconds: float = 0.0
    fragments_per_episode: int = 4


class LogicalWorker:
    """One rollout worker without environments, with the methods of ``RolloutWorkerWrapper`` that the manager calls."""

    def __init__(self, index: int, life: int, buffer: Any, supervisor: Any, load: Load) -> None:
        self.index = index
        self.puts: list[tuple[int, int, int, float]] = []
        """Worker, environment, index in the stream, and when the fragment was put, Unix seconds."""
        self._life = life
        self._buffer = buffer
        self._telemetry = RemoteTelemetry(supervisor)
        self._load = load
        self._slot = WeightsSlot()
        self._finished: tuple[list[FragmentMeta], list[Any]] = ([], [])
        self._held = 0
        self._next = [0] * load.envs
        self._fragment = make_fragment(index, load.length, ends=False)
        self._stopped = False

    async def run(self) -> None:
        """Rounds until told to stop."""
        while not self._stopped and (granted := await self._acquire(wait=True)):
            if granted < self._load.envs:
                granted += await self._acquire(wait=False, count=self._load.envs - granted)
            await asyncio.sleep(self._load.fragment_seconds)
            self._deliver(granted)

    async def _acquire(self, wait: bool, count: int | None = None) -> int:
        while not self._stopped:
            wanted = self._load.envs if count is None else count
            seconds = ACQUIRE_SECONDS if wait else 0.0
            asked = self._buffer.acquire.remote(self.index, self._life, self._held, wanted, seconds, *self._finished)
            granted: int | None = await asyncio.wait_for(asked, seconds + QUICK)
            self._finished = ([], [])
            if granted is None:
                return 0
            self._held += granted
            if granted or not wait:
                return granted
        return 0

    def _deliver(self, count: int) -> None:
        """Fragments into the object store, numbers to the hub; the buffer hears of them with the next question."""
        package = self._slot.newest()
        metas, references = [], []
        for env in range(count):
            fragment = replace(
                self._fragment,
                stream=StreamId(self.index, env),
                index=self._next[env],
                versions=np.full(self._load.length, -1 if package is None else package.version, np.int64),
            )
            self._next[env] += 1
            references.append(ray.put(fragment))
            self._held -= 1
            metas.append(fragment.meta(-1))
            self.puts.append((self.index, env, fragment.index, time.time()))
        self._report(metas)
        self._finished = (metas, references)

    def _report(self, metas: Sequence[FragmentMeta]) -> None:
        steps = float(sum(meta.length for meta in metas))
        names = ("inference_seconds", "env_seconds", "blocked_seconds")
        batch = {"rollout/env_steps": Stat()} | {f"rollout/{name}": Stat() for name in names}
        for name, stat in batch.items():
            stat.add(steps if name == "rollout/env_steps" else 0.01)
        self._telemetry.metrics(batch)
        ended = [meta for meta in metas if meta.index % self._load.fragments_per_episode == 0]
        if ended:
            self._telemetry.episodes([self._episode(meta) for meta in ended])

    def _episode(self, meta: FragmentMeta) -> EpisodeSummary:
        length = self._load.length * self._load.fragments_per_episode
        return EpisodeSummary(meta.stream, "synthetic", 1.0, length, meta.version, True, False, time.time())

    # What the manager calls.

    def started(self, timeout: float) -> EnvSpec:
        return VECTOR_SPEC

    async def set_weights(self, package: list[Any]) -> int:
        weights: WeightsPackage = await asyncio.wait_for(package[0], QUICK)
        self._slot.put(weights)
        return weights.version

    def preview(self, seconds: float, large: Sequence[str] = ()) -> dict[str, Tile]:
        return {f"{self.index}/{env}": Tile(None) for env in range(self._load.envs)}

    def record(self, episodes: int) -> None:
        return None

    def beat(self) -> str:
        return ""

    def pause(self, paused: bool, number: int) -> None:
        return None

    def pid(self) -> int:
        return os.getpid()

    def whereabouts(self) -> tuple[int, str]:
        return os.getpid(), socket.gethostname()

    def stop(self) -> None:
        self._stopped = True


class WorkerHost:
    """The actor in which logical workers live."""

    def __init__(self) -> None:
        self._workers: dict[int, LogicalWorker] = {}
        self._changed = asyncio.Condition()

    async def start(self, index: int, life: int, buffer: Any, supervisor: Any, load: Load) -> None:
        """Takes one more worker."""
        async with self._changed:
            self._workers[index] = LogicalWorker(index, life, buffer, supervisor, load)
            self._changed.notify_all()

    async def call(self, index: int, method: str, *arguments: Any) -> Any:
        """One method of one worker. An asynchronous actor may begin calls in another order than they were made."""
        if index not in self._workers:
            async with self._changed:
                await asyncio.wait_for(self._changed.wait_for(lambda: index in self._workers), QUICK)
        result = getattr(self._workers[index], method)(*arguments)
        return await result if inspect.isawaitable(result) else result

    async def puts(self) -> list[tuple[int, int, int, float]]:
        """All that its workers have put."""
        return [put for worker in self._workers.values() for put in worker.puts]

    async def pid(self) -> int:
        """The process id."""
        return os.getpid()


class LogicalActor:
    """What the manager holds for a handle: ``actor.method.remote(...)`` goes to one worker of a host."""

    def __init__(self, host: Any, index: int) -> None:
        self._host = host
        self._index = index

    def __getattr__(self, method: str) -> _Call:
        return _Call(self._host, self._index, method)


@dataclass(frozen=True)
class _Call:
    host: Any
    index: int
    method: str

    def remote(self, *arguments: Any) -> Any:
        return self.host.call.remote(self.index, self.method, *arguments)


class Hosts:
    """Stands for the module ``ray`` in the manager's: actors of rollout workers are logical, all else is Ray's own."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.hosts: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(ray, name)

    def remote(self, actor_class: type) -> Hosts:
        """``ray.remote(RolloutWorkerWrapper)``."""
        return self

    def options(self, **options: Any) -> _Start:
        """``.options(...)``."""
        return _Start(self)

    def start(self, spec: RuntimeSpec, index: int, life: int, buffer: Any, supervisor: Any) -> LogicalActor:
        """``.remote(...)`` with the arguments of ``RolloutWorkerWrapper``."""
        if len(self.hosts) < min(HOSTS, spec.config.config.rollout_config.num_rollout_workers):
            self.hosts.append(ray.remote(WorkerHost).options(num_cpus=0, max_concurrency=10_000).remote())
        host = self.hosts[index % len(self.hosts)]
        host.start.remote(index, life, buffer, supervisor, self._load)
        return LogicalActor(host, index)

    def kill(self, actor: LogicalActor) -> None:
        """The host goes on: its other workers may live."""
        actor.stop.remote()


@dataclass(frozen=True)
class _Start:
    hosts: Hosts

    def remote(self, *arguments: Any) -> LogicalActor:
        return self.hosts.start(*arguments)


class MeasuredBuffer(ReplayBufferActor):
    """The replay buffer's actor, which also tells what it was asked, when it saw each fragment, and how busy it is."""

    _watch: asyncio.Task[None] | None = None

    async def measure(self, profile: bool = False) -> None:
        """Begins anew; with ``profile``, the event loop runs under cProfile."""
        import cProfile

        self._calls: Counter[str] = Counter()
        self._arrived: list[tuple[int, int, int, float]] = []
        self._late: list[float] = []
        self._tasks: list[int] = []
        self._profiler = cProfile.Profile() if profile else None
        self._watch = asyncio.create_task(self._beat())
        if self._profiler is not None:
            self._profiler.enable()

    async def measured(self) -> dict[str, Any]:
        """What came since :meth:`measure`: calls by name, fragments seen, seconds late, tasks of the loop, profile."""
        import io
        import pstats

        assert self._watch is not None
        self._watch.cancel()
        text = io.StringIO()
        if self._profiler is not None:
            self._profiler.disable()
            pstats.Stats(self._profiler, stream=text).sort_stats("tottime").print_stats(25)
        return {
            "calls": dict(self._calls),
            "seen": self._arrived,
            "late": self._late,
            "tasks": self._tasks,
            "profile": text.getvalue(),
        }

    async def _beat(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(BEAT_SECONDS)
            self._late.append(time.perf_counter() - began - BEAT_SECONDS)
            self._tasks.append(len(asyncio.all_tasks()))

    def _count(self, name: str) -> None:
        if self._watch is not None:
            self._calls[name] += 1

    async def pid(self) -> int:
        """The process id."""
        return os.getpid()

    async def acquire(self, *arguments: Any) -> int | None:
        """See the base class; so for the others."""
        self._count("acquire")
        return await super().acquire(*arguments)

    async def add(self, life: int, metas: Sequence[FragmentMeta], references: Sequence[Any]) -> None:
        """With a question for credit, as mostly, it is no call of its own."""
        await super().add(life, metas, references)
        if self._watch is not None:
            now = time.time()
            self._arrived += [(*meta.stream, meta.index, now) for meta in metas]

    async def take(self, count: int, version: int, timeout: float) -> list[FragmentMeta]:
        self._count("take")
        return await super().take(count, version, timeout)

    async def references(self, fragment_ids: Sequence[int]) -> list[list[Any] | None]:
        self._count("references")
        return await super().references(fragment_ids)


class MeasuredSupervisor(supervisor.Supervisor):
    """The supervisor of a session whose rollout workers are logical."""

    def __init__(self, root_pid: int | None, holder: Holder, load: Load, *parcel: bytes) -> None:
        self._hosts = Hosts(load)
        rollout_manager.ray = self._hosts  # type: ignore[assignment]
        buffer_service.ReplayBufferActor = MeasuredBuffer  # type: ignore[misc]
        self.telemetry_calls = 0
        super().__init__(root_pid, holder, *parcel)

    @ray.method(concurrency_group="telemetry")
    def telemetry(self, kind: Any, *arguments: Any) -> None:
        """See the base class."""
        self.telemetry_calls += 1
        super().telemetry(kind, *arguments)

    def parts(self) -> dict[str, Any]:
        """Handles and numbers for whoever measures."""
        return {
            "buffer": self._buffer.actor,
            "hosts": self._hosts.hosts,
            "telemetry_calls": self.telemetry_calls,
            "code": str(Path(supervisor.__file__).parents[2]),
        }

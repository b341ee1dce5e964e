"""A session with many logical rollout workers and a trainer that only reads, measured."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray

from minestudio_nb.config import load_config
from minestudio_nb.contracts.fragments import Fragment, StreamId
from minestudio_nb.contracts.telemetry import MetricBatch, Stat
from minestudio_nb.contracts.weights import WeightsPackage
from minestudio_nb.runtime.adapters import RemotePublisher, RemoteStore, RemoteTelemetry
from minestudio_nb.runtime.base import Cursor, RuntimeSpec
from minestudio_nb.runtime.calls import PUBLISH_SECONDS, call
from minestudio_nb.runtime.claims import Holder
from minestudio_nb.runtime.common import prepare_run
from minestudio_nb.runtime.names import NAMESPACE, SUPERVISOR, actor_name
from minestudio_nb.runtime.parcels import pack
from minestudio_nb.runtime.ray_runtime import PENDING_CALLS
from minestudio_nb.runtime.supervisor import CONCURRENCY
from tests.support.logical_workers import Load, MeasuredSupervisor

__all__ = ["Growth", "growth_config"]

START_SECONDS = 120.0
TAKE_SECONDS = 120.0
READ_AT_ONCE = 64
"""Fragments that the trainer fetches with one call."""
WEIGHT_BYTES = 8_800_000
"""Those of the shipped convolutional policy of that size."""
LOOK_SECONDS = 0.5
"""How often somebody looks at the session, as displays do."""


def growth_config(workers: int, load: Load, schedule: str = "overlap") -> dict[str, Any]:
    """A session in which each iteration reads one fragment of each environment."""
    fragments = workers * load.envs
    return {
        "env_generator": _no_env,
        "policy_config": {"name": "mlp"},
        "schedule": schedule,
        "rollout_config": {
            "num_rollout_workers": workers,
            "num_cpus_per_worker": 0.0,
            "fragment_length": load.length,
            "worker_config": {"num_envs": load.envs, "execution": "in_worker"},
            "replay_buffer_config": {"max_chunks": 4 * fragments, "max_staleness": 100},
        },
        "train_config": {"batch_size_per_gpu": load.envs, "batches_per_iteration": workers},
    }


def _no_env(index: int) -> Any:
    raise AssertionError("logical workers have no environments")


@dataclass
class Looks:
    """What somebody saw who looked now and then, and how long each answer took, seconds."""

    snapshot: list[float]
    hub: list[float]
    buffer: list[float]


class Growth:
    """One session with logical workers; the calling process is its trainer. ::

    with Growth("name", 64, Load(), tmp_path) as growth:
        growth.iterate(3)
        result = growth.measure(10.0)
    """

    def __init__(self, session: str, workers: int, load: Load, root: Path, schedule: str = "overlap") -> None:
        self.workers, self.load = workers, load
        loaded = load_config(growth_config(workers, load, schedule))
        self.spec = RuntimeSpec(session, loaded, str(root), address="auto")
        self.fragments_per_iteration = loaded.config.fragments_per_iteration
        self.version = -1
        self.expected: dict[StreamId, int] = {}
        """The index that comes next in each stream."""
        self.publish_seconds: list[float] = []

    def __enter__(self) -> Growth:
        prepare_run(self.spec)
        self.supervisor = (
            ray.remote(concurrency_groups=CONCURRENCY)(MeasuredSupervisor)
            .options(
                name=actor_name(self.spec.session, SUPERVISOR),
                namespace=NAMESPACE,
                num_cpus=0,
                max_concurrency=8,
                max_pending_calls=PENDING_CALLS,
            )
            .remote(None, Holder.here(), self.load, *pack(self.spec))
        )
        try:
            call(self.supervisor.start_rollout.remote(START_SECONDS), START_SECONDS + 60.0)
            parts = call(self.supervisor.parts.remote())
            self.buffer, self.hosts = parts["buffer"], parts["hosts"]
            self.store = RemoteStore(self.buffer)
            self.publisher = RemotePublisher(self.supervisor, PUBLISH_SECONDS)
            self.telemetry = RemoteTelemetry(self.supervisor)
            self._weights = {"weights": np.zeros(WEIGHT_BYTES // 4, np.float32)}
            self._publish()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            call(self.supervisor.stop.remote(30.0), 60.0)
        finally:
            ray.kill(self.supervisor)

    def _publish(self) -> None:
        began = time.perf_counter()
        self.version += 1
        self.publisher.publish(WeightsPackage(self.spec.session, self.version, self._weights))
        self.publish_seconds.append(time.perf_counter() - began)

    def iterate(self, count: int) -> int:
        """Does what a trainer does, as fast as it can, ``count`` times; checks that all arrived once and in order.

        Returns the number of fragments.
        """
        total = 0
        for _ in range(count):
            metas = self.store.take(self.fragments_per_iteration, self.version, TAKE_SECONDS)
            numbers = [meta.fragment_id for meta in metas]
            for start in range(0, len(numbers), READ_AT_ONCE):
                self._check(self.store.fetch(numbers[start : start + READ_AT_ONCE]))
            total += len(metas)
            self.telemetry.iteration(self.version + 1, _trainer_metrics())
            self._publish()
        return total

    def _check(self, fragments: Sequence[Fragment | None]) -> None:
        for fragment in fragments:
            assert fragment is not None, "a fragment is lost"
            expected = self.expected.get(fragment.stream, 0)
            assert fragment.index == expected, f"{fragment.stream}: {fragment.index} came, {expected} was expected"
            self.expected[fragment.stream] = expected + 1

    def status(self) -> dict[str, Any]:
        """The session's, as displays see it."""
        status: dict[str, Any] = call(self.supervisor.snapshot.remote(Cursor(), Holder.here())).status
        return status

    def pids(self) -> dict[str, list[int]]:
        """Process ids by part."""
        return {
            "buffer": [call(self.buffer.pid.remote())],
            "supervisor": [call(self.supervisor.pid.remote())],
            "hosts": [call(host.pid.remote()) for host in self.hosts],
            "trainer": [os.getpid()],
        }

    def measure(
        self, seconds: float, others: Mapping[str, Sequence[int]] | None = None, profile: bool = False
    ) -> dict[str, Any]:
        """Iterates for ``seconds``, and says what that took; ``others`` are further processes by name."""
        processes = {
            name: [psutil.Process(pid) for pid in pids] for name, pids in {**self.pids(), **(others or {})}.items()
        }
        told = call(self.supervisor.parts.remote())["telemetry_calls"]
        call(self.buffer.measure.remote(profile))
        self.publish_seconds = []
        over = threading.Event()
        looks = Looks([], [], [])
        watcher = threading.Thread(target=self._look, args=(over, looks))
        cpu, began = _cpu_seconds(processes), time.perf_counter()
        watcher.start()
        fragments = 0
        try:
            while time.perf_counter() - began < seconds:
                fragments += self.iterate(1)
            wall = time.perf_counter() - began
            used = {name: after - cpu[name] for name, after in _cpu_seconds(processes).items()}
        finally:
            over.set()
            watcher.join()
        measured = call(self.buffer.measured.remote())
        parts = call(self.supervisor.parts.remote())
        memory = {name: max(process.memory_info().rss for process in some) for name, some in processes.items()}
        puts = [put for host in self.hosts for put in call(host.puts.remote())]
        stats = call(self.buffer.stats.remote())
        assert (stats.lost, stats.evicted_unread, stats.dropped_stale) == (0, 0, 0)
        return {
            "workers": self.workers,
            "fragments": fragments,
            "seconds": wall,
            "fragments_per_s": fragments / wall,
            "buffer_calls_per_s": sum(measured["calls"].values()) / wall,
            "hub_calls_per_s": (parts["telemetry_calls"] - told) / wall,
            **_lags(puts, measured["seen"]),
            **_percentiles("loop_late", measured["late"]),
            "loop_tasks": max(measured["tasks"], default=0),
            **_percentiles("publish", self.publish_seconds),
            **_percentiles("snapshot", looks.snapshot),
            **_percentiles("hub_answer", looks.hub),
            **_percentiles("buffer_answer", looks.buffer),
            "cpu_ms_per_fragment": {name: 1000 * value / fragments for name, value in used.items()},
            "cpu_share": {name: value / wall for name, value in used.items()},
            "memory_mb": {name: value / 2**20 for name, value in memory.items()},
            "profile": measured["profile"],
            "code": parts["code"],
        }

    def _look(self, over: threading.Event, looks: Looks) -> None:
        holder, cursor = Holder.here(), Cursor()
        while not over.wait(LOOK_SECONDS):
            began = time.perf_counter()
            cursor = call(self.supervisor.snapshot.remote(cursor, holder)).cursor
            looks.snapshot.append(time.perf_counter() - began)
            began = time.perf_counter()
            call(self.supervisor.telemetry.remote("metrics", {}))
            looks.hub.append(time.perf_counter() - began)
            began = time.perf_counter()
            call(self.buffer.stats.remote())
            looks.buffer.append(time.perf_counter() - began)


def _cpu_seconds(processes: Mapping[str, Sequence[psutil.Process]]) -> dict[str, float]:
    times = {name: [process.cpu_times() for process in some] for name, some in processes.items()}
    return {name: sum(time.user + time.system for time in some) for name, some in times.items()}


def _lags(puts: Sequence[tuple[int, int, int, float]], seen: Sequence[tuple[int, int, int, float]]) -> dict[str, Any]:
    """From the moment a fragment lies in the object store to the moment the buffer has it."""
    put_at = {tuple(place): moment for *place, moment in puts}
    return _percentiles("put_to_seen", [moment - put_at[tuple(place)] for *place, moment in seen])


def _percentiles(name: str, seconds: Sequence[float]) -> dict[str, Any]:
    if not seconds:
        return {}
    return {f"{name}_ms_p{share}": 1000 * float(np.percentile(seconds, share)) for share in (50, 95)}


def _trainer_metrics() -> MetricBatch:
    """About as many numbers as PPO sends with an iteration."""
    names = ["loss", "policy_loss", "value_loss", "entropy_nats", "approx_kl_nats", "clip_fraction", "grad_norm"]
    batch = {f"ppo/{name}": Stat() for name in names}
    for stat in batch.values():
        stat.add(1.0)
    return batch

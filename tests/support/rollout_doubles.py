"""The rollout worker's three neighbours, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.fragments import EpisodeSummary, Fragment
from minestudio_nb.contracts.telemetry import Event, MetricBatch, Stat
from minestudio_nb.contracts.weights import WeightsPackage
from tests.support.checking_policy import CheckingPolicy


class ListSink:
    """Grants ``total`` credits, at most ``at_once`` per call, then says stop."""

    def __init__(self, total: int, at_once: int = 1_000_000) -> None:
        self.left, self.at_once = total, at_once
        self.fragments: list[Fragment] = []
        self.released = 0
        self.on_put: Callable[[Fragment], None] = lambda fragment: None

    def acquire(self, count: int, wait: bool = True) -> int:
        granted = min(count, self.at_once, self.left)
        self.left -= granted
        return granted

    def put(self, fragment: Fragment) -> None:
        self.fragments.append(fragment)
        self.on_put(fragment)

    def release(self, count: int) -> None:
        self.released += count


class Slot:
    """Weights that a test publishes: the mark of version v is ``10 * v``."""

    def __init__(self) -> None:
        self.package: WeightsPackage | None = None
        self.marks: dict[int, float] = {-1: 0.0}
        self.every = 0

    def publish(self, policy: CheckingPolicy, version: int) -> None:
        state = {name: np.array(tensor.detach().numpy()) for name, tensor in policy.state_dict().items()}
        state["mark"] = np.array(10.0 * version, np.float32)
        self.marks[version] = 10.0 * version
        self.package = WeightsPackage("test", version, state)

    def publish_every(self, looks: int, policy: CheckingPolicy) -> None:
        """From now on a new version comes out whenever somebody has looked that often."""
        self.looks, self.every, self.policy = 0, looks, policy

    def newest(self) -> WeightsPackage | None:
        if self.every:
            self.looks += 1
            if self.looks % self.every == 0:
                self.publish(self.policy, self.looks // self.every)
        return self.package


class Telemetry:
    """Keeps everything it is told."""

    def __init__(self) -> None:
        self.batch: dict[str, Stat] = {}
        self.events: list[Event] = []
        self.finished: list[EpisodeSummary] = []
        self.lock = threading.Lock()

    def metrics(self, batch: MetricBatch) -> None:
        with self.lock:
            for name, stat in batch.items():
                self.batch.setdefault(name, Stat()).merge(stat)

    def iteration(self, iteration: int, batch: MetricBatch) -> None:
        self.metrics(batch)

    def event(self, event: Event) -> None:
        with self.lock:
            self.events.append(event)

    def episodes(self, episodes: Sequence[EpisodeSummary]) -> None:
        with self.lock:
            self.finished.extend(episodes)

    def total(self, name: str) -> float:
        return self.batch[name].total if name in self.batch else 0.0


def rollout_config(execution: str, num_envs: int = 4, length: int = 8, **worker: Any) -> OnlineConfig:
    """A configuration with deadlines for tests."""
    return OnlineConfig.from_dict(
        {
            "timeouts": {"start": 60.0, "reset": 3.0, "step": 3.0, **worker.pop("timeouts", {})},
            "restarts": worker.pop("restarts", {}),
            "rollout_config": {
                "fragment_length": length,
                "worker_config": {"num_envs": num_envs, "execution": execution, **worker},
            },
        }
    )

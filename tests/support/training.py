"""A trainer with everything around it in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.fragments import EpisodeSummary
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.contracts.telemetry import METRICS, Event, MetricBatch
from minestudio_nb.contracts.weights import WeightsPackage
from minestudio_nb.policies import MinePolicy, build_policy
from minestudio_nb.runtime.controls import Controls
from minestudio_nb.trainer import BaseTrainer, PPOTrainer
from tests.support.fragments import VECTOR_SPEC, FeedStore


class Telemetry:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.points: dict[int, dict[str, float]] = {}
        self.told: list[Event] = []

    def metrics(self, batch: MetricBatch) -> None: ...

    def iteration(self, iteration: int, batch: MetricBatch) -> None:
        assert iteration not in self.points, f"iteration {iteration} was closed twice"
        self.points[iteration] = {name: stat.value(METRICS[name].reduction) for name, stat in batch.items()}

    def event(self, event: Event) -> None:
        self.told.append(event)

    def episodes(self, episodes: Sequence[EpisodeSummary]) -> None: ...

    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]


class Publisher:
    """Keeps every package."""

    def __init__(self) -> None:
        self.packages: list[WeightsPackage] = []
        self.collecting: list[bool] = []

    def publish(self, package: WeightsPackage, collect: bool = True) -> None:
        self.packages.append(package)
        self.collecting.append(collect)


SMALL = {
    "num_iterations": 2,
    "batch_size_per_gpu": 2,
    "batches_per_iteration": 4,
    "gradient_accumulation": 2,
    "context_length": 4,
    "learning_rate": 1e-2,
}


def small_config(length: int = 8, rollout: Mapping[str, Any] | None = None, **train: Any) -> OnlineConfig:
    """8 fragments of ``length`` steps an iteration, 4 microbatches, 2 optimizer steps."""
    return OnlineConfig.from_dict(
        {"train_config": {**SMALL, **train}, "rollout_config": {"fragment_length": length, **(rollout or {})}}
    )


class Bench:
    """A trainer (:class:`PPOTrainer` unless told) and its surroundings; ``bench.run()`` sets up and trains."""

    def __init__(
        self,
        config: OnlineConfig | None = None,
        store: FeedStore | None = None,
        policy: MinePolicy | None = None,
        spec: EnvSpec = VECTOR_SPEC,
        trainer: type[BaseTrainer] = PPOTrainer,
        **parts: Any,
    ) -> None:
        torch.set_num_threads(1)
        self.config = config or small_config()
        self.store = store or FeedStore(self.config.rollout_config.fragment_length, spec=spec)
        self.control, self.telemetry, self.publisher = Controls(), Telemetry(), Publisher()
        self.policy = policy or build_policy({"name": "mlp", "args": {"hidden": [16]}}, spec, seed=1)
        self.trainer = trainer(
            policy=self.policy,
            config=self.config,
            env_spec=spec,
            store=self.store,
            publisher=self.publisher,
            control=self.control,
            telemetry=self.telemetry,
            **parts,
        )

    def run(self) -> Any:
        self.trainer.setup()
        return self.trainer.train()

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the policy's present weights."""
        return {name: tensor.clone() for name, tensor in self.policy.state_dict().items()}


def same_weights(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())

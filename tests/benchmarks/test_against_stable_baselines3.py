"""One iteration of ours and one of stable-baselines3's PPO change the same weights, on the same data, alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from torch import Tensor

from benchmarks.learning.registry import Job, find
from benchmarks.learning.sb3 import ppo_arguments
from benchmarks.learning.training import load
from minestudio_nb import OnlineSession
from minestudio_nb.contracts.fragments import FragmentMeta
from minestudio_nb.learning import SampleBatch
from minestudio_nb.trainer import PPOTrainer, register_trainer

ITERATIONS = 3
NAMES = {
    "actor": "mlp_extractor.policy_net",
    "critic": "mlp_extractor.value_net",
    "pi_head.linear": "action_net",
    "value_head.linear": "value_net",
}
"""Where their policy has what ours has, by the beginning of the name."""


class Update(NamedTuple):
    """An iteration of ours: weights before and after it, its data, and the values ``(B,)`` of the last observations."""

    before: dict[str, Tensor]
    batch: SampleBatch
    last_values: Tensor
    after: dict[str, Tensor]


UPDATES: list[Update] = []


class RecordedTrainer(PPOTrainer):
    """Keeps what each iteration begins with and comes to."""

    def iterate(self, metas: tuple[FragmentMeta, ...]) -> None:
        self._before = {name: value.clone() for name, value in self.policy.state_dict().items()}
        super().iterate(metas)
        after = {name: value.clone() for name, value in self.policy.state_dict().items()}
        UPDATES.append(Update(self._before, self._batch, self._last_values, after))

    def estimate_advantages(self, batch: SampleBatch, start: Any) -> Any:
        self._batch, self._last_values = batch, start.values[:, -1].clone()
        return super().estimate_advantages(batch, start)


def their_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under their names; buffers of ours left out."""
    found = {}
    for name, value in weights.items():
        for ours, theirs in NAMES.items():
            if name.startswith(ours + "."):
                found[theirs + name.removeprefix(ours)] = value
    return found


def fill(buffer: Any, update: Update) -> None:
    """Our data as theirs. There is no truncation in it, which they account for in the reward."""
    batch = update.batch
    assert not batch.truncated.any()
    buffer.reset()
    for step in range(batch.length):
        buffer.add(
            batch.obs["obs"][:, step].numpy(),
            batch.actions[:, step].numpy(),
            batch.rewards[:, step].numpy(),
            batch.first[:, step].numpy(),
            batch.values[:, step],
            batch.log_probs[:, step],
        )
    buffer.compute_returns_and_advantage(update.last_values, batch.terminated[:, -1].numpy())


def test_an_update_is_the_same(tmp_path: Path) -> None:
    """All of CartPole's iteration is one optimizer step per pass, so that no shuffling tells the two apart."""
    pytest.importorskip("stable_baselines3", reason="it is in the extra `bench`")
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.logger import configure

    register_trainer(RecordedTrainer)
    UPDATES.clear()
    experiment = find("cartpole")
    config = load(Job(experiment, experiment.arms[0], 0)).config
    steps = f"train_config.max_env_steps={ITERATIONS * config.samples_per_iteration}"
    with OnlineSession("alike", runtime="inline", run_root=tmp_path) as session:
        session.load_config("cartpole", ["trainer_name=RecordedTrainer", steps])
        session.start_rollout()
        session.start_trainer()
        session.wait(timeout=200)
    assert len(UPDATES) == ITERATIONS

    theirs = PPO("MlpPolicy", make_vec_env("CartPole-v1", config.num_envs), device="cpu", **ppo_arguments(config))
    theirs.set_logger(configure(None, []))
    theirs.policy.load_state_dict(their_names(UPDATES[0].before))
    for iteration, update in enumerate(UPDATES):
        fill(theirs.rollout_buffer, update)
        theirs._current_progress_remaining = 1.0 - (iteration + 1) / config.train_config.num_iterations
        theirs.train()
        before, after = their_names(update.before), their_names(update.after)
        apart = max(float((after[name] - value).abs().max()) for name, value in theirs.policy.state_dict().items())
        moved = max(float((after[name] - value).abs().max()) for name, value in before.items())
        # They divide by the deviation of a sample (n - 1), we by that of the data (n): 0.2 % in 256 samples.
        assert apart < 0.02 * moved
        assert moved > 0.01

"""PPO with behaviour cloning: a second loss that pulls the policy towards what demonstrations do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from minestudio_nb.learning import LossTargets
from minestudio_nb.trainer.checkpoints import Checkpoint
from minestudio_nb.trainer.data import Microbatch
from minestudio_nb.trainer.demonstrations import Demonstrations
from minestudio_nb.trainer.ppo import PPOTrainer
from minestudio_nb.trainer.registry import register_trainer

__all__ = ["PPOBCTrainer"]

COEF = "train_config.bc_config.coef"


@register_trainer
class PPOBCTrainer(PPOTrainer):
    """PPO whose loss has ``coef * -log π(demonstrated action)`` added, a mean over steps of demonstrations.

    Each microbatch draws ``bc_config.batch_size`` steps, in sequences of ``context_length``. A policy with memory runs
    over the steps before a sequence first, without gradients, as far as it remembers or for one fragment.
    """

    def prepare(self) -> None:
        """See :meth:`BaseTrainer.prepare`. Raises RunError where demonstrations are missing or do not fit."""
        super().prepare()
        settings = self.config.train_config.bc_config
        self._coef = settings.coef
        self._demonstrations = Demonstrations.load(settings.paths, self.env_spec)
        count = int(self._demonstrations.first.sum())
        self.event("demonstrations", f"{len(self._demonstrations)} steps of {count} demonstrations were read.")

    def state(self) -> dict[str, Any]:
        """See :meth:`TrainingLoop.state`."""
        return {**super().state(), "bc_coef": self._coef, "bc_base": self.config.train_config.bc_config.coef}

    def resumed(self, checkpoint: Checkpoint) -> None:
        """See :meth:`BaseTrainer.resumed`. A coefficient that is configured anew starts anew."""
        super().resumed(checkpoint)
        saved = checkpoint.state["trainer"]
        self._coef = self.config.train_config.bc_config.coef
        if saved.get("bc_base") == self._coef:
            self._coef = saved["bc_coef"]

    def edited(self, key: str, value: Any) -> None:
        """See :meth:`BaseTrainer.edited`. An edit of the coefficient replaces the value that has decayed."""
        super().edited(key, value)
        if key == COEF:
            self._coef = float(value)

    @property
    def terms(self) -> Sequence[str]:  # type: ignore[override]
        """See :attr:`BaseTrainer.terms`."""
        return (*super().terms, "bc/loss_nats", "bc/accuracy")

    def before_update(self) -> None:
        """See :meth:`BaseTrainer.before_update`."""
        super().before_update()
        self._generator = self.seeded(stream=1)
        self.add_metric("bc/coef", self._coef)

    def after_update(self) -> None:
        """See :meth:`BaseTrainer.after_update`."""
        super().after_update()
        self._coef *= self.config.train_config.bc_config.coef_decay

    def loss(self, part: Microbatch, targets: LossTargets, total: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`BaseTrainer.loss`."""
        loss, sums = super().loss(part, targets, total)
        cloning, accuracy = self._cloning_loss()
        microbatches = self.config.train_config.gradient_accumulation * self.collective.world_size
        weight = targets.weights.sum()
        with torch.no_grad():
            sums[0] += weight * self._coef * cloning
            sums = torch.cat([sums, torch.stack([weight * cloning, weight * accuracy])])
        return loss + self._coef * cloning / microbatches, sums

    def _cloning_loss(self) -> tuple[Tensor, Tensor]:
        """Mean of -log π over drawn steps, and the share of them whose most probable action is the demonstrated one."""
        train, policy, steps = self.config.train_config, self.policy, self._demonstrations
        length = train.context_length
        before = (policy.memory_steps or self.config.rollout_config.fragment_length) if policy.is_recurrent else 0
        chunks = max(1, train.bc_config.batch_size // length)
        numbers = steps.draw(chunks, before, length, self._generator)
        obs = {key: part[numbers].to(self.device) for key, part in steps.obs.items()}
        first = steps.first[numbers].to(self.device)
        actions = steps.actions[numbers[:, before:]].to(self.device)
        state = policy.initial_state(chunks)
        with self.precision():
            if before:
                with torch.no_grad():
                    earlier = {key: part[:, :before] for key, part in obs.items()}
                    _, state = policy(earlier, state, {"first": first[:, :before]})
            outputs, _ = self._trained(
                {key: part[:, before:] for key, part in obs.items()}, state, {"first": first[:, before:]}
            )
            loss = -policy.pi_head.logprob(actions, outputs["pi_logits"]).mean()
        with torch.no_grad():
            likeliest = policy.pi_head.joined(policy.pi_head.sample(outputs["pi_logits"], deterministic=True))
            return loss, (likeliest == actions).all(-1).float().mean()

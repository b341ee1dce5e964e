"""Proximal policy optimisation, decoupled, with KL to a reference policy. docs/ppo.md says what an iteration does."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from minestudio_nb.learning import TERMS, LossSettings, LossTargets, SampleBatch, ppo_loss
from minestudio_nb.policies import MinePolicy, State, load_state
from minestudio_nb.trainer.base import STEP, BaseTrainer, Verdict
from minestudio_nb.trainer.checkpoints import Checkpoint
from minestudio_nb.trainer.data import Microbatch
from minestudio_nb.trainer.passes import Evaluation, reference_mask
from minestudio_nb.trainer.registry import register_trainer

__all__ = ["PPOTrainer"]

_NAMES = tuple(f"ppo/{name}" for name in TERMS)
_KL = TERMS.index("approx_kl_nats")
_REFERENCE = TERMS.index("kl_reference_nats")
assert len(TERMS) - 1 == _REFERENCE


@register_trainer
class PPOTrainer(BaseTrainer):
    """PPO with a proximal policy, value clipping, entropy bonus, KL to a reference policy, on any number of ranks."""

    def prepare(self) -> None:
        """See :meth:`BaseTrainer.prepare`."""
        super().prepare()
        self._rho = self.config.train_config.kl_divergence_coef_rho
        self._reference_moved = False
        if self._rho > 0.0 and self.reference_policy is None:
            self._take_reference()

    def resumed(self, checkpoint: Checkpoint) -> None:
        """See :meth:`BaseTrainer.resumed`. A rho that is configured anew starts anew."""
        super().resumed(checkpoint)
        train = self.config.train_config
        saved = checkpoint.state["trainer"]  # empty where another algorithm wrote it
        if saved.get("rho_base") == train.kl_divergence_coef_rho:
            self._rho = saved["rho"]
        if checkpoint.reference is not None:
            self._take_reference()
            load_state(self._reference(), checkpoint.reference)
            self._reference_moved = True

    def edited(self, key: str, value: Any) -> None:
        """See :meth:`BaseTrainer.edited`. An edit of rho replaces the value that has decayed."""
        super().edited(key, value)
        if key == "train_config.kl_divergence_coef_rho":
            self._rho = float(value)
            if self._rho > 0.0 and self.reference_policy is None:
                self._take_reference()
                self._reference_moved = True
                self.event("edit", "There was no reference policy; the present policy is taken as one.")

    def state(self) -> dict[str, Any]:
        """See :meth:`TrainingLoop.state`."""
        return {"rho": self._rho, "rho_base": self.config.train_config.kl_divergence_coef_rho}

    def reference_weights(self) -> Mapping[str, Tensor] | None:
        """See :meth:`TrainingLoop.reference_weights`: those of the policy as it was built need not be saved."""
        return self._reference().state_dict() if self._reference_moved else None

    # One iteration.

    @property
    def terms(self) -> Sequence[str]:  # type: ignore[override]
        """See :attr:`BaseTrainer.terms`; KL to the reference only where there is one."""
        return _NAMES if self.reference_policy is not None else _NAMES[:_REFERENCE]

    @property
    def weighs_stale_samples(self) -> bool:
        """See :attr:`BaseTrainer.weighs_stale_samples`."""
        return self.config.train_config.objective == "decoupled"

    def evaluate_start(self, batch: SampleBatch, ids: list[int]) -> Evaluation:
        """See :meth:`BaseTrainer.evaluate_start`. The plain objective takes what the workers stored in any case."""
        if self.weighs_stale_samples:
            return super().evaluate_start(batch, ids)
        if not self.policy.is_recurrent:
            return self.evaluator(self.policy).from_behaviour(batch)
        start = super().evaluate_start(batch, ids)
        return replace(start, log_probs=batch.log_probs, values=torch.cat([batch.values, start.values[:, -1:]], 1))

    def reference_context(self, batch: SampleBatch, ids: list[int]) -> tuple[State, Tensor | None]:
        """See :meth:`BaseTrainer.reference_context`."""
        reference = self.reference_policy
        if self._rho == 0.0 or reference is None or not reference.is_recurrent:
            return [], None
        evaluator = self.evaluator(reference)
        previous = self.store.previous(ids)
        state = evaluator.warm_up(previous, reference.initial_state(batch.size), recorded=False)
        mask = reference_mask(batch, [fragment is not None for fragment in previous], reference.memory_steps)
        self.add_metric("ppo/kl_masked_fraction", 1.0 - float(mask.mean()), batch.rewards.numel())
        return evaluator.evaluate(batch, state).chunk_states, mask

    def before_update(self) -> None:
        """See :meth:`BaseTrainer.before_update`."""
        super().before_update()
        self._in_force = self._settings()
        self.add_metric("ppo/clip_range", self._in_force.clip)

    def loss(self, part: Microbatch, targets: LossTargets, total: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`BaseTrainer.loss` and :func:`minestudio_nb.learning.ppo_loss`."""
        now = self.forward(part)
        kl = self._kl_to_reference(part, now.pi_logits) if self._in_force.kl_coef > 0.0 else None
        loss, sums = ppo_loss(now.log_probs, now.values, now.entropy, kl, targets, total, self._in_force)
        return loss, sums if self.reference_policy is not None else sums[:_REFERENCE]

    def judge(self, means: Sequence[float]) -> Verdict:
        """See :meth:`BaseTrainer.judge`: by how far the policy is from where the iteration began."""
        train, kl = self.config.train_config, means[_KL]
        if train.kl_skip is not None and kl > train.kl_skip:
            return Verdict(
                "undo", f"the mean KL from the iteration's start is {kl:.3g} nats, above kl_skip = {train.kl_skip:g}"
            )
        if train.target_kl is not None and kl > train.target_kl:
            return Verdict("enough")
        return STEP

    def after_update(self) -> None:
        """Schedules that go on with each iteration."""
        train = self.config.train_config
        self._rho *= train.coef_rho_decay
        if train.enable_ref_update and self.reference_policy is not None:
            self._take_reference()
            self._reference_moved = True

    # Settings and the reference policy.

    def _settings(self) -> LossSettings:
        train = self.config.train_config
        warming_up = self.progress.iteration < train.vf_warmup
        clip = train.ppo_clip * (self.share_left if train.anneal_clip_linearly else 1.0)
        return LossSettings(
            clip=clip,
            value_clip=clip if train.clip_vloss else None,
            policy_coef=0.0 if warming_up else train.ppo_policy_coef,
            value_coef=train.ppo_vf_coef,
            entropy_coef=0.0 if warming_up else train.entropy_bonus_coef,
            kl_coef=0.0 if warming_up else self._rho,
            log_ratio_range=train.log_ratio_range,
        )

    def _kl_to_reference(self, part: Microbatch, pi_logits: Mapping[str, Tensor]) -> Tensor:
        """KL(policy || reference) of each sample, 0 where the reference lacks context."""
        with torch.no_grad(), self.precision():
            other, _ = self._reference()(part.obs, part.reference_state, {"first": part.first})
        kl = self.policy.pi_head.kl_divergence(pi_logits, other["pi_logits"]).flatten()
        return kl if part.mask is None else kl * part.mask

    def _reference(self) -> MinePolicy:
        assert self.reference_policy is not None, "kl_coef is above 0 only where there is a reference policy"
        return self.reference_policy

    def _take_reference(self) -> None:
        """Makes the present policy the reference."""
        if self.reference_policy is None:
            self.reference_policy = copy.deepcopy(self.policy).requires_grad_(False)
            self.reference_policy.zero_grad(set_to_none=True)
        else:
            load_state(self.reference_policy, self.policy.state_dict())

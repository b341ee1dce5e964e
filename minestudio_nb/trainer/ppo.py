"""Proximal policy optimisation: what one iteration does with its fragments.

Read :meth:`PPOTrainer.iterate` first. The mathematics is in :mod:`minestudio_nb.learning`, the passes without gradient
in :mod:`.passes`, the loop around it in :mod:`.base`.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from minestudio_nb.contracts.fragments import Fragment, FragmentMeta
from minestudio_nb.errors import StoreTimeoutError
from minestudio_nb.learning import (
    TERMS,
    LossSettings,
    LossTargets,
    SampleBatch,
    collate,
    effective_sample_size,
    explained_variance,
    gae,
    importance_weights,
    mean_and_std,
    moments,
    normalise_advantages,
    ppo_loss,
    shuffled_chunks,
)
from minestudio_nb.policies import MinePolicy, State, load_state
from minestudio_nb.trainer.base import BaseTrainer
from minestudio_nb.trainer.checkpoints import Checkpoint
from minestudio_nb.trainer.data import IterationData, Microbatch
from minestudio_nb.trainer.guard import Snapshot, all_finite
from minestudio_nb.trainer.passes import Evaluation, Evaluator, blank_fragment, reference_mask
from minestudio_nb.trainer.prefetch import prepared_ahead
from minestudio_nb.trainer.registry import register_trainer

__all__ = ["PPOTrainer"]

REPLACEMENT_WAIT_S = 10.0
"""How long an iteration waits for others instead of lost fragments, before it goes on without them."""
REMEMBERED_FRAGMENTS = 100_000
"""Of so many fragments the trainer remembers how often it used them."""
_KL = TERMS.index("approx_kl_nats")


@dataclass
class _Tally:
    """What the optimizer steps of one iteration came to."""

    terms: Tensor = field(default_factory=lambda: torch.zeros(len(TERMS), dtype=torch.float64))
    """Weighted sums over the samples of the steps that were made."""
    weight: float = 0.0
    skipped: int = 0
    cause: str = ""
    runaway: bool = False
    """Whether the rest of the iteration was given up, and what was done of it undone."""
    enough: bool = False
    """Whether the policy moved as far as ``target_kl`` lets it in one iteration."""
    steps: int = 0


@register_trainer
class PPOTrainer(BaseTrainer):
    """PPO with a proximal policy, value clipping, entropy bonus, KL to a reference policy, on any number of ranks."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW; see :meth:`BaseTrainer.make_optimizer`."""
        train = self.config.train_config
        return torch.optim.AdamW(
            self.policy.parameters(),
            lr=train.learning_rate,
            eps=train.adam_eps,
            weight_decay=train.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def prepare(self) -> None:
        """See :meth:`BaseTrainer.prepare`."""
        train = self.config.train_config
        self._snapshot = Snapshot(self.policy, self.optimizer)
        self._parameters = list(self.policy.parameters())
        self._uses: OrderedDict[int, int] = OrderedDict()
        self._rho = train.kl_divergence_coef_rho
        self._reference_moved = False
        if train.zero_initial_vf:
            self.policy.value_head.zero_()
        if self._rho > 0.0 and self.reference_policy is None:
            self._take_reference()

    def resumed(self, checkpoint: Checkpoint) -> None:
        """See :meth:`BaseTrainer.resumed`. A rho that is configured anew starts anew."""
        train = self.config.train_config
        saved = checkpoint.state["trainer"]
        self._rho = saved["rho"] if saved["rho_base"] == train.kl_divergence_coef_rho else train.kl_divergence_coef_rho
        for group in self.optimizer.param_groups:
            group["weight_decay"], group["eps"] = train.weight_decay, train.adam_eps
        if checkpoint.reference is not None:
            self._take_reference()
            load_state(self._reference(), checkpoint.reference)
            self._reference_moved = True

    def edited(self, key: str, value: Any) -> None:
        """See :meth:`BaseTrainer.edited`. An edit of rho replaces the value that has decayed."""
        if key == "train_config.kl_divergence_coef_rho":
            self._rho = float(value)
            if self._rho > 0.0 and self.reference_policy is None:
                self._take_reference()
                self._reference_moved = True
                self.event("edit", "There was no reference policy; the present policy is taken as one.")
        elif key == "train_config.weight_decay":
            for group in self.optimizer.param_groups:
                group["weight_decay"] = float(value)

    def state(self) -> dict[str, Any]:
        """See :meth:`BaseTrainer.state`."""
        return {"rho": self._rho, "rho_base": self.config.train_config.kl_divergence_coef_rho}

    def reference_weights(self) -> Mapping[str, Tensor] | None:
        """See :meth:`BaseTrainer.reference_weights`: those of the policy as it was built need not be saved."""
        return self._reference().state_dict() if self._reference_moved else None

    # One iteration.

    def iterate(self, metas: tuple[FragmentMeta, ...]) -> None:
        """Fetch, evaluate, advantages, epochs; see :meth:`BaseTrainer.iterate`."""
        ids, fragments, weights = self._fetch(metas)
        started = time.monotonic()
        samples_before = self.progress.samples
        batch = collate(fragments, weights)
        data = self._prepare_data(batch, ids)
        tally = self._update(data)
        self._report_update(tally)
        self._finish_iteration()
        seconds = time.monotonic() - started
        self.add_metric("train/update_seconds", seconds)
        self.add_metric("train/samples_per_second", (self.progress.samples - samples_before) / max(seconds, 1e-9))

    def _fetch(self, metas: tuple[FragmentMeta, ...]) -> tuple[list[int], list[Fragment], list[float]]:
        """This rank's share: numbers, data, weights. Lost ones are replaced by others, or by blanks of weight 0."""
        rank, ranks = self.collective.rank, self.collective.world_size
        share = len(metas) // ranks
        ids = [meta.fragment_id for meta in metas[rank * share : (rank + 1) * share]]
        fetched = self.store.fetch(ids)
        lost = [slot for slot, fragment in enumerate(fetched) if fragment is None]
        counts = torch.zeros(ranks)
        counts[rank] = len(lost)
        counts = self.collective.all_reduce(counts)
        spares: tuple[FragmentMeta, ...] = ()
        total = int(counts.sum())
        if total:
            spares = self.collective.broadcast(self._take_spares(total) if self.is_main else None)
            offset = int(counts[:rank].sum())
            for slot, meta in zip(lost, spares[offset:], strict=False):
                ids[slot] = meta.fragment_id
                fetched[slot] = self.store.fetch([meta.fragment_id])[0]
            self.add_metric("buffer/lost_fragments", total)
        self._count_uses((*metas, *spares))
        weights = [0.0 if fragment is None else 1.0 for fragment in fetched]
        return ids, [self._blank() if fragment is None else fragment for fragment in fetched], weights

    def _blank(self) -> Fragment:
        length = self.config.rollout_config.fragment_length
        return blank_fragment(self.env_spec, self.policy, length, self.progress.version)

    def _take_spares(self, count: int) -> tuple[FragmentMeta, ...]:
        try:
            spares = tuple(self.store.take(count, self.progress.version, REPLACEMENT_WAIT_S))
        except StoreTimeoutError:
            spares = ()
        done = "others were taken" if spares else "no others came, so the iteration is smaller"
        self.event("lost_fragments", f"The data of {count} fragments was lost; {done}.", "warning", count=count)
        return spares

    def _count_uses(self, metas: tuple[FragmentMeta, ...]) -> None:
        for meta in metas:
            uses = self._uses[meta.fragment_id] = self._uses.get(meta.fragment_id, 0) + 1
            self._uses.move_to_end(meta.fragment_id)
            self.progress.env_steps += meta.length if uses == 1 else 0
            self.add_metric("buffer/reuse", uses)
        while len(self._uses) > REMEMBERED_FRAGMENTS:
            self._uses.popitem(last=False)

    # What the weights at the iteration's start say.

    def _prepare_data(self, batch: SampleBatch, ids: list[int]) -> IterationData:
        """Proximal pass, advantages and importance weights, normalised over all ranks."""
        train, head = self.config.train_config, self.policy.value_head
        proximal = self._proximal(batch, ids)
        values = proximal.values[:, :-1]
        advantages, returns = gae(
            batch.rewards,
            proximal.values,
            batch.terminated,
            batch.truncated,
            proximal.final_values,
            train.discount,
            train.gae_lambda,
        )
        importance, importance_stats = importance_weights(
            proximal.log_probs, batch.log_probs, batch.weights, train.importance_weight_clamp
        )
        staleness = ((self.progress.version - batch.versions) * batch.weights).sum().double().reshape(1)
        parts = [moments(values, batch.weights) for values in (advantages, returns, returns - values)]
        sums = self.collective.all_reduce(torch.cat([*parts, importance_stats, staleness]))
        self._report_data(sums)
        if train.use_normalized_vf and torch.isfinite(sums).all():
            mean, mean_square = (sums[4:6] / sums[3]).tolist()
            head.update_scale(mean, mean_square, float(sums[3]))
        if train.normalize_advantage_full_batch:
            advantages = normalise_advantages(advantages, sums[:3])
        targets = LossTargets(
            log_probs=proximal.log_probs,
            values=head.normalize(values.to(self.device)).cpu(),
            advantages=advantages,
            returns=head.normalize(returns.to(self.device)).cpu(),
            importance=importance,
            weights=batch.weights,
        )
        states, mask = self._reference_context(batch, ids)
        return IterationData(batch, targets, proximal.chunk_states, states, mask, train.context_length, self.device)

    def _proximal(self, batch: SampleBatch, ids: list[int]) -> Evaluation:
        """Log-probabilities and values of the weights at the iteration's start.

        Those that the workers stored are the same where the very same weights acted in the same arithmetic. Version 0
        is excepted: workers may have begun with the policy as built, before the trainer prepared its value head.
        The plain objective takes what the workers stored in any case.
        """
        evaluator, version = self._evaluator(self.policy), self.progress.version
        plain = self.config.train_config.objective == "plain"
        if not self.policy.is_recurrent:
            current = version > 0 and self._workers_compute_alike() and bool((batch.versions == version).all())
            if plain or current:
                return evaluator.from_behaviour(batch)
            return evaluator.evaluate(batch, [])
        state: State = batch.state
        reused = [self._uses.get(number, 0) > 1 for number in ids]
        if any(reused):
            previous = self.store.previous(ids)
            chosen = [fragment if again else None for fragment, again in zip(previous, reused, strict=True)]
            state = evaluator.warm_up(chosen, state, recorded=True)
        now = evaluator.evaluate(batch, state)
        if not plain:
            return now
        values = torch.cat([batch.values, now.values[:, -1:]], 1)
        return replace(now, log_probs=batch.log_probs, values=values)

    def _workers_compute_alike(self) -> bool:
        rollout = self.config.rollout_config
        worker = rollout.worker_config
        on_cpu = worker.device == "cpu" or (worker.device == "auto" and rollout.num_gpus_per_worker == 0)
        plain = worker.inference_dtype == "float32" and not self.config.train_config.use_amp
        return self.device.type == "cpu" and on_cpu and plain

    def _reference_context(self, batch: SampleBatch, ids: list[int]) -> tuple[State, Tensor | None]:
        """A recurrent reference policy's state before each chunk, and where its KL may be trusted, ``(B, T)``."""
        reference = self.reference_policy
        if self._rho == 0.0 or reference is None or not reference.is_recurrent:
            return [], None
        evaluator = self._evaluator(reference)
        previous = self.store.previous(ids)
        state = evaluator.warm_up(previous, reference.initial_state(batch.size), recorded=False)
        mask = reference_mask(batch, [fragment is not None for fragment in previous], reference.memory_steps)
        self.add_metric("ppo/kl_masked_fraction", 1.0 - float(mask.mean()), batch.rewards.numel())
        return evaluator.evaluate(batch, state).chunk_states, mask

    # The epochs.

    def _update(self, data: IterationData) -> _Tally:
        """All optimizer steps of the iteration; undone where weights broke or ran away."""
        self._set_learning_rate()
        self._snapshot.take()
        tally, generator = _Tally(), self.seeded()
        for _ in range(self.config.train_config.epochs_per_iteration):
            self._epoch(data, generator, tally)
            if tally.runaway or tally.enough:
                break
        if not tally.runaway and not all_finite(self.policy):
            tally.runaway, tally.cause = True, "a weight is no longer finite"
        if tally.runaway:
            self._snapshot.restore()
            tally.skipped, tally.steps = self.config.optimizer_steps_per_iteration, 0
        return tally

    def _epoch(self, data: IterationData, generator: torch.Generator, tally: _Tally) -> None:
        """One pass over the data in optimizer steps; ends early when the policy ran away or moved far enough."""
        train, settings = self.config.train_config, self._settings()
        self.add_metric("ppo/clip_range", settings.clip)
        order, per_step = self._deal(data, generator)
        # On a CPU a second thread would only take time from the first.
        ahead = train.prefetch_batches if self.device.type != "cpu" else 0
        microbatches = prepared_ahead(data.microbatch, order, ahead)
        for of_step in per_step:
            weight = float(of_step[0])
            self.optimizer.zero_grad(set_to_none=True)
            sums = torch.zeros(len(TERMS), device=self.device)
            for part in itertools.islice(microbatches, train.gradient_accumulation):
                loss, part_sums = self._loss(part, of_step, settings)
                loss.backward()
                sums += part_sums
            norm, kl, sums = self._join_ranks(sums, weight)
            if not (norm < float("inf") and torch.isfinite(sums).all()):
                tally.skipped, tally.cause = tally.skipped + 1, "a loss or a gradient is not finite"
            elif train.kl_skip is not None and kl > train.kl_skip:
                tally.runaway = True
                tally.cause = (
                    f"the mean KL from the iteration's start is {kl:.3g} nats, above kl_skip = {train.kl_skip:g}"
                )
                return
            elif train.target_kl is not None and kl > train.target_kl:
                tally.enough = True
                return
            else:
                self.optimizer.step()
                tally.steps += 1
                self.add_metric("ppo/grad_norm", norm)
                tally.terms += sums.cpu().double()
                tally.weight += weight

    def _deal(self, data: IterationData, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Chunks dealt into microbatches ``(n, chunks)``, and the moments of each step's advantages ``(steps, 3)``.

        The moments are those over all ranks; the first of them is the weight of the step's samples.
        """
        train, batch = self.config.train_config, data.batch
        order = shuffled_chunks(batch.size, batch.length, train.context_length, train.batches_per_iteration, generator)
        steps = train.batches_per_iteration // train.gradient_accumulation
        return order, self.collective.all_reduce(data.chunk_moments[order.reshape(steps, -1)].sum(1))

    def _loss(self, part: Microbatch, of_step: Tensor, settings: LossSettings) -> tuple[Tensor, Tensor]:
        """Loss of a microbatch and the sums of its terms; see :func:`ppo_loss`."""
        head, context = self.policy.pi_head, {"first": part.first}
        of_step = of_step.to(self.device, torch.float32)
        kl = None
        with self._precision():
            outputs, _ = self.policy(part.obs, part.state, context)
            if settings.kl_coef > 0.0:
                with torch.no_grad():
                    other, _ = self._reference()(part.obs, part.reference_state, context)
                kl = head.kl_divergence(outputs["pi_logits"], other["pi_logits"]).flatten()
                kl = kl if part.mask is None else kl * part.mask
        return ppo_loss(
            head.logprob(part.actions, outputs["pi_logits"]).flatten(),
            outputs["vpred"].flatten(),
            head.entropy(outputs["pi_logits"]).flatten(),
            kl,
            part.targets(None if self.config.train_config.normalize_advantage_full_batch else of_step),
            of_step[0],
            settings,
        )

    def _join_ranks(self, sums: Tensor, weight: float) -> tuple[float, float, Tensor]:
        """Adds gradients and sums over the ranks and clips; returns the norm before that, the mean KL, and the sums."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        if self.collective.world_size > 1:
            flat = torch.cat([*(gradient.flatten() for gradient in gradients), sums])
            parts = self.collective.all_reduce(flat).split([*(gradient.numel() for gradient in gradients), len(sums)])
            for gradient, part in zip(gradients, parts, strict=False):
                gradient.copy_(part.view(gradient.shape))
            sums = parts[-1]
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.train_config.max_grad_norm)
        norm_value, kl = torch.stack([norm, sums[_KL] / max(weight, 1.0)]).tolist()
        return norm_value, kl, sums

    # Settings in force.

    def _settings(self) -> LossSettings:
        train = self.config.train_config
        warming_up = self.progress.iteration < train.vf_warmup
        clip = train.ppo_clip * (self._share_left() if train.anneal_clip_linearly else 1.0)
        return LossSettings(
            clip=clip,
            value_clip=clip if train.clip_vloss else None,
            policy_coef=0.0 if warming_up else train.ppo_policy_coef,
            value_coef=train.ppo_vf_coef,
            entropy_coef=0.0 if warming_up else train.entropy_bonus_coef,
            kl_coef=0.0 if warming_up else self._rho,
            log_ratio_range=train.log_ratio_range,
        )

    def _set_learning_rate(self) -> None:
        train = self.config.train_config
        learning_rate = train.learning_rate * (self._share_left() if train.anneal_lr_linearly else 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.add_metric("ppo/learning_rate", learning_rate)

    def _share_left(self) -> float:
        """What is left of ``num_iterations``: 1 at the first iteration, falling linearly to 0."""
        return max(0.0, 1.0 - self.progress.iteration / self.config.train_config.num_iterations)

    def _precision(self) -> AbstractContextManager[Any]:
        if self.config.train_config.use_amp:
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def _evaluator(self, policy: MinePolicy) -> Evaluator:
        train = self.config.train_config
        return Evaluator(policy, train.context_length, train.batch_size_per_gpu, self._precision)

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

    def _finish_iteration(self) -> None:
        """Schedules that go on with each iteration."""
        train = self.config.train_config
        self._rho *= train.coef_rho_decay
        if train.enable_ref_update and self.reference_policy is not None:
            self._take_reference()
            self._reference_moved = True

    # Numbers.

    def _report_data(self, sums: Tensor) -> None:
        """From the sums over all ranks: advantages 0-2, returns 3-5, errors 6-8, importance 9-12, staleness 13."""
        stats, count = sums[9:13], max(float(sums[9]), 1e-9)
        self.add_metric("ppo/advantage_std", float(mean_and_std(sums[:3])[1]))
        self.add_metric("ppo/explained_variance", explained_variance(sums[3:6], sums[6:9]))
        if self.config.train_config.objective == "decoupled":  # else nobody weighs anything
            self.add_metric("ppo/importance_weight", float(stats[1]) / count, count)
            self.add_metric("ppo/importance_clamped_fraction", float(stats[3]) / count, count)
            self.add_metric("ppo/effective_sample_size", effective_sample_size(stats), count)
        self.add_metric("rollout/staleness", float(sums[13]) / count, count)

    def _report_update(self, tally: _Tally) -> None:
        self.progress.samples += round(tally.weight)
        self.add_metric("ppo/updates_skipped", tally.skipped)
        self.add_metric("ppo/optimizer_steps", tally.steps)
        if tally.weight:
            for name, value in zip(TERMS, (tally.terms / tally.weight).tolist(), strict=True):
                if name != "kl_reference_nats" or self.reference_policy is not None:
                    self.add_metric(f"ppo/{name}", value, tally.weight)
        if tally.skipped:
            undone = "the whole iteration was undone" if tally.runaway else "they changed nothing"
            text = f"{tally.skipped} optimizer steps skipped on all ranks, {undone}: {tally.cause}."
            self.event("update_skipped", text, "warning", skipped=tally.skipped)

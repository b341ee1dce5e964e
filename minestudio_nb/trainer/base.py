"""What every algorithm does with an iteration's fragments, and the places where it does something of its own.

Read :meth:`BaseTrainer.iterate` first. The loop around it is in :mod:`.loop`, the passes without gradient in
:mod:`.passes`, the mathematics in :mod:`minestudio_nb.learning`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from minestudio_nb.contracts.fragments import Fragment, FragmentMeta
from minestudio_nb.errors import ConfigError, StoreTimeoutError
from minestudio_nb.learning import (
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
    shuffled_chunks,
)
from minestudio_nb.policies import MinePolicy, State
from minestudio_nb.trainer.checkpoints import Checkpoint
from minestudio_nb.trainer.data import IterationData, Microbatch
from minestudio_nb.trainer.guard import Snapshot, all_finite
from minestudio_nb.trainer.loop import TrainingLoop
from minestudio_nb.trainer.parameters import OWN_WEIGHT_DECAY, RATE_FACTOR, freeze, parameter_groups, trainable
from minestudio_nb.trainer.passes import Evaluation, Evaluator, blank_fragment
from minestudio_nb.trainer.prefetch import prepared_ahead

__all__ = ["BaseTrainer", "Now", "Verdict"]

REPLACEMENT_WAIT_S = 10.0
"""How long an iteration waits for others instead of lost fragments, before it goes on without them."""
REMEMBERED_FRAGMENTS = 100_000
"""Of so many fragments the trainer remembers how often it used them."""


class Now(NamedTuple):
    """What the policy says of a microbatch now, with gradients.

    ``log_probs`` of the taken actions, ``values`` in the value head's units and ``entropy`` in nats are ``(samples,)``,
    ``pi_logits`` log-probabilities ``{component: (M, L, n)}``.
    """

    log_probs: Tensor
    values: Tensor
    entropy: Tensor
    pi_logits: dict[str, Tensor]


class Verdict(NamedTuple):
    """What becomes of an optimizer step whose gradient is there: ``step`` makes it, ``enough`` ends the iteration's
    passes before it, ``undo`` takes the whole iteration back, for the ``cause``."""

    what: Literal["step", "enough", "undo"]
    cause: str = ""


STEP = Verdict("step")


@dataclass
class _Tally:
    """What the optimizer steps of one iteration came to."""

    terms: Tensor
    """Weighted sums over the samples of the steps that were made."""
    weight: float = 0.0
    steps: int = 0
    skipped: int = 0
    cause: str = ""
    over: bool = False
    """Whether the rest of the iteration's steps is not wanted."""
    undone: bool = False


class BaseTrainer(TrainingLoop):
    """Fetches, evaluates, estimates advantages and makes optimizer steps, alike on one rank and on many.

    An algorithm implements :meth:`loss`, and names in ``terms`` what it reports. It may replace
    :meth:`estimate_advantages` and :meth:`make_optimizer`; extend :meth:`prepare`, :meth:`before_update`,
    :meth:`judge`, :meth:`after_update`, :meth:`state` and :meth:`resumed`; or replace :meth:`iterate` as a whole.
    Decorated with :func:`~minestudio_nb.trainer.register_trainer` it is chosen by ``trainer_name``. Faults, ranks, live
    edits, checkpoints and weights are not its concern.
    """

    terms: Sequence[str] = ("ppo/loss",)
    """Metrics, from the catalogue, whose sums over the samples :meth:`loss` returns, in this order."""

    # An algorithm's own.

    @abstractmethod
    def loss(self, part: Microbatch, targets: LossTargets, total: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a microbatch, and the sums of its terms.

        The loss is a sum over the samples, each times ``targets.weights``, divided by ``total``: the weight of *all*
        samples of the optimizer step, so that microbatches and ranks add up to one mean. :meth:`forward` gives what the
        policy says.

        Args:
            part: chunks of steps on the training device.
            targets: what :meth:`fetch_fragments_and_estimate_advantages` found for these steps, without gradients;
                advantages are normalised as ``normalize_advantage_full_batch`` says.
            total: a scalar tensor.

        Returns:
            ``(loss, sums)``: a scalar with a gradient, and detached sums over the samples, one for each of ``terms``.
        """

    def estimate_advantages(self, batch: SampleBatch, start: Evaluation) -> tuple[Tensor, Tensor]:
        """Advantages, and targets of the value function, ``(B, T)`` in reward units; GAE unless replaced.

        ``start`` is what the weights at the iteration's start say of ``batch``: among it values ``(B, T + 1)``, and
        those of the observations that episodes were cut off at.
        """
        train = self.config.train_config
        return gae(
            batch.rewards,
            start.values,
            batch.terminated,
            batch.truncated,
            start.final_values,
            train.discount,
            train.gae_lambda,
        )

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW; see :meth:`TrainingLoop.make_optimizer`. The learning rate is set before each iteration."""
        train = self.config.train_config
        return torch.optim.AdamW(
            parameter_groups(self.policy, trainable(self.policy), train.parameter_groups),
            lr=train.learning_rate,
            eps=train.adam_eps,
            weight_decay=train.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def before_update(self) -> None:
        """Called before an iteration's optimizer steps, for schedules; sets the learning rate."""
        train = self.config.train_config
        learning_rate = train.learning_rate * (self.share_left if train.anneal_lr_linearly else 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group.get(RATE_FACTOR, 1.0)
        self.add_metric("ppo/learning_rate", learning_rate)

    def judge(self, means: Sequence[float]) -> Verdict:
        """Whether to make the next optimizer step, from the means of ``terms`` over its samples on all ranks."""
        return STEP

    def after_update(self) -> None:
        """Called after an iteration's optimizer steps."""

    # What it can use.

    def fetch_fragments_and_estimate_advantages(self, metas: tuple[FragmentMeta, ...]) -> IterationData:
        """This rank's share of an iteration: samples, advantages, returns, and what the policy said at its start.

        Lost fragments are replaced by others. Statistics, and normalisation where it is over the iteration, are over
        the samples of all ranks. Metrics of data are added.
        """
        ids, fragments, weights = self._fetch(metas)
        return self._data_of(collate(fragments, weights), ids)

    def forward(self, part: Microbatch) -> Now:
        """Runs the policy over a microbatch, in the precision that training uses."""
        head = self.policy.pi_head
        with self.precision():
            outputs, _ = self._trained(part.obs, part.state, {"first": part.first})
            pi_logits = outputs["pi_logits"]
            return Now(
                head.logprob(part.actions, pi_logits).flatten(),
                outputs["vpred"].flatten(),
                head.entropy(pi_logits).flatten(),
                pi_logits,
            )

    def update(self, data: IterationData) -> None:
        """All optimizer steps of the iteration, undone where weights broke or :meth:`judge` says so; adds metrics."""
        self.before_update()
        self._snapshot.take()
        tally, generator = _Tally(torch.zeros(len(self.terms), dtype=torch.float64)), self.seeded()
        for _ in range(self.config.train_config.epochs_per_iteration):
            self._pass(data, generator, tally)
            if tally.over:
                break
        if not tally.undone and not all_finite(self.policy):
            tally.undone, tally.cause = True, "a weight is no longer finite"
        if tally.undone:
            self._snapshot.restore()
            tally.skipped, tally.steps = self.config.optimizer_steps_per_iteration, 0
        self._report_update(tally)
        self.after_update()

    @property
    def share_left(self) -> float:
        """What is left of ``num_iterations``: 1 at the first iteration, falling linearly to 0."""
        return max(0.0, 1.0 - self.progress.iteration / self.config.train_config.num_iterations)

    def precision(self) -> AbstractContextManager[Any]:
        """The context in which policies compute: bfloat16 where that is safe (``use_amp``), or nothing.

        Each pass asks for it, so that this is the place for a sign of life.
        """
        self.alive()
        if self.config.train_config.use_amp:
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def evaluator(self, policy: MinePolicy) -> Evaluator:
        """Passes of ``policy`` over batches, without gradients."""
        train = self.config.train_config
        return Evaluator(policy, train.context_length, train.batch_size_per_gpu, self.precision)

    # The loop's.

    def prepare(self) -> None:
        """See :meth:`TrainingLoop.prepare`."""
        train = self.config.train_config
        self._snapshot = Snapshot(self.policy, self.optimizer)
        trained = trainable(self.policy)
        self._parameters = list(trained.values())
        self._freeze = functools.partial(freeze, self.policy, trained)
        self._trained: Callable[..., Any] = torch.compile(self.policy) if train.compile_policy else self.policy
        self._freeze(train.freeze)
        self.policy.gradient_checkpointing = train.gradient_checkpointing
        self._uses: OrderedDict[int, int] = OrderedDict()
        if train.zero_initial_vf:
            self.policy.value_head.zero_()

    def resumed(self, checkpoint: Checkpoint) -> None:
        """See :meth:`TrainingLoop.resumed`."""
        for name in ("weight_decay", "freeze", "gradient_checkpointing"):  # they may have been edited
            self.edited(f"train_config.{name}", getattr(self.config.train_config, name))

    def edited(self, key: str, value: Any) -> None:
        """See :meth:`TrainingLoop.edited`."""
        if key == "train_config.weight_decay":
            for group in self.optimizer.param_groups:
                if not group.get(OWN_WEIGHT_DECAY, False):
                    group["weight_decay"] = float(value)
        elif key == "train_config.gradient_checkpointing":
            self.policy.gradient_checkpointing = bool(value)
        elif key == "train_config.freeze":
            try:
                self._freeze(value)
            except ConfigError as error:
                self.event("edit", f"What is trained stays as it was. {error}", "warning")

    def iterate(self, metas: tuple[FragmentMeta, ...]) -> None:
        """Fetch, evaluate, advantages, optimizer steps; see :meth:`TrainingLoop.iterate`."""
        ids, fragments, weights = self._fetch(metas)
        started, samples_before = time.monotonic(), self.progress.samples
        self.update(self._data_of(collate(fragments, weights), ids))
        seconds = time.monotonic() - started
        self.add_metric("train/update_seconds", seconds)
        self.add_metric("train/samples_per_second", (self.progress.samples - samples_before) / max(seconds, 1e-9))

    # Fetching.

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

    def _data_of(self, batch: SampleBatch, ids: list[int]) -> IterationData:
        """Evaluation at the start, advantages and importance weights, with statistics over all ranks."""
        train, head = self.config.train_config, self.policy.value_head
        start = self.evaluate_start(batch, ids)
        values = start.values[:, :-1]
        advantages, returns = self.estimate_advantages(batch, start)
        importance, importance_stats = importance_weights(
            start.log_probs, batch.log_probs, batch.weights, train.importance_weight_clamp
        )
        staleness = ((self.progress.version - batch.versions) * batch.weights).sum().double().reshape(1)
        parts = [moments(of, batch.weights) for of in (advantages, returns, returns - values)]
        sums = self.collective.all_reduce(torch.cat([*parts, importance_stats, staleness]))
        self._report_data(sums)
        if train.use_normalized_vf and torch.isfinite(sums).all():
            mean, mean_square = (sums[4:6] / sums[3]).tolist()
            head.update_scale(mean, mean_square, float(sums[3]))
        if train.normalize_advantage_full_batch:
            advantages = normalise_advantages(advantages, sums[:3])
        targets = LossTargets(
            log_probs=start.log_probs,
            values=head.normalize(values.to(self.device)).cpu(),
            advantages=advantages,
            returns=head.normalize(returns.to(self.device)).cpu(),
            importance=importance,
            weights=batch.weights,
        )
        states, mask = self.reference_context(batch, ids)
        return IterationData(batch, targets, start.chunk_states, states, mask, train.context_length, self.device)

    def evaluate_start(self, batch: SampleBatch, ids: list[int]) -> Evaluation:
        """Log-probabilities and values of the weights at the iteration's start.

        Those that the workers stored are the same where the very same weights acted in the same arithmetic. Version 0
        is excepted: workers may have begun with the policy as built, before the trainer prepared its value head.
        """
        evaluator, version = self.evaluator(self.policy), self.progress.version
        if not self.policy.is_recurrent:
            if version > 0 and self._workers_compute_alike() and bool((batch.versions == version).all()):
                return evaluator.from_behaviour(batch)
            return evaluator.evaluate(batch, [])
        state: State = batch.state
        reused = [self._uses.get(number, 0) > 1 for number in ids]
        if any(reused):
            previous = self.store.previous(ids)
            chosen = [fragment if again else None for fragment, again in zip(previous, reused, strict=True)]
            state = evaluator.warm_up(chosen, state, recorded=True)
        return evaluator.evaluate(batch, state)

    def _workers_compute_alike(self) -> bool:
        rollout = self.config.rollout_config
        worker = rollout.worker_config
        on_cpu = worker.device == "cpu" or (worker.device == "auto" and rollout.num_gpus_per_worker == 0)
        plain = worker.inference_dtype == "float32" and not self.config.train_config.use_amp
        return self.device.type == "cpu" and on_cpu and plain

    def reference_context(self, batch: SampleBatch, ids: list[int]) -> tuple[State, Tensor | None]:
        """A recurrent reference policy's state before each chunk, and where its KL may be trusted, ``(B, T)``.

        Of an algorithm that has none: nothing.
        """
        return [], None

    # Optimizer steps.

    def _pass(self, data: IterationData, generator: torch.Generator, tally: _Tally) -> None:
        """One pass over the data in optimizer steps; ends early when :meth:`judge` says so."""
        train = self.config.train_config
        order, per_step = self._deal(data, generator)
        # On a CPU a second thread would only take time from the first.
        ahead = train.prefetch_batches if self.device.type != "cpu" else 0
        microbatches = prepared_ahead(data.microbatch, order, ahead)
        for moments_of_step in per_step:
            weight = float(moments_of_step[0])
            of_step = moments_of_step.to(self.device, torch.float32)
            self.optimizer.zero_grad(set_to_none=True)
            sums = torch.zeros(len(self.terms), device=self.device)
            for part in itertools.islice(microbatches, train.gradient_accumulation):
                targets = part.targets(None if train.normalize_advantage_full_batch else of_step)
                loss, part_sums = self.loss(part, targets, of_step[0])
                loss.backward()
                sums += part_sums
            norm, sums = self._join_ranks(sums)
            if not (norm < float("inf") and torch.isfinite(sums).all()):
                tally.skipped, tally.cause = tally.skipped + 1, "a loss or a gradient is not finite"
                continue
            verdict = self.judge((sums / max(weight, 1.0)).tolist())
            if verdict.what != "step":
                tally.over, tally.undone, tally.cause = True, verdict.what == "undo", verdict.cause or tally.cause
                return
            self.optimizer.step()
            self.add_metric("ppo/grad_norm", norm)
            tally.steps += 1
            tally.terms += sums
            tally.weight += weight

    def _deal(self, data: IterationData, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Chunks dealt into microbatches ``(n, chunks)``, and the moments of each step's advantages ``(steps, 3)``.

        The moments are those over all ranks; the first of them is the weight of the step's samples.
        """
        train, batch = self.config.train_config, data.batch
        order = shuffled_chunks(batch.size, batch.length, train.context_length, train.batches_per_iteration, generator)
        steps = train.batches_per_iteration // train.gradient_accumulation
        return order, self.collective.all_reduce(data.chunk_moments[order.reshape(steps, -1)].sum(1))

    def _join_ranks(self, sums: Tensor) -> tuple[float, Tensor]:
        """Adds gradients and sums over the ranks and clips; the norm before that, and the sums, float64 on the CPU."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        if self.collective.world_size > 1:
            flat = torch.cat([*(gradient.flatten() for gradient in gradients), sums])
            parts = self.collective.all_reduce(flat).split([*(gradient.numel() for gradient in gradients), len(sums)])
            for gradient, part in zip(gradients, parts, strict=False):
                gradient.copy_(part.view(gradient.shape))
            sums = parts[-1]
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.train_config.max_grad_norm)
        both = torch.cat([norm.reshape(1), sums]).cpu().double()
        return float(both[0]), both[1:]

    # Numbers.

    @property
    def weighs_stale_samples(self) -> bool:
        """Whether the objective uses importance weights, so that their statistics mean something."""
        return True

    def _report_data(self, sums: Tensor) -> None:
        """From the sums over all ranks: advantages 0-2, returns 3-5, errors 6-8, importance 9-12, staleness 13."""
        stats, count = sums[9:13], max(float(sums[9]), 1e-9)
        self.add_metric("ppo/advantage_std", float(mean_and_std(sums[:3])[1]))
        self.add_metric("ppo/explained_variance", explained_variance(sums[3:6], sums[6:9]))
        if self.weighs_stale_samples:
            self.add_metric("ppo/importance_weight", float(stats[1]) / count, count)
            self.add_metric("ppo/importance_clamped_fraction", float(stats[3]) / count, count)
            self.add_metric("ppo/effective_sample_size", effective_sample_size(stats), count)
        self.add_metric("rollout/staleness", float(sums[13]) / count, count)

    def _report_update(self, tally: _Tally) -> None:
        self.progress.samples += round(tally.weight)
        self.add_metric("ppo/updates_skipped", tally.skipped)
        self.add_metric("ppo/optimizer_steps", tally.steps)
        if tally.weight:
            for name, value in zip(self.terms, (tally.terms / tally.weight).tolist(), strict=True):
                self.add_metric(name, value, tally.weight)
        if tally.skipped:
            undone = "the whole iteration was undone" if tally.undone else "they changed nothing"
            text = f"{tally.skipped} optimizer steps skipped on all ranks, {undone}: {tally.cause}."
            self.event("update_skipped", text, "warning", skipped=tally.skipped)

"""The loop that every trainer runs: orders at the border, fragments, one iteration, new weights, checkpoint.

A runtime drives it so, on every rank::

    trainer = PPOTrainer(policy=..., config=..., ...)
    trainer.setup()                  # resumes if asked to, publishes the first weights
    result = trainer.train()         # until a stop rule, an order to stop, or an error

All decisions are rank 0's and travel by broadcast, so that ranks can never disagree on an edit, a pause or a stop.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minestudio_nb.config.schema import OnlineConfig, field_specs
from minestudio_nb.contracts.control import ControlOrder, Edit
from minestudio_nb.contracts.fragments import FragmentMeta
from minestudio_nb.contracts.protocols import ControlBox, FragmentStore, TelemetrySink, WeightsPublisher
from minestudio_nb.contracts.pulse import Pulse
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.contracts.telemetry import Event, MetricBatch, Stat
from minestudio_nb.errors import CheckpointError, ConfigError, StoreTimeoutError, TrainingError
from minestudio_nb.policies import MinePolicy, load_state, to_package
from minestudio_nb.trainer.checkpoints import (
    Checkpoint,
    CheckpointStore,
    find_checkpoints,
    freeze_checkpoint,
    read_newest,
)
from minestudio_nb.trainer.collective import Collective, SingleProcess
from minestudio_nb.trainer.parameters import lay_out_as_parameters
from minestudio_nb.trainer.saving import CheckpointWriter

__all__ = ["TrainResult", "TrainingLoop"]

logger = logging.getLogger(__name__)

TAKE_SLICE_S = 1.0
"""Longest single wait for fragments or during a pause: how late a stop can be noticed, and the ranks' heartbeat."""
FRAGMENT_DEADLINE_S = 1800.0
"""After this long without enough fragments (pauses not counted) training fails instead of waiting on."""
OWN_DRAWS = 1_000
"""Stream of :meth:`TrainingLoop.seeded` for what a policy draws from torch's own generator, such as dropout."""
EPISODES_PER_RECORD = 4
"""Episodes filmed for each ``record_video_interval``, as in MineStudio."""
SMALL_MODEL_BYTES = 50_000_000
"""Up to this size of the weights, ``recovery_interval`` None means a checkpoint after every iteration."""


@dataclass(frozen=True)
class TrainResult:
    """How training ended.

    ``reason`` is ``"num_iterations"``, ``"stopped"`` (an order), ``"target_return"``, ``"max_env_steps"``,
    ``"max_minutes"`` or what ``stop_check`` said. ``env_steps`` counts distinct steps trained on,
    ``samples`` every use.
    """

    reason: str
    iterations: int
    version: int
    env_steps: int
    samples: int
    checkpoint: Path | None


@dataclass(frozen=True)
class _Border:
    """What rank 0 tells the others at a border: orders, and fragments once they are there."""

    order: ControlOrder
    stop: str = ""
    metas: tuple[FragmentMeta, ...] | None = None
    failure: str = ""


@dataclass
class Progress:
    """What counts on through the run; saved with each checkpoint."""

    iteration: int = 0
    """Iterations completed."""
    version: int = 0
    env_steps: int = 0
    samples: int = 0
    seconds: float = 0.0
    """Training time, pauses not counted."""
    edits: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """Live edits in force: the configuration's value and the edited one by key."""


class TrainingLoop(ABC):
    """See the module docstring. A subclass implements :meth:`iterate`, and may extend what is saved.

    An algorithm derives from :class:`minestudio_nb.trainer.BaseTrainer`, which knows how to learn from fragments.

    Args:
        policy: built alike on every rank; it is moved to ``device``.
        reference_policy: what KL is measured against; None copies the initial policy where it is needed.
        config: the whole configuration; live edits replace it.
        store: where fragments come from.
        publisher: where new weights go (used on rank 0).
        control: orders (used on rank 0).
        telemetry: where numbers and events go (used on rank 0).
        checkpoints: where checkpoints go (written on rank 0, read by all); None: none are written.
        collective: how ranks agree.
        session: the session's name, part of every weights package.
        extra_state: called at each checkpoint; what it returns is saved with it and comes back as
            ``resumed_extra_state`` after :meth:`setup`, and goes to ``on_resume``.
        stop_check: called on rank 0 at each border, and before weights are published; a text ends training with that
            reason. It must answer alike until the next iteration.
        return_window: mean return over a full window of episodes or NaN, for ``target_return``.
        on_resume: called on rank 0 by :meth:`setup`, before weights are published, with the iteration that was resumed
            from and what ``extra_state`` gave for that checkpoint.
        on_edit: called on rank 0 with key and value of each edit that was applied, for settings that live elsewhere.
        on_request: called on rank 0 with each request that is not the trainer's own, such as one to record episodes.
        pulse: shows life while training goes on: at each border, optimizer step and pass of the policy.
        first_version: lowest policy version to publish; one that replaces a dead trainer stays above what workers hold.
    """

    def __init__(
        self,
        *,
        policy: MinePolicy,
        config: OnlineConfig,
        env_spec: EnvSpec,
        store: FragmentStore,
        publisher: WeightsPublisher,
        control: ControlBox,
        telemetry: TelemetrySink,
        checkpoints: CheckpointStore | None = None,
        reference_policy: MinePolicy | None = None,
        collective: Collective | None = None,
        session: str = "session",
        device: str | torch.device = "cpu",
        extra_state: Callable[[], Mapping[str, Any]] | None = None,
        stop_check: Callable[[], str | None] | None = None,
        return_window: Callable[[], float] | None = None,
        on_resume: Callable[[int, Mapping[str, Any]], None] | None = None,
        on_edit: Callable[[str, Any], None] | None = None,
        on_request: Callable[[Mapping[str, Any]], None] | None = None,
        fragment_deadline: float = FRAGMENT_DEADLINE_S,
        first_version: int = 0,
        pulse: Pulse | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.policy = policy.to(self.device)
        self.reference_policy = None if reference_policy is None else reference_policy.to(self.device)
        self.config, self.env_spec, self.session = config, env_spec, session
        self.store, self.publisher, self.control, self.telemetry = store, publisher, control, telemetry
        self.checkpoints = checkpoints
        self.collective: Collective = collective or SingleProcess()
        self.resumed_extra_state: Mapping[str, Any] | None = None
        self.progress = Progress()
        self.metrics: MetricBatch = {}
        self._pulse = beating = pulse or Pulse()
        self.optimizer = self.make_optimizer()
        self.optimizer.register_step_post_hook(lambda *_: beating.beat())
        self._extra_state, self._stop_check, self._return_window = extra_state, stop_check, return_window
        self._on_resume, self._on_edit, self._on_request = on_resume, on_edit, on_request
        self._fragment_deadline = fragment_deadline
        self._first_version = first_version
        self._revision = 0
        self._saved_at = -1
        self._writer = CheckpointWriter(checkpoints, self.event) if checkpoints is not None and self.is_main else None

    # For subclasses.

    @abstractmethod
    def make_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of ``self.policy``; called once, before a checkpoint is loaded into it."""

    @abstractmethod
    def iterate(self, metas: tuple[FragmentMeta, ...]) -> None:
        """Trains on one iteration's fragments (all ranks' are named; fetch your share), adds to ``self.metrics``."""

    def prepare(self) -> None:  # noqa: B027  (a hook)
        """Called first by :meth:`setup`, while the policy still is as it was built."""

    def resumed(self, checkpoint: Checkpoint) -> None:  # noqa: B027  (a hook)
        """Called by :meth:`setup` after policy, optimizer, progress and edits were taken from ``checkpoint``."""

    def edited(self, key: str, value: Any) -> None:  # noqa: B027  (a hook)
        """Called on every rank after an edit was taken into ``self.config``."""

    def state(self) -> dict[str, Any]:
        """A subclass's own numbers for a checkpoint."""
        return {}

    def reference_weights(self) -> Mapping[str, torch.Tensor] | None:
        """The reference policy's weights, where a checkpoint must hold them."""
        return None

    def alive(self) -> None:
        """Shows that training goes on. Who computes for longer than ``timeouts.training_step`` calls it in between."""
        self._pulse.beat()

    # What the runtime calls.

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0."""
        return self.collective.rank == 0

    def setup(self) -> None:
        """Resumes where asked to and publishes the weights that training begins with.

        Raises:
            CheckpointError, WeightsError: the checkpoint to resume from is unusable.
            ConfigError: there are more or fewer ranks than ``train_config.num_workers``.
        """
        if self.config.train_config.num_workers != self.collective.world_size:
            raise ConfigError(
                f"train_config.num_workers is {self.config.train_config.num_workers}, but {self.collective.world_size} "
                "ranks train. Set it to the number of training processes; one process trains as one rank."
            )
        torch.manual_seed(self.seeded(OWN_DRAWS).initial_seed())
        self._agree_on_weights()
        self.prepare()
        resume, own = self.config.train_config.resume, self.checkpoints
        if self.is_main and own is not None:
            own.tidy()
        self.collective.broadcast(None)  # nobody reads before that is done
        if resume:
            folder, checkpoint, problems = read_newest(find_checkpoints(resume, own or CheckpointStore(".")))
            for problem in problems:
                self.event("resume", f"{problem} The one before it is tried.", "warning")
            if self.is_main and own is not None and own.newest() != folder:
                own.point_to(folder)  # where another process that replaces this one shall go on, too
            self._resume(checkpoint)
            self.resumed(checkpoint)
            if self.is_main and self._on_resume:
                self._on_resume(self.progress.iteration, checkpoint.extra)
            self.event("resume", f"Resumed from {folder.name} at iteration {self.progress.iteration}.")
        self.progress.version = max(self.progress.version, self._first_version)
        self._publish()

    def train(self) -> TrainResult:
        """Iterates until a rule, an order or an error ends it; a last checkpoint is written in the first two cases."""
        try:
            border = self._iterate_until_told()
            if self.progress.iteration != self._saved_at or (self._writer is not None and self._writer.must_retry()):
                self.save()
        finally:
            newest = self._writer.finish() if self._writer is not None else None
        done = self.progress
        return TrainResult(border.stop, done.iteration, done.version, done.env_steps, done.samples, newest)

    def _iterate_until_told(self) -> _Border:
        while True:
            started = time.monotonic()
            border = self._next_border()
            if border.stop or border.metas is None:
                return border
            self.add_metric("train/wait_seconds", self._waited)
            self.iterate(border.metas)
            self.progress.iteration += 1
            self.progress.version += 1
            self._publish()
            elapsed = time.monotonic() - started - self._paused
            self.progress.seconds += elapsed
            self._close_iteration(elapsed)

    def save(self, label: str = "") -> None:
        """Takes a checkpoint (rank 0), which is written while training goes on; see :mod:`.saving`."""
        self._saved_at = self.progress.iteration
        if self._writer is None:
            return
        state = {
            "progress": {name: getattr(self.progress, name) for name in self.progress.__dataclass_fields__},
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "trainer": self.state(),
        }
        checkpoint = Checkpoint(
            iteration=self.progress.iteration,
            weights=self.policy.state_dict(),
            optimizer=self.optimizer.state_dict(),
            state=state,
            reference=self.reference_weights(),
            extra=dict(self._extra_state()) if self._extra_state else {},
        )
        self._writer.begin(freeze_checkpoint(checkpoint), label, self.config.train_config.keep_interval)

    # Numbers and events.

    def add_metric(self, name: str, value: float, weight: float = 1.0) -> None:
        """Adds to the iteration's metrics."""
        self.metrics.setdefault(name, Stat()).add(float(value), float(weight))

    def event(self, kind: str, message: str, severity: Any = "info", **data: Any) -> None:
        """Tells the user, from rank 0."""
        if self.is_main:
            event = Event(kind, message, severity, "trainer", self.progress.iteration, data=data)
            self.telemetry.event(event)

    # The border.

    def _next_border(self) -> _Border:
        """Waits, with a heartbeat between the ranks, until there is something to do."""
        self._waited = self._paused = 0.0
        announced = False
        while True:
            started = time.monotonic()
            border: _Border = self.collective.broadcast(self._read_border() if self.is_main else None)
            elapsed = time.monotonic() - started
            self.alive()
            self._apply(border.order)
            if border.failure:
                raise TrainingError(border.failure)
            if border.stop or border.metas is not None:
                self._waited += elapsed
                return border
            if border.order.paused:
                self._paused += elapsed
                if not announced:
                    self.event("state", f"Training paused at iteration {self.progress.iteration}.")
                    announced = True
            else:
                self._waited += elapsed

    def _read_border(self) -> _Border:
        """Rank 0: orders first, then fragments; returns after one slice of waiting at most."""
        order = self.control.read(self._revision)
        if order.paused and not (order.stop or order.edits or order.requests):
            order = self.control.wait(self._revision, TAKE_SLICE_S)
        if order.stop:
            return _Border(order, stop="stopped")
        if order.paused or order.requests:  # a checkpoint is of the border: before the next iteration's steps
            return _Border(order)
        preview = self._config_with(order.edits)
        reason = self._rule_that_ends(preview)
        if reason:
            return _Border(order, stop=reason)
        try:
            metas = self.store.take(preview.fragments_per_iteration, self.progress.version, TAKE_SLICE_S)
        except StoreTimeoutError as error:
            if self._waited > self._fragment_deadline:
                text = f"No iteration's worth of fragments came within {self._fragment_deadline:g} s: {error}"
                return _Border(order, failure=f"{text} Look at the events of the rollout workers.")
            return _Border(order)
        return _Border(order, metas=tuple(metas))

    def _config_with(self, edits: tuple[Edit, ...]) -> OnlineConfig:
        config = self.config
        for edit in edits:
            if _why_not(edit, config) is None:
                config = config.with_value(edit.key, edit.value)
        return config

    def _apply(self, order: ControlOrder) -> None:
        """Takes edits and requests; the same on every rank."""
        for edit in order.edits:
            self._apply_edit(edit)
        self._revision = max(self._revision, order.revision)
        for request in order.requests:
            if request.get("kind") == "checkpoint":
                self.save(str(request.get("label") or "requested"))
                if self._writer is not None and (path := self._writer.wait()) is not None:
                    self.event("checkpoint", f"Checkpoint {path.name} written on request.")
            elif self.is_main and self._on_request:
                self._on_request(request)
            if self.is_main:  # one that dies before this leaves it to the next, which replaces what this one has saved
                self.control.done(request["number"])

    def _apply_edit(self, edit: Edit) -> None:
        """Takes an edit, or rejects it, and tells what became of it.

        One that replaces a dead trainer reads the edits that were answered before, too. What the checkpoint holds stays
        as it is there, since values may have decayed since; the others are taken again. They were told already.
        """
        iteration, is_new = self.progress.iteration, edit.status == "requested"
        if not is_new and (edit.status == "rejected" or (edit.iteration or 0) < iteration):
            return
        problem = _why_not(edit, self.config)
        if problem is None:
            before = self.config.get(edit.key)
            self.config = self.config.with_value(edit.key, edit.value)
            base = self.progress.edits.get(edit.key, (before,))[0]
            self.progress.edits[edit.key] = (base, self.config.get(edit.key))
            self.edited(edit.key, self.config.get(edit.key))
        if not self.is_main:
            return
        if problem is None:
            self.control.answer(edit.revision, "applied", iteration)
            if self._on_edit:
                self._on_edit(edit.key, self.config.get(edit.key))
            if not is_new:
                return
            told = {"revision": edit.revision, "key": edit.key, "value": self.config.get(edit.key)}
            self.event("edit", f"{edit.key} = {edit.value!r} applied @ iteration {iteration}.", **told)
        else:
            self.control.answer(edit.revision, "rejected", iteration, problem)
            self.event("edit", f"{edit.key} = {edit.value!r} rejected: {problem}", "warning", revision=edit.revision)

    def _rule_that_ends(self, config: OnlineConfig) -> str:
        """The stop rule that holds now, or an empty text."""
        train, progress = config.train_config, self.progress
        if progress.iteration >= train.num_iterations:
            return "num_iterations"
        if train.max_env_steps is not None and progress.env_steps >= train.max_env_steps:
            return "max_env_steps"
        if train.max_minutes is not None and progress.seconds >= 60.0 * train.max_minutes:
            return "max_minutes"
        if train.target_return is not None and self._return_window and self._return_window() >= train.target_return:
            return "target_return"
        return (self._stop_check() if self._stop_check else None) or ""

    # After an iteration.

    def _publish(self) -> None:
        if self.is_main:
            package = to_package(self.policy, self.session, self.progress.version)
            self.publisher.publish(package, collect=not self._rule_that_ends(self.config))

    def _close_iteration(self, elapsed: float) -> None:
        """Ends with the checkpoint, so that what a checkpoint counts as done has its point in the curves, too."""
        train, iteration = self.config.train_config, self.progress.iteration
        if self.is_main:
            if train.record_video_interval and iteration % train.record_video_interval == 0 and self._on_request:
                self._on_request({"kind": "record", "episodes": EPISODES_PER_RECORD})
            self.add_metric("train/iteration_seconds", elapsed)
            self.add_metric("train/policy_version", self.progress.version)
            self.add_metric("train/samples_total", self.progress.samples)
            self.telemetry.iteration(iteration, self.metrics)
        self.metrics = {}
        due = iteration % train.save_interval == 0 or iteration % self._recovery_interval() == 0
        if due or (self._writer is not None and self._writer.must_retry()):
            self.save()

    def _recovery_interval(self) -> int:
        if self.config.recovery_interval is not None:
            return self.config.recovery_interval
        size = sum(parameter.numel() * parameter.element_size() for parameter in self.policy.parameters())
        return 1 if size < SMALL_MODEL_BYTES else self.config.train_config.save_interval

    @torch.no_grad()
    def _agree_on_weights(self) -> None:
        """Gives every rank rank 0's weights: a user's generator need not build the same twice."""
        if self.collective.world_size > 1:
            for policy in filter(None, (self.policy, self.reference_policy)):
                for tensor in policy.state_dict().values():
                    self.collective.broadcast_tensor(tensor)

    # Resuming.

    def _resume(self, checkpoint: Checkpoint) -> None:
        load_state(self.policy, checkpoint.weights)
        if self.config.train_config.resume_optimizer:
            groups = self.optimizer.param_groups
            configured = [{key: value for key, value in group.items() if key != "params"} for group in groups]
            try:
                self.optimizer.load_state_dict(dict(checkpoint.optimizer))
                lay_out_as_parameters(self.optimizer)
            except ValueError as error:
                raise CheckpointError(
                    f"The optimizer's state in the checkpoint belongs to other groups of parameters: {error}. Give "
                    "train_config.parameter_groups as they were, or resume_optimizer=false."
                ) from error
            for group, now in zip(self.optimizer.param_groups, configured, strict=True):
                group |= now
        self.progress = Progress(**checkpoint.state["progress"])
        self._saved_at = self.progress.iteration
        for key, (base, value) in list(self.progress.edits.items()):
            if self.config.get(key) == base:
                self.config = self.config.with_value(key, value)
                if self.is_main and self._on_edit:
                    self._on_edit(key, value)
            else:  # whoever resumed gave another value, and that is newer
                del self.progress.edits[key]
        if self.is_main:  # the others draw from streams of their own
            torch.set_rng_state(checkpoint.state["torch_rng"])
            cuda_rng = checkpoint.state.get("cuda_rng", [])
            if self.device.type == "cuda" and len(cuda_rng) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(cuda_rng)
        self.resumed_extra_state = checkpoint.extra

    def seeded(self, stream: int = 0) -> torch.Generator:
        """A generator for this rank and iteration: nothing to save, and a resume repeats it exactly.

        Other streams are independent of it, so that who draws from one changes nothing for the others.
        """
        words = [
            self.config.train_config.seed,
            self.collective.rank,
            self.progress.iteration,
            *([stream] * (stream > 0)),
        ]
        seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1
        return torch.Generator().manual_seed(seed)


def _why_not(edit: Edit, config: OnlineConfig) -> str | None:
    """Why an edit cannot be applied to a running job, or None."""
    spec = field_specs().get(edit.key)
    if spec is None:
        return f"there is no setting {edit.key!r}"
    if not spec.live:
        return spec.why_not_live or "it cannot be changed while training runs"
    try:
        config.with_value(edit.key, edit.value)
    except ConfigError as error:
        return "; ".join(error.problems) or str(error)
    return None

"""Numbers and events that cross a border: the catalogue of metrics, mergeable statistics, events.

A metric exists only if it is in :data:`METRICS`; names are ``group/name_unit``. A :class:`Stat` holds sum, count,
minimum and maximum, so that batches from many processes merge in any order to the same result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.errors import TelemetryError

__all__ = [
    "METRICS",
    "Event",
    "MetricBatch",
    "MetricSpec",
    "Reduction",
    "Stat",
    "find_metric",
    "merge_batches",
    "without_unit",
]

Reduction = Literal["mean", "sum", "max", "min", "last"]
Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class MetricSpec:
    """One metric: its unit, how values of one iteration become one point, what it means and what bad looks like."""

    name: str
    unit: str
    reduction: Reduction
    help: str
    bad: str = ""


@dataclass
class Stat:
    """Mergeable statistics of one metric within one iteration. ``last`` is the value with the greatest ``time``."""

    total: float = 0.0
    count: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    last: float = math.nan
    time: float = 0.0

    def add(self, value: float, weight: float = 1.0) -> None:
        """Adds ``value`` with ``weight`` (a number of samples; 1 for a plain observation)."""
        self.total += value * weight
        self.count += weight
        self.low = min(self.low, value)
        self.high = max(self.high, value)
        self.last, self.time = value, time.time()

    def merge(self, other: Stat) -> None:
        """Adds everything that ``other`` has seen."""
        self.total += other.total
        self.count += other.count
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)
        if other.time >= self.time:
            self.last, self.time = other.last, other.time

    def value(self, reduction: Reduction) -> float:
        """The point on the curve; NaN when nothing was added."""
        if self.count == 0:
            return math.nan
        if reduction == "mean":
            return self.total / self.count
        if reduction == "sum":
            return self.total
        return {"max": self.high, "min": self.low, "last": self.last}[reduction]


MetricBatch = dict[str, Stat]


def merge_batches(batches: Iterable[Mapping[str, Stat]]) -> MetricBatch:
    """One batch with the statistics of all; the inputs stay as they were."""
    merged: MetricBatch = {}
    for batch in batches:
        for name, stat in batch.items():
            merged.setdefault(name, Stat()).merge(stat)
    return merged


@dataclass(frozen=True)
class Event:
    """Something that a user should see: a fault with its cause and what was done, an edit, a checkpoint."""

    kind: str
    """For example ``env_restart``, ``edit``, ``checkpoint``, ``update_skipped``, ``state``, ``failure``."""
    message: str
    severity: Severity = "info"
    source: str = ""
    """Who says it, for example ``worker 1 / env 3``."""
    iteration: int | None = None
    time: float = field(default_factory=time.time)
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return asdict(self)


def _catalogue(*specs: MetricSpec) -> dict[str, MetricSpec]:
    return {spec.name: spec for spec in specs}


_M = MetricSpec
METRICS: dict[str, MetricSpec] = _catalogue(
    _M("episode/return", "reward", "mean", "Undiscounted return of the episodes that finished in this iteration.",
       "Flat for many iterations: the reward is too sparse, or the learning rate is wrong."),
    _M("episode/length_steps", "steps", "mean", "Policy decisions per finished episode."),
    _M("episode/count", "episodes", "sum", "Episodes that finished in this iteration.",
       "0 for long: episodes are longer than you think, or environments hang."),
    _M("episode/return_window", "reward", "last",
       "Mean return over the latest finished episodes of all tasks (episode_statistics_config.window of them)."),
    _M("rollout/env_steps", "steps", "sum", "Environment steps collected in this iteration."),
    _M("rollout/env_steps_total", "steps", "last", "Environment steps since the session started."),
    _M("rollout/steps_per_second", "steps/s", "last", "Environment steps per second of wall time, over this iteration.",
       "Falls while nothing was changed: environments leak, or the machine is shared."),
    _M("rollout/inference_seconds", "s", "sum", "Time that rollout workers spent in the policy, summed over workers."),
    _M("rollout/env_seconds", "s", "sum",
       "Time that rollout workers spent waiting for environments, summed over workers."),
    _M("rollout/blocked_seconds", "s", "sum", "Time that rollout workers waited for credit, summed over workers.",
       "Most of the wall time: training is the bottleneck."),
    _M("rollout/env_restarts", "restarts", "sum", "Environments that were rebuilt after a fault.", "Any steady rate."),
    _M("rollout/dropped_steps", "steps", "sum", "Steps thrown away because their episode was cut by a fault."),
    _M("rollout/staleness", "versions", "mean",
       "Trainer's policy version minus the version that acted, per sample trained on.",
       "Above max_staleness / 2: rollouts run too far ahead; expect ESS to fall."),
    _M("buffer/fragments", "fragments", "last", "Fragments held by the replay buffer."),
    _M("buffer/unread_fragments", "fragments", "last", "Fragments that were never trained on."),
    _M("buffer/dropped_stale", "fragments", "sum",
       "Fragments dropped unread because they were older than max_staleness.",
       "Anything above 0 in steady state: collected work is thrown away."),
    _M("buffer/lost_fragments", "fragments", "sum", "Fragments whose data was lost with a node."),
    _M("buffer/reuse", "times", "mean",
       "How often the fragments of this iteration had been trained on, this time included."),
    _M("buffer/bytes", "bytes", "last", "Bytes held by reference."),
    _M("ppo/loss", "", "mean", "Total loss."),
    _M("ppo/policy_loss", "", "mean", "Clipped surrogate loss."),
    _M("ppo/value_loss", "", "mean", "Value loss (half the squared error)."),
    _M("ppo/entropy_nats", "nats", "mean", "Entropy of the policy, summed over action components.",
       "Near 0 early: the policy has collapsed; raise entropy_bonus_coef or lower the learning rate."),
    _M("ppo/approx_kl_nats", "nats", "mean",
       "KL(proximal || new) estimated as mean(ratio - 1 - log ratio); with objective plain, KL(behaviour || new).",
       "Above 0.05 for long: steps are too large."),
    _M("ppo/clip_fraction", "", "mean",
       "Share of samples whose ratio left the clip range.", "Above 0.3: steps are too large."),
    _M("ppo/explained_variance", "", "last", "1 - Var(return - value) / Var(return).",
       "Below 0: the value head is worse than a constant."),
    _M("ppo/kl_reference_nats", "nats", "mean", "KL(new || reference policy)."),
    _M("ppo/kl_masked_fraction", "", "mean",
       "Share of samples whose KL to the reference was masked for lack of context."),
    _M("ppo/importance_weight", "", "mean", "pi_proximal / pi_behaviour after clamping."),
    _M("ppo/importance_clamped_fraction", "", "mean", "Share of samples whose importance weight was clamped."),
    _M("ppo/effective_sample_size", "", "mean", "ESS of the importance weights as a share of the batch.",
       "Below 0.5: the data is too stale for the objective."),
    _M("ppo/grad_norm", "", "mean", "Gradient norm before clipping."),
    _M("ppo/learning_rate", "", "last", "Learning rate in force."),
    _M("ppo/clip_range", "", "last", "Clip range in force: ppo_clip, annealed where that is asked for."),
    _M("ppo/optimizer_steps", "steps", "sum", "Optimizer steps that were made and kept.",
       "Far below epochs_per_iteration x steps of a pass: target_kl ends iterations early."),
    _M("ppo/advantage_std", "reward", "last", "Standard deviation of the advantages before normalisation."),
    _M("ppo/updates_skipped", "updates", "sum", "Optimizer steps skipped and undone for NaN or runaway KL.",
       "Any steady rate: lower the learning rate."),
    _M("bc/loss_nats", "nats", "mean", "Mean of -log p(demonstrated action), over drawn steps of demonstrations."),
    _M("bc/accuracy", "", "mean", "Share of drawn steps whose most probable action is the demonstrated one.",
       "Near chance for long: demonstrations contradict each other, or show what the policy cannot see."),
    _M("bc/coef", "", "last", "Weight of the cloning loss, after decay."),
    _M("train/iteration_seconds", "s", "last", "Wall time of the whole iteration."),
    _M("train/update_seconds", "s", "last", "Wall time of advantages and PPO update."),
    _M("train/wait_seconds", "s", "last", "Time that the trainer waited for fragments.",
       "Most of the iteration: rollout is the bottleneck."),
    _M("train/samples_per_second", "samples/s", "last",
       "Samples trained on per second of update, counting every epoch."),
    _M("train/samples_total", "samples", "last", "Samples trained on since the session started, counting every epoch."),
    _M("train/policy_version", "version", "last", "Version of the newest published weights."),
    _M("system/cpu_seconds_total", "s", "last", "CPU seconds used by all processes of the session."),
    _M("system/cpu_cores", "cores", "last", "CPU cores that the session's processes kept busy since the look before.",
       "Far below the machine's cores while rollouts wait: environments or workers wait for something."),
    _M("system/memory_bytes", "bytes", "last", "Resident memory of all processes of the session.",
       "Grows without end: an environment leaks; see worker_config.restart_interval."),
    _M("system/processes", "processes", "last", "Processes of the session."),
    _M("system/machine_cpu_fraction", "", "last", "Share of the machine's CPU time in use, whoever uses it.",
       "Near 1 while the session itself uses little: the machine is shared."),
    _M("system/machine_memory_fraction", "", "last", "Share of the machine's memory in use, whoever uses it.",
       "Above 0.9: processes may be killed for lack of memory."),
    _M("system/gpu_fraction", "", "last",
       "Share of time in which something ran on the machine's NVIDIA GPUs, their mean, whoever used them.",
       "Low while train/update_seconds is most of the iteration: batches are too small for the GPU."),
    _M("system/gpu_memory_bytes", "bytes", "last", "GPU memory in use on the machine, whoever uses it."),
    _M("system/gpu_memory_fraction", "", "last", "The same as a share of what there is.",
       "Near 1: the next larger batch does not fit."),
    _M("system/object_store_bytes", "bytes", "last", "Bytes in Ray's object store, over all nodes."),
    _M("system/object_store_fraction", "", "last", "The same as a share of its size.",
       "Near 1: Ray writes objects to disk, and all gets slow; lower max_chunks."),
)  # fmt: skip

_SHORT = {"kl": "ppo/approx_kl_nats", "lr": "ppo/learning_rate", "ess": "ppo/effective_sample_size"}


def find_metric(name: str) -> str:
    """The metric that ``name`` means: its full name, or that without the group, or also without the unit.

    ``"return"`` is ``"episode/return"``, ``"entropy"`` is ``"ppo/entropy_nats"``.

    Raises:
        TelemetryError: there is none, with the nearest name, or there are several.
    """
    if name in METRICS:
        return name
    if name in _SHORT:
        return _SHORT[name]
    own = {full: full.partition("/")[2] for full in METRICS}
    found = [full for full in METRICS if own[full] == name] or [full for full in METRICS if without_unit(full) == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise TelemetryError(f"the metric {name!r} may be {' or '.join(found)}; give the full name")
    known = [*METRICS, *_SHORT, *own.values(), *map(without_unit, METRICS)]
    raise TelemetryError(f"there is no metric {name!r}{nearest_hint(name, known) or '; docs/metrics.md lists them'}")


def without_unit(name: str) -> str:
    """A metric's name without its group, and without its unit where the name ends with it: ``entropy``."""
    own, unit = name.partition("/")[2], METRICS[name].unit
    endings = {"s": "_seconds", "steps/s": "_per_second", "samples/s": "_per_second"}
    return own.removesuffix(endings.get(unit, f"_{unit}"))

"""Which metrics share a chart, in pictures and reports."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PANELS", "Panel"]


@dataclass(frozen=True)
class Panel:
    """One chart: its title and the metrics in it, each with the name that the legend shows."""

    title: str
    metrics: tuple[tuple[str, str], ...]
    help: str = ""
    """What to look for, in one sentence."""


PANELS: tuple[Panel, ...] = (
    Panel(
        "Throughput (per second)",
        (("rollout/steps_per_second", "env steps"), ("train/samples_per_second", "learner samples")),
        "Samples count every epoch, over the time of the update alone.",
    ),
    Panel(
        "Losses",
        (("ppo/policy_loss", "policy"), ("ppo/value_loss", "value")),
        "The value loss may rise while the return does; the policy loss stays near 0.",
    ),
    Panel(
        "KL of an update (nats)",
        (("ppo/approx_kl_nats", "proximal || new"), ("ppo/kl_reference_nats", "new || reference")),
        "Proximal || new above 0.05 for long: the steps are too large.",
    ),
    Panel(
        "Entropy (nats)",
        (("ppo/entropy_nats", "entropy"),),
        "Falls slowly as the policy makes up its mind; near 0 early means that it collapsed.",
    ),
    Panel(
        "Shares of the batch",
        (
            ("ppo/clip_fraction", "clipped"),
            ("ppo/explained_variance", "explained variance"),
            ("ppo/effective_sample_size", "effective sample size"),
        ),
        "Explained variance should near 1; clipped above 0.3 means that the steps are too large.",
    ),
    Panel(
        "Staleness (versions)",
        (("rollout/staleness", "staleness"),),
        "0 when rollout waits for the trainer; low and steady when the two overlap.",
    ),
)
"""The charts below the return, in their order. Those without data are left out."""

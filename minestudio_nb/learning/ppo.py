"""The PPO objective, decoupled for data of older policies (Hilton et al. 2110.00641), as pure functions.

Three policies meet here: *behaviour* (acted), *proximal* (the weights at the iteration's start, to which ratio and
clipping refer) and the *new* one (being optimised). With data of the current version the first two are the same, and
this is plain PPO (Schulman et al. 1707.06347).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "TERMS",
    "ImportanceStats",
    "LossSettings",
    "LossTargets",
    "effective_sample_size",
    "importance_weights",
    "ppo_loss",
]

Samples = Float[Tensor, " samples"]

TERMS = ("loss", "policy_loss", "value_loss", "entropy_nats", "approx_kl_nats", "clip_fraction", "kl_reference_nats")
"""What :func:`ppo_loss` reports, in this order."""


@dataclass(frozen=True)
class LossSettings:
    """Coefficients in force. ``value_clip`` None: an unclipped value loss. ``kl_coef`` weighs KL(new || reference)."""

    clip: float
    value_clip: float | None = None
    policy_coef: float = 1.0
    value_coef: float = 0.5
    entropy_coef: float = 0.0
    kl_coef: float = 0.0
    log_ratio_range: float = 50.0


@dataclass(frozen=True)
class LossTargets:
    """What the samples of one microbatch are held against; each ``(samples,)``, none with a gradient.

    Values and returns are in the units of the value head. ``importance`` is p_proximal / p_behaviour after clamping;
    ``weights`` says how much each sample counts (1, or 0 for one that only fills a gap).
    """

    log_probs: Samples
    values: Samples
    advantages: Samples
    returns: Samples
    importance: Samples
    weights: Samples


def ppo_loss(
    log_probs: Samples,
    values: Samples,
    entropy: Samples,
    kl_reference: Samples | None,
    targets: LossTargets,
    total_weight: float | Tensor,
    settings: LossSettings,
) -> tuple[Float[Tensor, ""], Float[Tensor, " terms"]]:
    """The loss of one microbatch and the weighted sums of its terms.

    The loss is the weighted sum over the samples divided by ``total_weight``, the weight of *all* samples of the
    optimizer step: accumulated microbatches and ranks, whatever their sizes, add up to the mean over their union.

    Args:
        log_probs: of the taken actions under the new policy.
        values: of the new policy, in the value head's units.
        entropy: of the new policy, in nats.
        kl_reference: KL(new || reference) per sample, 0 where it is masked; None without a reference policy.

    Returns:
        ``(loss, sums)``: a scalar with a gradient, and detached sums over the samples in the order of :data:`TERMS`.
    """
    log_ratio = (log_probs - targets.log_probs).clamp(-settings.log_ratio_range, settings.log_ratio_range)
    ratio = log_ratio.exp()
    advantages = targets.advantages * targets.importance
    clipped = ratio.clamp(1.0 - settings.clip, 1.0 + settings.clip)
    policy_loss = -torch.minimum(ratio * advantages, clipped * advantages)
    value_loss = _value_loss(values, targets, settings.value_clip)
    loss = settings.policy_coef * policy_loss + settings.value_coef * value_loss - settings.entropy_coef * entropy
    if kl_reference is not None:
        loss = loss + settings.kl_coef * kl_reference
    with torch.no_grad():
        reference = torch.zeros_like(loss) if kl_reference is None else kl_reference
        outside = ((ratio - 1.0).abs() > settings.clip).to(loss.dtype)
        terms = torch.stack([loss, policy_loss, value_loss, entropy, ratio - 1.0 - log_ratio, outside, reference])
        sums = terms @ targets.weights
    return (loss @ targets.weights) / total_weight, sums


def _value_loss(values: Samples, targets: LossTargets, value_clip: float | None) -> Samples:
    error = (values - targets.returns).square()
    if value_clip is not None:
        held = targets.values + (values - targets.values).clamp(-value_clip, value_clip)
        error = torch.maximum(error, (held - targets.returns).square())
    return 0.5 * error


ImportanceStats = Float[Tensor, "4"]
"""Weighted sums of 1, the weight, its square, and whether it was clamped; float64, adds up over ranks."""


def importance_weights(
    proximal_log_probs: Float[Tensor, ...],
    behaviour_log_probs: Float[Tensor, ...],
    sample_weights: Float[Tensor, ...],
    clamp: float,
) -> tuple[Float[Tensor, ...], ImportanceStats]:
    """p_proximal / p_behaviour, at most ``clamp``, and the sums that its metrics are made of."""
    raw = (proximal_log_probs - behaviour_log_probs).exp()
    weights = raw.clamp(max=clamp)
    count, each = sample_weights.double().flatten(), weights.double().flatten()
    clamped = (raw > clamp).double().flatten()
    return weights, torch.stack([count.sum(), count @ each, count @ each.square(), count @ clamped])


def effective_sample_size(stats: ImportanceStats) -> float:
    """(sum w)^2 / (n sum w^2), a share of the batch: 1 when all weights are equal, towards 0 when few samples count."""
    count, total, squares = float(stats[0]), float(stats[1]), float(stats[2])
    return total * total / (count * squares) if squares > 0.0 else float("nan")

"""Generalised advantage estimation with honest ends of episodes, and normalisation over all ranks."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Moments", "explained_variance", "gae", "mean_and_std", "moments", "normalise_advantages"]

_EPSILON = 1e-8


def gae(
    rewards: Float[Tensor, "batch time"],
    values: Float[Tensor, "batch time_plus_one"],
    terminated: Bool[Tensor, "batch time"],
    truncated: Bool[Tensor, "batch time"],
    final_values: Float[Tensor, "batch time"],
    discount: float,
    lam: float,
) -> tuple[Float[Tensor, "batch time"], Float[Tensor, "batch time"]]:
    """Advantages and returns (Schulman et al. 1506.02438).

    The step after ``t`` is worth 0 where the episode terminated, ``final_values[t]`` (the value of the observation that
    it ended with) where it was cut off, and ``values[:, t + 1]`` elsewhere. Nothing flows backwards across an end.

    Args:
        values: of the observations before each step and after the last one.
        final_values: read only where ``truncated`` and not ``terminated``.
        discount: gamma.
        lam: lambda; 0 is the one-step error, 1 the discounted return minus the value.

    Returns:
        ``(advantages, returns)``; returns are advantages + values[:, :-1], the targets of the value function.
    """
    ended = terminated | truncated
    next_values = torch.where(truncated, final_values, values[:, 1:]).masked_fill(terminated, 0.0)
    deltas = rewards + discount * next_values - values[:, :-1]
    carry = (discount * lam) * (~ended).to(deltas.dtype)
    advantages = torch.empty_like(deltas)
    running = torch.zeros_like(deltas[:, 0])
    for step in range(deltas.shape[1] - 1, -1, -1):
        running = deltas[:, step] + carry[:, step] * running
        advantages[:, step] = running
    return advantages, advantages + values[:, :-1]


Moments = Float[Tensor, "3"]
"""Sum of weights, weighted sum and weighted sum of squares, float64: adds up over microbatches and ranks."""


def moments(values: Float[Tensor, ...], weights: Float[Tensor, ...]) -> Moments:
    """The moments of ``values``, each counted ``weights`` times."""
    values, weights = values.double().flatten(), weights.double().flatten()
    return torch.stack([weights.sum(), weights @ values, weights @ values.square()])


def mean_and_std(of: Moments) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean and population standard deviation, float64 scalars."""
    mean = of[1] / of[0].clamp(min=_EPSILON)
    return mean, (of[2] / of[0].clamp(min=_EPSILON) - mean.square()).clamp(min=0.0).sqrt()


def normalise_advantages(advantages: Float[Tensor, ...], of: Moments) -> Float[Tensor, ...]:
    """``advantages`` with the mean and deviation of ``of`` taken out; ``of`` is summed over all that should count."""
    mean, std = mean_and_std(of)
    return (advantages - mean.to(advantages.dtype)) / (std.to(advantages.dtype) + _EPSILON)


def explained_variance(returns: Moments, errors: Moments) -> float:
    """1 - Var(return - value) / Var(return): 1 perfect, 0 as good as a constant; NaN where returns do not vary."""
    (_, spread), (_, error) = mean_and_std(returns), mean_and_std(errors)
    variance = float(spread.square())
    return 1.0 - float(error.square()) / variance if variance > 0.0 else float("nan")

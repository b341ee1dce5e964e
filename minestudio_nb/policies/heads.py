"""The two heads of every policy: categorical action components, and a value that may be normalised."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from minestudio_nb.contracts.specs import ActionSpec

__all__ = ["CategoricalHead", "ValueHead"]

Logits = Mapping[str, Tensor]


class CategoricalHead(nn.Module):
    """``K`` independent categorical components read from one linear layer of ``sum(nvec)`` outputs.

    Distributions travel as ``{component name: log-softmax of shape (..., n)}``, in the order of the action spec.
    """

    def __init__(self, in_features: int, action: ActionSpec) -> None:
        super().__init__()
        self.names = action.component_names
        self.nvec = action.nvec
        self.linear = nn.Linear(in_features, sum(self.nvec))
        nn.init.orthogonal_(self.linear.weight, 0.01)
        nn.init.zeros_(self.linear.bias)
        self._runs = _runs_of_equal(self.nvec)

    def logits(self, features: Tensor) -> Tensor:
        """``(..., in_features)`` -> unnormalised scores of all components side by side, ``(..., sum(nvec))``."""
        out: Tensor = self.linear(features)
        return out

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """``(..., in_features)`` -> float32 log-probabilities ``{name: (..., n)}``."""
        return self.distribution(self.logits(features))

    def distribution(self, logits: Tensor) -> dict[str, Tensor]:
        """Scores ``(..., sum(nvec))`` -> float32 log-probabilities ``{name: (..., n)}``."""
        parts = (logits,) if len(self.nvec) == 1 else logits.split(self.nvec, dim=-1)
        return {name: part.float().log_softmax(-1) for name, part in zip(self.names, parts, strict=True)}

    def sample_logits(
        self, logits: Tensor, generator: torch.Generator | None = None, deterministic: bool = False
    ) -> tuple[Tensor, Tensor]:
        """One action per row of scores ``(N, sum(nvec))``: actions int64 ``(N, K)`` and their log-probability ``(N,)``.

        Gumbel-max: the argmax of log p - log E with E ~ Exp(1) is a draw from p. Components of equal size that lie side
        by side are drawn in one operation, which is what makes this cheap at small batches.
        """
        logits = logits.float()
        noise = None if deterministic else torch.empty_like(logits).exponential_(generator=generator).log_()
        actions, log_probs, start = [], [], 0
        for count, size in self._runs:
            stop = start + count * size
            scores = logits[:, start:stop].unflatten(1, (count, size)).log_softmax(-1)
            noisy = scores if noise is None else scores - noise[:, start:stop].unflatten(1, (count, size))
            chosen = noisy.argmax(-1, keepdim=True)
            actions.append(chosen.squeeze(-1))
            log_probs.append(scores.gather(-1, chosen).sum((1, 2)))
            start = stop
        if len(actions) == 1:
            return actions[0], log_probs[0]
        return torch.cat(actions, 1), torch.stack(log_probs).sum(0)

    def sample(
        self, pi_logits: Logits, generator: torch.Generator | None = None, deterministic: bool = False
    ) -> Tensor:
        """One action int64 ``(..., K)`` from ``{name: (..., n)}``; the most probable if ``deterministic``."""
        flat = torch.cat([pi_logits[name] for name in self.names], -1)
        actions, _ = self.sample_logits(flat.reshape(-1, flat.shape[-1]), generator, deterministic)
        return actions.reshape(*flat.shape[:-1], len(self.names))

    def log_prob(self, actions: Tensor, pi_logits: Logits) -> Tensor:
        """Joint log-probability in nats, ``(...)``, of actions int64 ``(..., K)``."""
        parts = [
            pi_logits[name].gather(-1, actions[..., index : index + 1]).squeeze(-1)
            for index, name in enumerate(self.names)
        ]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    def entropy(self, pi_logits: Logits) -> Tensor:
        """Entropy in nats, ``(...)``, summed over the components."""
        return self._sum(lambda name: -(pi_logits[name].exp() * _finite(pi_logits[name])).sum(-1))

    def kl(self, pi_logits: Logits, other: Logits) -> Tensor:
        """KL(pi || other) in nats, ``(...)``, over whole distributions, summed over the components."""
        return self._sum(
            lambda name: (pi_logits[name].exp() * (_finite(pi_logits[name]) - _finite(other[name]))).sum(-1)
        )

    def _sum(self, term: Callable[[str], Tensor]) -> Tensor:
        parts = [term(name) for name in self.names]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _finite(log_p: Tensor) -> Tensor:
    """Log-probabilities where that of an impossible outcome is very low instead of -inf, so that 0 log 0 counts 0."""
    return log_p.clamp(min=-1e9)


def _runs_of_equal(nvec: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """``(2, 2, 2, 11)`` -> ``((3, 2), (1, 11))``: count and size of each run of equal neighbours."""
    runs: list[tuple[int, int]] = []
    for size in nvec:
        if runs and runs[-1][1] == size:
            runs[-1] = (runs[-1][0] + 1, size)
        else:
            runs.append((1, size))
    return tuple(runs)


class ValueHead(nn.Module):
    """A linear value whose output is in units of a running mean and deviation of the returns.

    Until :meth:`update_scale` is called (``use_normalized_vf``), mean is 0 and deviation 1: output in reward units.
    """

    mean: Tensor
    std: Tensor
    _moments: Tensor

    DECAY = 0.99999
    """Per sample, of the running moments (MineStudio's ScaledMSEHead)."""
    MIN_STD = 1e-2

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 1)
        nn.init.orthogonal_(self.linear.weight, 1.0)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("_moments", torch.zeros(3))

    def forward(self, features: Tensor) -> Tensor:
        """``(..., in_features)`` -> normalised value, float32 ``(..., 1)``."""
        out: Tensor = self.linear(features)
        return out.float()

    def denormalize(self, value: Tensor) -> Tensor:
        """A normalised value in reward units."""
        return torch.addcmul(self.mean, value, self.std)

    def normalize(self, value: Tensor) -> Tensor:
        """A value in reward units as this head would output it."""
        return (value - self.mean) / self.std

    def zero_(self) -> None:
        """Makes the head say 0 everywhere, whatever it is shown."""
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @torch.no_grad()
    def update_scale(self, mean: float, mean_square: float, count: float) -> None:
        """Takes a batch of returns (their mean, mean square and number) into the running moments.

        The layer is rescaled so that values in reward units stay the same (PopArt, van Hasselt et al. 1602.07714).
        """
        keep = self.DECAY**count
        batch = self._moments.new_tensor([mean, mean_square, 1.0])
        self._moments.mul_(keep).add_(batch, alpha=1.0 - keep)
        first, second = self._moments[0] / self._moments[2], self._moments[1] / self._moments[2]
        new_std = (second - first.square()).clamp(min=self.MIN_STD**2).sqrt()
        self.linear.weight.mul_(self.std / new_std)
        self.linear.bias.copy_((self.std * self.linear.bias + self.mean - first) / new_std)
        self.mean.copy_(first)
        self.std.copy_(new_std)

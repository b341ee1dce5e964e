"""The two heads of every policy: a distribution of actions, and a value that may be normalised."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from minestudio_nb.contracts.specs import ActionSpec

__all__ = ["ActionHead", "CategoricalHead", "MixedHead", "ValueHead", "make_action_head"]

LARGE_LAYER = 2**22
"""Weights above which a layer starts with rows of equal length instead of orthogonal ones."""
Logits = Mapping[str, Tensor]
Actions = Tensor | Mapping[str, Tensor]
"""Actions ``(..., K)``, or by leaf of the action space ``{name: (..., width)}`` as MineStudio has them."""


class ActionHead(nn.Module):
    """A distribution of ``K`` independent components, read from features by linear layers.

    Distributions travel as ``{component name: (..., n)}`` in the order of the action spec: log-softmax over the ``n``
    outcomes of a categorical component; mean and logarithm of the standard deviation (n = 2) of a continuous one.
    Inside, ``scores`` are the same numbers side by side, ``(..., sum of n)``, before they are normalised.
    """

    def __init__(self, action: ActionSpec) -> None:
        super().__init__()
        self.action = action
        self.names = action.component_names

    def logits(self, features: Tensor) -> Tensor:
        """``(..., in_features)`` -> scores ``(..., sum of n)``."""
        raise TypeError(f"{type(self).__name__} must implement logits(features).")

    def distribution(self, scores: Tensor) -> dict[str, Tensor]:
        """Scores -> float32 distributions ``{name: (..., n)}``."""
        raise TypeError(f"{type(self).__name__} must implement distribution(scores).")

    def sample_logits(
        self, scores: Tensor, generator: torch.Generator | None = None, deterministic: bool = False
    ) -> tuple[Tensor, Tensor]:
        """One action per row of scores ``(N, sum of n)``: actions ``(N, K)`` and their log-probability ``(N,)``."""
        raise TypeError(f"{type(self).__name__} must implement sample_logits(scores).")

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """``(..., in_features)`` -> float32 distributions ``{name: (..., n)}``."""
        return self.distribution(self.logits(features))

    def join(self, pi_logits: Logits) -> Tensor:
        """Distributions as scores, the inverse of :meth:`distribution`."""
        return torch.cat([pi_logits[name] for name in self.names], -1)

    def sample(
        self, pi_logits: Logits, generator: torch.Generator | None = None, deterministic: bool = False
    ) -> Tensor:
        """One action ``(..., K)`` from ``{name: (..., n)}``; the most probable if ``deterministic``."""
        scores = self.join(pi_logits)
        actions, _ = self.sample_logits(scores.reshape(-1, scores.shape[-1]), generator, deterministic)
        return actions.reshape(*scores.shape[:-1], len(self.names))

    def logprob(self, actions: Actions, pi_logits: Logits) -> Tensor:
        """Joint log-probability (density, where continuous) in nats, ``(...)``."""
        raise TypeError(f"{type(self).__name__} must implement logprob(actions, pi_logits).")

    def entropy(self, pi_logits: Logits) -> Tensor:
        """Entropy in nats, ``(...)``, summed over the components."""
        raise TypeError(f"{type(self).__name__} must implement entropy(pi_logits).")

    def kl_divergence(self, pi_logits: Logits, other: Logits) -> Tensor:
        """KL(pi || other) in nats, ``(...)``, over whole distributions, summed over the components."""
        raise TypeError(f"{type(self).__name__} must implement kl_divergence(pi_logits, other).")

    def joined(self, actions: Actions) -> Tensor:
        """Actions ``(..., K)``, from whatever form they have."""
        if isinstance(actions, Tensor):
            return actions
        return torch.cat([actions[leaf.name] for leaf in self.action.leaves], -1)


def make_action_head(in_features: int, action: ActionSpec, temperature: float = 1.0) -> ActionHead:
    """The head for an action space: :class:`CategoricalHead`, or :class:`MixedHead` where some are continuous."""
    if action.is_categorical:
        return CategoricalHead(in_features, action, temperature)
    return MixedHead(in_features, action, temperature)


class CategoricalHead(ActionHead):
    """``K`` categorical components from one linear layer of ``sum(nvec)`` outputs, which ``temperature`` divides.

    With ``in_features`` None there is no layer: the features are the scores.
    """

    linear: nn.Linear | None

    def __init__(self, in_features: int | None, action: ActionSpec, temperature: float = 1.0) -> None:
        super().__init__(action)
        self.nvec = action.nvec
        self.temperature = temperature
        self.linear = None if in_features is None else _small_linear(in_features, sum(self.nvec))
        self._runs = _runs_of_equal(self.nvec)

    def logits(self, features: Tensor) -> Tensor:
        """``(..., in_features)`` -> unnormalised scores of all components side by side, ``(..., sum(nvec))``."""
        out: Tensor = features if self.linear is None else self.linear(features)
        return out if self.temperature == 1.0 else out / self.temperature

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

    def logprob(self, actions: Actions, pi_logits: Logits) -> Tensor:
        """See :meth:`ActionHead.logprob`; actions are int64."""
        actions = self.joined(actions)
        parts = [
            pi_logits[name].gather(-1, actions[..., index : index + 1]).squeeze(-1)
            for index, name in enumerate(self.names)
        ]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    def entropy(self, pi_logits: Logits) -> Tensor:
        """See :meth:`ActionHead.entropy`."""
        return self._sum(lambda name: -(pi_logits[name].exp() * _finite(pi_logits[name])).sum(-1))

    def kl_divergence(self, pi_logits: Logits, other: Logits) -> Tensor:
        """See :meth:`ActionHead.kl_divergence`."""
        return self._sum(
            lambda name: (pi_logits[name].exp() * (_finite(pi_logits[name]) - _finite(other[name]))).sum(-1)
        )

    def _sum(self, term: Callable[[str], Tensor]) -> Tensor:
        parts = [term(name) for name in self.names]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


class MixedHead(ActionHead):
    """Some components continuous: independent normal distributions beside the categorical components.

    Means come from a linear layer; the standard deviations are parameters of their own, 1 at first (as in OpenAI's
    baselines). Actions are not squashed: what lies outside a box is clipped on its way to the environment.
    """

    _categorical: Tensor
    _continuous: Tensor
    _order: Tensor

    def __init__(self, in_features: int, action: ActionSpec, temperature: float = 1.0) -> None:
        super().__init__(action)
        discrete = ActionSpec(tuple(leaf for leaf in action.leaves if leaf.kind != "box"), True)
        kinds = [leaf.kind == "box" for leaf in action.leaves for _ in range(leaf.width)]
        columns = torch.arange(len(kinds))
        continuous = torch.tensor(kinds)
        self.register_buffer("_categorical", columns[~continuous], persistent=False)
        self.register_buffer("_continuous", columns[continuous], persistent=False)
        order = torch.argsort(torch.cat([self._categorical, self._continuous]))
        self.register_buffer("_order", order, persistent=False)
        self._normal_names = tuple(name for name, box in zip(self.names, kinds, strict=True) if box)
        self.categorical = CategoricalHead(in_features, discrete, temperature) if discrete.size else None
        self.mean = _small_linear(in_features, len(self._normal_names))
        self.log_std = nn.Parameter(torch.zeros(len(self._normal_names)))

    def logits(self, features: Tensor) -> Tensor:
        """See :meth:`ActionHead.logits`: the categorical components first, then mean and deviation of each other."""
        mean = self.mean(features)
        normal = torch.stack([mean, self.log_std.expand_as(mean)], -1).flatten(-2)
        return normal if self.categorical is None else torch.cat([self.categorical.logits(features), normal], -1)

    def distribution(self, scores: Tensor) -> dict[str, Tensor]:
        """See :meth:`ActionHead.distribution`."""
        first, normal = self._parts(scores)
        found = {} if self.categorical is None else self.categorical.distribution(first)
        found |= dict(zip(self._normal_names, normal.float().unbind(-2), strict=True))
        return {name: found[name] for name in self.names}

    def sample_logits(
        self, scores: Tensor, generator: torch.Generator | None = None, deterministic: bool = False
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`ActionHead.sample_logits`; actions are float32."""
        first, normal = self._parts(scores)
        mean, log_std = normal.float().unbind(-1)
        noise = None if deterministic else torch.empty_like(mean).normal_(generator=generator)
        drawn = (mean if noise is None else mean + log_std.exp() * noise).detach()
        log_probs = _normal_logprob(drawn, mean, log_std)
        if self.categorical is None:
            return drawn, log_probs
        actions, more = self.categorical.sample_logits(first, generator, deterministic)
        return torch.cat([actions.float(), drawn], -1)[..., self._order], log_probs + more

    def join(self, pi_logits: Logits) -> Tensor:
        """See :meth:`ActionHead.join`."""
        parts = [self._normals(pi_logits).flatten(-2)]
        if self.categorical is not None:
            parts.insert(0, self.categorical.join(pi_logits))
        return torch.cat(parts, -1)

    def logprob(self, actions: Actions, pi_logits: Logits) -> Tensor:
        """See :meth:`ActionHead.logprob`."""
        actions = self.joined(actions)
        log_probs = _normal_logprob(actions[..., self._continuous], *self._normals(pi_logits).unbind(-1))
        if self.categorical is None:
            return log_probs
        return log_probs + self.categorical.logprob(actions[..., self._categorical].long(), pi_logits)

    def entropy(self, pi_logits: Logits) -> Tensor:
        """See :meth:`ActionHead.entropy`; that of a continuous component may be negative."""
        entropy = (self._normals(pi_logits)[..., 1] + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
        return entropy if self.categorical is None else entropy + self.categorical.entropy(pi_logits)

    def kl_divergence(self, pi_logits: Logits, other: Logits) -> Tensor:
        """See :meth:`ActionHead.kl_divergence`."""
        (mean, log_std), (mean_2, log_std_2) = (self._normals(part).unbind(-1) for part in (pi_logits, other))
        spread = (2 * log_std).exp() + (mean - mean_2).square()
        kl = (log_std_2 - log_std + 0.5 * spread * (-2 * log_std_2).exp() - 0.5).sum(-1)
        return kl if self.categorical is None else kl + self.categorical.kl_divergence(pi_logits, other)

    def _parts(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        count = 2 * len(self._normal_names)
        return scores[..., :-count], scores[..., -count:].unflatten(-1, (-1, 2))

    def _normals(self, pi_logits: Logits) -> Tensor:
        return torch.stack([pi_logits[name] for name in self._normal_names], -2)


def _normal_logprob(values: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    z = (values - mean) * (-log_std).exp()
    return -(0.5 * z.square() + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)


def _small_linear(in_features: int, out_features: int) -> nn.Linear:
    """A last layer that says almost nothing at first."""
    linear = nn.Linear(in_features, out_features)
    if linear.weight.numel() <= LARGE_LAYER:
        nn.init.orthogonal_(linear.weight, 0.01)
    else:  # orthogonal rows would take many seconds, and there are more rows than dimensions anyway
        linear.weight.data *= 0.01 / linear.weight.data.norm(dim=1, keepdim=True)
    nn.init.zeros_(linear.bias)
    return linear


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

    DECAY = 0.99999
    """Per sample, of the running moments (MineStudio's ScaledMSEHead)."""
    MIN_STD = 0.1
    """Lowest deviation to divide by: the square root of MineStudio's least variance, 1e-2."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 1)
        nn.init.orthogonal_(self.linear.weight, 1.0)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        # A parameter that is never trained, as MineStudio has it, so that counts of parameters agree.
        self._moments = nn.Parameter(torch.zeros(3), requires_grad=False)

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

    def loss(self, prediction: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        """Squared error, in the head's units, of what it put out against returns in reward units."""
        return functional.mse_loss(prediction, self.normalize(target), reduction=reduction)

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
        first, new_std = self.scale_of(self._moments)
        self.linear.weight.mul_(self.std / new_std)
        self.linear.bias.copy_((self.std * self.linear.bias + self.mean - first) / new_std)
        self.mean.copy_(first)
        self.std.copy_(new_std)

    @torch.no_grad()
    def load_moments(self, moments: Tensor) -> None:
        """Takes running moments ``(3,)`` that belong to the layer's present weights."""
        self._moments.copy_(moments)
        mean, std = self.scale_of(self._moments)
        self.mean.copy_(mean)
        self.std.copy_(std)

    def scale_of(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation that running moments ``(3,)`` (mean, mean square, weight) stand for."""
        first, second = moments[0] / moments[2], moments[1] / moments[2]
        return first, (second - first.square()).clamp(min=self.MIN_STD**2).sqrt()

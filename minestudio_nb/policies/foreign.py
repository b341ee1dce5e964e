"""Policies of MineStudio's own package, used as they are.

Their forward is called with whole sequences and, in MineStudio's VPT, ignores where episodes begin, so that memory
crosses from one episode into the next. Here the sequence is cut there and the state put back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.errors import UnsupportedSpaceError
from minestudio_nb.policies.base import MinePolicy, Outputs, State, episode_segments, reset_state
from minestudio_nb.policies.heads import CategoricalHead, ValueHead

__all__ = ["ForeignPolicy", "is_foreign"]

logger = logging.getLogger(__name__)

SAME = 1e-4
"""Outputs of a policy that differ by less are the same but for rounding."""
PROBE_STEPS = 3


def is_foreign(policy: Any) -> bool:
    """Whether this is a policy with MineStudio's interface that is not derived from this package's."""
    head = getattr(policy, "value_head", None)
    return (
        isinstance(policy, nn.Module)
        and not isinstance(policy, MinePolicy)
        and all(callable(getattr(policy, name, None)) for name in ("initial_state", "forward", "pi_head"))
        and isinstance(getattr(head, "linear", None), nn.Linear)
    )


class ForeignPolicy(MinePolicy):
    """Wraps ``module``, whose forward gives ``{"pi_logits": {leaf: (B, T, ..., n)}, "vpred": (B, T, 1)}`` and a state.

    ``ignores_starts`` says what a probe found: True where its memory crosses episodes, which is repaired here; False
    where it heeds ``context["first"]``; None for a policy without memory, or one whose memory shows in nothing it says.

    Raises:
        UnsupportedSpaceError: an action is continuous.
    """

    def __init__(self, module: nn.Module, env_spec: EnvSpec) -> None:
        if not env_spec.action.is_categorical:
            raise UnsupportedSpaceError(f"{type(module).__name__} can be used with categorical actions only.")
        linear = module.value_head.linear
        super().__init__(env_spec, linear.in_features, CategoricalHead(None, env_spec.action))
        self.value_head = _adopt(module.value_head)
        self.module = module
        _let_errors_through(module)
        self.is_recurrent = bool(self.initial_state(1))
        self.ignores_starts: bool | None = self._probe() if self.is_recurrent else None
        if self.ignores_starts:
            logger.warning(
                "%s ignores where episodes begin (context['first']): its state is put back there for it.",
                type(module).__name__,
            )

    def initial_state(self, batch_size: int) -> State:
        """See :meth:`MinePolicy.initial_state`; a copy, because MineStudio's policies give the same tensors again."""
        return [part.detach().clone().to(self.device) for part in self.module.initial_state(batch_size) or []]

    def forward(
        self,
        input: Mapping[str, Tensor],
        state_in: Sequence[Tensor] = (),
        context: Mapping[str, Tensor] | None = None,
    ) -> tuple[Outputs, State]:
        """See :meth:`MinePolicy.forward`."""
        lead = next(iter(input.values())).shape[:2]
        first = torch.zeros(lead, dtype=torch.bool, device=self.device) if context is None else context["first"]
        state = list(state_in) or self.initial_state(lead[0])
        if not self.is_recurrent or self.ignores_starts is False:
            return self._call(input, state, first)
        initial, parts = self.initial_state(lead[0]), []
        for start, stop in episode_segments(first):
            state = reset_state(state, initial, first[:, start])
            steps = {key: value[:, start:stop] for key, value in input.items()}
            outputs, state = self._call(steps, state, first[:, start:stop])
            parts.append(outputs)
        if len(parts) == 1:
            return parts[0], state
        pi_logits = {name: torch.cat([part["pi_logits"][name] for part in parts], 1) for name in self.pi_head.names}
        return {"pi_logits": pi_logits, "vpred": torch.cat([part["vpred"] for part in parts], 1)}, state

    def _call(self, input: Mapping[str, Tensor], state: State, first: Tensor) -> tuple[Outputs, State]:
        try:
            latents, after = self.module(input=dict(input), state_in=state, context={"first": first})
        except _PassingError as error:
            shown = ", ".join(f"{key} {part.dtype} {tuple(part.shape)}" for key, part in input.items())
            error.cause.add_note(f"{type(self.module).__name__} was shown {shown}.")
            raise error.cause from None
        outputs = {"pi_logits": self._by_component(latents["pi_logits"]), "vpred": latents["vpred"].float()}
        return outputs, list(after) if self.is_recurrent else []

    def _by_component(self, pi_logits: Any) -> dict[str, Tensor]:
        """``{leaf: (B, T, *shape, n)}`` as ``{component: (B, T, n)}``."""
        leaves = self.env_spec.action.leaves
        by_leaf = pi_logits if isinstance(pi_logits, Mapping) else {leaves[0].name: pi_logits}
        components: list[Tensor] = []
        for leaf in leaves:
            part = by_leaf[leaf.name].float()
            components += part.flatten(2, -2).unbind(2) if part.dim() > 3 else [part]
        return dict(zip(self.pi_head.names, components, strict=True))

    @torch.no_grad()
    def _probe(self) -> bool | None:
        """Whether its memory crosses episodes: an episode's first step must say what it says alone."""
        generator = torch.Generator().manual_seed(0)
        obs = {
            key: (torch.rand(1, PROBE_STEPS, *box.shape, generator=generator) * 255).to(getattr(torch, box.dtype))
            for key, box in self.env_spec.obs.items()
        }
        obs = {key: part.to(self.device) for key, part in obs.items()}
        first = torch.zeros(1, PROBE_STEPS, dtype=torch.bool, device=self.device)
        alone, _ = self._call({key: part[:, -1:] for key, part in obs.items()}, self.initial_state(1), ~first[:, -1:])
        after, _ = self._call(obs, self.initial_state(1), first)
        first[:, -1] = True
        begun, _ = self._call(obs, self.initial_state(1), first)
        if self._gap(alone, after) < SAME:
            return None
        return self._gap(alone, begun) >= SAME

    def _gap(self, one: Outputs, other: Outputs) -> float:
        """Largest difference of what two calls say of their last step."""
        pairs = [(one["vpred"], other["vpred"])]
        pairs += [(one["pi_logits"][name], other["pi_logits"][name]) for name in self.pi_head.names]
        return max(float((first[:, -1] - second[:, -1]).abs().max()) for first, second in pairs)


def _adopt(theirs: Any) -> ValueHead:
    """A value head over the same layer, with the moments that theirs has seen."""
    head = ValueHead(theirs.linear.in_features)
    head.linear = theirs.linear
    normalizer = getattr(theirs, "normalizer", None)
    if normalizer is not None and float(normalizer.debiasing_term) > 0.0:
        names = ("running_mean", "running_mean_sq", "debiasing_term")
        head.load_moments(torch.stack([getattr(normalizer, name).detach().float().reshape(()) for name in names]))
    return head.to(theirs.linear.weight.device)


class _PassingError(BaseException):
    """Carries an error through ``except Exception``."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _let_errors_through(module: nn.Module) -> None:
    """Lets errors of MineStudio's network out of its VPTPolicy, whose forward would open Ray's debugger instead."""
    network = getattr(module, "net", None)
    if not isinstance(network, nn.Module):
        return
    theirs = type(network)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        try:
            return theirs.forward(self, *args, **kwargs)
        except Exception as error:
            raise _PassingError(error) from error

    network.__class__ = type(theirs.__name__, (theirs,), {"forward": forward, "__module__": theirs.__module__})

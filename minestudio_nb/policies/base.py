"""What every policy is: MineStudio's interface, and a fast path for acting.

Trainers call ``forward`` on sequences, rollout workers call ``act`` on one observation per environment::

    {"pi_logits": {...}, "vpred": v}, state = policy(obs, state, context={"first": first})    # (B, T, ...)
    actions, log_probs, values, state = policy.act(obs, first, state, generator)                # (N, ...)
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.policies.heads import ActionHead, ValueHead, make_action_head

__all__ = [
    "ActOutput",
    "FeedForwardPolicy",
    "InferenceDtype",
    "MinePolicy",
    "Outputs",
    "State",
    "episode_segments",
    "reset_state",
]

State = list[Tensor]
"""Recurrent state: tensors with a leading batch dimension; empty for a stateless policy."""
Outputs = dict[str, Any]
"""``{"pi_logits": {component: distribution (B, T, n)}, "vpred": (B, T, 1)}``; see :class:`ActionHead`."""
InferenceDtype = Literal["float32", "bfloat16"]


class ActOutput(NamedTuple):
    """Actions ``(N, K)`` in the spec's dtype; log-probability and value (reward units) float32 ``(N,)``; state."""

    actions: Tensor
    log_probs: Tensor
    values: Tensor
    state: State


class MinePolicy(nn.Module):
    """Base of all policies.

    A subclass sets ``is_recurrent``, builds its trunk, and implements :meth:`forward`; where it is recurrent it also
    implements :meth:`initial_state` and starts anew wherever ``context["first"]`` is True (:func:`reset_state`).
    ``features`` is the width of what the heads read.
    """

    is_recurrent: bool = False
    memory_steps: int | None = None
    """After how many steps a recurrent state has forgotten what came before; None: never for certain."""
    gradient_checkpointing: bool = False
    """Whether :meth:`recomputed` parts are computed again in the backward pass instead of kept in memory."""

    def __init__(self, env_spec: EnvSpec, features: int, pi_head: ActionHead | None = None) -> None:
        super().__init__()
        self.env_spec = env_spec
        self.pi_head = make_action_head(features, env_spec.action) if pi_head is None else pi_head
        self.value_head = ValueHead(features)

    def forward(
        self,
        input: Mapping[str, Tensor],
        state_in: Sequence[Tensor] = (),
        context: Mapping[str, Tensor] | None = None,
    ) -> tuple[Outputs, State]:
        """Whole sequences.

        Args:
            input: observations by key, ``(B, T, *shape)`` in the dtypes of the env spec.
            state_in: recurrent state before the first step.
            context: ``{"first": bool (B, T)}``, True where an episode begins.

        Returns:
            ``{"pi_logits": {component: log-softmax (B, T, n)}, "vpred": (B, T, 1)}`` and the state after the last step.
            ``vpred`` is in the value head's normalised units; ``value_head.denormalize`` gives reward units.
        """
        raise TypeError(f"{type(self).__name__} must implement forward(input, state_in, context).")

    def initial_state(self, batch_size: int) -> State:
        """The state of ``batch_size`` streams before their first step."""
        return []

    def recomputed(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """``function(*inputs)``, a part of a forward pass that :attr:`gradient_checkpointing` may trade for time."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(function, *inputs, use_reentrant=False)
        return function(*inputs)

    @torch.inference_mode()
    def act(
        self,
        obs: Mapping[str, Tensor],
        first: Tensor,
        state: Sequence[Tensor],
        generator: torch.Generator | None = None,
        deterministic: bool = False,
    ) -> ActOutput:
        """One step of ``N`` environments: ``obs`` ``(N, *shape)``, ``first`` bool ``(N,)``."""
        module = self._acting_module()
        dtype = module.value_head.linear.weight.dtype
        inputs = {key: _floats_to(dtype, value.unsqueeze(1)) for key, value in obs.items()}
        outputs, after = module(inputs, [_floats_to(dtype, part) for part in state], {"first": first.unsqueeze(1)})
        new_state = [_floats_to(torch.float32, part) for part in after]
        scores = self.pi_head.join(outputs["pi_logits"])[:, 0]
        actions, log_probs = self.pi_head.sample_logits(scores, generator, deterministic)
        values = self.value_head.denormalize(outputs["vpred"].float()).flatten()
        return ActOutput(actions, log_probs, values, new_state)

    # Acting in another number format.

    def prepare_for_acting(self, dtype: InferenceDtype = "float32") -> None:
        """Makes :meth:`act` compute in ``dtype``; ``forward`` and ``state_dict`` keep their float32 weights.

        bfloat16 acts with a copy of the weights; log-probabilities and values are those of the numbers actually used.
        """
        replica = None
        if dtype == "bfloat16":
            replica = copy.deepcopy(self).to(torch.bfloat16).eval()
        # Kept out of nn.Module's registry, so that it is not part of parameters() and state_dict().
        self.__dict__["_replica"] = replica

    def weights_changed(self) -> None:
        """To be called after weights were loaded: brings the acting copy up to date. Loading by package does this."""
        replica = self.__dict__.get("_replica")
        if replica is not None:
            replica.load_state_dict(self.state_dict())

    def _acting_module(self) -> MinePolicy:
        replica = self.__dict__.get("_replica")
        return self if replica is None else replica

    # MineStudio's helpers.

    @torch.inference_mode()
    def get_action(
        self,
        input: Mapping[str, Any],
        state_in: Sequence[Tensor] | None,
        deterministic: bool = False,
        input_shape: Literal["BT*", "*"] = "BT*",
        generator: torch.Generator | None = None,
    ) -> tuple[Any, State]:
        """Acts as MineStudio's policies do: actions by leaf of the action space, ``{name: (B, T, width)}``.

        ``input`` may have ``first`` beside the observations, bool ``(B, T)``. A state None is the initial one.
        With ``input_shape="*"`` there is a single observation, states have no batch dimension, and the action comes as
        the environment's ``step`` takes it.
        """
        single, device = input_shape == "*", self.device
        tensors = {key: torch.as_tensor(value, device=device) for key, value in input.items()}
        if single:
            tensors = {key: value[None, None] for key, value in tensors.items()}
        first = tensors.pop("first", torch.zeros((), dtype=torch.bool, device=device))
        batch, steps = next(iter(tensors.values())).shape[:2]
        state_in = self.initial_state(batch) if state_in is None else [p[None] if single else p for p in state_in]
        outputs, state = self(tensors, state_in, {"first": first.expand(batch, steps)})
        actions = self.pi_head.sample(outputs["pi_logits"], generator, deterministic)
        spec = self.env_spec.action
        if single:
            return spec.decode(actions[0, 0].cpu().numpy()), [part[0] for part in state]
        return (spec.split(actions) if spec.is_dict else actions), state

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.value_head.linear.weight.device

    @staticmethod
    def merge_state(states: Sequence[Sequence[Tensor]]) -> State:
        """States of several batches, such as :meth:`split_state` gives, as one."""
        return [torch.cat(list(parts)) for parts in zip(*states, strict=True)]

    @staticmethod
    def split_state(state: Sequence[Tensor], split_num: int | None = None) -> list[State]:
        """A batched state as states of single streams, each with a batch dimension of 1."""
        count = split_num if split_num is not None else len(state[0]) if state else 0
        return [[part[row : row + 1] for part in state] for row in range(count)]

    def merge_input(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Observations of single streams, ``(*shape)`` or ``(T, *shape)``, as a batch ``(B, T, *shape)``."""
        merged: dict[str, Tensor] = {}
        for key, box in self.env_spec.obs.items():
            parts = torch.stack([torch.as_tensor(one[key], device=self.device) for one in inputs])
            merged[key] = parts.unsqueeze(1) if parts.dim() == len(box.shape) + 1 else parts
        return merged

    @staticmethod
    def split_action(action: Tensor | Mapping[str, Tensor], split_num: int) -> list[Any]:
        """A batch of actions as numpy arrays of single streams, in the same form."""
        if isinstance(action, Tensor):
            return list(action[:split_num].cpu().numpy())
        arrays = {name: part.cpu().numpy() for name, part in action.items()}
        return [{name: part[row] for name, part in arrays.items()} for row in range(split_num)]


class FeedForwardPolicy(MinePolicy):
    """A policy without memory. A subclass implements :meth:`encode`."""

    def encode(self, obs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Observations ``(N, *shape)`` -> what the action head and the value head read, ``(N, features)`` each."""
        raise TypeError(f"{type(self).__name__} must implement encode(obs).")

    def forward(
        self,
        input: Mapping[str, Tensor],
        state_in: Sequence[Tensor] = (),
        context: Mapping[str, Tensor] | None = None,
    ) -> tuple[Outputs, State]:
        """See :meth:`MinePolicy.forward`; each step by itself."""
        lead = next(iter(input.values())).shape[:2]
        actor, critic = self.encode({key: value.flatten(0, 1) for key, value in input.items()})
        pi_logits = {name: part.unflatten(0, lead) for name, part in self.pi_head(actor).items()}
        return {"pi_logits": pi_logits, "vpred": self.value_head(critic).unflatten(0, lead)}, []

    @torch.inference_mode()
    def act(
        self,
        obs: Mapping[str, Tensor],
        first: Tensor,
        state: Sequence[Tensor],
        generator: torch.Generator | None = None,
        deterministic: bool = False,
    ) -> ActOutput:
        """See :meth:`MinePolicy.act`; the same numbers with fewer operations."""
        module: Any = self._acting_module()
        actor, critic = module.encode(obs)
        actions, log_probs = self.pi_head.sample_logits(module.pi_head.logits(actor), generator, deterministic)
        values = self.value_head.denormalize(module.value_head(critic).squeeze(-1))
        return ActOutput(actions, log_probs, values, [])


def _floats_to(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def reset_state(state: Sequence[Tensor], initial: Sequence[Tensor], first: Tensor) -> State:
    """``state`` with the streams that begin an episode (``first`` bool ``(B,)``) put back to ``initial``."""
    shaped = [first.reshape(-1, *([1] * (part.dim() - 1))) for part in state]
    return [
        torch.where(mask, start.to(part.dtype), part) for mask, start, part in zip(shaped, initial, state, strict=True)
    ]


def episode_segments(first: Tensor) -> list[tuple[int, int]]:
    """Steps ``[start, stop)`` of sequences, cut wherever one of them begins an episode (``first`` bool ``(B, T)``)."""
    cuts = sorted({0, *first.any(0).nonzero().flatten().tolist(), first.shape[1]})
    return list(itertools.pairwise(cuts))

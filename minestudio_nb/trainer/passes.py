"""Passes over an iteration's data without a gradient: what the weights at its start say, and recurrent states.

For a recurrent policy a pass also yields its state before each chunk, from which the update goes on. A state that was
recorded by other weights, or of another policy, is made anew by running over the fragment before it in its stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from minestudio_nb.contracts.fragments import Fragment, StreamId
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.learning import SampleBatch
from minestudio_nb.policies import MinePolicy, Outputs, State

__all__ = ["Evaluation", "Evaluator", "blank_fragment", "reference_mask"]


@dataclass(frozen=True)
class Evaluation:
    """What a policy says of a batch.

    ``log_probs`` float32 ``(B, T)`` of the taken actions; ``values`` ``(B, T + 1)`` and ``final_values`` ``(B, T)`` in
    reward units, the latter only where an episode was cut off; all on the CPU. ``chunk_states``, each
    ``(B * T / context_length, ...)``, on the policy's device; none for a stateless policy.
    """

    log_probs: Tensor
    values: Tensor
    final_values: Tensor
    chunk_states: State


@dataclass(frozen=True)
class Evaluator:
    """Runs a policy over batches, ``rows`` fragments at a time, in the numbers that training uses (``precision``)."""

    policy: MinePolicy
    context_length: int
    rows: int
    precision: Callable[[], AbstractContextManager[None]]

    @torch.no_grad()
    def evaluate(self, batch: SampleBatch, state: State) -> Evaluation:
        """Everything about ``batch``; ``state`` is the policy's before each fragment, empty for a stateless one."""
        log_probs = torch.empty_like(batch.log_probs)
        values = torch.empty(batch.size, batch.length + 1)
        chunk_states: list[State] = []
        for start in range(0, batch.size, self.rows):
            rows = slice(start, min(start + self.rows, batch.size))
            before = [part[rows].to(self.policy.device) for part in state]
            log_probs[rows], values[rows], states = self._rows(batch, rows, before)
            chunk_states.append(states)
        merged = [torch.cat(parts) for parts in zip(*chunk_states, strict=True)]
        return Evaluation(log_probs, values, self.final_values(batch, merged), merged)

    @torch.no_grad()
    def from_behaviour(self, batch: SampleBatch) -> Evaluation:
        """As :meth:`evaluate`, for a stateless policy that acted with these very weights: evaluates the ends only."""
        values = torch.empty(batch.size, batch.length + 1)
        values[:, :-1] = batch.values
        for start in range(0, batch.size, self.rows * batch.length):
            rows = slice(start, start + self.rows * batch.length)
            last = {key: part[rows, -1:] for key, part in batch.obs.items()}
            values[rows, -1] = self._values(last, [], batch.first[rows, -1:])[:, -1]
        return Evaluation(batch.log_probs, values, self.final_values(batch, []), [])

    @torch.no_grad()
    def final_values(self, batch: SampleBatch, chunk_states: State) -> Tensor:
        """Values ``(B, T)`` of the observations that episodes were cut off at; 0 elsewhere."""
        result = torch.zeros(batch.size, batch.length)
        count = len(batch.final_index)
        if not count:
            return result
        rows, steps = batch.final_index.unbind(1)
        if self.policy.is_recurrent:
            found = [self._final_value(batch, chunk_states, index) for index in range(count)]
            result[rows, steps] = torch.stack(found)
            return result
        limit = self.rows * batch.length
        for start in range(0, count, limit):
            part = slice(start, start + limit)
            last = {key: value[part].unsqueeze(1) for key, value in batch.final_obs.items()}
            first = torch.zeros(len(rows[part]), 1, dtype=torch.bool)
            result[rows[part], steps[part]] = self._values(last, [], first)[:, 0]
        return result

    @torch.no_grad()
    def warm_up(self, previous: Sequence[Fragment | None], fallback: State, recorded: bool) -> State:
        """States before fragments, made anew from the fragment before each; ``fallback`` rows where that is gone.

        ``recorded`` starts the earlier fragment from the state that was recorded with it (the acting policy's), else
        from the initial one (for a reference policy, which never acted).
        """
        states = [part.clone() for part in fallback]
        for row, fragment in enumerate(previous):
            if fragment is None:
                continue
            state = self.policy.initial_state(1)
            if recorded:
                state = [torch.tensor(part).unsqueeze(0).to(self.policy.device) for part in fragment.state]
            for start in range(0, fragment.length, self.context_length):
                steps = slice(start, min(start + self.context_length, fragment.length))
                obs = {key: torch.tensor(part[steps]).unsqueeze(0) for key, part in fragment.obs.items()}
                _, state = self._forward(obs, state, torch.tensor(fragment.first[steps]).unsqueeze(0))
            for part, new in zip(states, state, strict=True):
                part[row] = new[0]
        return states

    def _rows(self, batch: SampleBatch, rows: slice, state: State) -> tuple[Tensor, Tensor, State]:
        """Log-probabilities, values and states before each chunk of some fragments."""
        recurrent = self.policy.is_recurrent
        cuts = list(range(0, batch.length, self.context_length)) if recurrent else [0]
        span = self.context_length if recurrent else batch.length + 1
        log_probs, values, states = [], [], []
        for start in cuts:
            stop = min(start + span, batch.length + 1)
            states.append(state)
            obs = {key: part[rows, start:stop] for key, part in batch.obs.items()}
            outputs, state = self._forward(obs, state, batch.first[rows, start:stop])
            steps = min(stop, batch.length) - start
            pi_logits = {name: part[:, :steps] for name, part in outputs["pi_logits"].items()}
            actions = batch.actions[rows, start : start + steps].to(self.policy.device)
            log_probs.append(self.policy.pi_head.logprob(actions, pi_logits))
            values.append(self.policy.value_head.denormalize(outputs["vpred"]).squeeze(-1))
        if recurrent:
            last = {key: part[rows, -1:] for key, part in batch.obs.items()}
            values.append(self._values(last, state, batch.first[rows, -1:]).to(values[0].device))
        by_chunk = [torch.stack(parts, 1).flatten(0, 1) for parts in zip(*states, strict=True)]
        return torch.cat(log_probs, 1).cpu(), torch.cat(values, 1).cpu(), by_chunk

    def _final_value(self, batch: SampleBatch, chunk_states: State, index: int) -> Tensor:
        """A recurrent policy's value of one final observation: its chunk up to there is run over once more."""
        row, step = batch.final_index[index].tolist()
        chunk = step // self.context_length
        start = chunk * self.context_length
        state = [part[row * (batch.length // self.context_length) + chunk].unsqueeze(0) for part in chunk_states]
        obs = {
            key: torch.cat([part[row, start : step + 1], batch.final_obs[key][index : index + 1]]).unsqueeze(0)
            for key, part in batch.obs.items()
        }
        first = torch.cat([batch.first[row, start : step + 1], torch.zeros(1, dtype=torch.bool)]).unsqueeze(0)
        return self._values(obs, state, first)[0, -1]

    def _values(self, obs: dict[str, Tensor], state: State, first: Tensor) -> Tensor:
        outputs, _ = self._forward(obs, state, first)
        return self.policy.value_head.denormalize(outputs["vpred"]).squeeze(-1).cpu()

    def _forward(self, obs: dict[str, Tensor], state: State, first: Tensor) -> tuple[Outputs, State]:
        device = self.policy.device
        with self.precision():
            outputs, after = self.policy(
                {key: part.to(device) for key, part in obs.items()},
                [part.to(device) for part in state],
                {"first": first.to(device)},
            )
        return outputs, after


def reference_mask(batch: SampleBatch, warm: Sequence[bool], memory_steps: int | None) -> Tensor:
    """Float ``(B, T)``: 0 where a recurrent reference policy lacks the context that it would have had.

    A fragment that begins mid-episode and could not be warmed up counts from its first new episode on, or from the step
    at which the policy would have forgotten what came before it (``memory_steps``).
    """
    known = batch.first[:, :-1].long().cumsum(1) > 0
    if memory_steps is not None:
        known |= torch.arange(batch.length) >= memory_steps
    known |= torch.tensor(list(warm))[:, None]
    return known.float()


def blank_fragment(spec: EnvSpec, policy: MinePolicy, length: int, version: int) -> Fragment:
    """A fragment of zeros that fills the place of a lost one, so that ranks stay in step; its samples must weigh 0."""
    nothing = np.zeros(length, bool)
    numbers = np.zeros(length, np.float32)
    return Fragment(
        stream=StreamId(-1, -1),
        index=0,
        obs=spec.obs.zeros(length + 1),
        actions=np.zeros((length, spec.action.size), spec.action.dtype),
        rewards=numbers,
        terminated=nothing,
        truncated=nothing,
        first=np.zeros(length + 1, bool),
        log_probs=numbers,
        values=numbers,
        versions=np.full(length, version, np.int64),
        final_steps=np.zeros(0, np.int64),
        final_obs=spec.obs.zeros(0),
        state=tuple(part[0].cpu().numpy() for part in policy.initial_state(1)),
    )

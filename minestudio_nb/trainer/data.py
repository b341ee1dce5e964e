"""What the epochs of one iteration read, and the microbatches cut from it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from minestudio_nb.learning import (
    LossTargets,
    SampleBatch,
    gather_chunks,
    gather_observations,
    normalise_advantages,
    observation_rows,
)
from minestudio_nb.policies import State

__all__ = ["IterationData", "Microbatch"]


@dataclass(frozen=True)
class Microbatch:
    """``M`` chunks of ``L`` steps on the training device: observations ``(M, L, ...)``, states ``(M, ...)``.

    ``columns`` ``(M * L, 6)`` are the fields of :class:`LossTargets` in their order; ``mask`` ``(M * L,)`` says where
    KL to the reference counts, None: everywhere.
    """

    obs: dict[str, Tensor]
    first: Tensor
    actions: Tensor
    columns: Tensor
    state: State
    reference_state: State
    mask: Tensor | None

    def targets(self, normalise_with: Tensor | None) -> LossTargets:
        """The loss's targets, with advantages normalised by these moments where they come unnormalised."""
        fields = dict(zip(LossTargets.__dataclass_fields__, self.columns.unbind(1), strict=True))
        if normalise_with is not None:
            fields["advantages"] = normalise_advantages(fields["advantages"], normalise_with)
        return LossTargets(**fields)


@dataclass(frozen=True)
class IterationData:
    """All samples of this rank in one iteration, with what they are held against; chunk states by chunk number."""

    batch: SampleBatch
    targets: LossTargets
    """Each ``(B, T)``."""
    chunk_states: State
    reference_states: State
    reference_mask: Tensor | None
    context_length: int
    device: torch.device

    @functools.cached_property
    def columns(self) -> Tensor:
        """The targets side by side, ``(B, T, 6)``, so that a microbatch gathers them at once."""
        return torch.stack([getattr(self.targets, name) for name in LossTargets.__dataclass_fields__], -1)

    def microbatch(self, chunks: Tensor) -> Microbatch:
        """The chunks with these numbers, copied once and moved to the device."""
        batch, length, device = self.batch, self.context_length, self.device
        rows, mask = observation_rows(chunks, batch.length, length), self.reference_mask
        return Microbatch(
            obs={key: gather_observations(part, rows, length).to(device) for key, part in batch.obs.items()},
            first=gather_observations(batch.first, rows, length).to(device),
            actions=gather_chunks(batch.actions, chunks, length).to(device),
            columns=gather_chunks(self.columns, chunks, length).flatten(0, 1).to(device),
            state=[part[chunks.to(part.device)] for part in self.chunk_states],
            reference_state=[part[chunks.to(part.device)] for part in self.reference_states],
            mask=None if mask is None else gather_chunks(mask, chunks, length).flatten().to(device),
        )

    @functools.cached_property
    def chunk_moments(self) -> Tensor:
        """Moments of the advantages of each chunk, ``(chunks, 3)``, as :func:`minestudio_nb.learning.moments` gives."""
        shape = (-1, self.context_length)
        weights = self.targets.weights.reshape(shape).double()
        values = self.targets.advantages.reshape(shape).double()
        return torch.stack([weights.sum(1), (weights * values).sum(1), (weights * values.square()).sum(1)], 1)

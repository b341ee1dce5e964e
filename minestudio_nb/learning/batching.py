"""From fragments to tensors, and from tensors to shuffled microbatches of chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from minestudio_nb.contracts.fragments import Fragment
from minestudio_nb.errors import TrainingError

__all__ = ["SampleBatch", "collate", "gather_chunks", "gather_observations", "observation_rows", "shuffled_chunks"]


@dataclass(frozen=True)
class SampleBatch:
    """``B`` fragments of ``T`` steps as tensors on the CPU; see :class:`~minestudio_nb.contracts.fragments.Fragment`.

    Observations hold ``T + 1`` steps. ``final_index`` names the fragment and step of each truncation, and ``final_obs``
    the observation it ended with. ``weights`` says how much each fragment's samples count.
    """

    obs: dict[str, Tensor]
    actions: Shaped[Tensor, "batch time components"]
    rewards: Float[Tensor, "batch time"]
    terminated: Bool[Tensor, "batch time"]
    truncated: Bool[Tensor, "batch time"]
    first: Bool[Tensor, "batch time_plus_one"]
    log_probs: Float[Tensor, "batch time"]
    values: Float[Tensor, "batch time"]
    versions: Int[Tensor, "batch time"]
    final_index: Int[Tensor, "finals 2"]
    final_obs: dict[str, Tensor]
    state: list[Tensor]
    weights: Float[Tensor, "batch time"]

    @property
    def size(self) -> int:
        """Number of fragments B."""
        return self.rewards.shape[0]

    @property
    def length(self) -> int:
        """Number of steps T of each fragment."""
        return self.rewards.shape[1]


def collate(fragments: Sequence[Fragment], weights: Sequence[float] | None = None) -> SampleBatch:
    """One batch of fragments of equal length. ``weights`` per fragment, 1 where not given.

    Raises:
        TrainingError: no fragments, or of different lengths.
    """
    lengths = sorted({fragment.length for fragment in fragments})
    if len(lengths) != 1:
        raise TrainingError(
            f"A batch needs fragments of one length, {lengths or 'none'} came. Set rollout_config.fragment_length "
            "once, for all workers."
        )
    counts = np.ones(len(fragments), np.float32) if weights is None else np.asarray(weights, np.float32)
    finals = [(index, int(step)) for index, fragment in enumerate(fragments) for step in fragment.final_steps]

    def stacked(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(fragment, name) for fragment in fragments]))

    return SampleBatch(
        obs={key: torch.from_numpy(np.stack([f.obs[key] for f in fragments])) for key in fragments[0].obs},
        actions=stacked("actions"),
        rewards=stacked("rewards"),
        terminated=stacked("terminated"),
        truncated=stacked("truncated"),
        first=stacked("first"),
        log_probs=stacked("log_probs"),
        values=stacked("values"),
        versions=stacked("versions"),
        final_index=torch.tensor(finals, dtype=torch.int64).reshape(-1, 2),
        final_obs={
            key: torch.from_numpy(np.concatenate([f.final_obs[key] for f in fragments])) for key in fragments[0].obs
        },
        state=[torch.from_numpy(np.stack(parts)) for parts in zip(*(f.state for f in fragments), strict=True)],
        weights=torch.from_numpy(np.repeat(counts[:, None], lengths[0], 1)),
    )


def shuffled_chunks(
    fragments: int, length: int, context_length: int, microbatches: int, generator: torch.Generator
) -> Int[Tensor, "microbatches chunks"]:
    """All chunks of ``context_length`` steps of ``fragments`` fragments, in random order, dealt into microbatches.

    Chunk ``c`` is steps ``(c % n) * context_length ...`` of fragment ``c // n``, with ``n = length / context_length``.

    Raises:
        TrainingError: the sizes do not divide.
    """
    if length % context_length or (fragments * length // context_length) % microbatches:
        raise TrainingError(
            f"{fragments} fragments of {length} steps cannot be cut into chunks of context_length {context_length} and "
            f"dealt evenly into {microbatches} microbatches. Choose sizes that divide."
        )
    order = torch.randperm(fragments * length // context_length, generator=generator)
    return order.reshape(microbatches, -1)


def gather_chunks(values: Tensor, chunks: Int[Tensor, " chunks"], context_length: int) -> Tensor:
    """Chunks ``(chunks, context_length, ...)`` of contiguous ``values`` ``(B, T, ...)``; one copy."""
    return values.reshape(-1, context_length, *values.shape[2:]).index_select(0, chunks)


def observation_rows(chunks: Int[Tensor, " chunks"], length: int, context_length: int) -> Int[Tensor, " rows"]:
    """Where the steps of these chunks are among the ``B * (T + 1)`` observations of fragments of ``length`` steps."""
    # Each fragment before has one observation more than steps.
    starts = chunks * context_length + chunks // (length // context_length)
    return starts if context_length == 1 else (starts[:, None] + torch.arange(context_length)).flatten()


def gather_observations(values: Tensor, rows: Int[Tensor, " rows"], context_length: int) -> Tensor:
    """As :func:`gather_chunks`, of ``values`` ``(B, T + 1, ...)`` and the rows of the chunks' observations."""
    return values.flatten(0, 1).index_select(0, rows).view(-1, context_length, *values.shape[2:])

"""Learning as pure functions on tensors: advantages, the PPO objective, batches. No I/O, no loop over iterations."""

from minestudio_nb.learning.advantages import explained_variance, gae, mean_and_std, moments, normalise_advantages
from minestudio_nb.learning.batching import (
    SampleBatch,
    collate,
    gather_chunks,
    gather_observations,
    observation_rows,
    shuffled_chunks,
)
from minestudio_nb.learning.ppo import (
    TERMS,
    LossSettings,
    LossTargets,
    effective_sample_size,
    importance_weights,
    ppo_loss,
)

__all__ = [
    "TERMS",
    "LossSettings",
    "LossTargets",
    "SampleBatch",
    "collate",
    "effective_sample_size",
    "explained_variance",
    "gae",
    "gather_chunks",
    "gather_observations",
    "importance_weights",
    "mean_and_std",
    "moments",
    "normalise_advantages",
    "observation_rows",
    "ppo_loss",
    "shuffled_chunks",
]

"""A multi-layer perceptron over vector observations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.errors import UnsupportedSpaceError
from minestudio_nb.policies.base import FeedForwardPolicy

__all__ = ["MlpPolicy", "VectorTrunk"]


class VectorTrunk(nn.Sequential):
    """Dense layers with tanh over all observations, flattened and side by side; ``hidden`` are their widths.

    Raises:
        UnsupportedSpaceError: an observation is an image.
    """

    def __init__(self, env_spec: EnvSpec, hidden: Sequence[int]) -> None:
        images = [key for key, box in env_spec.obs.items() if box.is_image]
        if images:
            raise UnsupportedSpaceError(
                f"The mlp policy reads vectors only, and these observations are images: {images}. Use policy cnn."
            )
        width = sum(math.prod(box.shape) for _, box in env_spec.obs.items())
        layers: list[nn.Module] = []
        for size in hidden:
            linear = nn.Linear(width, size)
            nn.init.orthogonal_(linear.weight, math.sqrt(2))
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.Tanh()]
            width = size
        super().__init__(*layers)
        self.keys = env_spec.obs.keys
        self.features = width

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Observations ``(N, *shape)`` -> ``(N, features)``."""
        dtype = self[0].weight.dtype  # type: ignore[union-attr]
        parts = [obs[key].reshape(len(obs[key]), -1).to(dtype) for key in self.keys]
        return super().forward(parts[0] if len(parts) == 1 else torch.cat(parts, 1))


class MlpPolicy(FeedForwardPolicy):
    """Dense layers with tanh over all observations, flattened and side by side.

    Args:
        env_spec: observations must be vectors (any shape, no images).
        hidden: widths of the hidden layers.
        shared: one trunk for policy and value instead of one each.

    Raises:
        UnsupportedSpaceError: an observation is an image.
    """

    def __init__(self, env_spec: EnvSpec, hidden: Sequence[int] = (64, 64), shared: bool = False) -> None:
        super().__init__(env_spec, features=hidden[-1])
        self.actor = VectorTrunk(env_spec, hidden)
        self.critic = self.actor if shared else VectorTrunk(env_spec, hidden)

    def encode(self, obs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See :meth:`FeedForwardPolicy.encode`."""
        actor = self.actor(obs)
        return actor, actor if self.critic is self.actor else self.critic(obs)

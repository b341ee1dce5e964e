"""Convolutional policies over images, with vectors beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from minestudio_nb.contracts.specs import BoxSpec, EnvSpec
from minestudio_nb.errors import UnsupportedSpaceError
from minestudio_nb.policies.base import FeedForwardPolicy

__all__ = ["CnnPolicy", "CnnVariant", "ImageTrunk"]

CnnVariant = Literal["tiny", "nature", "impala"]
_DENSE = {"tiny": 256, "nature": 512, "impala": 256}
_STRIDED = {  # (channels, kernel, stride, padding) of each convolution
    "tiny": ((16, 8, 4, 2), (32, 4, 2, 1), (32, 3, 1, 1)),
    "nature": ((32, 8, 4, 0), (64, 4, 2, 0), (64, 3, 1, 0)),  # Mnih et al. 2015
}
Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)
_IMPALA = (16, 32, 32)  # Espeholt et al. 2018, the deep network


class ImageTrunk(nn.Module):
    """Convolutions over every uint8 image, concatenated with vector observations, then one dense layer.

    Args:
        env_spec: at least one image ``(H, W, C)``; vectors are taken as they are.
        variant: ``tiny`` (three strided convolutions, for 64x64 to 128x128), ``nature``, or ``impala`` (residual).
        dense: width of the dense layer; None: 256, for nature 512.
        channels: of each stage of ``impala``, which halves height and width; None: (16, 32, 32).
        blocks: residual blocks of each stage of ``impala``.

    Raises:
        UnsupportedSpaceError: no image among the observations, one too small for the variant, or sizes that the variant
            has not.
    """

    def __init__(
        self,
        env_spec: EnvSpec,
        variant: CnnVariant = "tiny",
        dense: int | None = None,
        channels: Sequence[int] | None = None,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        self.features = self.width(variant, dense)
        if variant != "impala" and (channels is not None or blocks != 2):
            raise UnsupportedSpaceError(
                f"channels and blocks are sizes of the variant impala, {variant!r} has its own."
            )
        images = {key: box for key, box in env_spec.obs.items() if box.is_image}
        if not images:
            raise UnsupportedSpaceError(
                "The cnn policy needs an image, uint8 (H, W, C); observations here: "
                + ", ".join(f"{key} {box.dtype} {box.shape}" for key, box in env_spec.obs.items())
                + ". Use policy mlp."
            )
        self.image_keys = tuple(images)
        self.vector_keys = tuple(key for key in env_spec.obs.keys if key not in images)
        stages = tuple(channels or _IMPALA)
        self.encoders = nn.ModuleList(ImageEncoder(box, variant, stages, blocks) for box in images.values())
        width = sum(encoder.out_features for encoder in self.encoders)  # type: ignore[misc]
        width += sum(math.prod(env_spec.obs[key].shape) for key in self.vector_keys)
        self.dense = _orthogonal(nn.Linear(width, self.features))
        self.to(memory_format=torch.channels_last)

    @staticmethod
    def width(variant: str, dense: int | None) -> int:
        """Number of features."""
        if variant not in _DENSE:
            raise UnsupportedSpaceError(f"A cnn policy's variant is one of {sorted(_DENSE)}, {variant!r} came.")
        return dense or _DENSE[variant]

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Observations ``(N, *shape)`` -> ``(N, features)``, rectified."""
        parts = [encoder(obs[key]) for encoder, key in zip(self.encoders, self.image_keys, strict=True)]
        parts += [obs[key].reshape(len(obs[key]), -1).to(parts[0].dtype) for key in self.vector_keys]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return functional.relu(self.dense(joined))


class CnnPolicy(FeedForwardPolicy):
    """An :class:`ImageTrunk` whose features both heads read; ``sizes`` are its further arguments."""

    def __init__(self, env_spec: EnvSpec, variant: CnnVariant = "tiny", dense: int | None = None, **sizes: Any) -> None:
        super().__init__(env_spec, ImageTrunk.width(variant, dense))
        self.trunk = ImageTrunk(env_spec, variant, dense, **sizes)

    def encode(self, obs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See :meth:`FeedForwardPolicy.encode`."""
        features = self.recomputed(self.trunk, obs)
        return features, features


class ImageEncoder(nn.Module):
    """uint8 ``(N, H, W, C)`` -> ``(N, out_features)``, rectified, in the order (height, width, channel)."""

    def __init__(self, box: BoxSpec, variant: CnnVariant, stages: Sequence[int] = _IMPALA, blocks: int = 2) -> None:
        super().__init__()
        channels = box.shape[2]
        if variant == "impala":
            self.stem: nn.Conv2d = _orthogonal(nn.Conv2d(channels, stages[0], 3, padding=1))
            self.body = nn.Sequential(*_impala_body(stages, blocks))
        else:
            first, *rest = _STRIDED[variant]
            self.stem = _strided(channels, *first)
            layers: list[nn.Module] = [nn.ReLU()]
            previous = first[0]
            for layer in rest:
                layers += [_strided(previous, *layer), nn.ReLU()]
                previous = layer[0]
            self.body = nn.Sequential(*layers)
        try:
            with torch.no_grad():
                self.out_features = self(torch.zeros(1, *box.shape, dtype=torch.uint8)).shape[1]
        except RuntimeError as error:
            raise UnsupportedSpaceError(
                f"Images of {box.shape} (H, W, C) are too small for the cnn variant {variant!r}. Use variant tiny, "
                "or larger images."
            ) from error

    def forward(self, image: Tensor) -> Tensor:
        # Pixels stay 0..255 and the first weights are divided instead: the same numbers without a pass over the image.
        # (N, H, W, C) seen as (N, C, H, W) is channels_last already; bfloat16 holds 0..255 exactly.
        weight = self.stem.weight
        pixels = image.permute(0, 3, 1, 2).to(weight.dtype)
        hidden = functional.conv2d(pixels, weight / 255.0, self.stem.bias, self.stem.stride, self.stem.padding)
        hidden = self.body(hidden)
        # Flattening in memory order spares a transposed copy.
        return hidden.permute(0, 2, 3, 1).flatten(1)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _orthogonal(nn.Conv2d(channels, channels, 3, padding=1))
        self.second = _orthogonal(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, hidden: Tensor) -> Tensor:
        inner: Tensor = self.second(functional.relu(self.first(functional.relu(hidden))))
        return hidden + inner


def _impala_body(stages: Sequence[int], blocks: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for index, channels in enumerate(stages):
        if index > 0:
            layers.append(_orthogonal(nn.Conv2d(stages[index - 1], channels, 3, padding=1)))
        layers += [nn.MaxPool2d(3, 2, 1), *(_Residual(channels) for _ in range(blocks))]
    return [*layers, nn.ReLU()]


def _strided(channels: int, out: int, kernel: int, stride: int, padding: int) -> nn.Conv2d:
    return _orthogonal(nn.Conv2d(channels, out, kernel, stride, padding))


def _orthogonal(layer: Layer) -> Layer:
    nn.init.orthogonal_(layer.weight, math.sqrt(2))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer

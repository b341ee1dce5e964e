"""The network of Video PreTraining (Baker et al. 2206.11795): an IMPALA tower, then transformer blocks with a memory.

Written from the published description. Layers normalise their input and have a bias only where they do not; weights
start with rows of equal norm (fan-in).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from minestudio_nb.errors import UnsupportedSpaceError

__all__ = ["VPTNetwork", "VPTSizes"]

TOWER_FEATURES = 256
"""Width between the convolutions and the transformer."""
BASIS = 10
"""Functions of distance in time that attention combines."""
RESIDUAL_BLOCKS = 2
"""Of each stack of the tower."""


@dataclass(frozen=True)
class VPTSizes:
    """Sizes, under the names that MineStudio and OpenAI use; the defaults make a small network.

    Each layer remembers ``attention_memory_size - timesteps`` steps, and a step attends to as many, itself included.

    Args:
        hidsize: width of the transformer.
        impala_width: factor on ``impala_chans``, the channels of the tower's stacks, each of which halves the image.
        attention_heads: must divide ``hidsize``.
        n_recurrence_layers: transformer blocks.
        pointwise_ratio: width of the blocks' dense layers, times ``hidsize``.
    """

    hidsize: int = 256
    impala_width: float = 1
    impala_chans: Sequence[int] = (16, 32, 32)
    attention_heads: int = 8
    attention_memory_size: int = 128
    timesteps: int = 64
    n_recurrence_layers: int = 2
    pointwise_ratio: int = 4

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise UnsupportedSpaceError(
                f"attention_memory_size must be above timesteps; {self.attention_memory_size} and {self.timesteps} "
                "came. The difference is how many steps a layer remembers."
            )
        if self.hidsize % self.attention_heads:
            raise UnsupportedSpaceError(
                f"hidsize must be a multiple of attention_heads; {self.hidsize} and {self.attention_heads} came."
            )

    @property
    def memory(self) -> int:
        """Steps that a layer remembers."""
        return self.attention_memory_size - self.timesteps

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stack of the tower."""
        return tuple(int(self.impala_width * channels) for channels in self.impala_chans)


Recompute = Callable[..., Any]
"""Calls a function with its inputs, perhaps once more in the backward pass: ``MinePolicy.recomputed``."""


class VPTNetwork(nn.Module):
    """Images ``(B, T, H, W, 3)`` -> features ``(B, T, hidsize)``, with a memory."""

    def __init__(self, sizes: VPTSizes, image_shape: Sequence[int]) -> None:
        super().__init__()
        self.memory, self.width = sizes.memory, sizes.hidsize
        self.tower = ImageTower(image_shape, sizes.channels)
        self.embed = DenseLayer(TOWER_FEATURES, sizes.hidsize)
        # Two residual branches in each block share the variance that a block may add.
        scale = (2 * sizes.n_recurrence_layers) ** -0.5
        self.blocks = nn.ModuleList(Block(sizes, scale) for _ in range(sizes.n_recurrence_layers))
        self.last = DenseLayer(sizes.hidsize, sizes.hidsize)
        self.norm = nn.LayerNorm(sizes.hidsize)

    def initial_state(self, batch_size: int) -> list[Tensor]:
        """For each block which remembered steps count, bool ``(B, 1, M)``, and their keys and values."""
        weight = self.norm.weight
        known = torch.zeros(batch_size, 1, self.memory, dtype=torch.bool, device=weight.device)
        empty = torch.zeros(batch_size, self.memory, self.width, device=weight.device)
        return [part.clone() for _ in self.blocks for part in (known, empty, empty)]

    def forward(
        self, image: Tensor, first: Tensor, state: Sequence[Tensor], recomputed: Recompute
    ) -> tuple[Tensor, list[Tensor]]:
        """``image`` uint8, ``first`` bool ``(B, T)``; returns features and the new state."""
        lead = image.shape[:2]
        hidden = recomputed(self.tower, image.flatten(0, 1)).unflatten(0, lead)
        hidden = self.embed(hidden)
        # All blocks hide the same steps, so that the first block's record of them serves all.
        visible, known = attention_window(first, state[0], self.memory)
        after: list[Tensor] = []
        for block, keys, values in zip(self.blocks, state[1::3], state[2::3], strict=True):
            hidden, keys, values = recomputed(block, hidden, visible, keys, values)
            after += [known, keys, values]
        return self.norm(self.last(functional.relu(hidden))), after


def attention_window(first: Tensor, known: Tensor, memory: int) -> tuple[Tensor, Tensor]:
    """What each step may attend to, bool ``(B, T, M + T)``, and which steps count afterwards, ``(B, 1, M)``.

    Clipped causal attention: a step sees itself and the ``M - 1`` steps before it, wherever a sequence is cut; never
    the future, nor an earlier episode.
    """
    steps = first.shape[1]
    episode = first.long().cumsum(1)[:, None]  # (B, 1, T): how many episodes have begun in this sequence
    before = known & (episode.transpose(1, 2) == 0)
    during = episode == episode.transpose(1, 2)
    query = torch.arange(memory, memory + steps, device=first.device)[:, None]
    distance = query - torch.arange(memory + steps, device=first.device)
    visible = torch.cat([before, during], 2) & (distance >= 0) & (distance < memory)
    last = episode[:, :, -1:]
    return visible, torch.cat([known & (last == 0), episode == last], 2)[:, :, -memory:]


class Block(nn.Module):
    """Attention, then two dense layers. The first residual goes round attention only, from its normalised input on."""

    def __init__(self, sizes: VPTSizes, scale: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(sizes.hidsize)
        self.attention = MemoryAttention(sizes.hidsize, sizes.attention_heads, sizes.memory, scale)
        self.widen = DenseLayer(sizes.hidsize, sizes.hidsize * sizes.pointwise_ratio)
        self.narrow = fan_in(nn.Linear(sizes.hidsize * sizes.pointwise_ratio, sizes.hidsize), scale)

    def forward(self, hidden: Tensor, visible: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features ``(B, T, hidsize)`` and the memory; see :class:`MemoryAttention`."""
        hidden = self.norm(hidden)
        found, keys, values = self.attention(hidden, visible, keys, values)
        hidden = hidden + found
        return hidden + self.narrow(self.widen(hidden)), keys, values


class MemoryAttention(nn.Module):
    """Attention to remembered keys and values and to the sequence itself, with learned weights of distance in time.

    A score is (query . key) / width of a head, plus a combination, read from the query's step, of :data:`BASIS`
    functions of the distance.
    """

    def __init__(self, width: int, heads: int, memory: int, scale: float) -> None:
        super().__init__()
        root = math.sqrt(scale)
        self.heads, self.memory = heads, memory
        self.query = fan_in(nn.Linear(width, width), 0.1)
        self.key = fan_in(nn.Linear(width, width, bias=False), 0.2)
        self.value = fan_in(nn.Linear(width, width, bias=False), root)
        self.output = fan_in(nn.Linear(width, width), root)
        self.relation = fan_in(nn.Linear(width, BASIS * heads), 0.1)
        self.basis = nn.Parameter(torch.randn(BASIS, memory) * 0.2)

    def forward(self, hidden: Tensor, visible: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``hidden`` ``(B, T, width)``, ``visible`` bool ``(B, T, M + T)``, keys and values ``(B, M, width)``."""
        steps = hidden.shape[1]
        query, key, value = self.query(hidden), self.key(hidden), self.value(hidden)
        # Under autocast remembered float32 keys meet bfloat16 ones; what is remembered keeps its type.
        dtype = keys.dtype
        keys, values = torch.cat([keys.to(key.dtype), key], 1), torch.cat([values.to(value.dtype), value], 1)
        weights = self._split(self.relation(hidden)) @ self.basis.to(key.dtype).flip(1)
        # (B, heads, T, M) with the nearest step last; shifting row i by i + 1 puts each weight over its step.
        weights = functional.pad(weights, (1, steps)).flatten(2)[..., : steps * (self.memory + steps)]
        bias = weights.unflatten(2, (steps, -1)).masked_fill(~visible[:, None], float("-inf"))
        width = query.shape[-1] // self.heads
        found = functional.scaled_dot_product_attention(
            self._split(query), self._split(keys), self._split(values), attn_mask=bias, scale=1.0 / width
        )
        joined = found.transpose(1, 2).flatten(2)
        kept = (part[:, -self.memory :].to(dtype) for part in (keys, values))
        return self.output(joined), *kept

    def _split(self, hidden: Tensor) -> Tensor:
        """``(B, T, heads * n)`` -> ``(B, heads, T, n)``."""
        return hidden.unflatten(2, (self.heads, -1)).transpose(1, 2)


class ImageTower(nn.Module):
    """Stacks of convolutions as in IMPALA (Espeholt et al. 2018), each normalised: uint8 -> ``(N, 256)``."""

    def __init__(self, image_shape: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        height, width, inputs = image_shape
        scale = math.sqrt(len(channels))
        stacks = []
        for index, outputs in enumerate(channels):
            stacks.append(Stack(inputs, outputs, scale, normalise_input=index > 0))
            inputs, height, width = outputs, (height + 1) // 2, (width + 1) // 2
        self.stacks = nn.Sequential(*stacks)
        self.dense = DenseLayer(inputs * height * width, TOWER_FEATURES, scale=1.4)

    def forward(self, image: Tensor) -> Tensor:
        pixels = image.permute(0, 3, 1, 2).to(self.dense.layer.weight.dtype) / 255.0
        found: Tensor = self.dense(self.stacks(pixels).flatten(1))
        return found


class Stack(nn.Module):
    """A convolution, pooling to half the size, and residual blocks."""

    def __init__(self, inputs: int, outputs: int, scale: float, normalise_input: bool) -> None:
        super().__init__()
        self.enter = ConvLayer(inputs, outputs, normalise=normalise_input)
        self.norm = nn.GroupNorm(1, outputs)
        each = math.sqrt(scale / math.sqrt(RESIDUAL_BLOCKS))
        self.residuals = nn.ModuleList(
            nn.Sequential(ConvLayer(outputs, outputs, each), ConvLayer(outputs, outputs, each))
            for _ in range(RESIDUAL_BLOCKS)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = self.norm(functional.max_pool2d(self.enter(hidden), 3, 2, 1))
        for residual in self.residuals:
            hidden = hidden + residual(hidden)
        return hidden


class DenseLayer(nn.Module):
    """LayerNorm, a dense layer without bias, ReLU."""

    def __init__(self, inputs: int, outputs: int, scale: float = 1.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.layer = fan_in(nn.Linear(inputs, outputs, bias=False), scale)

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.relu(self.layer(self.norm(hidden)))


class ConvLayer(nn.Module):
    """GroupNorm with one group (where ``normalise``), a 3x3 convolution, ReLU."""

    def __init__(self, inputs: int, outputs: int, scale: float = 1.0, normalise: bool = True) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, inputs) if normalise else nn.Identity()
        self.layer = fan_in(nn.Conv2d(inputs, outputs, 3, padding=1, bias=not normalise), scale)

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.relu(self.layer(self.norm(hidden)))


@torch.no_grad()
def fan_in(layer: Any, scale: float) -> Any:
    """``layer`` with weights of norm ``scale`` for each output, and no bias at first."""
    norm = layer.weight.flatten(1).norm(dim=1)
    layer.weight.mul_((scale / norm).reshape(-1, *[1] * (layer.weight.dim() - 1)))
    if layer.bias is not None:
        layer.bias.zero_()
    return layer

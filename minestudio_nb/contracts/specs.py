"""What an environment shows and accepts, described without gymnasium so that every layer and interpreter can read it.

Observations are always a dict of arrays (a plain ``Box`` space becomes the single key ``"obs"``); images are uint8
``(H, W, C)``, vectors float32. Actions are always one vector of ``K`` components, whatever the nesting of the
environment's own space: int64 where all are categorical, float32 where some are continuous (which holds the categorical
ones exactly, as integers up to 2^24). :meth:`ActionSpec.decode` gives the environment its native form back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["ActionLeaf", "ActionSpec", "BoxSpec", "EnvSpec", "ObsSpec"]

SINGLE_KEY = "obs"
"""Observation key of an environment whose observation space is a plain Box."""


@dataclass(frozen=True)
class BoxSpec:
    """One array of an observation: ``shape`` without batch dimensions, ``dtype`` as a numpy name."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def is_image(self) -> bool:
        """True for uint8 ``(H, W, C)`` arrays, which policies treat as pictures."""
        return self.dtype == "uint8" and len(self.shape) == 3

    @property
    def nbytes(self) -> int:
        """Bytes of one array."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class ObsSpec:
    """The arrays of one observation by key, in a fixed order. ``is_dict``: whether the environment returns a dict."""

    boxes: tuple[tuple[str, BoxSpec], ...]
    is_dict: bool

    def items(self) -> tuple[tuple[str, BoxSpec], ...]:
        """``(key, BoxSpec)`` pairs in storage order."""
        return self.boxes

    def __getitem__(self, key: str) -> BoxSpec:
        return dict(self.boxes)[key]

    @property
    def keys(self) -> tuple[str, ...]:
        """Observation keys in storage order."""
        return tuple(key for key, _ in self.boxes)

    @property
    def nbytes(self) -> int:
        """Bytes of one observation."""
        return sum(box.nbytes for _, box in self.boxes)

    def zeros(self, *leading: int) -> dict[str, npt.NDArray[Any]]:
        """Freshly allocated arrays of shape ``(*leading, *box.shape)`` by key."""
        return {key: np.zeros((*leading, *box.shape), box.dtype) for key, box in self.boxes}


@dataclass(frozen=True)
class ActionLeaf:
    """One leaf of an action space.

    ``kind`` is the native form: ``"discrete"`` (a Python int, offset by ``start``), ``"multi_discrete"`` (an int64
    array of shape ``shape``) or ``"box"`` (a float array of shape ``shape`` and numpy type ``dtype``). ``nvec`` are the
    sizes of its categorical components, flattened; none for a box, which has bounds ``low`` and ``high`` instead.

    A component of a box with two finite bounds is -1 at ``low`` and 1 at ``high``; one without is the value itself.
    """

    name: str
    kind: Literal["discrete", "multi_discrete", "box"]
    nvec: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    start: int = 0
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    dtype: str = "float32"

    @property
    def width(self) -> int:
        """Number of its components."""
        return len(self.low) if self.kind == "box" else len(self.nvec)

    def decode(self, values: npt.NDArray[Any]) -> Any:
        """The native action for ``width`` components; a box's is clipped to its bounds."""
        if self.kind == "discrete":
            return int(values[0]) + self.start
        if self.kind == "multi_discrete":
            return np.array(values, np.int64).reshape(self.shape)
        low, middle, half = self._scale()
        native = np.clip(middle + half * np.asarray(values, np.float64), low, self.high)
        return native.astype(self.dtype).reshape(self.shape)

    def encode(self, native: Any) -> npt.NDArray[Any]:
        """The components of a native action, the inverse of :meth:`decode`."""
        if self.kind != "box":
            return np.asarray(native, np.int64).reshape(-1) - self.start
        _, middle, half = self._scale()
        return ((np.asarray(native, np.float64).reshape(-1) - middle) / half).astype(np.float32)

    def _scale(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Lower bound, and what -1 to 1 are mapped by; 0 and 1 where a side is open."""
        low, high = np.array(self.low, np.float64), np.array(self.high, np.float64)
        closed = np.isfinite(low) & np.isfinite(high) & (high > low)
        low_side, high_side = np.where(closed, low, -1.0), np.where(closed, high, 1.0)
        return low, (low_side + high_side) / 2, (high_side - low_side) / 2


@dataclass(frozen=True)
class ActionSpec:
    """The leaves of an action space; ``is_dict`` says whether the environment takes a dict of them or one bare leaf."""

    leaves: tuple[ActionLeaf, ...]
    is_dict: bool

    @property
    def nvec(self) -> tuple[int, ...]:
        """Sizes of all categorical components, in storage order."""
        return tuple(n for leaf in self.leaves for n in leaf.nvec)

    @property
    def size(self) -> int:
        """``K``, the number of components."""
        return sum(leaf.width for leaf in self.leaves)

    @property
    def is_categorical(self) -> bool:
        """Whether no component is continuous."""
        return all(leaf.kind != "box" for leaf in self.leaves)

    @property
    def dtype(self) -> str:
        """The numpy type of action vectors."""
        return "int64" if self.is_categorical else "float32"

    @property
    def component_names(self) -> tuple[str, ...]:
        """A name for each component: the leaf's, with an index where the leaf has several."""
        names: list[str] = []
        for leaf in self.leaves:
            if leaf.width == 1:
                names.append(leaf.name)
            else:
                names.extend(f"{leaf.name}.{index}" for index in range(leaf.width))
        return tuple(names)

    @property
    def parameter_counts(self) -> tuple[int, ...]:
        """How many numbers describe the distribution of each component: its size, or 2 for mean and log deviation."""
        return tuple(n for leaf in self.leaves for n in (leaf.nvec or (2,) * leaf.width))

    def split(self, action: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """The components ``(..., width)`` of each leaf, by its name, of actions ``(..., K)``; arrays or tensors."""
        parts: dict[str, Any] = {}
        position = 0
        for leaf in self.leaves:
            parts[leaf.name] = action[..., position : position + leaf.width]
            position += leaf.width
        return parts

    def decode(self, action: npt.NDArray[Any]) -> Any:
        """The environment's native action for one vector of shape ``(K,)``."""
        if not self.is_dict and len(self.leaves) == 1:
            return self.leaves[0].decode(action)
        values = self.split(action)
        return {leaf.name: leaf.decode(values[leaf.name]) for leaf in self.leaves}

    def encode(self, native: Any) -> npt.NDArray[Any]:
        """The vector of shape ``(K,)`` for an environment's native action (inverse of :meth:`decode`)."""
        parts = native if self.is_dict else {self.leaves[0].name: native}
        return np.concatenate([leaf.encode(parts[leaf.name]) for leaf in self.leaves]).astype(self.dtype)

    def sample(self, random: np.random.Generator, count: int) -> npt.NDArray[Any]:
        """``count`` random actions ``(count, K)``: uniform, where a continuous component has no two bounds normal."""
        if self.is_categorical:
            return random.integers(0, self.nvec, (count, self.size))
        columns: list[npt.NDArray[Any]] = []
        for leaf in self.leaves:
            shape = (count, leaf.width)
            if leaf.kind != "box":
                columns.append(random.integers(0, leaf.nvec, shape))
            else:
                closed = np.isfinite(leaf.low) & np.isfinite(leaf.high)
                columns.append(np.where(closed, random.uniform(-1, 1, shape), random.normal(size=shape)))
        return np.concatenate(columns, 1).astype(self.dtype)


@dataclass(frozen=True)
class EnvSpec:
    """All that a policy, a buffer and a worker need to know about an environment."""

    obs: ObsSpec
    action: ActionSpec
    task: str = "default"

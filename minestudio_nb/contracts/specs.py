"""What an environment shows and accepts, described without gymnasium so that every layer and interpreter can read it.

Observations are always a dict of arrays (a plain ``Box`` space becomes the single key ``"obs"``); images are uint8
``(H, W, C)``, vectors float32. Actions are always one int64 vector of ``K`` categorical components, whatever the
nesting of the environment's own space; :meth:`ActionSpec.decode` gives the environment its native form back.
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

    ``kind`` is the native form: ``"discrete"`` (a Python int, offset by ``start``) or ``"multi_discrete"`` (an int64
    array of shape ``shape``). ``nvec`` are the sizes of its categorical components, flattened.
    """

    name: str
    kind: Literal["discrete", "multi_discrete"]
    nvec: tuple[int, ...]
    shape: tuple[int, ...] = ()
    start: int = 0


@dataclass(frozen=True)
class ActionSpec:
    """The leaves of an action space; ``is_dict`` says whether the environment takes a dict of them or one bare leaf."""

    leaves: tuple[ActionLeaf, ...]
    is_dict: bool

    @property
    def nvec(self) -> tuple[int, ...]:
        """Sizes of all ``K`` categorical components, in storage order."""
        return tuple(n for leaf in self.leaves for n in leaf.nvec)

    @property
    def size(self) -> int:
        """``K``, the number of categorical components."""
        return len(self.nvec)

    @property
    def component_names(self) -> tuple[str, ...]:
        """A name for each component: the leaf's, with an index where the leaf has several."""
        names: list[str] = []
        for leaf in self.leaves:
            if len(leaf.nvec) == 1:
                names.append(leaf.name)
            else:
                names.extend(f"{leaf.name}.{index}" for index in range(len(leaf.nvec)))
        return tuple(names)

    def decode(self, action: npt.NDArray[np.int64]) -> Any:
        """The environment's native action for one int64 vector of shape ``(K,)``."""
        if not self.is_dict and len(self.leaves) == 1 and self.leaves[0].kind == "discrete":
            return int(action[0]) + self.leaves[0].start
        parts: dict[str, Any] = {}
        position = 0
        for leaf in self.leaves:
            values = action[position : position + len(leaf.nvec)]
            position += len(leaf.nvec)
            if leaf.kind == "discrete":
                parts[leaf.name] = int(values[0]) + leaf.start
            else:
                parts[leaf.name] = np.array(values, np.int64).reshape(leaf.shape)
        return parts if self.is_dict else parts[self.leaves[0].name]

    def encode(self, native: Any) -> npt.NDArray[np.int64]:
        """The int64 vector of shape ``(K,)`` for an environment's native action (inverse of :meth:`decode`)."""
        parts = native if self.is_dict else {self.leaves[0].name: native}
        out: list[int] = []
        for leaf in self.leaves:
            flat = np.asarray(parts[leaf.name], np.int64).reshape(-1)
            out.extend(int(value) - leaf.start for value in flat)
        return np.array(out, np.int64)


@dataclass(frozen=True)
class EnvSpec:
    """All that a policy, a buffer and a worker need to know about an environment."""

    obs: ObsSpec
    action: ActionSpec
    task: str = "default"

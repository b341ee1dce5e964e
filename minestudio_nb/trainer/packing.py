"""Nested plain data with arrays in it, as JSON and a flat set of tensors. No pickle.

Understood: None, bool, int, float (NaN and infinities included), str, bytes, list, tuple, dict with keys of any of
these, numpy scalars and arrays, torch tensors. All comes back as it was, except that numpy scalars become Python's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minestudio_nb.errors import CheckpointError

__all__ = ["pack", "unpack"]

_MARK = "$"
"""Key of the dicts that stand for what JSON lacks. User dicts are written as items, so none can be mistaken."""


def pack(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """``(JSON-able tree, tensors by number)``. Raises CheckpointError for an object of another type, with its place."""
    tensors: dict[str, Tensor] = {}

    def walk(value: Any, place: str) -> Any:
        if value is None or isinstance(value, (bool, int, str, float)):
            return value
        if isinstance(value, np.generic):
            return walk(value.item(), place)
        if isinstance(value, (Tensor, np.ndarray, bytes, bytearray)):
            name = str(len(tensors))
            kind, tensors[name] = _as_tensor(value, place)
            return {_MARK: kind, "name": name}
        if isinstance(value, (list, tuple)):
            items = [walk(item, f"{place}[{index}]") for index, item in enumerate(value)]
            return items if isinstance(value, list) else {_MARK: "tuple", "items": items}
        if isinstance(value, Mapping):
            pairs = [[walk(key, place), walk(item, f"{place}[{key!r}]")] for key, item in value.items()]
            return {_MARK: "dict", "items": pairs}
        raise CheckpointError(
            f"A checkpoint holds plain data, arrays and tensors only; {place} is a {type(value).__name__}."
        )

    return walk(tree, "state"), tensors


def unpack(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Inverse of :func:`pack`."""
    if isinstance(tree, list):
        return [unpack(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    kind = tree[_MARK]
    if kind == "tuple":
        return tuple(unpack(item, tensors) for item in tree["items"])
    if kind == "dict":
        return {_hashable(unpack(key, tensors)): unpack(item, tensors) for key, item in tree["items"]}
    tensor = tensors[tree["name"]]
    if kind == "tensor":
        return tensor
    array = tensor.numpy().copy()
    return array.tobytes() if kind == "bytes" else array


def _as_tensor(value: Any, place: str) -> tuple[str, Tensor]:
    if isinstance(value, Tensor):
        return "tensor", value.detach().cpu().contiguous().clone()
    if isinstance(value, (bytes, bytearray)):
        return "bytes", torch.tensor(bytearray(value), dtype=torch.uint8)
    try:
        return "array", torch.from_numpy(np.array(value, order="C"))
    except TypeError as error:
        raise CheckpointError(f"{place} is an array of {value.dtype}, which a checkpoint cannot hold.") from error


def _hashable(key: Any) -> Any:
    return tuple(_hashable(item) for item in key) if isinstance(key, (list, tuple)) else key

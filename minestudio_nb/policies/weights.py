"""Weights in and out: packages that travel to workers, and safetensors files. Loading is strict; nothing is pickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from minestudio_nb.contracts.weights import WeightsPackage
from minestudio_nb.errors import WeightsError
from minestudio_nb.policies.base import MinePolicy

__all__ = ["describe_names", "load_package", "load_state", "load_weights", "save_weights", "to_package"]

_NAMED_AT_MOST = 8


def to_package(policy: MinePolicy, session: str, version: int) -> WeightsPackage:
    """An immutable copy of the policy's weights as version ``version`` of ``session``."""
    state = {}
    for name, tensor in policy.state_dict().items():
        array = np.array(_portable(tensor).numpy(), order="C")
        array.flags.writeable = False
        state[name] = array
    return WeightsPackage(session, version, state)


def load_package(policy: MinePolicy, package: WeightsPackage) -> None:
    """Takes the weights of ``package`` into ``policy``, all or none; the package stays as it was.

    Raises:
        WeightsError: names are missing or unexpected, or shapes differ; lists them.
    """
    # torch.tensor copies, which a read-only array needs: as_tensor would warn and share its memory.
    load_state(policy, {name: torch.tensor(array) for name, array in package.state.items()})


def load_state(policy: MinePolicy, state: Mapping[str, Tensor]) -> None:
    """Takes a state dict strictly, all or none. Raises WeightsError as :func:`load_package` does."""
    own = policy.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    shapes = [
        f"{name}: {tuple(state[name].shape)} came, {tuple(tensor.shape)} is needed"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if missing or unexpected or shapes:
        parts = [
            describe_names(names, what)
            for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
            if names
        ]
        raise WeightsError(
            f"The weights do not fit the policy {type(policy).__name__}. {'; '.join(parts)}. "
            "They must come from a policy of the same class and arguments, for the same spaces."
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])
    policy.weights_changed()


def describe_names(names: Sequence[str], what: str) -> str:
    """``"12 missing: a, b, ..."``: how many there are, and the first of them."""
    return f"{len(names)} {what}: {', '.join(names[:_NAMED_AT_MOST])}{', ...' if len(names) > _NAMED_AT_MOST else ''}"


def save_weights(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Writes tensors as safetensors."""
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}, str(path))


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Reads a safetensors file onto the CPU. Raises WeightsError when it is missing or is not one."""
    try:
        state: dict[str, Any] = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}.") from error
    return state


def _portable(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu()

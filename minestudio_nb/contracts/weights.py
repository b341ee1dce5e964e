"""The one immutable parcel in which weights go from the trainer to everybody who acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

__all__ = ["WeightsPackage"]


@dataclass(frozen=True)
class WeightsPackage:
    """Weights with the version and the session that they belong to, so that the three can never be mixed.

    ``state`` maps parameter and buffer names to arrays (numpy, on the CPU; bfloat16 tensors travel as their float32
    values). Receivers load it strictly and must not write into it.
    """

    session: str
    version: int
    state: Mapping[str, npt.NDArray[Any]]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.state.values())

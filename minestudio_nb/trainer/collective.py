"""How the ranks of a trainer agree: one interface for a single process and for a torch process group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from minestudio_nb.errors import RankLostError

__all__ = ["Collective", "SingleProcess", "TorchCollective"]


class Collective(Protocol):
    """What the ranks do together. Every rank must make the same calls in the same order."""

    rank: int
    world_size: int

    def broadcast(self, value: Any) -> Any:
        """Rank 0's ``value`` on every rank; what the others pass is ignored."""

    def broadcast_tensor(self, tensor: Tensor) -> None:
        """Overwrites ``tensor`` with rank 0's, of equal shape and dtype."""

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks, written into ``tensor`` and returned."""


class SingleProcess:
    """One rank: everything is agreed already."""

    rank = 0
    world_size = 1

    def broadcast(self, value: Any) -> Any:
        """``value``."""
        return value

    def broadcast_tensor(self, tensor: Tensor) -> None:
        """Nothing to do."""

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """``tensor``."""
        return tensor


class TorchCollective:
    """The ranks of an initialised ``torch.distributed`` process group (gloo or nccl).

    Methods raise RankLostError where another rank is gone.

    Args:
        device: where the group's tensors must be: cpu for gloo, a GPU for nccl.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self._device = device or torch.device("cpu")

    def broadcast(self, value: Any) -> Any:
        """See :meth:`Collective.broadcast`; plain objects, pickled between processes of the same job."""
        box = [value if self.rank == 0 else None]
        with _together():
            dist.broadcast_object_list(box, src=0, device=self._device)
        return box[0]

    def broadcast_tensor(self, tensor: Tensor) -> None:
        """See :meth:`Collective.broadcast_tensor`."""
        moved = tensor.to(self._device).contiguous()
        with _together():
            dist.broadcast(moved, src=0)
        tensor.copy_(moved)

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """See :meth:`Collective.all_reduce`."""
        moved = tensor.to(self._device).contiguous()
        with _together():
            dist.all_reduce(moved)
        return tensor if moved is tensor else tensor.copy_(moved)


@contextmanager
def _together() -> Iterator[None]:
    """Tells a lost peer from an error of our own: the peer's end is a RuntimeError of torch's here."""
    try:
        yield
    except RuntimeError as error:
        raise RankLostError(f"another training process is gone, or cannot be reached: {error}") from error

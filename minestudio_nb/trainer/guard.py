"""The way back when an update went wrong: policy and optimizer as they were when the iteration began."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Snapshot", "all_finite"]


class Snapshot:
    """A copy of a policy's tensors and its optimizer's state, taken anew each iteration into the same memory."""

    def __init__(self, policy: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._policy, self._optimizer = policy, optimizer
        self._live: list[Tensor] = []
        self._kept: list[Tensor] = []
        self._stateless = True

    @torch.no_grad()
    def take(self) -> None:
        """Copies the present state."""
        live = [*self._policy.parameters(), *self._policy.buffers()]
        self._stateless = not self._optimizer.state
        for state in self._optimizer.state.values():
            live += [value for value in state.values() if isinstance(value, Tensor)]
        if [id(tensor) for tensor in live] != [id(tensor) for tensor in self._live]:
            self._live, self._kept = live, [tensor.detach().clone() for tensor in live]
        else:
            torch._foreach_copy_(self._kept, live)

    @torch.no_grad()
    def restore(self) -> None:
        """Puts back what :meth:`take` copied."""
        torch._foreach_copy_(self._live, self._kept)
        if self._stateless:
            self._optimizer.state.clear()


@torch.no_grad()
def all_finite(module: nn.Module) -> bool:
    """Whether no parameter holds NaN or infinity."""
    norms = torch._foreach_norm([parameter.detach() for parameter in module.parameters()], float("inf"))
    return bool(torch.isfinite(torch.stack(norms)).all())

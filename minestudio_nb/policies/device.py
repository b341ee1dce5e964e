"""Which device a policy computes on."""

from __future__ import annotations

import torch

__all__ = ["get_compute_device"]


def get_compute_device() -> str:
    """The best device this process sees: ``"cuda"``, else ``"mps"``, else ``"cpu"``.

    MineStudio's policy generators move their policy there; workers and trainers place it by their own settings anyway.
    """
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"

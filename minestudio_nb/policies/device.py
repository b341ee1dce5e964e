"""Which device a policy computes on: one rule for rollout workers, trainers and both runtimes."""

from __future__ import annotations

import torch

from minestudio_nb.errors import ResourceError

__all__ = ["choose_device", "get_compute_device"]


def choose_device(wanted: str, gpus: float) -> torch.device:
    """The device that a setting asks for: ``wanted`` itself, or for ``"auto"`` the GPU where some are asked for.

    Args:
        wanted: ``rollout_config.worker_config.device`` or ``train_config.device``.
        gpus: the process's share by ``num_gpus_per_worker``.

    Raises:
        ResourceError: a GPU is meant, and torch sees none in this process.
    """
    device = torch.device(wanted if wanted != "auto" else "cuda" if gpus > 0 else "cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ResourceError(
            f"A GPU is asked for (device {wanted!r}, num_gpus_per_worker {gpus:g}) and torch sees none in this "
            "process. Use scale=laptop, which asks for none, or a build of torch that knows the GPU."
        )
    return device


def get_compute_device() -> str:
    """The best device this process sees: ``"cuda"``, else ``"mps"``, else ``"cpu"``.

    MineStudio's policy generators move their policy there; workers and trainers place it by their own settings anyway.
    """
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"

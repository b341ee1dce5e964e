"""Memory that processes share."""

from __future__ import annotations

import os
import tempfile

__all__ = ["anonymous_memory"]


def anonymous_memory() -> int:
    """A file descriptor of shared memory without a name, so that nothing can be left behind."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("minestudio_nb-envs", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

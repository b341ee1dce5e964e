"""What this machine offers, found out without torch or Ray."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Resources"]

GPU_QUERY_SECONDS = 10.0


@dataclass(frozen=True)
class Resources:
    """CPU cores, GPUs, free memory and free shared memory (bytes)."""

    cpus: float
    gpus: float = 0
    memory_bytes: int = 0
    shm_bytes: int = 0

    @classmethod
    def detect(cls) -> Resources:
        """What this process may use now: its CPU affinity, the limits of its container, and visible NVIDIA GPUs."""
        memory = min(psutil.virtual_memory().available, _cgroup_memory())
        shm = Path("/dev/shm")
        return cls(
            cpus=min(float(_affinity()), _cgroup_cpus()),
            gpus=_visible_gpus(),
            memory_bytes=memory,
            shm_bytes=shutil.disk_usage(shm).free if shm.is_dir() else memory,
        )


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup(name: str) -> str:
    """One line of the container's limits (control groups, version 2), or an empty text outside a container."""
    try:
        return Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _cgroup_cpus() -> float:
    quota, _, period = _cgroup("cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else float("inf")


def _cgroup_memory() -> int:
    limit, used = _cgroup("memory.max"), _cgroup("memory.current")
    return max(0, int(limit) - int(used or 0)) if limit.isdigit() else 1 << 62


def _visible_gpus() -> int:
    """NVIDIA GPUs that programs started here can use: CUDA_VISIBLE_DEVICES hides others."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        result = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=GPU_QUERY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    present = sum(line.startswith("GPU ") for line in result.stdout.splitlines())
    if visible is None:
        return present
    named = [part.strip() for part in visible.split(",") if part.strip()]
    if "-1" in named:
        named = named[: named.index("-1")]
    return min(present, len(named))

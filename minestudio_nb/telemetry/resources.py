"""What a session uses of its machine, as the metrics ``system/...``."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import psutil

from minestudio_nb.telemetry.cpu import ProcessTrees
from minestudio_nb.telemetry.gpus import Gpu, GpuReader

__all__ = ["ResourceMeter"]

SAMPLE_SECONDS = 1.0
"""Least time between two looks: one costs some milliseconds where there are many processes."""
SHOWN_SECONDS = 2.0
"""How old a look may be that displays are shown, while nothing else asks for a newer one."""

StoreUse = Callable[[], tuple[float, float] | None]
"""Bytes used and bytes there are in the store of shared objects; None while that is unknown."""


class ResourceMeter:
    """Measures when asked, at most once a second; any thread may ask.

    Args:
        processes: those of the session.
        store: see StoreUse; None where there is no such store.
        cores: of the machine, or those that the session may use.
        gpus: None looks for this machine's.
    """

    def __init__(
        self, processes: ProcessTrees, store: StoreUse | None = None, cores: float = 0, gpus: GpuReader | None = None
    ) -> None:
        self.processes = processes
        self._store = store
        self._cores = cores or float(psutil.cpu_count() or 1)
        self._reader = GpuReader() if gpus is None else gpus
        self._lock = threading.Lock()
        self._looked_at = -math.inf
        self._cpu_seconds = math.nan
        self._machine = _machine_times()
        self._values: dict[str, float] = {}
        self._gpus: list[Gpu] = []

    def values(self, age: float = SAMPLE_SECONDS) -> Mapping[str, float]:
        """The metrics by name, from a look that is at most ``age`` seconds old; what is unknown is left out."""
        with self._lock:
            if time.monotonic() - self._looked_at >= age:
                self._look()
            return dict(self._values)

    def shown(self) -> dict[str, Any]:
        """The same for displays: names without ``system/``, ``cores``, and ``gpus`` with the fields of :class:`Gpu`."""
        values = {name.removeprefix("system/"): value for name, value in self.values(SHOWN_SECONDS).items()}
        return {**values, "cores": self._cores, "gpus": [asdict(gpu) for gpu in self._gpus]}

    def _look(self) -> None:
        now = time.monotonic()
        use = self.processes.sample()
        values = {"cpu_seconds_total": use.cpu_seconds, "memory_bytes": use.memory_bytes, "processes": use.processes}
        if self._cpu_seconds <= use.cpu_seconds:
            values["cpu_cores"] = (use.cpu_seconds - self._cpu_seconds) / (now - self._looked_at)
        self._cpu_seconds, self._looked_at = use.cpu_seconds, now
        busy, total = _machine_times()
        if total > self._machine[1]:
            values["machine_cpu_fraction"] = (busy - self._machine[0]) / (total - self._machine[1])
        self._machine = busy, total
        values["machine_memory_fraction"] = psutil.virtual_memory().percent / 100
        self._gpus = self._reader.read()
        if self._gpus:
            values["gpu_fraction"] = sum(gpu.busy_fraction for gpu in self._gpus) / len(self._gpus)
            values["gpu_memory_bytes"] = sum(gpu.memory_bytes for gpu in self._gpus)
            total_memory = sum(gpu.memory_total_bytes for gpu in self._gpus)
            values["gpu_memory_fraction"] = values["gpu_memory_bytes"] / max(total_memory, 1)
        store = None if self._store is None else self._store()
        if store is not None:
            values["object_store_bytes"] = store[0]
            values["object_store_fraction"] = store[0] / max(store[1], 1.0)
        self._values = {f"system/{name}": float(value) for name, value in values.items() if math.isfinite(value)}


def _machine_times() -> tuple[float, float]:
    """CPU seconds since the machine started, of all cores: busy ones, and all."""
    times = psutil.cpu_times()
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # in user and nice already
    return total - times.idle - getattr(times, "iowait", 0.0), total

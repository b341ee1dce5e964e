"""How busy this machine's NVIDIA GPUs are, asked of the driver's own library (NVML), which comes with every driver.

It is called directly, so that nothing need be installed; a look takes well under a millisecond. Structures and
functions: NVIDIA's NVML API reference, "Device Queries".
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Gpu", "GpuReader"]

LIBRARY = "libnvidia-ml.so.1"
_NAME_BYTES = 96


@dataclass(frozen=True)
class Gpu:
    """One GPU now; also what other users' processes do on it."""

    name: str
    busy_fraction: float
    """Share of the driver's last sampling period in which something ran on it."""
    memory_bytes: int
    memory_total_bytes: int


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class GpuReader:
    """Looks at all GPUs of this machine, whichever of them this process may use.

    Args:
        library: NVML's functions; None finds the driver's, and without one there are no GPUs.
    """

    def __init__(self, library: Any = None) -> None:
        self._library = library if library is not None else _find()
        if self._library is not None and self._library.nvmlInit_v2() != 0:
            self._library = None
        self._handles = list(self._devices()) if self._library is not None else []

    def read(self) -> list[Gpu]:
        """The GPUs in the driver's order; one that does not answer is left out."""
        gpus = []
        for name, handle in self._handles:
            load, memory = _Utilization(), _Memory()
            if self._library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) != 0:
                continue
            known = self._library.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(load)) == 0
            gpus.append(Gpu(name, load.gpu / 100 if known else float("nan"), memory.used, memory.total))
        return gpus

    def _devices(self) -> Iterator[tuple[str, ctypes.c_void_p]]:
        count = ctypes.c_uint()
        if self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return
        for index in range(count.value):
            handle, name = ctypes.c_void_p(), ctypes.create_string_buffer(_NAME_BYTES)
            if self._library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) != 0:
                continue
            self._library.nvmlDeviceGetName(handle, name, ctypes.c_uint(_NAME_BYTES))
            yield name.value.decode("utf-8", "replace"), handle


def _find() -> Any:
    with contextlib.suppress(OSError):
        return ctypes.CDLL(LIBRARY)
    return None

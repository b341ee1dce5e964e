"""What a session uses of its machine. The driver's library is acted, in C's types: no machine of ours has a GPU."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

import pytest

from minestudio_nb.contracts.telemetry import METRICS
from minestudio_nb.telemetry import ProcessTrees, ResourceMeter
from minestudio_nb.telemetry.gpus import GpuReader

GPUS = [(b"NVIDIA A", 54, 12 * 2**30, 80 * 2**30), (b"NVIDIA B", 6, 2**30, 80 * 2**30)]


def nvml(gpus: list[tuple[bytes, int, int, int]], mute: int | None = None) -> Any:
    """NVML's functions as C callbacks; ``mute`` is a GPU that answers no question."""

    def function(*types: Any) -> Any:
        return ctypes.CFUNCTYPE(ctypes.c_int, *types)

    integers, handle = ctypes.POINTER(ctypes.c_uint), ctypes.c_void_p

    class Library:
        @function()
        def nvmlInit_v2() -> int:
            return 0

        @function(integers)
        def nvmlDeviceGetCount_v2(count: Any) -> int:
            count[0] = len(gpus)
            return 0

        @function(ctypes.c_uint, ctypes.POINTER(handle))
        def nvmlDeviceGetHandleByIndex_v2(index: int, out: Any) -> int:
            out[0] = index + 1
            return 0

        @function(handle, ctypes.c_void_p, ctypes.c_uint)
        def nvmlDeviceGetName(device: int, out: int, length: int) -> int:
            ctypes.memmove(out, gpus[device - 1][0], min(length, len(gpus[device - 1][0]) + 1))
            return 0

        @function(handle, ctypes.c_void_p)
        def nvmlDeviceGetUtilizationRates(device: int, out: int) -> int:
            (ctypes.c_uint * 2).from_address(out)[:] = gpus[device - 1][1], 99
            return 0

        @function(handle, ctypes.c_void_p)
        def nvmlDeviceGetMemoryInfo(device: int, out: int) -> int:
            if device - 1 == mute:
                return 15  # GPU is lost
            _, _, used, total = gpus[device - 1]
            (ctypes.c_ulonglong * 3).from_address(out)[:] = total, total - used, used
            return 0

    return Library


def test_gpus_are_read_in_the_driver_s_own_structures() -> None:
    one, two = GpuReader(nvml(GPUS)).read()
    assert (one.name, two.name) == ("NVIDIA A", "NVIDIA B")
    assert (one.busy_fraction, one.memory_bytes, one.memory_total_bytes) == (0.54, 12 * 2**30, 80 * 2**30)
    assert two.busy_fraction == 0.06
    assert len(GpuReader(nvml(GPUS, mute=0)).read()) == 1


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minestudio_nb.telemetry.gpus.LIBRARY", "libno-such-thing.so.1")
    assert GpuReader().read() == []


def test_a_look_gives_metrics_of_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = ResourceMeter(ProcessTrees([os.getpid()]), lambda: (25.0, 100.0), 4.0, GpuReader(nvml(GPUS)))
    first = meter.values()
    assert set(first) <= set(METRICS) and "system/cpu_cores" not in first, "a rate needs two looks"
    assert (first["system/object_store_bytes"], first["system/object_store_fraction"]) == (25.0, 0.25)
    assert first["system/gpu_fraction"] == pytest.approx(0.30)
    assert first["system/gpu_memory_bytes"] == 13 * 2**30
    assert first["system/gpu_memory_fraction"] == pytest.approx(13 / 160)
    assert 0 < first["system/machine_memory_fraction"] < 1 and first["system/processes"] >= 1
    assert meter.values() == first, "not looked at again so soon"
    began, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.2:
        pass
    second = meter.values(age=0.0)
    assert set(second) | {"system/machine_cpu_fraction"} == {name for name in METRICS if name.startswith("system/")}
    assert 0 < second["system/cpu_cores"] < 1.5 + 0.5 / (time.monotonic() - began)
    assert 0 <= second.get("system/machine_cpu_fraction", 0.5) <= 1
    shown = meter.shown()
    assert shown["cores"] == 4.0 and shown["gpus"][0]["memory_bytes"] == 12 * 2**30 and shown["memory_bytes"] > 1e7


def test_without_store_and_gpu_their_metrics_are_absent() -> None:
    meter = ResourceMeter(ProcessTrees([os.getpid()]), lambda: None, gpus=GpuReader(nvml([])))
    assert not [name for name in meter.values() if "gpu" in name or "store" in name]

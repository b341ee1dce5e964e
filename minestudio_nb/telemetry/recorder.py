"""Where a part of the system puts its numbers between two deliveries to the hub."""

from __future__ import annotations

import threading

from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.contracts.telemetry import METRICS, MetricBatch, Stat
from minestudio_nb.errors import TelemetryError

__all__ = ["Recorder", "check_metric"]


def check_metric(name: str) -> None:
    """TelemetryError with the nearest name when the catalogue ``METRICS`` has no metric ``name``."""
    if name not in METRICS:
        raise TelemetryError(
            f"A metric must be declared in minestudio_nb.contracts.telemetry.METRICS; {name!r} is not"
            f"{nearest_hint(name, METRICS)}. "
            "Use a declared name, or declare this one with its unit, reduction and help."
        )


class Recorder:
    """Collects statistics until :meth:`flush`. Any thread may use it. ::

    recorder.add("ppo/clip_fraction", fraction, weight=samples)
    sink.metrics(recorder.flush())
    """

    def __init__(self) -> None:
        self._batch: MetricBatch = {}
        self._lock = threading.Lock()

    def add(self, name: str, value: float, weight: float = 1.0) -> None:
        """Adds one observation of ``name``; ``weight`` is the number of samples that ``value`` is the mean of.

        Raises TelemetryError for a name that is not in the catalogue. NaN and infinity are kept: they are news.
        """
        check_metric(name)
        with self._lock:
            self._batch.setdefault(name, Stat()).add(float(value), float(weight))

    def flush(self) -> MetricBatch:
        """What was added since the last flush; the caller owns it."""
        with self._lock:
            batch, self._batch = self._batch, {}
        return batch

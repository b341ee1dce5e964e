"""CPU time and memory of the processes of a session."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

__all__ = ["ProcessTrees", "ResourceUse"]


@dataclass(frozen=True)
class ResourceUse:
    """What a set of processes has used."""

    cpu_seconds: float
    """User and system time since the processes started, dead ones included."""
    memory_bytes: int
    """Resident memory of the living ones; pages that they share count in each."""
    processes: int
    """How many live."""


class ProcessTrees:
    """Follows a set of processes with all their descendants.

    A process that ended keeps the CPU time of the last :meth:`sample` that saw it, and a descendant that was seen once
    is followed even after its parent died. What starts and ends between two samples is missed, so sample every few
    seconds.
    """

    def __init__(self, roots: Iterable[int] = ()) -> None:
        self._known: dict[tuple[int, float], float] = {}
        self._processes: dict[tuple[int, float], psutil.Process] = {}
        self._lock = threading.Lock()
        for pid in roots:
            self.add(pid)

    def add(self, pid: int) -> bool:
        """Follows process ``pid`` from now on; False when there is no such process."""
        try:
            process = psutil.Process(pid)
            key = (pid, process.create_time())
        except psutil.Error:
            return False
        with self._lock:
            self._processes[key] = process
            self._known.setdefault(key, 0.0)
        return True

    def sample(self) -> ResourceUse:
        """Looks at every process now."""
        with self._lock:
            self._find_descendants()
            memory = 0
            for key, process in list(self._processes.items()):
                use = _look_at(process)
                if use is None:
                    del self._processes[key]
                    continue
                self._known[key] = max(self._known[key], use[0])
                memory += use[1]
            return ResourceUse(sum(self._known.values()), memory, len(self._processes))

    def _find_descendants(self) -> None:
        found: set[tuple[int, float]] = set()
        for key, process in list(self._processes.items()):
            if key in found:  # with its descendants; each look for some reads about every process of the machine
                continue
            try:
                children = [(child.pid, child.create_time(), child) for child in process.children(recursive=True)]
            except psutil.Error:
                continue
            for pid, created, child in children:
                found.add((pid, created))
                self._processes.setdefault((pid, created), child)
                self._known.setdefault((pid, created), 0.0)


def _look_at(process: psutil.Process) -> tuple[float, int] | None:
    """CPU seconds and resident bytes, or None when the process is gone or only waits to be collected by its parent."""
    try:
        with process.oneshot():
            times = process.cpu_times()
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return times.user + times.system, process.memory_info().rss
    except psutil.Error:
        return None

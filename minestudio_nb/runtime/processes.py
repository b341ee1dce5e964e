"""The processes of one cluster, found by a mark in their environment, and their end.

Every process of a cluster of ours inherits ``MSNB_CLUSTER_ID`` from its head: Ray's own servers, actors, env workers,
and programs that an environment starts in a process group of their own. So a process is ended because it carries the
mark of the cluster that is being stopped, never because of its name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

import psutil

from minestudio_nb.errors import ResourceError
from minestudio_nb.runs.record import is_alive

__all__ = ["CLUSTER_MARK", "end_all", "end_marked", "find_marked", "is_alive"]

logger = logging.getLogger(__name__)

CLUSTER_MARK = "MSNB_CLUSTER_ID"
"""Environment variable that carries the id of the cluster."""


def find_marked(cluster_id: str, spare: Collection[int] = ()) -> list[psutil.Process]:
    """Living processes that carry the mark ``cluster_id``, without the pids in ``spare``."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in spare and process.environ().get(CLUSTER_MARK) == cluster_id:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # gone meanwhile, a zombie, or somebody else's
    return found


def end_marked(cluster_id: str, timeout: float, spare: Collection[int] = ()) -> list[psutil.Process]:
    """Kills all marked processes and waits until they are gone; returns those that outlived ``timeout`` seconds.

    Looks again after each round, since a process may have started a child while it was being killed.
    """
    deadline = time.monotonic() + timeout
    while True:
        remaining = find_marked(cluster_id, spare)
        if not remaining or time.monotonic() >= deadline:
            return remaining
        for process in remaining:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(remaining, timeout=min(2.0, max(0.0, deadline - time.monotonic())))


def end_all(root: int | None, cluster_id: str, timeout: float, whose: str, spare: Collection[int] = ()) -> None:
    """Asks ``root``, where it lives, to end all it started, and kills what is left after half of ``timeout`` seconds.

    Raises ResourceError naming the processes of ``whose`` that could not be ended.
    """
    deadline = time.monotonic() + timeout
    if root is not None:
        try:
            process = psutil.Process(root)
            process.terminate()
            process.wait(timeout=timeout / 2)
        except psutil.NoSuchProcess:
            logger.debug("process %d of %s ended by itself", root, whose)
        except psutil.TimeoutExpired:
            logger.warning("process %d of %s did not end when asked to; killing it", root, whose)
    left = end_marked(cluster_id, max(1.0, deadline - time.monotonic()), spare)
    if left:
        names = ", ".join(f"{process.pid} ({process.name()})" for process in left)
        raise ResourceError(f"These processes of {whose} could not be ended: {names}.")

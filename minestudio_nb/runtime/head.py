"""The process that holds a session's own Ray cluster: ``python -m minestudio_nb.runtime.head --session NAME ...``.

Ray's servers are its children and die with it, even when it is killed: the kernel sends them a signal, actors end when
their raylet is gone, and env workers when their actor is gone. On any orderly end it also kills whatever still carries
the cluster's mark. It ends

- on SIGTERM;
- not detached: when its standard input closes, which happens however the process that started it ends;
- detached: when the session's supervisor is gone, or has finished, failed or stopped and nobody has asked it anything
  for half an hour.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError

from minestudio_nb.runtime.cluster import ClusterRecord
from minestudio_nb.runtime.names import NAMESPACE, SUPERVISOR, actor_name
from minestudio_nb.runtime.processes import CLUSTER_MARK, end_marked

__all__ = ["UNCLAIMED_SECONDS", "main"]

UNCLAIMED_SECONDS = 30 * 60.0
"""A detached cluster ends when its session is over and nobody has asked for it for so long, or never began."""
START_ATTEMPTS = 3
_LOOK_SECONDS = 10.0
"""How often a detached head looks at the supervisor, and any head at its parent."""

logger = logging.getLogger("minestudio_nb.head")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Holds the Ray cluster of one session.")
    parser.add_argument("--session", required=True)
    parser.add_argument("--record", required=True, type=Path, help="where cluster.json is written")
    parser.add_argument("--temp-dir", required=True, help="directory for Ray's sockets and logs; removed at the end")
    parser.add_argument("--token-path", default="", help="file with the authentication token")
    parser.add_argument("--cpus", required=True, type=int)
    parser.add_argument("--gpus", required=True, type=int)
    parser.add_argument("--object-store-bytes", required=True, type=int)
    parser.add_argument("--detached", action="store_true", help="outlive the process that started this one")
    parser.add_argument("--unclaimed-seconds", type=float, default=UNCLAIMED_SECONDS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Starts the cluster, says ``ready`` on standard output, waits for one of the reasons to end, and cleans up."""
    arguments = _arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, _raise_exit)  # until the cluster is up, an order to end is an exception
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    try:
        record = _start_ray(arguments)
        signal.signal(signal.SIGTERM, lambda _signal, _frame: ended.set())
        record.write(arguments.record)
        _say_ready()
        reason = _wait_detached(arguments, ended) if arguments.detached else _wait_attached(parent, ended)
        logger.info("ending: %s", reason)
        return 0
    finally:
        _clean_up(arguments)


def _raise_exit(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


def _start_ray(arguments: argparse.Namespace) -> ClusterRecord:
    context = _init_ray(arguments)
    own = psutil.Process()
    return ClusterRecord(
        address=context.address_info["gcs_address"],
        pid=own.pid,
        create_time=own.create_time(),
        session=arguments.session,
        cluster_id=os.environ[CLUSTER_MARK],
        temp_dir=arguments.temp_dir,
        token_path=arguments.token_path,
        detached=arguments.detached,
        started_at=time.time(),
        host=socket.gethostname(),
    )


def _init_ray(arguments: argparse.Namespace) -> Any:
    """``ray.init``, tried anew where a part of Ray was not up in time, as happens on a loaded machine."""
    for attempt in range(START_ATTEMPTS, 0, -1):
        try:
            return ray.init(
                num_cpus=arguments.cpus,
                num_gpus=arguments.gpus,
                object_store_memory=arguments.object_store_bytes,
                include_dashboard=False,
                namespace=NAMESPACE,
                log_to_driver=False,
                configure_logging=False,
                _temp_dir=arguments.temp_dir,
            )
        except Exception:  # Ray raises just that when its node is late
            if attempt == 1:
                raise
            logger.exception("Ray did not start; trying again")
            ray.shutdown()
            end_marked(os.environ[CLUSTER_MARK], timeout=20.0, spare=(os.getpid(),))
    raise AssertionError("unreachable")


def _say_ready() -> None:
    os.write(1, b"ready\n")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # the reader is gone; nothing that prints later may meet a closed pipe
    os.close(null)


def _wait_attached(parent: int, ended: threading.Event) -> str:
    """Until the parent closes its end of the pipe or is gone (a forked child of it may hold the pipe open)."""
    closed = threading.Event()

    def read_to_the_end() -> None:
        while os.read(0, 4096):
            pass
        closed.set()
        ended.set()

    threading.Thread(target=read_to_the_end, daemon=True).start()
    while not ended.wait(_LOOK_SECONDS):
        if os.getppid() != parent:
            return "the process that started this cluster is gone"
    return "the process that started this cluster has closed it" if closed.is_set() else "asked to"


def _wait_detached(arguments: argparse.Namespace, ended: threading.Event) -> str:
    """Until asked to, or the supervisor has been gone, silent or unclaimed for long enough."""
    last_sign = time.monotonic()
    seen = False
    while not ended.wait(_LOOK_SECONDS):
        try:
            supervisor = ray.get_actor(actor_name(arguments.session, SUPERVISOR), namespace=NAMESPACE)
            seen = True
            unclaimed: float = ray.get(supervisor.unclaimed_seconds.remote(), timeout=_LOOK_SECONDS)
            last_sign = time.monotonic()
        except (GetTimeoutError, ActorUnavailableError):  # it hangs, or Ray is starting it again
            unclaimed = time.monotonic() - last_sign
        except (ValueError, RayActorError):
            if seen:
                return "the supervisor of the session is gone"
            unclaimed = time.monotonic() - last_sign
        if unclaimed > arguments.unclaimed_seconds:
            return f"nobody has asked for the session for {unclaimed:.0f} s"
    return "asked to"


def _clean_up(arguments: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ray.shutdown()
    end_marked(os.environ[CLUSTER_MARK], timeout=20.0, spare=(os.getpid(),))
    shutil.rmtree(arguments.temp_dir, ignore_errors=True)
    arguments.record.unlink(missing_ok=True)


if __name__ == "__main__":
    raise SystemExit(main())

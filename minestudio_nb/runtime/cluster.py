"""A Ray cluster of a session's own: its head process, its record on disk, its end; and connecting to any cluster.

The head (:mod:`minestudio_nb.runtime.head`) is a process of its own, so that the process that holds the notebook may
die without the cluster (detached), or take it along whatever kills it (not detached). ``cluster.json`` in the run
directory says everything that another process needs to find the cluster or to end it.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from select import select
from typing import Any

import ray

from minestudio_nb.errors import ResourceError, RunError, SessionStateError
from minestudio_nb.runs import write_atomically
from minestudio_nb.runtime.names import NAMESPACE
from minestudio_nb.runtime.processes import CLUSTER_MARK, end_all, end_marked, is_alive
from minestudio_nb.runtime.reaching import adopt_token, require_reachable

__all__ = [
    "ALLOW_UNAUTHENTICATED",
    "ClusterRecord",
    "HeadSettings",
    "connect",
    "connected_to",
    "ensure_token",
    "node_environment",
    "start_head",
    "stop_head",
    "tail",
]

logger = logging.getLogger(__name__)

ALLOW_UNAUTHENTICATED = "MSNB_ALLOW_UNAUTHENTICATED_RAY"
"""Environment variable that must be 1 for a cluster without token authentication."""

_TOKEN_FILE = Path("~/.ray/auth_token")
"""Where Ray itself looks for the token."""

_LIGHT_RAY = {
    "RAY_enable_worker_prestart": "0",  # a Ray worker costs over a CPU second, and actors are the only ones used
    # On a loaded machine the default of 30 s fails starts that would succeed. A raylet that is not there after a minute
    # never will be: it gives up when its agents need more than 15 s, unnoticed by ray.init, and is better tried anew.
    "RAY_raylet_start_wait_time_s": "60",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray Client starts a Python process for each connection, and gives it 30 s by default.
    "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120",
}
"""Settings of Ray in the head's environment, from where every process of the cluster inherits them."""


@dataclass(frozen=True)
class ClusterRecord:
    """What ``cluster.json`` holds: the head of a session's own cluster."""

    address: str
    """``ip:port`` of the control store."""
    pid: int
    create_time: float
    """Start of the head process, Unix seconds; tells it from another process with the same pid."""
    session: str
    cluster_id: str
    """Mark in the environment of every process of the cluster."""
    temp_dir: str
    token_path: str
    detached: bool
    started_at: float
    host: str = ""
    """Name of the machine; a run directory may lie where several machines see it."""

    @classmethod
    def read(cls, path: Path) -> ClusterRecord:
        """The record at ``path``; RunError when there is none or it cannot be read."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise RunError(
                f"There is no {path}: the session never had a cluster of its own, or it was stopped. "
                "Start it again with load_config(..., resume=)."
            ) from None
        except (ValueError, TypeError) as error:
            raise RunError(f"{path} is not the record of a cluster ({error}). Remove it.") from error

    def write(self, path: Path) -> None:
        """Writes it so that a reader never sees half of it."""
        write_atomically(path, json.dumps(asdict(self), indent=2) + "\n")

    @property
    def elsewhere(self) -> bool:
        """Whether it is on another machine, whose processes cannot be seen from here."""
        return bool(self.host) and self.host != socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether the head process still runs; true for one on another machine, as far as can be known."""
        return self.elsewhere or is_alive(self.pid, self.create_time)


@dataclass(frozen=True)
class HeadSettings:
    """What a head is started with."""

    session: str
    record_path: Path
    """Where ``cluster.json`` goes; the head's log lies beside it."""
    detached: bool
    cpus: int
    """CPUs that the cluster offers. Logical: the plan may ask for more than the machine has when parts take turns."""
    gpus: int
    object_store_bytes: int


def ensure_token(make: bool = True) -> Path | None:
    """The file with the token that authenticates to Ray, made if need be and readable by its owner only.

    Returns None where the token comes from ``RAY_AUTH_TOKEN`` or where a cluster without authentication is allowed.
    Raises ResourceError when authentication is switched off without :data:`ALLOW_UNAUTHENTICATED`, and when there is no
    token and none shall be made (``make=False``), since a new one would not be that of an existing cluster.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        if os.environ.get(ALLOW_UNAUTHENTICATED) == "1":
            return None
        raise ResourceError(
            f"RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']} would let everybody who reaches this machine run code in the "
            f"session, since Ray listens on all network interfaces. Unset it, or set {ALLOW_UNAUTHENTICATED}=1 as well."
        )
    if os.environ.get("RAY_AUTH_TOKEN"):
        return None
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or _TOKEN_FILE).expanduser()
    if not make and not path.exists():
        raise ResourceError(
            f"There is no token in {path}. Copy that file from the machine where the cluster's head runs, readable by "
            "you alone (chmod 600), and try again."
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if stat.S_IMODE(path.stat().st_mode) != 0o600:
            path.chmod(0o600)
    else:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
    return path


def start_head(settings: HeadSettings, timeout: float) -> tuple[ClusterRecord, subprocess.Popen[bytes]]:
    """Starts a head process and waits until its cluster answers.

    The returned process's standard input is what keeps a head alive that is not detached: keep the object. Raises
    RunError when the session has a living head already, ResourceError with the end of its log when the head does not
    come up within ``timeout`` seconds; nothing is left running then.
    """
    _refuse_second_head(settings.record_path)
    token = ensure_token()
    temp_dir = tempfile.mkdtemp(prefix="msnb-")  # short: the paths of Ray's sockets in it may have 107 characters
    cluster_id = secrets.token_hex(16)
    log_path = settings.record_path.with_name("head.log")
    command = [sys.executable, "-m", "minestudio_nb.runtime.head", "--session", settings.session]
    command += ["--record", str(settings.record_path), "--temp-dir", temp_dir, "--token-path", str(token or "")]
    command += ["--cpus", str(settings.cpus), "--gpus", str(settings.gpus)]
    command += ["--object-store-bytes", str(settings.object_store_bytes)]
    command += ["--detached"] if settings.detached else []
    with open(log_path, "ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if settings.detached else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=node_environment(cluster_id, token),
            start_new_session=True,  # Ctrl-C in the terminal must reach the driver only
        )
    ready = _read_line(process, timeout)
    if ready != b"ready\n":
        end_marked(cluster_id, timeout=20.0)
        process.wait(timeout=20.0)
        shutil.rmtree(temp_dir, ignore_errors=True)
        said = ready.decode(errors="replace").strip() or f"nothing within {timeout:.0f} s, or it ended"
        raise ResourceError(f"Ray did not start: {said}. The end of {log_path}:\n{tail(log_path)}")
    return ClusterRecord.read(settings.record_path), process


def stop_head(record: ClusterRecord, record_path: Path, timeout: float) -> None:
    """Ends the recorded head and everything that carries its mark, and removes the record. Idempotent.

    Asks the head first, and kills what is left after half of ``timeout`` seconds. A head on another machine is left
    alone: it ends by itself when its session has. Raises ResourceError naming the processes that could not be ended.
    """
    if record.elsewhere:
        return
    root = record.pid if record.alive else None
    end_all(root, record.cluster_id, timeout, f"session {record.session!r}")
    shutil.rmtree(record.temp_dir, ignore_errors=True)
    record_path.unlink(missing_ok=True)


def connect(address: str, token_path: str | None = None) -> bool:
    """Connects this process to the cluster at ``address``; False when it was connected to that very cluster already.

    Raises SessionStateError when the process is connected to another cluster; ResourceError, within seconds and with
    the cause, when none answers, refuses the token, or runs another version of Ray or Python.
    """
    if ray.is_initialized():
        here = connected_to()
        if address in ("auto", here):
            return False
        raise SessionStateError(
            f"One process can be connected to one Ray cluster at a time, and this one is connected to {here}. "
            "Stop the other session first, call ray.shutdown(), or pass address='auto' to run in that cluster."
        )
    adopt_token(token_path)
    if address == "auto":
        address = _running_here()
    if address != "auto":
        require_reachable(address)
    for left in reversed(range(CONNECTION_ATTEMPTS)):
        try:
            with _quiet_ray(), _signals_kept():
                ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
            break
        except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
            if not left or _SERVER_TOO_SLOW not in str(error):
                raise ResourceError(_refused(address, error)) from error
    _connection["address"] = address
    return True


CONNECTION_ATTEMPTS = 3
_SERVER_TOO_SLOW = "Initialization failure from server"
"""What Ray Client says when the process that its server starts for each client was not there within 30 seconds, Ray's
own limit, which a busy head does not keep."""

_connection: dict[str, str] = {}
"""``address``, as it was given, of the cluster that this process was connected to last."""


def connected_to() -> str:
    """The address by which this process reached the cluster that it is connected to."""
    if ray.util.client.ray.is_connected():
        return _connection.get("address", "a cluster, by Ray Client")
    return str(ray.get_runtime_context().gcs_address)


def _running_here() -> str:
    """The cluster that ``auto`` means: ``RAY_ADDRESS``, the one whose node was started on this machine by
    ``python -m minestudio_nb.cluster``, or else whatever Ray finds."""
    from minestudio_nb.runtime.nodes import living_nodes

    named = os.environ.get("RAY_ADDRESS", "")
    if named and named != "auto":
        return named
    addresses = list(dict.fromkeys(node.address for node in living_nodes()))
    if len(addresses) > 1:
        raise ResourceError(
            f"Nodes of several Ray clusters run on this machine ({', '.join(addresses)}), and address='auto' does not "
            "say which is meant. Give one of these addresses."
        )
    return addresses[0] if addresses else "auto"


def _refused(address: str, error: Exception) -> str:
    text = str(error)
    if address == "auto":
        return (
            "No Ray cluster runs on this machine, so address='auto' finds none. Start one with python -m "
            "minestudio_nb.cluster head, give its address, or leave address=None for a cluster of the session's own."
        )
    if "version mismatch" in text.lower():
        return f"The cluster at {address} runs another version of Ray or Python: {' '.join(text.split())}"
    if "Can't find" in text or "node_ip_address.json" in text or "No node info" in text:
        return (
            f"This machine is no node of the Ray cluster at {address}, which an address without ray:// asks for. Make "
            f"it one (python -m minestudio_nb.cluster worker {address}), or use the ray:// address of the head."
        )
    return (
        f"No connection to the Ray cluster at {address!r}: {text}. Check the address and that the token is that "
        "cluster's, or leave address=None for a cluster of the session's own."
    )


def _refuse_second_head(record_path: Path) -> None:
    if not record_path.exists():
        return
    record = ClusterRecord.read(record_path)
    if record.alive:
        raise RunError(
            f"The session {record.session!r} runs already (head process {record.pid}"
            f"{' on ' + record.host if record.elsewhere else ''}, since "
            f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(record.started_at))}). "
            f"OnlineSession.attach({record.session!r}) finds it again."
        )
    stop_head(record, record_path, timeout=20.0)


def node_environment(cluster_id: str, token: Path | None) -> dict[str, str]:
    """The environment in which Ray's servers are started, and which all processes of the node inherit."""
    environment = {**os.environ, **_LIGHT_RAY, CLUSTER_MARK: cluster_id}
    environment.pop("RAY_ADDRESS", None)
    if os.environ.get(ALLOW_UNAUTHENTICATED) != "1":
        environment["RAY_AUTH_MODE"] = "token"
    if token is not None:
        environment["RAY_AUTH_TOKEN_PATH"] = str(token)
    return environment


def _read_line(process: subprocess.Popen[bytes], timeout: float) -> bytes:
    """The first line of the process's standard output, or its beginning if it ended or ``timeout`` seconds passed."""
    assert process.stdout is not None
    line, deadline = b"", time.monotonic() + timeout
    while not line.endswith(b"\n"):
        readable, _, _ = select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(process.stdout.fileno(), 4096) if readable else b""
        if not piece:
            break
        line += piece
    process.stdout.close()
    return line


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a text file."""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Puts this process's handler of SIGTERM back, which Ray replaces by one that aborts."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and Ray sets none elsewhere
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler if handler is not None else signal.SIG_DFL)


@contextmanager
def _quiet_ray() -> Iterator[None]:
    """Silences Ray's remarks about its own start, which would land between a notebook's cells."""
    loggers: list[Any] = [logging.getLogger("ray"), logging.getLogger("ray._private.worker")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

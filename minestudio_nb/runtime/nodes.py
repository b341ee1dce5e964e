"""Nodes of a Ray cluster that lasts longer than a session: started, found again and ended on this machine.

What ``python -m minestudio_nb.cluster`` does. Each node is one ``ray start --block`` in a process group of its own,
which ends all of the node when a part of it dies. A record per node says how to find and how to end it; its processes
are known by their mark (:mod:`.processes`), so other clusters on the machine are never touched.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from minestudio_nb.errors import ResourceError, RunError
from minestudio_nb.runs import write_atomically
from minestudio_nb.runs.directory import check_run_name
from minestudio_nb.runtime.cluster import ensure_token, node_environment, tail
from minestudio_nb.runtime.processes import end_all, end_marked, find_marked, is_alive
from minestudio_nb.runtime.reaching import adopt_token, require_reachable

__all__ = ["DIRECTORY", "NodePorts", "NodeRecord", "NodeSettings", "living_nodes", "start_node", "stop_node"]

DIRECTORY = Path("~/.minestudio_nb/nodes")
"""Where records and logs of this machine's nodes lie, unless ``MSNB_NODES`` names another directory."""
STARTED = "Ray runtime started."
"""What ``ray start`` prints when a node is up."""
START_ATTEMPTS = 3
ATTEMPT_SECONDS = 130.0
"""Deadline of one attempt; a start takes 5 s, and a minute or more where the machine is overloaded."""
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class NodePorts:
    """The ports on which a node's parts listen. All fixed, so that a firewall can be told of them.

    Fixed ports of the agents also spare the node a wait for files in which they would write them, and Ray gives a node
    up for which that takes 15 s (ray-project/ray issue 65983).
    """

    first: int = 6380
    """Of six in a row: node manager, object manager, metrics, agent (HTTP), agent (gRPC), runtime environments."""
    workers: tuple[int, int] = (11000, 11999)
    """First and last of those that actors listen on; each process of a session takes one."""
    control: int | None = None
    """Of the control store; the head's only."""
    client: int | None = None
    """Of the Ray Client server, for ``ray://`` addresses; the head's only."""

    def arguments(self) -> list[str]:
        """For ``ray start``."""
        names = ("node-manager", "object-manager", "metrics-export", "dashboard-agent-listen", "dashboard-agent-grpc")
        given = {f"{name}-port": self.first + offset for offset, name in enumerate((*names, "runtime-env-agent"))}
        given |= {"min-worker-port": self.workers[0], "max-worker-port": self.workers[1]}
        given |= {"port": self.control} if self.control else {}
        given |= {"ray-client-server-port": self.client} if self.client else {}
        return [f"--{name}={port}" for name, port in given.items()]

    def require_free(self) -> None:
        """ResourceError naming a port that somebody listens on already."""
        wanted = [self.first + offset for offset in range(6)]
        wanted += [port for port in (self.control, self.client) if port]
        if self.control and self.workers[0] <= self.control <= self.workers[1]:
            raise ResourceError(f"--port {self.control} lies among those of workers; give other --worker-ports.")
        for port in wanted:
            with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("", port))
                except OSError as error:
                    raise ResourceError(
                        f"Port {port} cannot be used on this machine: {error.strerror}. If a node runs here already, "
                        "give another --name, --port, --client-port, --node-ports and --worker-ports, or stop it first."
                    ) from None


@dataclass(frozen=True)
class NodeSettings:
    """What a node is started with. ``head_address`` is None for the head itself, else ``host:port`` of the head."""

    name: str
    head_address: str | None
    ip: str | None
    """Address under which the other machines reach this one; None: Ray finds one out."""
    ports: NodePorts
    cpus: int | None = None
    """None: as many as the machine has; likewise the GPUs."""
    gpus: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)
    object_store_bytes: int | None = None
    temp_dir: str | None = None
    """For Ray's sockets, logs and spilled objects; None: a new directory in /tmp, removed at the end."""


@dataclass(frozen=True)
class NodeRecord:
    """A node of this machine."""

    name: str
    address: str
    """``host:port`` of the cluster's head."""
    client_address: str | None
    """``ray://host:port``, of a head only."""
    pid: int
    create_time: float
    cluster_id: str
    """Mark in the environment of every process of the node."""
    temp_dir: str
    started_at: float
    log: str

    @property
    def is_head(self) -> bool:
        """Whether it is the head of its cluster."""
        return self.client_address is not None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return is_alive(self.pid, self.create_time)


def directory() -> Path:
    """Where the records of this machine's nodes are."""
    return Path(os.environ.get("MSNB_NODES") or DIRECTORY).expanduser()


def known_nodes() -> list[NodeRecord]:
    """All nodes with a record, the head first; some may have died."""
    found = []
    for path in sorted(directory().glob("*.json")):
        try:
            found.append(NodeRecord(**json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError) as error:
            raise RunError(f"{path} is not the record of a node ({error}). Remove it.") from error
    return sorted(found, key=lambda node: not node.is_head)


def living_nodes() -> list[NodeRecord]:
    """Those nodes of this machine that run, the head first."""
    return [node for node in known_nodes() if node.alive]


def start_node(settings: NodeSettings) -> NodeRecord:
    """Starts a node and returns when it belongs to the cluster; it stays until :func:`stop_node`.

    Raises RunError when one of that name runs here already, ResourceError when a port is taken, there is no
    directory ``temp_dir``, the head cannot be reached or refuses the token, or the node does not come up; nothing is
    left running then.
    """
    check_run_name(settings.name)
    if any(node.name == settings.name for node in living_nodes()):
        raise RunError(f"A node named {settings.name!r} runs on this machine already. Stop it, or give another --name.")
    settings.ports.require_free()
    if settings.temp_dir is not None:
        _require_directory(settings.temp_dir)
    token = ensure_token(make=settings.head_address is None)
    if settings.head_address is not None:
        adopt_token(None if token is None else str(token))
        require_reachable(settings.head_address)
    directory().mkdir(mode=0o700, parents=True, exist_ok=True)
    log = directory() / f"{settings.name}.log"
    log.unlink(missing_ok=True)
    for _ in range(START_ATTEMPTS):
        record = _try_start(settings, token, log)
        if record is not None:
            write_atomically(_path(record.name), json.dumps(asdict(record), indent=2) + "\n")
            return record
    raise ResourceError(f"The Ray node did not start, {START_ATTEMPTS} times. The end of {log}:\n{tail(log)}")


def stop_node(record: NodeRecord, timeout: float = 30.0) -> None:
    """Ends a node and everything that carries its mark, and removes its record. Idempotent.

    Raises ResourceError naming the processes that could not be ended within ``timeout`` seconds.
    """
    root = record.pid if record.alive else None
    end_all(root, record.cluster_id, timeout, f"node {record.name!r}", spare=(os.getpid(),))
    if record.temp_dir:
        shutil.rmtree(record.temp_dir, ignore_errors=True)
    _path(record.name).unlink(missing_ok=True)


def processes_of(record: NodeRecord) -> int:
    """How many processes belong to a node, those of sessions included."""
    return len(find_marked(record.cluster_id))


def _path(name: str) -> Path:
    return directory() / f"{name}.json"


def _require_directory(path: str) -> None:
    """ResourceError where Ray could not put its files into ``path``."""
    what = "does not exist" if not os.path.exists(path) else "is no directory" if not os.path.isdir(path) else ""
    if what or not os.access(path, os.W_OK | os.X_OK):
        raise ResourceError(
            f"--temp-dir takes a directory in which files can be made; {path!r} {what or 'cannot be written to'}. "
            "Make it first, or leave the option out for a new one in /tmp."
        )


def _try_start(settings: NodeSettings, token: Path | None, log: Path) -> NodeRecord | None:
    """One attempt; None when the node did not come up in time, and nothing of it runs any more."""
    cluster_id = secrets.token_hex(16)
    temp_dir = os.path.abspath(settings.temp_dir or tempfile.mkdtemp(prefix="msnb-"))
    with open(log, "ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            _command(settings, temp_dir),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=node_environment(cluster_id, token),
            start_new_session=True,  # it outlives the terminal
            cwd=temp_dir,  # of which actors would else see whatever lies where the command was given
        )
    if not _came_up(process, log, begin):
        end_marked(cluster_id, timeout=20.0, spare=(os.getpid(),))
        process.wait(timeout=20.0)
        _keep_last_words(Path(temp_dir), log)
        if settings.temp_dir is None:
            shutil.rmtree(temp_dir, ignore_errors=True)
        return None
    _keep(process)
    ports = settings.ports
    host = settings.ip or _said_ip(log)
    return NodeRecord(
        name=settings.name,
        address=settings.head_address or f"{host}:{ports.control}",
        client_address=f"ray://{host}:{ports.client}" if settings.head_address is None else None,
        pid=process.pid,
        create_time=psutil.Process(process.pid).create_time(),
        cluster_id=cluster_id,
        temp_dir=temp_dir if settings.temp_dir is None else "",
        started_at=time.time(),
        log=str(log),
    )


def _command(settings: NodeSettings, temp_dir: str) -> list[str]:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    if settings.head_address is None:
        command += ["--head", "--include-dashboard=false", "--dashboard-host=127.0.0.1", "--no-monitor"]
    else:
        command += [f"--address={settings.head_address}"]
    command += ["--include-log-monitor=false"]  # sessions have no use for it, nor for the autoscaler's monitor above
    command += [f"--temp-dir={temp_dir}", *settings.ports.arguments()]
    command += [f"--node-ip-address={settings.ip}"] if settings.ip else []
    command += [f"--num-cpus={settings.cpus}"] if settings.cpus is not None else []
    command += [f"--num-gpus={settings.gpus}"] if settings.gpus is not None else []
    if settings.labels:
        command += ["--labels=" + ",".join(f"{name}={value}" for name, value in settings.labels.items())]
    if settings.resources:
        command += ["--resources=" + json.dumps(dict(settings.resources))]
    if settings.object_store_bytes is not None:
        command += [f"--object-store-memory={settings.object_store_bytes}"]
    return command


def _came_up(process: subprocess.Popen[bytes], log: Path, begin: int) -> bool:
    deadline, pause = time.monotonic() + ATTEMPT_SECONDS, threading.Event()
    while time.monotonic() < deadline:
        if STARTED.encode() in log.read_bytes()[begin:]:
            return True
        if process.poll() is not None:
            return False
        pause.wait(LOOK_SECONDS)
    return False


def _keep_last_words(temp_dir: Path, log: Path) -> None:
    """Adds to the node's log what Ray's servers said last, which ``ray start`` keeps to itself."""
    with open(log, "a", encoding="utf-8") as output:
        for name in ("gcs_server.out", "raylet.out", "raylet.err"):
            for path in temp_dir.glob(f"session_2*/logs/{name}"):
                output.write(f"\n{name}:\n{tail(path, 3)}\n")


_kept: list[subprocess.Popen[bytes]] = []
"""Nodes that this process has started and that outlive it; a forgotten Popen would complain of that."""


def _keep(process: subprocess.Popen[bytes]) -> None:
    _kept.append(process)


def _said_ip(log: Path) -> str:
    """The address that Ray chose for this machine, from what it printed."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return text.rpartition("Local node IP: ")[2].split()[0]


def parse_pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """``["kind=cpu,rack=2", "gpu=a"]`` as a mapping; ResourceError for a part without ``=``."""
    pairs = {}
    for part in ",".join(texts).split(","):
        if not part:
            continue
        name, equals, value = part.partition("=")
        if not equals or not name or not value:
            raise ResourceError(f"--{what} takes name=value pairs separated by commas, {part!r} came.")
        pairs[name] = value
    return pairs


def parse_amounts(texts: Sequence[str]) -> dict[str, float]:
    """``["display=1,license=0.5"]`` as numbers by name; ResourceError for what is none."""
    amounts = {}
    for name, text in parse_pairs(texts, "resources").items():
        try:
            amounts[name] = float(text)
        except ValueError:
            raise ResourceError(f"--resources takes numbers, {name}={text} came.") from None
    return amounts

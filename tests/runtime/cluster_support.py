"""Clusters that are started as a user starts them, by ``python -m minestudio_nb.cluster``, on ports that are free."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minestudio_nb.runtime.processes import CLUSTER_MARK
from tests.runtime.ray_support import REPOSITORY

NODE_SECONDS = 500.0
"""Deadline of a node's start, which makes up to three attempts."""


class ClusterOfNodes:
    """A head and further nodes, all on this machine, each with a working directory and ports of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.token = root / "token"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
            "MSNB_NODES": str(root / "nodes"),
            "RAY_AUTH_TOKEN_PATH": str(self.token),
        }
        for name in (CLUSTER_MARK, "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            self.environment.pop(name, None)
        self._ports = free_block(40)
        self.port, self.client_port = self._ports + 38, self._ports + 39
        self.address = f"127.0.0.1:{self.port}"
        self.client_address = f"ray://127.0.0.1:{self.client_port}"
        self._nodes = 0
        self.before: list[str] = []
        """What comes before every command, such as a network namespace to run it in."""

    def command(self, *arguments: str) -> str:
        """Output of a command that must succeed."""
        done = subprocess.run(
            [*self.before, sys.executable, "-m", "minestudio_nb.cluster", *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=NODE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_head(self, *arguments: str) -> str:
        """Starts the head; returns what the command said."""
        ports = ["--port", str(self.port), "--client-port", str(self.client_port)]
        said = self.command("head", *ports, *self._own(), *arguments)
        self.address = next(line.split()[-1] for line in said.splitlines() if "cluster worker" in line)
        return said

    def start_worker(self, name: str, *arguments: str) -> str:
        """Starts a further node."""
        return self.command("worker", self.address, "--name", name, *self._own(), *arguments)

    def stop(self) -> None:
        """Ends all nodes."""
        self.command("stop")

    def _own(self) -> list[str]:
        """Ports for one more node: six of its own, and a range for actors."""
        self._nodes += 1
        first = 30000 + 400 * ((self._ports // 40 + self._nodes) % 60)
        node_ports = str(self._ports + 6 * (self._nodes - 1))
        return ["--node-ports", node_ports, "--worker-ports", f"{first}-{first + 399}", "--object-store", "0.15"]


def free_block(count: int) -> int:
    """The first of ``count`` ports in a row on which nobody listens."""
    for first in range(20000, 29000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


@contextmanager
def cluster_of_nodes(root: Path) -> Iterator[ClusterOfNodes]:
    """A cluster without nodes; whatever is started in it ends with the block."""
    cluster = ClusterOfNodes(root)
    try:
        yield cluster
    finally:
        cluster.stop()

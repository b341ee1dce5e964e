"""Starts and ends nodes of a Ray cluster: ``python -m minestudio_nb.cluster head|worker|status|stop``.

A notebook needs none of it, since a session brings a cluster of its own along. It is for several machines, or for one
that is far away; ``docs/clusters.md`` shows the whole way. Exit status: 0 done, 2 refused, with the reason.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TextIO

from minestudio_nb.errors import MineStudioError

__all__ = ["main"]

HEAD_PORT = 6379
CLIENT_PORT = 10001
FIRST_NODE_PORT = 6380
WORKER_PORTS = "11000-11999"


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> int:
    """Runs the command line and returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        lines = options.command(options)
        out.write("\n".join(lines) + "\n")
        out.flush()
        if getattr(options, "block", False):
            _hold(options.name)
        return 0
    except MineStudioError as error:
        out.write(f"{type(error).__name__}: {error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m minestudio_nb.cluster", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="head | worker | status | stop")
    head = commands.add_parser("head", help="start the head of a new cluster on this machine")
    head.set_defaults(command=_start)
    head.add_argument("--port", type=int, default=HEAD_PORT, help=f"that workers come to (default: {HEAD_PORT})")
    head.add_argument(
        "--client-port", type=int, default=CLIENT_PORT, help=f"for ray:// addresses (default: {CLIENT_PORT})"
    )
    worker = commands.add_parser("worker", help="make this machine a node of a cluster")
    worker.set_defaults(command=_start)
    worker.add_argument("address", help="host:port of the head")
    for parser_of, name in ((head, "head"), (worker, "worker")):
        _node_options(parser_of, name)
    status = commands.add_parser("status", help="the nodes of this machine, and what their cluster has")
    status.set_defaults(command=_status)
    stop = commands.add_parser("stop", help="end the nodes of this machine, and no other Ray")
    stop.set_defaults(command=_stop)
    stop.add_argument("names", nargs="*", metavar="name", help="of nodes (default: all)")
    return parser


def _node_options(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--name", default=name, help=f"of the node on this machine (default: {name})")
    parser.add_argument("--ip", help="address under which the other machines reach this one (default: Ray finds it)")
    parser.add_argument("--cpus", type=int, help="CPUs to offer (default: all)")
    parser.add_argument("--gpus", type=int, help="GPUs to offer (default: all)")
    parser.add_argument("--labels", action="append", default=[], help="for placement: name=value,name=value")
    parser.add_argument("--resources", action="append", default=[], help="of your own, for placement: name=amount,...")
    parser.add_argument("--object-store", type=float, help="GB of shared memory for fragments and weights")
    parser.add_argument(
        "--node-ports", type=int, default=FIRST_NODE_PORT, help=f"first of six (default: {FIRST_NODE_PORT})"
    )
    parser.add_argument("--worker-ports", default=WORKER_PORTS, help=f"range (default: {WORKER_PORTS})")
    parser.add_argument("--temp-dir", help="for Ray's sockets, logs and spilled objects (default: a new one in /tmp)")
    parser.add_argument("--block", action="store_true", help="stay in the foreground and end the node at the end")


def _start(options: argparse.Namespace) -> list[str]:
    from minestudio_nb.runtime.nodes import NodePorts, NodeSettings, parse_amounts, parse_pairs, start_node

    first, _, last = options.worker_ports.partition("-")
    if not (first.isdigit() and last.isdigit()):
        raise MineStudioError(f"--worker-ports takes a range such as {WORKER_PORTS}, {options.worker_ports!r} came.")
    address = getattr(options, "address", None)
    ports = NodePorts(
        first=options.node_ports,
        workers=(int(first), int(last)),
        control=None if address else options.port,
        client=None if address else options.client_port,
    )
    record = start_node(
        NodeSettings(
            name=options.name,
            head_address=address,
            ip=options.ip,
            ports=ports,
            cpus=options.cpus,
            gpus=options.gpus,
            labels=parse_pairs(options.labels, "labels"),
            resources=parse_amounts(options.resources),
            object_store_bytes=None if options.object_store is None else int(options.object_store * 1e9),
            temp_dir=options.temp_dir,
        )
    )
    if address:
        return [f"Node {record.name!r} belongs to the cluster at {address}. It ends by: {_stop_command(record.name)}"]
    assert record.client_address is not None
    host = record.address.rpartition(":")[0]
    client_port = options.client_port
    return [
        f"The head {record.name!r} runs. It ends by: {_stop_command(record.name)}",
        "",
        "Every other machine needs its token, once:",
        f"  ssh {host} cat .ray/auth_token | (umask 077; mkdir -p ~/.ray; cat > ~/.ray/auth_token)",
        "Further machines join by:",
        f"  python -m minestudio_nb.cluster worker {record.address}",
        "A notebook on one of these machines:",
        f'  session = ms.OnlineSession(address="{record.address}")',
        "A notebook anywhere else, through a tunnel:",
        f"  ssh -N -L {client_port}:127.0.0.1:{client_port} {host}",
        f'  session = ms.OnlineSession(address="ray://127.0.0.1:{client_port}")',
    ]


def _stop_command(name: str) -> str:
    return f"python -m minestudio_nb.cluster stop {name}"


def _status(options: argparse.Namespace) -> list[str]:
    from minestudio_nb.runtime.nodes import known_nodes, processes_of
    from minestudio_nb.runtime.survey import look_at

    nodes = known_nodes()
    if not nodes:
        return ["No node was started on this machine by python -m minestudio_nb.cluster."]
    lines = [
        f"{node.name}: {'head' if node.is_head else 'worker'} of {node.address}, "
        + (f"{processes_of(node)} processes" if node.alive else f"DEAD; its log: {node.log}")
        for node in nodes
    ]
    for address in dict.fromkeys(node.address for node in nodes if node.alive):
        found = look_at(address)
        lines += ["", f"The cluster at {address} has {len(found.nodes)} nodes:"]
        lines += [f"  {node}" for node in found.nodes]
        lines += [f"Sessions that run there: {', '.join(found.sessions) or 'none'}"]
    return lines


def _stop(options: argparse.Namespace) -> list[str]:
    from minestudio_nb.runtime.nodes import known_nodes, stop_node

    nodes = known_nodes()
    missing = sorted(set(options.names) - {node.name for node in nodes})
    if missing:
        raise MineStudioError(f"No node is named {', '.join(missing)} here. Nodes: {[node.name for node in nodes]}.")
    wanted = [node for node in reversed(nodes) if not options.names or node.name in options.names]
    for node in wanted:  # workers first, so that they leave an orderly cluster
        stop_node(node)
    return [f"Ended: {', '.join(node.name for node in wanted)}." if wanted else "Nothing runs here."]


def _hold(name: str) -> None:
    """Waits until the node ends by itself or this process is told to end, and ends the node."""
    from minestudio_nb.runtime.nodes import known_nodes, stop_node

    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: asked.set())
    (node,) = [known for known in known_nodes() if known.name == name]
    while node.alive and not asked.wait(1.0):
        continue
    stop_node(node)


if __name__ == "__main__":
    sys.exit(main())

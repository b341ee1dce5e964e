"""A stranger without the token tries every port on which the processes of a session, or of a cluster, listen."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from minestudio_nb.runtime.processes import find_marked
from minestudio_nb.runtime.ray_runtime import RayRuntime
from tests.runtime.cluster_support import cluster_of_nodes
from tests.runtime.ray_support import START_SECONDS, finish, said, small_spec
from tests.runtime.test_clusters import run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

SECONDS = 20.0
"""Deadline of one attempt."""
METHODS = (
    "JobInfoGcsService/AddJob",
    "ActorInfoGcsService/CreateActor",
    "ActorInfoGcsService/KillActorViaGcs",
    "InternalKVGcsService/InternalKVGet",
    "NodeManagerService/RequestWorkerLease",
    "NodeManagerService/GetNodeStats",
    "ObjectManagerService/Pull",
    "CoreWorkerService/PushTask",
    "CoreWorkerService/KillActor",
    "RayletDriver/Init",
    "RayletDriver/KVGet",
    "RayletDriver/Schedule",
    "RayletDriver/ClusterInfo",
)
"""Calls that would run code, end processes or read data, of each kind of server of Ray's."""
PAGES = (
    ("GET", "/"),
    ("GET", "/metrics"),
    ("POST", "/get_or_create_runtime_env"),
    ("POST", "/delete_runtime_env_if_possible"),
)
REFUSALS = {401, 403, 404, 405}


def listening(processes: Iterable[psutil.Process]) -> Iterator[tuple[str, str, int]]:
    """Command, address and port of each socket on which ``processes`` listen."""
    for process in processes:
        try:
            command = " ".join(process.cmdline())
            for connection in process.net_connections(kind="inet"):
                if connection.status == psutil.CONN_LISTEN:
                    yield command, connection.laddr.ip, connection.laddr.port
        except psutil.NoSuchProcess:
            continue


def by_grpc(host: str, port: int) -> set[str]:
    """What calls without a token are answered; empty where the port does not speak gRPC."""
    answers = set()
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        for method in METHODS:
            try:
                channel.unary_unary(f"/ray.rpc.{method}")(b"", timeout=SECONDS)
                answers.add(f"{method} was done")
            except grpc.RpcError as error:
                if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    return set()
                answers.add(error.code().name)
    return answers


def by_http(host: str, port: int) -> dict[str, tuple[int, str]]:
    """Statuses and texts of pages without a token."""
    answers = {}
    for method, path in PAGES:
        connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
        try:
            connection.request(method, path, body=b"" if method == "POST" else None)
            answer = connection.getresponse()
            answers[path] = answer.status, answer.read(1_000_000).decode(errors="replace")
        except (OSError, http.client.HTTPException):
            break
        finally:
            connection.close()
    return answers


def try_all(processes: Iterable[psutil.Process]) -> tuple[dict[int, str], list[tuple[str, int, dict[str, Any]]]]:
    """Tries every port of ``processes``: commands of those that refuse all, by port; command, port and pages of those
    that tell something."""
    refusing, telling = {}, []
    for command, address, port in sorted(set(listening(processes))):
        host = "127.0.0.1" if address in ("0.0.0.0", "::") else address
        answers = by_grpc(host, port)
        if answers:
            assert answers <= {"UNAUTHENTICATED", "UNIMPLEMENTED"}, (command, port, answers)
            assert "UNAUTHENTICATED" in answers, (command, port, answers)
            refusing[port] = command
            continue
        pages = by_http(host, port)
        if any(status not in REFUSALS for status, _ in pages.values()):
            telling.append((command, port, pages))
        else:
            refusing[port] = command
    return refusing, telling


def test_strangers_get_nothing_from_any_port(ray_cluster: str, tmp_path: Path) -> None:
    """Servers of Ray refuse every call that they know; one gives its own numbers, as docs/security.md says."""
    runtime = RayRuntime(small_spec("ports", tmp_path, address=ray_cluster))
    try:
        runtime.start_rollout(START_SECONDS)
        refusing, telling = try_all(psutil.Process().children(recursive=True))
    finally:
        runtime.stop(30.0)
    for part in ("gcs_server", "raylet", "RolloutWorkerWrapper", "Supervisor", "ReplayBufferActor"):
        assert [command for command in refusing.values() if part in command], f"{part} was not found: {refusing}"
    for command, _, pages in telling:
        assert "autoscaler" in command and "monitor.py" in command, (command, pages)
        told = {line.split("{")[0].split(" ")[0] for line in pages["/metrics"][1].splitlines() if line[:1] != "#"}
        assert all(name.startswith(("autoscaler_", "python_", "process_")) for name in told if name), told


@pytest.mark.full
def test_strangers_get_nothing_from_the_ports_of_a_cluster_that_stays(tmp_path: Path) -> None:
    """The fixed ports of a head, and those that it opens for a notebook far away."""
    with cluster_of_nodes(tmp_path) as cluster:
        cluster.start_head("--cpus", "2")
        driver = run(
            cluster,
            f"""
session = ms.OnlineSession("ports", address={cluster.client_address!r})
session.load_config("cartpole", overrides=SMALL)
session.start_rollout()
say("rolling")
sys.stdin.readline()
session.stop()
""",
            tmp_path,
        )
        try:
            said(driver, "rolling")
            head = json.loads((tmp_path / "nodes" / "head.json").read_text())
            refusing, telling = try_all(find_marked(head["cluster_id"]))
            assert driver.stdin is not None
            driver.stdin.write("\n")
            driver.stdin.flush()
            assert driver.wait(START_SECONDS) == 0
        finally:
            finish(driver)
    assert not telling, telling
    for port in (cluster.port, cluster.client_port):
        assert port in refusing, f"nobody listens on {port}: {refusing}"
    for part in (
        "gcs_server",
        "raylet",
        "--mode=proxy",
        "--mode=specific-server",
        "RolloutWorkerWrapper",
        "Supervisor",
    ):
        assert [command for command in refusing.values() if part in command], f"{part} was not found: {refusing}"

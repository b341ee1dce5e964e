"""A stranger without the token tries every port on which the processes of a session listen."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from minestudio_nb.runtime.ray_runtime import RayRuntime
from tests.runtime.ray_support import START_SECONDS, small_spec

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
)
"""Calls that would run code, end processes or read data, of each kind of server of Ray's."""
PAGES = (
    ("GET", "/"),
    ("GET", "/metrics"),
    ("POST", "/get_or_create_runtime_env"),
    ("POST", "/delete_runtime_env_if_possible"),
)
REFUSALS = {401, 403, 404, 405}


def listening() -> Iterator[tuple[str, str, int]]:
    """Command, address and port of each socket on which this process's descendants listen: the cluster's."""
    for process in psutil.Process().children(recursive=True):
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


def test_strangers_get_nothing_from_any_port(ray_cluster: str, tmp_path: Path) -> None:
    """Servers of Ray refuse every call that they know; one gives its own numbers, as docs/security.md says."""
    runtime = RayRuntime(small_spec("ports", tmp_path, address=ray_cluster))
    open_to_all, refusing = [], []
    try:
        runtime.start_rollout(START_SECONDS)
        for command, address, port in sorted(set(listening())):
            host = "127.0.0.1" if address in ("0.0.0.0", "::") else address
            answers = by_grpc(host, port)
            if answers:
                assert answers <= {"UNAUTHENTICATED", "UNIMPLEMENTED"} and "UNAUTHENTICATED" in answers, (
                    command,
                    answers,
                )
                refusing.append(command)
                continue
            pages = by_http(host, port)
            if any(status not in REFUSALS for status, _ in pages.values()):
                open_to_all.append((command, pages))
            else:
                refusing.append(command)
    finally:
        runtime.stop(30.0)
    for part in ("gcs_server", "raylet", "RolloutWorkerWrapper", "Supervisor", "ReplayBufferActor"):
        assert [command for command in refusing if part in command], f"{part} was not found: {refusing}"
    for command, pages in open_to_all:
        assert "autoscaler" in command and "monitor.py" in command, (command, pages)
        told = {line.split("{")[0].split(" ")[0] for line in pages["/metrics"][1].splitlines() if line[:1] != "#"}
        assert all(name.startswith(("autoscaler_", "python_", "process_")) for name in told if name), told

"""Whether a Ray cluster answers at an address, found out in seconds and said in one sentence.

Ray itself takes half a minute or more for an answer that does not tell a wrong address from a wrong token. Here its
servers are asked one cheap question, with the token, before anything connects to them.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from typing import Any

import grpc
import ray
from ray._raylet import AuthenticationTokenLoader, Config
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc, ray_client_pb2, ray_client_pb2_grpc

from minestudio_nb.errors import ResourceError

__all__ = ["CLIENT_PREFIX", "adopt_token", "require_reachable", "split_address"]

CLIENT_PREFIX = "ray://"
ANSWER_SECONDS = 10.0
"""Deadline of the question; a cluster that is there answers within milliseconds, over a slow tunnel within seconds."""
_OPTIONS = (("grpc.enable_http_proxy", 0),)

_TOKEN_ADVICE = (
    "Copy the file ~/.ray/auth_token of the machine where the cluster's head runs to the same place here, readable by "
    "you alone (chmod 600)"
)


def adopt_token(token_path: str | None = None) -> None:
    """Makes this process use token authentication, with the token at ``token_path`` or else where Ray looks for it.

    Ray reads its settings once, when it is imported, so the environment alone would come too late.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    if token_path and not os.environ.get("RAY_AUTH_TOKEN"):
        os.environ["RAY_AUTH_TOKEN_PATH"] = token_path
    AuthenticationTokenLoader.instance().reset_cache()
    if _has_token():
        os.environ["RAY_AUTH_MODE"] = "token"
        Config.initialize("")


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``ray://host:port``; ResourceError where it is neither."""
    host, colon, port = address.removeprefix(CLIENT_PREFIX).rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise ResourceError(
            f"{address!r} is no address of a Ray cluster. Give 'auto' (the cluster that runs on this machine), "
            "'host:port' (this machine is one of its nodes) or 'ray://host:port' (from anywhere)."
        )
    return host, int(port)


def require_reachable(address: str) -> None:
    """Asks the cluster at ``host:port`` or ``ray://host:port`` one question; any thread may call.

    Raises ResourceError, within :data:`ANSWER_SECONDS`, that says which of these it is: nothing listens there,
    something else does, the token is missing or wrong, or Ray or Python there are of another version.
    """
    host, port = split_address(address)
    ask = _ask_client_server if address.startswith(CLIENT_PREFIX) else _ask_control_store
    channel = grpc.insecure_channel(f"{host}:{port}", options=_OPTIONS)
    try:
        ask(channel, address)
    except grpc.RpcError as error:
        raise ResourceError(_explained(address, error)) from None
    finally:
        channel.close()


def _metadata() -> list[tuple[str, str]]:
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return []
    if not _has_token():
        return []
    headers = AuthenticationTokenLoader.instance().get_token_for_http_header()
    return [(name.lower(), value) for name, value in headers.items()]


def _has_token() -> bool:
    try:
        return bool(AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))
    except ray.exceptions.AuthenticationError:  # a file is named that is not there
        return False


def _ask_client_server(channel: Any, address: str) -> None:
    question = ray_client_pb2.ClusterInfoRequest(type=ray_client_pb2.ClusterInfoType.PING)
    metadata = [("client_id", "minestudio_nb"), *_metadata()]
    ray_client_pb2_grpc.RayletDriverStub(channel).ClusterInfo(question, timeout=ANSWER_SECONDS, metadata=metadata)


def _ask_control_store(channel: Any, address: str) -> None:
    question = gcs_service_pb2.InternalKVGetRequest(namespace=b"cluster", key=b"CLUSTER_METADATA")
    get: Callable[..., Any] = gcs_service_pb2_grpc.InternalKVGcsServiceStub(channel).InternalKVGet
    answer = get(question, timeout=ANSWER_SECONDS, metadata=_metadata())
    try:
        there = json.loads(answer.value)
        versions = {"Ray": there["ray_version"], "Python": there["python_version"]}
    except (ValueError, KeyError, TypeError):
        return  # Ray compares versions itself when it connects
    require_versions(address, versions)


def require_versions(place: str, there: dict[str, str]) -> None:
    """ResourceError where ``there``'s Ray is not this one, or its Python of another minor version (3.11, 3.12)."""
    here = {"Ray": ray.__version__, "Python": platform.python_version()}
    for name, version in there.items():
        digits = 2 if name == "Python" else 3  # what is pickled by one Python is read by another of the same minor one
        if version.split(".")[:digits] != here[name].split(".")[:digits]:
            raise ResourceError(
                f"{name} is {version} on {place} and {here[name]} here, and what one writes the other cannot read. "
                f"Install the same version on both sides."
            )


def _explained(address: str, error: grpc.RpcError) -> str:
    host, port = split_address(address)
    code = error.code()
    if code == grpc.StatusCode.UNAUTHENTICATED:
        what = "has another token than" if _metadata() else "asks for a token, and there is none on"
        return f"The Ray cluster at {address} {what} this machine. {_TOKEN_ADVICE}."
    if code == grpc.StatusCode.UNIMPLEMENTED:
        if address.startswith(CLIENT_PREFIX):
            return (
                f"What listens on port {port} of {host} is no Ray Client server. Its port is 10001 unless the head was "
                "started with another one; ray:// belongs before that port only."
            )
        return (
            f"What listens on port {port} of {host} is not the head of a Ray cluster. Its port is 6379 unless it was "
            "started with another one; the port 10001 is that of ray:// addresses."
        )
    return (
        f"Nothing answered at {host}:{port} ({_first_line(error.details())}). Check that "
        "the cluster runs (python -m minestudio_nb.cluster status, on its head's machine), that the SSH tunnel is open "
        "where the address is one, and the port."
    )


def _first_line(text: str | None) -> str:
    """What gRPC says in the end: the part after its own words about addresses that it tried."""
    return (text or "no details").splitlines()[0].rpartition("last error: ")[2].removeprefix("UNKNOWN: ")[:160]

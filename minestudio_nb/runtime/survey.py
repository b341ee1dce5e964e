"""What a cluster consists of, and whether its nodes can run a session: asked before anything is started there."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import minestudio_nb
from minestudio_nb.config.placement import NodeView
from minestudio_nb.errors import ResourceError
from minestudio_nb.runtime.cluster import connect
from minestudio_nb.runtime.names import HEAD_RESOURCE, running_sessions
from minestudio_nb.runtime.reaching import require_versions

__all__ = ["ClusterView", "NodeAnswer", "cluster_nodes", "look_at", "survey"]

logger = logging.getLogger(__name__)

SURVEY_SECONDS = 90.0
"""Deadline for the answers of all nodes: each may have to start a Python process first."""
_OWN_LABELS = ("ray.io/node-id",)


@dataclass(frozen=True)
class ClusterView:
    """A cluster from outside."""

    nodes: tuple[NodeView, ...]
    sessions: tuple[str, ...]


@dataclass(frozen=True)
class NodeAnswer:
    """What a process on a node sees there."""

    node: NodeView
    sees_run: bool
    """Whether the directory of the run, as the notebook names it, is the same directory there."""


def look_at(address: str) -> ClusterView:
    """Nodes and sessions of the cluster at ``address``. Leaves this process connected only where it was before.

    Raises ResourceError when the cluster cannot be reached, SessionStateError when this process uses another one.
    """
    connected = connect(address)
    try:
        return ClusterView(tuple(cluster_nodes()), tuple(running_sessions()))
    finally:
        if connected:
            ray.shutdown()


def cluster_nodes() -> list[NodeView]:
    """The living nodes of the cluster that this process is connected to, the head first."""
    living = _living()
    names = _names(living)
    views = [
        NodeView(
            name=names[node["NodeID"]],
            resources={key: value for key, value in node["Resources"].items() if not key.startswith("node:")},
            labels={key: value for key, value in node.get("Labels", {}).items() if key not in _OWN_LABELS},
            is_head=HEAD_RESOURCE in node["Resources"],
            node_id=node["NodeID"],
        )
        for node in living
    ]
    return sorted(views, key=lambda view: (not view.is_head, view.name))


def _living() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _names(nodes: Sequence[dict[str, Any]]) -> dict[str, str]:
    """By id: the machine's name, with the beginning of the id where several nodes run on one machine."""
    hosts = Counter(node["NodeManagerHostname"] for node in nodes)
    return {
        node["NodeID"]: node["NodeManagerHostname"]
        + (f"/{node['NodeID'][:6]}" if hosts[node["NodeManagerHostname"]] > 1 else "")
        for node in nodes
    }


def survey(place: str, marker: Path, mark: str) -> list[NodeAnswer]:
    """Asks a process on every living node what it sees; the head's answer is the first.

    Args:
        place: the cluster's address, for messages.
        marker: a file in the run directory that holds ``mark``.

    Raises ResourceError when a node does not answer, or has no minestudio_nb, or another version of it, Ray or Python.
    """
    views = {view.name: view for view in cluster_nodes()}
    names = _names(living := _living())
    asked = {
        names[node["NodeID"]]: ray.remote(_answer)
        .options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False),
        )
        .remote(str(marker), mark)
        for node in living
    }
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=SURVEY_SECONDS)
    answers = []
    for name, reference in asked.items():
        try:
            said = ray.get(reference, timeout=1.0)
        except GetTimeoutError:
            raise ResourceError(
                f"Node {name} of the cluster at {place} started no process within {SURVEY_SECONDS:.0f} s: it is cut "
                "off or overloaded. Take it out of the cluster, or try again."
            ) from None
        except RayError as error:
            raise ResourceError(f"Node {name} of the cluster at {place} runs no process: {error}") from error
        _require_same_package(f"node {name}", said)
        answers.append(NodeAnswer(views[name], said["sees"]))
    return sorted(answers, key=lambda answer: not answer.node.is_head)


def _answer(marker: str, mark: str) -> dict[str, Any]:
    """Runs on each node. It travels by value, since there may be no such package; so it imports what it needs."""
    import hashlib
    import platform
    from pathlib import Path

    import ray

    try:
        import minestudio_nb

        root = Path(minestudio_nb.__file__).parent
        files = sorted(root.rglob("*.py"))
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        package, missing = minestudio_nb.__version__, ""
    except ImportError as error:
        package, digest, missing = "", "", str(error)
    try:
        sees = Path(marker).read_text(encoding="ascii") == mark
    except OSError:
        sees = False
    return {
        "versions": {"Ray": ray.__version__, "Python": platform.python_version()},
        "package": package,
        "missing": missing,
        "digest": digest,
        "sees": sees,
    }


_answer.__module__ = "__main__"  # which makes cloudpickle send the function itself instead of its name


def _require_same_package(place: str, said: dict[str, Any]) -> None:
    require_versions(place, said["versions"])
    if said["missing"]:
        raise ResourceError(
            f"On {place} minestudio_nb cannot be imported ({said['missing']}). Install it there for the Python that "
            "runs Ray, in the version that is here."
        )
    if said["package"] != minestudio_nb.__version__:
        raise ResourceError(
            f"minestudio_nb is {said['package']} on {place} and {minestudio_nb.__version__} here. Install the same "
            "version on both sides."
        )
    if said["digest"] != _answer("", "")["digest"]:
        logger.warning("minestudio_nb on %s has the same version as here, and other source files", place)

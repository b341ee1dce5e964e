"""A node that is lost, and an object store that is full, on real nodes of one machine, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.ray_support import eventually, processes_started_for, said, start_driver

pytestmark = [pytest.mark.full, pytest.mark.ray, pytest.mark.timeout(900)]

PRELUDE = """
import json, os, signal, sys, tempfile
from pathlib import Path
os.environ["MSNB_NODES"] = str(Path("nodes").resolve())
from minestudio_nb.config import load_config
from minestudio_nb.runtime.base import Cursor, RuntimeSpec
from minestudio_nb.runtime.nodes import NodePorts, NodeSettings, start_node, stop_node
from minestudio_nb.runtime.processes import find_marked
from minestudio_nb.runtime.ray_runtime import RayRuntime
from tests.runtime.ray_support import eventually

MIB = 2**20

def node(name, number, head=None, cpus=0, store=80 * MIB):
    first = 16000 + 10 * number
    ports = NodePorts(first, (12000 + 200 * number, 12199 + 200 * number), *((6579, 10097) if head is None else ()))
    address = None if head is None else head.address
    return start_node(NodeSettings(name, address, "127.0.0.1", ports, cpus, 0, object_store_bytes=store))

def snapshot(runtime):
    seen = runtime.snapshot(Cursor())
    assert seen.phase in ("rolling", "training"), seen.status
    return seen

def say(word, what):
    print(word, json.dumps(what), flush=True)
"""


def driven(code: str, mark: str, root: Path) -> dict[str, Any]:
    """What a driver says at its end; nothing that it started is left."""
    driver = start_driver(PRELUDE + code, mark, root)
    try:
        return dict(json.loads(said(driver, "seen").partition(" ")[2]))
    finally:
        try:
            driver.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.communicate()
        eventually(lambda: not processes_started_for(mark), 60.0, "the processes of the driver")


def test_the_parts_of_a_lost_node_are_replaced_on_another_and_lost_data_is_collected_anew(tmp_path: Path) -> None:
    """Workers, trainer and unread fragments are on the node that is killed; nothing but the head is elsewhere."""
    code = """
head = node("head", 0)
first = node("first", 1, head, cpus=4)
runtime = None
nodes = [head, first]
try:
    overrides = ["train_config.num_iterations=100000", "rollout_config.num_rollout_workers=2",
                 "rollout_config.worker_config.num_envs=4", "schedule=overlap", "train_config.keep_interval=1000",
                 "rollout_config.replay_buffer_config.max_staleness=4", "restarts.process_per_window=10"]
    runtime = RayRuntime(RuntimeSpec("lost", load_config("cartpole", overrides), os.getcwd(), head.address))
    runtime.start_rollout(200.0)
    runtime.start_trainer()
    eventually(lambda: len(snapshot(runtime).points) >= 5, 200.0)
    nodes.append(node("second", 2, head, cpus=4))
    for process in find_marked(first.cluster_id):
        process.send_signal(signal.SIGKILL)
    before = snapshot(runtime).points[-1]["iteration"]
    eventually(lambda: snapshot(runtime).points[-1]["iteration"] >= before + 5, 300.0)
    seen = snapshot(runtime)
    say("seen", {"points": [p["iteration"] for p in seen.points], "steps": [p["env_steps"] for p in seen.points],
                 "events": [[e.kind, e.message] for e in seen.events], "before": before,
                 "alive": seen.status["workers_alive"]})
finally:
    if runtime is not None:
        runtime.stop(60.0)
    for each in reversed(nodes):
        stop_node(each)
"""
    seen = driven(code, "lost-node", tmp_path)
    assert seen["points"] == list(range(1, len(seen["points"]) + 1))
    assert all(before <= after for before, after in zip(seen["steps"], seen["steps"][1:], strict=False))
    kinds = [kind for kind, _ in seen["events"]]
    assert kinds.count("worker_restart") >= 2 and kinds.count("trainer_restart") >= 1 and seen["alive"] == 2
    (resumed,) = [message for kind, message in seen["events"] if kind == "resume"]
    assert int(resumed.split()[-1].rstrip(".")) >= seen["before"] - 1


def test_a_full_object_store_slows_training_and_stops_nothing(tmp_path: Path) -> None:
    """Fragments of 6 MiB, of which the buffer may hold 64, in a store of 80 MiB."""
    code = """
import numpy as np, gymnasium

class Large(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 255, (128, 128, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return self.picture(), {}

    def picture(self):
        return np.full((128, 128, 3), self.count % 256, np.uint8)

    def step(self, action):
        self.count += 1
        return self.picture(), 1.0, self.count >= 50, False, {}

online = {
    "rollout_config": {"num_rollout_workers": 1, "fragment_length": 128,
                       "worker_config": {"num_envs": 2, "execution": "in_worker"},
                       "replay_buffer_config": {"max_chunks": 64, "max_reuse": 20, "max_staleness": 1000}},
    "train_config": {"batch_size_per_gpu": 1, "batches_per_iteration": 2, "num_iterations": 20,
                     "context_length": 16, "recompute_proximal": "auto"},
    "policy_config": {"name": "cnn", "args": {"channels": [4, 4]}},
}
online["train_config"].pop("recompute_proximal")
online["policy_config"].pop("args")
head = node("head", 3, cpus=4)
runtime = None
try:
    source = {"online_dict": online, "env_generator": Large}
    runtime = RayRuntime(RuntimeSpec("full", load_config(source), os.getcwd(), head.address))
    runtime.start_rollout(200.0)
    runtime.start_trainer()
    eventually(lambda: runtime.wait(1.0), 400.0)
    seen = runtime.snapshot(Cursor())
    say("seen", {"reason": seen.status["stop_reason"], "failure": seen.status["failure"],
                 "points": len(seen.points), "events": [[e.kind, e.severity, e.message] for e in seen.events],
                 "bytes": max(p["values"]["buffer/bytes"] for p in seen.points),
                 "share": max(p["values"].get("system/object_store_fraction", 0) for p in seen.points)})
finally:
    if runtime is not None:
        runtime.stop(60.0)
    stop_node(head)
"""
    seen = driven(code, "full-store", tmp_path)
    assert (seen["reason"], seen["failure"], seen["points"]) == ("num_iterations", "", 20)
    assert seen["bytes"] > 80 * 2**20, "the buffer held more than the store has room for"
    assert any("object store" in message for _, severity, message in seen["events"] if severity == "warning"), seen

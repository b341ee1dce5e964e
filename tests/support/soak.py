"""A session on Ray with a killer beside it: ``python -m tests.support.soak ROOT MINUTES SEED``.

Every few seconds a process of a random role gets SIGKILL or SIGSTOP. Prints what was done, then one line of JSON with
what was seen meanwhile; :mod:`tests.system.test_soak` judges that and the files.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from minestudio_nb import OnlineSession
from minestudio_nb.runtime.cluster import ClusterRecord
from minestudio_nb.runtime.processes import find_marked

HEARTBEAT_SECONDS = 20.0
ROLES = {
    "rollout worker": "ray::RolloutWorkerWrapper",
    "trainer": "ray::OneRank",
    "buffer": "ray::ReplayBufferActor",
    "supervisor": "ray::Supervisor",
}
"""Roles by how their processes call themselves."""
WEIGHTS = {"environment": 5, "rollout worker": 2, "trainer": 2, "buffer": 1, "supervisor": 1}
"""How often each role is chosen."""
RECOVERY_ITERATIONS = 2
"""Iterations that are let be between two faults of anything but an environment: a crash loop is another fault."""

OVERRIDES = [
    "train_config.num_iterations=10000000",
    "train_config.max_env_steps=null",
    "train_config.anneal_lr_linearly=false",
    "train_config.epochs_per_iteration=2",
    "train_config.keep_interval=1000000",
    "rollout_config.num_rollout_workers=2",
    "rollout_config.worker_config.num_envs=3",
    "rollout_config.worker_config.execution=processes",
    "train_config.batch_size_per_gpu=6",
    "timeouts.step=10",
    "timeouts.reset=15",
    f"timeouts.heartbeat={HEARTBEAT_SECONDS}",
    "restarts.env_per_window=1000",
    "restarts.env_lifetime=10000",
    "restarts.process_per_window=1000",
    "restarts.process_lifetime=10000",
    "restarts.without_checkpoint=20",
]


class Killer:
    """Chooses victims and remembers them; see the module."""

    def __init__(self, cluster_id: str, seed: int) -> None:
        self.cluster_id, self.dice = cluster_id, random.Random(seed)
        self.done: Counter[str] = Counter()
        self.memory: dict[int, tuple[str, float, float, float]] = {}
        """By pid: role, time first seen, bytes once it had settled, bytes now."""

    def processes(self) -> dict[str, list[psutil.Process]]:
        """The session's processes by role."""
        found: dict[str, list[psutil.Process]] = {role: [] for role in WEIGHTS}
        for process in find_marked(self.cluster_id):
            try:
                title = " ".join(process.cmdline())
                role = next((role for role, start in ROLES.items() if title.startswith(start)), "")
                if not role and "minestudio_nb" in title and self.is_child_of_a_worker(process):
                    role = "environment"
                if role:
                    found[role].append(process)
            except psutil.Error:
                continue
        return found

    @staticmethod
    def is_child_of_a_worker(process: psutil.Process) -> bool:
        parent = process.parent()
        return parent is not None and " ".join(parent.cmdline()).startswith(ROLES["rollout worker"])

    def measure(self) -> None:
        """Notes how much memory each long-lived process has."""
        now = time.monotonic()
        for role, processes in self.processes().items():
            for process in processes:
                try:
                    size = float(process.memory_info().rss)
                except psutil.Error:
                    continue
                _, since, settled, _ = self.memory.get(process.pid, (role, now, size, size))
                self.memory[process.pid] = (role, since, size if now - since < 60.0 else settled, size)

    def strike(self, roles: list[str]) -> str:
        """Hits a process of one of ``roles``; what was done, empty where there is none."""
        there = {role: processes for role, processes in self.processes().items() if processes and role in roles}
        if not there:
            return ""
        role = self.dice.choices(list(there), [WEIGHTS[role] for role in there])[0]
        victim = self.dice.choice(sorted(there[role], key=lambda process: process.pid))
        number = self.dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP))
        try:
            os.kill(victim.pid, number)
        except ProcessLookupError:
            return ""
        self.done[f"{number.name} {role}"] += 1
        return f"{number.name} to {role} {victim.pid}"


def last_iteration(metrics: Path) -> int:
    """The iteration of the last whole line."""
    try:
        lines = metrics.read_bytes().splitlines()
    except FileNotFoundError:
        return 0
    for line in reversed(lines[-2:]):
        try:
            return int(json.loads(line)["iteration"])
        except ValueError:
            continue
    return 0


def soak(root: Path, minutes: float, seed: int) -> dict[str, Any]:
    """Runs the session and the killer; what was seen."""
    session = OnlineSession("soak", run_root=root, detached=False)
    session.load_config("cartpole", OVERRIDES)
    session.start_rollout(timeout=400.0)
    session.start_trainer()
    killer = Killer(ClusterRecord.read(session.run_directory / "cluster.json").cluster_id, seed)
    metrics = session.run_directory / "metrics.jsonl"
    lost, fallen_back, held_until, seen, longest, moved_at = [], 0, RECOVERY_ITERATIONS, 0, 0.0, time.monotonic()
    end, next_strike = time.monotonic() + 60.0 * minutes, time.monotonic() + 10.0
    while time.monotonic() < end:
        time.sleep(0.25)
        iteration = last_iteration(metrics)
        if iteration < seen:
            lost.append(seen - iteration)
            fallen_back += 1
        if iteration != seen:
            longest, moved_at = max(longest, time.monotonic() - moved_at), time.monotonic()
        seen = iteration
        if time.monotonic() < next_strike:
            continue
        killer.measure()
        status = session.status()
        assert status.state == "TRAINING", f"{status.state}: {status.failure}"
        said = killer.strike(list(WEIGHTS) if iteration >= held_until else ["environment"])
        if said:
            print(f"{time.strftime('%H:%M:%S')} iteration {iteration}: {said}", flush=True)
            if "environment" not in said:
                held_until = iteration + RECOVERY_ITERATIONS
        next_strike = time.monotonic() + 2.0 + killer.dice.expovariate(1 / 6.0)
    session.wait(iterations=last_iteration(metrics) + RECOVERY_ITERATIONS, timeout=300.0)  # it goes on after the last
    killer.measure()
    told = Counter(event.kind for event in session.event_list)
    report = session.stop(timeout=120.0)
    return {
        "cluster": killer.cluster_id,
        "failure": report.failure,
        "killed": dict(killer.done),
        "told": dict(told),
        "lost": lost,
        "longest_standstill_s": longest,
        "left": [" ".join(process.cmdline()) for process in find_marked(killer.cluster_id)],
        "grown": [
            [role, settled, now]
            for role, since, settled, now in killer.memory.values()
            if time.monotonic() - since > 90
        ],
    }


if __name__ == "__main__":
    print(json.dumps(soak(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))), flush=True)

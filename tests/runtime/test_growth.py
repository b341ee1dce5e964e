"""Growth: many logical rollout workers on the real manager, replay buffer and hub; nothing is lost, nothing waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minestudio_nb.runtime.calls import call
from tests.runtime.ray_support import eventually
from tests.support.growth import Growth
from tests.support.logical_workers import HOSTS, Load

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def check(growth: Growth, iterations: int) -> dict[str, Any]:
    """Reads ``iterations`` (each fragment is checked to come once and in order) and what the parts know afterwards."""
    per_iteration = growth.workers * growth.load.envs
    assert growth.iterate(iterations) == iterations * per_iteration
    assert len(growth.hosts) <= HOSTS
    stats = call(growth.buffer.stats.remote())
    assert (stats.lost, stats.evicted_unread, stats.dropped_stale) == (0, 0, 0)
    assert stats.outstanding + stats.unread <= per_iteration
    result = growth.measure(1.0)
    status = growth.status()
    assert (status["workers_alive"], status["workers"]) == (growth.workers, growth.workers)
    rows = [row for row in status["processes"] if row["role"].startswith("rollout worker")]
    assert [row["state"] for row in rows] == ["alive"] * growth.workers
    assert status["policy_version"] == growth.version
    eventually(lambda: growth.status()["iteration"] == growth.version, 60.0, "the trainer's last numbers")
    return result


@pytest.mark.parametrize("workers", [8, *(pytest.param(n, marks=pytest.mark.full) for n in (64, 256))])
def test_each_fragment_comes_once_and_in_order(workers: int, ray_cluster: str, tmp_path: Path) -> None:
    with Growth(f"growth-{workers}", workers, Load(), tmp_path) as growth:
        result = check(growth, 4)
    assert result["fragments"] >= workers * 4 and result["loop_tasks"] < 4 * workers + 100
    assert result["put_to_seen_ms_p50"] > 0


@pytest.mark.full
def test_more_workers_wait_than_ray_lets_call_an_actor_by_itself(ray_cluster: str, tmp_path: Path) -> None:
    """1,000 is Ray's own limit; were it the buffer's, workers that wait would keep out the fragments they wait for."""
    with Growth("growth-1100", 1100, Load(envs=1), tmp_path) as growth:
        check(growth, 2)

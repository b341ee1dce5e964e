"""A session over two machines with a cable between them that is slow, cut for seconds, and cut for good."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.cable import Cable, why_impossible
from tests.runtime.cluster_support import ClusterOfNodes, cluster_of_nodes
from tests.runtime.ray_support import finish, said, start_driver
from tests.runtime.test_clusters import PRELUDE

pytestmark = [pytest.mark.ray, pytest.mark.full, pytest.mark.timeout(1200)]

DELAY = 0.02
"""Seconds for each packet one way; 40 ms there and back, as between cities."""
CUT_SECONDS = 6.0
GONE_SECONDS = 150.0
"""What docs/reliability.md promises for a node that cannot be reached any more."""


@pytest.fixture
def cable() -> Iterator[Cable]:
    if reason := why_impossible():
        pytest.skip(reason)
    cable = Cable(DELAY)
    yield cable
    cable.close()


@pytest.fixture
def cluster(cable: Cable, tmp_path: Path) -> Iterator[ClusterOfNodes]:
    """A head at the near end and a node at the far end; each offers one slot for a rollout worker."""
    with cluster_of_nodes(tmp_path) as made:
        made.before = cable.at("near")
        made.start_head("--cpus", "3", "--resources", "slot=1", "--labels", "end=near", "--ip", cable.near)
        made.before = cable.at("far")
        made.start_worker("far", "--cpus", "1", "--resources", "slot=1", "--labels", "end=far", "--ip", cable.far)
        yield made


def test_a_slow_cable_that_is_cut_for_seconds_and_then_for_good(
    cable: Cable, cluster: ClusterOfNodes, tmp_path: Path
) -> None:
    driver = start_driver(
        PRELUDE
        + f"""
session = ms.OnlineSession("cable", address={cluster.address!r})
session.load_config("cartpole", overrides=[
    *SMALL, "rollout_config.num_rollout_workers=2", "rollout_config.resources_per_worker={{slot: 1}}"])
session.start_rollout()
session.start_trainer()

def kinds():
    return [event["kind"] for event in session.events().to_dict("records")]

def further(count):
    session.wait(iterations=session.status().iteration + count, timeout=300)

further(3)
say("slow", session.status().iteration)
sys.stdin.readline()
further(3)
say("cut", kinds().count("worker_restart"), session.state)
sys.stdin.readline()
while "worker_restart" not in kinds():
    session.wait(iterations=session.status().iteration + 1, timeout=300)
say("gone", [event["message"] for event in session.events().to_dict("records") if event["kind"] == "worker_restart"])
further(3)
say("goes_on", session.state)
session.stop()
say("stopped", session.state)
""",
        "cable",
        tmp_path,
        cluster.environment,
        cable.at("near"),
    )
    assert driver.stdin is not None

    def go_on() -> None:
        driver.stdin.write("\n")
        driver.stdin.flush()

    try:
        said(driver, "slow")
        assert cable.passed > 100
        cable.is_cut.set()
        time.sleep(CUT_SECONDS)  # what is tested is a cut of this length
        cable.is_cut.clear()
        go_on()
        assert said(driver, "cut") == "cut 0 TRAINING"
        cable.is_cut.set()
        began = time.monotonic()
        go_on()
        assert "was replaced" in said(driver, "gone")
        assert time.monotonic() - began < GONE_SECONDS
        assert said(driver, "goes_on") == "goes_on TRAINING"
        assert said(driver, "stopped") == "stopped STOPPED"
    finally:
        finish(driver)

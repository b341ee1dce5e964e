"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
REPOSITORY = str(Path(__file__).parents[1])
if REPOSITORY not in os.environ.get("PYTHONPATH", "").split(os.pathsep):  # for processes that tests start
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [REPOSITORY, os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the one Ray cluster of this test session, to which the test process is connected."""
    import ray

    from minestudio_nb.runtime.cluster import HeadSettings, connect, start_head, stop_head

    record_path: Path = tmp_path_factory.mktemp("cluster") / "cluster.json"
    settings = HeadSettings(
        session="tests", record_path=record_path, detached=False, cpus=8, gpus=0, object_store_bytes=400 * 2**20
    )
    record, head = start_head(settings, timeout=240.0)
    try:
        connect(record.address, record.token_path)
        yield record.address
        ray.shutdown()
    finally:
        stop_head(record, record_path, timeout=60.0)
        if head.stdin is not None:
            head.stdin.close()
        head.wait(timeout=30.0)

"""What displays see of a session on Ray: large pictures, a worker that died and comes back, what the machine gives."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from PIL import Image

from minestudio_nb.contracts.view import Tile
from minestudio_nb.runtime.base import Cursor
from minestudio_nb.runtime.ray_runtime import RayRuntime
from tests.runtime.ray_support import START_SECONDS, eventually, small_spec
from tests.runtime.test_ray_plumbing import checking_policy, counting_config, iterations

pytestmark = [pytest.mark.ray, pytest.mark.full, pytest.mark.timeout(600)]

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module
cloudpickle.register_pickle_by_value(sys.modules[checking_policy.__module__])


def painted_env(index: int) -> Any:
    import tempfile

    from tests.support.painted_env import Painted

    return Painted(index, tempfile.gettempdir())


@pytest.fixture
def runtime(ray_cluster: str, tmp_path: Path) -> Iterator[RayRuntime]:
    config = {**counting_config("processes"), "env_generator": painted_env}
    runtime = RayRuntime(small_spec("views", tmp_path, config, address=ray_cluster))
    try:
        runtime.start_rollout(START_SECONDS)
        yield runtime
    finally:
        runtime.stop(20.0)


def worker_tiles(runtime: RayRuntime, worker: int, large: tuple[str, ...] = ()) -> list[Tile]:
    return [tile for name, tile in runtime.tiles(large).items() if name.startswith(f"{worker}/")]


def test_views_of_a_session_on_ray(runtime: RayRuntime) -> None:
    # Nothing steps before weights were published, and still a picture is made.
    tile = eventually(lambda: (tile := runtime.tiles(["1/2"])["1/2"]).large and tile, what="a large picture")
    assert np.asarray(Image.open(io.BytesIO(tile.large))).shape == (36, 64, 3)
    iterations(runtime, 2)
    eventually(lambda: runtime.tiles(["1/2"])["1/2"].pressed.startswith("walk "), what="the action in words")

    status = runtime.snapshot(Cursor()).status
    rows = eventually(lambda: _alive(runtime), what="process ids")
    assert [row["role"] for row in rows] == ["rollout worker 0", "rollout worker 1", "replay buffer"]
    resources = status["resources"]
    assert 0 <= resources["object_store_fraction"] <= 1 and resources["memory_bytes"] > 1e8 and resources["cores"] >= 1

    os.kill(rows[1]["pid"], signal.SIGKILL)
    tiles = eventually(
        lambda: (tiles := worker_tiles(runtime, 1)) and all(tile.state == "restarting" for tile in tiles) and tiles,
        what="tiles that say that their worker restarts",
    )
    assert len(tiles) == 3 and tiles[0].cause and tiles[0].frame is not None
    assert {tile.state for tile in worker_tiles(runtime, 0)} == {"running"}
    tiles = eventually(
        lambda: (tiles := worker_tiles(runtime, 1)) and all(tile.state == "running" for tile in tiles) and tiles,
        START_SECONDS,
        "tiles that run again",
    )
    assert [tile.restarts for tile in tiles] == [1, 1, 1] and "died" in tiles[0].cause
    again = eventually(lambda: _alive(runtime), START_SECONDS, "the new process id")
    assert again[1]["pid"] != rows[1]["pid"] and (again[0]["restarts"], again[1]["restarts"]) == (0, 1)


def _alive(runtime: RayRuntime) -> Any:
    rows = runtime.snapshot(Cursor()).status["processes"]
    return all(row["state"] == "alive" and row["pid"] for row in rows) and rows

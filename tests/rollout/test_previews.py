"""What viewers get of environments: large pictures while somebody looks closely, and what broke and comes back."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.contracts.view import Tile
from minestudio_nb.environments.slot import RESET, START, STEP, WAIT, EnvArrays, Picture
from minestudio_nb.rollout.pool import RestartLimits
from minestudio_nb.rollout.preview import Preview
from minestudio_nb.rollout.worker import RolloutWorker
from tests.support.checking_policy import CheckingPolicy
from tests.support.counting_env import CountingEnv, check_fragments
from tests.support.fragments import VECTOR_SPEC
from tests.support.painted_env import Painted, Unpaintable
from tests.support.rollout_doubles import ListSink, Slot, Telemetry, rollout_config

SECONDS = 60.0
MODES = ("in_worker", "processes")


@contextmanager
def started(mode: str, factory: Callable[[int], Any], credits: int = 10_000) -> Iterator[Any]:
    sink, telemetry = ListSink(credits), Telemetry()
    limits = RestartLimits(in_lifetime=20, in_window=10, first_wait=0.01)
    worker = RolloutWorker(
        2,
        rollout_config(mode, num_envs=3, length=6),
        factory,
        CheckingPolicy,
        sink,
        Slot(),
        telemetry,
        5,
        limits=limits,
    )
    try:
        worker.start(60.0)
        yield worker, sink, telemetry
    finally:
        worker.close()


def rounds_until(worker: RolloutWorker, condition: Callable[[], Any], look: Callable[[], None]) -> Any:
    """Lets the worker go on, looking again before each round, until the condition holds."""
    deadline = time.monotonic() + SECONDS
    while True:
        look()
        worker.collect_round()
        if value := condition():
            return value
        assert time.monotonic() < deadline, "it did not happen in time"


@pytest.mark.parametrize("mode", MODES)
def test_a_large_picture_comes_with_the_action_while_somebody_looks(mode: str, tmp_path: Path) -> None:
    with started(mode, lambda index: Painted(index, str(tmp_path))) as (worker, sink, _):
        worker.request_preview(SECONDS)
        for _ in range(5):
            worker.collect_round()
        assert not any(tile.large or tile.pressed for tile in worker.preview().values())
        assert list(tmp_path.iterdir()) == [], "nobody looked closely"
        tile = rounds_until(
            worker,
            lambda: (tile := worker.preview()["2/1"]).pressed and tile,
            lambda: worker.request_preview(SECONDS, large=["2/1", "7/0", "nonsense"]),
        )
        picture = np.asarray(Image.open(io.BytesIO(tile.large)))
        step = round(int(picture[0, 0, 0]) / 16)
        assert picture.shape == (36, 64, 3) and step >= 1
        assert tile.pressed == f"walk {(step - 1) % 5}", "the action that led to what is shown"
        worker.request_preview(0.0, large=["2/1"])
        worker.collect_round()
        worker.collect_round()
        drawn = (tmp_path / "rendered-1").read_text()
        for _ in range(5):
            worker.collect_round()
        assert worker.preview()["2/1"].large == b"" and (tmp_path / "rendered-1").read_text() == drawn
        assert {path.name for path in tmp_path.iterdir()} == {"rendered-1"}
    check_fragments(sink.fragments)


@pytest.mark.parametrize("mode", MODES)
def test_a_picture_is_made_also_while_no_environment_may_step(mode: str, tmp_path: Path) -> None:
    with started(mode, lambda index: Painted(index, str(tmp_path))) as (worker, sink, _):
        worker.collect_round()
        deadline = time.monotonic() + SECONDS
        while not (tile := worker.preview()["2/0"]).large:
            worker.request_preview(SECONDS, large=["2/0"])
            worker.idle()
            assert time.monotonic() < deadline
        count = sink.fragments[0].obs["count"][-1]
        assert abs(int(np.asarray(Image.open(io.BytesIO(tile.large)))[0, 0, 0]) - 16 * count[3]) < 4
        for _ in range(20):  # what has not moved is not drawn again
            worker.idle()
        assert len((tmp_path / "rendered-0").read_text().splitlines()) == 1
        worker.collect_round()
    check_fragments(sink.fragments)


@pytest.mark.parametrize("mode", MODES)
def test_an_environment_that_cannot_be_drawn_can_be_learned_from(mode: str) -> None:
    with started(mode, Unpaintable) as (worker, sink, telemetry):
        tile = rounds_until(
            worker,
            lambda: (tile := worker.preview()["2/0"]).pressed and tile,
            lambda: worker.request_preview(SECONDS, large=["2/0"]),
        )
        assert tile.large == b"" and tile.frame is not None and tile.pressed.startswith("move ")
        assert ", turn " in tile.pressed
        assert telemetry.total("rollout/env_restarts") == 0
    check_fragments(sink.fragments)


def test_large_pictures_take_no_more_time_than_there_is_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("minestudio_nb.rollout.preview.time.monotonic", lambda: now[0])
    preview = Preview(VECTOR_SPEC.obs, 0, spare=0.02)
    preview._tiles[0] = Tile(None)
    preview.request(1000.0, large=["0/0"])
    assert preview.due_pictures() == [0] and preview.due_pictures() == []
    preview.take_picture(0, Picture(None, "", seconds=0.020))
    preview.moved([0], [])
    assert preview.due_pictures() == []
    now[0] += 0.99  # 20 ms in a second are 2 %
    assert preview.due_pictures() == []
    now[0] += 0.02
    assert preview.due_pictures() == [0]
    preview.take_picture(0, Picture(None, "", seconds=0.0001))
    preview.moved([0], [])
    now[0] += 0.24
    assert preview.due_pictures() == [], "four a second at most"
    now[0] += 0.02
    assert preview.due_pictures() == [0]
    preview.take_picture(0, Picture(None, "", seconds=30.0))
    preview.moved([0], [])
    now[0] += 4.9
    assert preview.due_pictures() == []
    now[0] += 0.2
    assert preview.due_pictures() == [0], "one that took long does not end the pictures"


def test_a_killed_environment_says_so_until_it_is_back(tmp_path: Path) -> None:
    with started("processes", CountingEnv) as (worker, sink, _):
        worker.request_preview(SECONDS)
        worker.collect_round()
        before = worker.preview()["2/1"]
        assert (before.state, before.cause, before.restarts) == ("running", "", 0)
        os.kill(worker._pool.pids[1], signal.SIGKILL)
        worker.pause()  # nobody rebuilds it before we have looked
        deadline = time.monotonic() + SECONDS
        while (tile := worker.preview()["2/1"]).state == "running":
            worker.idle()
            assert time.monotonic() < deadline
        assert tile.state == "restarting" and "was killed by SIGKILL" in tile.cause and tile.restarts == 1
        assert tile.frame is not None and worker.preview()["2/0"].state == "running"
        worker.resume()
        tile = rounds_until(
            worker,
            lambda: (tile := worker.preview()["2/1"]).state == "running" and tile,
            lambda: worker.request_preview(SECONDS),
        )
        assert "was killed by SIGKILL" in tile.cause and tile.restarts == 1
    check_fragments(sink.fragments)


def test_what_an_environment_does_instead_of_stepping_is_told() -> None:
    spec = EnvSpec(VECTOR_SPEC.obs, VECTOR_SPEC.action)
    arrays = EnvArrays.over(bytearray(EnvArrays.nbytes(spec, 2)), spec, 2)
    preview = Preview(spec.obs, 0)
    preview.keep([0, 1], arrays, np.zeros(2, np.int64), np.zeros(2), ["a", "b"])

    def state() -> str:
        return preview.tiles()["0/1"].state

    arrays.phase[1], arrays.phase_since[1] = STEP, 0.0
    assert state() == "running"
    arrays.phase[1], arrays.phase_since[1] = RESET, time.monotonic() - 0.1
    assert state() == "running", "most resets are short"
    arrays.phase_since[1] = time.monotonic() - 2.0
    assert state() == "resetting" and preview.tiles()["0/0"].state == "running"
    arrays.phase[1] = WAIT
    assert state() == "restarting" and "other environments" in preview.tiles()["0/1"].cause
    arrays.phase[1] = START
    assert state() == "restarting" and "restart_interval" in preview.tiles()["0/1"].cause
    preview.failed(1, "RuntimeError: broken", 2)
    tile = preview.tiles()["0/1"]
    assert (tile.state, tile.cause, tile.restarts) == ("restarting", "RuntimeError: broken", 2)
    arrays.phase[1] = STEP
    assert state() == "restarting"
    preview.moved([], [1])
    tile = preview.tiles()["0/1"]
    assert (tile.state, tile.cause, tile.restarts) == ("running", "RuntimeError: broken", 2)

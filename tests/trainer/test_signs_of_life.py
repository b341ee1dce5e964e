"""Training that goes on shows it without a word from a trainer of one's own; where it stands still, that says where."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minestudio_nb import OnlineSession
from minestudio_nb.config import trainers
from minestudio_nb.contracts.fragments import FragmentMeta
from minestudio_nb.contracts.pulse import Pulse, Sign
from minestudio_nb.telemetry.files import read_json_lines
from minestudio_nb.trainer import BaseTrainer, PPOTrainer, loop, register_trainer
from tests.support.training import Bench, small_config

LONG = 60.0
"""Deadline in seconds of what takes less than one."""


def wait_for(condition: Callable[[], Any]) -> Any:
    clock, end = threading.Event(), time.monotonic() + LONG
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not come true in time"
        clock.wait(0.01)
    return value


class Counted(Pulse):
    beats = 0

    def beat(self) -> None:
        self.beats += 1
        super().beat()


def test_a_loop_that_hangs_says_for_how_long_and_where() -> None:
    pulse, release = Pulse(), threading.Event()
    assert pulse.sign() == Sign(None), "it has not begun"

    def stuck() -> None:
        release.wait(LONG)

    def run() -> None:
        pulse.begin()
        stuck()
        pulse.end()

    thread = threading.Thread(target=run)
    thread.start()
    sign = wait_for(lambda: (sign := pulse.sign()).quiet and sign.quiet > 0.1 and sign)
    assert re.fullmatch(r"test_signs_of_life\.py, line \d+, in stuck", sign.where)
    assert "in run" in sign.stack and "release.wait(LONG)" in sign.stack
    with pulse.waiting():  # on another thread than the loop's
        assert (pulse.sign().quiet or 0.0) > 0.1
    release.set()
    thread.join(LONG)
    assert pulse.sign() == Sign(None)


def test_waits_with_a_deadline_of_their_own_do_not_count() -> None:
    pulse, clock = Pulse(), threading.Event()
    pulse.begin()
    clock.wait(0.05)
    assert (pulse.sign().quiet or 0.0) >= 0.05
    with pulse.waiting():
        clock.wait(0.05)
        with pulse.waiting():
            assert pulse.sign().quiet == 0.0
        assert pulse.sign().quiet == 0.0
        leaving = time.monotonic()
    assert 0.0 < (pulse.sign().quiet or 0.0) <= time.monotonic() - leaving


class Own(BaseTrainer):
    """Replaces all that can be replaced, and says nothing of signs."""

    def iterate(self, metas: tuple[FragmentMeta, ...]) -> None:
        for _ in range(5):
            self.optimizer.step()

    def loss(self, part: Any, targets: Any, total: Any) -> Any:
        raise AssertionError("not called")


def test_every_border_step_and_pass_is_a_sign() -> None:
    own = Counted()
    Bench(small_config(num_iterations=3), trainer=Own, pulse=own).run()
    assert own.beats == 3 * 5 + 4, "optimizer steps, and borders with the last one"
    ppo = Counted()
    bench = Bench(small_config(num_iterations=1, epochs_per_iteration=2), pulse=ppo)
    bench.run()
    # 2 borders; 2 epochs of 4 microbatches and 2 steps; the values and ends at the iteration's start.
    assert ppo.beats >= 2 + 2 * (4 + 2) + 1


def test_a_pause_is_full_of_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "TAKE_SLICE_S", 0.01)
    pulse = Counted()
    bench = Bench(pulse=pulse)
    bench.control.pause()
    thread = threading.Thread(target=bench.run)
    thread.start()
    wait_for(lambda: pulse.beats > 10)
    assert not bench.telemetry.points
    bench.control.resume()
    thread.join(LONG)
    assert len(bench.telemetry.points) == 2


def test_inline_an_event_says_where_training_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainers, "_REGISTERED", dict(trainers._REGISTERED))
    release = threading.Event()

    @register_trainer
    class Waiting(PPOTrainer):
        def after_update(self) -> None:
            super().after_update()
            if self.progress.iteration == 1:
                release.wait(LONG)

    session = OnlineSession("still", runtime="inline")
    session.load_config(
        "cartpole", ["trainer_name=Waiting", "train_config.num_iterations=3", "timeouts.training_step=1"]
    )
    session.start_rollout()
    session.start_trainer()

    def told() -> list[dict[str, Any]]:
        rows = read_json_lines(tmp_path / "runs" / "still" / "events.jsonl")
        return [row for row in rows if row["kind"] == "silent" and "in after_update" in row["message"]]

    (event,) = wait_for(told)
    assert "Training has stood still for" in event["message"] and "Inline nothing can be killed" in event["message"]
    assert "release.wait(LONG)" in event["data"]["stacks"]["rank 0"]
    release.set()
    session.wait(timeout=LONG)
    assert session.status().iteration == 3
    assert len(told()) == 1, "it is told once"
    session.stop()

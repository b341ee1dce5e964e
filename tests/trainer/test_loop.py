"""Borders, orders, faults and resuming of one rank."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minestudio_nb.errors import CheckpointError, ConfigError, TrainingError, WeightsError
from minestudio_nb.policies import build_policy
from minestudio_nb.trainer import (
    CheckpointStore,
    base,
    loop,
)
from minestudio_nb.trainer.prefetch import prepared_ahead
from tests.support.fragments import VECTOR_SPEC, FeedStore
from tests.support.training import Bench, same_weights, small_config


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = threading.Event()
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        deadline.wait(0.005)


class Hooked(FeedStore):
    """Calls ``hook(number of takes so far)`` before each take."""

    hook: Callable[[int], None] = staticmethod(lambda takes: None)

    def take(self, count: int, version: int, timeout: float) -> Any:
        self.hook(len(self.taken))
        return super().take(count, version, timeout)


def test_versions_and_iterations_count_up_by_one() -> None:
    bench = Bench(small_config(num_iterations=3), session="run-a")
    result = bench.run()
    assert [package.version for package in bench.publisher.packages] == [0, 1, 2, 3]
    assert {package.session for package in bench.publisher.packages} == {"run-a"}
    assert list(bench.telemetry.points) == [1, 2, 3] and result.version == result.iterations == 3
    assert same_weights(bench.weights, {k: torch.tensor(v) for k, v in bench.publisher.packages[-1].state.items()})


def test_the_last_weights_come_with_word_that_nothing_more_is_needed() -> None:
    bench = Bench(small_config(num_iterations=3))
    bench.run()
    assert bench.publisher.collecting == [True, True, True, False]


def test_edits_hold_from_the_next_iteration_on() -> None:
    store = Hooked()
    bench = Bench(small_config(num_iterations=4, weight_decay=0.1), store)
    edits: list[Any] = []
    bench.trainer._on_edit = lambda key, value: edits.append((key, value))

    def hook(takes: int) -> None:
        if takes == 1 and not edits:
            bench.control.edit("train_config.learning_rate", 5e-3)
            bench.control.edit("train_config.weight_decay", 0.2)
            bench.control.edit("train_config.num_iterations", 3)
            bench.control.edit("rollout_config.replay_buffer_config.max_staleness", 4)
            edits.append("sent")

    store.hook = hook
    result = bench.run()
    # Sent after the border of iteration 2 was read, so in force from the one after.
    points = bench.telemetry.points
    assert [points[k]["ppo/learning_rate"] for k in points] == [1e-2, 1e-2, 5e-3] and result.iterations == 3
    assert bench.trainer.optimizer.param_groups[0]["weight_decay"] == 0.2
    answers = bench.control.edits()
    assert [(edit.status, edit.iteration) for edit in answers] == [("applied", 2)] * 4
    assert edits[-1] == ("rollout_config.replay_buffer_config.max_staleness", 4)
    assert bench.telemetry.kinds().count("edit") == 4


def test_one_edit_is_one_event_however_often_the_trainer_is_started_again(tmp_path: Path) -> None:
    def answered(bench: Bench) -> list[int]:
        return [event.data["revision"] for event in bench.telemetry.told if "revision" in event.data]

    config = small_config(num_iterations=4, coef_rho_decay=0.5)
    store, applied = Hooked(), []
    first = Bench(config, store, checkpoints=CheckpointStore(tmp_path))

    def hook(takes: int) -> None:
        if takes == 1:
            first.control.edit("train_config.kl_divergence_coef_rho", 0.8)  # in force from iteration 2 on
            first.control.edit("train_config.learning_rate", -1.0)
        if takes == 3:
            first.control.edit("train_config.ppo_clip", 0.3)

    store.hook = hook
    first.run()
    assert first.trainer.state()["rho"] == pytest.approx(0.8 * 0.25)
    answers = first.control.edits()
    assert [(edit.status, edit.iteration) for edit in answers] == [("applied", 2), ("rejected", 2), ("applied", 4)]
    assert answered(first) == [1, 2, 3]

    def again(**parts: Any) -> Bench:
        bench = Bench(config.with_value("train_config.num_iterations", 5), **parts)
        bench.trainer.control = bench.control = first.control
        bench.trainer._on_edit = lambda key, value: applied.append((key, value))
        bench.run()
        assert answered(bench) == []
        assert bench.trainer.config.get("train_config.ppo_clip") == 0.3
        return bench

    config = config.with_value("train_config.resume", "latest")
    resumed = again(checkpoints=CheckpointStore(tmp_path))
    # The checkpoint of iteration 4 holds rho, which goes on to decay; the clip came after it.
    assert resumed.trainer.state()["rho"] == pytest.approx(0.8 * 0.125)
    assert applied == [("train_config.kl_divergence_coef_rho", 0.8), ("train_config.ppo_clip", 0.3)]
    assert [edit.iteration for edit in first.control.edits()] == [2, 2, 4]

    config = config.with_value("train_config.resume", None)
    begun_again = again()
    assert begun_again.trainer.state()["rho"] == pytest.approx(0.8 * 0.5**5)
    assert [edit.iteration for edit in first.control.edits()] == [0, 2, 0], "it says from when on it holds now"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("train_config.seed", 4, "when the trainer starts"),
        ("train_config.learning_rate", -1.0, "0 <= x <= 1"),
        ("train_config.learning_rate", "fast", "a number"),
        ("train_config.speed", 4, "no setting"),
    ],
)
def test_edits_that_cannot_be_are_answered(key: str, value: Any, reason: str) -> None:
    bench = Bench()
    bench.control.edit(key, value)
    bench.run()
    (edit,) = bench.control.edits()
    assert edit.status == "rejected" and reason in edit.reason
    assert bench.config == bench.trainer.config


def test_an_edit_of_rho_replaces_the_decayed_value_and_makes_a_reference() -> None:
    bench = Bench(small_config(coef_rho_decay=0.5, num_iterations=2))
    bench.control.edit("train_config.kl_divergence_coef_rho", 0.8)
    bench.run()
    assert bench.trainer.state()["rho"] == pytest.approx(0.8 * 0.25)
    assert bench.trainer.reference_weights() is not None


def test_pause_and_resume() -> None:
    store = Hooked()
    bench = Bench(small_config(num_iterations=3), store)
    paused = threading.Event()

    def hook(takes: int) -> None:
        if takes == 1 and not paused.is_set():
            bench.control.pause()
            paused.set()

    store.hook = hook
    thread = threading.Thread(target=bench.run)
    thread.start()
    wait_for(lambda: "state" in bench.telemetry.kinds())
    bench.control.edit("train_config.learning_rate", 2e-3)
    wait_for(lambda: bench.control.edits()[0].status == "applied")
    assert len(store.taken) == 2, "nothing is taken during a pause"
    bench.control.resume()
    thread.join(10)
    assert not thread.is_alive() and len(store.taken) == 3
    assert bench.telemetry.points[3]["ppo/learning_rate"] == 2e-3


@pytest.mark.parametrize("while_paused", [False, True])
def test_stop_ends_at_the_border_also_during_a_pause_or_a_wait(while_paused: bool, tmp_path: Path) -> None:
    bench = Bench(small_config(num_iterations=50), FeedStore(limit=16), checkpoints=CheckpointStore(tmp_path))
    if while_paused:
        bench.control.pause()
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(bench.run()))
    thread.start()
    wait_for(lambda: "state" in bench.telemetry.kinds() if while_paused else len(bench.telemetry.points) == 2)
    bench.control.stop()
    thread.join(10)
    (result,) = results
    assert result.reason == "stopped" and result.iterations == (0 if while_paused else 2)
    assert result.checkpoint is not None and result.checkpoint.is_dir()


def test_waiting_for_fragments_has_a_deadline() -> None:
    bench = Bench(store=FeedStore(limit=0), fragment_deadline=0.0)
    with pytest.raises(TrainingError, match=r"within 0 s: 8 fragments did not arrive.*rollout workers"):
        bench.run()


def test_the_number_of_ranks_must_be_the_configured_one() -> None:
    with pytest.raises(ConfigError, match="num_workers is 2, but 1 ranks train"):
        Bench(small_config(num_workers=2)).run()


def test_requests_are_served_at_the_border(tmp_path: Path) -> None:
    asked: list[Any] = []
    bench = Bench(checkpoints=CheckpointStore(tmp_path), on_request=asked.append)
    bench.control.request("checkpoint", label="before")
    bench.control.request("record", episodes=2)
    bench.run()
    assert (tmp_path / "iteration_000000-before").is_dir() and asked == [{"number": 2, "kind": "record", "episodes": 2}]
    assert [event.kind for event in bench.telemetry.told].count("checkpoint") == 1, "carried out once"
    assert bench.control.read(0).requests == ()


def test_a_request_is_left_to_the_next_trainer_by_one_that_dies_before_it_is_done(tmp_path: Path) -> None:
    class Died(BaseException):
        """As sudden as SIGKILL for what the trainer could still say."""

    def die(request: Any) -> None:
        raise Died

    store = CheckpointStore(tmp_path)
    first = Bench(checkpoints=store, on_request=die)
    first.control.request("checkpoint", label="mine")
    first.control.request("record", episodes=2)
    with pytest.raises(Died):
        first.run()
    assert [request["kind"] for request in first.control.read(0).requests] == ["record"]
    first.control.request("checkpoint", label="mine")
    asked: list[Any] = []
    second = Bench(small_config(resume="latest"), checkpoints=store, on_request=asked.append)
    second.control = second.trainer.control = first.control
    second.run()
    assert [request["episodes"] for request in asked] == [2] and first.control.read(0).requests == ()
    assert [path.name for path in store.folders() if "-" in path.name] == ["iteration_000000-mine"], "in its place"
    assert store.load(tmp_path / "iteration_000000-mine").iteration == 0


# Lost data.


def test_lost_fragments_are_replaced_by_others() -> None:
    bench = Bench(small_config(num_iterations=1), FeedStore(lost=[2, 5]))
    bench.run()
    assert bench.store.taken == [list(range(8)), [8, 9]]
    assert bench.telemetry.points[1]["buffer/lost_fragments"] == 2
    assert bench.trainer.progress.samples == 64


def test_without_others_lost_fragments_count_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "REPLACEMENT_WAIT_S", 0.0)
    one_step = {"num_iterations": 1, "gradient_accumulation": 4}
    holes = Bench(small_config(**one_step), FeedStore(lost=[6, 7], limit=8))
    holes.run()
    sizes = {"batch_size_per_gpu": 1, "batches_per_iteration": 6, "gradient_accumulation": 6}
    whole = Bench(small_config(num_iterations=1, **sizes))
    whole.run()
    assert holes.trainer.progress.samples == whole.trainer.progress.samples == 48
    for name, tensor in whole.weights.items():
        torch.testing.assert_close(holes.weights[name], tensor, rtol=1e-4, atol=1e-6)
    assert [event.severity for event in holes.telemetry.told if event.kind == "lost_fragments"] == ["warning"]


# Updates that go wrong.


class Poisoned(FeedStore):
    """A NaN among the rewards of one fragment."""

    poisoned = 10

    def make(self, number: int, version: int) -> Any:
        fragment = super().make(number, version)
        if number == self.poisoned:
            fragment.rewards[0] = np.nan
        return fragment


def test_nan_changes_nothing_and_is_told() -> None:
    bench = Bench(small_config(num_iterations=3), Poisoned())
    bench.run()
    states = [package.state for package in bench.publisher.packages]
    assert all(np.array_equal(states[1][name], states[2][name]) for name in states[1]), "iteration 2 was skipped"
    assert not np.array_equal(states[2]["actor.0.weight"], states[3]["actor.0.weight"]), "and iteration 3 was not"
    skipped = [bench.telemetry.points[k]["ppo/updates_skipped"] for k in (1, 2, 3)]
    assert skipped == [0, 2, 0]
    (event,) = [event for event in bench.telemetry.told if event.kind == "update_skipped"]
    assert "not finite" in event.message and event.severity == "warning"
    assert all(np.isfinite(array).all() for array in states[3].values())


def test_a_runaway_kl_is_undone() -> None:
    store = Hooked()
    bench = Bench(small_config(num_iterations=2, epochs_per_iteration=20, learning_rate=1e-3, kl_skip=0.5), store)
    store.hook = lambda takes: bench.control.edit("train_config.learning_rate", 0.5) if takes == 0 else None
    bench.trainer.setup()
    taken: list[Any] = []
    snapshot = bench.trainer._snapshot
    original = snapshot.take
    snapshot.take = lambda: (taken.append(moments_of(bench)), original())[1]
    bench.trainer.train()
    first, second = bench.publisher.packages[1].state, bench.publisher.packages[2].state
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert bench.telemetry.points[1]["ppo/updates_skipped"] == 0
    assert bench.telemetry.points[2]["ppo/updates_skipped"] == 40
    assert all(torch.equal(a, b) for a, b in zip(taken[1], moments_of(bench), strict=True)), "the optimizer too"
    assert "kl_skip = 0.5" in bench.telemetry.told[-1].message


def moments_of(bench: Bench) -> list[torch.Tensor]:
    states = bench.trainer.optimizer.state.values()
    return [value.clone() for state in states for value in state.values()]


def test_weights_that_are_no_longer_finite_are_undone() -> None:
    bench = Bench(small_config(num_iterations=1))
    bench.trainer.setup()
    step = bench.trainer.optimizer.step

    def broken_step() -> None:
        step()
        with torch.no_grad():
            next(bench.policy.parameters())[0] = float("inf")

    bench.trainer.optimizer.step = broken_step
    bench.trainer.train()
    assert same_weights(bench.weights, Bench().weights)
    assert bench.trainer.optimizer.state == {}, "as before the first step"
    assert bench.telemetry.points[1]["ppo/updates_skipped"] == 2


# Resuming.


@pytest.mark.parametrize("lag", [0, 1])
def test_a_resumed_run_is_bit_equal(tmp_path: Path, lag: int) -> None:
    settings = {
        "num_iterations": 4,
        "anneal_lr_linearly": True,
        "kl_divergence_coef_rho": 0.2,
        "coef_rho_decay": 0.7,
        "use_normalized_vf": True,
        "epochs_per_iteration": 2,
    }
    straight = Bench(small_config(**settings), FeedStore(lag=lag))
    straight.run()

    store = CheckpointStore(tmp_path / "run-a" / "checkpoints")
    extra = {"feed": (1, b"x")}
    part = Bench(small_config(**settings), FeedStore(lag=lag), checkpoints=store, extra_state=lambda: extra)
    part.trainer._stop_check = lambda: "half" if part.trainer.progress.iteration == 2 else None
    assert part.run().reason == "half"

    torch.manual_seed(99)
    config = small_config(**settings, resume="run-a")
    rest = Bench(config, FeedStore(lag=lag, start=16), checkpoints=CheckpointStore(tmp_path / "run-b" / "checkpoints"))
    result = rest.run()
    assert rest.trainer.resumed_extra_state == extra
    assert rest.publisher.packages[0].version == 2 and result.version == 4
    assert same_weights(straight.weights, rest.weights)
    assert all(torch.equal(a, b) for a, b in zip(moments_of(straight), moments_of(rest), strict=True))
    assert straight.trainer.state() == rest.trainer.state()
    assert straight.trainer.progress.samples == rest.trainer.progress.samples
    assert straight.telemetry.points[4]["ppo/loss"] == rest.telemetry.points[4]["ppo/loss"]


def test_live_edits_survive_a_resume_unless_something_newer_is_said(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    bench = Bench(small_config(), checkpoints=store)
    bench.control.edit("train_config.learning_rate", 3e-3)
    bench.control.edit("train_config.ppo_clip", 0.3)
    bench.run()
    told: dict[str, float] = {}
    config = small_config(resume="latest", num_iterations=3, ppo_clip=0.1)
    again = Bench(config, checkpoints=store, on_edit=told.__setitem__)
    again.run()
    assert told == {"train_config.learning_rate": 3e-3}  # for the buffer, where it is one of its settings
    train = again.trainer.config.train_config
    assert (train.learning_rate, train.ppo_clip) == (3e-3, 0.1)
    assert list(again.telemetry.points) == [3]


def test_without_its_state_the_optimizer_begins_anew(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    Bench(small_config(), checkpoints=store).run()
    for keep, steps in ((True, 6), (False, 2)):
        config = small_config(num_iterations=3, resume=str(tmp_path), resume_optimizer=keep)
        bench = Bench(config, checkpoints=CheckpointStore(tmp_path / f"other{keep}"))
        bench.run()
        assert next(iter(bench.trainer.optimizer.state.values()))["step"] == steps


def test_the_reference_survives_a_resume(tmp_path: Path) -> None:
    for moved in (False, True):
        store = CheckpointStore(tmp_path / str(moved))
        settings = {"kl_divergence_coef_rho": 0.1, "enable_ref_update": moved}
        first = Bench(small_config(**settings), checkpoints=store)
        first.run()
        again = Bench(small_config(**settings, resume="latest"), checkpoints=store)
        again.trainer.setup()
        wanted = first.weights if moved else Bench().weights
        assert same_weights(again.trainer.reference_policy.state_dict(), wanted)


def test_a_checkpoint_of_another_policy_or_none_at_all(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "run" / "checkpoints")
    Bench(checkpoints=store).run()
    other = build_policy({"name": "mlp", "args": {"hidden": [8]}}, VECTOR_SPEC, 1)
    with pytest.raises(WeightsError, match="of another shape"):
        Bench(small_config(resume="latest"), checkpoints=store, policy=other).run()
    with pytest.raises(CheckpointError, match="No checkpoint found for resume = 'nowhere'"):
        Bench(small_config(resume="nowhere"), checkpoints=store).run()


# Small parts.


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_prefetching_keeps_order_and_errors(ahead: int) -> None:
    assert list(prepared_ahead(lambda item: item * item, range(5), ahead)) == [0, 1, 4, 9, 16]
    results = prepared_ahead(lambda item: 1 // item, [1, 0, 1], ahead)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_heartbeats_are_far_below_the_deadlines_of_process_groups() -> None:
    assert loop.TAKE_SLICE_S <= 5.0

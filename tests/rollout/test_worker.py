"""The rollout worker delivers every step once, in order, with version, value and log-probability of its decision."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from minestudio_nb.contracts.fragments import Fragment, StreamId
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.policies.base import FeedForwardPolicy, MinePolicy, reset_state
from minestudio_nb.rollout.worker import RolloutWorker
from tests.support.checking_policy import CheckingPolicy
from tests.support.counting_env import (
    EPISODE,
    LIFE,
    STEP,
    CountingEnv,
    RebuiltEnv,
    TracingEnv,
    check_fragments,
    episode_length,
)
from tests.support.rollout_doubles import ListSink, Slot, Telemetry, rollout_config

MODES = ["in_worker", "processes"]


@contextmanager
def started(
    mode: str, sink: ListSink, policy: Any = CheckingPolicy, env: Any = CountingEnv, **options: Any
) -> Iterator[Any]:
    slot, telemetry = Slot(), Telemetry()
    deliver = options.pop("deliver", None)
    seed = options.pop("seed", 3)
    config = rollout_config(mode, **options)
    worker = RolloutWorker(2, config, env, policy, sink, slot, telemetry, seed, deliver)
    try:
        worker.start(60.0)
        yield worker, slot, telemetry
    finally:
        worker.close()


@pytest.mark.parametrize("mode", MODES)
def test_every_step_arrives_once_with_the_weights_that_produced_it(mode: str) -> None:
    sink = ListSink(60)
    with started(mode, sink, length=7) as (worker, slot, telemetry):
        slot.publish_every(5, worker._policy)
        worker.run()
    streams = check_fragments(sink.fragments, slot.marks)
    assert sorted(streams) == [StreamId(2, env) for env in range(4)]
    assert len(sink.fragments) == 60
    versions = np.concatenate([fragment.versions for fragment in sink.fragments])
    assert versions.max() >= 15
    assert any(len(set(fragment.versions.tolist())) > 1 for fragment in sink.fragments)  # weights change within one
    assert telemetry.total("rollout/env_steps") == 60 * 7
    assert sink.released == 0


@pytest.mark.parametrize("mode", MODES)
def test_episode_summaries_agree_with_the_fragments(mode: str) -> None:
    sink = ListSink(24)
    with started(mode, sink, length=10) as (worker, slot, telemetry):
        slot.publish_every(3, worker._policy)
        worker.run()
    streams = check_fragments(sink.fragments, slot.marks)
    for stream, parts in streams.items():
        rewards = np.concatenate([part.rewards for part in parts])
        ends = np.flatnonzero(np.concatenate([part.terminated | part.truncated for part in parts]))
        expected = [float(chunk.sum()) for chunk in np.split(rewards, ends + 1)[:-1]]
        mine = [episode for episode in telemetry.finished if episode.stream == stream]
        assert [episode.episode_return for episode in mine] == expected
        assert [episode.version for episode in mine] == np.concatenate([part.versions for part in parts])[ends].tolist()
        assert [episode.length for episode in mine] == [episode_length(stream.env, i) for i in range(len(mine))]
        assert [episode.extras["episode"] for episode in mine] == list(range(len(mine)))
        assert all(episode.terminated != episode.truncated for episode in mine)
        assert all(episode.task == f"task{stream.env % 2}" for episode in mine)
        assert {part.task for part in parts[2:]} <= {f"task{stream.env % 2}"}
    assert max(map(len, streams.values())) > 2, "some stream is long enough for the line above to say something"


@pytest.mark.parametrize("mode", MODES)
def test_the_loop_can_be_stopped_and_run_again_without_losing_a_step(mode: str) -> None:
    sink = ListSink(48)
    with started(mode, sink, length=5) as (worker, _, _telemetry):
        for _ in range(4):
            goal = len(sink.fragments) + 7

            def stop_in_between(fragment: Fragment, goal: int = goal) -> None:
                if len(sink.fragments) >= goal:
                    worker.stop()

            sink.on_put = stop_in_between
            worker.run()
            assert len(sink.fragments) < 48
        sink.on_put = lambda fragment: None
        worker.run()
    assert len(sink.fragments) == 48
    check_fragments(sink.fragments)


@pytest.mark.parametrize("mode", MODES)
def test_grants_smaller_than_the_number_of_environments(mode: str) -> None:
    sink = ListSink(10, at_once=3)
    with started(mode, sink) as (worker, _, _telemetry):
        assert [worker.collect_round() for _ in range(5)] == [3, 3, 3, 1, 0]
    check_fragments(sink.fragments)


def test_a_round_is_one_fragment_of_each_environment() -> None:
    sink = ListSink(8)
    with started("in_worker", sink) as (worker, _, _telemetry):
        assert worker.collect_round() == 4
        assert sorted(fragment.stream.env for fragment in sink.fragments) == [0, 1, 2, 3]
        assert worker.collect_round() == 4
        assert worker.collect_round() == 0


@pytest.mark.parametrize("mode", MODES)
def test_credit_that_is_not_used_goes_back(mode: str) -> None:
    sink = ListSink(100)
    with started(mode, sink, length=5) as (worker, _, _telemetry):
        sink.on_put = lambda fragment: worker.stop()
        worker.run()
    assert sink.left + sink.released + len(sink.fragments) == 100
    assert mode == "in_worker" or sink.released > 0  # in the worker, all fragments of a round end at once


@pytest.mark.parametrize("mode", MODES)
def test_stop_from_another_thread_and_pause(mode: str) -> None:
    sink = ListSink(10**9)
    with started(mode, sink, length=5) as (worker, _, _telemetry):
        progressed = threading.Event()
        sink.on_put = lambda fragment: progressed.set()
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            assert progressed.wait(10)
            worker.pause()
            time.sleep(0.2)  # the batch at hand may still finish
            count = len(sink.fragments)
            time.sleep(0.2)
            assert len(sink.fragments) == count
            progressed.clear()
            worker.resume()
            assert progressed.wait(10)
        finally:
            worker.stop()
            thread.join(10)
        assert not thread.is_alive()
    check_fragments(sink.fragments)


def _equal(left: Fragment, right: Fragment) -> bool:
    arrays = [
        "actions",
        "rewards",
        "terminated",
        "truncated",
        "first",
        "log_probs",
        "values",
        "versions",
        "final_steps",
    ]
    same = all(np.array_equal(getattr(left, name), getattr(right, name)) for name in arrays)
    same &= all(np.array_equal(left.obs[key], right.obs[key]) for key in left.obs)
    same &= all(np.array_equal(left.final_obs[key], right.final_obs[key]) for key in left.final_obs)
    same &= all(np.array_equal(a, b) for a, b in zip(left.state, right.state, strict=True))
    return bool(same and left.stream == right.stream and left.index == right.index and left.task == right.task)


class LinearPolicy(FeedForwardPolicy):
    """A policy without memory."""

    def __init__(self, spec: EnvSpec) -> None:
        torch.manual_seed(0)
        super().__init__(spec, features=4)

    def encode(self, obs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return obs["count"] / 10, obs["count"] / 10


class GruPolicy(MinePolicy):
    """A small policy with memory."""

    is_recurrent = True

    def __init__(self, spec: EnvSpec) -> None:
        torch.manual_seed(0)
        super().__init__(spec, features=6)
        self.cell = nn.GRUCell(4, 6)

    def initial_state(self, batch_size: int) -> list[torch.Tensor]:
        return [torch.zeros(batch_size, 6)]

    def forward(self, input: Any, state_in: Any = (), context: Any = None) -> Any:
        state, outputs = list(state_in), []
        for t in range(input["count"].shape[1]):
            state = reset_state(state, self.initial_state(len(state[0])), context["first"][:, t])
            state = [self.cell(input["count"][:, t] / 10, state[0])]
            outputs.append(state[0])
        features = torch.stack(outputs, 1)
        return {"pi_logits": self.pi_head(features), "vpred": self.value_head(features)}, state


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", [LinearPolicy, GruPolicy])
def test_a_resumed_worker_goes_on_bit_equal(mode: str, policy: Any) -> None:
    options = {"length": 6, "batch_size": 4, "policy": policy}
    whole = ListSink(24)
    with started(mode, whole, **options) as (worker, _, _telemetry):
        for _ in range(6):
            worker.collect_round()
    first = ListSink(12)
    with started(mode, first, **options) as (worker, _, _telemetry):
        for _ in range(3):
            worker.collect_round()
        state = worker.get_state()
    second = ListSink(12)
    with started(mode, second, **options) as (worker, _, _telemetry):
        worker.set_state(state)
        for _ in range(3):
            worker.collect_round()
    if mode == "in_worker":  # in processes, who answers first decides which random number is whose
        order = [fragment.stream.env for fragment in whole.fragments]
        assert order == [fragment.stream.env for fragment in first.fragments + second.fragments]
        pairs = zip(whole.fragments, first.fragments + second.fragments, strict=True)
        assert all(_equal(left, right) for left, right in pairs)
    for fragment in second.fragments:
        before = next(f for f in first.fragments if f.stream == fragment.stream and f.index == 2)
        if fragment.index == 3:
            assert all(np.array_equal(before.obs[key][-1], fragment.obs[key][0]) for key in fragment.obs)
            assert before.first[-1] == fragment.first[0]


@pytest.mark.parametrize("mode", MODES)
def test_recurrent_state_at_fragment_starts_reproduces_the_behaviour(mode: str) -> None:
    sink = ListSink(16)
    with started(mode, sink, policy=GruPolicy, length=6, batch_size=3) as (worker, _, _telemetry):
        worker.run()
        policy = worker._policy
    for fragment in sink.fragments:
        obs = {key: torch.from_numpy(array[None, :-1]) for key, array in fragment.obs.items()}
        first = torch.from_numpy(fragment.first[None, :-1])
        state = [torch.from_numpy(part)[None] for part in fragment.state]
        outputs, _ = policy(obs, state, {"first": first})
        values = policy.value_head.denormalize(outputs["vpred"])[0, :, 0]
        torch.testing.assert_close(values, torch.from_numpy(fragment.values), atol=1e-5, rtol=1e-5)
    assert any(fragment.state[0].any() for fragment in sink.fragments)


@pytest.mark.parametrize("mode", MODES)
def test_preview_copies_only_while_somebody_looks(mode: str) -> None:
    sink = ListSink(12)
    with started(mode, sink) as (worker, _, _telemetry):
        worker.collect_round()
        assert sorted(worker.preview()) == ["2/0", "2/1", "2/2", "2/3"]
        assert not any(tile.frame.any() for tile in worker.preview().values())  # still the first, whose steps are 0
        worker.request_preview(60.0, fps=1e6)
        worker.collect_round()
        tiles = worker.preview()
        assert sorted(tiles) == ["2/0", "2/1", "2/2", "2/3"]
        for env in range(4):
            stream = [fragment for fragment in sink.fragments if fragment.stream.env == env]
            newest, rewards = stream[-1], np.concatenate([fragment.rewards for fragment in stream])
            tile, count = tiles[f"2/{env}"], newest.obs["count"]
            assert np.array_equal(tile.frame, newest.obs["image"][-1])
            assert np.array_equal(tile.action, newest.actions[-1]) and tile.value == newest.values[-1]
            assert tile.step == count[-1][STEP]
            assert tile.episode_return == pytest.approx(rewards[len(rewards) - tile.step :].sum())
        worker.request_preview(0.0)
        worker.collect_round()
        assert all(tiles[name] is tile for name, tile in worker.preview().items())


@pytest.mark.parametrize("mode", MODES)
def test_the_next_episodes_are_recorded_with_their_values(mode: str) -> None:
    recorded = []

    def deliver(episode: Any, summary: Any) -> str:
        recorded.append((episode, summary))
        return f"episodes/{len(recorded)}.mp4"

    sink = ListSink(40)
    with started(mode, sink, deliver=deliver) as (worker, _, telemetry):
        worker.collect_round()
        worker.record(6)
        for _ in range(9):  # in rounds, so that no environment is left behind
            worker.collect_round()
    assert len(recorded) == 6
    for episode, summary in recorded:
        number = int(summary.extras["episode"])
        steps = episode_length(episode.stream.env, number)
        assert len(episode.values) == len(episode.rewards) == len(episode.versions) == summary.length == steps
        assert sum(episode.rewards) == summary.episode_return
        assert episode.values == [float(step) for step in range(steps)]
        shown = [int(frame[0, 0, 0]) for frame in episode.frames]
        assert shown == list(range(steps + int(summary.truncated)))
    assert sorted(e.trace for e in telemetry.finished if e.trace) == [f"episodes/{n}.mp4" for n in range(1, 7)]


@pytest.mark.parametrize("mode", MODES)
def test_an_environment_that_records_itself_gives_its_trace(mode: str) -> None:
    recorded = []
    sink = ListSink(24)
    with started(mode, sink, env=TracingEnv, deliver=lambda *given: recorded.append(given)) as (worker, _, _telemetry):
        worker.record(3)
        for _ in range(6):  # in rounds, so that no environment is left behind
            worker.collect_round()
    assert len(recorded) == 3
    for episode, summary in recorded:
        assert episode.trace == [summary.extras["episode"], summary.length]
        assert episode.frames == []


@pytest.mark.parametrize("mode", MODES)
def test_old_environments_are_rebuilt_between_episodes(mode: str) -> None:
    sink = ListSink(16)
    with started(mode, sink, env=RebuiltEnv, restart_interval=1e-6) as (worker, _, _telemetry):
        worker.run()
    lives = 0
    for env in {fragment.stream.env for fragment in sink.fragments}:
        mine = [fragment for fragment in sink.fragments if fragment.stream.env == env]
        count = np.concatenate([fragment.obs["count"] for fragment in mine])
        first = np.concatenate([fragment.first for fragment in mine])
        assert (count[:, EPISODE] == 0).all()  # a rebuilt environment begins with its first episode again
        assert (count[first][:, STEP] == 0).all()
        # How many fragments are whose depends, in processes, on who answers first.
        steps = sum(len(fragment.rewards) for fragment in mine)
        assert len(set(count[:, LIFE].tolist())) >= steps // episode_length(env, 0)
        lives += len(set(count[:, LIFE].tolist()))
    assert lives > 8

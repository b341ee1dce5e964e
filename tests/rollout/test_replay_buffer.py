"""The replay buffer: who reads what how often, and how many fragments may be begun."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.fragments import StreamId
from minestudio_nb.rollout.replay_buffer import FlowControl, ReplayBuffer


def make(schedule="overlap", per_iteration=4, lead=1, capacity=100, max_reuse=1, max_staleness=2, keep_previous=False):
    flow = FlowControl(schedule, per_iteration, lead)
    return ReplayBuffer[str](capacity, max_reuse, max_staleness, flow, keep_previous)


def add(buffer, version, count=1, worker=0, env=0, start=0, nbytes=10):
    return [
        buffer.add(StreamId(worker, env), start + i, version, 8, nbytes, f"{worker}/{env}/{start + i}").fragment_id
        for i in range(count)
    ]


def ids(metas):
    return None if metas is None else [meta.fragment_id for meta in metas]


def test_first_in_first_out_each_once():
    buffer = make()
    add(buffer, 0, 5)
    assert buffer.take(6, 0) is None
    assert ids(buffer.take(3, 0)) == [0, 1, 2]
    assert buffer.take(3, 0) is None
    assert ids(buffer.take(2, 0)) == [3, 4]
    assert buffer.take(1, 0) is None


def test_each_once_before_any_reuse_and_no_more_than_max_reuse():
    buffer = make(max_reuse=2)
    add(buffer, 0, 4)
    assert ids(buffer.take(3, 0)) == [0, 1, 2]
    assert ids(buffer.take(3, 0)) == [0, 1, 3]  # 3 is unread, 0 and 1 are the oldest of the rest
    assert ids(buffer.take(2, 0)) == [2, 3]
    assert buffer.take(1, 0) is None
    reuse = buffer.flush_metrics()["buffer/reuse"]
    assert (reuse.total, reuse.count) == (4 * 1 + 4 * 2, 8)


def test_stale_fragments_are_dropped_and_counted_when_unread():
    buffer = make(max_staleness=1, max_reuse=2)
    add(buffer, 0, 3)
    add(buffer, 1, 1, env=1)
    buffer.take(1, 0)
    assert buffer.take(2, 2) is None
    assert ids(buffer.take(1, 2)) == [3]
    assert buffer.stats().dropped_stale == 2  # fragment 0 was read: nothing was thrown away with it
    assert buffer.flush_metrics()["buffer/dropped_stale"].total == 2
    assert buffer.flush_metrics()["buffer/dropped_stale"].total == 0


def test_capacity_evicts_the_most_read_then_the_oldest_but_not_what_is_in_training():
    buffer = make(capacity=4, max_reuse=3)
    add(buffer, 0, 4)
    buffer.take(2, 0)  # 0, 1
    buffer.publish(1)
    buffer.take(2, 1)  # 2, 3: still unread, so before reuse
    add(buffer, 1, 1, env=1)
    assert buffer.refs([0, 1, 2, 3]) == [None, "0/0/1", "0/0/2", "0/0/3"]
    add(buffer, 1, 2, env=2)
    assert buffer.refs([1, 2, 3]) == [None, "0/0/2", "0/0/3"]
    assert buffer.stats().evicted_unread == 1  # fragment 4, because 2 and 3 are being trained on
    assert buffer.stats().nbytes == 40


@pytest.mark.parametrize(("rho", "reuse", "kept"), [(0.0, 1, False), (0.1, 1, True), (0.0, 2, True)])
def test_predecessors_are_kept_where_states_are_made_anew(rho, reuse, kept):
    config = OnlineConfig.from_dict(
        {
            "train_config": {"kl_divergence_coef_rho": rho, "batches_per_iteration": 1, "gradient_accumulation": 1},
            "rollout_config": {"replay_buffer_config": {"max_reuse": reuse, "max_staleness": 1}},
        }
    )
    buffer = ReplayBuffer.of(config, "alternate")
    buffer.publish(0)
    (first,) = add(buffer, 0, 1)
    buffer.publish(2)  # stale now, and its successor is still to come
    assert (buffer.refs([first]) == ["0/0/0"]) is kept


def test_previous_and_lost():
    buffer = make(keep_previous=True, max_staleness=0)
    first, second = add(buffer, 0, 2)
    (other,) = add(buffer, 0, 1, env=1)
    assert buffer.previous([first, second, other, 99]) == [None, "0/0/0", None, None]
    buffer.lose([first])
    assert buffer.previous([second]) == [None]
    assert buffer.refs([first, second]) == [None, "0/0/1"]
    assert buffer.stats().lost == 1
    assert ids(buffer.take(2, 0)) == [second, other]
    buffer.publish(1)
    (third,) = add(buffer, 1, 1, start=2)
    assert buffer.previous([third]) == ["0/0/1"]  # read up and stale, but kept for its successor
    assert buffer.take(2, 1) is None
    assert ids(buffer.take(1, 1)) == [third]
    buffer.publish(2)
    add(buffer, 2, 1, start=3)
    assert buffer.stats().dropped_stale == 0
    assert buffer.refs([second]) == [None]  # its successor cannot be read any more


def test_alternate_grants_exactly_what_is_missing_and_opens_with_each_publish():
    buffer = make("alternate", per_iteration=6)
    assert buffer.grant(0, 4) == 0  # no weights yet
    buffer.publish(0)
    assert (buffer.grant(0, 4), buffer.grant(1, 4), buffer.grant(1, 4)) == (4, 2, 0)
    add(buffer, 0, 4, worker=0)
    add(buffer, 0, 1, worker=1)
    assert buffer.grant(0, 4) == 0
    buffer.release(1, 1)  # one of them will not come
    assert buffer.grant(0, 4) == 1
    add(buffer, 0, 1, worker=0, env=3)
    assert len(buffer.take(6, 0)) == 6
    assert buffer.grant(0, 4) == 0  # closed while training
    buffer.publish(1)
    assert buffer.grant(0, 9) == 6
    buffer.forget_worker(0)
    assert buffer.grant(1, 9) == 6


def test_alternate_with_reuse_collects_only_what_cannot_be_read_again():
    buffer = make("alternate", per_iteration=4, max_reuse=2)
    buffer.publish(0)
    assert buffer.grant(0, 8) == 4
    add(buffer, 0, 4)
    assert len(buffer.take(4, 0)) == 4
    buffer.publish(1)
    assert buffer.grant(0, 8) == 0
    assert len(buffer.take(4, 1)) == 4
    buffer.publish(2)
    assert buffer.grant(0, 8) == 4


def test_overlap_blocks_once_lead_iterations_are_unread():
    buffer = make("overlap", per_iteration=4, lead=2)
    assert buffer.grant(0, 4) == 0
    buffer.publish(0)
    assert buffer.grant(0, 6) == 6
    assert buffer.grant(1, 6) == 2
    add(buffer, 0, 6)
    assert buffer.grant(0, 6) == 0
    buffer.take(4, 0)
    assert buffer.grant(0, 6) == 4


@pytest.mark.parametrize("schedule", ["alternate", "overlap"])
def test_nothing_is_collected_for_an_iteration_that_will_not_come_unless_it_comes(schedule):
    buffer = make(schedule, per_iteration=4)
    buffer.publish(0)
    assert buffer.grant(0, 4) == 4
    add(buffer, 0, 4)
    assert len(buffer.take(4, 0)) == 4
    buffer.publish(1, collect=False)
    assert buffer.grant(0, 8) == 0
    assert buffer.take(4, 1) is None  # somebody has raised the number of iterations meanwhile
    assert buffer.grant(0, 8) == 4 and buffer.grant(0, 8) == 0


def test_fragments_are_collected_in_place_of_lost_ones():
    buffer = make("alternate", per_iteration=4)
    buffer.publish(0)
    buffer.grant(0, 4)
    add(buffer, 0, 4)
    taken = ids(buffer.take(4, 0))
    buffer.lose(taken[:2])
    assert buffer.take(2, 0) is None
    assert buffer.grant(0, 8) == 2
    add(buffer, 0, 2, start=4)
    assert len(buffer.take(2, 0)) == 2 and buffer.grant(0, 8) == 0


def assert_tallies(buffer):
    """The counts that are kept are those that one would find."""
    readable = [entry for entry in buffer._entries.values() if buffer._is_readable(entry)]
    assert (buffer._readable, buffer._unread) == (len(readable), sum(entry.uses == 0 for entry in readable))


@settings(max_examples=60, deadline=None)
@given(
    keep_previous=st.booleans(),
    steps=st.lists(st.tuples(st.sampled_from("atplrse"), st.integers(0, 9)), max_size=80),
)
def test_counts_are_kept_through_all_that_changes_them(keep_previous, steps):
    buffer = make(capacity=6, max_reuse=2, max_staleness=1, keep_previous=keep_previous)
    version, made = 0, 0
    for action, number in steps:
        if action == "a":
            add(buffer, max(0, version - number % 3), worker=number % 2, start=made)
            made += 1
        elif action == "t":
            buffer.take(1 + number % 3, version)
        elif action == "p":
            version += number % 2
            buffer.publish(version)
        elif action == "l":
            buffer.lose([made - number])
        elif action == "r":
            buffer.max_reuse = 1 + number % 3
        elif action == "s":
            buffer.max_staleness = number % 4
        else:
            buffer.forget_worker(number % 2)
        assert_tallies(buffer)


@settings(max_examples=60, deadline=None)
@given(
    schedule=st.sampled_from(["alternate", "overlap"]),
    per_iteration=st.integers(1, 9),
    lead=st.integers(1, 3),
    max_reuse=st.integers(1, 3),
    workers=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    choices=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=120),
)
def test_whatever_happens_no_iteration_starves_and_no_fragment_is_misused(
    schedule, per_iteration, lead, max_reuse, workers, choices
):
    """Workers that take whatever they are granted always bring an iteration together, and nothing grows unbounded."""
    max_staleness = lead + 1
    buffer = make(schedule, per_iteration, lead, 10_000, max_reuse, max_staleness)
    buffer.publish(0)
    version, uses, made, iterations = 0, Counter(), {}, 0
    open_fragments = [0] * len(workers)
    for which, action in [*choices, *[(i, a) for i in range(3 * per_iteration) for a in (0, 2, 4, 9)]]:
        worker = which % len(workers)
        if action < 4:
            open_fragments[worker] += buffer.grant(worker, workers[worker] - open_fragments[worker])
        elif action < 8 and open_fragments[worker]:
            open_fragments[worker] -= 1
            meta = buffer.add(StreamId(worker, 0), len(made), version, 8, 1, "x")
            made[meta.fragment_id] = version
        elif action == 8 and open_fragments[worker]:
            buffer.release(worker, open_fragments[worker])
            open_fragments[worker] = 0
        elif action == 9 and (metas := buffer.take(per_iteration, version)) is not None:
            assert len({meta.fragment_id for meta in metas}) == per_iteration
            unread_left = [n for n in made if n not in uses and version - made[n] <= max_staleness]
            for meta in metas:
                uses[meta.fragment_id] += 1
                assert version - meta.version <= max_staleness
                assert uses[meta.fragment_id] <= max_reuse
            if any(uses[meta.fragment_id] > 1 for meta in metas):
                assert set(unread_left) <= {meta.fragment_id for meta in metas}
            iterations += 1
            version += 1
            buffer.publish(version)
        assert_tallies(buffer)
        stats = buffer.stats()
        limit = per_iteration * (lead if schedule == "overlap" else 1)
        assert stats.outstanding == sum(open_fragments)
        assert stats.unread + stats.outstanding <= limit
        assert stats.dropped_stale == 0
    for _ in range(2 * per_iteration + 2):  # left alone, the next iteration comes together
        for worker, envs in enumerate(workers):
            open_fragments[worker] += buffer.grant(worker, envs - open_fragments[worker])
            if open_fragments[worker]:
                open_fragments[worker] -= 1
                buffer.add(StreamId(worker, 1), len(made), version, 8, 1, "x")
                made[len(made)] = version
    assert buffer.take(per_iteration, version) is not None


def test_unknown_ids_are_harmless():
    buffer = make()
    assert buffer.refs([3]) == [None]
    buffer.lose([3])
    assert buffer.stats().lost == 0

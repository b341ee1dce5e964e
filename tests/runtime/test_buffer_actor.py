"""Waiting in the replay buffer's actor: who is answered, when, and at what cost. Plain asyncio, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.fragments import FragmentMeta, StreamId
from minestudio_nb.runtime.buffer_actor import ReplayBufferActor

WAIT = 60.0


class Supervisor:
    """Takes numbers."""

    class telemetry:
        @staticmethod
        def remote(*arguments: Any) -> None: ...


def make(per_iteration: int = 32) -> ReplayBufferActor:
    """Collects ``per_iteration`` fragments, once weights are published."""
    config = OnlineConfig.from_dict(
        {
            "train_config": {"batch_size_per_gpu": per_iteration, "batches_per_iteration": 1},
            "rollout_config": {"replay_buffer_config": {"max_chunks": 4 * per_iteration, "max_staleness": 1}},
        }
    )
    return ReplayBufferActor(config, "alternate", Supervisor())


def fragment(worker: int, index: int, version: int = 0) -> FragmentMeta:
    return FragmentMeta(-1, StreamId(worker, 0), index, version, 8, 10)


async def waiting(*calls: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Tasks that have come as far as they can."""
    tasks = [asyncio.create_task(some) for some in calls]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def answers(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    """What each was answered; ``...`` where it still waits."""
    return [task.result() if task.done() else ... for task in tasks]


async def end(buffer: ReplayBufferActor, tasks: list[asyncio.Task[Any]]) -> None:
    await buffer.close("over")
    await asyncio.wait_for(asyncio.gather(*tasks), WAIT)


def test_first_come_first_served_and_nobody_else_is_woken() -> None:
    async def run() -> None:
        buffer = make(per_iteration=10)
        tasks = await waiting(*(buffer.acquire(worker, 0, 0, 4, WAIT) for worker in range(6)))
        assert answers(tasks) == [...] * 6  # there are no weights yet
        await buffer.published(0, True)
        await waiting()
        assert answers(tasks) == [4, 4, 2, ..., ..., ...]
        await buffer.release(2, 1)  # one of its two will not come
        await waiting()
        assert answers(tasks)[3:] == [1, ..., ...]
        await end(buffer, tasks)
        assert answers(tasks)[4:] == [None, None]

    asyncio.run(run())


def test_a_fragment_costs_the_same_however_many_workers_wait() -> None:
    async def looks(workers: int) -> int:
        buffer = make(per_iteration=8)
        tasks = await waiting(*(buffer.acquire(worker, 0, 0, 1, WAIT) for worker in range(workers)))
        await buffer.published(0, True)
        await waiting()
        assert [answer is ... for answer in answers(tasks)] == [False] * 8 + [True] * (workers - 8)
        count, wanted = 0, buffer._core.wanted

        def counted() -> int:
            nonlocal count
            count += 1
            return wanted()

        buffer._core.wanted = counted  # type: ignore[method-assign]
        for worker in range(8):
            await buffer.add(0, [fragment(worker, 0)], [None])
            await waiting()
        await end(buffer, tasks)
        return count

    few, many = asyncio.run(looks(16)), asyncio.run(looks(512))
    assert few == many == 8


def test_what_a_worker_brings_along_counts_before_it_is_given_more() -> None:
    async def run() -> None:
        buffer = make(per_iteration=6)
        await buffer.published(0, True)
        assert await buffer.acquire(0, 0, 0, 4, 0.0) == 4
        brought = [fragment(0, index) for index in range(4)], [None] * 4
        assert await buffer.acquire(0, 0, 0, 4, 0.0, *brought) == 2, "six are wanted and four are here"
        assert await buffer.acquire(0, 0, 2, 4, 0.0, *brought) == 0, "brought again, as no answer came"
        stats = await buffer.stats()
        assert (stats.unread, stats.outstanding) == (4, 2)

    asyncio.run(run())


def test_what_the_trainer_lacks_may_be_begun_by_those_who_wait() -> None:
    async def run() -> None:
        buffer = make(per_iteration=4)
        await buffer.published(0, True)
        assert await buffer.acquire(0, 0, 0, 4, 0.0) == 4
        await buffer.add(0, [fragment(0, index) for index in range(4)], [None] * 4)
        metas = await buffer.take(4, 0, WAIT)
        tasks = await waiting(buffer.acquire(1, 0, 0, 3, WAIT), buffer.acquire(2, 0, 0, 3, WAIT))
        assert answers(tasks) == [..., ...]  # closed while the iteration is trained
        taking = await waiting(buffer.take(2, 0, WAIT))
        assert answers(tasks) == [2, ...]
        await buffer.lost([meta.fragment_id for meta in metas[:2]])
        await buffer.add(0, [fragment(1, 0), fragment(1, 1)], [None] * 2)
        await waiting()
        assert [meta.stream.worker for meta in taking[0].result()] == [1, 1]
        await end(buffer, tasks)

    asyncio.run(run())


def test_a_replaced_worker_is_sent_away_and_its_successor_served() -> None:
    async def run() -> None:
        buffer = make(per_iteration=4)
        tasks = await waiting(buffer.acquire(0, 0, 0, 4, WAIT), buffer.acquire(1, 0, 0, 4, WAIT))
        assert await buffer.forget_worker(0, 1) == 0
        await waiting()
        assert answers(tasks) == [None, ...]
        assert await buffer.acquire(0, 0, 0, 4, WAIT) is None  # a late call of the dead one
        successor = await waiting(buffer.acquire(0, 1, 0, 4, WAIT))
        await buffer.published(0, True)
        await waiting()
        assert answers([*tasks, *successor]) == [None, 4, ...]
        assert await buffer.forget_worker(1, 1) == 4
        await waiting()
        assert answers(successor) == [4]
        await end(buffer, tasks)

    asyncio.run(run())


def test_a_wait_that_runs_out_takes_no_credit_along() -> None:
    async def run() -> None:
        buffer = make(per_iteration=4)
        assert await buffer.acquire(0, 0, 0, 4, 0.0) == 0
        assert await asyncio.wait_for(buffer.acquire(0, 0, 0, 4, 0.01), WAIT) == 0
        await buffer.published(0, True)
        assert (await buffer.stats()).outstanding == 0
        assert await buffer.acquire(1, 0, 0, 4, 0.0) == 4
        await buffer.close("over")
        assert await buffer.acquire(0, 0, 0, 4, WAIT) is None

    asyncio.run(run())


def test_one_that_was_started_again_serves_those_who_wait_once_it_knows() -> None:
    async def run() -> None:
        buffer = make(per_iteration=8)
        buffer._knows = False
        tasks = await waiting(buffer.acquire(0, 0, 3, 1, WAIT), buffer.acquire(1, 0, 0, 8, WAIT))
        taking = await waiting(buffer.take(8, 5, WAIT))
        assert answers([*tasks, *taking]) == [..., ..., ...]
        await buffer.restore(5, {1: 7}, {}, 100, None)
        await waiting()
        assert answers(tasks) == [1, None], "the second is another life's; the first holds three already"
        assert (await buffer.stats()).outstanding == 4
        await buffer.add(0, [fragment(0, index, 5) for index in range(4)], [None] * 4)
        rest = await waiting(buffer.acquire(1, 7, 0, 8, WAIT))
        assert answers(rest) == [4]
        await end(buffer, [])
        assert "over" in str((await asyncio.gather(*taking, return_exceptions=True))[0])

    asyncio.run(run())

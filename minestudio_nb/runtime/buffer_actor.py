"""The replay buffer's actor: :class:`~minestudio_nb.rollout.replay_buffer.ReplayBuffer` plus waiting, by asyncio.

It holds metadata and references only; the data stays in the object stores of the nodes that made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.fragments import FragmentMeta
from minestudio_nb.errors import StoreTimeoutError, TrainingError
from minestudio_nb.rollout.replay_buffer import BufferStats, ReplayBuffer, Schedule

__all__ = ["ReplayBufferActor"]


class ReplayBufferActor:
    """One event loop runs all methods, so none needs a lock. References come and go in lists of one, which keeps Ray
    from replacing them by their data."""

    def __init__(self, config: OnlineConfig, schedule: Schedule, supervisor: Any) -> None:
        self._core: ReplayBuffer[list[Any]] = ReplayBuffer.of(config, schedule)
        self._supervisor = supervisor
        self._changed = asyncio.Condition()
        self._closed: str | None = None
        self._lives: dict[int, int] = {}
        """How often each worker was replaced. What a dead one still asks or sends is told by its life."""

    # Rollout workers.

    async def acquire(self, worker: int, life: int, count: int, timeout: float) -> int | None:
        """How many of ``count`` fragments may be begun; waits up to ``timeout`` seconds for one. None: stop."""
        await self._until(lambda: self._core.wanted() > 0 or not self._lives_still(worker, life), timeout)
        if self._closed is not None or not self._lives_still(worker, life):
            return None
        return self._core.grant(worker, count)

    async def release(self, worker: int, count: int) -> None:
        """``count`` granted fragments will not come."""
        self._core.release(worker, count)
        await self._tell()

    async def forget_worker(self, worker: int) -> int:
        """A worker is gone and will be replaced; returns how many granted fragments went with it."""
        self._lives[worker] = self._lives.get(worker, 0) + 1
        before = self._core.stats().outstanding
        self._core.forget_worker(worker)
        await self._tell()
        return before - self._core.stats().outstanding

    async def add(self, life: int, metas: Sequence[FragmentMeta], references: Sequence[Any]) -> None:
        """Finished fragments of one worker; the numbers in ``metas`` do not count, the buffer gives its own."""
        for meta, reference in zip(metas, references, strict=True):
            if self._lives_still(meta.stream.worker, life):
                self._core.add(meta.stream, meta.index, meta.version, meta.length, meta.nbytes, [reference], meta.task)
        await self._tell()

    # The trainer.

    async def take(self, count: int, version: int, timeout: float) -> list[FragmentMeta]:
        """See :class:`~minestudio_nb.contracts.protocols.FragmentStore`; TrainingError with the reason once closed."""
        taken: list[FragmentMeta] = []

        def enough() -> bool:
            taken.extend(self._core.take(count, version) or ())
            return bool(taken)

        if not enough():
            await self._tell()  # what is lacking may be begun
            await self._until(enough, timeout)
        if taken:
            await self._tell()
            return taken
        if self._closed is not None:
            raise TrainingError(self._closed)
        stats = self._core.stats()
        raise StoreTimeoutError(
            f"{count} fragments are needed and {stats.unread} unread ones are here after {timeout:.0f} s; "
            f"{stats.outstanding} more are being collected."
        )

    async def references(self, fragment_ids: Sequence[int]) -> list[list[Any] | None]:
        """References to fragments, each in a list; None for one that is no longer held."""
        return self._core.refs(fragment_ids)

    async def previous(self, fragment_ids: Sequence[int]) -> list[list[Any] | None]:
        """References to the fragments before these in their streams, where they are held."""
        return self._core.previous(fragment_ids)

    async def lost(self, fragment_ids: Sequence[int]) -> None:
        """The data of these fragments cannot be read any more."""
        self._core.lose(fragment_ids)
        await self._tell()

    # The supervisor.

    async def published(self, version: int, collect: bool) -> None:
        """Workers hold the weights of ``version``: the gate opens, if there is a next iteration to ``collect`` for."""
        self._core.publish(version, collect)
        self._supervisor.telemetry.remote("metrics", self._core.flush_metrics())
        await self._tell()

    async def configure(self, name: str, value: int) -> None:
        """A live edit of ``max_reuse`` or ``max_staleness``."""
        if name not in ("max_reuse", "max_staleness"):
            raise ValueError(f"the buffer has no live setting {name!r}")
        setattr(self._core, name, value)
        await self._tell()

    async def stats(self) -> BufferStats:
        """Numbers of this moment."""
        return self._core.stats()

    async def close(self, reason: str) -> None:
        """Lets everybody who waits go: workers stop, and a trainer that still wants fragments is told ``reason``."""
        self._closed = reason
        await self._tell()

    def _lives_still(self, worker: int, life: int) -> bool:
        return life == self._lives.get(worker, 0)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _until(self, condition: Callable[[], bool], timeout: float) -> None:
        """Waits until ``condition``, the end, or ``timeout`` seconds."""
        async with self._changed:
            try:
                async with asyncio.timeout(timeout):
                    await self._changed.wait_for(lambda: self._closed is not None or condition())
            except TimeoutError:
                return

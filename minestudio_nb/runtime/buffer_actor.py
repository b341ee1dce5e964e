"""The replay buffer's actor: :class:`~minestudio_nb.rollout.replay_buffer.ReplayBuffer` plus waiting, by asyncio.

It holds metadata and references only; the data stays in the object stores of the nodes that made it. Ray starts it
again when it died. It is empty then, and grants nothing until the supervisor has told it what it must know.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.fragments import FragmentMeta
from minestudio_nb.errors import StoreTimeoutError, TrainingError
from minestudio_nb.rollout.replay_buffer import BufferStats, ReplayBuffer, Schedule

__all__ = ["ReplayBufferActor"]

HOLD_SECONDS = 60.0
"""How long fragments wait in one that was started again and knows nothing yet."""
REMEMBERED = 100_000
"""Of so many fragments it is known that they came, so that they are not taken a second time."""


@dataclass(eq=False)
class _Asker:
    """A rollout worker that waits for credit; the answer None tells it to stop."""

    worker: int
    life: int
    held: int
    count: int
    answer: asyncio.Future[int | None]


class ReplayBufferActor:
    """One event loop runs all methods, so none needs a lock. References come and go in lists of one, which keeps Ray
    from replacing them by their data.

    Workers that wait stand in line, and a change wakes as many as can be served, not all of them: with 256 workers,
    telling each of them of each fragment took three quarters of the loop's time.
    """

    def __init__(self, config: OnlineConfig, schedule: Schedule, supervisor: Any, first_life: int = 0) -> None:
        """``first_life`` is that of the workers that the session begins with."""
        self._core: ReplayBuffer[list[Any]] = ReplayBuffer.of(config, schedule)
        self._supervisor = supervisor
        self._changed = asyncio.Condition()
        self._askers: deque[_Asker] = deque()
        self._closed: str | None = None
        self._first_life = first_life
        self._lives: dict[int, int] = {}
        """Which life of each worker counts. What a dead one still asks or sends is told by its life."""
        self._seen: OrderedDict[tuple[Any, int, int], None] = OrderedDict()
        """Stream, life and position of fragments that came."""
        self._knows = not _is_reconstructed()
        """Whether it has been told what its predecessor knew."""

    # Rollout workers.

    async def acquire(
        self,
        worker: int,
        life: int,
        held: int,
        count: int,
        timeout: float,
        metas: Sequence[FragmentMeta] = (),
        references: Sequence[Any] = (),
    ) -> int | None:
        """How many of ``count`` fragments may be begun; waits up to ``timeout`` seconds for one. None: stop.

        ``held`` is how many the worker may begin or has begun already, without those that it has finished and brings
        along, see :meth:`add`.
        """
        if metas:
            await self.add(life, metas, references)
        if self._closed is not None or (self._knows and not self._lives_still(worker, life)):
            return None
        granted = 0
        if self._knows:
            self._core.set_outstanding(worker, held)
            self._serve()  # those who came before, where it holds less than was thought
            granted = self._core.grant(worker, count)  # nobody waits while there is credit
        if granted or timeout <= 0:
            return granted
        asker = _Asker(worker, life, held, count, asyncio.get_running_loop().create_future())
        self._askers.append(asker)
        await asyncio.wait([asker.answer], timeout=timeout)
        if asker.answer.done():
            return asker.answer.result()
        self._askers.remove(asker)
        return 0

    async def release(self, worker: int, count: int) -> None:
        """``count`` granted fragments will not come."""
        self._core.release(worker, count)
        await self._tell()

    async def forget_worker(self, worker: int, life: int) -> int:
        """A worker is gone and one of another ``life`` comes; returns how many granted fragments went with it."""
        if self._lives.get(worker) == life:
            return 0
        self._lives[worker] = life
        before = self._core.stats().outstanding
        self._core.forget_worker(worker)
        dropped = before - self._core.stats().outstanding
        self._send_away([asker for asker in self._askers if asker.worker == worker and asker.life != life])
        await self._tell()
        return dropped

    async def add(self, life: int, metas: Sequence[FragmentMeta], references: Sequence[Any]) -> None:
        """Finished fragments of one worker; the numbers in ``metas`` do not count, the buffer gives its own.

        One that came before is left out: a worker that got no answer sends it once more.
        """
        if not self._knows:
            await self._until(lambda: self._knows, HOLD_SECONDS)
        for meta, reference in zip(metas, references, strict=True):
            key = (meta.stream, life, meta.index)
            if self._knows and self._lives_still(meta.stream.worker, life) and key not in self._seen:
                self._seen[key] = None
                self._core.add(meta.stream, meta.index, meta.version, meta.length, meta.nbytes, [reference], meta.task)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        await self._tell()

    # The trainer.

    async def take(self, count: int, version: int, timeout: float) -> list[FragmentMeta]:
        """See :class:`~minestudio_nb.contracts.protocols.FragmentStore`; TrainingError with the reason once closed."""
        taken: list[FragmentMeta] = []

        def enough() -> bool:
            if not self._knows:
                return False
            taken.extend(self._core.take(count, version) or ())
            if not taken:
                self._serve()  # what is lacking may be begun
            return bool(taken)

        if not enough():
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

    async def beat(self) -> tuple[int, str, bool]:
        """A sign of life: process id, machine, and whether it needs no :meth:`restore`."""
        return os.getpid(), socket.gethostname(), self._knows

    async def restore(
        self,
        version: int | None,
        lives: Mapping[int, int],
        settings: Mapping[str, int],
        first_id: int,
        closed: str | None,
    ) -> None:
        """Tells one that was started again what its predecessor knew; fragments get numbers from ``first_id`` on.

        The gate stays shut until weights are published, or the trainer has asked for fragments and not found them.
        """
        if not self._knows:
            if version is not None and self._core.version is None:
                self._core.publish(version, collect=False)
            for worker, life in lives.items():
                self._lives[worker] = max(life, self._lives.get(worker, life))  # it may know of a newer one already
            for name, value in settings.items():
                setattr(self._core, name, value)
            self._core.next_id = max(self._core.next_id, first_id)
            self._closed = self._closed or closed
            self._knows = True
            self._send_away([asker for asker in self._askers if not self._lives_still(asker.worker, asker.life)])
            for asker in self._askers:
                self._core.set_outstanding(asker.worker, asker.held)
        if self._closed is not None:
            self._send_away(list(self._askers))
        await self._tell()

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
        self._send_away(list(self._askers))
        await self._tell()

    def _lives_still(self, worker: int, life: int) -> bool:
        return life == self._lives.get(worker, self._first_life)

    def _serve(self) -> None:
        """Gives what credit there is to those who wait, first come, first served."""
        while self._knows and self._askers and self._core.wanted() > 0:
            asker = self._askers.popleft()
            asker.answer.set_result(self._core.grant(asker.worker, asker.count))

    def _send_away(self, askers: Sequence[_Asker]) -> None:
        for asker in askers:
            self._askers.remove(asker)
            asker.answer.set_result(None)

    async def _tell(self) -> None:
        self._serve()
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


def _is_reconstructed() -> bool:
    """Whether this is an actor that Ray has started again; where it is no actor at all, it is not."""
    if not ray.is_initialized():
        return False
    context = ray.get_runtime_context()
    return context.get_actor_id() is not None and context.was_current_actor_reconstructed

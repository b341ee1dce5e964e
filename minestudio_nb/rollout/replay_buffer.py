"""Which fragments exist, who may read them how often, and how many more may be begun. Metadata only.

The data itself is behind a reference of any kind: the fragment in the inline runtime, an object reference with Ray.
Nothing here blocks or locks; a runtime adds the waiting that fits it. What is asked or told with each fragment takes
the same time however many there are; only an iteration's border goes through all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.fragments import FragmentMeta, StreamId
from minestudio_nb.contracts.telemetry import MetricBatch, Stat

__all__ = ["BufferStats", "FlowControl", "ReplayBuffer", "Schedule"]

Ref = TypeVar("Ref")
Schedule = Literal["alternate", "overlap"]


@dataclass(frozen=True)
class FlowControl:
    """How far rollout may run ahead of training.

    ``alternate``: after version v is published, exactly the fragments that the next iteration lacks may be begun, and
    none once it was taken. ``overlap``: rollout goes on as long as fewer than ``lead`` iterations of unread fragments
    exist or are being collected. An iteration reads ``fragments_per_iteration``. Whatever the schedule, what the
    learner has asked for and not found may be begun, for example instead of fragments that were lost.
    """

    schedule: Schedule
    fragments_per_iteration: int
    lead: int = 1


@dataclass(frozen=True)
class BufferStats:
    """Numbers of this moment, and totals since the buffer was made."""

    fragments: int
    unread: int
    """Admissible fragments that were never read."""
    outstanding: int
    """Granted, and neither delivered nor given back."""
    nbytes: int
    dropped_stale: int
    lost: int
    evicted_unread: int


@dataclass
class _Entry(Generic[Ref]):
    meta: FragmentMeta
    ref: Ref
    uses: int = 0


@dataclass
class _Counts:
    dropped_stale: int = 0
    lost: int = 0
    evicted_unread: int = 0
    reuse: Stat = field(default_factory=Stat)


class ReplayBuffer(Generic[Ref]):
    """Fragments in the order in which they came. ::

    granted = buffer.grant(worker, count)          # a worker may begin that many
    meta = buffer.add(stream, index, version, length, nbytes, ref)
    metas = buffer.take(count, version)            # None: not enough yet
    refs = buffer.refs([meta.fragment_id for meta in metas])
    buffer.publish(version + 1)                    # new weights are with the workers

    A fragment may be read in ``max_reuse`` iterations, and while the learner's version is at most ``max_staleness``
    above its own; both may be changed at any time. Of more than ``capacity`` fragments those that were read most often
    go first, among them the oldest, but those of the iteration at hand only when there are no others. With
    ``keep_previous`` a fragment that can no longer be read stays while its successor can, for :meth:`previous`.
    """

    def __init__(
        self, capacity: int, max_reuse: int, max_staleness: int, flow: FlowControl, keep_previous: bool = False
    ) -> None:
        self.next_id = 0
        """Number of the next fragment; one that replaces another buffer must begin above what that has given."""
        self._max_reuse = max_reuse
        self._max_staleness = max_staleness
        self.version: int | None = None
        """Version of the newest published weights; None before the first, when nothing is granted."""
        self._capacity = capacity
        self._flow = flow
        self._keep_previous = keep_previous
        self._entries: dict[int, _Entry[Ref]] = {}
        self._by_place: dict[tuple[StreamId, int], int] = {}
        self._gate_open = False
        self._shortage = 0
        """How many fragments the last :meth:`take` lacked."""
        self._in_training: set[int] = set()
        """Taken last, and perhaps not fetched yet."""
        self._outstanding: Counter[int] = Counter()
        self._nbytes = 0
        self._readable = 0
        self._unread = 0
        """How many entries may be read at this version, and how many of those never were."""
        self._unswept = False
        """Whether there may be entries that can never be read again."""
        self._totals = _Counts()
        self._recent = _Counts()

    @classmethod
    def of(cls, config: OnlineConfig, schedule: Schedule) -> ReplayBuffer[Ref]:
        """The buffer that ``config`` describes.

        Predecessors are kept where something may be made anew from them: a reference policy's memory, or the state of
        a fragment that is read once more.
        """
        settings = config.rollout_config.replay_buffer_config
        return cls(
            config.buffer_fragments,
            settings.max_reuse,
            settings.max_staleness,
            FlowControl(schedule, config.fragments_per_iteration, config.lead),
            keep_previous=config.train_config.kl_divergence_coef_rho > 0 or settings.max_reuse > 1,
        )

    @property
    def max_reuse(self) -> int:
        """In how many iterations a fragment may be read."""
        return self._max_reuse

    @max_reuse.setter
    def max_reuse(self, value: int) -> None:
        self._max_reuse = value
        self._recount()

    @property
    def max_staleness(self) -> int:
        """How far the learner's version may be above that of a fragment which it reads."""
        return self._max_staleness

    @max_staleness.setter
    def max_staleness(self, value: int) -> None:
        self._max_staleness = value
        self._recount()

    # The rollout's side.

    def grant(self, worker: int, count: int) -> int:
        """How many of ``count`` fragments ``worker`` may begin now; they are outstanding until they come."""
        granted = max(0, min(count, self.wanted()))
        self._outstanding[worker] += granted
        return granted

    def wanted(self) -> int:
        """How many more fragments may be begun now."""
        if self.version is None:
            return 0
        outstanding = self._outstanding.total()
        if not self._gate_open:
            return max(0, self._shortage - outstanding)
        if self._flow.schedule == "alternate":
            return max(0, self._flow.fragments_per_iteration - self._readable - outstanding)
        return max(0, self._flow.lead * self._flow.fragments_per_iteration - self._unread - outstanding)

    def set_outstanding(self, worker: int, count: int) -> bool:
        """``worker`` says that it holds ``count`` credits; whether that is news. An answer to it may have been lost."""
        before = self._outstanding[worker]
        self._outstanding[worker] = count
        return before != count

    def release(self, worker: int, count: int) -> None:
        """``worker`` will not deliver ``count`` of the fragments that it was granted."""
        self._outstanding[worker] = max(0, self._outstanding[worker] - count)

    def forget_worker(self, worker: int) -> None:
        """``worker`` is gone, and with it everything that it was granted and has not delivered.

        Its successor's streams begin anew, so none of its fragments comes before one of theirs.
        """
        del self._outstanding[worker]
        for place in [place for place in self._by_place if place[0].worker == worker]:
            del self._by_place[place]

    def add(
        self, stream: StreamId, index: int, version: int, length: int, nbytes: int, ref: Ref, task: str = "default"
    ) -> FragmentMeta:
        """Takes a fragment's metadata and reference; it settles one credit of the stream's worker."""
        meta = FragmentMeta(self.next_id, stream, index, version, length, nbytes, task)
        self.next_id += 1
        self.release(stream.worker, 1)
        while len(self._entries) >= self._capacity:
            self._evict()
        entry = self._entries[meta.fragment_id] = _Entry(meta, ref)
        self._tally(entry, 1)
        self._unswept = self._unswept or not self._is_readable(entry)
        self._by_place[stream, index] = meta.fragment_id
        self._nbytes += nbytes
        return meta

    def publish(self, version: int, collect: bool = True) -> None:
        """Workers now hold the weights of ``version``: fragments for the next iteration may be begun.

        Without ``collect`` there is no next iteration as far as the trainer knows, and none may be begun.
        """
        self.version = version
        self._recount()
        self._gate_open, self._shortage = collect, 0
        self._in_training = set()
        self._drop_unreadable()

    # The trainer's side.

    def take(self, count: int, version: int) -> list[FragmentMeta] | None:
        """Exactly ``count`` fragments for a learner at ``version``, unread ones before the least read; oldest first.

        None while there are too few; what is lacking may be begun from then on.
        """
        if self.version is None or version > self.version:
            self.version = version
            self._recount()
        self._drop_unreadable()
        self._shortage = max(0, count - self._readable)
        if self._shortage:
            return None
        readable = [entry for entry in self._entries.values() if self._is_readable(entry)]
        readable.sort(key=lambda entry: (entry.uses, entry.meta.fragment_id))
        taken = sorted(readable[:count], key=lambda entry: entry.meta.fragment_id)
        for entry in taken:
            self._use(entry, entry.uses + 1)
            self._recent.reuse.add(entry.uses)
        if self._flow.schedule == "alternate":
            self._gate_open = False
        self._in_training = {entry.meta.fragment_id for entry in taken}
        return [entry.meta for entry in taken]

    def refs(self, fragment_ids: Sequence[int]) -> list[Ref | None]:
        """The references, in the same order; None for a fragment that is no longer held."""
        entries = [self._entries.get(fragment_id) for fragment_id in fragment_ids]
        return [None if entry is None else entry.ref for entry in entries]

    def previous(self, fragment_ids: Sequence[int]) -> list[Ref | None]:
        """For each fragment the reference of the one before it in its stream, None where that is not held."""
        refs: list[Ref | None] = []
        for fragment_id in fragment_ids:
            entry = self._entries.get(fragment_id)
            place = None if entry is None else (entry.meta.stream, entry.meta.index - 1)
            before = self._by_place.get(place) if place is not None else None
            refs.append(None if before is None else self._entries[before].ref)
        return refs

    def lose(self, fragment_ids: Iterable[int]) -> None:
        """The data of these fragments is gone, for example with its node; the streams go on without them."""
        for fragment_id in fragment_ids:
            if fragment_id in self._entries:
                self._remove(fragment_id)
                self._count("lost")
                self._unswept = True  # it may have been what its predecessor was kept for

    # Numbers.

    def stats(self) -> BufferStats:
        """Numbers of this moment, and totals."""
        totals = self._totals
        return BufferStats(
            len(self._entries),
            self._unread,
            self._outstanding.total(),
            self._nbytes,
            totals.dropped_stale,
            totals.lost,
            totals.evicted_unread,
        )

    def flush_metrics(self) -> MetricBatch:
        """The buffer's metrics since the last call."""
        batch: MetricBatch = {}
        numbers = {
            "buffer/fragments": len(self._entries),
            "buffer/unread_fragments": self._unread,
            "buffer/bytes": self._nbytes,
            "buffer/dropped_stale": self._recent.dropped_stale + self._recent.evicted_unread,
        }
        for name, value in numbers.items():
            batch.setdefault(name, Stat()).add(value)
        if self._recent.reuse.count:
            batch["buffer/reuse"] = self._recent.reuse
        self._recent = _Counts()
        return batch

    # Inside.

    def _is_readable(self, entry: _Entry[Ref]) -> bool:
        return entry.uses < self._max_reuse and (self.version or 0) - entry.meta.version <= self._max_staleness

    def _tally(self, entry: _Entry[Ref], sign: int) -> None:
        """Counts ``entry`` in (1) before it may be read, or out (-1) before it changes or goes."""
        if self._is_readable(entry):
            self._readable += sign
            self._unread += sign * (entry.uses == 0)

    def _use(self, entry: _Entry[Ref], uses: int) -> None:
        self._tally(entry, -1)
        entry.uses = uses
        self._tally(entry, 1)
        self._unswept = True

    def _recount(self) -> None:
        """Counts anew, after a change that may concern every entry."""
        self._readable = self._unread = 0
        for entry in self._entries.values():
            self._tally(entry, 1)
        self._unswept = True

    def _drop_unreadable(self) -> None:
        """Forgets what can never be read again; versions only grow."""
        if not self._unswept:
            return
        self._unswept = False
        gone = [number for number, entry in self._entries.items() if not self._is_readable(entry)]
        needed = set()
        if self._keep_previous:
            readable = self._entries.keys() - set(gone)
            places = [self._entries[number].meta for number in readable]
            needed = {self._by_place.get((meta.stream, meta.index - 1)) for meta in places}
            newest: dict[StreamId, FragmentMeta] = {}
            for entry in self._entries.values():
                newest[entry.meta.stream] = entry.meta
            needed |= {meta.fragment_id for meta in newest.values()}  # their successors are still to come
        for number in gone:
            entry = self._entries[number]
            if entry.uses == 0:
                entry.uses = self._max_reuse  # counted once, and never unread again
                self._count("dropped_stale")
            if number not in needed:
                self._remove(number)

    def _evict(self) -> None:
        candidates = [number for number in self._entries if number not in self._in_training] or list(self._entries)
        number = max(candidates, key=lambda number: self._entries[number].uses)  # the oldest of those
        if self._entries[number].uses == 0:
            self._count("evicted_unread")
        self._remove(number)

    def _remove(self, fragment_id: int) -> None:
        entry = self._entries.pop(fragment_id)
        self._tally(entry, -1)
        meta = entry.meta
        self._nbytes -= meta.nbytes
        if self._by_place.get((meta.stream, meta.index)) == fragment_id:
            del self._by_place[meta.stream, meta.index]

    def _count(self, name: str) -> None:
        for counts in (self._totals, self._recent):
            setattr(counts, name, getattr(counts, name) + 1)

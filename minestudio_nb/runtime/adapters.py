"""The trainer's four protocols, spoken to actors: it reads fragments and orders, and sends weights and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import PendingCallsLimitExceeded, RayError

from minestudio_nb.contracts.control import ControlOrder, EditStatus
from minestudio_nb.contracts.fragments import EpisodeSummary, Fragment, FragmentMeta
from minestudio_nb.contracts.telemetry import Event, MetricBatch
from minestudio_nb.contracts.weights import WeightsPackage
from minestudio_nb.errors import StoreTimeoutError
from minestudio_nb.runtime.calls import LOOP, QUICK, Restarting, call

__all__ = ["RemoteControl", "RemotePublisher", "RemoteStore", "RemoteTelemetry"]


class RemoteStore:
    """:class:`~minestudio_nb.contracts.protocols.FragmentStore` on the replay buffer's actor.

    The actor hands out references; the data comes from the object store, without a copy on the node that made it.
    """

    def __init__(self, buffer: Any, patience: float = QUICK) -> None:
        """``patience`` is how many seconds an answer of the buffer may take that needs no waiting."""
        self._buffer = buffer
        self._patience = patience

    def take(self, count: int, version: int, timeout: float) -> list[FragmentMeta]:
        """See the protocol. The wait happens in the buffer's actor; while that is started again, nothing is there."""
        try:
            metas: list[FragmentMeta] = call(
                self._buffer.take.remote(count, version, timeout), timeout + self._patience, "the replay buffer"
            )
        except Restarting as error:
            raise StoreTimeoutError(str(error)) from error
        return metas

    def fetch(self, fragment_ids: Sequence[int]) -> list[Fragment | None]:
        """See the protocol. Tells the buffer which fragments are lost."""
        try:
            references = self._buffer.references.remote(list(fragment_ids))
            fragments = _read(call(references, self._patience, "the replay buffer"))
        except Restarting:
            return [None] * len(fragment_ids)  # it held the references, so that the data is gone with it
        lost = [number for number, fragment in zip(fragment_ids, fragments, strict=True) if fragment is None]
        if lost:
            self._buffer.lost.remote(lost)
        return fragments

    def previous(self, fragment_ids: Sequence[int]) -> list[Fragment | None]:
        """See the protocol."""
        try:
            references = self._buffer.previous.remote(list(fragment_ids))
            return _read(call(references, self._patience, "the replay buffer"))
        except Restarting:
            return [None] * len(fragment_ids)


def _read(references: Sequence[list[Any] | None]) -> list[Fragment | None]:
    """The fragments behind references, all at once where none is lost."""
    with LOOP.waiting():
        try:
            found = iter(ray.get([reference[0] for reference in references if reference is not None], timeout=QUICK))
            return [None if reference is None else next(found) for reference in references]
        except RayError:
            return [_read_one(reference) for reference in references]


def _read_one(reference: list[Any] | None) -> Fragment | None:
    """The fragment behind a reference (in a list, so that Ray does not resolve it on the way); None if it is lost."""
    if reference is None:
        return None
    try:
        fragment: Fragment = ray.get(reference[0], timeout=QUICK)
        return fragment
    except RayError:
        return None  # its owner or its node died, or no copy could be fetched in time


class RemoteControl:
    """:class:`~minestudio_nb.contracts.protocols.ControlBox` of the supervisor."""

    def __init__(self, supervisor: Any) -> None:
        self._supervisor = supervisor

    def read(self, revision: int) -> ControlOrder:
        """See the protocol."""
        order: ControlOrder = call(self._supervisor.read_controls.remote(revision, 0.0), what="the supervisor")
        return order

    def wait(self, revision: int, timeout: float) -> ControlOrder:
        """See the protocol."""
        order: ControlOrder = call(
            self._supervisor.read_controls.remote(revision, timeout), timeout + QUICK, "the supervisor"
        )
        return order

    def answer(self, revision: int, status: EditStatus, iteration: int, reason: str = "") -> None:
        """See the protocol."""
        call(self._supervisor.answer_edit.remote(revision, status, iteration, reason), what="the supervisor")

    def done(self, number: int) -> None:
        """See the protocol."""
        call(self._supervisor.request_done.remote(number), what="the supervisor")


class RemotePublisher:
    """:class:`~minestudio_nb.contracts.protocols.WeightsPublisher`: the supervisor passes weights on to all workers."""

    def __init__(self, supervisor: Any, timeout: float) -> None:
        self._supervisor = supervisor
        self._timeout = timeout

    def publish(self, package: WeightsPackage, collect: bool = True) -> None:
        """Returns when every worker that answers in time holds ``package``; the others are replaced or reported."""
        call(self._supervisor.publish.remote(package, collect), self._timeout + QUICK, "the supervisor")


class RemoteTelemetry:
    """:class:`~minestudio_nb.contracts.protocols.TelemetrySink` that sends to the supervisor and does not wait.

    What a supervisor that hangs cannot take is dropped: telemetry must never stop training.
    """

    def __init__(self, supervisor: Any) -> None:
        self._supervisor = supervisor

    def metrics(self, batch: MetricBatch) -> None:
        """See the protocol."""
        self._send("metrics", batch)

    def iteration(self, iteration: int, batch: MetricBatch) -> None:
        """See the protocol."""
        self._send("iteration", iteration, batch)

    def event(self, event: Event) -> None:
        """See the protocol."""
        self._send("event", event)

    def episodes(self, episodes: Sequence[EpisodeSummary]) -> None:
        """See the protocol."""
        self._send("episodes", list(episodes))

    def _send(self, kind: str, *arguments: Any) -> None:
        try:
            self._supervisor.telemetry.remote(kind, *arguments)
        except (PendingCallsLimitExceeded, RayError):
            return

"""The inline store's two ways of having nothing to give."""

from __future__ import annotations

import pytest

from minestudio_nb.contracts.fragments import Fragment, StreamId
from minestudio_nb.contracts.pulse import Pulse
from minestudio_nb.errors import StoreTimeoutError, TrainingError
from minestudio_nb.rollout.replay_buffer import FlowControl, ReplayBuffer
from minestudio_nb.runtime.inline import InlineStore
from minestudio_nb.telemetry import Hub
from tests.support.fragments import make_fragment


class Worker:
    """Delivers what it is granted, ``at_once`` fragments a round."""

    def __init__(self, buffer: ReplayBuffer[Fragment], at_once: int) -> None:
        self.buffer, self.at_once = buffer, at_once

    def collect_round(self) -> int:
        granted = self.buffer.grant(0, self.at_once)
        for _ in range(granted):
            fragment = make_fragment(1)
            self.buffer.add(StreamId(0, 0), 0, 0, fragment.length, fragment.nbytes, fragment)
        return granted

    def stop(self) -> None: ...


def store_of(at_once: int) -> InlineStore:
    buffer: ReplayBuffer[Fragment] = ReplayBuffer(8, 1, 1, FlowControl("alternate", 3))
    store = InlineStore(buffer, Hub(), Pulse())
    store.workers = [Worker(buffer, at_once)]  # type: ignore[list-item]
    buffer.publish(0)
    return store


def test_workers_that_deliver_nothing_are_an_error_and_not_asked_for_ever() -> None:
    with pytest.raises(TrainingError, match="3 fragments are needed, and no worker delivers any"):
        store_of(0).take(3, 0, 1.0)


def test_a_store_that_was_stopped_gives_nothing() -> None:
    store = store_of(2)
    assert len(store.take(3, 0, 1.0)) == 3
    store.stop()
    with pytest.raises(StoreTimeoutError, match="told to stop"):
        store.take(3, 0, 1.0)

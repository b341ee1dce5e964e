"""The control box between a user and the trainer."""

import threading
import time

import pytest

from minestudio_nb.errors import SessionStateError
from minestudio_nb.runtime.controls import Controls


def test_edits_are_handed_out_above_the_revision_that_the_reader_names():
    box = Controls()
    first = box.edit("train_config.learning_rate", 1e-4)
    second = box.edit("train_config.learning_rate", 2e-4)
    assert (first.revision, second.revision) == (1, 2)
    assert [edit.value for edit in box.read(0).edits] == [1e-4, 2e-4]
    order = box.read(1)
    assert order.revision == 2 and [edit.value for edit in order.edits] == [2e-4]
    assert box.read(2).edits == ()


def test_an_answer_is_kept_with_its_edit():
    box = Controls()
    box.edit("train_config.ppo_clip", 0.3)
    box.edit("train_config.discount", 2.0)
    box.answer(1, "applied", iteration=7)
    box.answer(2, "rejected", iteration=7, reason="discount must be in [0, 1], got 2.0")
    assert [(e.status, e.iteration) for e in box.edits()] == [("applied", 7), ("rejected", 7)]
    assert "must be in" in box.edits()[1].reason


def test_requests_are_handed_out_until_a_trainer_says_that_they_are_done():
    box = Controls()
    box.request("checkpoint", label="mine")
    box.request("record", episodes=3)
    first = {"number": 1, "kind": "checkpoint", "label": "mine"}
    second = {"number": 2, "kind": "record", "episodes": 3}
    assert box.read(0).requests == (first, second)
    assert box.read(0).requests == (first, second), "the trainer that read them died"
    box.done(1)
    assert box.read(0).requests == (second,)
    box.request("checkpoint", label="mine")  # another wish, not the one that is done
    box.done(1)
    assert [request["number"] for request in box.read(0).requests] == [2, 3]
    box.done(3)
    box.done(2)
    assert box.read(0).requests == ()


def test_wait_returns_on_a_change_and_at_its_deadline():
    box = Controls()
    box.pause()
    assert box.read(0).paused
    began = time.monotonic()
    assert box.wait(0, timeout=0.05).paused
    assert time.monotonic() - began >= 0.05
    waker = threading.Timer(0.05, box.resume)
    waker.start()
    assert not box.wait(0, timeout=10).paused
    waker.join()


def test_wait_sees_a_change_that_came_before_it():
    box = Controls()
    box.read(0)
    box.edit("train_config.ppo_clip", 0.1)
    began = time.monotonic()
    assert len(box.wait(0, timeout=10).edits) == 1
    assert time.monotonic() - began < 5


def test_a_stop_ends_a_pause_and_refuses_later_edits():
    box = Controls()
    box.pause()
    box.stop()
    order = box.read(0)
    assert order.stop and not order.paused
    with pytest.raises(SessionStateError, match="no effect"):
        box.edit("train_config.ppo_clip", 0.1)

"""Messages between a worker and an environment's process: none is lost, however they come together."""

from __future__ import annotations

import os
import socket

import pytest

from minestudio_nb.environments.channel import Channel


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="Linux's own; elsewhere everything goes through the socket")
def test_steps_and_objects_that_were_rung_before_anybody_listened_all_arrive() -> None:
    ours, theirs = socket.socketpair()
    bell = os.eventfd(0)
    worker, environment = Channel(ours, rings=bell), Channel(theirs, listens=bell)
    try:
        worker.send(("look",))
        worker.send_step()
        assert [environment.receive(), environment.receive()] == [("look",), None]
        worker.send_step()
        assert environment.receive() is None
        worker.send_step()
        worker.send(("look",))
        worker.send(("get_state",))
        assert [environment.receive() for _ in range(3)] == [("look",), ("get_state",), None]
    finally:
        environment.close()
        worker.close()

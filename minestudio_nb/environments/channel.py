"""Messages between a rollout worker and an environment's process, with as few system calls per step as there can be.

A worker wakes an environment by a bell (Linux's eventfd) rather than by its socket: a write to a socket tells the
scheduler that the writer is about to sleep, which moves the environment onto the worker's processor and the worker off.
"""

from __future__ import annotations

import os
import pickle
import select
import socket
import struct
from typing import Any

__all__ = ["STEP", "Channel"]

STEP = b"s"
"""The message of every step: from the worker "step now", back "stepped". One byte, one write, one read."""
_OBJECT = b"o"
_LENGTH = struct.Struct("!Q")
_CHUNK = 1 << 20
_RING_STEP = 1
_RING_OBJECT = 1 << 32


class Channel:
    """Either :data:`STEP` or a pickled object at a time, over one end of a stream socket pair.

    Both ends are this package's own processes, so that unpickling what comes is safe. Methods raise EOFError or OSError
    once the other end is gone. ``rings`` and ``listens`` are eventfd descriptors: this end rings one whenever it has
    sent something, or waits for the other's; it closes what it rings.
    """

    def __init__(self, end: socket.socket, rings: int | None = None, listens: int | None = None) -> None:
        self._socket = end
        self._rings = rings
        self._listens = listens
        self._steps = self._objects = 0
        """Rings that were heard, and whose messages were not received yet."""

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def send_step(self) -> None:
        """Sends :data:`STEP`."""
        if self._rings is None:
            self._socket.send(STEP)
        else:
            os.eventfd_write(self._rings, _RING_STEP)

    def send(self, message: Any) -> None:
        """Sends a picklable object."""
        payload = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._socket.sendall(_OBJECT + _LENGTH.pack(len(payload)) + payload)
        if self._rings is not None:
            os.eventfd_write(self._rings, _RING_OBJECT)

    def receive(self) -> Any:
        """The next message: None for :data:`STEP`, else the object. Waits for it.

        Of a step and an object that were both sent before this end listened, the object comes first.
        """
        if self._listens is not None:
            if not (self._steps or self._objects):
                self._objects, self._steps = divmod(os.eventfd_read(self._listens), _RING_OBJECT)
            if not self._objects:
                self._steps -= 1
                return None
            self._objects -= 1
        kind = self._socket.recv(1)
        if kind == STEP:
            return None
        if not kind:
            raise EOFError("the other end of the channel is gone")
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return pickle.loads(self._exactly(length))

    def poll(self, timeout: float = 0.0) -> bool:
        """Whether a message, or the end, is there; waits up to ``timeout`` seconds for it."""
        return bool(select.select([self._socket], [], [], timeout)[0])

    def close(self) -> None:
        """Closes this end."""
        self._socket.close()
        if self._rings is not None:
            os.close(self._rings)
            self._rings = None

    def _exactly(self, count: int) -> bytearray:
        data = bytearray()
        while len(data) < count:
            part = self._socket.recv(min(_CHUNK, count - len(data)))
            if not part:
                raise EOFError("the other end of the channel went away within a message")
            data += part
        return data

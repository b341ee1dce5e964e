"""Messages between a rollout worker and an environment's process, with as few system calls per step as there can be."""

from __future__ import annotations

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


class Channel:
    """Either :data:`STEP` or a pickled object at a time, over one end of a stream socket pair.

    Both ends are this package's own processes, so that unpickling what comes is safe. Methods raise EOFError or OSError
    once the other end is gone.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def send_step(self) -> None:
        """Sends :data:`STEP`."""
        self._socket.send(STEP)

    def send(self, message: Any) -> None:
        """Sends a picklable object."""
        payload = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._socket.sendall(_OBJECT + _LENGTH.pack(len(payload)) + payload)

    def receive(self) -> Any:
        """The next message: None for :data:`STEP`, else the object. Waits for it."""
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

    def _exactly(self, count: int) -> bytearray:
        data = bytearray()
        while len(data) < count:
            part = self._socket.recv(min(_CHUNK, count - len(data)))
            if not part:
                raise EOFError("the other end of the channel went away within a message")
            data += part
        return data

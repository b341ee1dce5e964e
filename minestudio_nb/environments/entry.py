"""The process that holds one environment: ``python -m minestudio_nb.environments.entry SOCKET MEMORY PARENT``.

It talks with its rollout worker over a socket and shows observations in shared memory. Messages are pickled tuples
whose first item says what they are, but for the two that are sent at every step: :data:`STEP_NOW` and :data:`STEPPED`.
The process ends when its parent does, however that happens. It imports neither torch nor Ray.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import pickle
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

from minestudio_nb.environments.slot import EnvArrays, EnvSlot

__all__ = ["STEPPED", "STEP_NOW", "main", "serve"]

STEP_NOW = b"s"
STEPPED = b"s"
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Asks Linux to kill this process when the thread that started it ends; elsewhere the socket's end must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def serve(connection: Connection, memory: int) -> None:
    """Builds the environment and steps it until told to close."""
    start: dict[str, Any] = pickle.loads(connection.recv_bytes())
    for entry in reversed(start["sys_path"]):
        if entry not in sys.path:
            sys.path.insert(0, entry)
    slot: EnvSlot | None = None
    try:
        factory = pickle.loads(start["factory"])
        index, count = start["index"], start["num_envs"]
        slot = EnvSlot(
            factory, index, factory.seed_of(index, start["restarts"]), factory.task, start["restart_interval"]
        )
        spec = slot.build()
        cost = slot.measure() if start["measure"] else None
        connection.send(("spec", spec, cost))
        _, nbytes = connection.recv()
        slot.attach(EnvArrays.over(mmap.mmap(memory, nbytes), spec, count))
        slot.reset()
        connection.send(("ready",))
        _loop(connection, slot)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the worker is gone: nobody is left to tell
    except Exception as error:  # noqa: BLE001 - whatever a user's environment raises goes to the worker as text
        with contextlib.suppress(OSError):
            connection.send(("error", f"{type(error).__name__}: {error}", traceback.format_exc()))
    finally:
        if slot is not None:
            slot.close()


def _loop(connection: Connection, slot: EnvSlot) -> None:
    while True:
        message = connection.recv_bytes()
        if message == STEP_NOW:
            end = slot.step()
            if end is None:
                connection.send_bytes(STEPPED)
            else:
                connection.send(("end", end))
            continue
        command, *arguments = pickle.loads(message)
        if command == "close":
            return
        if command == "get_state":
            connection.send(("state", slot.get_state()))
        elif command == "set_state":
            slot.set_state(arguments[0])
            connection.send(("state", None))
        else:
            raise ValueError(f"unknown command {command!r}")


def main(arguments: list[str]) -> None:
    """Entry of the process; the arguments are two inherited file descriptors and the parent's process id."""
    socket, memory, parent = (int(argument) for argument in arguments)
    die_with_parent(parent)
    serve(Connection(socket), memory)


if __name__ == "__main__":
    main(sys.argv[1:])

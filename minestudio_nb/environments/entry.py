"""The process that holds one environment: ``python -m minestudio_nb.environments.entry SOCKET BELL MEMORY PARENT``.

It talks with its rollout worker over a socket and shows observations in shared memory. Objects on the
socket are tuples whose first item says what they are.
The process ends when its parent does, however that happens. It imports neither torch nor Ray.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import pickle
import signal
import socket
import sys
import traceback
from typing import Any

from minestudio_nb.environments.channel import Channel
from minestudio_nb.environments.slot import EnvArrays, EnvSlot

__all__ = ["main", "serve"]

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Asks Linux to kill this process when the thread that started it ends; elsewhere the socket's end must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def serve(channel: Channel, memory: int) -> None:
    """Builds the environment and steps it until told to close."""
    start: dict[str, Any] = channel.receive()
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
        channel.send(("spec", spec, cost))
        _, nbytes = channel.receive()
        slot.attach(EnvArrays.over(mmap.mmap(memory, nbytes), spec, count))
        if start.get("by_call"):  # an evaluation says itself when an episode begins, and with which seed
            channel.send(("attached",))
        else:
            slot.reset()
            channel.send(("ready",))
        _loop(channel, slot)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the worker is gone: nobody is left to tell
    except Exception as error:  # noqa: BLE001 - whatever a user's environment raises goes to the worker as text
        with contextlib.suppress(OSError):
            channel.send(("error", f"{type(error).__name__}: {error}", traceback.format_exc()))
    finally:
        if slot is not None:
            slot.close()


def _loop(channel: Channel, slot: EnvSlot) -> None:
    while True:
        message = channel.receive()
        if message is None:
            end = slot.step()
            if end is None:
                channel.send_step()
            else:
                channel.send(("end", end))
            continue
        command, *arguments = message
        if command == "close":
            return
        if command == "look":
            picture = slot.look()
            frame = None if picture.frame is None else (picture.frame.shape, picture.frame.tobytes())
            channel.send(("picture", frame, picture.pressed, picture.seconds))
        elif command == "get_state":
            channel.send(("state", slot.get_state()))
        elif command == "reset":
            slot.reset(arguments[0])
            channel.send(("ready",))
        elif command == "step":
            channel.send(("end", slot.step(start_next=False)))
        elif command == "set_state":
            slot.set_state(arguments[0])
            channel.send(("state", None))
        else:
            raise ValueError(f"unknown command {command!r}")


def main(arguments: list[str]) -> None:
    """Entry of the process; the arguments are inherited file descriptors (-1: no bell) and the parent's process id."""
    channel, bell, memory, parent = (int(argument) for argument in arguments)
    die_with_parent(parent)
    serve(Channel(socket.socket(fileno=channel), listens=bell if bell >= 0 else None), memory)


if __name__ == "__main__":
    main(sys.argv[1:])

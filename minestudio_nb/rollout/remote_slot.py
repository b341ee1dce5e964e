"""Environments in processes of their own that are reset and stepped one call at a time, for evaluations."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.environments.build import EnvFactory
from minestudio_nb.environments.engines import machine_folder, sweep
from minestudio_nb.environments.shared import anonymous_memory
from minestudio_nb.environments.slot import EnvArrays, EpisodeEnd
from minestudio_nb.errors import EnvCrashError, EnvTimeoutError
from minestudio_nb.rollout.env_process import EnvProcess
from minestudio_nb.rollout.pool import Deadlines

__all__ = ["RemoteSlot", "remote_slots"]

CLOSE_SECONDS = 20.0


class RemoteSlot:
    """What :class:`~minestudio_nb.environments.slot.EnvSlot` does, in another process; not all of it."""

    def __init__(self, process: EnvProcess, memory: int, count: int, deadlines: Deadlines) -> None:
        self._process = process
        self._memory = memory
        self._count = count
        self._deadlines = deadlines
        self._started = False
        self._spec: EnvSpec | None = None

    def build(self) -> EnvSpec:
        """Builds the environment and says what it shows and accepts."""
        spec: EnvSpec = self._answer("spec", self._deadlines.start)[0]
        self._spec = spec
        return spec

    def arrays(self) -> EnvArrays:
        """The arrays that all slots share; after :meth:`build`."""
        assert self._spec is not None
        size = EnvArrays.nbytes(self._spec, self._count)
        os.ftruncate(self._memory, size)
        return EnvArrays.over(mmap.mmap(self._memory, size), self._spec, self._count)

    def attach(self, arrays: EnvArrays) -> None:
        """Says where to write: the arrays must be those of :meth:`arrays`."""
        assert self._spec is not None
        self._process.channel.send(("attach", EnvArrays.nbytes(self._spec, self._count)))
        self._answer("attached", self._deadlines.start)

    def reset(self, seed: int | None = None) -> None:
        """Begins an episode."""
        self._process.channel.send(("reset", seed))
        # An engine starts in the first one, perhaps after those of others.
        self._answer("ready", self._deadlines.reset if self._started else 2 * self._deadlines.start)
        self._started = True

    def step(self, start_next: bool = False) -> EpisodeEnd | None:
        """One decision; the caller resets after an episode's end."""
        assert not start_next
        self._process.channel.send(("step",))
        end: EpisodeEnd | None = self._answer("end", self._deadlines.step)[0]
        return end

    def close(self) -> None:
        """Ends the process."""
        self._process.ask_to_close()
        self._process.kill(CLOSE_SECONDS)

    def _answer(self, kind: str, seconds: float) -> list[Any]:
        process = self._process
        try:
            if not process.channel.poll(seconds):
                raise EnvTimeoutError(
                    f"An environment did not answer within {seconds:g} s.\n{process.log_tail()}".rstrip()
                )
            got, *arguments = process.channel.receive()
        except (EOFError, OSError) as error:
            raise EnvCrashError(f"{process.describe_death()}\n{process.log_tail()}".rstrip()) from error
        if got != kind:
            raise EnvCrashError("\n".join([*map(str, arguments), process.log_tail()]).rstrip())
        return arguments


@contextmanager
def remote_slots(
    factory: EnvFactory, count: int, deadlines: Deadlines, logs: Path | None = None
) -> Iterator[tuple[list[RemoteSlot], Callable[[int], RemoteSlot]]]:
    """``count`` environments of ``factory``, each in a process, and what makes another one for an index.

    Those in the list at the end of the block end with it.
    """
    if factory.kind == "minecraft":
        sweep()
    logs = logs or machine_folder("logs")
    memory = anonymous_memory()
    spawner = ThreadPoolExecutor(1, "env-spawner")
    payload = factory.dumps()
    slots: list[RemoteSlot] = []

    def make(index: int) -> RemoteSlot:
        start = {"factory": payload, "index": index, "num_envs": count, "restarts": 0, "restart_interval": None}
        start |= {"measure": False, "by_call": True}
        process = EnvProcess(spawner, factory.python, memory, start, logs / f"evaluation-env{index}.log")
        return RemoteSlot(process, memory, count, deadlines)

    try:
        for index in range(count):
            slots.append(make(index))
        yield slots, make
    finally:
        for slot in slots:
            slot.close()
        os.close(memory)
        spawner.shutdown()

"""Few engines start at once: each waits for one of this machine's slots, which the kernel frees when a process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from minestudio_nb.environments.engines import machine_folder
from minestudio_nb.errors import EnvStartError

__all__ = ["default_slots", "turn"]

LONGEST_WAIT = 3600.0
_LOOK_SECONDS = 0.2


def default_slots() -> int:
    """How many engines may start or build a world at once: one for two processors, since each keeps two busy."""
    return max(1, (os.cpu_count() or 1) // 2)


@contextlib.contextmanager
def turn(
    slots: int | None = None,
    on_wait: Callable[[bool], None] | None = None,
    folder: Path | None = None,
    timeout: float = LONGEST_WAIT,
) -> Iterator[None]:
    """Holds one of ``slots`` slots (None: :func:`default_slots`) for the time of the block.

    ``on_wait`` is called with True when it has to wait, and with False as soon as it has a slot.

    Raises:
        EnvStartError: no slot was free for ``timeout`` seconds.
    """
    folder = folder or machine_folder("turns")
    paths = [folder / f"engine-start-{index}.lock" for index in range(slots or default_slots())]
    descriptor = _try(paths)
    if descriptor is None:
        if on_wait is not None:
            on_wait(True)
        descriptor = _wait(paths, timeout)
    if on_wait is not None:
        on_wait(False)
    try:
        yield
    finally:
        os.close(descriptor)


def _wait(paths: list[Path], timeout: float) -> int:
    deadline = time.monotonic() + timeout
    pause = threading.Event()  # a lock of one of several files cannot be waited for
    while (descriptor := _try(paths)) is None:
        if time.monotonic() > deadline:
            raise EnvStartError(
                f"No engine could start for {timeout:g} s: {len(paths)} others were starting all the time, which the "
                f"locks in {paths[0].parent} count. Look for engines that hang, or raise env_config.kwargs.start_slots."
            )
        pause.wait(_LOOK_SECONDS)
    return descriptor


def _try(paths: list[Path]) -> int | None:
    """A descriptor that holds the lock of one of the files, or None."""
    for path in paths:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return descriptor
    return None

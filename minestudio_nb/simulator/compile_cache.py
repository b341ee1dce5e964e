"""Compiling the simulator's kernels once per machine, not once per process.

numba writes what it compiles to a directory (see ``cache_folder``) and loads it from there.

``warm_up`` compiles everything, in one process at a time: others that want the same wait for it and then load. To have
a kernel compiled, ``register`` a function that calls it with arguments of the types of real use.

``python -m minestudio_nb.simulator.compile_cache`` does it from a shell.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from minestudio_nb.simulator.cache_folder import ENVIRONMENT_KEY, is_writable, use_cache

_log = logging.getLogger(__name__)

WAIT_SECONDS: Final = 300.0
"""How long a process waits for another one that compiles; then it compiles for itself."""
_KEEP_DAYS: Final = 30
_COMPLETE: Final = "complete"

Progress = Callable[[int, int, str], None]
"""Called with k, n, name before kernel k (from 1) of n is compiled."""

_registry: dict[str, Callable[[], object]] = {}
# Modules whose import registers kernels; imported by ``warm_up`` only.
_REGISTERING: Final = ("minestudio_nb.simulator.kernels",)


@dataclass(frozen=True)
class WarmUp:
    """What ``warm_up`` did: seconds it took (of waiting for another process too), kernels called, and whether the
    cache had been complete, so that nothing was called."""

    seconds: float
    kernels: int
    was_complete: bool


def register(name: str, call: Callable[[], object]) -> None:
    """Have ``warm_up`` compile a kernel.

    Args:
        name: shown while it compiles; unique.
        call: calls the kernel once with arguments of the types of real use.
    """
    _registry[name] = call


def _take_lock(file: IO[bytes]) -> None:
    """Take a lock that the system frees when the file is closed, however the process ends. Blocks."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX)


@contextlib.contextmanager
def _only_one(folder: Path, deadline_s: float) -> Iterator[bool]:
    """Hold the folder's lock; yields False when another process still had it after ``deadline_s``."""
    file = open(folder / "lock", "ab")  # noqa: SIM115 - may be left to the thread below
    state = threading.Lock()
    taken = threading.Event()
    given_up = False

    def wait() -> None:
        # A lock has no time-out of its own, so a thread waits for it; it lets go at once when it comes too late.
        try:
            _take_lock(file)
        except OSError as error:
            _log.warning("The compile lock cannot be used (%s); compiling without it.", error)
        with state:
            taken.set()
            if given_up:
                file.close()

    threading.Thread(target=wait, name="compile-lock", daemon=True).start()
    held = taken.wait(deadline_s)
    try:
        yield held
    finally:
        with state:
            given_up = True
            if taken.is_set():
                file.close()


def _remove_old(folder: Path) -> None:
    """Remove caches of other versions that nobody has completed or used for some weeks."""
    oldest = time.time() - _KEEP_DAYS * 86400
    for other in folder.parent.iterdir():
        if other != folder and other.is_dir() and other.stat().st_mtime < oldest:
            shutil.rmtree(other, ignore_errors=True)


def _call_all(kernels: Sequence[tuple[str, Callable[[], object]]], progress: Progress | None) -> None:
    for k, (name, call) in enumerate(kernels, start=1):
        if progress is not None:
            progress(k, len(kernels), name)
        call()


def warm_up(progress: Progress | None = None, wait_s: float = WAIT_SECONDS) -> WarmUp:
    """Compile every registered kernel into the cache, or return at once where that has been done.

    When another process is compiling, this one waits for it, but no longer than ``wait_s``; then it compiles too, which
    is wasteful but harmless: numba replaces whole files.

    Args:
        progress: told before each kernel.
        wait_s: seconds to wait for another process.
    """
    start = time.monotonic()
    folder = use_cache()
    for module in _REGISTERING:
        importlib.import_module(module)
    if not is_writable(folder):
        _call_all(list(_registry.items()), progress)
        return WarmUp(time.monotonic() - start, len(_registry), False)
    complete = folder / _COMPLETE
    names = "\n".join(_registry)
    if _is_complete(complete, names):
        return WarmUp(time.monotonic() - start, 0, True)
    with _only_one(folder, wait_s) as held:
        if not held:
            _log.warning("Another process has been compiling for %.0f s; compiling here as well.", wait_s)
        if _is_complete(complete, names):
            return WarmUp(time.monotonic() - start, 0, True)
        _call_all(list(_registry.items()), progress)
        complete.write_text(names)
        if ENVIRONMENT_KEY not in os.environ:
            _remove_old(folder)
    return WarmUp(time.monotonic() - start, len(_registry), False)


def _is_complete(marker: Path, names: str) -> bool:
    """Whether the same kernels were compiled into this cache before."""
    try:
        return marker.read_text() == names
    except OSError:
        return False


def cache_counts(prefix: str = "minestudio_nb.simulator") -> tuple[int, int]:
    """How many kernels of this process were loaded from the cache, and how many were compiled: (hits, misses)."""
    hits = misses = 0
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        if not name.startswith(prefix):
            continue
        for value in list(vars(module).values()):
            stats: Any = getattr(value, "stats", None)
            if stats is None or not hasattr(stats, "cache_hits") or id(value) in seen:
                continue
            seen.add(id(value))
            hits += sum(stats.cache_hits.values())
            misses += sum(stats.cache_misses.values())
    return hits, misses


def main() -> int:
    """Compile from a shell, with a line of progress on standard error."""

    def show(k: int, n: int, name: str) -> None:
        sys.stderr.write(f"\r\x1b[Kcompiling the simulator: {k} of {n}, {name}")
        sys.stderr.flush()

    done = warm_up(show)
    what = "was compiled already" if done.was_complete else f"compiled in {done.seconds:.0f} s"
    sys.stderr.write(f"\r\x1b[KThe simulator {what}: {use_cache()}\n")
    return 0


if __name__ == "__main__":
    # Under "-m" this file runs as a module of its own; the kernels register with the imported one.
    from minestudio_nb.simulator import compile_cache

    sys.exit(compile_cache.main())

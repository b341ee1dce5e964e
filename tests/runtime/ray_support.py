"""One Ray cluster for a whole test session, and small sessions in it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from minestudio_nb.config import load_config
from minestudio_nb.runtime.base import RuntimeSpec
from minestudio_nb.runtime.processes import CLUSTER_MARK

REPOSITORY = Path(__file__).parents[2]

START_SECONDS = 240.0
"""Deadline of starts in tests: generous, since several of them may share two cores."""


def small_spec(
    session: str,
    root: Path,
    source: str | Path | Mapping[str, Any] = "cartpole",
    overrides: tuple[str, ...] = (),
    address: str | None = None,
    detached: bool = False,
) -> RuntimeSpec:
    """A session's specification with a test's configuration."""
    return RuntimeSpec(session, load_config(source, overrides), str(root), address, detached)


def eventually(condition: Callable[[], Any], timeout: float = 60.0, what: str = "") -> Any:
    """What ``condition`` returns once it is true; AssertionError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what or condition}"
        time.sleep(0.2)


def processes_started_for(mark: str) -> list[psutil.Process]:
    """Living processes with ``mark`` in their environment, the test's own not counted."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and mark in process.environ().values():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def start_driver(
    code: str, mark: str, root: Path, environment: Mapping[str, str] = os.environ, before: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """A process of its own that runs ``code``; everything it starts inherits ``mark``. ``before`` is a program, with
    arguments, that runs Python in its turn."""
    environment = {**environment, "MSNB_TEST_MARK": mark, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    environment.pop(CLUSTER_MARK, None)
    environment.pop("RAY_ADDRESS", None)
    return subprocess.Popen(
        [*before, sys.executable, "-c", code],
        cwd=root,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(driver: subprocess.Popen[str], word: str, seen: list[str] | None = None) -> str:
    """Reads the driver's output up to the line that begins with ``word``, and returns that line; ``seen`` gets all."""
    assert driver.stdout is not None
    seen = [] if seen is None else seen
    for line in driver.stdout:
        seen.append(line)
        if line.startswith(word):
            return line.strip()
    raise AssertionError(f"the driver ended without saying {word!r}:\n{''.join(seen)}")


def finish(driver: subprocess.Popen[str]) -> None:
    """Kills a driver that is still there and closes its pipes."""
    driver.kill()
    driver.wait()
    for pipe in (driver.stdin, driver.stdout):
        if pipe is not None:
            pipe.close()

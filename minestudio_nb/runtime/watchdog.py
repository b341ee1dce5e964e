"""Kills the process that started this one when it gives no sign of life: ``python -I watchdog.py SECONDS``.

The supervisor watches all others; this watches the supervisor. As a process it imports next to nothing and costs a few
megabytes. A byte on its standard input is a sign of life, the end of that is the end of both.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time

LOOK_SECONDS = 1.0


class Watchdog:
    """The side of the process that is watched: has it killed after ``limit`` seconds in which none of it ran."""

    def __init__(self, limit: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._interval = limit / 10
        self._closed = threading.Event()
        threading.Thread(target=self._live, name="watchdog", daemon=True).start()

    def close(self) -> None:
        """Ends the watch."""
        self._closed.set()
        self._process.kill()
        self._process.wait()

    def _live(self) -> None:
        assert self._process.stdin is not None
        while not self._closed.wait(self._interval):
            try:
                os.write(self._process.stdin.fileno(), b".")
            except OSError:
                return  # it is gone: nobody watches any more, which is no reason to end


def main(limit: float) -> None:
    """Watches until the parent ends, or is killed after ``limit`` seconds of silence."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    silent, looked_at = 0.0, time.monotonic()
    while os.getppid() == parent:
        readable = select.select([0], [], [], LOOK_SECONDS)[0]
        now = time.monotonic()
        silent += min(now - looked_at, 2 * LOOK_SECONDS)  # time in which this process did not run does not count
        looked_at = now
        if readable:
            if not os.read(0, 4096):
                return
            silent = 0.0
        elif silent > limit:
            os.kill(parent, signal.SIGKILL)
            return


if __name__ == "__main__":
    main(float(sys.argv[1]))

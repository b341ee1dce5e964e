"""Ways in which the process of an environment ends, or stops to answer."""

from __future__ import annotations

import os
import signal

__all__ = ["EXIT_STATUS", "break_process"]

EXIT_STATUS = 7


def break_process(kind: str) -> None:
    """``exit`` (without a word), ``kill`` (SIGKILL) and ``stop`` (SIGSTOP: alive, and silent); others do nothing."""
    if kind == "exit":
        os._exit(EXIT_STATUS)
    if kind in ("kill", "stop"):
        os.kill(os.getpid(), signal.SIGKILL if kind == "kill" else signal.SIGSTOP)

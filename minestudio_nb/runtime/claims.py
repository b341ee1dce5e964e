"""Who may give orders to a session: one process at a time, while any number of them watch.

A process *holds the controls* from its first order (or from the start of the session) until another process takes them
or until it is gone. Whether a process on the same machine is gone can be seen; of one on another machine only its
silence is known, and after LEASE_SECONDS of it the controls are free. A free session follows whoever orders next.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from minestudio_nb.errors import SessionStateError
from minestudio_nb.runtime.processes import is_alive

__all__ = ["LEASE_SECONDS", "Claims", "Holder"]

LEASE_SECONDS = 60.0
"""How long a holder on another machine may be silent. Displays and ``until()`` ask twice a second."""


@dataclass(frozen=True)
class Holder:
    """A process that may hold the controls. Two session objects of one process are the same holder."""

    machine: str
    """Where its process id means something: host and PID namespace."""
    pid: int
    create_time: float
    label: str
    """What people read: ``notebook tune.ipynb (process 4711 on host fox)``."""

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        process = psutil.Process()
        return cls(this_machine(), process.pid, process.create_time(), _label(process.pid))

    def same_as(self, other: Holder) -> bool:
        """Whether both are one process."""
        started_together = abs(self.create_time - other.create_time) < 1.0  # readings vary when the clock is corrected
        return (self.machine, self.pid) == (other.machine, other.pid) and started_together


def this_machine() -> str:
    """The host's name and the PID namespace, since containers may share either."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        namespace = ""
    return f"{socket.gethostname()} {namespace}".strip()


def _label(pid: int) -> str:
    place = f"process {pid} on host {socket.gethostname()}"
    notebook = os.environ.get("JPY_SESSION_NAME")  # Jupyter Server's name for the notebook of a kernel
    if notebook and "ipykernel" in sys.modules:  # processes that a kernel starts inherit it
        return f"notebook {Path(notebook).name} ({place})"
    if "ipykernel" in sys.modules:
        return f"a notebook ({place})"
    return f"{Path(sys.argv[0]).name or 'python'} ({place})" if sys.argv and sys.argv[0] != "-c" else place


class Claims:
    """Keeps who holds the controls. Any thread may call.

    Args:
        holder: who started the session; None: nobody holds them.
        tell: gets a sentence when they change hands.
        keep: gets who holds them, None for nobody, whenever that changes.
    """

    def __init__(
        self,
        holder: Holder | None,
        tell: Callable[[str], None] = lambda text: None,
        keep: Callable[[Holder | None], None] = lambda holder: None,
    ) -> None:
        self._lock = threading.Lock()
        self._machine = this_machine()
        self._holder = holder
        self._since = time.time()
        self._heard_at = time.monotonic()
        self._tell = tell
        self._keep = keep
        keep(holder)

    def hear(self, holder: Holder) -> str:
        """A sign of life of a process. Returns who else holds the controls; empty where it may give orders."""
        with self._lock:
            return self._other(holder)

    def take(self, holder: Holder, force: bool = False) -> str:
        """Gives the controls to a process unless another one holds them, or in any case with ``force``.

        Returns who else holds them now; empty: ``holder`` does.
        """
        with self._lock:
            other = self._other(holder)
            if other and not force:
                return other
            before, self._holder = self._holder, holder
            self._heard_at = time.monotonic()
            if before is None or not before.same_as(holder):
                self._keep(holder)
            if before is None or before.same_as(holder):
                return ""
            self._since = time.time()
        gone = "" if other else ", which is gone"
        self._tell(f"{holder.label} holds the controls now; before: {before.label}{gone}.")
        return ""

    def release(self, holder: Holder) -> None:
        """Frees the controls, if this process holds them."""
        with self._lock:
            if self._holder is not None and self._holder.same_as(holder):
                self._holder = None
                self._keep(None)

    def require(self, holder: Holder, order: str) -> None:
        """Gives the controls to a process that has an order; SessionStateError where another one holds them."""
        other = self.take(holder)
        if other:
            since = time.strftime("%H:%M:%S", time.localtime(self._since))
            raise SessionStateError(
                f"{order} was refused: {other} holds the controls since {since}, and one process at a time gives "
                "orders. Watch on, or call take_controls() first; the other one watches then."
            )

    def _other(self, holder: Holder) -> str:
        """With the lock held."""
        if self._holder is None:
            return ""
        if self._holder.same_as(holder):
            self._heard_at = time.monotonic()
            return ""
        return self._holder.label if self._is_there(self._holder) else ""

    def _is_there(self, holder: Holder) -> bool:
        if holder.machine == self._machine:
            return is_alive(holder.pid, holder.create_time)
        return time.monotonic() - self._heard_at < LEASE_SECONDS

"""Writing checkpoints beside training, so that a slow disk holds up nothing and a full one ends nothing.

One is written at a time: before the next begins, the one before it is on the disk or has failed. So no more is ever
lost than the iterations between two checkpoints.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from minestudio_nb.errors import CheckpointError
from minestudio_nb.trainer.checkpoints import CheckpointStore, Frozen

__all__ = ["CheckpointWriter"]

WRITE_SECONDS = 600.0
"""How long the writing of one checkpoint may take: the largest policies on slow network disks need minutes. Below
``timeouts.training_step``, since training processes that are started again would find the same disk."""

Tell = Callable[[str, str, Any], None]
"""Takes kind, message and severity of an event."""


class CheckpointWriter:
    """Writes to ``store`` on threads of its own; used by one thread, on which ``tell`` is called, too."""

    def __init__(self, store: CheckpointStore, tell: Tell) -> None:
        self._store, self._tell = store, tell
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._written: Path | None = None
        self._failing = False
        self._newest: Path | None = None
        """The last one that is on the disk."""

    def begin(self, frozen: Frozen, label: str, keep_interval: int) -> None:
        """Waits for the one before, and begins to write this one."""
        self.wait()
        self._thread = threading.Thread(
            target=self._write, args=(frozen, label, keep_interval), name="checkpoint-writer", daemon=True
        )
        self._thread.start()

    def must_retry(self) -> bool:
        """Whether the newest checkpoint could not be written, as far as that is known, so that another shall be."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()
        return self._failing

    def wait(self) -> Path | None:
        """Waits until nothing is being written; the folder of what was, None if that failed or there was none.

        Raises what is no fault of the disk, such as a label that is none; CheckpointError where the disk takes
        longer than WRITE_SECONDS.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return None
        thread.join(WRITE_SECONDS)
        if thread.is_alive():
            raise CheckpointError(
                f"A checkpoint is still being written to {self._store.directory} after {WRITE_SECONDS:.0f} s: the "
                "disk, or the network to it, does not answer. Mend it, and go on from the newest checkpoint there."
            )
        error, written = self._error, self._written
        self._error = self._written = None
        if isinstance(error, CheckpointError) and isinstance(error.__cause__, (OSError, SafetensorError)):
            self._tell_failure(error)
            return None
        if error is not None:
            raise error
        if self._failing and written is not None:
            self._tell("checkpoint", f"Checkpoints are written again: {written.name}.", "info")
        self._failing, self._newest = False, written
        return written

    def finish(self) -> Path | None:
        """Waits until nothing is being written; the last checkpoint that is on the disk."""
        self.wait()
        return self._newest

    def _write(self, frozen: Frozen, label: str, keep_interval: int) -> None:
        try:
            self._written = self._store.write(frozen, label, keep_interval)
        except Exception as error:  # noqa: BLE001  told or raised by wait()
            self._error = error

    def _tell_failure(self, error: CheckpointError) -> None:
        if not self._failing:
            newest = self._store.newest()
            back = f"the newest on disk is {newest.name}" if newest is not None else "there is none on disk yet"
            text = f"{error} Training goes on, and it is tried again after each iteration; {back}."
            self._tell("checkpoint_failed", text, "error")
        self._failing = True

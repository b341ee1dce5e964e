"""Reading and writing the ``.jsonl`` files of a run: one JSON object per line, appended at once."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np

__all__ = ["JsonLinesFile", "RunFiles", "plain", "read_json_lines"]

_logger = logging.getLogger(__name__)


class RunFiles(Protocol):
    """The part of a run directory that the hub needs (:class:`minestudio_nb.runs.RunDirectory` has it)."""

    @property
    def metrics(self) -> Path: ...

    @property
    def events(self) -> Path: ...

    @property
    def episodes(self) -> Path: ...


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: numpy becomes Python, NaN and infinities None, anything unknown its ``str``."""
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return str(value)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a ``.jsonl`` file; empty when it does not exist.

    A line that is not a JSON object is left out, with a warning in the log: a killed writer tears the last one.
    """
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if isinstance(row, dict):
                rows.append(row)
            else:
                _logger.warning("%s, line %d is not a JSON object and is left out", path, number)
    return rows


class JsonLinesFile:
    """Appends rows to one file. What a full disk refused is kept and written before the next rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None
        self._pending = b""

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes ``rows`` without buffering. Raises OSError when not all could be written."""
        self._pending += "".join(json.dumps(plain(row), allow_nan=False) + "\n" for row in rows).encode()
        if not self._pending:
            return
        if self._file is None:
            self._file = self._open()
        while self._pending:
            self._pending = self._pending[self._file.write(self._pending) :]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> FileIO:
        """Opens for appending; a torn last line is ended first, so that the next row has a line of its own."""
        file = open(self.path, "a+b", buffering=0)  # noqa: SIM115  kept open until close()
        if file.seek(0, 2):
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")
        return file

"""Reading and writing the ``.jsonl`` files of a run: one JSON object per line, appended at once."""

from __future__ import annotations

import json
import logging
import math
import mmap
from collections.abc import Callable, Mapping, Sequence
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
    """Appends rows to one file. What a full disk refused is kept and written before the next rows.

    A line is in the file whole or not at all, except where the process or the machine died while it was written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None
        self._pending = bytearray()
        """Whole lines that are not in the file yet."""

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes ``rows`` without buffering. Raises OSError when not all could be written."""
        self._pending += "".join(json.dumps(plain(row), allow_nan=False) + "\n" for row in rows).encode()
        if not self._pending:
            return
        if self._file is None:
            self._file = self._open()
        begin, data, written = self._file.seek(0, 2), bytes(self._pending), 0
        try:
            while written < len(data):
                written += self._file.write(data[written:])
        finally:
            whole = written if written == len(data) else data.rfind(b"\n", 0, written) + 1
            if whole < written:
                self._file.truncate(begin + whole)
            del self._pending[:whole]

    def cut(self, is_later: Callable[[Mapping[str, Any]], bool]) -> None:
        """Removes rows from the end for as long as ``is_later`` says so of them, and torn lines between them."""
        lines = bytes(self._pending).splitlines(keepends=True)
        while lines and _is_cut(lines[-1], is_later):
            lines.pop()
        self._pending = bytearray(b"".join(lines))
        if not lines:
            _cut_file(self.path, is_later)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> FileIO:
        """Opens for appending. A torn last line, of which no reader can make anything, is removed first."""
        file = open(self.path, "a+b", buffering=0)  # noqa: SIM115  kept open until close()
        if file.seek(0, 2):
            file.seek(-1, 2)
            if file.read(1) != b"\n" and not _cut_file(self.path, lambda row: False):
                file.write(b"\n")  # it is a whole row, of which only the end of the line is missing
        return file


def _cut_file(path: Path, is_later: Callable[[Mapping[str, Any]], bool]) -> int:
    """See :meth:`JsonLinesFile.cut`; how many lines were removed."""
    if not path.exists() or path.stat().st_size == 0:
        return 0
    removed = 0
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            end = len(data)
            while end > 0:
                begin = data.rfind(b"\n", 0, end - 1) + 1
                if not _is_cut(data[begin:end], is_later):
                    break
                end, removed = begin, removed + 1
        if removed:
            file.truncate(end)
    return removed


def _is_cut(line: bytes, is_later: Callable[[Mapping[str, Any]], bool]) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return True
    return not isinstance(row, dict) or is_later(row)

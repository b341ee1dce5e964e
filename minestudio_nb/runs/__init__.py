"""The run directory: where every file of a session lies, which runs there are, and where each of them began.

The package itself can be called: ``minestudio_nb.runs("runs")`` is the table of runs, :func:`.table.runs_table`.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from minestudio_nb.runs.directory import (
    RunDirectory,
    check_run_name,
    fresh_name,
    list_runs,
    reserve_name,
    write_atomically,
)
from minestudio_nb.runs.presence import ENDED, Phase, SessionRecord
from minestudio_nb.runs.record import RECORD, Origin, RunRecord
from minestudio_nb.runs.summary import RunSummary, last_row, summaries, summarize

if TYPE_CHECKING:
    from minestudio_nb.runs.table import RunsTable

__all__ = [
    "ENDED",
    "RECORD",
    "Origin",
    "Phase",
    "RunDirectory",
    "RunRecord",
    "RunSummary",
    "SessionRecord",
    "check_run_name",
    "fresh_name",
    "last_row",
    "list_runs",
    "reserve_name",
    "summaries",
    "summarize",
    "write_atomically",
]


class _CallablePackage(ModuleType):
    """Users call ``ms.runs()``, and Python binds the name of an imported package to it: so it is both."""

    def __call__(self, run_root: str | os.PathLike[str] = "runs") -> RunsTable:
        """The runs below ``run_root`` as a table; see :func:`minestudio_nb.runs.table.runs_table`."""
        from minestudio_nb.runs.table import runs_table

        return runs_table(run_root)


sys.modules[__name__].__class__ = _CallablePackage

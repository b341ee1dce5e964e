"""The half of a session that shows it: live displays, pictures that stay in a notebook, and the report."""

from __future__ import annotations

import logging
import sys
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Any

from minestudio_nb.contracts.view import SessionView
from minestudio_nb.errors import MineStudioError
from minestudio_nb.reading import ReadableSession
from minestudio_nb.results import shown_path
from minestudio_nb.states import RUNNING

if TYPE_CHECKING:
    from minestudio_nb.widgets.dashboard import Dashboard
    from minestudio_nb.widgets.poster import Poster

__all__ = ["DisplayedSession", "in_notebook"]

_logger = logging.getLogger(__name__)

NEW_FRAME_SECONDS = 0.3
"""Within this time an environment that is asked for frames shows a new one, or else an older one will do."""


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def show(content: Any) -> None:
    """Puts ``content`` below the running cell; elsewhere, and in threads, which have no cell, nothing happens."""
    if in_notebook() and threading.current_thread() is threading.main_thread():
        from IPython.display import display

        display(content)


def _try_to(show_it: Callable[[], None]) -> None:
    """Calls ``show_it``. Whatever a picture fails for, the call that it belongs to has done its work."""
    try:
        show_it()
    except Exception as error:
        _logger.warning("no picture of the session: %s: %s", type(error).__name__, error)
        _logger.debug("showing the session failed", exc_info=True)


class ReportPath(PosixPath):
    """Where a report lies; shown as people read it."""

    def __repr__(self) -> str:
        return shown_path(self)


class DisplayedSession(ReadableSession, ABC):
    """What people see of a session."""

    def __init__(self, name: str | None, runtime: str, run_root: str | Path) -> None:
        super().__init__(name, runtime, run_root)
        self._dashboards: weakref.WeakSet[Dashboard] = weakref.WeakSet()

    def dashboard(self, panels: Sequence[str] | None = None) -> Dashboard:
        """The live display, for the last line of a cell. ``panels`` chooses some of its parts, see ``Dashboard``."""
        from minestudio_nb.widgets.dashboard import PANELS

        return self._display(PANELS if panels is None else panels)

    def tuner(self, keys: Sequence[str] | None = None) -> Dashboard:
        """Controls alone: for the live settings ``keys``, or for all of them.

        Raises:
            ConfigError: a key is unknown or not live.
        """
        for key in keys or ():
            self._require_live(key)
        return self._display(["tuning"], keys)

    def poster(self) -> Poster:
        """A picture of the session as it stands, for the last line of a cell: state, curves, frames, edits, faults.

        It needs no kernel later: saved, exported and reopened notebooks show it. ``stop()`` leaves one by itself.
        """
        from minestudio_nb.widgets.mosaic import build_mosaic
        from minestudio_nb.widgets.poster import take_poster

        view = self._view()
        return take_poster(view, build_mosaic(self._last_tiles))

    def report(self, path: str | Path | None = None) -> Path:
        """Writes a self-contained ``report.html`` (by default into the run directory) and returns its path.

        In a notebook the report is shown below the cell, too.
        """
        from minestudio_nb.reporting import shown_report, write_report

        self._refresh()
        self._keep_last_frames()
        written = write_report(self, Path(path) if path is not None else self.run_directory / "report.html")
        if in_notebook():
            _try_to(lambda: show(shown_report(self, written)))
        return ReportPath(written)

    # Inside.

    @abstractmethod
    def _view(self) -> SessionView:
        """The session as displays see it, orders included."""

    def _display(self, panels: Sequence[str], keys: Sequence[str] | None = None) -> Dashboard:
        from minestudio_nb.widgets.dashboard import Dashboard

        dashboard = Dashboard(self._view(), panels, keys)
        self._dashboards.add(dashboard)
        return dashboard

    def _keep_last_frames(self) -> None:
        """Asks for frames, so that pictures of the session have some when it has ended."""
        if self.state not in (*RUNNING, "FINISHED"):
            return
        try:
            self.tiles()
            threading.Event().wait(NEW_FRAME_SECONDS)
            self.tiles()
        except (MineStudioError, TimeoutError, OSError, RuntimeError):
            return  # pictures without frames, then

    def _show_end(self, below: bool) -> None:
        """Leaves pictures of a session that has run where its displays were shown, and ``below`` the running cell."""
        if self._runtime is None or not in_notebook():
            return

        def pictures() -> None:
            for dashboard in list(self._dashboards):
                dashboard.update_poster()
            if below:
                show(self.poster())

        _try_to(pictures)

"""The half of a session that only looks: state, numbers, events, displays. It changes nothing of the run."""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from minestudio_nb.config import LoadedConfig, field_specs
from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.contracts.showing import shown_safely
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.contracts.view import Tile
from minestudio_nb.errors import ConfigError, MineStudioError, SessionStateError
from minestudio_nb.history import History
from minestudio_nb.results import SessionStatus, shown_path
from minestudio_nb.runtime.base import EvaluationResult, Runtime
from minestudio_nb.states import RUNNING, SILENT, State, States

if TYPE_CHECKING:
    import pandas as pd

    from minestudio_nb.widgets.figures import NotebookFigure

__all__ = ["ReadableSession"]


class ReadableSession:
    """What can be read of a session; :class:`minestudio_nb.session.OnlineSession` adds what can be done.

    Representations show the last look and never ask a runtime.
    """

    def __init__(self, name: str | None, runtime: str, run_root: str | Path) -> None:
        self.name = name
        self.run_root = Path(run_root).resolve()
        self._runtime_name = runtime
        self._lock = threading.RLock()
        self._states = States()
        self._loaded: LoadedConfig | None = None
        self._runtime: Runtime | None = None
        self._history = History()
        self._last_tiles: Mapping[str, Tile] = {}
        """The newest that anybody saw, for pictures of a session that has ended."""
        self.evaluations: dict[str, EvaluationResult] = {}
        """Results of ``evaluate()`` by label; ``report()`` shows ``"before"`` and ``"after"``."""

    # What holds now.

    @property
    def state(self) -> State:
        """The state of the session, as of the last look at the runtime."""
        return self._states.now

    @property
    def failure(self) -> str:
        """Why the session failed, or an empty text."""
        return self._states.failure

    @property
    def run_directory(self) -> Path:
        """``<run_root>/<name>``."""
        if self.name is None:
            raise SessionStateError(f"a run directory exists after start_rollout(); the session is {self.state}")
        return self.run_root / self.name

    @property
    def config(self) -> LoadedConfig:
        """The configuration that was loaded."""
        if self._loaded is None:
            raise SessionStateError("no configuration yet; call load_config() first")
        return self._loaded

    @property
    def held_by(self) -> str:
        """Which other process gives the orders, as of the last look; empty where this one may: ``take_controls()``."""
        return self._history.held_by

    def live_keys(self) -> list[str]:
        """The dotted keys that ``set()`` accepts."""
        return sorted(key for key, spec in field_specs().items() if spec.live)

    def _require_live(self, key: str) -> None:
        spec = field_specs().get(key)
        if spec is None:
            raise ConfigError(f"there is no setting {key!r}{nearest_hint(key, field_specs())}")
        if not spec.live:
            raise ConfigError(
                f"{key} cannot change while a session runs. {spec.why_not_live} "
                f"Live keys: {', '.join(self.live_keys())}."
            )

    def status(self) -> SessionStatus:
        """What holds now; asks the runtime."""
        self._refresh()
        return self._cached_status()

    def frames(self) -> Mapping[str, Any]:
        """The newest frame of each environment: ``"worker/env"`` -> uint8 ``(H, W, 3)``; at first it may be empty."""
        return {name: tile.frame for name, tile in self.tiles().items() if tile.frame is not None}

    def tiles(self, large: Collection[str] = ()) -> Mapping[str, Tile]:
        """How each environment stands, by ``"worker/env"``: newest frame, step, return so far, value and action.

        Those that ``large`` names also come with a large picture and with their action in words, from the next calls
        on, as long as somebody calls every few seconds.
        """
        self._states.require("tiles", *RUNNING, "FINISHED", "FAILED")  # as of the last look: this is asked often
        tiles = self._live().tiles(large)
        if any(tile.frame is not None for tile in tiles.values()):
            self._last_tiles = tiles
        return tiles

    # What happened so far.

    def plot(
        self,
        metrics: str | Sequence[str] = "return",
        *,
        smooth: float = 0.8,
        x: Literal["iteration", "step", "time"] = "iteration",
    ) -> NotebookFigure:
        """Curves as a matplotlib figure, with live edits, checkpoints and faults marked.

        Args:
            metrics: one or several, in full or short (``"return"``, ``"entropy"``); one chart each.
            smooth: weight of the moving average, 0 to below 1; 0 draws what was measured.
            x: iterations, environment steps, or time since the start; a fork's curves begin with its parent's.

        Raises:
            TelemetryError: there is no such metric, with the nearest name.
        """
        from minestudio_nb.plotting import plot_session

        self._refresh()
        return plot_session(self, metrics, smooth, x)

    def metrics(self) -> pd.DataFrame:
        """One row per iteration; columns ``iteration, time, env_steps`` and one per metric that was measured.

        ``frame.attrs["units"]`` has the units; what the metrics mean is in docs/metrics.md.
        """
        self._refresh()
        return self._history.metrics_frame()

    def tasks(self) -> pd.DataFrame:
        """One row per task: means and deviations over its latest episodes (``episode_statistics_config.window``)."""
        self._refresh()
        return self._history.tasks_frame()

    def episodes(self) -> pd.DataFrame:
        """One row per finished training episode."""
        self._refresh()
        return self._history.episodes_frame()

    def events(self) -> pd.DataFrame:
        """One row per event: faults with their causes, edits, checkpoints, changes of state."""
        self._refresh()
        return self._history.events_frame()

    def edits(self) -> Sequence[Edit]:
        """All live edits, each with what became of it."""
        self._refresh()
        return self._history.edits

    @property
    def points(self) -> Sequence[Mapping[str, Any]]:
        """The points of the curves as of the last look: ``{iteration, time, env_steps, values}``."""
        return tuple(self._history.points)

    @property
    def event_list(self) -> Sequence[Event]:
        """The events as of the last look."""
        return tuple(self._history.events)

    @property
    def episode_list(self) -> Sequence[Mapping[str, Any]]:
        """The finished training episodes as of the last look."""
        return tuple(self._history.episodes)

    @property
    def edit_list(self) -> Sequence[Edit]:
        """All live edits as of the last look."""
        return self._history.edits

    def return_window(self) -> float:
        """Mean return over the latest episodes (``episode_statistics_config.window``) as of the last look, or NaN."""
        return self._history.return_window

    def reached_target(self) -> bool:
        """Whether a whole window of episodes returned ``train_config.target_return`` on average; true without one.

        What ended training stays true, although episodes that finish afterwards move the window on.
        """
        target = self.config.config.train_config.target_return
        if target is None or self._history.status.get("stop_reason") == "target_return":
            return True
        return self._history.window_is_full and self._history.return_window >= target

    # Representation.

    def __repr__(self) -> str:
        return str(self._cached_status())

    @shown_safely
    def _repr_html_(self) -> str | None:
        return self._cached_status()._repr_html_()

    # Inside.

    def _require(self, call: str, *allowed: State) -> None:
        if self.state in RUNNING:
            self._refresh()
        self._states.require(call, *allowed)

    def _live(self) -> Runtime:
        if self._runtime is None:
            raise SessionStateError(f"nothing runs yet, the session is {self.state}; call start_rollout() first")
        return self._runtime

    def _refresh(self) -> None:
        """Takes the runtime's news; moves the state along with its phase."""
        with self._lock:
            if self._runtime is None or self.state in SILENT:
                return
            snapshot = self._runtime.snapshot(self._history.cursor)
            self._history.absorb(snapshot, self._safe_directory())
            self._states.follow(snapshot.phase, str(snapshot.status.get("failure") or ""), snapshot.status.get("since"))
            if self.state == "STOPPED":  # by another process, which may have seen more
                self._history.reload(self.run_directory)

    def _safe_directory(self) -> Path | None:
        return None if self.name is None else self.run_root / self.name

    def _try_refresh(self) -> None:
        """A last look before the end; a runtime that no longer answers must not keep a session from stopping."""
        try:
            self._refresh()
        except (MineStudioError, TimeoutError, OSError, RuntimeError) as error:
            self._history.events.append(Event("failure", f"no last look at the runtime: {error}", "warning", "session"))

    def _cached_status(self) -> SessionStatus:
        return SessionStatus(
            name=self.name or "(unnamed)",
            state=self.state,
            since=self._states.since,
            runtime=self._runtime_name,
            values=dict(self._history.status),
            latest=dict(self._history.points[-1]["values"]) if self._history.points else {},
            returns=tuple(point["values"].get("episode/return", math.nan) for point in self._history.points),
            return_window=self.return_window(),
            failure=self.failure,
            held_by=self.held_by,
            directory=shown_path(self.run_directory) if self.name else "",
        )

"""What both runtimes do alike: the run directory, exporters, the status that sessions see, filming."""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minestudio_nb.config import OnlineConfig, redact
from minestudio_nb.config.redaction import Secrets
from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.fragments import EpisodeSummary
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.contracts.view import Tile
from minestudio_nb.rollout.filming import store_episode
from minestudio_nb.rollout.viewing import RecordedEpisode
from minestudio_nb.runs import RunDirectory
from minestudio_nb.runtime.base import RuntimeSpec
from minestudio_nb.telemetry import Hub, make_exporters
from minestudio_nb.telemetry.exporters import Exporter

__all__ = [
    "FilmCrew",
    "full_return_window",
    "prepare_run",
    "recordings_directory",
    "session_exporters",
    "session_status",
    "without_secrets",
]

logger = logging.getLogger(__name__)

FILMS_WAITING = 8
"""Recorded episodes that may wait to be filmed; more are dropped, with an event."""


def prepare_run(spec: RuntimeSpec) -> RunDirectory:
    """The run directory with the configuration in it, without what a killed process left there."""
    run = RunDirectory.create(spec.run_root, spec.session, exist_ok=True)
    run.tidy()
    for name, text in spec.config.files().items():
        run.write_text(name, text)
    return run


def session_exporters(spec: RuntimeSpec, run: RunDirectory) -> list[Exporter]:
    """The exporters that ``logger_config`` asks for."""
    config = spec.config.config
    logger_config = config.logger_config
    return make_exporters(
        run.path,
        logger_config.name or spec.session,
        tensorboard=logger_config.tensorboard,
        wandb=logger_config.wandb,
        project=logger_config.project,
        config=redact(config.to_dict()),
    )


def session_status(config: OnlineConfig, hub: Hub, edits: Sequence[Edit]) -> dict[str, Any]:
    """The part of :attr:`Snapshot.status` that follows from the hub and the edits."""
    last: Mapping[str, Any] = hub.last_point() or {}
    edited = {edit.key: edit.value for edit in edits if edit.status == "applied"}
    return {
        "iteration": hub.iterations_done,
        "num_iterations": edited.get("train_config.num_iterations", config.train_config.num_iterations),
        "env_steps": hub.env_steps,
        "return_window": hub.return_window(),
        "window_full": not math.isnan(full_return_window(config, hub)),
        "unread_fragments": int(last.get("values", {}).get("buffer/unread_fragments", 0)),
        "buffer_fragments": config.buffer_fragments,
        "revision": len(edits),
    }


def without_secrets(tiles: Mapping[str, Tile], secrets: Secrets) -> dict[str, Tile]:
    """The same tiles; the cause of a fault may quote what an environment's exception said."""
    return {name: replace(tile, cause=secrets.hide(tile.cause)) if tile.cause else tile for name, tile in tiles.items()}


def full_return_window(config: OnlineConfig, hub: Hub) -> float:
    """Mean return over the latest episodes, NaN until there is a whole window of them."""
    window = config.rollout_config.episode_statistics_config.window
    return hub.return_window() if hub.window_size() >= window else math.nan


def recordings_directory(run: RunDirectory, config: OnlineConfig) -> Path:
    """Where recorded episodes go: ``video_output_dir``, relative ones in the run directory, else its ``episodes/``."""
    wanted = config.rollout_config.worker_config.video_output_dir
    return run.recordings if wanted is None else run.path / wanted


class FilmCrew:
    """Stores and films recorded episodes on a thread of its own, so that the worker that recorded them goes on."""

    def __init__(self, directory: Path, fps: float, tell: Callable[[Event], None]) -> None:
        self._directory = directory
        self._fps = fps
        self._tell = tell
        self._waiting: queue.Queue[tuple[RecordedEpisode, EpisodeSummary] | None] = queue.Queue(FILMS_WAITING)
        self._thread: threading.Thread | None = None

    def deliver(self, episode: RecordedEpisode, summary: EpisodeSummary) -> None:
        """Takes a recorded episode and returns at once; an event says where its video lies."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="film-crew", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait((episode, summary))
        except queue.Full:
            text = f"A recorded episode was dropped: {FILMS_WAITING} others wait to be filmed already."
            self._tell(Event("recording", text, "warning"))

    def close(self, timeout: float) -> None:
        """Lets the waiting films be finished, for at most ``timeout`` seconds."""
        if self._thread is not None and self._thread.is_alive():
            deadline = time.monotonic() + timeout
            with contextlib.suppress(queue.Full):  # it hangs: nothing has become free
                self._waiting.put(None, timeout=timeout)
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            episode, summary = item
            try:
                path = store_episode(self._directory, episode, summary, self._fps)
            except Exception as error:  # a film that fails must not end what it films
                logger.warning("filming an episode failed", exc_info=True)
                self._tell(Event("recording", f"An episode could not be filmed: {error}", "warning"))
                continue
            shown = "" if path is None else f": {path.name}"
            text = f"Recorded an episode of {summary.task} with return {summary.episode_return:.2f}{shown}"
            data = {
                "path": str(path or ""),
                "task": summary.task,
                "episode_return": summary.episode_return,
                "length": summary.length,
                "version": summary.version,
                "stream": list(summary.stream),
                "finished_at": summary.finished_at,
            }
            self._tell(Event("recording", text, data=data))

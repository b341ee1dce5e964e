"""Further receivers of a session's numbers: TensorBoard event files and Weights & Biases.

``metrics.jsonl`` needs none of this; the hub writes it itself. An exporter that fails is reported as an event; after
three failures in a row it is left out. Training never waits for one.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.errors import TelemetryError

__all__ = ["Exporter", "ExporterThread", "TensorBoardExporter", "WandbExporter", "make_exporters"]

_logger = logging.getLogger(__name__)

QUEUE_SIZE = 1_000
"""Points and events that may wait for slow exporters before further ones are dropped."""
EVENTS_REMEMBERED = 1_000
"""Events that TensorBoard can be told again."""
FAILURES_ALLOWED = 3
"""Failures in a row after which an exporter is left out."""

Point = Mapping[str, Any]


class Exporter(Protocol):
    """One receiver. Its methods are called on one thread, in this order: ``open``, any of the others, ``close``."""

    name: str

    def open(self) -> None: ...

    def point(self, point: Point) -> None: ...

    def event(self, event: Event) -> None: ...

    def rewind(self, last: Point) -> None:
        """What was told after the point ``last`` is taken back and will come again; empty: all is taken back."""

    def close(self) -> None: ...


class ExporterThread:
    """Hands points and events to exporters from a thread of its own; ``report`` receives an event for each failure.

    Nothing is opened before :meth:`start`, since a failure is reported to an owner that must be complete by then.
    """

    def __init__(self, exporters: Iterable[Exporter], report: Callable[[Event], None]) -> None:
        self._exporters = list(exporters)
        self._report = report
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(QUEUE_SIZE)
        self._full = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Opens the exporters, on the thread."""
        if self._exporters:
            self._thread = threading.Thread(target=self._run, name="telemetry-exporters", daemon=True)
            self._thread.start()

    def point(self, point: Point) -> None:
        """Queues a point; dropped, with one event, when exporters are too slow."""
        self._put("point", point)

    def event(self, event: Event) -> None:
        """Queues an event. Those of telemetry itself stay out, so that a failing exporter cannot feed itself."""
        if event.kind != "telemetry":
            self._put("event", event)

    def rewind(self, last: Point) -> None:
        """Queues word that everything after the point ``last`` is taken back."""
        self._put("rewind", last)

    def close(self, timeout: float) -> None:
        """Waits at most ``timeout`` seconds until everything queued went out and the exporters closed."""
        if self._thread is None or self._closed:
            return
        self._closed = True
        try:
            self._queue.put(("close", None), timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._tell("an exporter", f"did not finish within {timeout:g} s; its last points may be missing")

    def _put(self, what: str, item: Any) -> None:
        if self._thread is None or self._closed:
            return
        try:
            self._queue.put_nowait((what, item))
        except queue.Full:
            if not self._full:
                self._full = True
                self._tell("exporters", f"are more than {QUEUE_SIZE} points behind; points are dropped for them")

    def _run(self) -> None:
        failures = {id(exporter): 0 for exporter in self._exporters}
        active = [exporter for exporter in self._exporters if self._call(exporter, "open", None)]
        while True:
            what, item = self._queue.get()
            for exporter in list(active):
                if self._call(exporter, what, item):
                    failures[id(exporter)] = 0
                    continue
                failures[id(exporter)] += 1
                if failures[id(exporter)] >= FAILURES_ALLOWED:
                    active.remove(exporter)
                    self._tell(exporter.name, f"failed {FAILURES_ALLOWED} times in a row and is left out from now on")
            if what == "close":
                return

    def _call(self, exporter: Exporter, what: str, item: Any) -> bool:
        method = getattr(exporter, what)
        try:
            if item is None:
                method()
            else:
                method(item)
        except Exception as error:  # noqa: BLE001  third-party code: whatever it raises, training goes on
            action = {"open": "could not be opened", "close": "could not be closed"}.get(what, "failed")
            self._tell(exporter.name, f"{action}: {type(error).__name__}: {error}")
            return False
        return True

    def _tell(self, who: str, what: str) -> None:
        _logger.warning("%s %s", who, what)
        self._report(Event("telemetry", f"{who} {what}", "warning", "telemetry"))


def _scalars(point: Point) -> dict[str, float]:
    """All numbers of a point by name; those of a task as ``task/<name>/return_mean`` and so on."""
    tasks = {
        f"task/{task}/{name}": float(value)
        for task, statistics in point.get("tasks", {}).items()
        for name, value in statistics.items()
    }
    return {**point["values"], **tasks}


class TensorBoardExporter:
    """Scalars by metric name over env steps, and events as text, in TensorBoard's own file format, without torch.

    What is taken back stays in the files, and TensorBoard's readers leave it out: those in Python drop all that they
    have at a START of a session, from its step on, unless it is a directory's first; the fast one drops what it has of
    a tag when a step comes that it has, or an earlier one. So there are two STARTs, and the last point that holds comes
    again.

    Raises TelemetryError at construction when TensorBoard is not installed.
    """

    name = "TensorBoard"

    def __init__(self, directory: Path) -> None:
        _need("tensorboard", "TensorBoard", "logger_config.tensorboard=false", "lab")
        self._directory = directory
        self._writer: Any = None
        self._env_steps = 0
        self._told: deque[tuple[int, Event]] = deque(maxlen=EVENTS_REMEMBERED)
        """The latest events, with their places on the axis."""

    def open(self) -> None:
        event_files = importlib.import_module("tensorboard.summary.writer.event_file_writer")
        self._writer = event_files.EventFileWriter(str(self._directory))

    def point(self, point: Point) -> None:
        summary = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        self._env_steps = point["env_steps"]
        values = [summary.Summary.Value(tag=name, simple_value=value) for name, value in _scalars(point).items()]
        self._add(point["time"], point["env_steps"], summary=summary.Summary(value=values))
        self._writer.flush()  # for those who watch, and so that a process that is killed leaves no gap

    def event(self, event: Event) -> None:
        self._told.append((self._env_steps, event))
        self._write_text(self._env_steps, event)

    def rewind(self, last: Point) -> None:
        log = importlib.import_module("tensorboard.compat.proto.event_pb2").SessionLog
        self._env_steps = last.get("env_steps", 0)
        for _ in range(2):
            self._add(time.time(), self._env_steps, session_log=log(status=log.START))
        if last:
            self.point(last)
        for step, event in self._told:
            if step >= self._env_steps:  # events happened, whatever is taken back
                self._write_text(step, event)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _write_text(self, step: int, event: Event) -> None:
        text = importlib.import_module("tensorboard.plugins.text.summary_v2")
        message = f"{event.severity}: {event.message}" + (f" ({event.source})" if event.source else "")
        self._add(event.time, step, summary=text.text_pb(f"events/{event.kind}", message))

    def _add(self, wall_time: float, step: int, **what: Any) -> None:
        events = importlib.import_module("tensorboard.compat.proto.event_pb2")
        self._writer.add_event(events.Event(wall_time=wall_time, step=step, **what))


class WandbExporter:
    """One Weights & Biases run. ``config`` is shown there, so it must be redacted already.

    ``mode``: ``"online"``, or ``"offline"``, which needs no network and writes below ``directory`` for ``wandb sync``.
    Raises TelemetryError at construction when wandb is not installed.
    """

    name = "Weights & Biases"

    def __init__(
        self,
        directory: Path,
        project: str,
        run_name: str,
        mode: str,
        config: Mapping[str, Any],
    ) -> None:
        _need("wandb", "Weights & Biases", "logger_config.wandb=disabled", "wandb")
        self._arguments = {"project": project, "name": run_name, "mode": mode, "config": dict(config)}
        self._directory = directory
        self._run: Any = None

    def open(self) -> None:
        wandb = importlib.import_module("wandb")
        self._directory.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(console="off", silent=True, init_timeout=60)
        self._run = wandb.init(**self._arguments, dir=str(self._directory), settings=settings, reinit="create_new")
        self._run.define_metric("env_steps")
        self._run.define_metric("*", step_metric="env_steps")

    def point(self, point: Point) -> None:
        finite = {name: value for name, value in _scalars(point).items() if math.isfinite(value)}
        self._run.log({**finite, "env_steps": point["env_steps"], "iteration": point["iteration"]})

    def event(self, event: Event) -> None:
        if event.severity == "info":
            return
        level = "ERROR" if event.severity == "error" else "WARN"
        self._run.alert(title=event.kind, text=event.message, level=level)

    def rewind(self, last: Point) -> None:
        """Nothing: what was sent stays there. After a restart of the session there is a new run beside it."""

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


def make_exporters(
    directory: Path,
    run_name: str,
    *,
    tensorboard: bool = False,
    wandb: str = "disabled",
    project: str = "minestudio_nb",
    config: Mapping[str, Any] | None = None,
) -> list[Exporter]:
    """The exporters that a ``logger_config`` asks for, writing below ``directory``. ``config`` must be redacted.

    Raises TelemetryError when one is asked for and not installed, with the command that installs it.
    """
    exporters: list[Exporter] = []
    if tensorboard:
        exporters.append(TensorBoardExporter(directory / "tensorboard"))
    if wandb in ("online", "offline"):
        exporters.append(WandbExporter(directory, project, run_name, wandb, config or {}))
    elif wandb != "disabled":
        raise TelemetryError(f"logger_config.wandb must be disabled, offline or online; {wandb!r} came.")
    return exporters


def _need(module: str, title: str, switch: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise TelemetryError(
            f"{title} was asked for and the package {module!r} is not installed. "
            f"Install it with: pip install 'minestudio-nb[{extra}]', or switch it off with {switch}."
        )

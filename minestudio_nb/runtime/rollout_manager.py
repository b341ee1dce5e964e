"""RolloutManager: starts the rollout workers of a session, watches them, replaces those that die, and stops them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from minestudio_nb.config.placement import asks
from minestudio_nb.contracts.protocols import TelemetrySink
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.contracts.view import Tile, TileState
from minestudio_nb.environments.build import env_seed
from minestudio_nb.errors import ResourceError
from minestudio_nb.runtime.actors import RolloutWorkerWrapper
from minestudio_nb.runtime.base import RuntimeSpec
from minestudio_nb.runtime.buffer_service import BufferService
from minestudio_nb.runtime.calls import QUICK, call
from minestudio_nb.runtime.heartbeats import Watched
from minestudio_nb.runtime.names import NAMESPACE, actor_name

__all__ = ["RolloutManager"]

logger = logging.getLogger(__name__)

PREVIEW_SECONDS = 5.0
"""How long a worker keeps copying frames for previews after it was asked for some."""


@dataclass
class _Worker:
    """A rollout worker's actor, and the call to its loop, which returns when the worker has ended."""

    actor: Any
    run: Any
    whereabouts: Any
    """The call that says where it runs."""
    place: tuple[int | None, str] = (None, "")
    """Its answer: process id and machine. Asked of Ray for each look, it would be most of what a look at 256 workers
    costs."""


class RolloutManager:
    """All rollout workers of a session. Lives in the supervisor's process, where any thread may call it.

    ``on_failure`` is called with a text when the rollout cannot go on: a worker's code raised, or kept dying.
    """

    def __init__(
        self,
        spec: RuntimeSpec,
        buffer: BufferService,
        supervisor: Any,
        telemetry: TelemetrySink,
        on_failure: Callable[[str], None],
        first_life: int = 0,
        suffix: str = "",
        paused: bool = False,
    ) -> None:
        """``first_life`` is that of the first workers, and ``suffix`` ends the names of their actors."""
        self._spec = spec
        self._first_life, self._suffix = first_life, suffix
        self._paused, self._pauses = paused, 0
        """Whether a pause is asked for, and how often that has changed: calls may arrive in another order."""
        self._ordered: dict[int, str] = {}
        """Why a worker is being killed."""
        self._buffer = buffer
        self._supervisor = supervisor
        self._telemetry = telemetry
        self._on_failure = on_failure
        self._workers: dict[int, _Worker] = {}
        self._deaths: dict[int, list[float]] = {}
        self._causes: dict[int, str] = {}
        """Why a worker died the last time, or was given up."""
        self._tiles: dict[int, Mapping[str, Tile]] = {}
        """What each worker showed last."""
        self._weights: Any = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="rollout-watcher", daemon=True)

    @property
    def count(self) -> int:
        """Rollout workers that there should be."""
        return self._spec.config.config.rollout_config.num_rollout_workers

    def start(self, timeout: float) -> EnvSpec:
        """Starts all workers; returns when each environment has shown its first observation.

        Raises what a worker raised while it started, and ResourceError when one did not get its resources in time.
        """
        for index in range(self.count):
            self._start_worker(index)
        waiting = {worker.actor.started.remote(timeout): index for index, worker in self._workers.items()}
        deadline = time.monotonic() + timeout
        spec: EnvSpec | None = None
        while waiting:
            done, _ = ray.wait(list(waiting), timeout=max(0.0, deadline - time.monotonic()))
            if not done:
                raise ResourceError(
                    f"Rollout workers {sorted(waiting.values())} were not ready after {timeout:.0f} s. Either they got "
                    f"no resources (free now: {ray.available_resources()}), or their environments are slow to start: "
                    "see timeouts.start."
                )
            index = waiting.pop(done[0])
            spec = call(done[0], what=f"rollout worker {index}")
        self._watcher.start()
        assert spec is not None  # the schema asks for at least one worker
        return spec

    def _start_worker(self, index: int) -> None:
        ask = asks(self._spec.config.config)[0]
        resources = dict(ask.each)
        deaths = len(self._deaths.get(index, ()))
        # A dead actor's name stays taken for a while.
        role = f"rollout_worker_{index}{self._suffix}" + (f"_restart_{deaths}" if deaths else "")
        actor = (
            ray.remote(RolloutWorkerWrapper)
            .options(
                name=actor_name(self._spec.session, role),
                namespace=NAMESPACE,
                num_cpus=resources.pop("CPU"),
                num_gpus=resources.pop("GPU"),
                resources=resources,
                label_selector=dict(ask.labels) or None,
                max_concurrency=8,
                max_restarts=0,  # the manager replaces a worker itself: a new one needs the weights first
            )
            .remote(self._spec, index, self._first_life + deaths, self._buffer.actor, self._supervisor)
        )
        with self._lock:  # whatever is ordered or published meanwhile reaches it here, or as one of the workers
            if self._paused:
                actor.pause.remote(True, self._pauses)
            if self._weights is not None:
                actor.set_weights.remote([self._weights])
            self._workers[index] = _Worker(actor, actor.run.remote(), actor.whereabouts.remote())

    def watched(self) -> dict[str, Watched]:
        """The workers for :class:`Heartbeats`, by role."""
        with self._lock:
            workers = dict(self._workers)
        return {
            _role(index): Watched(worker.actor, _beat, _place(worker)[0] is not None)
            for index, worker in workers.items()
        }

    def kill(self, role: str, cause: str) -> None:
        """Kills a worker that does not answer or says itself that it must go; it is replaced like any that died."""
        with self._lock:
            found = [(index, worker) for index, worker in self._workers.items() if _role(index) == role]
            for index, _ in found:
                self._ordered[index] = cause
        for _, worker in found:
            ray.kill(worker.actor)

    def pause(self, paused: bool) -> None:
        """Lets no environment step from the next batch on, or lets all go on."""
        with self._lock:
            self._paused, self._pauses = paused, self._pauses + 1
            for worker in self._workers.values():
                worker.actor.pause.remote(paused, self._pauses)

    def alive(self) -> int:
        """Workers whose loop has not ended."""
        with self._lock:
            runs = [worker.run for worker in self._workers.values()]
        return len(ray.wait(runs, num_returns=len(runs), timeout=0)[1]) if runs else 0

    def publish(self, weights: Any, version: int, timeout: float) -> None:
        """Puts new weights (a reference) into every worker's slot; returns when all that answer in time hold them."""
        with self._lock:
            self._weights = weights
            waiting = {w.actor.set_weights.remote([weights]): index for index, w in self._workers.items()}
        if not waiting:
            return
        _, late = ray.wait(list(waiting), num_returns=len(waiting), timeout=timeout)
        for reference in late:
            self._tell(
                waiting[reference],
                "weights_late",
                f"has not taken policy version {version} within {timeout:.0f} s; it goes on with an older one",
                "warning",
            )

    def tiles(self, timeout: float, large: Collection[str] = ()) -> dict[str, Tile]:
        """How environments stand, by ``"worker/env"``. Those of a worker that does not answer in time show what they
        showed last; where it is gone, they say so with the cause."""
        with self._lock:
            workers = sorted(self._workers.items())
        asked = {worker.actor.preview.remote(PREVIEW_SECONDS, large): index for index, worker in workers}
        answered = ray.wait(list(asked), num_returns=len(asked), timeout=timeout)[0] if asked else []
        states: dict[int, TileState] = {index: "dead" for index in range(self.count)}
        states |= {index: "running" for index in asked.values()}
        for reference in answered:
            index = asked[reference]
            try:
                shown = ray.get(reference, timeout=timeout)
            except RayError:
                states[index] = "restarting"
                continue
            if shown:
                self._tiles[index] = shown
            else:  # it has not started all of its environments
                states[index] = "restarting"
        tiles: dict[str, Tile] = {}
        for index, state in states.items():
            tiles |= self._standing(index, state)
        return tiles

    def _standing(self, index: int, state: TileState) -> dict[str, Tile]:
        """The tiles of a worker in a state of its own: one that runs says itself how its environments stand."""
        count = self._spec.config.config.rollout_config.worker_config.num_envs
        known = self._tiles.get(index) or {f"{index}/{env}": Tile(None) for env in range(count)}
        with self._lock:
            deaths, cause = len(self._deaths.get(index, ())), self._causes.get(index, "")
        if state == "running":
            return {
                name: replace(tile, cause=tile.cause or cause, restarts=tile.restarts + deaths) if deaths else tile
                for name, tile in known.items()
            }
        cause = cause or "Its worker's process is gone."
        return {name: replace(tile, state=state, cause=cause, restarts=deaths) for name, tile in known.items()}

    def record(self, episodes: int) -> None:
        """Spreads a wish to record ``episodes`` episodes over the workers."""
        with self._lock:
            actors = [worker.actor for _, worker in sorted(self._workers.items())]
        for position, actor in enumerate(actors):
            share = episodes // len(actors) + (position < episodes % len(actors))
            if share:
                actor.record.remote(share)

    def processes(self) -> list[dict[str, Any]]:
        """Each worker's ``role, state, pid, node, restarts, cause``; never waits for one."""
        with self._lock:
            workers, deaths, causes = dict(self._workers), dict(self._deaths), dict(self._causes)
        runs = [worker.run for worker in workers.values()]
        running = set(ray.wait(runs, num_returns=len(runs), timeout=0)[1]) if runs else set()
        rows = []
        for index in range(self.count):
            worker = workers.get(index)
            pid, node = (None, "") if worker is None else _place(worker)
            begins = "restarting" if deaths.get(index) else "starting"
            state = "dead" if worker is None else "alive" if worker.run in running and pid else begins
            row = {"role": _role(index), "state": state, "pid": pid, "node": node}
            rows.append({**row, "restarts": len(deaths.get(index, ())), "cause": causes.get(index, "")})
        return rows

    def stop(self, timeout: float) -> None:
        """Lets every worker end its loop and close its environments; kills those that do not within ``timeout`` s."""
        self._stopping.set()
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            worker.actor.stop.remote()
        runs = [worker.run for worker in workers]
        if runs:
            ray.wait(runs, num_returns=len(runs), timeout=timeout)
        for worker in workers:
            ray.kill(worker.actor)
        if self._watcher.is_alive():
            self._watcher.join(timeout=5.0)

    def _watch(self) -> None:
        """Keeps watch over the workers; should that itself fail, the session does, rather than go on unwatched."""
        try:
            self._watch_loops()
        except Exception as error:
            if not self._stopping.is_set():
                logger.exception("watching the rollout workers failed")
                self._on_failure(f"the rollout manager failed: {type(error).__name__}: {error}")

    def _watch_loops(self) -> None:
        """Waits for loops that end, and deals with each."""
        while not self._stopping.is_set():
            with self._lock:
                runs = {worker.run: index for index, worker in self._workers.items()}
            if not runs:
                return
            for reference in ray.wait(list(runs), timeout=1.0)[0]:
                if not self._stopping.is_set():
                    self._ended(runs[reference], reference)

    def _ended(self, index: int, run: Any) -> None:
        try:
            ray.get(run, timeout=QUICK)
        except RayTaskError as error:
            if isinstance(error.cause, MemoryError):  # as good as killed for it
                with self._lock:
                    actor = self._workers[index].actor
                ray.kill(actor)
                self._died(index, "out of memory")
                return
            self._give_up(index, f"failed: {type(error.cause).__name__}: {error.cause}", str(error))
        except RayError as error:
            self._died(index, self._ordered.pop(index, "") or _first_line(error))
        else:
            with self._lock:
                del self._workers[index]  # it was told to stop

    def _died(self, index: int, cause: str) -> None:
        now = time.monotonic()
        deaths = self._deaths.setdefault(index, [])
        deaths.append(now)
        self._causes[index] = cause
        limits = self._spec.config.config.restarts
        lately = sum(now - moment < limits.window for moment in deaths)
        if len(deaths) > limits.process_lifetime or lately > limits.process_per_window:
            often = f"{len(deaths)} times ({lately} within {limits.window:g} s, see restarts)"
            self._give_up(index, f"died {often}, the last time: {cause}", cause)
            return
        life = self._first_life + len(deaths)
        dropped = self._buffer.forget_worker(index, life)
        text = f"died ({cause}) and was replaced; {dropped} fragments that it had begun were dropped"
        self._start_worker(index)
        self._tell(index, "worker_restart", text, "warning", cause=cause, life=life, seeds=self._seeds(index, life))

    def _seeds(self, index: int, life: int) -> list[int]:
        """What the environments of a worker are seeded with: each life has its own, so that nothing is repeated."""
        settings = self._spec.config.config.rollout_config.worker_config
        return [env_seed(settings.seed, index, env, life=life) for env in range(settings.num_envs)]

    def _give_up(self, index: int, text: str, detail: str) -> None:
        with self._lock:
            del self._workers[index]
            self._causes[index] = text
        self._tell(index, "failure", text, "error", detail=detail)
        self._on_failure(f"rollout worker {index} {text}")

    def _tell(self, index: int, kind: str, text: str, severity: Any, **data: Any) -> None:
        source = f"worker {index}"
        self._telemetry.event(Event(kind, f"Rollout {source} {text}.", severity, source, data=data))


def _role(index: int) -> str:
    return f"rollout worker {index}"


def _beat(actor: Any) -> Any:
    return actor.beat.remote()


def _place(worker: _Worker) -> tuple[int | None, str]:
    """Process id and machine, as far as they have been told."""
    if worker.place[0] is None and ray.wait([worker.whereabouts], timeout=0)[0]:
        try:
            worker.place = ray.get(worker.whereabouts, timeout=QUICK)
        except RayError:
            return None, ""
    return worker.place


def _first_line(error: BaseException) -> str:
    """What an error of Ray says about a process's end, without the advice around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

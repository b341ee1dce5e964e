"""Supervisor: the actor that stands for a whole session on a Ray cluster.

It holds what users read and write (telemetry hub, control box, phase), starts everything else, and outlives the process
that made it where the session is detached. Each of its parts is a class of its own; here they are only connected.

Ray starts it again when it dies, and what it had started dies with it. It goes on from files then: numbers and events,
orders (:mod:`.kept`), the phase, the newest checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import ray
from ray.exceptions import RayError

from minestudio_nb.config import Resources
from minestudio_nb.config.planning import chosen_schedule
from minestudio_nb.contracts.control import ControlOrder, Edit, EditStatus
from minestudio_nb.contracts.pulse import Sign
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.contracts.view import Tile
from minestudio_nb.contracts.weights import WeightsPackage
from minestudio_nb.errors import SessionStateError, TrainingError
from minestudio_nb.runs import ENDED, RunDirectory, SessionRecord
from minestudio_nb.runs.checkpoints import iteration_of, newest_first
from minestudio_nb.runtime.base import Cursor, RuntimeSpec, Snapshot
from minestudio_nb.runtime.buffer_service import BufferService
from minestudio_nb.runtime.calls import PUBLISH_SECONDS, call
from minestudio_nb.runtime.claims import Claims, Holder
from minestudio_nb.runtime.common import full_return_window, session_exporters, session_status, without_secrets
from minestudio_nb.runtime.controls import Controls
from minestudio_nb.runtime.far_files import FarFile, list_files, read_part
from minestudio_nb.runtime.heartbeats import Heartbeats
from minestudio_nb.runtime.kept import Keeper
from minestudio_nb.runtime.parcels import unpack
from minestudio_nb.runtime.phases import Phases
from minestudio_nb.runtime.rollout_manager import RolloutManager
from minestudio_nb.runtime.training import RankProcess, TrainerRun
from minestudio_nb.runtime.watchdog import Watchdog
from minestudio_nb.telemetry import Hub, ProcessTrees, ResourceMeter

__all__ = ["CONCURRENCY", "Supervisor"]

logger = logging.getLogger(__name__)

TILES_SECONDS = 1.0
"""How long a preview waits for a worker."""
CONCURRENCY = {"telemetry": 1, "trainer": 4, "wait": 16}
"""Threads per group of calls. Telemetry has one: what has arrived is taken in before what comes after it, though Ray
does not promise that calls of one sender arrive in order. Calls that wait have their own, so that a snapshot never
waits behind them."""
READY_SECONDS = 50.0
"""How long a call that needs environments or weights waits for a supervisor that is still starting them again."""

BUFFER_SETTINGS = "rollout_config.replay_buffer_config."
BUFFER = "replay buffer"
"""Its role among the processes."""


class Supervisor:
    """See the module. All methods may be called at the same time; calls that wait have deadlines."""

    def __init__(self, root_pid: int | None, holder: Holder, *parcel: bytes) -> None:
        """``root_pid`` is the head of the session's own cluster, whose descendants are all its processes; ``holder``
        is who starts the session; ``parcel`` is its specification (:mod:`.parcels`)."""
        self._spec = spec = cast(RuntimeSpec, unpack(parcel))
        config = spec.config.config
        self._watchdog = Watchdog(config.timeouts.heartbeat)
        run = RunDirectory.open(spec.run_root, spec.session)
        me = ray.get_runtime_context().current_actor
        again = ray.get_runtime_context().was_current_actor_reconstructed
        before = SessionRecord.read(run.session) if again else None
        self._keeper = Keeper(run, again)
        kept, life = self._keeper.kept, self._keeper.kept.life << 16  # one worker dies less often than that
        self._suffix = f"_again_{kept.life}" if again else ""
        cpus = Resources.detect().cpus if spec.address is None else ray.cluster_resources().get("CPU", 1.0)
        # The whole system. Actors belong to this process and end with it.
        #   rollout workers --fragments--> buffer --> trainer --weights--> supervisor --> rollout workers
        #   rollout workers, buffer, trainer --numbers, events--> hub --> sessions;  sessions --> controls --> trainer
        self._processes = ProcessTrees([os.getpid() if root_pid is None else root_pid])
        self._resources = ResourceMeter(self._processes, object_store_use, cpus)
        window = config.rollout_config.episode_statistics_config.window
        self._secrets = spec.config.secrets()
        self._hub = Hub.reload(run, session_exporters(spec, run), self._resources, window, self._secrets.hide, life)
        self._controls = Controls(kept.edits, kept.paused, kept.requests, self._keeper.orders)
        self._phases = Phases(spec, "ray", run, lambda: self._controls.paused, before)
        self._claims = Claims(kept.holder if again else holder, self._tell_controls, self._keeper.holder)
        self._buffer = BufferService(spec, chosen_schedule(config, cpus), me, life, self._hub, self._fail, self._suffix)
        self._rollout = RolloutManager(
            spec, self._buffer, me, self._hub, self._fail, life, self._suffix, self._controls.paused
        )
        buffer = self._buffer.actor
        self._training = TrainerRun(spec, buffer, me, self._hub, lambda: self._version, self._training_ended)
        self._beats = Heartbeats(config.timeouts.heartbeat, config.start_seconds)

        self._over = threading.Event()
        self._stopping = threading.Lock()
        self._stopped = False
        self._stop_reason = ""
        self._version = -1
        """The newest that workers may hold."""
        self._publishing = threading.Lock()
        self._starting = threading.Lock()
        self._rolling, self._published = threading.Event(), threading.Event()
        """Whether environments run, and training too where it had begun; whether there are weights."""
        self._claimed_at = time.monotonic()
        self._env_spec: EnvSpec | None = None
        self._weights: Any = None
        threading.Thread(target=self._beat, name="heartbeats", daemon=True).start()
        if before is not None:
            threading.Thread(target=self._go_on, args=(before,), name="going-on", daemon=True).start()

    # What a session calls.

    def pid(self) -> int:
        """The process id; an answer also means that the actor is up."""
        return os.getpid()

    def spec(self) -> RuntimeSpec:
        """What the session was started with."""
        return self._spec

    def start_rollout(self, timeout: float) -> EnvSpec:
        """See :meth:`RolloutManager.start`."""
        spec = self._begin_rollout(timeout)
        self._phases.enter("rolling")
        self._rolling.set()
        return spec

    def start_trainer(self) -> None:
        """Starts training in the background, unless it was started before or the session is over."""
        if not self._rolling.wait(READY_SECONDS) or self._env_spec is None:
            raise SessionStateError(
                f"start_trainer() needs environments that run, and within {READY_SECONDS:.0f} s there were none. Call "
                "start_rollout() first, or look at the session's events."
            )
        with self._starting:
            if not self._training.started and self._phases.enter("training"):
                self._training.start(self._env_spec)

    def take_controls(self, holder: Holder, force: bool) -> str:
        """See :meth:`Claims.take`."""
        return self._claims.take(holder, force)

    def order(self, holder: Holder, words: str, method: str, *arguments: Any) -> Any:
        """Does what a user wants, by one of the methods below; refused where another process holds the controls."""
        self._claims.require(holder, words)
        return getattr(self, method)(*arguments)

    def require_controls(self, holder: Holder, words: str) -> None:
        """Raises SessionStateError where another process holds the controls of a session that is not stopped yet."""
        if self._phases.shown != "stopped":
            self._claims.require(holder, words)

    def release_controls(self, holder: Holder) -> None:
        """See :meth:`Claims.release`."""
        self._claims.release(holder)

    def snapshot(self, cursor: Cursor, holder: Holder) -> Snapshot:
        """News since ``cursor`` and what holds now. Asking also shows that somebody is there."""
        self._claimed_at = time.monotonic()
        news = self._hub.news(cursor.points, cursor.events, cursor.episodes, cursor.rewinds)
        return Snapshot(
            phase=self._phases.shown,
            cursor=Cursor(news.points_seen, news.events_seen, news.episodes_seen, news.rewinds),
            status=self._status(),
            points=news.points,
            events=news.events,
            episodes=news.episodes,
            edits=self._controls.edits(),
            held_by=self._claims.hear(holder),
        )

    def edit(self, key: str, value: Any) -> Edit:
        """See :meth:`Controls.edit`."""
        return self._controls.edit(key, value)

    def pause(self) -> None:
        """Asks the trainer for a pause at the next border; environments do not step from their next batch on."""
        self._controls.pause()
        self._rollout.pause(True)
        self._phases.look()

    def resume(self) -> None:
        """Ends a pause."""
        self._controls.resume()
        self._rollout.pause(False)
        self._phases.look()

    def request(self, kind: str, arguments: Mapping[str, Any]) -> None:
        """A wish: recording goes to the workers, everything else to the trainer's next border."""
        if kind == "record":
            self.forward({"kind": kind, **arguments})
        else:
            self._controls.request(kind, **arguments)

    def tiles(self, large: Collection[str] = ()) -> dict[str, Tile]:
        """How each environment stands; see :meth:`RolloutManager.tiles`."""
        return without_secrets(self._rollout.tiles(TILES_SECONDS, large), self._secrets)

    def newest_weights(self) -> list[Any]:
        """A reference to the newest WeightsPackage in a list, or an empty list before the first."""
        if self._rolling.wait(READY_SECONDS) and self._training.started:
            self._published.wait(READY_SECONDS)
        return [] if self._weights is None else [self._weights]

    def far_files(self) -> list[FarFile]:
        """The files of the run, for a notebook that does not see them."""
        return list_files(RunDirectory(self._spec.run_root, self._spec.session))

    def far_part(self, name: str, begin: int) -> bytes:
        """See :func:`read_part`."""
        return read_part(RunDirectory(self._spec.run_root, self._spec.session), name, begin)

    def env_spec(self) -> EnvSpec | None:
        """What the environments show and accept, once the rollout has started."""
        return self._env_spec

    @ray.method(concurrency_group="wait")
    def wait(self, timeout: float) -> bool:
        """Blocks until the trainer has finished, failed or stopped; False after ``timeout`` seconds."""
        return self._over.wait(timeout)

    @ray.method(concurrency_group="wait")
    def stop(self, timeout: float) -> None:
        """Ends trainer and rollout in order: a checkpoint is written, environments are closed, files are complete."""
        deadline = time.monotonic() + timeout
        with self._stopping:  # a second process that stops the session waits for the first
            if self._stopped:
                return
            self._controls.stop()
            self._training.join(timeout * 0.6)
            with contextlib.suppress(TrainingError):  # it is gone, or is being started again: nobody waits in it
                call(self._buffer.close("the session stops"), what="the replay buffer")
            self._training.join(1.0)
            self._rollout.stop(max(1.0, deadline - time.monotonic() - 2.0))
            self._phases.close()
            self._over.set()
            self._hub.close(timeout=max(1.0, deadline - time.monotonic()))
            self._stopped = True

    def unclaimed_seconds(self) -> float:
        """Seconds since somebody last asked for a session that is over; 0 while it goes on. The head asks this."""
        return time.monotonic() - self._claimed_at if self._over.is_set() else 0.0

    # What rank 0 of the trainer calls.

    @ray.method(concurrency_group="trainer")
    def read_controls(self, revision: int, timeout: float) -> ControlOrder:
        """See :class:`~minestudio_nb.contracts.protocols.ControlBox`; waits for a change if ``timeout`` is above 0."""
        return self._controls.wait(revision, timeout) if timeout > 0 else self._controls.read(revision)

    @ray.method(concurrency_group="trainer")
    def answer_edit(self, revision: int, status: EditStatus, iteration: int, reason: str) -> None:
        """Records what became of an edit."""
        self._controls.answer(revision, status, iteration, reason)

    @ray.method(concurrency_group="trainer")
    def request_done(self, number: int) -> None:
        """A request was carried out; see :meth:`Controls.done`."""
        self._controls.done(number)

    @ray.method(concurrency_group="trainer")
    def edited(self, key: str, value: Any) -> None:
        """Passes an edit that was applied on to the buffer, where it is one of its settings."""
        if key.startswith(BUFFER_SETTINGS):
            self._buffer.configure(key.removeprefix(BUFFER_SETTINGS), value)

    @ray.method(concurrency_group="trainer")
    def forward(self, wish: Mapping[str, Any]) -> None:
        """Does what the trainer cannot do itself: has episodes recorded."""
        if wish["kind"] == "record":
            self._rollout.record(int(wish["episodes"]))

    @ray.method(concurrency_group="trainer")
    def return_window(self) -> float:
        """Mean return over a full window of episodes; NaN before it is full."""
        return full_return_window(self._spec.config.config, self._hub)

    @ray.method(concurrency_group="trainer")
    def publish(self, package: WeightsPackage, collect: bool) -> None:
        """Brings new weights to all workers, then opens the gate of the next iteration, if there is one."""
        with self._publishing:  # what a trainer that died has begun ends first
            self._version = package.version  # one that replaces this trainer begins above it, whoever holds it then
            self._weights = ray.put(package)  # a copy of this process's own, which a dying trainer does not take along
            self._published.set()
            self._rollout.publish(self._weights, package.version, PUBLISH_SECONDS)
            self._buffer.published(package.version, collect)

    @ray.method(concurrency_group="telemetry")
    def statistics(self) -> dict[str, Any]:
        """What a checkpoint keeps of the hub, after all that its caller has sent; see :meth:`Hub.get_state`."""
        return self._hub.get_state()

    @ray.method(concurrency_group="telemetry")
    def rewind(self, iteration: int, state: Mapping[str, Any] | None) -> None:
        """Goes back to a checkpoint, after all that a trainer which died has sent; see :meth:`Hub.rewind`."""
        self._hub.rewind(iteration, state)

    @ray.method(concurrency_group="trainer")
    def trainer_process(self, rank: RankProcess) -> None:
        """A training process tells where it is, for the session's CPU time if it is here, and to be watched."""
        if rank.node == socket.gethostname():
            self._processes.add(rank.pid)
        self._training.add_rank(rank)

    @ray.method(concurrency_group="telemetry")
    def trainer_result(self, reason: str, failure: str, detail: str) -> None:
        """Rank 0 says why training ended, or any rank why it failed; in order after its last numbers."""
        self._training.result(reason, failure, detail)

    # What everybody calls.

    @ray.method(concurrency_group="telemetry")
    def telemetry(self, kind: Literal["metrics", "iteration", "event", "episodes"], *arguments: Any) -> None:
        """One call of :class:`~minestudio_nb.contracts.protocols.TelemetrySink`."""
        getattr(self._hub, kind)(*arguments)

    # Inside.

    def _status(self) -> dict[str, Any]:
        return {
            **session_status(self._spec.config.config, self._hub, self._controls.edits()),
            "policy_version": self._version,
            "workers_alive": self._rollout.alive(),
            "workers": self._rollout.count,
            "processes": self._secrets.hide(self._process_rows()),
            "resources": self._resources.shown(),
            "started_at": self._phases.started_at,
            "since": self._phases.since,
            "stop_reason": self._stop_reason,
            "failure": self._phases.failure,
        }

    def _begin_rollout(self, timeout: float) -> EnvSpec:
        self._env_spec = self._rollout.start(timeout)
        if self._spec.address is not None:
            for worker in self._rollout.processes():
                if worker["node"] == socket.gethostname() and worker["pid"]:
                    self._processes.add(worker["pid"])
        return self._env_spec

    def _process_rows(self) -> list[dict[str, Any]]:
        """All processes that are watched; ``silent_seconds`` says for how long each has not answered."""
        rows = [*self._rollout.processes(), self._buffer.process(), *self._training.processes()]
        silence = self._beats.silence()
        return [{**row, "silent_seconds": silence.get(row["role"], 0)} for row in rows]

    def _tell_controls(self, text: str) -> None:
        self._hub.event(Event("controls", text, source="session"))

    def _beat(self) -> None:
        """Asks all processes for signs of life, for as long as the session goes on."""
        try:
            while not self._over.wait(self._beats.interval):
                processes = {BUFFER: self._buffer.watched(), **self._rollout.watched(), **self._training.watched()}
                self._beats.look(processes, self._answered, self._silent)
        except Exception as error:
            logger.exception("the heartbeats failed")
            self._fail(f"the watch over its processes failed: {type(error).__name__}: {error}")

    def _answered(self, role: str, answer: Any) -> None:
        if role == BUFFER:
            self._buffer.answered(answer)
        elif isinstance(answer, Sign):
            self._training.answered(role, answer)
        elif answer:
            self._rollout.kill(role, str(answer))

    def _silent(self, role: str, seconds: float) -> None:
        cause = f"it did not answer for {seconds:.0f} s (timeouts.heartbeat) and was killed"
        self._hub.event(Event("silent", f"The {role} did not answer for {seconds:.0f} s and is killed.", "warning"))
        if role == BUFFER:
            self._buffer.kill(cause)
        self._rollout.kill(role, cause)
        self._training.kill(role, cause)

    def _go_on(self, before: SessionRecord) -> None:
        """Takes the place of a supervisor that died: everything that it had started is started anew."""
        if before.phase in ENDED:
            self._over.set()
            return
        config = self._spec.config.config
        folder = resumable(self._spec, self._hub.iterations_done)
        newest = "" if folder is None else folder.name
        deaths, limit = self._keeper.died(newest), config.restarts.without_checkpoint
        source = f"the checkpoint {newest}" if newest else "the beginning, as there is no checkpoint yet"
        text = f"The supervisor died, and everything with it. It was started again, and goes on from {source}."
        self._hub.event(Event("supervisor_restart", text, "warning", "supervisor"))
        if before.phase == "new" or deaths > limit:
            why = "while the session started" if before.phase == "new" else f"{deaths} times at {source}"
            self._fail(f"the supervisor died {why}")
            return
        try:
            spec = self._begin_rollout(config.start_seconds)
            if before.phase in ("training", "paused"):
                last = self._hub.last_point() or {"values": {}}
                self._version = int(last["values"].get("train/policy_version", -1))
                self._training.start(spec, None if folder is None else str(folder), self._suffix)
            self._rolling.set()
        except Exception as error:
            logger.exception("the session could not be started again")
            self._fail(f"it could not be started again: {type(error).__name__}: {error}")

    def _training_ended(self, reason: str, failure: str) -> None:
        if failure:
            self._fail(failure)
            return
        self._stop_reason = reason
        self._phases.enter("stopped" if reason == "stopped" else "finished")
        self._hub.event(Event("state", f"Training ended: {reason}.", source="trainer"))
        self._over.set()

    def _fail(self, cause: str) -> None:
        """The session cannot go on: says why, once, and lets everything end."""
        if not self._phases.enter("failed", cause):
            return
        self._hub.event(Event("failure", f"The session failed: {cause}", "error", "supervisor"))
        self._over.set()
        self._controls.stop()
        self._buffer.close(cause)


def resumable(spec: RuntimeSpec, iterations_done: int) -> Path | None:
    """The newest checkpoint whose iterations all have their points, else the newest of all; None without any."""
    folders = newest_first(RunDirectory(spec.run_root, spec.session).checkpoints)
    told = [folder for folder in folders if iteration_of(folder) <= iterations_done]
    return next(iter(told or folders), None)


def object_store_use() -> tuple[float, float] | None:
    """Bytes in the object stores of all nodes, and their size; Ray counts anew about once a second."""
    try:
        size = ray.cluster_resources().get("object_store_memory", 0.0)
        free = ray.available_resources().get("object_store_memory", 0.0)
    except (RayError, RuntimeError, TimeoutError):
        return None
    return size - free, size

"""The whole system in one process, without Ray: for debuggers, small tasks and most tests.

The trainer runs on one background thread. When it asks for fragments, that same thread lets the workers collect
exactly those that are missing (schedule ``alternate``, always). So everything happens in one order, and a run that is
stopped at an iteration and resumed goes on bit-equal, where the environments can give and take their state.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from minestudio_nb.config import OnlineConfig, Resources
from minestudio_nb.contracts.control import ControlOrder, Edit
from minestudio_nb.contracts.fragments import Fragment, FragmentMeta
from minestudio_nb.contracts.pulse import Pulse
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.contracts.view import Tile
from minestudio_nb.contracts.weights import WeightsPackage
from minestudio_nb.errors import SessionStateError, StoreTimeoutError, TrainingError
from minestudio_nb.policies import build_policy, choose_device, load_package
from minestudio_nb.rollout.evaluation import evaluate
from minestudio_nb.rollout.pool import Deadlines
from minestudio_nb.rollout.replay_buffer import ReplayBuffer
from minestudio_nb.rollout.worker import RolloutWorker
from minestudio_nb.runtime.base import Cursor, EvaluationResult, Phase, RuntimeSpec, Snapshot
from minestudio_nb.runtime.common import (
    FilmCrew,
    full_return_window,
    prepare_run,
    recordings_directory,
    session_exporters,
    session_status,
    without_secrets,
)
from minestudio_nb.runtime.controls import Controls
from minestudio_nb.runtime.phases import Phases
from minestudio_nb.telemetry import Hub, ProcessTrees, ResourceMeter
from minestudio_nb.trainer import CheckpointStore, TrainingLoop, get_trainer_class

__all__ = ["InlineRuntime"]

logger = logging.getLogger(__name__)

BUFFER_SETTINGS = "rollout_config.replay_buffer_config."
PREVIEW_LEASE_SECONDS = 5.0
WATCH_SECONDS = 5.0
"""How often the training thread is looked at, or a quarter of the limit where that is shorter."""
IDLE_SECONDS = 0.25
"""How often environments are looked after while training is paused."""


class InlineSink:
    """Where one worker delivers: the buffer, whose credit is all that limits it."""

    def __init__(self, buffer: ReplayBuffer[Fragment], worker: int) -> None:
        self._buffer = buffer
        self._worker = worker

    def acquire(self, count: int, wait: bool = True) -> int:
        """Credit for at most ``count`` fragments. Nobody else could give any later, so it never waits."""
        return self._buffer.grant(self._worker, count)

    def put(self, fragment: Fragment) -> None:
        """Keeps a finished fragment."""
        self._buffer.add(
            fragment.stream,
            fragment.index,
            fragment.version,
            fragment.length,
            fragment.nbytes,
            fragment,
            fragment.task,
        )

    def release(self, count: int) -> None:
        """Takes credit back."""
        self._buffer.release(self._worker, count)


class InlineStore:
    """The trainer's store: asking for fragments lets the workers collect them."""

    def __init__(self, buffer: ReplayBuffer[Fragment], hub: Hub, pulse: Pulse) -> None:
        self.buffer = buffer
        self.workers: Sequence[RolloutWorker] = ()
        self._hub, self._pulse = hub, pulse
        self.stopped = False

    def take(self, count: int, version: int, timeout: float) -> list[FragmentMeta]:
        """Lets the workers collect what is missing, and hands out ``count`` fragments."""
        first = version % len(self.workers)  # where there is credit for some workers only, they take turns
        turns = [*self.workers[first:], *self.workers[:first]]
        while (metas := self.buffer.take(count, version)) is None:
            self._pulse.beat()
            if self.stopped:
                raise StoreTimeoutError(f"{count} fragments are needed, and the workers were told to stop.")
            if sum(worker.collect_round() for worker in turns) == 0 and not self.stopped:
                raise TrainingError(
                    f"{count} fragments are needed, and no worker delivers any although none was told to stop: "
                    f"{self.buffer.stats()}. Look at events()."
                )
        self._hub.metrics(self.buffer.flush_metrics())
        return metas

    def fetch(self, fragment_ids: Sequence[int]) -> list[Fragment | None]:
        """The fragments themselves."""
        return self.buffer.refs(fragment_ids)

    def previous(self, fragment_ids: Sequence[int]) -> list[Fragment | None]:
        """Each one's predecessor in its stream."""
        return self.buffer.previous(fragment_ids)

    def stop(self) -> None:
        """Ends the round at hand; there will be no other."""
        self.stopped = True
        for worker in self.workers:
            worker.stop()


class InlineWeights:
    """Where the trainer publishes, and where the workers look."""

    def __init__(self, buffer: ReplayBuffer[Fragment]) -> None:
        self._buffer = buffer
        self._package: WeightsPackage | None = None

    def publish(self, package: WeightsPackage, collect: bool = True) -> None:
        """Replaces the package and opens the gate for the next iteration's fragments."""
        self._package = package
        self._buffer.publish(package.version, collect)

    def newest(self) -> WeightsPackage | None:
        """The newest package, or None before the first."""
        return self._package


class InlineControls(Controls):
    """The control box, whose reader is the thread that also steps the environments: it looks after them meanwhile."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def wait(self, revision: int, timeout: float) -> ControlOrder:
        """See the base class."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0 and not self.wait_for_change(min(left, IDLE_SECONDS)):
            self._meanwhile()
        return self.read(revision)


class InlineRuntime:
    """Implements :class:`minestudio_nb.runtime.base.Runtime`; see there for what the methods promise."""

    def __init__(self, spec: RuntimeSpec) -> None:
        self.spec = spec
        self._stop_reason = ""
        self._over = threading.Event()
        self._pulse = Pulse()
        self._thread: threading.Thread | None = None
        self._wired = False

    @property
    def _config(self) -> OnlineConfig:
        return self.spec.config.config

    def _wire(self) -> None:
        """The whole system.

        workers --fragments--> store --> trainer --weights--> workers
        all of them --numbers, events--> hub;  user --edits, orders--> controls --> trainer
        """
        config, loaded = self._config, self.spec.config
        self._run = prepare_run(self.spec)
        self._secrets = loaded.secrets()
        self._resources = ResourceMeter(ProcessTrees([os.getpid()]), cores=Resources.detect().cpus)
        self._hub = Hub.reload(
            self._run,
            session_exporters(self.spec, self._run),
            self._resources,
            config.rollout_config.episode_statistics_config.window,
            self._secrets.hide,
        )
        self._controls = InlineControls(self._idle)
        self._phases = Phases(self.spec, "inline", self._run, lambda: self._controls.paused)
        buffer: ReplayBuffer[Fragment] = ReplayBuffer.of(config, "alternate")
        self._buffer = buffer
        self._store = InlineStore(buffer, self._hub, self._pulse)
        self._weights = InlineWeights(buffer)
        self._films = FilmCrew(
            recordings_directory(self._run, config), config.rollout_config.worker_config.video_fps, self._hub.event
        )
        self._make_policy = partial(build_policy, loaded.policy, seed=config.train_config.seed)
        self._store.workers = [
            RolloutWorker(
                index,
                config,
                loaded.env,
                self._make_policy,
                InlineSink(buffer, index),
                self._weights,
                self._hub,
                deliver_episode=self._films.deliver,
                logs=self._run.logs,
            )
            for index in range(config.rollout_config.num_rollout_workers)
        ]
        self._wired = True

    def _make_trainer(self) -> TrainingLoop:
        config = self._config
        reference = self._make_policy(self._env_spec) if config.train_config.kl_divergence_coef_rho > 0 else None
        return get_trainer_class(config.trainer_name, self.spec.config.trainer)(
            policy=self._make_policy(self._env_spec),
            reference_policy=reference,
            config=config,
            env_spec=self._env_spec,
            store=self._store,
            publisher=self._weights,
            control=self._controls,
            telemetry=self._hub,
            checkpoints=CheckpointStore(self._run.checkpoints),
            session=self.spec.session,
            device=choose_device(config.train_config.device, config.train_config.num_gpus_per_worker),
            extra_state=self._rollout_state,
            on_resume=self._restore_rollout,
            return_window=lambda: full_return_window(config, self._hub),
            on_edit=self._edited,
            on_request=self._requested,
            pulse=self._pulse,
        )

    # The protocol.

    def start_rollout(self, timeout: float) -> EnvSpec:
        """See the protocol."""
        self._wire()
        deadline = time.monotonic() + timeout
        for worker in self._store.workers:
            self._env_spec = worker.start(max(1.0, deadline - time.monotonic()))
        self._phases.enter("rolling")
        return self._env_spec

    def start_trainer(self) -> None:
        """See the protocol."""
        trainer = self._make_trainer()
        self._phases.enter("training")
        self._thread = threading.Thread(target=self._train, args=(trainer,), name="inline-trainer", daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch, name="inline-watch", daemon=True).start()

    def snapshot(self, cursor: Cursor) -> Snapshot:
        """See the protocol."""
        news = self._hub.news(cursor.points, cursor.events, cursor.episodes, cursor.rewinds)
        edits = self._controls.edits()
        phase = self._phases.shown
        workers = len(self._store.workers)
        package = self._weights.newest()
        status = {
            **session_status(self._config, self._hub, edits),
            "policy_version": -1 if package is None else package.version,
            "workers": workers,
            "workers_alive": 0 if phase in ("failed", "stopped") else workers,
            "processes": self._processes(phase),
            "resources": self._resources.shown() if self._wired else {},
            "started_at": self._phases.started_at,
            "since": self._phases.since,
            "stop_reason": self._stop_reason,
            "failure": self._phases.failure,
        }
        seen = Cursor(news.points_seen, news.events_seen, news.episodes_seen, news.rewinds)
        return Snapshot(phase, seen, status, news.points, news.events, news.episodes, edits)

    def _processes(self, phase: Phase) -> list[dict[str, Any]]:
        """The workers for displays: all of them are this process."""
        gone = phase in ("failed", "stopped")
        here = {"state": "dead" if gone else "alive", "pid": os.getpid(), "node": socket.gethostname()}
        rest = {**here, "restarts": 0, "cause": self._phases.failure}
        return [{"role": f"rollout worker {worker.index}", **rest} for worker in self._store.workers]

    def edit(self, key: str, value: Any) -> Edit:
        """See the protocol."""
        return self._controls.edit(key, value)

    def pause(self) -> None:
        """See the protocol. Environments are stepped by the trainer's thread, so they wait with it."""
        self._controls.pause()
        self._phases.look()

    def resume(self) -> None:
        """See the protocol."""
        self._controls.resume()
        self._phases.look()

    def request(self, kind: str, **arguments: Any) -> None:
        """See the protocol."""
        if kind == "record":
            self._requested({"kind": kind, **arguments})
        else:
            self._controls.request(kind, **arguments)

    def evaluate(
        self, episodes: int, deterministic: bool, seed: int, random_policy: bool, record: int
    ) -> EvaluationResult:
        """See the protocol. Runs on the calling thread, with a policy of its own."""
        policy = self._make_policy(self._env_spec)
        package = self._weights.newest()
        if package is not None:
            load_package(policy, package)
        played = evaluate(
            policy,
            self.spec.config.env,
            episodes,
            deterministic=deterministic,
            seed=seed,
            random_policy=random_policy,
            record=record,
            python=self.spec.config.config.env_config.python,
            deadlines=Deadlines.of(self.spec.config.config),
            logs=self._run.logs,
        )
        version = -1 if package is None else package.version
        return EvaluationResult(played.returns, played.lengths, played.seeds, version, deterministic, played.recordings)

    def tiles(self, large: Collection[str] = ()) -> Mapping[str, Tile]:
        """See the protocol. After a failure nothing steps any more: what was seen last is shown with its cause."""
        tiles: dict[str, Tile] = {}
        for worker in self._store.workers:
            worker.request_preview(PREVIEW_LEASE_SECONDS, large=large)
            tiles |= worker.preview()
        if self._phases.shown != "failed":
            return without_secrets(tiles, self._secrets)
        return {name: replace(tile, state="dead", cause=self._phases.failure) for name, tile in tiles.items()}

    def wait(self, timeout: float) -> bool:
        """See the protocol."""
        return self._over.wait(timeout)

    def take_controls(self) -> None:
        """See the protocol. There is no other process that could hold them."""

    def detach(self) -> None:
        """See the protocol."""
        raise SessionStateError("detach() has nothing to leave behind: with runtime='inline' all runs in this process.")

    def stop(self, timeout: float) -> None:
        """See the protocol."""
        if not self._wired:
            return
        self._controls.stop()
        if self._thread is not None:
            self._thread.join(timeout * 0.6)
            if self._thread.is_alive():  # within a long round: cut it short
                self._store.stop()
                self._thread.join(timeout * 0.3)
        for worker in self._store.workers:
            worker.close()
        self._films.close(timeout * 0.3)
        self._phases.close()
        self._over.set()
        self._hub.close(timeout=5.0)
        self._wired = False

    # The trainer's thread, and what the trainer calls.

    def _train(self, trainer: TrainingLoop) -> None:
        torch.set_num_threads(self._config.train_config.num_threads)
        self._pulse.begin()
        try:
            trainer.setup()
            reason = trainer.train().reason
        except Exception as error:  # noqa: BLE001 - whatever a user's environment or policy raises must end the run with its cause
            self._fail(f"{type(error).__name__}: {error}", traceback.format_exc())
        else:
            self._stop_reason = reason
            self._phases.enter("stopped" if reason == "stopped" else "finished")
            self._hub.event(Event("state", f"Training ended: {reason}.", source="trainer"))
        self._over.set()

    def _watch(self) -> None:
        """Tells once when training stands still; a thread cannot be killed."""
        limit, told = self._config.timeouts.training_step, False
        while not self._over.wait(min(WATCH_SECONDS, limit / 4)):
            sign = self._pulse.sign()
            quiet = sign.quiet or 0.0
            if quiet > limit and not told:
                text = f"Training has stood still for {quiet:.0f} s, more than {limit:g} (timeouts.training_step), in"
                hint = "Inline nothing can be killed: end this process and resume, or train with Ray."
                data = {"stacks": {"rank 0": sign.stack}}
                self._hub.event(Event("silent", f"{text} {sign.where}. {hint}", "warning", "trainer", data=data))
            told = quiet > limit

    def _idle(self) -> None:
        for worker in self._store.workers:
            worker.idle()

    def _fail(self, cause: str, detail: str) -> None:
        self._phases.enter("failed", cause)
        text = f"Training failed: {cause}"
        self._hub.event(Event("failure", text, "error", "trainer", data={"detail": detail}))

    def _rollout_state(self) -> Mapping[str, Any]:
        state: dict[str, Any] = {"hub": self._hub.get_state()}
        if not self._store.stopped:  # else a round may have been cut, and the middle of a fragment is no state
            state["workers"] = [worker.get_state() for worker in self._store.workers]
        return state

    def _restore_rollout(self, iteration: int, state: Mapping[str, Any]) -> None:
        self._hub.rewind(iteration, state.get("hub"))
        workers = state.get("workers", ())  # none from Ray's trainer, nor from a run that was cut short
        if len(workers) != len(self._store.workers):
            text = f"The checkpoint holds {len(workers)} rollout workers, now there are {len(self._store.workers)}"
            self._hub.event(Event("resume", f"{text}: environments begin new episodes.", "warning"))
            return
        for worker, worker_state in zip(self._store.workers, workers, strict=True):
            worker.set_state(worker_state)

    def _edited(self, key: str, value: Any) -> None:
        """The buffer is ours to change; the trainer has taken the value itself already."""
        if key.startswith(BUFFER_SETTINGS):
            setattr(self._buffer, key.removeprefix(BUFFER_SETTINGS), value)

    def _requested(self, wish: Mapping[str, Any]) -> None:
        if wish["kind"] == "record":
            self._store.workers[0].record(int(wish["episodes"]))

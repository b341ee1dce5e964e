"""The actor around one rollout worker, and its two connections: where fragments go, and where weights arrive."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import psutil
import ray

from minestudio_nb.contracts.fragments import Fragment, FragmentMeta
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.contracts.view import Tile
from minestudio_nb.contracts.weights import WeightsPackage
from minestudio_nb.errors import EnvStartError
from minestudio_nb.runs import RunDirectory
from minestudio_nb.runtime.adapters import RemoteTelemetry
from minestudio_nb.runtime.base import RuntimeSpec
from minestudio_nb.runtime.calls import AGAIN_SECONDS, HEAL_SECONDS, QUICK, Restarting, call, call_again, patience
from minestudio_nb.runtime.common import FilmCrew, recordings_directory

__all__ = ["RemoteSink", "RolloutWorkerWrapper", "WeightsSlot"]

FILMS_SECONDS = 30.0
"""How long a worker that stops waits for videos that are being made."""
ACQUIRE_SECONDS = 10.0
"""How long one question for credit waits in the buffer before it is asked anew."""
IDLE_SECONDS = 0.25
"""How often a worker that waits for credit does what is to be done meanwhile."""


class WeightsSlot:
    """:class:`~minestudio_nb.contracts.protocols.WeightsSource` with room for one package, the newest.

    Packages may arrive out of order, since each comes by a call of its own; an older one is left out.
    """

    def __init__(self) -> None:
        self._package: WeightsPackage | None = None
        self._lock = threading.Lock()

    def newest(self) -> WeightsPackage | None:
        """The newest package, or None before the first."""
        return self._package

    def put(self, package: WeightsPackage) -> None:
        """Replaces the package by a newer one; one assignment, so a reader sees the old one or the new one."""
        with self._lock:
            if self._package is None or package.version > self._package.version:
                self._package = package


class RemoteSink:
    """:class:`~minestudio_nb.contracts.protocols.FragmentSink` on the replay buffer's actor.

    Data goes into the object store of this node; the buffer gets a reference and what it needs to know about it. While
    the buffer is being started again, nobody is granted anything; what it has not confirmed is sent once more.
    """

    def __init__(self, buffer: Any, worker: int, life: int, patience: float = QUICK) -> None:
        """``patience`` is how many seconds an answer of the buffer may take that needs no waiting."""
        self._buffer = buffer
        self._patience = patience
        self._worker = worker
        self._life = life
        self._stopped = threading.Event()
        self._held = 0
        """Fragments that were granted, and neither delivered nor given back."""
        self._finished: list[tuple[FragmentMeta, Any]] = []
        """Fragments of which it is not known that the buffer has them. The references keep the data until then."""
        self.meanwhile: Callable[[], None] | None = None
        """Called now and then, by the waiting thread, while :meth:`acquire` waits."""

    def acquire(self, count: int, wait: bool = True) -> int:
        """See the protocol. One call tells of what is finished and asks for more: of two calls the second might
        arrive first, and what is finished would be granted once more."""
        given_up = time.monotonic() + HEAL_SECONDS
        while not self._stopped.is_set():
            seconds = ACQUIRE_SECONDS if wait else 0.0
            finished = self._told()
            asked = self._buffer.acquire.remote(self._worker, self._life, self._held, count, seconds, *finished)
            if wait and self.meanwhile is not None:
                self._wait(asked, self.meanwhile)
            try:
                granted: int | None = call(asked, ACQUIRE_SECONDS + self._patience, "the replay buffer")
            except Restarting:
                if time.monotonic() > given_up:
                    raise
                if not wait:
                    return 0
                self._stopped.wait(AGAIN_SECONDS)
                continue
            self._finished = []
            if granted is None:
                return 0
            self._held += granted
            if granted or not wait:
                return granted
            given_up = time.monotonic() + HEAL_SECONDS
        return 0

    def _told(self) -> tuple[list[FragmentMeta], list[Any]]:
        return [meta for meta, _ in self._finished], [reference for _, reference in self._finished]

    def _wait(self, asked: Any, meanwhile: Callable[[], None]) -> None:
        deadline = time.monotonic() + ACQUIRE_SECONDS + self._patience
        while time.monotonic() < deadline and not ray.wait([asked], timeout=IDLE_SECONDS)[0]:
            meanwhile()

    def put(self, fragment: Fragment) -> None:
        """See the protocol. The buffer hears of it with the question for credit that follows: environments mostly
        finish together, and each call costs CPU time on both sides."""
        self._finished.append((fragment.meta(-1), ray.put(fragment)))
        self._held = max(0, self._held - 1)

    def release(self, count: int) -> None:
        """See the protocol. One that is being started again learns from the next question what is held."""
        if self._finished:
            call_again(lambda: self._buffer.add.remote(self._life, *self._told()), self._patience, "the replay buffer")
            self._finished = []
        self._held = max(0, self._held - count)
        with contextlib.suppress(Restarting):
            call(self._buffer.release.remote(self._worker, count), self._patience, "the replay buffer")

    def stop(self) -> None:
        """Lets :meth:`acquire` give up after the question at hand."""
        self._stopped.set()


class RolloutWorkerWrapper:
    """The actor that holds one :class:`~minestudio_nb.rollout.RolloutWorker`.

    Its loop is the one long call :meth:`run`; other calls are answered meanwhile by other threads.
    """

    def __init__(self, spec: RuntimeSpec, index: int, life: int, buffer: Any, supervisor: Any) -> None:
        """``life`` is another one for each worker of this index."""
        # Imported here, where torch is needed: notebook and supervisor know this class only to start it.
        from minestudio_nb.policies import build_policy
        from minestudio_nb.rollout.worker import RolloutWorker

        loaded = spec.config
        telemetry = RemoteTelemetry(supervisor)
        self._slot = WeightsSlot()
        self._sink = RemoteSink(buffer, index, life, patience(loaded.config.timeouts.heartbeat))
        self._ready = threading.Event()
        self._pauses, self._pause_lock = -1, threading.Lock()
        self._env_spec: EnvSpec | None = None
        self._error: BaseException | None = None
        self._start_seconds = loaded.config.timeouts.start
        self._start_late = time.monotonic() + loaded.config.start_seconds
        limit = loaded.config.rollout_config.worker_config.worker_memory_mib
        self._memory_limit = None if limit is None else limit * 2**20
        self._process = psutil.Process()
        run = RunDirectory(spec.run_root, spec.session)
        fps = loaded.config.rollout_config.worker_config.video_fps
        self._films = FilmCrew(recordings_directory(run, loaded.config), fps, telemetry.event)
        self._worker = RolloutWorker(
            index,
            loaded.config,
            loaded.env,
            partial(build_policy, loaded.policy, seed=loaded.config.train_config.seed),
            self._sink,
            self._slot,
            telemetry,
            deliver_episode=self._films.deliver,
            logs=run.logs,
            life=life,
        )
        self._sink.meanwhile = self._worker.idle

    def run(self) -> None:
        """Starts the environments and collects until told to stop. All of it on one thread, which env processes need:
        the kernel ends them together with the thread that started them."""
        try:
            try:
                self._env_spec = self._worker.start(self._start_seconds)
            except BaseException as error:
                self._error = error
                raise
            finally:
                self._ready.set()
            self._worker.run()
        finally:
            self._worker.close()
            self._films.close(FILMS_SECONDS)

    def started(self, timeout: float) -> EnvSpec:
        """Waits until each environment has shown its first observation; raises what kept it from that."""
        if not self._ready.wait(timeout):
            raise EnvStartError(f"no first observation of all environments within {timeout:.0f} s")
        if self._error is not None:
            raise self._error
        assert self._env_spec is not None
        return self._env_spec

    def set_weights(self, package: list[Any]) -> int:
        """Replaces the weights in the slot by those behind a reference (in a list); returns their version."""
        weights: WeightsPackage = ray.get(package[0], timeout=QUICK)
        self._slot.put(weights)
        return weights.version

    def preview(self, seconds: float, large: Collection[str] = ()) -> dict[str, Tile]:
        """How the environments stand; keeps that up to date for ``seconds``. Empty before they have started."""
        if not self._ready.is_set() or self._error is not None:
            return {}
        self._worker.request_preview(seconds, large=large)
        return self._worker.preview()

    def beat(self) -> str:
        """A sign of life: why this worker must be replaced, or an empty text while all is well."""
        if not self._ready.is_set():
            return "" if time.monotonic() < self._start_late else "its environments do not start"
        held = 0 if self._memory_limit is None else self._process.memory_info().rss
        if self._memory_limit is not None and held > self._memory_limit:
            limits = f"more than {self._memory_limit / 2**20:.0f} (worker_config.worker_memory_mib)"
            return f"it held {held / 2**20:.0f} MiB of memory, {limits}"
        return self._worker.overdue()

    def pause(self, paused: bool, number: int) -> None:
        """Lets no environment step from the next batch on, or goes on. Of two orders the one with the higher number
        holds, since the second may arrive first."""
        with self._pause_lock:
            if number <= self._pauses:
                return
            self._pauses = number
            if paused:
                self._worker.pause()
            else:
                self._worker.resume()

    def record(self, episodes: int) -> None:
        """Records the next ``episodes`` that begin."""
        self._worker.record(episodes)

    def pid(self) -> int:
        """The process id."""
        return os.getpid()

    def whereabouts(self) -> tuple[int, str]:
        """Process id, and the name of the machine."""
        return os.getpid(), socket.gethostname()

    def stop(self) -> None:
        """Makes :meth:`run` return soon."""
        self._sink.stop()
        self._worker.stop()

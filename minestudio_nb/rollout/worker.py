"""One rollout worker: a policy that acts in several environments and delivers what happened as fragments."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.fragments import EpisodeSummary, StreamId
from minestudio_nb.contracts.generators import GeneratorSpec
from minestudio_nb.contracts.protocols import FragmentSink, TelemetrySink, WeightsSource
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.contracts.telemetry import Event, MetricBatch, Stat
from minestudio_nb.contracts.view import Tile
from minestudio_nb.environments.build import EnvFactory, env_seed, prepare_simulator
from minestudio_nb.environments.slot import EpisodeEnd
from minestudio_nb.policies.base import MinePolicy
from minestudio_nb.policies.device import choose_device
from minestudio_nb.policies.weights import load_package
from minestudio_nb.rollout.execution import start_pool
from minestudio_nb.rollout.fragmenter import Fragmenter
from minestudio_nb.rollout.pool import EnvFault, EnvPool, Outcome, RestartLimits
from minestudio_nb.rollout.preview import LARGE_SHARE, Preview
from minestudio_nb.rollout.viewing import Deliver, EpisodeRecorder

__all__ = ["UNPUBLISHED", "RolloutWorker"]

UNPUBLISHED = -1
"""Policy version of the weights that a policy was built with, before any were published."""

LOOK_SECONDS = 0.5
"""How often a worker whose environments are all busy looks whether it shall stop."""

LINGER_SHARE, LINGER_AT_LEAST, LINGER_AT_MOST = 0.5, 0.0005, 0.002
"""How long a batch that is not full waits for more: this share of the time that a batch takes, within these seconds.

Timers count in milliseconds, so that a shorter wait than half of one would cost more than it brings.
"""

REPORT_SECONDS = 1.0
"""How often numbers are sent while a round lasts longer than that."""


class RolloutWorker:
    """Collects fragments. One thread calls ``start``, ``run`` and ``collect_round``; the rest is for any thread. ::

    worker = RolloutWorker(index, config, env_source, policy_factory, sink, weights, telemetry, seed)
    spec = worker.start(timeout)      # all environments show a first observation
    worker.run()                      # until the sink says stop, or stop() is called
    worker.close()

    ``logs`` is the folder for what the environments' processes print, see :class:`ProcessPool`. ``life`` is above 0 for
    one that replaces another of this index: its episodes and choices are others.
    ``weights`` is looked at between two batches only, so each step carries the version, log-probability and value of
    the weights that produced it.
    """

    def __init__(
        self,
        index: int,
        config: OnlineConfig,
        env_source: GeneratorSpec | Mapping[str, Any] | Callable[..., Any],
        policy_factory: Callable[[EnvSpec], MinePolicy],
        sink: FragmentSink,
        weights: WeightsSource,
        telemetry: TelemetrySink,
        seed: int | None = None,
        deliver_episode: Deliver | None = None,
        limits: RestartLimits | None = None,
        logs: Path | None = None,
        life: int = 0,
    ) -> None:
        settings = config.rollout_config.worker_config
        self.index = index
        self.version = UNPUBLISHED
        self._config = config
        self._settings = settings
        seed = settings.seed if seed is None else seed
        self._factory = EnvFactory(env_source, seed, index, python=config.env_config.python, life=life)
        self._policy_factory = policy_factory
        self._sink = sink
        self._weights = weights
        self._telemetry = telemetry
        self._deliver = deliver_episode
        self._limits = limits or RestartLimits.of(config)
        self._logs = logs
        self._stop = threading.Event()
        self._go = threading.Event()
        self._go.set()
        self._seed = seed
        self._life = life
        self._turned_at = math.inf
        """When the loop last began something that must end soon; infinite while it only waits."""
        self._has_turned = False
        self._pool: EnvPool | None = None
        self._sums: dict[str, float] = {}
        """Metrics since the last report; all of them are sums."""
        self._episodes: list[EpisodeSummary] = []
        self._reported_at = time.monotonic()
        self._inference = 0.0
        """Seconds that one batch takes in the policy, as a running mean."""
        self._asked = False
        """Whether the sink has said that there is no credit for now."""

    # Life.

    def start(self, timeout: float) -> EnvSpec:
        """Starts all environments in parallel and builds the policy; returns when each shows a first observation.

        Raises:
            EnvStartError: an environment cannot be built, or one did not get there within ``timeout`` seconds.
        """
        torch.set_num_threads(1)  # two threads per worker on shared cores collapse
        prepare_simulator(self._factory.source)
        pool, events = start_pool(
            self._factory, self._config, self.index, timeout, self._limits, self._stop, self._logs
        )
        try:
            self._prepare(pool)
        except BaseException:
            pool.close()
            raise
        self._pool = pool
        for event in events:
            self._telemetry.event(event)
        return self.spec

    def _prepare(self, pool: EnvPool) -> None:
        """Everything that needs the environments' spec."""
        self.spec, count = pool.spec, self._settings.num_envs
        self._limit = self._settings.batch_size or (count if pool.kind == "in_worker" else max(1, count // 2))
        self._device = choose_device(self._settings.device, self._config.rollout_config.num_gpus_per_worker)
        self._generator = torch.Generator(self._device)
        # Any fixed function of (seed, worker) will do; this one meets no environment's seed and no other worker's.
        self._generator.manual_seed(env_seed(self._seed, self.index, count, life=self._life))
        self._policy = self._policy_factory(self.spec).to(self._device).eval()
        self._policy.requires_grad_(False)
        self._policy.prepare_for_acting(self._settings.inference_dtype)  # type: ignore[arg-type]
        self._state = list(self._policy.initial_state(count))
        self._fragments = Fragmenter(self.spec, self.index, count, self._config.rollout_config.fragment_length)
        spare = min(0.5, LARGE_SHARE * self._config.rollout_config.num_rollout_workers)
        self._preview = Preview(self.spec.obs, self.index, spare)
        self._recorder = EpisodeRecorder(self.spec.obs, self.index, self._deliver)
        self._ready = list(range(count))
        self._has_credit = np.zeros(count, np.bool_)
        self._credits = 0
        self._returns = np.zeros(count)
        self._lengths = np.zeros(count, np.int64)
        self._tasks = [self.spec.task] * count
        self._preview.keep(range(count), pool.arrays, self._lengths, self._returns, self._tasks)

    def run(self) -> None:
        """Collects until the sink grants nothing any more, or :meth:`stop`. May be called again after a stop.

        Raises:
            CrashLoopError: an environment failed too often.
        """
        try:
            while not self._stop.is_set():
                if not self._go.is_set():
                    self._turned_at = math.inf
                    self.idle()
                    self._go.wait(LOOK_SECONDS)
                    continue
                if not self._has_work() and not self._acquire(wait=True):
                    break
                self._turn(refill=True)
        finally:
            self._turned_at = math.inf
            self._stop.clear()  # each stop() ends one run()
            self._report()

    def collect_round(self) -> int:
        """Acquires credit for up to one fragment per environment, waiting for it, and delivers that many fragments.

        Returns how many; 0 when the worker must stop.
        """
        if not self._has_work() and not self._acquire(wait=True):
            return 0
        begun = self._credits + int(self._has_credit.sum())
        while self._has_work() and not self._stop.is_set():
            self._turn(refill=False)
        self._report()
        return begun - self._credits - int(self._has_credit.sum())

    def stop(self) -> None:
        """Makes :meth:`run` return after the batch at hand; whoever waits in the sink must be freed by the sink."""
        self._stop.set()
        self._go.set()

    def pause(self) -> None:
        """Lets no environment step from the next batch on. Their deadlines are suspended: a pause is nobody's fault."""
        self._go.clear()

    def resume(self) -> None:
        """Goes on after :meth:`pause`."""
        self._go.set()

    def idle(self) -> None:
        """Does what is to be done while no environment may step: pictures for viewers, environments to be rebuilt.

        For the thread that runs this worker, and whoever makes that thread wait, a few times a second.
        """
        if self._pool is not None:
            self._pool.hold(not self._go.is_set())
            self._absorb(self._pool.collect(self._limit, 0.0))

    def overdue(self) -> str:
        """What keeps this worker's loop from going on for too long, in words; empty while all is well. Any thread.

        A policy that hangs shows after ``timeouts.step`` and ``timeouts.heartbeat`` together; the first batch, for
        which it may have to be compiled, may take as long as a start.
        """
        pool = self._pool
        if pool is None:
            return ""
        stuck = pool.overdue()
        if stuck:
            return stuck
        timeouts = self._config.timeouts
        limit = timeouts.step + timeouts.heartbeat if self._has_turned else self._config.start_seconds
        moved = max(self._turned_at, float(pool.arrays.phase_since.max()))  # in one turn, many may step in a row
        late = time.monotonic() - moved
        return f"its loop has not moved for {late:.0f} s, with no environment at fault" if late > limit else ""

    def close(self) -> None:
        """Gives unused credit back and ends all environments. Idempotent; not while ``run`` runs."""
        self.stop()
        pool, self._pool = self._pool, None
        if pool is None:
            return
        open_credit = self._credits + int(self._has_credit.sum())
        if open_credit:
            self._sink.release(open_credit)
        self._report()
        pool.close()

    # For viewers.

    def request_preview(self, seconds: float, fps: float = 10.0, large: Collection[str] = ()) -> None:
        """Keeps :meth:`preview` up to date for ``seconds`` from now, at most ``fps`` times per second; with large
        pictures of the environments that ``large`` names."""
        self._preview.request(seconds, fps, large)

    def preview(self) -> dict[str, Tile]:
        """How each environment stands, by ``"worker/env"``."""
        return self._preview.tiles()

    def record(self, episodes: int) -> None:
        """Records the next ``episodes`` that begin, and hands each to ``deliver_episode``."""
        self._recorder.request(episodes)

    # State, between two rounds.

    def get_state(self) -> dict[str, Any]:
        """What makes a later worker go on as this one would, as nested dicts of arrays and plain values.

        Environments that offer no state are absent, and begin a new episode there. Raises ValueError within a round.
        """
        pool = self._require_pool()
        return {
            "fragments": self._fragments.get_state(),
            "generator": self._generator.get_state().numpy().copy(),
            "policy_state": [part.cpu().numpy().copy() for part in self._state],
            "observations": {key: array.copy() for key, array in pool.arrays.obs.items()},
            "envs": {str(env): state for env, state in enumerate(pool.get_states()) if state is not None},
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "version": self.version,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what :meth:`get_state` gave, after ``start`` and before the first round."""
        pool = self._require_pool()
        count = self._settings.num_envs
        kept = sorted(int(env) for env in state["envs"])
        pool.set_states([state["envs"].get(str(env)) for env in range(count)])
        self._generator.set_state(torch.from_numpy(np.array(state["generator"], np.uint8)))
        self._state = [torch.from_numpy(np.array(part)).to(self._device) for part in state["policy_state"]]
        for key, array in pool.arrays.obs.items():
            array[kept] = np.asarray(state["observations"][key])[kept]
        self._fragments.set_state(state["fragments"], kept)
        self._returns[kept] = np.asarray(state["returns"])[kept]
        self._lengths[kept] = np.asarray(state["lengths"])[kept]

    # One batch.

    def _has_work(self) -> bool:
        return self._credits > 0 or bool(self._has_credit.any())

    def _acquire(self, wait: bool) -> bool:
        self._turned_at = math.inf
        if wait:
            self._report()  # the wait may take as long as the training of an iteration, whose numbers these are
        began = time.perf_counter()
        granted = self._sink.acquire(int((~self._has_credit).sum()), wait)
        self._turned_at = time.monotonic()
        self._add("rollout/blocked_seconds", time.perf_counter() - began)
        self._credits += granted
        return granted > 0

    def _turn(self, refill: bool) -> None:
        """Acts once in environments that are ready, and takes in what came back since."""
        pool = self._require_pool()
        self._turned_at = time.monotonic()
        pool.hold(False)
        chosen = self._choose(refill)
        began = time.perf_counter()
        if chosen.size:
            self._take_weights()
            actions = self._act(chosen)
            acted = time.perf_counter()
            self._inference += 0.05 * (acted - began - self._inference)
            self._add("rollout/inference_seconds", acted - began)
            began = acted
            pool.submit(chosen, actions)
        waiting = LOOK_SECONDS if pool.running else 0.0
        linger = min(LINGER_AT_MOST, LINGER_SHARE * self._inference)
        outcome = pool.collect(self._limit, waiting, linger if linger >= LINGER_AT_LEAST else 0.0)
        self._add("rollout/env_seconds", time.perf_counter() - began)
        self._absorb(outcome)
        self._has_turned = True
        if time.monotonic() - self._reported_at > REPORT_SECONDS:
            self._report()

    def _choose(self, refill: bool) -> npt.NDArray[np.intp]:
        """Ready environments that may act now, in order; each needs an open fragment or a credit to begin one."""
        parked = [env for env in self._ready if not self._has_credit[env]]
        if refill and len(parked) > self._credits and not self._asked:
            self._acquire(wait=False)
            self._asked = True  # until another fragment is finished, the answer would be the same
        for env in parked[: self._credits]:
            self._has_credit[env] = True
        self._credits -= min(len(parked), self._credits)
        chosen = [env for env in self._ready if self._has_credit[env]][: self._limit]
        if len(chosen) == len(self._ready):
            self._ready = []
        else:
            self._ready = [env for env in self._ready if env not in chosen]
        return np.array(sorted(chosen), np.intp)

    def _take_weights(self) -> None:
        package = self._weights.newest()
        if package is not None and package.version != self.version:
            load_package(self._policy, package)
            self.version = package.version

    @torch.inference_mode()
    def _act(self, ids: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
        arrays = self._require_pool().arrays
        everyone = len(ids) == self._settings.num_envs
        obs = arrays.obs if everyone else {key: array[ids] for key, array in arrays.obs.items()}
        tensors = {key: torch.from_numpy(array).to(self._device) for key, array in obs.items()}
        first = torch.from_numpy(self._fragments.first[ids]).to(self._device)
        state = self._state if everyone else [part[ids] for part in self._state]
        states = self._states_of_new_fragments(ids, state)
        out = self._policy.act(tensors, first, state, self._generator)
        self._keep_state(ids, out.state, everyone)
        actions, log_probs, values = (part.cpu().numpy() for part in (out.actions, out.log_probs, out.values))
        self._fragments.begin(ids, obs, actions, log_probs, values, self.version, states)
        if self._recorder.active:
            self._recorder.decided(ids.tolist(), values, actions, self.version)
        if self._preview.active:
            self._preview.decided(ids.tolist(), values, actions)
        return actions

    def _states_of_new_fragments(
        self, ids: npt.NDArray[np.intp], state: list[torch.Tensor]
    ) -> dict[int, tuple[npt.NDArray[Any], ...]] | None:
        if not state:
            return None
        rows = np.flatnonzero(self._fragments.needs_state(ids))
        return {int(ids[row]): tuple(part[row].cpu().numpy().copy() for part in state) for row in rows}

    def _keep_state(self, ids: npt.NDArray[np.intp], state: list[torch.Tensor], everyone: bool) -> None:
        if everyone:
            self._state = list(state)
            return
        for whole, part in zip(self._state, state, strict=True):
            whole[ids] = part

    # What came back.

    def _absorb(self, outcome: Outcome) -> None:
        pool = self._require_pool()
        for fault in outcome.faults:
            self._cut(fault)
        if outcome.stepped:
            ids = np.array(outcome.stepped, np.intp)
            self._returns[ids] += pool.arrays.rewards[ids]
            self._lengths[ids] += 1
            self._add("rollout/env_steps", len(ids))
            recording = self._recorder.active
            if recording:
                self._recorder.stepped(outcome.stepped, pool.arrays)
            for env, end in outcome.ends.items():
                self._finish_episode(env, end)
            for fragment in self._fragments.finish(ids, pool.arrays):
                self._has_credit[fragment.stream.env] = False
                self._asked = False
                self._sink.put(fragment)
            if recording:
                self._recorder.mark(pool.arrays)
        for env in outcome.started:
            self._recorder.begin(env, pool.arrays)
        self._ready += outcome.stepped + outcome.started
        self._show(outcome)

    def _show(self, outcome: Outcome) -> None:
        """Passes on to viewers what they wish to see."""
        pool, preview = self._require_pool(), self._preview
        preview.moved(outcome.stepped, outcome.started)
        preview.update(self._ready, pool.arrays, self._lengths, self._returns, self._tasks)
        for env, picture in outcome.pictures.items():
            preview.take_picture(env, picture)
        for env in preview.due_pictures():
            pool.ask_picture(env)

    def _finish_episode(self, env: int, end: EpisodeEnd) -> None:
        arrays = self._require_pool().arrays
        if end.task is not None and end.task != self._tasks[env]:
            self._tasks[env] = end.task
            self._fragments.set_task(env, end.task)
        summary = EpisodeSummary(
            StreamId(self.index, env),
            self._tasks[env],
            float(self._returns[env]),
            int(self._lengths[env]),
            self._fragments.newest_version(env),
            bool(arrays.terminated[env]),
            bool(arrays.truncated[env]),
            time.time(),
            end.extras,
        )
        if self._recorder.active:
            trace = self._recorder.finish(env, end.trace, summary)
            summary = replace(summary, trace=trace) if trace else summary
            self._recorder.begin(env, arrays)
        self._episodes.append(summary)
        self._returns[env], self._lengths[env] = 0.0, 0

    def _cut(self, fault: EnvFault) -> None:
        """Forgets what the broken episode left in the open fragment, and tells everybody."""
        env = fault.index
        dropped = self._fragments.cut(env)
        self._returns[env], self._lengths[env] = 0.0, 0
        self._recorder.cut(env, self._require_pool().arrays)
        self._preview.failed(env, fault.cause, fault.restarts)
        with contextlib.suppress(ValueError):
            self._ready.remove(env)
        self._add("rollout/env_restarts", 1)
        self._add("rollout/dropped_steps", dropped)
        wait = f" after {fault.retry_seconds:.1f} s" if fault.retry_seconds else ""
        self._telemetry.event(
            Event(
                "env_restart",
                f"Environment {env} of worker {self.index} failed: {fault.cause}. It is built anew{wait}; "
                f"{dropped} steps of its episode were dropped (restart {fault.restarts}).",
                "warning",
                f"worker {self.index} / env {env}",
                data={
                    "cause": fault.cause,
                    "detail": fault.detail,
                    "log": fault.log,
                    "dropped_steps": dropped,
                    "restarts": fault.restarts,
                },
            )
        )

    # Numbers.

    def _add(self, name: str, value: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value

    def _report(self) -> None:
        """Sends what was counted since the last time."""
        sums, self._sums = self._sums, {}
        episodes, self._episodes = self._episodes, []
        self._reported_at = time.monotonic()
        self._asked = False
        if sums:
            metrics: MetricBatch = {name: Stat() for name in sums}
            for name, value in sums.items():
                metrics[name].add(value)
            self._telemetry.metrics(metrics)
        if episodes:
            self._telemetry.episodes(episodes)

    # Small things.

    def _require_pool(self) -> EnvPool:
        if self._pool is None:
            raise RuntimeError("start() must come first, and close() last.")
        return self._pool

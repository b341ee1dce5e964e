"""RayRuntime: a session on a Ray cluster, its own or a given one, and finding such a session again.

::

    this process --calls--> Supervisor (actor) --owns--> replay buffer, rollout workers, Ray Train's processes
         |                       ^
         +-- head process, its own cluster only

This object holds no state of the session: whatever it answers, it asks the supervisor. So a second process that
attaches sees the same session; one of them holds the controls (:mod:`.claims`).
"""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from minestudio_nb.config import Resources, plan
from minestudio_nb.config.trainers import travelling
from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.contracts.view import Tile
from minestudio_nb.errors import MineStudioError, RunError, SessionStateError, TrainingError
from minestudio_nb.runs import ENDED, RunDirectory, SessionRecord
from minestudio_nb.runs.checkpoints import how_to_go_on
from minestudio_nb.runtime.base import Cursor, EvaluationResult, Phase, RuntimeSpec, Snapshot
from minestudio_nb.runtime.calls import HEAL_SECONDS, QUICK, Restarting, call, call_again, patience
from minestudio_nb.runtime.claims import Holder
from minestudio_nb.runtime.cluster import ClusterRecord, HeadSettings, connect, start_head, stop_head
from minestudio_nb.runtime.common import prepare_run, session_exporters
from minestudio_nb.runtime.evaluator import evaluate_apart
from minestudio_nb.runtime.far_files import Courier, settle
from minestudio_nb.runtime.names import NAMESPACE, ON_THE_HEAD, SUPERVISOR, actor_name, find_actor
from minestudio_nb.runtime.own_code import own_modules
from minestudio_nb.runtime.parcels import pack
from minestudio_nb.runtime.preflight import asks, object_store_bytes, require_resources, total
from minestudio_nb.runtime.supervisor import CONCURRENCY, Supervisor
from minestudio_nb.runtime.survey import cluster_nodes

__all__ = ["RayRuntime", "attach"]

logger = logging.getLogger(__name__)

HEAD_SECONDS = 400.0
"""Deadline of a cluster's start: 12 s are usual, but a loaded machine may need several attempts of up to 100 s."""
HEAD_LOOK_SECONDS = 2.0
"""How often a process that uses a cluster of a session's own looks whether its head lives."""
EVALUATION_SECONDS = 3600.0
"""Deadline of one evaluation."""
START_SECONDS = 60.0
"""How long attaching waits for a session that is starting."""
CLAIM_SECONDS = 10.0
"""How long a stop waits to hear whether it is allowed; a supervisor that does not answer is stopped in any case."""
ORDER_SECONDS = 60.0
"""How long an order waits for a supervisor that died and is being started again."""
BRINGS_FILES = ("checkpoint", "recording")
"""Kinds of events after which a session on far machines has files that are worth fetching at once."""
PENDING_CALLS = 1000
"""Calls of one process that may wait for the supervisor before further telemetry is dropped."""

_left_running: list[subprocess.Popen[bytes]] = []
"""Heads that this process has started and let go; a forgotten Popen would complain that its process still runs."""


class RayRuntime:
    """Implements :class:`minestudio_nb.runtime.base.Runtime`; see there for what the methods promise."""

    def __init__(self, spec: RuntimeSpec) -> None:
        self.spec = replace(spec, config=travelling(spec.config))
        self._run = RunDirectory(spec.run_root, spec.session)
        self._holder = Holder.here()
        self._owns = False
        """Whether the session was started through this object."""
        self._record: ClusterRecord | None = None
        self._head: subprocess.Popen[bytes] | None = None
        self._supervisor: Any = None
        self._parcel: list[Any] = []
        """What the supervisor was made with, and needs again when Ray starts it again."""
        self._connected = False
        self._stopped = False
        self._ended = threading.Event()
        self._status: Mapping[str, Any] = {}
        self._phase: Phase = "new"
        self._silent_since: float | None = None
        """Since when the supervisor has been starting again."""
        self._courier: Courier | None = None

    def start_rollout(self, timeout: float) -> EnvSpec:
        """Starts the cluster where the session has its own, then supervisor, buffer and workers.

        Whatever fails, nothing is left running, and the cause is raised.
        """
        deadline = time.monotonic() + timeout
        try:
            self._owns = True
            self._run = prepare_run(self.spec)
            session_exporters(self.spec, self._run)  # raises here, and not in an actor, where one is not installed
            self._open_cluster()
            require_resources(asks(self.spec.config.config), cluster_nodes())
            self._look_around()
            self._supervisor = self._start_supervisor()
            left = max(10.0, deadline - time.monotonic())
            spec: EnvSpec = call(self._supervisor.start_rollout.remote(left), left + QUICK, "the supervisor")
            return spec
        except BaseException:
            self.stop(30.0)
            raise

    def _open_cluster(self) -> None:
        if self.spec.address is not None:
            self._connected = connect(self.spec.address)
            return
        if ray.is_initialized():
            raise SessionStateError(
                "This process is connected to a Ray cluster already, and a process can be connected to one only. Stop "
                "the other session, call ray.shutdown(), or pass address='auto' to run in that cluster."
            )
        config = self.spec.config.config
        here = Resources.detect()
        settings = HeadSettings(
            session=self.spec.session,
            record_path=self._run.cluster,
            detached=self.spec.detached,
            cpus=max(os.cpu_count() or 1, int(np.ceil(total(asks(config))["CPU"]))),
            gpus=int(here.gpus),
            object_store_bytes=object_store_bytes(
                plan(config, here).buffer_bytes or 0, here.memory_bytes, here.shm_bytes
            ),
        )
        self._record, self._head = start_head(settings, HEAD_SECONDS)
        self._connected = connect(self._record.address, self._record.token_path)
        self._watch_head()

    def _look_around(self) -> None:
        """Makes sure that a cluster that is not the session's own can run it, and finds out where its files will be."""
        if self.spec.address is None:
            return
        marker, mark = self._run.path / f".seen-{secrets.token_hex(4)}.tmp", secrets.token_hex(16)
        marker.write_text(mark, encoding="ascii")
        try:
            self.spec = replace(settle(self.spec, self._run, marker, mark), code=own_modules())
        finally:
            marker.unlink()
        self._open_courier()

    def _open_courier(self) -> None:
        def ask(method: str, *arguments: Any) -> Any:  # also when this object is being stopped, unlike _ask
            return call(getattr(self._supervisor, method).remote(*arguments), what="the supervisor")

        if self.spec.far:
            self._courier = Courier(self._run, ask)

    def _fetch_files(self) -> None:
        """Brings home what a far session has written; where that fails, its files are still there."""
        if self._courier is None:
            return
        try:
            self._courier.fetch()
        except (MineStudioError, RayError, OSError) as error:
            logger.warning(
                "files of %s stay in %s of the cluster's head: %s", self.spec.session, self.spec.run_root, error
            )
        if self._courier.left:
            logger.warning("too large to fetch from %s: %s", self.spec.run_root, ", ".join(self._courier.left))

    def _watch_head(self) -> None:
        """Disconnects when the head dies: Ray ends every process that has missed its control store for a minute."""
        record, ended = self._record, self._ended

        def watch() -> None:
            while not ended.wait(HEAD_LOOK_SECONDS):
                if record is not None and not record.alive:
                    logger.error("the Ray head of session %s is gone; disconnecting from it", record.session)
                    ray.shutdown()
                    return

        threading.Thread(target=watch, name="ray-head-watch", daemon=True).start()

    def _start_supervisor(self) -> Any:
        self._parcel = pack(self.spec)
        actor = (
            ray.remote(concurrency_groups=CONCURRENCY)(Supervisor)
            .options(
                name=actor_name(self.spec.session, SUPERVISOR),
                namespace=NAMESPACE,
                lifetime="detached" if self.spec.detached else None,
                num_cpus=0,
                resources=ON_THE_HEAD,
                max_restarts=self.spec.config.config.restarts.process_lifetime,
                max_concurrency=8,
                max_pending_calls=PENDING_CALLS,
            )
            .remote(None if self._record is None else self._record.pid, self._holder, *self._parcel)
        )
        call(actor.pid.remote(), what="the supervisor")
        return actor

    def start_trainer(self) -> None:
        """See the protocol."""
        self._order("start_trainer()", "start_trainer")

    def snapshot(self, cursor: Cursor) -> Snapshot:
        """See the protocol. Where the supervisor is gone, says how the session ended as far as that is known; while it
        is being started again, nothing new."""
        try:
            snapshot: Snapshot = self._ask("snapshot", cursor, self._holder, heal=0.0)
            self._silent_since = None
        except Restarting as error:
            now = time.monotonic()
            self._silent_since = self._silent_since or now
            if now - self._silent_since < HEAL_SECONDS:
                return Snapshot(self._phase, cursor, {**self._status, "workers_alive": 0})
            return Snapshot("failed", cursor, {**self._status, "workers_alive": 0, "failure": self._gone(str(error))})
        except TrainingError as error:
            phase, failure = self._last_phase() or ("failed", str(error))
            return Snapshot(phase, cursor, {**self._status, "workers_alive": 0, "failure": failure})
        self._status, self._phase = snapshot.status, snapshot.phase
        if self._courier is not None and any(event.kind in BRINGS_FILES for event in snapshot.events):
            self._courier.send()
        return snapshot

    def _gone(self, why: str) -> str:
        return (
            f"the supervisor of session {self.spec.session!r} did not come back: {why}. Go on from the last checkpoint "
            f"with load_config(..., resume={self.spec.session!r})."
        )

    def _last_phase(self) -> tuple[Phase, str] | None:
        """How a session ended that is not there any more; None where it did not come to write that down."""
        try:
            record = SessionRecord.read(self._run.session)
        except RunError as error:
            logger.warning("%s", error)
            return None
        if record is None or record.phase not in ENDED:
            return None
        same = record.started_at == self._status.get("started_at", record.started_at)
        phase: Phase = "failed" if record.phase == "failed" else "stopped"
        return (phase, record.failure) if same else None

    def edit(self, key: str, value: Any) -> Edit:
        """See the protocol."""
        edit: Edit = self._order("set()", "edit", key, value)
        return edit

    def pause(self) -> None:
        """See the protocol."""
        self._order("pause()", "pause")

    def resume(self) -> None:
        """See the protocol."""
        self._order("resume()", "resume")

    def request(self, kind: str, **arguments: Any) -> None:
        """See the protocol."""
        self._order(f"{kind}()", "request", kind, arguments)

    def take_controls(self) -> None:
        """See the protocol."""
        self._ask("take_controls", self._holder, True)

    def evaluate(
        self, episodes: int, deterministic: bool, seed: int, random_policy: bool, record: int
    ) -> EvaluationResult:
        """See the protocol. Runs in a process of its own that asks Ray for no CPU, so it never waits for training."""
        task = ray.remote(evaluate_apart).options(num_cpus=0, max_retries=0, name=f"{self.spec.session}/evaluation")
        weights = self._ask("newest_weights")
        reference = task.remote(
            self.spec, self._ask("env_spec"), weights, episodes, deterministic, seed, random_policy, record
        )
        try:
            result: EvaluationResult = call(reference, EVALUATION_SECONDS, "the evaluation")
            return result
        except BaseException:
            ray.cancel(reference, force=True)
            raise

    def tiles(self, large: Collection[str] = ()) -> Mapping[str, Tile]:
        """See the protocol."""
        tiles: Mapping[str, Tile] = self._ask("tiles", tuple(large))
        return tiles

    def wait(self, timeout: float) -> bool:
        """See the protocol."""
        if self._headless:
            return True
        try:
            healing = patience(self.spec.config.config.timeouts.heartbeat)
            return bool(call(self._living().wait.remote(timeout), timeout + healing, "the supervisor"))
        except Restarting:
            return False

    def stop(self, timeout: float) -> None:
        """See the protocol. In a cluster of the session's own the cluster ends; in another one, only our actors do."""
        if self._stopped:
            return
        if self._supervisor is not None and not self._headless:
            self._refuse_watchers(min(CLAIM_SECONDS, timeout))
        self._stopped = True
        self._ended.set()
        deadline = time.monotonic() + timeout
        try:
            if self._supervisor is not None and not self._headless:
                self._stop_supervisor(timeout * 0.8)
        finally:
            if self._connected:
                ray.shutdown()
            if self._record is not None:
                stop_head(self._record, self._run.cluster, max(10.0, deadline - time.monotonic()))
            if self._head is not None:
                self._head.wait(timeout=10.0)

    def _refuse_watchers(self, timeout: float) -> None:
        try:
            call(self._supervisor.require_controls.remote(self._holder, "stop()"), timeout, "the supervisor")
        except (TrainingError, RayError) as error:
            logger.warning("session %s does not say who holds its controls: %s", self.spec.session, error)

    def detach(self) -> None:
        """See the protocol. A cluster that others use too is left with its controls free."""
        if self._owns and not self.spec.detached:
            raise SessionStateError(
                f"detach() would leave nothing: the session {self.spec.session!r} ends with this process. Start it "
                "with OnlineSession(..., detached=True), or let it end by stop()."
            )
        if self._stopped:
            return
        if self._supervisor is not None and not self._headless:
            self._ask("release_controls", self._holder)
            self._fetch_files()
        self._stopped = True
        self._ended.set()
        if self._connected:
            ray.shutdown()
        if self._head is not None:
            _left_running.append(self._head)

    def _stop_supervisor(self, timeout: float) -> None:
        try:
            call(self._supervisor.stop.remote(timeout), timeout + 5.0, "the supervisor")
        except (MineStudioError, RayError) as error:
            logger.warning("session %s did not end in order and is ended by force: %s", self.spec.session, error)
        self._fetch_files()
        ray.kill(self._supervisor)  # what it owns ends with it

    def _living(self) -> Any:
        if self._supervisor is None or self._stopped:
            raise SessionStateError("the runtime is not running; start_rollout() comes first, and nothing after stop()")
        return self._supervisor

    @property
    def _headless(self) -> bool:
        return self._record is not None and not self._record.alive

    def _ask(self, method: str, *arguments: Any, heal: float = ORDER_SECONDS) -> Any:
        """Waits up to ``heal`` seconds for a supervisor that died and is started again."""
        if self._headless:
            raise TrainingError(
                f"the Ray head of session {self.spec.session!r} is gone, and its processes with it. "
                f"{how_to_go_on(self._run.path)}"
            )
        healing = patience(self.spec.config.config.timeouts.heartbeat)
        return call_again(lambda: getattr(self._living(), method).remote(*arguments), healing, "the supervisor", heal)

    def _order(self, words: str, method: str, *arguments: Any) -> Any:
        """An order, which is refused where another process holds the controls; ``words`` are what the user called."""
        return self._ask("order", self._holder, words, method, *arguments)

    @property
    def running(self) -> bool:
        """Whether the rollout was started and not stopped through this object."""
        return self._supervisor is not None and not self._stopped

    @classmethod
    def of_running(
        cls,
        supervisor: Any,
        record: ClusterRecord | None = None,
        connected: bool = False,
        run_root: str | Path | None = None,
    ) -> RayRuntime:
        """A runtime for a session that runs already. ``connected``: its end shall disconnect this process from Ray.
        ``run_root`` is where this machine keeps the files of a session that runs far away."""
        runtime = cls(call(supervisor.spec.remote(), what="the supervisor"))
        runtime._supervisor, runtime._record, runtime._connected = supervisor, record, connected
        if record is not None:
            runtime._watch_head()
        if runtime.spec.far and run_root is not None:
            runtime._run = RunDirectory.create(run_root, runtime.spec.session, exist_ok=True)
            runtime._open_courier()
        return runtime


def attach(session: str, run_root: str | Path, address: str | None = None) -> RayRuntime:
    """The runtime of a session that another process started, with the controls if nobody there holds them.

    With ``address`` it is looked for in that cluster, else in the one that the run directory tells of. Raises RunError
    when nothing of it lives there.
    """
    record = None
    if address is None:
        run = RunDirectory.open(run_root, session)
        known = SessionRecord.read(run.session)
        if known is not None and known.runtime == "inline":
            raise RunError(_why_not_inline(known))
        address = None if known is None else known.address
        if address is None:
            record = _living_cluster(run, known)
    connected = connect(str(address)) if record is None else connect(record.address, record.token_path)
    try:
        runtime = RayRuntime.of_running(find_actor(session, SUPERVISOR), record, connected, run_root)
        runtime._ask("take_controls", runtime._holder, False)
        _await_rollout(runtime)
        runtime._fetch_files()
        return runtime
    except MineStudioError:
        if connected:
            ray.shutdown()
        raise


def _await_rollout(runtime: RayRuntime) -> None:
    """Until the environments have shown their first frames, which another process may be waiting for."""
    deadline, pause = time.monotonic() + START_SECONDS, threading.Event()
    while runtime.snapshot(Cursor()).phase == "new":
        if time.monotonic() > deadline:
            raise SessionStateError(
                f"The session {runtime.spec.session!r} is still starting: after {START_SECONDS:.0f} s its environments "
                "have not shown a first frame. Attach again later."
            )
        pause.wait(0.2)


def _living_cluster(run: RunDirectory, known: SessionRecord | None) -> ClusterRecord:
    """The session's own cluster; RunError with what is left to do when it is gone."""
    go_on = how_to_go_on(run.path)
    over = known is not None and known.phase in ENDED
    if not run.cluster.exists():
        what = f"is over ({known.phase})" if over and known is not None else "never had a cluster, or was stopped"
        raise RunError(f"The session {run.name!r} {what}, so there is nothing to attach to. {go_on}")
    record = ClusterRecord.read(run.cluster)
    if record.alive:
        return record
    stop_head(record, run.cluster, timeout=20.0)
    raise RunError(
        f"The cluster of session {run.name!r} (head process {record.pid}) is gone, and with it what was not on disk. "
        f"{go_on}"
    )


def _why_not_inline(known: SessionRecord) -> str:
    return (
        f"The session {known.session!r} ran with runtime='inline', inside process {known.pid} on host {known.host}: "
        "its trainer and environments are threads there, which no other process can reach and which end with it. Go on "
        f"from its last checkpoint with load_config(..., resume={known.session!r}); with runtime='ray' and "
        "detached=True a session can be found again."
    )

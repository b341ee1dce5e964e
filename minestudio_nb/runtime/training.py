"""TrainerRun: one training under Ray Train, restarted from the newest checkpoint where a process died."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

from minestudio_nb.config.placement import asks, trainer_resources
from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.protocols import TelemetrySink
from minestudio_nb.contracts.pulse import Sign
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.runs import RunDirectory
from minestudio_nb.runs.checkpoints import LATEST, newest_first
from minestudio_nb.runtime.base import RuntimeSpec
from minestudio_nb.runtime.calls import LOOP
from minestudio_nb.runtime.heartbeats import Watched
from minestudio_nb.runtime.names import NAMESPACE, actor_name

__all__ = ["RankProcess", "TrainJob", "TrainerRun"]

LOOK_SECONDS = 60.0
"""How often the wait for a training's end is renewed."""

RAY_TRAIN_SETTINGS = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # an actor that costs a process and serves cloud schedulers only
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean the same in the trainer as everywhere else
}


@dataclass(frozen=True)
class TrainJob:
    """All that a training process is started with. ``resume`` overrides the configuration after a restart."""

    spec: RuntimeSpec
    env_spec: EnvSpec
    buffer: Any
    supervisor: Any
    resume: str | None = None
    again: bool = False
    """Whether it replaces one that died, while the rollout goes on."""
    first_version: int = 0
    """Lowest policy version to publish: above what workers hold already, since versions only grow."""

    @property
    def config(self) -> OnlineConfig:
        """The configuration to train with."""
        config = self.spec.config.config
        return config if self.resume is None else config.with_value("train_config.resume", self.resume)


@dataclass(frozen=True)
class RankProcess:
    """Where a training process is."""

    rank: int
    pid: int
    node: str
    actor: Any


class TrainerRun:
    """Waits for Ray Train on a thread of its own in the supervisor's process.

    ``newest_version()`` is the version of the weights that workers hold. ``on_end(reason, failure)`` is called once:
    with why training ended, or with the text of its failure.
    """

    def __init__(
        self,
        spec: RuntimeSpec,
        buffer: Any,
        supervisor: Any,
        telemetry: TelemetrySink,
        newest_version: Callable[[], int],
        on_end: Callable[[str, str], None],
    ) -> None:
        self._spec = spec
        self._buffer = buffer
        self._supervisor = supervisor
        self._telemetry = telemetry
        self._newest_version = newest_version
        self._on_end = on_end
        self._run = RunDirectory(spec.run_root, spec.session)
        self._reason = ""
        self._failure = ""
        self._detail = ""
        self._attempts = 0
        self._suffix = ""
        self._ranks: dict[int, RankProcess] = {}
        self._signs: dict[str, Sign] = {}
        """What each of them said last, by role."""
        self._killed = self._cause = ""
        """Why a rank was killed by us, and why training died the last time."""
        self._thread: threading.Thread | None = None

    def start(self, env_spec: EnvSpec, resume: str | None = None, suffix: str = "") -> None:
        """Begins to train, or goes on from the checkpoint ``resume``; returns at once.

        ``suffix`` ends the names of actors, where others of these names may not be quite gone.
        """
        self._suffix = suffix
        self._thread = threading.Thread(target=self._main, args=(env_spec, resume), name="ray-train", daemon=True)
        self._thread.start()

    @property
    def started(self) -> bool:
        """Whether it was told to start."""
        return self._thread is not None

    def add_rank(self, rank: RankProcess) -> None:
        """A training process says where it is, so that it can be watched."""
        self._ranks[rank.rank] = rank

    def watched(self) -> dict[str, Watched]:
        """The training processes for :class:`Heartbeats`, by role."""
        return {_role(rank.rank): Watched(rank.actor, _beat, is_up=True) for rank in self._ranks.copy().values()}

    def kill(self, role: str, cause: str) -> None:
        """Kills a training process that does not answer; training goes on from the newest checkpoint."""
        for rank in self._ranks.copy().values():
            if _role(rank.rank) == role:
                self._killed = f"rank {rank.rank}: {cause}"
                ray.kill(rank.actor)

    def answered(self, role: str, sign: Sign) -> None:
        """Takes in a sign of life. Ranks move together, so training stands still where none of them does: all are
        killed then, and training goes on from the newest checkpoint."""
        ranks = self._ranks.copy()
        self._signs[role] = sign
        signs = {rank: self._signs.get(_role(rank), Sign(0.0)) for rank in sorted(ranks)}
        quiet = min((sign.quiet for sign in signs.values() if sign.quiet is not None), default=0.0)
        limit = self._spec.config.config.timeouts.training_step
        if quiet <= limit:
            return
        where = "; ".join(f"rank {rank} was in {sign.where}" for rank, sign in signs.items() if sign.where)
        text = f"training stood still for {quiet:.0f} s, more than {limit:g} (timeouts.training_step): {where}"
        data = {"stacks": {f"rank {rank}": sign.stack for rank, sign in signs.items()}}
        message = f"The training processes are killed: {text}."
        self._telemetry.event(Event("silent", message, "warning", "trainer", data=data))
        self._killed, self._signs = text, {}
        for process in ranks.values():
            ray.kill(process.actor)

    def processes(self) -> list[dict[str, Any]]:
        """Each training process's ``role, state, pid, node, restarts, cause``."""
        restarts = max(0, self._attempts - 1)
        rest = {"state": "alive", "restarts": restarts, "cause": self._cause}
        ranks = sorted(self._ranks.copy().values(), key=lambda rank: rank.rank)
        return [{"role": _role(rank.rank), "pid": rank.pid, "node": rank.node, **rest} for rank in ranks]

    def result(self, reason: str, failure: str, detail: str) -> None:
        """What a training process says about its end while it can: rank 0 the reason, any rank its failure."""
        if failure and not self._failure:
            self._failure, self._detail = failure, detail
        self._reason = reason or self._reason

    def join(self, timeout: float) -> bool:
        """Waits until training has ended, at most ``timeout`` seconds; whether it has."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _main(self, env_spec: EnvSpec, resume: str | None) -> None:
        newest_at_death: str | None = None
        deaths = 0
        while True:
            cause = self._fit(env_spec, resume)
            self._ranks, self._signs = {}, {}
            if cause is not None:
                cause, self._killed = self._killed or cause, ""
                self._cause = cause
            if self._reason or self._failure or cause is None:
                break
            newest = self._newest_checkpoint()
            resume = None if newest is None else LATEST
            deaths = deaths + 1 if newest == newest_at_death else 1
            newest_at_death = newest
            if deaths > self._spec.config.config.restarts.without_checkpoint:
                self._failure = f"training processes died {deaths} times without a checkpoint in between: {cause}"
                break
            source = f"the checkpoint {newest}" if newest else "where it began, as there is no checkpoint yet"
            text = f"A training process died ({cause}). Training goes on from {source}."
            self._telemetry.event(Event("trainer_restart", text, "warning", "trainer"))
        if self._failure:
            self._telemetry.event(
                Event("failure", f"Training failed: {self._failure}", "error", "trainer", data={"detail": self._detail})
            )
        self._on_end(self._reason or "ended", self._failure)

    def _newest_checkpoint(self) -> str | None:
        return next((folder.name for folder in newest_first(self._run.checkpoints)), None)

    def _fit(self, env_spec: EnvSpec, resume: str | None) -> str | None:
        """One attempt; None when it ended by itself, else one line about the process that died."""
        os.environ.update(RAY_TRAIN_SETTINGS)
        first_version = max(0, self._newest_version() + 1) if self._attempts or resume else 0
        again = self._attempts > 0 or (bool(self._suffix) and resume is None)
        job = TrainJob(self._spec, env_spec, self._buffer, self._supervisor, resume, again, first_version)
        self._attempts += 1
        try:
            if self._spec.config.config.train_config.num_workers == 1:
                self._fit_one_rank(job)
            else:
                self._fit_several_ranks(job)
        except Exception as error:  # noqa: BLE001 - whatever ends it must end the session too, with its cause
            return _first_line(error)
        return None

    def _fit_one_rank(self, job: TrainJob) -> None:
        """Ray Train's local mode in one actor: its controller, scheduler and cleaner would be three idle processes."""
        resources = trainer_resources(self._spec.config.config)
        wanted = dict(resources)
        actor = (
            ray.remote(OneRank)
            .options(
                name=actor_name(self._spec.session, f"trainer_{self._attempts}{self._suffix}"),
                namespace=NAMESPACE,
                num_cpus=resources.pop("CPU", 0),
                num_gpus=resources.pop("GPU", 0),
                resources=resources,
                label_selector=_labels(self._spec),
                max_restarts=0,
                max_concurrency=2,
            )
            .remote()
        )
        run = actor.fit.remote(job)
        seconds = self._spec.config.config.timeouts.start
        try:
            if not ray.wait([actor.pid.remote()], timeout=seconds)[0]:
                self._failure = (
                    f"the trainer got no process within {seconds:g} s (timeouts.start): it asks for {wanted}, and free "
                    f"are {ray.available_resources()}. Others use this cluster; wait for them, or ask for less"
                )
                return
            while not ray.wait([run], timeout=LOOK_SECONDS)[0]:
                continue
            ray.get(run, timeout=LOOK_SECONDS)
        finally:
            ray.kill(actor)

    def _fit_several_ranks(self, job: TrainJob) -> None:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        from minestudio_nb.runtime.train_loop import train_loop

        config = self._spec.config.config
        train = config.train_config
        gpu = train.num_gpus_per_worker > 0
        on_gpu = gpu and train.device != "cpu"
        storage = self._run.path / "ray_train"
        trainer = TorchTrainer(
            train_loop,
            train_loop_config={"job": job},
            torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=train.num_workers,
                use_gpu=gpu,
                resources_per_worker=trainer_resources(config),
                placement_strategy=train.scaling_config.placement_strategy,
                label_selector=_labels(self._spec),
            ),
            run_config=RunConfig(name="train", storage_path=str(storage), failure_config=FailureConfig(max_failures=0)),
        )
        try:
            trainer.fit()
        finally:
            shutil.rmtree(storage, ignore_errors=True)  # Ray Train's own notes; checkpoints are ours


class OneRank:
    """The actor of a trainer with a single rank. Asked for its process id, it answers while it trains."""

    def pid(self) -> int:
        """The process id."""
        return os.getpid()

    def fit(self, job: TrainJob) -> None:
        """Trains to the end."""
        from ray.train import ScalingConfig
        from ray.train.torch import TorchTrainer

        from minestudio_nb.runtime.train_loop import train_loop

        TorchTrainer(train_loop, train_loop_config={"job": job}, scaling_config=ScalingConfig(num_workers=0)).fit()


def _labels(spec: RuntimeSpec) -> dict[str, str] | None:
    """What the nodes of training processes must be labelled with, as Ray wants it."""
    labels = dict(asks(spec.config.config)[1].labels)
    if spec.trainer_nodes:
        labels["ray.io/node-id"] = f"in({','.join(spec.trainer_nodes)})"
    return labels or None


def _role(rank: int) -> str:
    return f"trainer rank {rank}"


def _beat(actor: Any) -> Any:
    return actor.__ray_call__.remote(_sign)  # which every actor answers, Ray Train's too


def _sign(actor: Any) -> Sign:
    """What a training process answers: how its loop is."""
    return LOOP.sign()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"

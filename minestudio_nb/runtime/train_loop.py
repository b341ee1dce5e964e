"""What each training process runs under Ray Train: builds the trainer and connects it to the session's actors."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Mapping
from functools import partial
from typing import Any

import ray
import torch

from minestudio_nb.errors import RankLostError
from minestudio_nb.policies import build_policy, choose_device
from minestudio_nb.runs import RunDirectory
from minestudio_nb.runtime.adapters import RemoteControl, RemotePublisher, RemoteStore, RemoteTelemetry
from minestudio_nb.runtime.calls import LOOP, PUBLISH_SECONDS, Restarting, call, patience
from minestudio_nb.runtime.training import RankProcess, TrainJob

__all__ = ["train_loop"]


def train_loop(arguments: dict[str, Any]) -> None:
    """The function that Ray Train calls on each rank, with ``{"job": TrainJob}``.

    Rank 0 tells the supervisor why training ended. A rank that fails tells the cause before it raises, since what Ray
    reports later is about processes. One that only misses another process has no cause to tell: training starts again.
    """
    job: TrainJob = arguments["job"]
    supervisor = job.supervisor
    LOOP.begin()
    call(supervisor.trainer_process.remote(_this_process()), what="the supervisor")
    try:
        reason = _train(job)
    except (RankLostError, Restarting):
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        call(supervisor.trainer_result.remote("", text, traceback.format_exc()), what="the supervisor")
        raise
    finally:
        LOOP.end()
    if reason is not None:
        call(supervisor.trainer_result.remote(reason, "", ""), what="the supervisor")


def _this_process() -> RankProcess:
    group = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank = torch.distributed.get_rank() if group else 0
    return RankProcess(rank, os.getpid(), socket.gethostname(), ray.get_runtime_context().current_actor)


def rewind(job: TrainJob, iteration: int, extra: Mapping[str, Any]) -> None:
    """Has the hub go back to a checkpoint. What the environments did meanwhile counts if only the trainer died."""
    state = None if job.again else extra.get("hub")
    call(job.supervisor.rewind.remote(iteration, state), what="the supervisor")


def _train(job: TrainJob) -> str | None:
    """Builds the trainer and runs it to its end; the reason on rank 0, None on the others."""
    from minestudio_nb.trainer import CheckpointStore, SingleProcess, TorchCollective, get_trainer_class

    config, spec = job.config, job.spec
    train, healing = config.train_config, patience(config.timeouts.heartbeat)
    torch.set_num_threads(train.num_threads)
    device = choose_device(train.device, train.num_gpus_per_worker)
    group = torch.distributed.is_available() and torch.distributed.is_initialized()
    several = group and torch.distributed.get_world_size() > 1
    collective = TorchCollective(device if device.type == "cuda" else None) if several else SingleProcess()
    policy = build_policy(spec.config.policy, job.env_spec, train.seed)
    reference = build_policy(spec.config.policy, job.env_spec, train.seed) if train.kl_divergence_coef_rho else None
    trainer = get_trainer_class(config.trainer_name, spec.config.trainer)(
        policy=policy,
        reference_policy=reference,
        config=config,
        env_spec=job.env_spec,
        store=RemoteStore(job.buffer, healing),
        publisher=RemotePublisher(job.supervisor, PUBLISH_SECONDS + healing),
        control=RemoteControl(job.supervisor),
        telemetry=RemoteTelemetry(job.supervisor),
        checkpoints=CheckpointStore(RunDirectory.open(spec.run_root, spec.session).checkpoints),
        collective=collective,
        session=spec.session,
        device=device,
        first_version=job.first_version,
        extra_state=lambda: {"hub": call(job.supervisor.statistics.remote(), what="the supervisor")},
        return_window=lambda: call(job.supervisor.return_window.remote(), what="the supervisor"),
        on_resume=partial(rewind, job),
        on_edit=lambda key, value: call(job.supervisor.edited.remote(key, value), what="the supervisor"),
        on_request=lambda wish: call(job.supervisor.forward.remote(dict(wish)), what="the supervisor"),
        pulse=LOOP,
    )
    if job.again and job.resume is None and not train.resume and collective.rank == 0:
        rewind(job, 0, {})
    trainer.setup()
    result = trainer.train()
    return result.reason if collective.rank == 0 else None

"""Decides where a worker's environments run, by looking at one of them, and starts them there."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.environments.build import EnvFactory
from minestudio_nb.environments.slot import EnvSlot, StepCost
from minestudio_nb.errors import EnvStartError
from minestudio_nb.rollout.in_worker_pool import InWorkerPool
from minestudio_nb.rollout.pool import Deadlines, EnvPool, RestartLimits
from minestudio_nb.rollout.process_pool import ProcessPool

__all__ = ["choose_execution", "start_pool"]


def start_pool(
    factory: EnvFactory,
    config: OnlineConfig,
    worker: int,
    timeout: float,
    limits: RestartLimits,
    stop: threading.Event,
    logs: Path | None = None,
) -> tuple[EnvPool, list[Event]]:
    """The started environments of one worker, where ``worker_config.execution`` says, and what there is to tell of it.

    ``logs`` is the folder for what processes print, see :class:`ProcessPool`.

    Raises:
        EnvStartError: see :meth:`EnvPool.start`; nothing is left running then.
    """
    settings = config.rollout_config.worker_config
    count, interval = settings.num_envs, settings.restart_interval
    deadline = time.monotonic() + timeout
    deadlines = Deadlines.of(config)
    slots: list[EnvSlot] = []
    execution, reason, data = settings.execution, "worker_config.execution says so", {}
    if execution == "auto":
        execution, reason, cost, slots = choose_execution(factory, deadlines, limits, timeout, interval)
        data = _numbers(cost)
    pool: EnvPool
    if execution == "in_worker":
        pool = InWorkerPool(factory, count, interval, limits, stop, slots, deadlines)
    else:
        memory = None if settings.env_memory_mib is None else settings.env_memory_mib * 2**20
        pool = ProcessPool(factory, count, deadlines, interval, limits, logs=logs, memory_limit=memory)
    try:
        pool.start(max(0.1, deadline - time.monotonic()))
    except BaseException:
        pool.close()
        raise
    place = "inside the worker" if execution == "in_worker" else "in processes of their own"
    message = f"{count} environments of worker {worker} run {place}: {reason}."
    events = [Event("execution", message, source=f"worker {worker}", data={"execution": execution, **data})]
    for fault in pool.start_faults:
        text = (
            f"Environment {fault.index} of worker {worker} failed at its start, and was started again: {fault.cause}."
        )
        source = f"worker {worker} / env {fault.index}"
        events.append(Event("env_restart", text, "warning", source, data={"log": fault.log}))
    return pool, events


def choose_execution(
    factory: EnvFactory,
    deadlines: Deadlines,
    limits: RestartLimits,
    timeout: float,
    restart_interval: float | None,
) -> tuple[str, str, StepCost | None, list[EnvSlot]]:
    """Where to run, why, the measured cost, and an environment that was built for it and can be used."""
    if factory.kind == "minecraft":
        return "processes", "a Minecraft engine can hang and crash", None, []
    if factory.python is not None:
        return "processes", "env_config.python names another interpreter", None, []
    if factory.kind == "function":
        cost = _measure_in_process(factory, deadlines, limits, timeout)
        if not cost.trusted:
            return "processes", "the environment's code is a user's, which may hang or crash", cost, []
        slots = []
    else:
        slots = [EnvSlot(factory, 0, factory.seed_of(0), factory.task, restart_interval)]
        cost = _measure_here(slots[0], factory)
    text = f"a step takes {1000 * cost.wall_seconds:.2f} ms, of which {1000 * cost.cpu_seconds:.2f} ms are computation"
    if cost.is_waiting:
        for slot in slots:
            slot.close()
        return "processes", f"{text}, so that waiting for one can overlap with the others", cost, []
    return "in_worker", text, cost, slots


def _measure_here(slot: EnvSlot, factory: EnvFactory) -> StepCost:
    try:
        slot.build()
        return slot.measure()
    except Exception as error:
        slot.close()
        raise EnvStartError(
            f"Environment 0 ({factory.describe()}) did not start: {type(error).__name__}: {error}"
        ) from error


def _measure_in_process(factory: EnvFactory, deadlines: Deadlines, limits: RestartLimits, timeout: float) -> StepCost:
    pool = ProcessPool(factory, 1, deadlines, None, limits, measure=True)
    try:
        pool.start(timeout)
        assert pool.step_cost is not None
        return pool.step_cost
    finally:
        pool.close()


def _numbers(cost: StepCost | None) -> dict[str, Any]:
    if cost is None:
        return {}
    return {
        "step_wall_seconds": cost.wall_seconds,
        "step_cpu_seconds": cost.cpu_seconds,
        "waits_per_step": cost.waits,
        "trusted": cost.trusted,
    }

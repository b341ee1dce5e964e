"""What a configuration will run, where, and what it costs: the table that is shown before anything starts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from minestudio_nb.config.checking import buffer_bytes, gigabytes, observation_bytes
from minestudio_nb.config.placement import NodeView, Placement, asks, place
from minestudio_nb.config.resources import Resources
from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.generators import GeneratorSpec
from minestudio_nb.contracts.showing import shown_safely

__all__ = ["Plan", "PlanRow", "chosen_schedule", "plan"]

SMALL_MODEL = "models under 50 MB"


@dataclass(frozen=True)
class PlanRow:
    """One line: what, how much, and the arithmetic or effect behind it."""

    what: str
    amount: str
    detail: str


@dataclass(frozen=True)
class Plan:
    """A plan as rows for people and as numbers. ``buffer_bytes`` is None while the observation's size is unknown."""

    rows: tuple[PlanRow, ...]
    gpus: float
    processes: int
    samples_per_iteration: int
    optimizer_steps_per_iteration: int
    buffer_bytes: int | None
    schedule: str
    missing: tuple[str, ...] = ()
    """What the cluster that was asked lacks: while this is so, the session cannot start there."""

    def __str__(self) -> str:
        first = max(len(row.what) for row in self.rows)
        second = max(len(row.amount) for row in self.rows)
        lines = [f"{row.what:<{first}}  {row.amount:<{second}}  {row.detail}".rstrip() for row in self.rows]
        return "\n".join(lines)

    @shown_safely
    def _repr_html_(self) -> str:
        cells = [
            f"<tr><th style='text-align:left'>{html.escape(row.what)}</th><td>{html.escape(row.amount)}</td>"
            f"<td style='text-align:left'>{html.escape(row.detail)}</td></tr>"
            for row in self.rows
        ]
        return f"<table>{''.join(cells)}</table>"


def chosen_schedule(config: OnlineConfig, cpus: float) -> str:
    """``"alternate"`` or ``"overlap"``; ``auto`` overlaps where ``cpus`` suffice for workers and trainer threads."""
    if config.schedule != "auto":
        return config.schedule
    rollout, train = config.rollout_config, config.train_config
    wanted = rollout.num_rollout_workers + train.num_workers * train.num_threads
    return "alternate" if cpus < wanted else "overlap"


def plan(
    config: OnlineConfig,
    resources: Resources | None = None,
    obs_nbytes: int | None = None,
    env: GeneratorSpec | None = None,
    policy: GeneratorSpec | None = None,
    elsewhere: bool = False,
    nodes: Sequence[NodeView] | str = "the cluster is asked when the session starts",
) -> Plan:
    """The plan of ``config`` on ``resources`` (this machine's if None).

    ``elsewhere`` says that it will run in a cluster, whatever there is here; ``nodes`` are those of the cluster, or why
    they are not known.

    ``obs_nbytes`` is the size of one observation in bytes; without it, it is taken from the settings where they tell.
    ``env`` and ``policy`` are the recipes of a :class:`~minestudio_nb.config.load.LoadedConfig`, named in the table.
    """
    resources = resources if resources is not None else Resources.detect()
    size = obs_nbytes if obs_nbytes is not None else observation_bytes(config)
    placements = place(asks(config), nodes) if elsewhere and not isinstance(nodes, str) else []
    schedule = config.schedule if elsewhere else chosen_schedule(config, resources.cpus)
    if elsewhere and not isinstance(nodes, str):
        schedule = chosen_schedule(config, sum(node.resources.get("CPU", 0.0) for node in nodes))
    rollout, train = config.rollout_config, config.train_config
    gpus = rollout.num_rollout_workers * rollout.num_gpus_per_worker + train.num_workers * train.num_gpus_per_worker
    own_process = rollout.worker_config.execution == "processes"
    processes = rollout.num_rollout_workers + train.num_workers + (config.num_envs if own_process else 0)
    rows = (
        *_where_rows(config, env, policy),
        PlanRow("GPUs", f"{gpus:g} needed", _gpus_there(nodes) if elsewhere else f"{resources.gpus:g} here"),
        *(_placement_row(placement) for placement in placements),
        *_iteration_rows(config, schedule),
        _buffer_row(config, size, guessed=obs_nbytes is None and env is not None and env.kind != "env_config"),
        _fault_row(config),
        _end_row(config),
    )
    return Plan(
        rows=rows,
        gpus=gpus,
        processes=processes,
        samples_per_iteration=config.samples_per_iteration,
        optimizer_steps_per_iteration=config.optimizer_steps_per_iteration,
        buffer_bytes=None if size is None else buffer_bytes(config, size),
        schedule=schedule,
        missing=tuple(placement.missing for placement in placements if placement.missing),
    )


def _gpus_there(nodes: Sequence[NodeView] | str) -> str:
    if isinstance(nodes, str):
        return nodes
    there = sum(node.resources.get("GPU", 0.0) for node in nodes)
    return f"{there:g} in the cluster, on {len(nodes)} node" + "s" * (len(nodes) != 1)


def _placement_row(placement: Placement) -> PlanRow:
    ask = placement.ask
    where = ", ".join(f"{count} on {node}" for node, count in placement.placed.items()) or "nowhere"
    labels = ", ".join(f"{name}={value}" for name, value in ask.labels.items())
    amount = f"{sum(placement.placed.values())} of {ask.count} placed"
    limit = f"on nodes with {labels}: " if labels else ""
    missing = f"; MISSING: {placement.missing}" if placement.missing else ""
    return PlanRow(f"{ask.what}s go", amount, f"{limit}{where}{missing}")


def _place(cpus: str, gpus: float, device: str) -> str:
    where = f"{gpus:g} GPU" if gpus else "no GPU"
    return f"each {cpus}, {where}" + ("" if device == "auto" else f", on {device}")


def _where_rows(config: OnlineConfig, env: GeneratorSpec | None, policy: GeneratorSpec | None) -> tuple[PlanRow, ...]:
    rollout, worker, train = config.rollout_config, config.rollout_config.worker_config, config.train_config
    world = config.env_config
    width, height = world.obs_size
    name = str(world.id) if world.simulator == "gymnasium" else f"{world.simulator}, {width}x{height} pixels"
    if env is not None and env.kind != "env_config":
        name = env.describe()
    policy_name = config.policy_config.name if policy is None else policy.describe().removeprefix("policy ")
    execution = {
        "in_worker": "inside the workers",
        "processes": "a process each",
        "auto": "inside the workers or a process each",
    }
    acting = _place(f"{rollout.num_cpus_per_worker:g} CPU", rollout.num_gpus_per_worker, worker.device)
    training = _place(
        "1 CPU thread" if train.num_threads == 1 else f"{train.num_threads} CPU threads",
        train.num_gpus_per_worker,
        train.device,
    )
    return (
        PlanRow("environments", str(config.num_envs), f"{name}; {execution[worker.execution]}"),
        PlanRow("rollout workers", str(rollout.num_rollout_workers), f"{acting}; {worker.num_envs} environments each"),
        PlanRow("policy", policy_name, f"{worker.inference_dtype} when acting"),
        PlanRow("training processes", str(train.num_workers), f"{training}; {config.trainer_name}"),
    )


def _iteration_rows(config: OnlineConfig, schedule: str) -> tuple[PlanRow, ...]:
    train, length = config.train_config, config.rollout_config.fragment_length
    fragments = config.fragments_per_iteration
    ranks = f"{train.num_workers} ranks x {train.batch_size_per_gpu} x {train.batches_per_iteration} microbatches"
    per_step = train.num_workers * train.batch_size_per_gpu * train.gradient_accumulation * length
    steps = config.optimizer_steps_per_iteration
    passes = f"{train.epochs_per_iteration} passes x {train.batches_per_iteration} / {train.gradient_accumulation}"
    timing = {
        "alternate": "collect, then train",
        "overlap": f"collect while training, at most {config.lead} ahead",
        "auto": "collect while training where the cluster has processors for both",
    }
    return (
        PlanRow(
            "an iteration takes",
            f"{config.samples_per_iteration:,} steps",
            f"{ranks} = {fragments} fragments x {length} steps",
        ),
        PlanRow("and makes", f"{steps} optimizer steps", f"{passes}; each on {per_step:,} samples"),
        PlanRow("schedule", schedule, timing[schedule]),
    )


def _buffer_row(config: OnlineConfig, size: int | None, guessed: bool) -> PlanRow:
    length = config.rollout_config.fragment_length
    if size is None:
        return PlanRow(
            "replay buffer", "size unknown", f"{config.buffer_fragments} fragments; known after the first reset"
        )
    total = buffer_bytes(config, size)
    detail = f"when full: {config.buffer_fragments} fragments x {length + 1} observations x {gigabytes(size)}"
    if guessed:
        detail += ", if an observation is {} x {} pixels".format(*config.env_config.obs_size)
    return PlanRow("replay buffer", ("about " if guessed else "") + gigabytes(total), detail)


def _fault_row(config: OnlineConfig) -> PlanRow:
    interval = config.recovery_interval
    if interval is None:
        save = config.train_config.save_interval
        detail = f"1 iteration for {SMALL_MODEL}, {save} (save_interval) for larger ones"
        return PlanRow("a fault loses at most", f"1 to {save} iterations", detail)
    steps = interval * config.samples_per_iteration
    return PlanRow("a fault loses at most", f"{interval} iterations", f"{steps:,} steps (recovery_interval)")


def _end_row(config: OnlineConfig) -> PlanRow:
    train = config.train_config
    limits = [f"{train.num_iterations:,} iterations = {train.num_iterations * config.samples_per_iteration:,} steps"]
    if train.max_env_steps is not None:
        limits.append(f"{train.max_env_steps:,} steps")
    if train.max_minutes is not None:
        limits.append(f"{train.max_minutes:g} minutes")
    if train.target_return is not None:
        limits.append(f"a mean return of {train.target_return:g}")
    return PlanRow("training ends after", limits[0], "or " + ", ".join(limits[1:]) if limits[1:] else "")

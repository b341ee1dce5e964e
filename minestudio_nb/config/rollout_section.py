"""Settings of the rollout: workers, environments' deadlines, fragments, replay buffer, episode statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minestudio_nb.config.fields import Section, section, setting

__all__ = [
    "DatabaseConfig",
    "EpisodeStatisticsConfig",
    "ReplayBufferConfig",
    "RestartsConfig",
    "RolloutConfig",
    "TimeoutsConfig",
    "WorkerConfig",
]

WORKERS_ARE_BUILT_WITH_IT = "Rollout workers are built with it; start a new session to change it."
BUFFER_IS_LAID_OUT_WITH_IT = "The buffer and the credits of the workers are laid out with it; start a new session."
WATCHES_ARE_SET_UP_WITH_IT = "The watches over all processes are set up with it."
COUNTED_FROM_START = "Failures are counted against it from the start; start a new session to change it."
NO_DISK_DATABASE = "Fragments live in shared memory (with Ray: its object store, which spills to disk by itself)."


@dataclass(frozen=True, repr=False)
class TimeoutsConfig(Section):
    """Deadlines of one environment, per phase, and of signs of life of processes and of training.

    What misses one is ended and started anew. With ``env_config.simulator: minecraft`` the defaults of the first three
    are 300, 180 and 60 s, see :data:`schema.MINECRAFT_TIMEOUTS`.
    """

    start: float = setting(
        120.0,
        "Longest time from building to the first observation.",
        unit="s",
        gt=0,
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )
    reset: float = setting(60.0, "Longest time of one reset.", unit="s", gt=0, why_not_live=WORKERS_ARE_BUILT_WITH_IT)
    step: float = setting(30.0, "Longest time of one step.", unit="s", gt=0, why_not_live=WORKERS_ARE_BUILT_WITH_IT)
    heartbeat: float = setting(
        60.0,
        "With Ray: longest silence of a process of the session, after which it is killed and replaced.",
        unit="s",
        gt=0,
        why_not_live=WATCHES_ARE_SET_UP_WITH_IT,
    )
    training_step: float = setting(
        900.0,
        "Longest time without a pass of the policy or an optimizer step; waits for fragments and pauses do not count. "
        "With Ray the training processes are killed and replaced, inline there is an event.",
        unit="s",
        gt=0,
        why_not_live=WATCHES_ARE_SET_UP_WITH_IT,
    )


@dataclass(frozen=True, repr=False)
class RestartsConfig(Section):
    """How often a part may fail before it is given up, and the session fails with the last cause.

    One more failure than the number says is too many. Before that, a part that fails again within the window waits
    longer each time.
    """

    window: float = setting(60.0, "Window of the limits per window.", unit="s", gt=0, why_not_live=COUNTED_FROM_START)
    env_per_window: int = setting(
        3, "Failures of one environment within the window.", ge=0, why_not_live=COUNTED_FROM_START
    )
    env_lifetime: int = setting(
        100, "Failures of one environment while its rollout worker lives.", ge=0, why_not_live=COUNTED_FROM_START
    )
    process_per_window: int = setting(
        3,
        "With Ray: deaths of one rollout worker, or of the replay buffer, within the window.",
        ge=0,
        why_not_live=COUNTED_FROM_START,
    )
    process_lifetime: int = setting(
        30,
        "With Ray: deaths of one rollout worker, or of the replay buffer, in the session.",
        ge=0,
        why_not_live=COUNTED_FROM_START,
    )
    without_checkpoint: int = setting(
        3,
        "With Ray: deaths of training processes, or of the supervisor, without a new checkpoint in between.",
        ge=0,
        why_not_live=COUNTED_FROM_START,
    )


@dataclass(frozen=True, repr=False)
class WorkerConfig(Section):
    """One rollout worker: the policy and the environments it acts in."""

    num_envs: int = setting(4, "Environments in each rollout worker.", ge=1, why_not_live=WORKERS_ARE_BUILT_WITH_IT)
    batch_size: int | None = setting(
        None,
        "Observations the policy acts on at once. None: all environments in the worker, half of them in processes.",
        ge=1,
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )
    execution: str = setting(
        "auto",
        "Where environments run: in the worker (cheap, trusted ones) or each in a process of its own.",
        choices=("auto", "in_worker", "processes"),
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )
    inference_dtype: str = setting(
        "float32",
        "Number format of the acting policy. bfloat16 is 2 to 3 times faster where the processor has it.",
        choices=("float32", "bfloat16"),
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )
    device: str = setting(
        "auto",
        "Where the acting policy runs: auto is cuda when num_gpus_per_worker > 0, else cpu; or cpu, cuda, cuda:1, mps.",
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )
    seed: int = setting(
        0,
        "Seed from which every environment and every worker derives its own.",
        ge=0,
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )
    restart_interval: float | None = setting(
        None,
        "Age at which an environment is built anew between two episodes, against leaks. None: never.",
        unit="s",
        gt=0,
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )
    env_memory_mib: float | None = setting(
        None,
        "Memory of one environment's processes, with all that it started, at which it is built anew. Only for "
        "environments in processes. None: no limit.",
        unit="MiB",
        gt=0,
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )
    worker_memory_mib: float | None = setting(
        None,
        "With Ray: memory of a rollout worker's own process, without those of environments, at which it is replaced. "
        "None: no limit.",
        unit="MiB",
        gt=0,
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )
    video_fps: int = setting(
        20, "Frames per second of recorded episodes.", unit="1/s", ge=1, le=240, why_not_live=WORKERS_ARE_BUILT_WITH_IT
    )
    video_output_dir: str | None = setting(
        None,
        "Folder of recorded episodes; a relative one lies in the run directory. None: its episodes/ folder.",
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )


@dataclass(frozen=True, repr=False)
class DatabaseConfig(Section):
    """MineStudio's disk database of fragments; accepted, not used."""

    path: str | None = setting(None, "Folder of the database.", inert=NO_DISK_DATABASE)
    num_shards: int = setting(8, "Shards of the database.", ge=1, inert=NO_DISK_DATABASE)


@dataclass(frozen=True, repr=False)
class ReplayBufferConfig(Section):
    """How many fragments are kept, how often they are used, and how old they may be."""

    max_chunks: int = setting(
        256, "Capacity in chunks; the oldest are dropped.", unit="chunks", ge=1, why_not_live=BUFFER_IS_LAID_OUT_WITH_IT
    )
    fragments_per_chunk: int = setting(
        1,
        "Fragments that are kept and dropped together.",
        unit="fragments",
        ge=1,
        why_not_live=BUFFER_IS_LAID_OUT_WITH_IT,
    )
    max_reuse: int = setting(1, "Iterations that may train on the same fragment.", unit="iterations", ge=1, live=True)
    max_staleness: int = setting(
        2,
        "Oldest policy version to train on, counted back from the current one; older fragments are dropped.",
        unit="versions",
        ge=0,
        live=True,
    )
    fragments_per_report: int = setting(
        40, "Fragments between two reports of the buffer.", ge=1, inert="The buffer reports once per iteration."
    )
    database_config: DatabaseConfig = section(DatabaseConfig)


@dataclass(frozen=True, repr=False)
class EpisodeStatisticsConfig(Section):
    """Statistics over finished episodes, kept per task."""

    window: int = setting(
        50,
        "Latest episodes that means of return and length are taken over.",
        unit="episodes",
        ge=1,
        why_not_live="Statistics keep exactly this many episodes from the start.",
    )


@dataclass(frozen=True, repr=False)
class RolloutConfig(Section):
    """All rollout workers together."""

    num_rollout_workers: int = setting(2, "Rollout workers.", ge=1, why_not_live=WORKERS_ARE_BUILT_WITH_IT)
    num_gpus_per_worker: float = setting(
        0.0,
        "GPUs of each rollout worker; a fraction shares one.",
        unit="GPUs",
        ge=0,
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )
    num_cpus_per_worker: float = setting(
        1.0, "CPUs of each rollout worker.", unit="CPUs", ge=0, why_not_live=WORKERS_ARE_BUILT_WITH_IT
    )
    resources_per_worker: dict[str, Any] = setting(
        {},
        "Further resources of each rollout worker by Ray's names, of your own choice: they choose nodes.",
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )
    node_labels: dict[str, Any] = setting(
        {},
        "Labels of the nodes that rollout workers, with their environments, may run on: {kind: cpu}; also !cpu, "
        "in(a, b), !in(a, b).",
        why_not_live=WORKERS_ARE_BUILT_WITH_IT,
    )
    fragment_length: int = setting(
        64,
        "Consecutive steps of one environment that travel, and are trained on, together.",
        unit="steps",
        ge=1,
        why_not_live=BUFFER_IS_LAID_OUT_WITH_IT,
    )
    to_send_queue_size: int = setting(
        8,
        "Finished fragments waiting in a worker.",
        unit="fragments",
        ge=1,
        inert="Workers hold credits instead: see schedule and lead.",
    )
    worker_config: WorkerConfig = section(WorkerConfig)
    replay_buffer_config: ReplayBufferConfig = section(ReplayBufferConfig)
    episode_statistics_config: EpisodeStatisticsConfig = section(EpisodeStatisticsConfig)

"""The configuration as a typed tree: MineStudio's keys under MineStudio's names, and this package's own.

Each setting is declared once, with its default, unit, range, effect and whether it is live, in the section modules
beside this one. ``field_specs()`` gives all of it as data.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from minestudio_nb.config.fields import Problem, Section, key_hint, parse, section, setting, to_plain
from minestudio_nb.config.fields import field_specs as _specs_of
from minestudio_nb.config.rollout_section import (
    DatabaseConfig,
    EpisodeStatisticsConfig,
    ReplayBufferConfig,
    RestartsConfig,
    RolloutConfig,
    TimeoutsConfig,
    WorkerConfig,
)
from minestudio_nb.config.train_section import ScalingSection, TrainConfig
from minestudio_nb.config.world_section import EnvConfig, LoggerConfig, PolicyConfig
from minestudio_nb.contracts.fields import FieldSpec, nearest_hint
from minestudio_nb.errors import ConfigError

__all__ = [
    "MINECRAFT_TIMEOUTS",
    "DatabaseConfig",
    "EnvConfig",
    "EpisodeStatisticsConfig",
    "LoggerConfig",
    "OnlineConfig",
    "PolicyConfig",
    "ReplayBufferConfig",
    "RestartsConfig",
    "RolloutConfig",
    "ScalingSection",
    "TimeoutsConfig",
    "TrainConfig",
    "WorkerConfig",
    "field_specs",
    "parse_config",
    "unknown_key_hint",
]

MINECRAFT_TIMEOUTS = {"start": 300.0, "reset": 180.0, "step": 60.0}
"""Deadlines in seconds, the defaults of ``timeouts`` with the real game: its start alone takes a minute."""

S = TypeVar("S", bound=Section)


@dataclass(frozen=True, repr=False)
class OnlineConfig(Section):
    """The whole configuration of a session. Immutable; :meth:`with_value` gives an edited copy.

    Sizes of an iteration: every rank takes ``batches_per_iteration`` microbatches of ``batch_size_per_gpu`` fragments
    of ``fragment_length`` steps, so fragments per iteration = num_workers * batch_size_per_gpu * batches_per_iteration.
    A pass goes over them once, in chunks of ``context_length`` steps shuffled over all of them;
    ``gradient_accumulation`` microbatches make one optimizer step; there are ``epochs_per_iteration`` passes.
    """

    trainer_name: str = setting("PPOTrainer", "Registered trainer class.", why_not_live="The trainer is built from it.")
    detach_rollout_manager: bool | None = setting(
        None,
        "The run outlives the process that started it. None: true in a notebook, false headless.",
        why_not_live="It decides who owns the processes when they start.",
    )
    schedule: str = setting(
        "auto",
        "alternate: collect, then train; overlap: both at once; auto: overlap where there are cores for both.",
        choices=("auto", "alternate", "overlap"),
        why_not_live="Workers and trainer are wired by it.",
    )
    lead: int = setting(
        1,
        "With schedule overlap: iterations of unread fragments at which workers wait.",
        unit="iterations",
        ge=1,
        why_not_live="The workers' credits are laid out with it; start a new session.",
    )
    recovery_interval: int | None = setting(
        None,
        "Iterations a fault loses at most. None: 1 for models under 50 MB, else save_interval.",
        unit="iterations",
        ge=1,
        why_not_live="It is read once, when the trainer starts.",
    )
    generator_module: str | None = setting(
        None,
        "Python file beside this configuration whose env_generator and policy_generator are used.",
        why_not_live="Environments and policy are built from it.",
    )
    timeouts: TimeoutsConfig = section(TimeoutsConfig)
    restarts: RestartsConfig = section(RestartsConfig)
    rollout_config: RolloutConfig = section(RolloutConfig)
    train_config: TrainConfig = section(TrainConfig)
    env_config: EnvConfig = section(EnvConfig)
    policy_config: PolicyConfig = section(PolicyConfig)
    logger_config: LoggerConfig = section(LoggerConfig)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> OnlineConfig:
        """The configuration from plain data; absent settings take their defaults.

        Raises:
            ConfigError: unknown keys, wrong types, values out of range; all of them in one error.
        """
        config, problems = parse_config(raw)
        errors = [str(problem) for problem in problems if problem.severity == "error"]
        if errors:
            raise ConfigError("The configuration cannot be used.", errors)
        return config

    def to_dict(self) -> dict[str, Any]:
        """All settings as freshly built plain data, secrets included; ``from_dict`` reads it back."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    def get(self, key: str) -> Any:
        """The value (or section) at a dotted key. Raises ConfigError, naming the nearest key, where there is none."""
        node: Any = self
        for name in key.split("."):
            if not isinstance(node, Section) or name not in node.__dataclass_fields__:
                raise ConfigError(f"There is no setting {key!r}{unknown_key_hint(key)}")
            node = getattr(node, name)
        return node

    def with_value(self, key: str, value: Any) -> OnlineConfig:
        """A copy with another value at one dotted key.

        Raises:
            ConfigError: the key is unknown, or the value has the wrong type or is out of range.
        """
        if key not in field_specs():
            raise ConfigError(f"There is no setting {key!r}{unknown_key_hint(key)}")
        *path, name = key.split(".")
        holder = self.get(".".join(path)) if path else self
        problems: list[Problem] = []
        parsed = parse(type(holder), {name: value}, problems, "".join(f"{part}." for part in path))
        if problems:
            raise ConfigError("The value cannot be used.", [str(problem) for problem in problems])
        node = replace(holder, **{name: getattr(parsed, name)})
        while path:
            *path, name = path
            holder = self.get(".".join(path)) if path else self
            node = replace(holder, **{name: node})
        edited: OnlineConfig = node
        return edited

    @property
    def num_envs(self) -> int:
        """Environments of all rollout workers together."""
        return self.rollout_config.num_rollout_workers * self.rollout_config.worker_config.num_envs

    @property
    def fragments_per_iteration(self) -> int:
        """Fragments that one iteration trains on, over all ranks."""
        train = self.train_config
        return train.num_workers * train.batch_size_per_gpu * train.batches_per_iteration

    @property
    def samples_per_iteration(self) -> int:
        """Steps that one iteration trains on, over all ranks."""
        return self.fragments_per_iteration * self.rollout_config.fragment_length

    @property
    def optimizer_steps_per_iteration(self) -> int:
        """Optimizer steps of one iteration, over all its passes."""
        train = self.train_config
        return train.epochs_per_iteration * (train.batches_per_iteration // train.gradient_accumulation)

    @property
    def buffer_fragments(self) -> int:
        """Capacity of the replay buffer in fragments."""
        buffer = self.rollout_config.replay_buffer_config
        return buffer.max_chunks * buffer.fragments_per_chunk

    @property
    def start_seconds(self) -> float:
        """Longest that the start of all environments may take, with two minutes for a cluster.

        Engines of the real game start a few at a time, which allows for half a minute each.
        """
        rollout = self.rollout_config
        engines = rollout.num_rollout_workers * rollout.worker_config.num_envs
        in_turns = 30.0 * engines if self.env_config.simulator == "minecraft" else 0.0
        return 2.0 * self.timeouts.start + 120.0 + in_turns


@functools.cache
def field_specs() -> dict[str, FieldSpec]:
    """Every setting by its dotted key, in the order of the schema. Shared: do not modify."""
    return _specs_of(OnlineConfig)


def unknown_key_hint(key: str, groups: Collection[str] = ()) -> str:
    """What may have been meant by the dotted ``key``, as the end of a sentence; ``groups`` are chosen by their name."""
    name = key.rpartition(".")[2]
    elsewhere = key_hint(name, (), field_specs())
    known = [*field_specs(), *dict.fromkeys(full.partition(".")[0] for full in field_specs()), *groups]
    return elsewhere or nearest_hint(key, known) or "."


def parse_config(raw: Mapping[str, Any]) -> tuple[OnlineConfig, list[Problem]]:
    """The configuration from plain data, and everything that is wrong with it taken by itself.

    Settings that cannot be read stand at their defaults, so that further checks can go on. Two settings depend on
    others: ``timeouts`` of the real game, and ``scaling_config``, which overrides the trainer's numbers.
    """
    problems: list[Problem] = []
    resolved = copy.copy(dict(raw))
    _resolve_timeouts(resolved)
    _resolve_scaling(resolved, problems)
    config = parse(OnlineConfig, resolved, problems, all_keys=field_specs())
    return config, problems


def _mapping(raw: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = raw.get(key)
    return dict(value) if isinstance(value, Mapping) else {}


def _resolve_timeouts(raw: dict[str, Any]) -> None:
    timeouts = raw.get("timeouts") or {}
    if _mapping(raw, "env_config").get("simulator") == "minecraft" and isinstance(timeouts, Mapping):
        raw["timeouts"] = {**MINECRAFT_TIMEOUTS, **timeouts}


def _resolve_scaling(raw: dict[str, Any], problems: list[Problem]) -> None:
    train = _mapping(raw, "train_config")
    scaling = _mapping(train, "scaling_config")
    resources = _mapping(scaling, "resources_per_worker")
    gpus = resources.get("GPU")
    use_gpu = scaling.get("use_gpu")
    if gpus is None and isinstance(use_gpu, bool):
        gpus = 1 if use_gpu else 0
    elif gpus and use_gpu is False:
        text = f"use_gpu is false, but resources_per_worker asks for {gpus} GPUs"
        problems.append(Problem("train_config.scaling_config", text, "Remove one of the two."))
    for name, value in (("num_workers", scaling.get("num_workers")), ("num_gpus_per_worker", gpus)):
        if value is None:
            continue
        if train.get(name, value) != value:
            text = f"scaling_config asks for {value}, train_config.{name} for {train[name]}"
            problems.append(Problem(f"train_config.{name}", text, "Give one of the two, or the same number."))
        train[name] = value
        raw["train_config"] = train

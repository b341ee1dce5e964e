"""Find everything that is wrong with a configuration at once, each problem with its arithmetic and its fix."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from minestudio_nb.config.fields import Problem
from minestudio_nb.config.minestudio_compat import (
    CALLBACK_NAMES,
    NOT_FOR_SPECS,
    OWN_CALLBACK_NAMES,
    REAL_GAME_CALLBACKS,
    VOXEL_ARGUMENTS,
)
from minestudio_nb.config.resources import Resources
from minestudio_nb.config.schema import EnvConfig, OnlineConfig, field_specs, parse_config
from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.errors import ConfigError

__all__ = ["buffer_bytes", "check", "gigabytes", "observation_bytes", "require"]

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_OF_A_WORLD = (
    "action_type", "obs_size", "render_size", "biome", "inventory", "num_empty_frames", "camera_config", "callbacks",
    "wrappers",
)  # fmt: skip
"""Settings of env_config that a Gymnasium environment has no use for."""
_IMAGE_POLICIES, _VECTOR_POLICIES = ("cnn", "cnn_gru", "vpt"), ("mlp", "mlp_gru")
_RECURRENT_POLICIES = ("cnn_gru", "mlp_gru", "vpt")


def check(
    config: OnlineConfig | Mapping[str, Any],
    resources: Resources | None = None,
    env_spec: EnvSpec | None = None,
    observation_space: Any = None,
    action_space: Any = None,
    own_env: bool = False,
) -> list[Problem]:
    """Every problem of ``config``, errors first.

    Plain settings are read first, so unknown keys and wrong types are among the problems. With ``resources``, what was
    asked for is compared with what is there, and a Gymnasium id is built once to see its spaces. With ``env_spec``, or
    with the environment's Gymnasium spaces, the policy is compared with what it will see and do. ``own_env`` says that
    a function builds the environment, so that ``obs_size`` is a guess. An empty list means that nothing speaks against
    starting.
    """
    problems: list[Problem] = []
    if not isinstance(config, OnlineConfig):
        config, problems = parse_config(config)
    rules: list[Callable[[OnlineConfig], Iterator[Problem]]] = [
        _iteration_sizes,
        _parameter_groups,
        _rollout_sizes,
        _age_of_fragments,
        _room_to_run_ahead,
        _intervals,
        _devices,
        _environment,
        _parts_of_the_world,
        _parts_of_one_world_only,
        _inert_settings,
    ]
    for rule in rules:
        problems += rule(config)
    if resources is not None:
        problems += _gpus(config, resources)
        problems += _cpus(config, resources)
        problems += _memory(config, resources, env_spec.obs.nbytes if env_spec else None, guessed=own_env)
        if observation_space is None and action_space is None and env_spec is None:
            problems += _registered_id(config)
    if env_spec is not None:
        problems += _policy_fits(config, env_spec)
    if observation_space is not None:
        problems += _observation_space(observation_space)
    if action_space is not None:
        problems += _action_space(action_space)
    return sorted(problems, key=lambda problem: problem.severity != "error")


def require(problems: Sequence[Problem]) -> None:
    """Do nothing if there is no error among ``problems``; raise a ConfigError that lists all errors otherwise."""
    errors = [str(problem) for problem in problems if problem.severity == "error"]
    if errors:
        raise ConfigError(f"The configuration cannot run: {len(errors)} problem{'s' * (len(errors) > 1)}.", errors)


def gigabytes(count: float) -> str:
    """Bytes for people, in decimal units: ``"60.6 GB"``, ``"25 MB"``, ``"640 B"``."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def observation_bytes(config: OnlineConfig) -> int | None:
    """Bytes of one observation as far as the settings tell: one uint8 RGB image, except for Gymnasium ids (None)."""
    if config.env_config.simulator == "gymnasium":
        return None
    width, height = config.env_config.obs_size
    return width * height * 3


def buffer_bytes(config: OnlineConfig, obs_nbytes: int) -> int:
    """Bytes of observations in a full buffer: a fragment holds ``fragment_length + 1`` of ``obs_nbytes`` each."""
    return config.buffer_fragments * (config.rollout_config.fragment_length + 1) * obs_nbytes


def _iteration_sizes(config: OnlineConfig) -> Iterator[Problem]:
    train, rollout = config.train_config, config.rollout_config
    batches, accumulation = train.batches_per_iteration, train.gradient_accumulation
    if batches % accumulation:
        text = f"{batches} microbatches make no whole number of optimizer steps of {accumulation} microbatches each"
        lower = max(1, batches // accumulation) * accumulation
        fix = f"Use batches_per_iteration={lower}, or a gradient_accumulation that divides {batches}."
        yield Problem("train_config.batches_per_iteration", text, fix)
    if rollout.fragment_length % train.context_length:
        length = rollout.fragment_length
        text = f"a fragment of {length} steps is no whole number of sequences of {train.context_length} steps"
        fix = f"Use a context_length that divides {length}."
        yield Problem("train_config.context_length", text, fix)
    if config.policy_config.name in _RECURRENT_POLICIES and train.context_length == 1 and rollout.fragment_length > 1:
        text = f"{config.policy_config.name} is trained on single steps, through which no gradient reaches its memory"
        fix = f"Use a context_length above 1 that divides {rollout.fragment_length}."
        yield Problem("train_config.context_length", text, fix, "warning")
    needed, buffer = config.fragments_per_iteration, rollout.replay_buffer_config
    if needed > config.buffer_fragments:
        text = (
            f"one iteration needs {train.num_workers} ranks x {train.batch_size_per_gpu} x {batches} microbatches = "
            f"{needed} fragments, the buffer holds {buffer.max_chunks} chunks x {buffer.fragments_per_chunk} = "
            f"{config.buffer_fragments}"
        )
        chunks = -(-needed // buffer.fragments_per_chunk)
        yield Problem("rollout_config.replay_buffer_config.max_chunks", text, f"Use max_chunks={chunks} or more.")


def _parameter_groups(config: OnlineConfig) -> Iterator[Problem]:
    known = ("match", "learning_rate_factor", "weight_decay")
    for index, group in enumerate(config.train_config.parameter_groups):
        key, match = f"train_config.parameter_groups[{index}]", group.get("match")
        names = match if isinstance(match, list) else [match]
        if not names or not all(isinstance(name, str) and name for name in names):
            yield Problem(key, f"match must name parameters, {match!r} came", "Give a text, or a list of texts.")
        for name in set(group) - set(known):
            yield Problem(
                key, f"has no setting {name!r}{nearest_hint(str(name), known)}", f"Known: {', '.join(known)}."
            )
        for name in known[1:]:
            value = group.get(name, 0.0)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                yield Problem(key, f"{name} must be a number of 0 or more, {value!r} came", "Correct it or remove it.")


def _rollout_sizes(config: OnlineConfig) -> Iterator[Problem]:
    worker = config.rollout_config.worker_config
    if worker.batch_size is not None and worker.batch_size > worker.num_envs:
        text = (
            f"a worker of {worker.num_envs} environments can never collect {worker.batch_size} observations to act on"
        )
        fix = f"Use batch_size={worker.num_envs} or less, or null for the automatic choice."
        yield Problem("rollout_config.worker_config.batch_size", text, fix)
    left = config.fragments_per_iteration % config.num_envs
    if config.schedule == "alternate" and left:
        text = (
            f"{config.fragments_per_iteration} fragments per iteration are no multiple of the {config.num_envs} "
            f"environments, so {config.num_envs - left} fragments wait for the next iteration, one version older"
        )
        yield Problem("train_config.batches_per_iteration", text, "Make it a multiple for equal use.", "warning")


def _age_of_fragments(config: OnlineConfig) -> Iterator[Problem]:
    buffer = config.rollout_config.replay_buffer_config
    lead = 0 if config.schedule == "alternate" else config.lead
    if config.schedule == "overlap" and lead > buffer.max_staleness:
        text = f"workers may be {lead} iterations ahead, fragments over {buffer.max_staleness} versions old are dropped"
        yield Problem("lead", text, f"Use max_staleness={lead}, a smaller lead, or schedule=alternate.")
    oldest = buffer.max_reuse - 1 + lead
    if buffer.max_reuse > 1 and oldest > buffer.max_staleness:
        text = (
            f"using a fragment {buffer.max_reuse} times makes it up to {buffer.max_reuse} - 1 + {lead} (lead) = "
            f"{oldest} versions old, but fragments over {buffer.max_staleness} versions old are dropped"
        )
        fix = f"Use max_staleness={oldest}."
        yield Problem("rollout_config.replay_buffer_config.max_reuse", text, fix, "warning")


def _room_to_run_ahead(config: OnlineConfig) -> Iterator[Problem]:
    needed = (1 + config.lead) * config.fragments_per_iteration
    if config.schedule != "alternate" and config.fragments_per_iteration <= config.buffer_fragments < needed:
        text = (
            f"while {config.fragments_per_iteration} fragments are trained on, workers may be {config.lead} iterations "
            f"ahead: (1 + {config.lead}) x {config.fragments_per_iteration} = {needed} fragments, the buffer holds "
            f"{config.buffer_fragments}, so unread ones may be dropped"
        )
        chunks = -(-needed // config.rollout_config.replay_buffer_config.fragments_per_chunk)
        fix = f"Use max_chunks={chunks} or more, or schedule=alternate."
        yield Problem("rollout_config.replay_buffer_config.max_chunks", text, fix, "warning")


def _intervals(config: OnlineConfig) -> Iterator[Problem]:
    train = config.train_config
    if train.keep_interval % train.save_interval:
        text = f"checkpoints are written every {train.save_interval} iterations, so not at all multiples of this"
        fix = f"Use a multiple of {train.save_interval}, so that each of them is written."
        yield Problem("train_config.keep_interval", text, fix, "warning")
    if train.vf_warmup >= train.num_iterations:
        text = f"the policy is never trained: {train.vf_warmup} of {train.num_iterations} iterations are warm-up"
        yield Problem("train_config.vf_warmup", text, "Use fewer.", "warning")
    cloning = train.bc_config.paths
    if config.trainer_name == "PPOBCTrainer" and not cloning:
        text = "PPOBCTrainer learns from demonstrations beside PPO, and none are named"
        yield Problem("train_config.bc_config.paths", text, "Name files or folders, or use trainer_name=PPOTrainer.")
    if config.trainer_name == "PPOTrainer" and cloning:
        text = "PPOTrainer reads no demonstrations"
        yield Problem("train_config.bc_config.paths", text, "Use trainer_name=PPOBCTrainer.", "warning")
    skip, target = train.kl_skip, train.target_kl
    if skip is not None and target is not None and skip <= target:
        text = f"an iteration is undone above kl_skip = {skip:g}, so it never ends early above {target:g}"
        yield Problem("train_config.target_kl", text, "Use several times less than kl_skip.")


def _devices(config: OnlineConfig) -> Iterator[Problem]:
    for key in ("train_config.device", "rollout_config.worker_config.device"):
        name = config.get(key)
        if not _DEVICE.fullmatch(name):
            yield Problem(key, f"must be auto, cpu, cuda, cuda:<index> or mps, {name!r} came", "Use auto.")


def _environment(config: OnlineConfig) -> Iterator[Problem]:
    env = config.env_config
    for name, size in (("obs_size", env.obs_size), ("render_size", env.render_size)):
        if not all(1 <= side <= 4096 for side in size):
            text = f"must be a width and a height from 1 to 4096 pixels, {list(size)} came"
            yield Problem(f"env_config.{name}", text, "Use [128, 128], for example.")
    if env.simulator == "gymnasium" and not env.id:
        yield Problem(
            "env_config.id", "simulator gymnasium needs a registered id", "Use env_config.id=CartPole-v1, say."
        )
    if env.simulator == "minecraft" and env.python is None and importlib.util.find_spec("minestudio") is None:
        text = "simulator minecraft needs an interpreter that has MineStudio, which this one has not"
        fix = "Make one: python -m minestudio_nb.doctor --install-minecraft DIR; then env_config.python=DIR/bin/python."
        yield Problem("env_config.python", text, fix, "warning")
    if env.python is not None and config.rollout_config.worker_config.execution == "in_worker":
        text = f"in_worker runs environments in this interpreter, env_config.python names {env.python}"
        yield Problem("rollout_config.worker_config.execution", text, "Use auto or processes, or remove python.")
    if env.simulator != "gymnasium" and env.id:
        text = f"only simulator gymnasium takes an id, simulator {env.simulator} came with id {env.id!r}"
        yield Problem("env_config.id", text, "Use env_config.simulator=gymnasium, or remove the id.")


def _parts_of_the_world(config: OnlineConfig) -> Iterator[Problem]:
    env, default = config.env_config, EnvConfig()
    if env.simulator == "gymnasium":
        given = [name for name in _OF_A_WORLD if getattr(env, name) != getattr(default, name)]
        if given:
            text = f"{', '.join(given)} say how a Minecraft world is built, which a Gymnasium environment is not"
            yield Problem("env_config", text, "Remove them, they have no effect.", "warning")
        return
    known = [name for name in (*CALLBACK_NAMES, *OWN_CALLBACK_NAMES) if name not in NOT_FOR_SPECS]
    for index, callback in enumerate(env.callbacks):
        name = callback["name"]
        if not {name, f"{name}Callback"} & set(known):
            text = f"there is no callback {name!r}{nearest_hint(name, known)}"
            yield Problem(f"env_config.callbacks.{index}", text, "Correct the name.")


def _parts_of_one_world_only(config: OnlineConfig) -> Iterator[Problem]:
    env = config.env_config
    if env.simulator == "minecraft":
        given = [name for name in VOXEL_ARGUMENTS if name in env.kwargs]
        if given:
            text = f"{', '.join(given)} shape VoxelSim's worlds, the real game has no use for them"
            yield Problem(
                "env_config.kwargs", text, "They are left out; remove them to be rid of this note.", "warning"
            )
        for index, callback in enumerate(env.callbacks):
            if {callback["name"], f"{callback['name']}Callback"} & set(OWN_CALLBACK_NAMES):
                text = f"{callback['name']} is VoxelSim's own"
                fix = "Let a CommandsCallback do what it does, or use env_config.simulator=voxel."
                yield Problem(f"env_config.callbacks.{index}", text, fix)
    elif env.simulator == "voxel":
        for index, callback in enumerate(env.callbacks):
            if {callback["name"], f"{callback['name']}Callback"} & set(REAL_GAME_CALLBACKS):
                text = f"{callback['name']} needs the real game"
                fix = "Remove it, or use env_config.simulator=minecraft. To play by hand, use VoxelSim.play()."
                yield Problem(f"env_config.callbacks.{index}", text, fix)


def _registered_id(config: OnlineConfig) -> Iterator[Problem]:
    """Builds the environment of a Gymnasium id, which are cheap, where it will run in this interpreter."""
    env = config.env_config
    if env.simulator != "gymnasium" or not env.id or env.python:
        return
    import gymnasium

    try:
        made = gymnasium.make(env.id, disable_env_checker=True, **env.kwargs)
    except Exception as error:  # noqa: BLE001 - what a registered constructor raises is its own affair
        hint = nearest_hint(env.id, gymnasium.registry)
        text = f"{env.id} cannot be built: {type(error).__name__}: {str(error).rstrip('.')}{hint}"
        yield Problem("env_config.id", text, "Correct the id or env_config.kwargs, or install what it needs.")
        return
    yield from _observation_space(made.observation_space)
    yield from _action_space(made.action_space)
    made.close()


def _inert_settings(config: OnlineConfig) -> Iterator[Problem]:
    for spec in field_specs().values():
        if spec.inert and config.get(spec.key) != spec.default:
            yield Problem(spec.key, "is accepted for MineStudio's sake and has no effect", spec.inert, "warning")


def _gpus(config: OnlineConfig, resources: Resources) -> Iterator[Problem]:
    rollout, train = config.rollout_config, config.train_config
    asked = rollout.num_rollout_workers * rollout.num_gpus_per_worker + train.num_workers * train.num_gpus_per_worker
    if asked > resources.gpus:
        text = (
            f"{rollout.num_rollout_workers} rollout workers x {rollout.num_gpus_per_worker:g} + {train.num_workers} "
            f"training processes x {train.num_gpus_per_worker:g} = {asked:g} GPUs are asked for, {resources.gpus:g} "
            f"are here"
        )
        fix = (
            "Add the override scale=laptop, which uses none; or set num_gpus_per_worker in rollout_config and "
            "train_config; or connect to a cluster that has them."
        )
        yield Problem("train_config.num_gpus_per_worker", text, fix)
    for key in ("train_config.device", "rollout_config.worker_config.device"):
        if config.get(key).startswith("cuda") and resources.gpus == 0:
            yield Problem(key, f"{config.get(key)} is asked for, no GPU is here", "Use auto or cpu, or scale=laptop.")


def _cpus(config: OnlineConfig, resources: Resources) -> Iterator[Problem]:
    rollout, train = config.rollout_config, config.train_config
    acting = rollout.num_rollout_workers * rollout.num_cpus_per_worker
    sum_text = f"{rollout.num_rollout_workers} rollout workers x {rollout.num_cpus_per_worker:g} = {acting:g} CPUs"
    if acting > resources.cpus:
        text = f"{sum_text} are asked for, {resources.cpus:g} are here"
        fix = "Use fewer rollout_config.num_rollout_workers or a smaller num_cpus_per_worker."
        yield Problem("rollout_config.num_rollout_workers", text, fix)
        return
    both = acting + train.num_workers * train.num_threads
    if config.schedule == "overlap" and both > resources.cpus:
        text = (
            f"{sum_text}, and {train.num_workers} training processes x {train.num_threads} threads, together "
            f"{both:g}, want to run at once on {resources.cpus:g} CPUs"
        )
        yield Problem("schedule", text, "Use schedule=auto, which lets them take turns here.", "warning")


def _memory(config: OnlineConfig, resources: Resources, obs_nbytes: int | None, guessed: bool) -> Iterator[Problem]:
    size = obs_nbytes if obs_nbytes is not None else observation_bytes(config)
    if size is None:
        return
    needed, key = buffer_bytes(config, size), "rollout_config.replay_buffer_config.max_chunks"
    length = config.rollout_config.fragment_length
    text = (
        f"a full buffer takes {config.buffer_fragments} fragments x {length + 1} observations x {size} bytes = "
        f"{gigabytes(needed)}, "
    )
    if resources.memory_bytes and needed > resources.memory_bytes:
        fix = "Use fewer max_chunks, a smaller obs_size, or scale=laptop."
        severity: Literal["error", "warning"] = "warning" if guessed and obs_nbytes is None else "error"
        yield Problem(key, f"{text}{gigabytes(resources.memory_bytes)} of memory are free", fix, severity)
    elif resources.shm_bytes and needed > resources.shm_bytes:
        fix = "Use fewer max_chunks; or let Ray's object store spill to disk, which is slower."
        yield Problem(key, f"{text}{gigabytes(resources.shm_bytes)} of shared memory are free", fix, "warning")


def _policy_fits(config: OnlineConfig, spec: EnvSpec) -> Iterator[Problem]:
    images = [name for name, box in spec.obs.items() if box.is_image]
    name = config.policy_config.name
    if name in _IMAGE_POLICIES and not images:
        text = f"{name} looks at images, the observation has none: {', '.join(spec.obs.keys)}"
        yield Problem("policy_config.name", text, "Use policy_config.name=mlp or auto.")
    if name in _VECTOR_POLICIES and images:
        text = f"{name} takes vectors, the observation has images: {', '.join(images)}"
        yield Problem("policy_config.name", text, "Use policy_config.name=cnn or auto.")


def _observation_space(space: Any) -> Iterator[Problem]:
    from gymnasium import spaces

    unseen = [("observation", space)]
    while unseen:
        name, part = unseen.pop()
        if isinstance(part, spaces.Dict):
            unseen += [(str(inner), box) for inner, box in part.spaces.items()]
        elif not isinstance(part, spaces.Box):
            text = f"observation {name!r} is {part}; a Box, or a Dict of Boxes, is supported"
            yield Problem("env_config", text, "Wrap the environment, for example with gymnasium's FlattenObservation.")


def _action_space(space: Any) -> Iterator[Problem]:
    from gymnasium import spaces

    parts = dict(space.spaces) if isinstance(space, spaces.Dict) else {"action": space}
    for name, part in parts.items():
        is_float_box = isinstance(part, spaces.Box) and part.dtype is not None and part.dtype.kind == "f"
        if not is_float_box and not isinstance(part, (spaces.Discrete, spaces.MultiDiscrete)):
            text = (
                f"action {name!r} is {part}; Discrete, MultiDiscrete, Box of floats, or a Dict of these, is supported"
            )
            yield Problem("env_config", text, "Wrap the environment so that it takes one of a list of actions.")

"""Settings of the environment, the policy and the loggers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minestudio_nb.config.fields import Section, setting

__all__ = ["EnvConfig", "LoggerConfig", "PolicyConfig"]

ENVIRONMENTS_ARE_BUILT_WITH_IT = "Environments are built with it; start a new session to change it."
POLICY_IS_BUILT_WITH_IT = "The policy's weights have the shape that it gives; start a new session to change it."
EXPORTERS_ARE_OPENED_WITH_IT = "Exporters are opened once, when the session starts."


@dataclass(frozen=True, repr=False)
class EnvConfig(Section):
    """Which environment, and how. Names follow MinecraftSim's constructor."""

    simulator: str = setting(
        "voxel",
        "voxel: the embedded world; minecraft: the real game; gymnasium: any registered id.",
        choices=("voxel", "minecraft", "gymnasium"),
        why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT,
    )
    id: str | None = setting(
        None, "Registered id, for simulator gymnasium only.", why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT
    )
    kwargs: dict[str, Any] = setting(
        {}, "Further arguments of the environment's constructor.", why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT
    )
    task: str = setting(
        "default", "Name under which episode statistics are kept.", why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT
    )
    python: str | None = setting(
        None,
        "Python interpreter that runs the environments, when their packages live elsewhere. None: this one.",
        why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT,
    )
    action_type: str = setting(
        "agent",
        "agent: 8641 buttons and 121 camera bins; env: 19 buttons and two camera angles.",
        choices=("agent", "env"),
        why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT,
    )
    obs_size: tuple[int, int] = setting(
        (128, 128),
        "Width and height of the observed image.",
        unit="pixels",
        why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT,
    )
    render_size: tuple[int, int] = setting(
        (640, 360), "Width and height of frames for people.", unit="pixels", why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT
    )
    biome: str | None = setting(
        None,
        "Preferred biome to start in. None: any; with VoxelSim a forest.",
        why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT,
    )
    inventory: dict[str, Any] = setting({}, "Items at the start, by slot.", why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT)
    num_empty_frames: int = setting(
        20,
        "Idle ticks after a reset, while the world loads.",
        unit="ticks",
        ge=0,
        why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT,
    )
    camera_config: dict[str, Any] = setting(
        {}, "Bins of the camera action; empty: MineStudio's.", why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT
    )
    callbacks: list[dict[str, Any]] = setting(
        [],
        "Callbacks in order, each {name, args}: rewards, commands, time limits and so on.",
        components=True,
        why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT,
    )
    wrappers: list[dict[str, Any]] = setting(
        [],
        "Wrappers from the inside out, each {name, args}: action subset, frame skip and so on.",
        components=True,
        why_not_live=ENVIRONMENTS_ARE_BUILT_WITH_IT,
    )


@dataclass(frozen=True, repr=False)
class PolicyConfig(Section):
    """Which of the package's policies, where no policy generator is given."""

    name: str = setting(
        "auto",
        "Policy by name (mlp, cnn, mlp_gru, cnn_gru, vpt); auto: cnn for images, mlp for vectors.",
        why_not_live=POLICY_IS_BUILT_WITH_IT,
    )
    args: dict[str, Any] = setting({}, "Arguments of the policy's constructor.", why_not_live=POLICY_IS_BUILT_WITH_IT)


@dataclass(frozen=True, repr=False)
class LoggerConfig(Section):
    """Where numbers go besides metrics.jsonl, which is always written."""

    project: str = setting(
        "minestudio_nb", "Project name for Weights & Biases.", why_not_live=EXPORTERS_ARE_OPENED_WITH_IT
    )
    name: str | None = setting(None, "Name of the run. None: the session's.", why_not_live=EXPORTERS_ARE_OPENED_WITH_IT)
    tensorboard: bool = setting(False, "Write TensorBoard event files.", why_not_live=EXPORTERS_ARE_OPENED_WITH_IT)
    wandb: str = setting(
        "disabled",
        "Send numbers to Weights & Biases, or write them for a later upload.",
        choices=("disabled", "offline", "online"),
        why_not_live=EXPORTERS_ARE_OPENED_WITH_IT,
    )

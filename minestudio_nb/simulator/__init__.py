"""VoxelSim: a Minecraft-like world that needs no download, behind MineStudio's MinecraftSim interface."""

from __future__ import annotations

from minestudio_nb.simulator.cache_folder import use_cache

use_cache()  # before any kernel is defined

# ruff: noqa: E402

from minestudio_nb.simulator.actions import CameraConfig
from minestudio_nb.simulator.replay import EpisodeTrace, render_trace
from minestudio_nb.simulator.sim import VoxelSim
from minestudio_nb.simulator.tasks import build_env, make_chop, make_hunt, make_task, task_config
from minestudio_nb.simulator.vector import VoxelVectorEnv

__all__ = [
    "CameraConfig",
    "EpisodeTrace",
    "VoxelSim",
    "VoxelVectorEnv",
    "build_env",
    "make_chop",
    "make_hunt",
    "make_task",
    "render_trace",
    "task_config",
]

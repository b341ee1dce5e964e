"""Callbacks: small objects that set up, change and judge a simulation. Names and arguments are MineStudio's."""

from __future__ import annotations

from minestudio_nb.simulator.callbacks.actions import CommandsCallback, MaskActionsCallback, SummonMobsCallback
from minestudio_nb.simulator.callbacks.base import MinecraftCallback
from minestudio_nb.simulator.callbacks.compose import Compose
from minestudio_nb.simulator.callbacks.elsewhere import (
    DemonstrationCallback,
    PlayCallback,
    PlaySegmentCallback,
    PointCallback,
)
from minestudio_nb.simulator.callbacks.loading import REGISTRY, from_spec, load_callbacks_from_config, read_task_file
from minestudio_nb.simulator.callbacks.observing import PrevActionCallback, SpeedTestCallback, TaskCallback
from minestudio_nb.simulator.callbacks.outcome import (
    GateRewardsCallback,
    JudgeResetCallback,
    RewardsCallback,
    VoxelsCallback,
)
from minestudio_nb.simulator.callbacks.portal import PortalFrameCallback
from minestudio_nb.simulator.callbacks.record import RecordCallback
from minestudio_nb.simulator.callbacks.resets import FastResetCallback, HardResetCallback, InitInventoryCallback

__all__ = [
    "REGISTRY",
    "CommandsCallback",
    "Compose",
    "DemonstrationCallback",
    "FastResetCallback",
    "GateRewardsCallback",
    "HardResetCallback",
    "InitInventoryCallback",
    "JudgeResetCallback",
    "MaskActionsCallback",
    "MinecraftCallback",
    "PlayCallback",
    "PlaySegmentCallback",
    "PointCallback",
    "PortalFrameCallback",
    "PrevActionCallback",
    "RecordCallback",
    "RewardsCallback",
    "SpeedTestCallback",
    "SummonMobsCallback",
    "TaskCallback",
    "VoxelsCallback",
    "from_spec",
    "load_callbacks_from_config",
    "read_task_file",
]

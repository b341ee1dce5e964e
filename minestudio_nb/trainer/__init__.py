"""Trainers: the loop around an iteration, PPO, checkpoints, and how ranks agree."""

from minestudio_nb.trainer.base import BaseTrainer, TrainResult
from minestudio_nb.trainer.checkpoints import (
    LATEST,
    Checkpoint,
    CheckpointStore,
    Outline,
    branch_off,
    copy_checkpoint,
    find_checkpoint,
    outline,
)
from minestudio_nb.trainer.collective import Collective, SingleProcess, TorchCollective
from minestudio_nb.trainer.ppo import PPOTrainer
from minestudio_nb.trainer.registry import get_trainer_class, register_trainer, trainer_names

__all__ = [
    "LATEST",
    "BaseTrainer",
    "Checkpoint",
    "CheckpointStore",
    "Collective",
    "Outline",
    "PPOTrainer",
    "SingleProcess",
    "TorchCollective",
    "TrainResult",
    "branch_off",
    "copy_checkpoint",
    "find_checkpoint",
    "get_trainer_class",
    "outline",
    "register_trainer",
    "trainer_names",
]

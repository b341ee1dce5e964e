"""Trainers: the loop around an iteration, PPO, checkpoints, and how ranks agree."""

from minestudio_nb.trainer.base import BaseTrainer, Now, Verdict
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
from minestudio_nb.trainer.data import IterationData, Microbatch
from minestudio_nb.trainer.demonstrations import record_demonstrations
from minestudio_nb.trainer.loop import TrainingLoop, TrainResult
from minestudio_nb.trainer.ppo import PPOTrainer
from minestudio_nb.trainer.ppobc import PPOBCTrainer
from minestudio_nb.trainer.registry import get_trainer_class, register_trainer

__all__ = [
    "LATEST",
    "BaseTrainer",
    "Checkpoint",
    "CheckpointStore",
    "Collective",
    "IterationData",
    "Microbatch",
    "Now",
    "Outline",
    "PPOBCTrainer",
    "PPOTrainer",
    "SingleProcess",
    "TorchCollective",
    "TrainResult",
    "TrainingLoop",
    "Verdict",
    "branch_off",
    "copy_checkpoint",
    "find_checkpoint",
    "get_trainer_class",
    "outline",
    "record_demonstrations",
    "register_trainer",
]

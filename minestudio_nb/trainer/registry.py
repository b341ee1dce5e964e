"""Trainer classes by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minestudio_nb.config.generators import load_generator
from minestudio_nb.config.trainers import SHIPPED, get_registered, problem_with_name, register_trainer
from minestudio_nb.contracts.generators import GeneratorSpec
from minestudio_nb.errors import ConfigError

if TYPE_CHECKING:
    from minestudio_nb.trainer.loop import TrainingLoop

__all__ = ["SHIPPED", "get_trainer_class", "register_trainer"]


def get_trainer_class(name: str, recipe: GeneratorSpec | None = None) -> type[TrainingLoop]:
    """The trainer that ``trainer_name`` means: by its ``recipe`` where it has one, else as registered here.

    Raises:
        ConfigError: there is none of that name; the message says which there are. Or it is no trainer.
    """
    from minestudio_nb.trainer.loop import TrainingLoop

    cls = get_registered(name) if recipe is None else load_generator(recipe)
    if cls is None:
        raise ConfigError(f"{problem_with_name(name)}.")
    if not (isinstance(cls, type) and issubclass(cls, TrainingLoop)):
        raise ConfigError(
            f"trainer_name: {name!r} is no trainer, but {cls!r}. Derive it from minestudio_nb.trainer.BaseTrainer."
        )
    return cls

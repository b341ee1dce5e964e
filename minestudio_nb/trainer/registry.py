"""Trainer classes by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.errors import ConfigError

if TYPE_CHECKING:
    from minestudio_nb.trainer.base import BaseTrainer

__all__ = ["get_trainer_class", "register_trainer", "trainer_names"]

_TRAINERS: dict[str, type[BaseTrainer]] = {}


def register_trainer(cls: type[BaseTrainer]) -> type[BaseTrainer]:
    """Class decorator: makes ``trainer_name: <class name>`` build it. A name can be taken once only."""
    if cls.__name__ in _TRAINERS and _TRAINERS[cls.__name__] is not cls:
        raise ConfigError(f"There is a trainer named {cls.__name__!r} already; choose another class name.")
    _TRAINERS[cls.__name__] = cls
    return cls


def trainer_names() -> tuple[str, ...]:
    """Names that ``trainer_name`` takes."""
    return tuple(sorted(_TRAINERS))


def get_trainer_class(name: str) -> type[BaseTrainer]:
    """The trainer registered as ``name``. Raises ConfigError with the names that are."""
    if name not in _TRAINERS:
        hint = nearest_hint(name, trainer_names())
        raise ConfigError(f"There is no trainer named {name!r}{hint}. Registered: {', '.join(trainer_names())}.")
    return _TRAINERS[name]

"""Trainer classes by name, without importing any: what ``trainer_name`` may say, and how a class travels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from minestudio_nb.config.generators import generator_from_callable
from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.errors import ConfigError

if TYPE_CHECKING:
    from minestudio_nb.config.load import LoadedConfig

__all__ = ["SHIPPED", "get_registered", "problem_with_name", "register_trainer", "travelling"]

SHIPPED = ("PPOBCTrainer", "PPOTrainer")
"""Those of :mod:`minestudio_nb.trainer`, which is imported only where training happens."""

_REGISTERED: dict[str, type] = {}
T = TypeVar("T", bound=type)


def register_trainer(cls: T) -> T:
    """Class decorator: makes ``trainer_name: <class name>`` train with it. A later class of that name replaces it.

    Raises:
        ConfigError: the name is that of a shipped trainer.
    """
    name = cls.__name__
    if name in SHIPPED and not cls.__module__.startswith("minestudio_nb."):
        raise ConfigError(f"There is a trainer named {name!r} already; choose another class name.")
    _REGISTERED[name] = cls
    return cls


def get_registered(name: str) -> type | None:
    """The class registered as ``name`` in this process, or None."""
    return _REGISTERED.get(name)


def problem_with_name(name: str) -> str | None:
    """Why ``trainer_name`` cannot be ``name``, or None."""
    known = sorted({*SHIPPED, *_REGISTERED})
    if name in known:
        return None
    return (
        f"There is no trainer named {name!r}{nearest_hint(name, known)}. Known: {', '.join(known)}. One of your own is "
        "a class with the decorator minestudio_nb.trainer.register_trainer, defined before the configuration is "
        "loaded, or in the configuration's Python module"
    )


def travelling(loaded: LoadedConfig) -> LoadedConfig:
    """``loaded`` with a recipe for its trainer's class, where other processes would not know it by its name.

    Raises:
        ConfigError: the class, or what it closes over, cannot be pickled.
    """
    name = loaded.config.trainer_name
    cls = _REGISTERED.get(name)
    if loaded.trainer is not None or name in SHIPPED or cls is None:
        return loaded
    return replace(loaded, trainer=generator_from_callable(cls))

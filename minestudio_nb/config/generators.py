"""Make recipes for environments and policies, and follow them in another process.

Standard library only when a recipe is followed (cloudpickle loads itself), because an environment's process may run in
another interpreter.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from minestudio_nb.config.minestudio_compat import execute_module, registered
from minestudio_nb.contracts.generators import GeneratorSpec
from minestudio_nb.errors import ConfigError

__all__ = ["build_generator", "call_with_known", "generator_from_callable", "load_generator"]


def generator_from_callable(function: Callable[..., Any], simulator: str = "voxel") -> GeneratorSpec:
    """A recipe from a function, or a class, which may be defined in a notebook cell and close over picklable values.

    Raises:
        ConfigError: the function or what it closes over cannot be pickled.
    """
    import cloudpickle

    name = getattr(function, "__name__", type(function).__name__)
    try:
        payload = cloudpickle.dumps(function)
    except Exception as error:
        text = f"{name} cannot travel to another process: {type(error).__name__}: {error}"
        raise ConfigError(f"{text}. Build such objects inside the function instead of closing over them.") from error
    return GeneratorSpec(kind="callable", function=name, payload=payload, simulator=simulator)


def build_generator(spec: GeneratorSpec, from_config: Callable[..., Any] | None = None, **arguments: Any) -> Any:
    """Follow a recipe: the environment or policy that it describes, built in this process.

    ``from_config(config, **arguments)`` builds from a plain section; the packages that own environments and policies
    give it. A generator function receives those of ``arguments`` (such as ``seed``) that it takes by name.

    Raises:
        ConfigError: the recipe is a plain section and no ``from_config`` came, or the module cannot be executed.
    """
    if spec.kind == "module":
        module, generator = _from_module(spec)
        with registered(module):
            return call_with_known(generator, arguments)
    if spec.kind == "callable":
        return call_with_known(load_generator(spec), arguments)
    if from_config is None:
        raise ConfigError(
            f"The {spec.describe()} is built from its section; pass from_config, the builder of its package."
        )
    return from_config(spec.config, **arguments)


def load_generator(spec: GeneratorSpec) -> Any:
    """The function or class itself that a recipe of kind ``module`` or ``callable`` is about, not called.

    Raises:
        ConfigError: the module cannot be executed, or does not define it.
    """
    return pickle.loads(spec.payload) if spec.kind == "callable" else _from_module(spec)[1]


def _from_module(spec: GeneratorSpec) -> tuple[ModuleType, Any]:
    module = execute_module(spec.source, spec.path, spec.simulator)
    generator = getattr(module, spec.function, None)
    if not callable(generator):
        raise ConfigError(f"{spec.path} has no function {spec.function}(); a configuration module defines one.")
    return module, generator


def call_with_known(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call ``function`` with those ``arguments`` that its signature names, or with all where it takes ``**kwargs``."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtins and extension types have no signature
        return function()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return function(**arguments)
    named = {p.name for p in parameters if p.kind is not inspect.Parameter.POSITIONAL_ONLY}
    return function(**{name: value for name, value in arguments.items() if name in named})

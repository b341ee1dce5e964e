"""Build environments from what a configuration names: the embedded world, a gymnasium id, or a user's function."""

from __future__ import annotations

import importlib.util
import inspect
import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np

from minestudio_nb.config.generators import build_generator, call_with_known
from minestudio_nb.contracts.generators import GeneratorSpec
from minestudio_nb.errors import ConfigError, EnvStartError

__all__ = ["EnvFactory", "EnvKind", "env_seed", "prepare_simulator"]

EnvKind = Literal["voxel", "gymnasium", "minecraft", "function"]

HELD_OUT_KEY = 1
TRAINING_KEY = 0


def env_seed(seed: int, worker: int, index: int, held_out: bool = False, restart: int = 0, life: int = 0) -> int:
    """The seed of environment ``index`` of a worker after ``restart`` restarts, below 2**31.

    ``life`` tells the workers apart that had the same index one after another. Held-out seeds are odd and those of
    training even, so that the two never meet.
    """
    key = HELD_OUT_KEY if held_out else TRAINING_KEY
    place = (key, worker, index, restart, *([life] * (life > 0)))
    words = np.random.SeedSequence(seed, spawn_key=place).generate_state(1)
    return int(words[0] >> 2) * 2 + key


def prepare_simulator(source: GeneratorSpec | Mapping[str, Any] | Callable[..., Any]) -> None:
    """Compiles the embedded simulator, if ``source`` uses it and this machine has not compiled it yet.

    Takes a minute then, and next to nothing ever after. Done before environments start, so that their deadline
    need not allow for it.
    """
    if isinstance(source, GeneratorSpec):
        uses_it = source.simulator == "voxel" if source.kind == "module" else EnvFactory(source).kind == "voxel"
    else:
        uses_it = EnvFactory(source).kind == "voxel"
    if uses_it:
        from minestudio_nb.simulator.compile_cache import warm_up

        warm_up()


@dataclass(frozen=True)
class EnvFactory:
    """Builds the environments of one rollout worker. ``factory(i)`` is the i-th; it pickles, so processes can call it.

    ``source`` is a recipe from the configuration, an ``env_config`` mapping, or a function that takes those of
    ``index``, ``seed`` and ``held_out`` that it names, or just one positional argument, the index.
    """

    source: GeneratorSpec | Mapping[str, Any] | Callable[..., Any]
    seed: int = 0
    worker: int = 0
    held_out: bool = False
    python: str | None = None
    """Interpreter for environments in processes of their own; None is this one."""
    life: int = 0
    """Of the worker: one that replaces another must not repeat its episodes."""

    def __call__(self, index: int) -> gymnasium.Env[Any, Any]:
        """Environment ``index``.

        Raises:
            EnvStartError: what was built is no environment.
            ConfigError: the configuration does not say which environment.
        """
        seed = env_seed(self.seed, self.worker, index, self.held_out)
        if isinstance(self.source, GeneratorSpec):
            arguments = {"seed": seed, "index": index, "held_out": self.held_out}
            env = build_generator(self.source, from_config=_from_config, **arguments)
        elif isinstance(self.source, Mapping):
            env = _from_config(self.source, seed=seed, held_out=self.held_out)
        else:
            env = _call(self.source, index, seed, self.held_out)
        for name in ("reset", "step", "observation_space", "action_space"):
            if not hasattr(env, name):
                raise EnvStartError(
                    f"{self.describe()} built {type(env).__name__}, which has no {name!r}; a gymnasium.Env is needed."
                )
        return env  # type: ignore[no-any-return]

    def seed_of(self, index: int, restart: int = 0) -> int:
        """The seed that environment ``index`` is first reset with after ``restart`` restarts.

        It is always built with that of the first: the same world, but not the same crash again.
        """
        return env_seed(self.seed, self.worker, index, self.held_out, restart, self.life)

    @property
    def kind(self) -> EnvKind:
        """Whose code it is: known kinds may be stepped inside the worker, ``"function"`` only after a look."""
        source = self.source
        if isinstance(source, GeneratorSpec):
            if source.kind != "env_config":
                return "minecraft" if source.simulator == "minecraft" else "function"
            source = source.config
        if isinstance(source, Mapping):
            simulator: EnvKind = source.get("simulator", "voxel")
            return simulator
        return "function"

    @property
    def task(self) -> str:
        """Name under which episode statistics are kept, unless the environment's ``info["task"]`` says otherwise."""
        source = self.source.config if isinstance(self.source, GeneratorSpec) else self.source
        return str(source.get("task", "default")) if isinstance(source, Mapping) else "default"

    def describe(self) -> str:
        """One short phrase for messages."""
        if isinstance(self.source, GeneratorSpec):
            return self.source.describe()
        if isinstance(self.source, Mapping):
            return GeneratorSpec(kind="env_config", config=self.source).describe()
        return f"{getattr(self.source, '__name__', type(self.source).__name__)}()"

    def dumps(self) -> bytes:
        """This factory as bytes that ``pickle.loads`` understands in another process.

        Raises:
            ConfigError: the function closes over something that cannot be pickled.
        """
        import cloudpickle

        try:
            return bytes(cloudpickle.dumps(self))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{self.describe()} cannot travel to an environment's process: {type(error).__name__}: {error}. "
                "Build such objects inside the function instead of closing over them."
            ) from error


def _call(function: Callable[..., Any], index: int, seed: int, held_out: bool) -> Any:
    known = {"index": index, "seed": seed, "held_out": held_out}
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return function(index)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.default is p.empty and p.kind in positional]
    if len(required) == 1 and required[0].name not in known:
        return function(index)
    return call_with_known(function, known)


def _from_config(config: Mapping[str, Any], *, seed: int, held_out: bool = False, **_: Any) -> Any:
    simulator = config.get("simulator", "voxel")
    if simulator == "gymnasium":
        return _gymnasium(config)
    if simulator == "voxel":
        from minestudio_nb import simulator as voxel

        return call_with_known(voxel.build_env, {"env_config": config, "seed": seed, "held_out": held_out})
    if importlib.util.find_spec("minestudio") is None:
        raise ConfigError(
            f"env_config.simulator={simulator} needs MineStudio, and {sys.executable} has none. Make an interpreter "
            "that has it: python -m minestudio_nb.doctor --install-minecraft DIR, then env_config.python="
            "DIR/bin/python. Or use env_config.simulator=voxel, which understands the same settings."
        )
    from minestudio_nb.environments.minecraft import sim

    return sim.build_env(config, seed)


def _gymnasium(config: Mapping[str, Any]) -> Any:
    name = config.get("id")
    if not name:
        raise ConfigError("env_config.simulator=gymnasium needs env_config.id, for example CartPole-v1.")
    # The checker wrapper would warn about, and slow down, what the rollout checks itself.
    try:
        return gymnasium.make(name, disable_env_checker=True, **dict(config.get("kwargs") or {}))
    except gymnasium.error.UnregisteredEnv as error:
        raise EnvStartError(
            f"{str(error).rstrip('.')} in this process. An id that a notebook or script registers is known there only: "
            "give its module with it, as in package.module:Name-v0, or build the environment in an env_generator."
        ) from error

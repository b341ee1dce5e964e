"""Environments that go wrong at random, in every way: what a learner must still reach its goal with.

A fault is drawn for each step from a generator of the process's own, so that no life repeats the one before it; each
leaves a file ``<kind>-<pid>-<time>`` in ``directory``, from where a test counts them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from minestudio_nb.environments.build import EnvFactory
from tests.support.breaking import break_process

CRASHES = ("raise",)
LIES = ("nan_reward", "nan_observation", "wrong_shape", "wrong_dtype", "odd_flag")
DEATHS = ("exit", "kill")
STALLS = ("stop",)
PEACE = "peace"
"""A file beside the directory with which no fault happens any more."""


@dataclass(frozen=True)
class HostileFactory:
    """Makes what ``env_config`` describes hostile: ``rates`` are the chances of each kind of fault in one step."""

    directory: str
    rates: Mapping[str, float]
    env_config: Mapping[str, Any]

    def __call__(self, index: int) -> gymnasium.Env[Any, Any]:
        return HostileEnv(EnvFactory(self.env_config)(index), Path(self.directory), self.rates)


class HostileEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """See the module."""

    def __init__(self, env: gymnasium.Env[Any, Any], directory: Path, rates: Mapping[str, float]) -> None:
        super().__init__(env)
        self.directory, self.kinds = directory, list(rates)
        self.chances = np.array([*rates.values(), 1.0 - sum(rates.values())])
        self.dice = np.random.default_rng()

    def fault(self) -> str:
        """The fault of this step, mostly none; those that end a process do so here."""
        number = int(self.dice.choice(len(self.chances), p=self.chances))
        if number == len(self.kinds) or (self.directory.parent / PEACE).exists():
            return ""
        kind = self.kinds[number]
        (self.directory / f"{kind}-{os.getpid()}-{time.monotonic_ns()}").touch()
        if kind in CRASHES:
            raise RuntimeError(f"broken on purpose: {kind}")
        break_process(kind)
        return kind

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        kind = self.fault()
        if kind == "nan_reward":
            reward = float("nan")
        elif kind == "odd_flag":
            terminated = np.array([terminated, terminated])  # type: ignore[assignment]
        elif kind:
            observation = spoiled(observation, kind)
        return observation, reward, terminated, truncated, info


def spoiled(observation: Any, kind: str) -> Any:
    """An observation that is not what the space promises."""
    if isinstance(observation, Mapping):
        key = next(iter(observation))
        return {**observation, key: spoiled(observation[key], kind)}
    if kind == "wrong_shape":
        return observation[:-1]
    if kind == "wrong_dtype":
        return observation.astype("U")
    return np.full(observation.shape, np.nan, np.float32)

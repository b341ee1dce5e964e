"""The automatic choice between environments in the worker and in processes is measured, and told with its numbers."""

from __future__ import annotations

import threading
import time
from typing import Any

import gymnasium
import pytest

from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.environments.build import EnvFactory
from minestudio_nb.errors import EnvStartError
from minestudio_nb.rollout.execution import choose_execution, start_pool
from minestudio_nb.rollout.pool import Deadlines, RestartLimits
from tests.support.counting_env import CountingEnv
from tests.support.rollout_doubles import rollout_config


class Sleeper(CountingEnv):
    """Waits as an environment does that talks with a game."""

    def __init__(self) -> None:
        super().__init__(0)

    def step(self, action: Any) -> Any:
        time.sleep(0.01)
        return super().step(action)


def decide(source: Any, execution: str = "auto", python: str | None = None) -> tuple[str, Event]:
    config = rollout_config(execution, num_envs=2)
    factory = EnvFactory(source, python=python)
    pool, events = start_pool(factory, config, 3, 60.0, RestartLimits(), threading.Event())
    pool.close()
    (event,) = events
    assert event.kind == "execution"
    assert event.data["execution"] == pool.kind
    return pool.kind, event


def test_a_cheap_known_environment_runs_in_the_worker() -> None:
    kind, event = decide({"simulator": "gymnasium", "id": "CartPole-v1"})
    assert kind == "in_worker"
    assert 0 < event.data["step_wall_seconds"] < 0.1
    assert "of which" in event.message


def test_an_environment_that_waits_runs_in_processes() -> None:
    name = "Sleeper-v0"
    gymnasium.register(name, entry_point=Sleeper, disable_env_checker=True)
    try:
        factory = EnvFactory({"simulator": "gymnasium", "id": name})
        # Child processes do not know what this one registered, so only the choice is asked for.
        execution, reason, cost, slots = choose_execution(factory, Deadlines(), RestartLimits(), 60.0, None)
    finally:
        gymnasium.registry.pop(name)
    assert (execution, slots) == ("processes", [])
    assert "waiting for one can overlap" in reason
    assert cost is not None
    assert cost.wall_seconds >= 0.01


def test_a_users_own_environment_runs_in_processes_and_a_known_one_from_a_function_does_not() -> None:
    kind, event = decide(CountingEnv)
    assert kind == "processes"
    assert event.data["trusted"] is False
    kind, event = decide(lambda: gymnasium.make("CartPole-v1"))
    assert kind == "in_worker"
    assert event.data["trusted"] is True


def test_the_users_word_counts() -> None:
    assert decide(CountingEnv, "in_worker")[0] == "in_worker"
    assert decide({"simulator": "gymnasium", "id": "CartPole-v1"}, "processes")[0] == "processes"


def test_an_environment_that_cannot_be_built_says_why() -> None:
    with pytest.raises(EnvStartError, match=r"gymnasium environment Nowhere-v0\) did not start"):
        decide({"simulator": "gymnasium", "id": "Nowhere-v0"})
    with pytest.raises(EnvStartError, match=r"needs MineStudio, and .* has none.*--install-minecraft"):
        decide({"simulator": "minecraft"})

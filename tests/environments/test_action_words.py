"""What people are told of an action."""

from __future__ import annotations

import enum
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from minestudio_nb.environments.action_words import action_words, key_words
from minestudio_nb.environments.spaces import action_spec
from minestudio_nb.simulator.actions import ActionMapper, env_action_space
from minestudio_nb.wrappers import ActionSubset, FrameSkip


class Sim(gymnasium.Env[Any, Any]):
    """The part of a simulation that wrappers and words look at."""

    def __init__(self, action_type: str) -> None:
        self.mapper = ActionMapper()
        self.action_space = env_action_space() if action_type == "env" else self.mapper.action_space()

    def step_repeat(self, action: Any, ticks: int) -> Any: ...

    def agent_action_to_env_action(self, action: Any) -> dict[str, Any]:
        return self.mapper.to_env(action)


def words(env: Any, action: list[int]) -> str:
    spec = action_spec(env.action_space)
    return action_words(env, spec, spec.decode(np.array(action)))


def test_a_subset_of_keys_tells_its_choice() -> None:
    choices = [{"attack": 1, "forward": 1}, {"camera": [-15.0, 0.0]}, {}, {"hotbar.3": 1, "camera": (2.5, 10)}]
    env = FrameSkip(ActionSubset(Sim("env"), choices), 4)
    told = [words(env, [choice]) for choice in range(4)]
    assert told == ["forward + attack", "look up 15°", "no key", "hotbar 3 + look down 2.5° and right 10°"]


def test_buttons_and_camera_are_decoded() -> None:
    env = Sim("agent")
    action = env.mapper.from_env({"jump": 1, "forward": 1, "camera": [0.0, -10.0]})
    assert words(env, [int(action["buttons"][0]), int(action["camera"][0])]) == "forward + jump + look left 10°"
    noop = env.mapper.noop()
    assert words(env, [int(noop["buttons"][0]), int(noop["camera"][0])]) == "no key"


def test_arrays_of_one_are_keys_too() -> None:
    assert key_words({"use": np.array([1]), "drop": np.array([0]), "camera": np.array([[0.0, 1.0]])}) == (
        "use + look right 1°"
    )


class Plain(gymnasium.Env[Any, Any]):
    action_space = spaces.Discrete(3, start=1)


class Atari(Plain):
    action_space = spaces.Discrete(3)

    def get_action_meanings(self) -> list[str]:
        return ["NOOP", "FIRE", "UP"]


class Grid(Plain):
    action_space = spaces.Discrete(2)

    class Moves(enum.IntEnum):
        turn_left = 0
        go_on = 1

    actions = Moves


class Swap(gymnasium.ActionWrapper[Any, Any, Any]):
    def action(self, action: int) -> int:
        return 1 - action


class Named(gymnasium.Wrapper[Any, Any, Any, Any]):
    def describe_action(self, action: int) -> str:
        return f"choice {action}"


class Pole(gymnasium.Env[Any, Any]):
    action_space = spaces.Box(-2.0, 2.0, (1,), np.float32)


class Both(gymnasium.Env[Any, Any]):
    action_space = spaces.Dict({"move": spaces.Discrete(4), "turn": spaces.MultiDiscrete([3, 3])})


@pytest.mark.parametrize(
    ("env", "action", "expected"),
    [
        (Atari(), [1], "fire"),
        (Swap(Grid()), [0], "go on"),
        (Named(Plain()), [1], "choice 2"),
        (Plain(), [1], "action 2"),
        (Pole(), [0.25], "action 0.5"),
        (Both(), [3, 0, 2], "move 3, turn.0 0, turn.1 2"),
    ],
)
def test_other_environments_are_asked_in_their_own_way(env: Any, action: list[int], expected: str) -> None:
    assert words(env, action) == expected

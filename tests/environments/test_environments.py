"""Spaces become specs, configurations become environments, and the environment's process stays light."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from minestudio_nb.config.generators import generator_from_callable
from minestudio_nb.contracts.generators import GeneratorSpec
from minestudio_nb.contracts.specs import ActionLeaf, BoxSpec
from minestudio_nb.environments.build import EnvFactory, env_seed
from minestudio_nb.environments.slot import RECORD, EnvArrays, EnvSlot
from minestudio_nb.environments.spaces import action_spec, flatten_observation, obs_spec, spec_of
from minestudio_nb.errors import ConfigError, EnvCrashError, EnvStartError, UnsupportedSpaceError
from tests.support.counting_env import ENV, EPISODE, STEP, CountingEnv, episode_length, is_truncated

ROOT = Path(__file__).resolve().parents[2]


def test_a_box_is_one_key_and_float64_becomes_float32() -> None:
    spec = obs_spec(spaces.Box(-1, 1, (3,), np.float64))
    assert spec.boxes == (("obs", BoxSpec((3,), "float32")),)
    assert not spec.is_dict
    assert obs_spec(spaces.Box(0, 255, (4, 5, 3), np.uint8))["obs"] == BoxSpec((4, 5, 3), "uint8")
    assert obs_spec(spaces.Box(0, 255, (20,), np.uint8))["obs"] == BoxSpec((20,), "float32")


def test_nested_observations_are_joined_by_dots() -> None:
    space = spaces.Dict(
        {"a": spaces.Dict({"b": spaces.Box(0, 1, (2,)), "c": spaces.Box(0, 1, ())}), "d": spaces.Box(0, 1, (1,))}
    )
    spec = obs_spec(space)
    assert spec.keys == ("a.b", "a.c", "d")
    sample = space.sample()
    flat = flatten_observation(sample, spec)
    assert flat["a.b"] is sample["a"]["b"]
    assert flat["a.c"].shape == ()


def test_action_spaces_and_back() -> None:
    agent = spaces.Dict({"buttons": spaces.MultiDiscrete([8641]), "camera": spaces.MultiDiscrete([121])})
    spec = action_spec(agent)
    assert spec.nvec == (8641, 121)
    assert spec.is_dict
    native = spec.decode(np.array([17, 60]))
    assert agent.contains(native)
    assert spec.encode(native).tolist() == [17, 60]
    shifted = action_spec(spaces.Discrete(3, start=-1))
    assert shifted.leaves == (ActionLeaf("action", "discrete", (3,), (), -1),)
    assert shifted.decode(np.array([0])) == -1
    assert action_spec(spaces.MultiDiscrete([[2, 3], [4, 5]])).decode(np.arange(4)).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("read", "space", "name"),
    [
        (obs_spec, spaces.Discrete(3), "'obs' is a Discrete"),
        (obs_spec, spaces.Dict({"a": spaces.Text(4)}), "'a' is a Text"),
        (obs_spec, spaces.Dict({}), "empty Dict"),
        (action_spec, spaces.MultiBinary(2), "'action' is a MultiBinary"),
        (action_spec, spaces.Dict({"camera": spaces.Box(0, 255, (2,), np.uint8)}), "'camera' is a Box of uint8"),
        (action_spec, spaces.Dict({"a": spaces.Dict({"b": spaces.Discrete(2)})}), "'a' is a Dict inside"),
        (action_spec, spaces.Dict({}), "empty Dict"),
        (action_spec, spaces.MultiDiscrete([3, 3], start=[1, 1]), "does not start at 0"),
    ],
)
def test_other_spaces_are_refused_by_name(read: Any, space: Any, name: str) -> None:
    with pytest.raises(UnsupportedSpaceError, match=name):
        read(space)


def test_environments_from_configurations() -> None:
    factory = EnvFactory({"simulator": "gymnasium", "id": "CartPole-v1", "task": "pole", "kwargs": {}})
    env = factory(0)
    assert spec_of(env, factory.task).task == "pole"
    assert factory.kind == "gymnasium"
    recipe = GeneratorSpec(kind="env_config", config={"simulator": "gymnasium", "id": "CartPole-v1"})
    assert EnvFactory(recipe).kind == "gymnasium"
    assert isinstance(EnvFactory(recipe)(0), gymnasium.Env)
    with pytest.raises(ConfigError, match="needs MineStudio, and"):
        EnvFactory({"simulator": "minecraft"})(0)
    with pytest.raises(ConfigError, match="CartPole-v1"):
        EnvFactory({"simulator": "gymnasium"})(0)
    with pytest.raises(EnvStartError, match=r"doesn.t exist in this process.*env_generator"):
        EnvFactory({"simulator": "gymnasium", "id": "Registered-elsewhere-v0"})(0)


def test_functions_get_what_they_ask_for() -> None:
    seen: list[Any] = []

    def positional(number: int) -> Any:
        seen.append(number)
        return CountingEnv(number)

    def named(seed: int, held_out: bool = True) -> Any:
        seen.append((seed, held_out))
        return CountingEnv(0)

    def nothing() -> Any:
        return CountingEnv(0)

    assert EnvFactory(positional)(3).index == 3
    EnvFactory(named, seed=5, worker=1)(2)
    assert seen == [3, (env_seed(5, 1, 2), False)]
    assert EnvFactory(nothing).kind == "function"
    assert isinstance(EnvFactory(nothing)(0), CountingEnv)
    offset = 40
    cell = generator_from_callable(lambda index: CountingEnv(index + offset))
    assert pickle.loads(EnvFactory(cell).dumps())(2).index == 42
    with pytest.raises(EnvStartError, match="no 'reset'"):
        EnvFactory(lambda: 3)(0)


def test_a_factory_that_cannot_travel_says_so() -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(ConfigError, match="cannot travel to an environment's process"):
        EnvFactory(lambda index: lock).dumps()


def test_seeds_are_all_different_and_held_out_ones_never_meet_the_others() -> None:
    places = [(seed, worker, index) for seed in range(3) for worker in range(8) for index in range(16)]
    training = {env_seed(*place) for place in places}
    held_out = {env_seed(*place, held_out=True) for place in places}
    restarted = {env_seed(*place, restart=1) for place in places}
    assert len(training) == len(held_out) == len(places)
    assert not training & held_out
    assert not training & restarted
    assert max(training | held_out) < 2**31


def slot_of(env_class: Any, index: int = 1, **options: Any) -> tuple[EnvSlot, EnvArrays]:
    slot = EnvSlot(env_class, index, 7, **options)
    spec = slot.build()
    arrays = EnvArrays.over(bytearray(EnvArrays.nbytes(spec, 3)), spec, 3)
    slot.attach(arrays)
    return slot, arrays


def test_a_slot_writes_its_row_only_and_begins_the_next_episode_by_itself() -> None:
    slot, arrays = slot_of(CountingEnv)
    slot.reset()
    for number in range(1, episode_length(1, 0) + 1):
        arrays.actions[1] = (2, 1)
        end = slot.step()
        assert arrays.rewards[1] == 1 + (number - 1) + 32 + 128
        assert (end is not None) == (number == episode_length(1, 0))
    assert is_truncated(1, 0)
    assert arrays.truncated.tolist() == [False, True, False]
    assert arrays.final_obs["count"][1].tolist()[2:] == [0, episode_length(1, 0)]
    assert arrays.obs["count"][1, [ENV, EPISODE, STEP]].tolist() == [1, 1, 0]
    assert end is not None
    assert (end.task, end.extras) == ("task1", {"episode": 0.0})
    assert not arrays.obs["count"][[0, 2]].any()
    assert arrays.record.tolist() == [RECORD.OFF] * 3


class ObservingEnv(CountingEnv):
    """Writes its observation itself, and returns none that could be used instead."""

    def observe_into(self, out: Any) -> None:
        for key, value in self.observation().items():
            out[key][...] = value

    def reset(self, **options: Any) -> Any:
        super().reset(**options)
        return None, {}


def test_an_environment_may_write_its_observation_itself() -> None:
    slot, arrays = slot_of(ObservingEnv)
    slot.reset()
    arrays.actions[1] = 0
    slot.step()
    assert arrays.obs["count"][1, STEP] == 1


class WrongShape(CountingEnv):
    def observation(self) -> Any:
        return {**super().observation(), "count": np.zeros(1, np.float32)}


def test_an_observation_of_another_shape_is_not_broadcast() -> None:
    slot, _ = slot_of(WrongShape)
    with pytest.raises(EnvCrashError, match=r"'count' has shape \(1,\).* says \(4,\)"):
        slot.reset()


def test_measuring_a_step_tells_waiting_from_computing() -> None:
    computing = EnvSlot(CountingEnv, 0, 0)
    computing.build()
    cost = computing.measure(20)
    assert not cost.is_waiting
    assert not cost.trusted
    waiting = EnvSlot(SleepingEnv, 0, 0)
    waiting.build()
    cost = waiting.measure(20)
    assert cost.is_waiting
    assert cost.wall_seconds >= 0.005


class SleepingEnv(CountingEnv):
    def step(self, action: Any) -> Any:
        import time

        time.sleep(0.005)
        return super().step(action)


@pytest.mark.parametrize("heavy", ["torch", "ray"])
def test_what_an_environment_process_imports_is_light(heavy: str) -> None:
    """With the configuration's recipe and a gymnasium environment, as in a real child."""
    code = (
        "import sys\n"
        "import minestudio_nb.environments.entry\n"
        "from minestudio_nb.environments.build import EnvFactory\n"
        "EnvFactory({'simulator': 'gymnasium', 'id': 'CartPole-v1'})(0).reset()\n"
        f"sys.exit({heavy!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0

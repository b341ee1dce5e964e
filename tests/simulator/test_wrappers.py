"""Wrappers: what they change, and that skipped frames cost no rendering."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import VoxelSim, build_env, make_chop
from minestudio_nb.simulator.callbacks import JudgeResetCallback, MinecraftCallback, RewardsCallback
from minestudio_nb.simulator.state import P_PITCH, P_YAW, S_TICK
from minestudio_nb.wrappers import ActionSubset, FrameSkip, PitchClamp, wrap


def make(*callbacks: MinecraftCallback, **options: Any) -> VoxelSim:
    options = {"obs_size": (16, 16), "world_size": 32, "pool_size": 2, "action_type": "env", **options}
    return VoxelSim(callbacks=callbacks, **options)


class PerTick(MinecraftCallback):
    """Does nothing, but must be called for every tick, which forbids batches."""

    def after_step(self, sim: Any, obs: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Any:
        return obs, reward, terminated, truncated, info


def dig_reward() -> RewardsCallback:
    names = ["dirt", "grass_block", "grass", "oak_leaves", "stone", "dandelion", "poppy", "sand", "oak_log"]
    return RewardsCallback([
        {"event": "mine_block", "objects": names, "reward": 1.0, "identity": "dig", "max_reward_times": 50}
    ])  # fmt: skip


def count_renders(sim: VoxelSim) -> list[int]:
    """Puts a counter in front of the simulation's eyes."""
    seen: list[int] = []
    render = sim._view.render

    def counting(engine: Any, out: Any) -> None:
        seen.append(engine.serial)
        render(engine, out)

    sim._view.render = counting  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("extra", [[], [PerTick()]], ids=["batched", "tick by tick"])
def test_frame_skip_renders_once_and_turns_once(extra: list[MinecraftCallback]) -> None:
    sim = make(JudgeResetCallback(100), *extra)
    env = FrameSkip(sim, 4)
    env.reset()
    renders = count_renders(sim)
    yaw, tick = sim.engine.state.player[P_YAW], sim.engine.state.status[S_TICK]
    env.step({"camera": [0.0, 5.0]})
    turned = (sim.engine.state.player[P_YAW] - yaw + 180.0) % 360.0 - 180.0
    assert turned == pytest.approx(5.0)
    assert sim.engine.state.status[S_TICK] - tick == 4
    assert len(renders) == 1


def test_batches_and_single_ticks_come_to_the_same() -> None:
    rng = np.random.default_rng(3)
    choices = [{"attack": 1, "camera": [4.0, 0.0]}, {"forward": 1, "attack": 1}, {"attack": 1}, {"jump": 1}]
    results = []
    plan = rng.integers(len(choices), size=150).tolist()
    for extra in ([], [PerTick()]):
        env = FrameSkip(make(dig_reward(), JudgeResetCallback(90), *extra, inventory={0: "diamond_shovel"}), 4)
        env.reset(seed=5)
        trail = []
        for index in plan:
            _, reward, terminated, truncated, _ = env.step(choices[index])
            sim = env.unwrapped
            trail.append((reward, terminated, truncated, sim.engine.state.player.tobytes()))
            if terminated or truncated:
                env.reset()
        results.append(trail)
    assert results[0] == results[1]
    assert sum(step[0] for step in results[0]) >= 5, "the comparison needs rewards to compare"
    assert [i for i, step in enumerate(results[0]) if step[2]] == [22, 45, 68, 91, 114, 137], "90 = 22 * 4 + 2 ticks"


def test_frame_skip_stops_at_the_end_with_a_fresh_image() -> None:
    for extra in ([], [PerTick()]):
        sim = make(JudgeResetCallback(6), *extra)
        env = FrameSkip(sim, 4)
        env.reset()
        renders = count_renders(sim)
        tick = sim.engine.state.status[S_TICK]
        assert env.step({"forward": 1})[3] is False
        obs, _, _, truncated, _ = env.step({"forward": 1, "camera": [0.0, 30.0]})
        assert truncated
        assert sim.engine.state.status[S_TICK] - tick == 6
        assert renders[-1] == sim.engine.serial, "the last image shows the last state"
        np.testing.assert_array_equal(obs["image"], sim.look()[0]["image"])


def test_pitch_clamp_keeps_the_head_in_range() -> None:
    env = PitchClamp(make(), -50.0, 60.0)
    env.reset()
    pitches = []
    for turn in (-40.0, -40.0, 5.0, 90.0, 90.0, -10.0):
        env.step({"camera": [turn, 0.0]})
        pitches.append(float(env.unwrapped.engine.state.player[P_PITCH]))
    assert pitches == pytest.approx([-40.0, -50.0, -45.0, 45.0, 60.0, 50.0])
    action = {"camera": [-200.0, 1.0]}
    env.step(action)
    assert action == {"camera": [-200.0, 1.0]}
    env.step({"forward": 1})


def test_action_subset_offers_a_discrete_choice() -> None:
    env = ActionSubset(make(), [{"camera": [0.0, 10.0]}, {"camera": [0.0, -25.0]}])
    assert env.action_space.n == 2
    env.reset()
    yaw = env.unwrapped.engine.state.player[P_YAW]
    env.step(np.int64(0))
    env.step(1)
    turned = (env.unwrapped.engine.state.player[P_YAW] - yaw + 180.0) % 360.0 - 180.0
    assert turned == pytest.approx(-15.0)


def test_wrong_wrappers_are_refused() -> None:
    with pytest.raises(SimulatorError, match="'forward'"):
        ActionSubset(make(), [{"forwad": 1}])
    with pytest.raises(SimulatorError, match="at least one"):
        ActionSubset(make(), [])
    with pytest.raises(SimulatorError, match="action_type='env'"):
        PitchClamp(make(action_type="agent"))
    with pytest.raises(SimulatorError, match="low"):
        PitchClamp(make(), 10.0, 20.0)
    with pytest.raises(SimulatorError, match="at least 1"):
        FrameSkip(make(), 0)
    with pytest.raises(SimulatorError, match="CartPoleEnv"):
        FrameSkip(gymnasium.make("CartPole-v1").unwrapped, 2)
    with pytest.raises(SimulatorError, match="ActionSubset, FrameSkip, PitchClamp"):
        wrap(make(), {"name": "FrameStack"})
    with pytest.raises(SimulatorError, match="arguments"):
        wrap(make(), {"name": "FrameSkip", "args": {"skip": 2}})


def test_a_config_is_all_that_an_environment_needs() -> None:
    config = {
        "simulator": "voxel", "task": "stroll", "action_type": "agent", "obs_size": [20, 16], "biome": "plains",
        "inventory": {}, "camera_config": {}, "callbacks": [{"name": "JudgeReset", "args": {"time_limit": 3}}],
        "wrappers": [], "kwargs": {"world_size": 32}, "id": None, "python": None, "num_empty_frames": 0,
    }  # fmt: skip
    env = build_env(config, seed=3)
    env.reset()
    assert env.observation_space["image"].shape == (16, 20, 3)
    assert [env.step(env.unwrapped.noop_action())[3] for _ in range(3)] == [False, False, True]
    with pytest.raises(SimulatorError, match="'callbacks'"):
        build_env({**config, "callback": []})
    with pytest.raises(SimulatorError, match="'world_size'"):
        build_env({**config, "kwargs": {"worldsize": 32}})


def test_wrappers_pass_on_states_and_observations() -> None:
    env = make_chop(seed=5)
    env.reset()
    for action in range(9):
        env.step(action)
    state = env.get_state()
    after = [env.step(action)[0]["image"] for action in (6, 0, 2)]
    env.set_state(state)
    again = [env.step(action)[0]["image"] for action in (6, 0, 2)]
    np.testing.assert_array_equal(after, again)
    out = {"image": np.zeros((64, 64, 3), np.uint8)}
    env.observe_into(out)
    np.testing.assert_array_equal(out["image"], again[-1])

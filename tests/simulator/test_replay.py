"""Recorded episodes live through the same states again."""

from __future__ import annotations

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import EpisodeTrace, VoxelSim, make_hunt, render_trace
from minestudio_nb.simulator.actions import TICK_FIELDS
from minestudio_nb.simulator.replay import replay
from minestudio_nb.simulator.state import P_HEALTH, SimState


def equal(first: SimState, second: SimState) -> bool:
    arrays = all(getattr(first, name).tobytes() == getattr(second, name).tobytes() for name in SimState.ARRAYS)
    return arrays and first.world.blocks.tobytes() == second.world.blocks.tobytes()


def record(decisions: int = 60) -> tuple[EpisodeTrace, SimState, list[bytes]]:
    env = make_hunt(seed=6)
    env.reset()
    env.start_trace()
    rng = np.random.default_rng(2)
    players = []
    for _ in range(decisions):
        env.step(int(rng.integers(9)))
        players.append(env.unwrapped.engine.state.player.tobytes())
    return env.finish_trace(), env.unwrapped.engine.state, players


def test_a_replay_is_bit_equal_also_after_being_stored() -> None:
    trace, final, players = record()
    assert len(trace) == 240
    data = trace.to_bytes()
    assert len(data) < 20_000
    for version in (trace, EpisodeTrace.from_bytes(data)):
        seen = []
        for engine in replay(version):
            seen.append(engine.state.player.tobytes())
        assert len(seen) == 241
        assert seen[4::4] == players
        assert equal(engine.state, final)


def test_commands_in_the_middle_of_an_episode_are_replayed() -> None:
    sim = VoxelSim(obs_size=(16, 16), world_size=32, pool_size=2)
    sim.reset()
    sim.start_trace()
    for command in ("/give @p dirt 5", "/teleportbiome @a desert 1 2 3", "/summon cow ~2 ~ ~2", "/weather rain"):
        sim.env.execute_cmd(command)
        sim.step(sim.env_action_to_agent_action({"forward": 1, "jump": 1, "camera": [0.0, 3.0]}))
    trace = EpisodeTrace.from_bytes(sim.finish_trace().to_bytes())
    assert [at for at, _, _ in trace.commands] == [0, 2, 4, 6]
    for engine in replay(trace):
        last = engine.state
    assert equal(last, sim.engine.state)
    assert engine.choice == sim.engine.choice


def test_frames_come_at_any_size() -> None:
    trace, _, _ = record(decisions=5)
    frames = list(render_trace(trace, (96, 54), every=10))
    assert len(frames) == 3
    assert all(frame.shape == (54, 96, 3) and frame.dtype == np.uint8 for frame in frames)
    assert frames[0] is not frames[1]


def test_the_replayed_image_is_the_one_that_the_agent_saw() -> None:
    env = make_hunt(seed=6)
    first, _ = env.reset()
    env.start_trace()
    last = first
    for action in (0, 3, 4, 6):
        last, *_ = env.step(action)
    frames = list(render_trace(env.finish_trace(), (64, 64)))
    np.testing.assert_array_equal(frames[0], first["image"])
    np.testing.assert_array_equal(frames[-1], last["image"])


def test_a_replay_ends_with_the_players_death() -> None:
    sim = VoxelSim(obs_size=(16, 16), world_size=32, pool_size=1)
    sim.reset()
    sim.engine.state.player[P_HEALTH] = 1.0
    sim.start_trace()
    sim.engine.state.player[1] += 20.0
    trace = sim.finish_trace()
    trace.initial["player"][1] += 20.0
    trace.ticks, trace.actions = np.array([200], np.int32), np.zeros((1, TICK_FIELDS), np.int8)
    trace.cameras = np.zeros((1, 2))
    states = [engine.dead for engine in replay(trace)]
    assert 20 < len(states) < 60
    assert states[-1]


def test_recording_needs_a_beginning_in_the_same_episode() -> None:
    sim = VoxelSim(obs_size=(16, 16), world_size=32, pool_size=1)
    with pytest.raises(SimulatorError, match="reset"):
        sim.start_trace()
    sim.reset()
    sim.start_trace()
    sim.reset()
    with pytest.raises(SimulatorError, match="same episode"):
        sim.finish_trace()


def test_bytes_that_are_no_trace_are_refused() -> None:
    with pytest.raises(SimulatorError, match="not a recorded episode"):
        EpisodeTrace.from_bytes(b"nonsense")
    trace, _, _ = record(decisions=1)
    with pytest.raises(SimulatorError, match="not a recorded episode"):
        EpisodeTrace.from_bytes(trace.to_bytes()[:300])

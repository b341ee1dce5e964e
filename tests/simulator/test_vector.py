"""Many simulations in one process: the streams of single ones, one pool of worlds, gymnasium's forms."""

import gc

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import VoxelSim, VoxelVectorEnv, build_env, task_config, terrain

TICKS = 24


def _config(**overrides):
    config = task_config("chop_tree", ticks=TICKS, frame_skip=4, size=32)
    return {**config, "kwargs": {"world_size": 64, "pool_size": 2}, **overrides}


def _same(one, other):
    return all(np.array_equal(one[key], other[key]) for key in one) and one.keys() == other.keys()


@pytest.mark.parametrize("threads", [1, 2])
def test_streams_are_those_of_single_simulations(threads):
    number, config = 3, _config()
    vector = VoxelVectorEnv(config, number, seed=5, threads=threads)
    shared = {**config, "kwargs": {**config["kwargs"], "world_seed": 10}}
    singles = [build_env(shared, 5 + i) for i in range(number)]
    observations, _ = vector.reset(seed=100)
    expected = [env.reset(seed=100 + i)[0] for i, env in enumerate(singles)]
    ended = [False] * number
    rng = np.random.default_rng(0)
    for _ in range(16):
        assert all(_same({k: v[i] for k, v in observations.items()}, expected[i]) for i in range(number))
        actions = rng.integers(9, size=number)
        observations, rewards, terminated, truncated, infos = vector.step(actions)
        for i, env in enumerate(singles):
            if ended[i]:
                expected[i], info = env.reset()
                result = (0.0, False, False)
            else:
                expected[i], *result, info = env.step(actions[i])
            assert (rewards[i], terminated[i], truncated[i]) == tuple(result)
            assert infos["player_pos"]["x"][i] == info["player_pos"]["x"]
            ended[i] = result[1] or result[2]
    vector.close()


def test_worlds_are_shared_and_cannot_be_written():
    vector = VoxelVectorEnv(_config(), 3, seed=77)
    vector.reset()
    engines = [env.unwrapped.engine for env in vector.envs]
    pools = {id(engine._pool(engine.choice)) for engine in engines}
    assert len(pools) == 1
    pristine = engines[0].pristine(engines[0].choice)
    with pytest.raises(ValueError, match="read-only"):
        pristine.blocks[0, 0, 0] = 1
    assert not any(np.shares_memory(engine.state.world.blocks, pristine.blocks) for engine in engines)
    other = VoxelSim(
        obs_size=(32, 32), world_seed=154, preferred_spawn_biome="dense_forest", world_size=64, pool_size=2
    )
    assert other.engine._pool(other.engine.choice) is engines[0]._pool(engines[0].choice)
    key = next(key for key in terrain._pools if key[0] == 154)
    vector.close()
    del vector, engines, other, pristine
    gc.collect()
    assert key not in terrain._pools


def test_the_step_after_the_end_resets():
    vector = VoxelVectorEnv(_config(), 2, seed=1)
    assert vector.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    vector.reset(seed=0)
    noop = np.zeros(2, np.int64)
    for _ in range(TICKS // 4):
        last, _, terminated, truncated, _ = vector.step(noop)
    assert truncated.all() and not terminated.any()
    first, rewards, terminated, truncated, infos = vector.step(noop)
    assert not truncated.any() and not rewards.any()
    assert infos["custom"]["play_one_minute"].tolist() == [20, 20]  # the idle ticks of a reset
    assert not np.array_equal(first["image"], last["image"])


def test_the_same_step_resets_and_keeps_the_last_observation():
    plain, vector = (
        VoxelVectorEnv(_config(), 2, seed=1),
        VoxelVectorEnv(_config(), 2, seed=1, autoreset_mode=AutoresetMode.SAME_STEP),
    )
    for env in (plain, vector):
        env.reset(seed=0)
    noop = np.zeros(2, np.int64)
    for _ in range(TICKS // 4):
        last, *_ = plain.step(noop)
        now, _, _, truncated, infos = vector.step(noop)
        assert ("final_obs" in infos) == bool(truncated.any())
    first, *_ = plain.step(noop)
    assert _same(now, first)
    assert infos["_final_obs"].all()
    for i in range(2):
        assert np.array_equal(infos["final_obs"][i]["image"], last["image"][i])
    assert infos["final_info"]["health"].tolist() == [20.0, 20.0]


def test_without_autoreset_the_caller_resets():
    vector = VoxelVectorEnv(_config(), 2, seed=1, autoreset_mode="Disabled")
    vector.reset(seed=0)
    noop = np.zeros(2, np.int64)
    for _ in range(TICKS // 4):
        last, *_ = vector.step(noop)
    with pytest.raises(SimulatorError, match=r"environments \[0, 1\] ended"):
        vector.step(noop)
    some, infos = vector.reset(options={"reset_mask": np.array([False, True])})
    assert np.array_equal(some["image"][0], last["image"][0])
    assert infos["_health"].tolist() == [False, True]
    with pytest.raises(SimulatorError, match=r"environments \[0\] ended"):
        vector.step(noop)


def test_infos_are_computed_when_they_are_read():
    vector = VoxelVectorEnv(_config(), 2, seed=1)
    _, infos = vector.reset()
    assert dict.__len__(infos) == 0
    assert "health" in infos and "_health" in infos and "nonsense" not in infos and infos.get("nonsense") is None
    assert infos["health"].tolist() == [20.0, 20.0] and infos["_health"].all()
    with pytest.raises(KeyError, match="nonsense"):
        infos["nonsense"]
    assert {"inventory", "_inventory", "player_pos"} <= set(infos.keys())


def test_observations_are_new_or_the_same_array():
    noop = np.zeros(2, np.int64)
    kept = VoxelVectorEnv(_config(), 2, copy=False)
    kept.reset()
    assert kept.step(noop)[0]["image"] is kept.step(noop)[0]["image"]
    fresh = VoxelVectorEnv(_config(), 2)
    fresh.reset()
    assert fresh.step(noop)[0]["image"] is not fresh.step(noop)[0]["image"]


def test_states_are_taken_back():
    one, other = (VoxelVectorEnv(_config(), 2, seed=1) for _ in range(2))
    one.reset(seed=3)
    one.step(np.array([1, 2]))
    other.reset(seed=4)
    other.set_state(one.get_state())
    for _ in range(TICKS // 4 + 1):
        results = [env.step(np.array([1, 5])) for env in (one, other)]
        assert _same(results[0][0], results[1][0])
    with pytest.raises(SimulatorError, match="2 environments"):
        VoxelVectorEnv(_config(), 1).set_state(one.get_state())


def test_errors_say_what_is_wrong():
    with pytest.raises(SimulatorError, match="at least 1"):
        VoxelVectorEnv(_config(), 0)
    vector = VoxelVectorEnv(_config(), 2, threads=2)
    with pytest.raises(SimulatorError, match="reset"):
        vector.step(np.zeros(2, np.int64))
    with pytest.raises(SimulatorError, match="one seed"):
        vector.reset(seed=[1])
    with pytest.raises(SimulatorError, match="reset_mask"):
        vector.reset(options={"reset_mask": np.zeros(2, np.bool_)})
    vector.reset()
    with pytest.raises(SimulatorError, match="choices 0 to 8; got 99"):
        vector.step(np.array([0, 99]))
    vector.close()

"""VoxelSim as a gymnasium environment with MinecraftSim's interface: contract, determinism, states, invariants."""

from __future__ import annotations

import copy
import hashlib
import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import CameraConfig, VoxelSim
from minestudio_nb.simulator.blocks import STACK_SIZE
from minestudio_nb.simulator.bodies import box_is_free
from minestudio_nb.simulator.callbacks import JudgeResetCallback, RewardsCallback, SummonMobsCallback
from minestudio_nb.simulator.info import StepInfo
from minestudio_nb.simulator.state import P_X, P_Y, P_YAW, P_Z
from minestudio_nb.simulator.vitals import HALF_WIDTH, SNEAK_HEIGHT

SMALL: dict[str, Any] = {"obs_size": (32, 24), "render_size": (64, 36), "world_size": 32, "pool_size": 2}


def make(**options: Any) -> VoxelSim:
    return VoxelSim(**{**SMALL, **options})


def state_hash(sim: VoxelSim) -> str:
    digest = hashlib.sha256()
    state = sim.engine.get_state()
    for key in sorted(state):
        value = state[key]
        digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return digest.hexdigest()


@pytest.mark.filterwarnings("ignore:.*(render|symmetric|normalized|flat|casting).*:UserWarning")
@pytest.mark.parametrize("action_type", ["agent", "env"])
def test_gymnasiums_own_checker_accepts_it(action_type: Any) -> None:
    check_env(make(action_type=action_type), skip_render_check=True)


def test_observation_is_height_by_width_as_the_space_says() -> None:
    sim = make()
    obs, _ = sim.reset()
    assert obs["image"].shape == (24, 32, 3) == sim.observation_space["image"].shape
    assert obs["image"].dtype == np.uint8
    assert sim.render().shape == (36, 64, 3)
    noop = sim.noop_action()
    assert sim.observation_space.contains(sim.step(noop)[0])


def test_mine_studios_defaults() -> None:
    sim = VoxelSim()
    assert sim.observation_space["image"].shape == (224, 224, 3)
    assert sim.action_space["buttons"].nvec.tolist() == [8641]
    assert sim.action_space["camera"].nvec.tolist() == [121]
    assert (sim.render_size, sim.num_empty_frames, sim.seed) == ((640, 360), 20, 0)
    assert set(sim.env.action_space.no_op()) == set(VoxelSim(action_type="env").action_space.spaces)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"obs_sise": (64, 64)}, "nearest is 'obs_size'"),
        ({"action_type": "human"}, "'agent' or 'env'"),
        ({"obs_size": (64,)}, "width, height"),
        ({"obs_size": (4, 64)}, "16 to 4096"),
        ({"preferred_spawn_biome": "plain"}, "plains"),
        ({"inventory": {"0": "diamond_ax"}}, "diamond_axe"),
        ({"num_empty_frames": -1}, "negative"),
        ({"camera_config": {"camera_bins": 3}}, "CameraConfig"),
        ({"world_size": 100}, "power of two"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulatorError, match=message):
        make(**options).reset()


def test_a_step_before_the_first_reset_is_refused() -> None:
    with pytest.raises(SimulatorError, match="reset"):
        make().step({"buttons": 0, "camera": 60})


def test_the_callers_action_is_left_alone() -> None:
    for sim in (make(), make(action_type="env")):
        sim.reset()
        action = sim.action_space.sample()
        kept = copy.deepcopy(action)
        sim.step(action)
        assert action.keys() == kept.keys()
        assert all(np.array_equal(action[key], kept[key]) for key in kept)


def play(sim: VoxelSim, steps: int, seed: int = 7) -> list[str]:
    rng = np.random.default_rng(seed)
    hashes = []
    for _ in range(steps):
        action = {"buttons": rng.integers(8641, size=1), "camera": rng.integers(121, size=1)}
        _, _, terminated, truncated, _ = sim.step(action)
        if terminated or truncated:
            sim.reset()
        hashes.append(state_hash(sim))
    return hashes


def with_mobs(**options: Any) -> VoxelSim:
    mobs = [{"name": name, "number": 3, "range_x": [-6, 6], "range_z": [-6, 6]} for name in ("cow", "pig", "zombie")]
    reward = {
        "event": "mine_block",
        "objects": ["dirt", "grass_block"],
        "reward": 1.0,
        "identity": "dig",
        "max_reward_times": 9,
    }
    return make(callbacks=[SummonMobsCallback(mobs), RewardsCallback([reward]), JudgeResetCallback(90)], **options)


def test_same_seed_and_actions_give_the_same_states_and_another_seed_others() -> None:
    first, second, other = with_mobs(seed=3), with_mobs(seed=3), with_mobs(seed=4)
    for sim in (first, second, other):
        sim.reset()
    assert play(first, 200) == play(second, 200)
    assert state_hash(first) != state_hash(other)
    first.reset(seed=11)
    second.reset(seed=11)
    assert state_hash(first) == state_hash(second)
    second.reset()
    assert state_hash(first) != state_hash(second), "without a seed the random numbers go on"


def test_a_state_brings_back_everything_even_in_another_simulation() -> None:
    sim = with_mobs(seed=5)
    sim.reset()
    play(sim, 60)
    saved = pickle.loads(pickle.dumps(sim.get_state()))
    image = sim.look()[0]["image"].copy()
    after = play(sim, 120, seed=9)
    rewards = sim.callbacks[1].get_state()
    for again in (sim, with_mobs(seed=99)):
        again.set_state(saved)
        np.testing.assert_array_equal(again.look()[0]["image"], image)
        assert play(again, 120, seed=9) == after
        assert again.callbacks[1].get_state() == rewards
    assert len(pickle.dumps(saved)) < 60_000


def test_states_of_other_simulations_are_refused() -> None:
    sim = make()
    sim.reset()
    state = sim.get_state()
    with pytest.raises(SimulatorError, match="callbacks"):
        with_mobs().set_state(state)
    with pytest.raises(SimulatorError, match="no longer generates"):
        sim.set_state({**state, "engine": {**state["engine"], "checksum": 1}})
    with pytest.raises(SimulatorError, match="format"):
        sim.set_state({**state, "engine": {**state["engine"], "format": 0}})


@pytest.mark.parametrize("biome", ["forest", "mountains", "desert"])
def test_random_play_keeps_the_invariants(biome: str) -> None:
    sim = with_mobs(seed=1, preferred_spawn_biome=biome, inventory={0: {"type": "dirt", "quantity": 64}})
    sim.reset()
    rng = np.random.default_rng(0)
    state = sim.engine.state
    for _ in range(1200):
        buttons = int(rng.integers(8640)) if rng.random() < 0.7 else 288 + 4
        result = sim.step({"buttons": buttons, "camera": int(rng.integers(121))})
        state = sim.engine.state
        x, y, z = state.player[[P_X, P_Y, P_Z]]
        assert np.isfinite(state.player).all()
        assert np.isfinite(state.mobs).all()
        assert box_is_free(state.world.blocks, x, y, z, HALF_WIDTH, SNEAK_HEIGHT), "the player is inside a block"
        items, counts, _ = state.inventory.T
        assert (counts >= 0).all()
        assert (counts <= STACK_SIZE[items]).all()
        assert ((items == 0) == (counts == 0)).all()
        assert -180.0 <= state.player[P_YAW] < 180.0
        if result[2] or result[3]:
            sim.reset()
    before = state.world.copy()
    before.rebuild()
    np.testing.assert_array_equal(before.masks, state.world.masks)
    np.testing.assert_array_equal(before.tops, state.world.tops)


def test_players_start_on_solid_ground_in_the_open_world() -> None:
    sim = make(preferred_spawn_biome="forest", num_empty_frames=0)
    places = set()
    for _ in range(30):
        sim.reset()
        state = sim.engine.state
        x, y, z = state.player[[P_X, P_Y, P_Z]]
        assert box_is_free(state.world.blocks, x, y, z, HALF_WIDTH, 1.8)
        assert not box_is_free(state.world.blocks, x, y - 0.1, z, HALF_WIDTH, 1.8)
        places.add((x, z))
    assert len(places) > 20


def test_observe_into_writes_the_current_image() -> None:
    sim = make()
    obs, _ = sim.reset()
    out = {"image": np.zeros((24, 32, 3), np.uint8)}
    sim.observe_into(out)
    np.testing.assert_array_equal(out["image"], obs["image"])
    kept = obs["image"].copy()
    later = sim.step({"buttons": 1, "camera": 0})[0]
    sim.observe_into(out)
    np.testing.assert_array_equal(out["image"], later["image"])
    np.testing.assert_array_equal(obs["image"], kept, err_msg="an earlier observation must not change")


def test_info_has_mine_studios_keys_and_forms() -> None:
    sim = make(inventory={"0": {"type": "diamond_axe", "quantity": 1}})
    _, info = sim.reset()
    expected = (
        "inventory equipped_items player_pos isGuiOpen pickup break_item craft_item mine_block damage_dealt kill_entity"
    )
    expected += " use_item custom location_stats health food_level"
    assert set(expected.split()) <= set(info)
    assert info["inventory"][0] == {"type": "diamond_axe", "quantity": 1}
    assert info["equipped_items"]["mainhand"]["type"] == "diamond_axe"
    assert set(info["player_pos"]) == {"x", "y", "z", "pitch", "yaw"}
    assert (info["isGuiOpen"], info["health"], info["food_level"]) == (False, 20.0, 20.0)
    assert info["custom"] == {"play_one_minute": 20}
    assert "pov" in info
    assert info["pov"].shape == (36, 64, 3)


def test_info_stays_true_after_later_steps_and_pov_says_when_it_is_too_late() -> None:
    sim = make()
    _, info = sim.reset()
    x = float(sim.engine.state.player[P_X])
    for _ in range(5):
        sim.step(sim.env_action_to_agent_action({"forward": 1, "camera": [0.0, 0.0]}))
    assert info["player_pos"]["x"] == x
    with pytest.raises(SimulatorError, match="before the next step"):
        info["pov"]


def test_info_behaves_as_a_dict() -> None:
    sim = make()
    _, info = sim.reset()
    assert isinstance(info, dict)
    assert "mine_block" in info
    assert "episode" not in info
    assert info.get("episode", 3) == 3
    with pytest.raises(KeyError):
        info["episode"]
    copied = info.copy()
    copied["episode"] = 1
    assert "episode" not in info
    plain = pickle.loads(pickle.dumps(copied))
    assert type(plain) is dict
    assert plain == dict(copied) == {**copied} == dict(copied.items()) == copy.deepcopy(copied)
    assert len(plain) == len(copied) == len(list(copied))
    assert copied.pop("health") == 20.0
    assert "health" not in copied
    assert "health" not in dict(copied)
    info.update(mine_block={"stone": 5})
    assert info["mine_block"] == {"stone": 5} == dict(info)["mine_block"]
    assert "pov" not in plain, "copying must not render"
    assert isinstance(copied, StepInfo)


def test_death_terminates_and_a_reset_brings_a_new_life() -> None:
    sim = make()
    sim.reset()
    _, _, done, info = sim.env.execute_cmd("/kill")
    assert done
    assert info["is_dead"]
    *_, terminated, truncated, info = sim.step(sim.noop_action())
    assert (terminated, truncated) == (True, False)
    sim.reset()
    *_, terminated, truncated, info = sim.step(sim.noop_action())
    assert (terminated, truncated, info["health"]) == (False, False, 20.0)


def test_the_raw_environment_steps_and_seeds() -> None:
    sim = make()
    sim.reset()
    z = sim.engine.state.player[P_Z]
    x = sim.engine.state.player[P_X]
    obs, reward, done, info = sim.env.step({**sim.env.action_space.no_op(), "forward": 1})
    assert obs["image"].shape == (24, 32, 3)
    assert (reward, done) == (0.0, False)
    assert (info["player_pos"]["x"], info["player_pos"]["z"]) != (x, z)
    sim.env.seed(3)
    sim.env.reset()
    first = state_hash(sim)
    sim.env.seed(3)
    sim.env.reset()
    assert state_hash(sim) == first


def test_drop_works_in_both_forms() -> None:
    for sim, action in (
        (make(inventory={0: {"type": "dirt", "quantity": 3}}), {"buttons": 8, "camera": 60}),
        (make(action_type="env", inventory={0: {"type": "dirt", "quantity": 3}}), {"drop": 1}),
    ):
        sim.reset()
        info = sim.step(action)[-1]
        assert info["inventory"][0] == {"type": "dirt", "quantity": 2}
        assert info["drop"] == {"dirt": 1}
        assert sim.count("drop", "dirt") == 1


def test_camera_config_changes_the_space() -> None:
    sim = make(camera_config=CameraConfig(camera_binsize=1))
    assert sim.action_space["camera"].nvec.tolist() == [21 * 21]
    assert sim.noop_action()["camera"].tolist() == [220]
    sim = make(camera_config={"camera_maxval": 20})
    assert sim.action_space["camera"].nvec.tolist() == [21 * 21]

"""Callbacks that add to what is seen, record it, or combine others; callbacks from task files; info on request."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from minestudio_nb.config.minestudio_compat import CALLBACK_NAMES, NOT_FOR_SPECS
from minestudio_nb.environments.slot import EnvArrays, EnvSlot
from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import VoxelSim
from minestudio_nb.simulator.callbacks import (
    REGISTRY,
    CommandsCallback,
    Compose,
    JudgeResetCallback,
    MaskActionsCallback,
    MinecraftCallback,
    PrevActionCallback,
    RecordCallback,
    SpeedTestCallback,
    SummonMobsCallback,
    TaskCallback,
    VoxelsCallback,
    from_spec,
    load_callbacks_from_config,
)
from minestudio_nb.wrappers import FrameSkip


def make(*callbacks: MinecraftCallback, **options: Any) -> VoxelSim:
    options = {"obs_size": (16, 16), "render_size": (32, 18), "world_size": 32, "pool_size": 1, **options}
    return VoxelSim(callbacks=callbacks, **options)


def test_every_callback_of_minestudio_can_be_named() -> None:
    assert set(CALLBACK_NAMES) - set(NOT_FOR_SPECS) <= set(REGISTRY)


def test_the_previous_action_is_seen() -> None:
    sim = make(MaskActionsCallback(attack=0), PrevActionCallback(), action_type="env")
    obs, _ = sim.reset()
    assert obs in sim.observation_space
    assert not any(np.any(value) for value in obs["env_prev_action"].values())
    obs, *_ = sim.step({"forward": 1, "attack": 1, "drop": 0, "camera": [3.0, -4.0]})
    assert obs in sim.observation_space
    seen = obs["env_prev_action"]
    assert (seen["forward"], seen["attack"], seen["jump"]) == (1, 0, 0), "as the callbacks before have left it"
    assert seen["camera"].tolist() == [3.0, -4.0]
    assert "hotbar.9" in seen and "drop" in seen
    other = make(MaskActionsCallback(attack=0), PrevActionCallback(), action_type="env")
    other.set_state(sim.get_state())
    assert other.callbacks[1].prev_action["camera"].tolist() == [3.0, -4.0]
    assert other.step({})[0]["env_prev_action"]["forward"] == 0
    assert seen["forward"] == 1, "what was handed out stays as it is"


@pytest.mark.parametrize("slow", [False, True])
def test_the_previous_action_of_skipped_frames_is_the_decision(slow: bool) -> None:
    class Slow(MinecraftCallback):
        def after_step(self, sim: Any, *result: Any) -> Any:
            return result

    sim = make(PrevActionCallback(), *([Slow()] if slow else []), action_type="env")
    env = FrameSkip(sim, 4)
    env.reset()
    obs, *_ = env.step({"camera": [0.0, 9.0], "back": 1})
    assert obs["env_prev_action"]["camera"].tolist() == [0.0, 9.0]
    assert obs["env_prev_action"]["back"] == 1


def test_the_previous_action_reaches_policies() -> None:
    slot = EnvSlot(lambda index: make(PrevActionCallback()), 0, seed=3)
    spec = slot.build()
    assert spec.obs["env_prev_action.hotbar.1"].shape == ()
    arrays = EnvArrays.over(bytearray(EnvArrays.nbytes(spec, 1)), spec, 1)
    slot.attach(arrays)
    slot.reset()
    assert arrays.obs["env_prev_action.forward"][0] == 0.0
    arrays.actions[0] = (288, 60)  # forward
    slot.step()
    assert arrays.obs["env_prev_action.forward"][0] == 1.0
    assert arrays.obs["image"].any()
    slot.close()


def test_an_image_that_a_callback_has_put_in_is_what_policies_get() -> None:
    class Grey(MinecraftCallback):
        needs_image = True

        def after_step(self, sim: Any, obs: Any, *rest: Any) -> Any:
            return {**obs, "image": obs["image"] // 2}, *rest

    plain, grey = make(seed=4), make(Grey(), seed=4)
    images = []
    for sim in (plain, grey):
        sim.reset()
        sim.step(sim.noop_action())
        out = {"image": np.zeros((16, 16, 3), np.uint8)}
        sim.observe_into(out)
        images.append(out["image"])
    np.testing.assert_array_equal(images[0] // 2, images[1])


def test_a_task_is_drawn_for_each_episode() -> None:
    tasks = [{"name": "chop", "text": "chop the tree"}, {"name": "dig", "text": "dig down"}]
    sim = make(TaskCallback(tasks), num_empty_frames=0)
    seen = set()
    for _ in range(12):
        obs, info = sim.reset()
        assert obs["task"] in tasks
        assert info["task"] == sim.step(sim.noop_action())[-1]["task"] == obs["task"]["name"]
        seen.add(info["task"])
    assert seen == {"chop", "dig"}
    for broken in ([], [{"text": "no name"}], {}):
        with pytest.raises(SimulatorError, match="TaskCallback needs"):
            TaskCallback(broken)


def test_speed_is_measured(caplog: pytest.LogCaptureFixture) -> None:
    speed = SpeedTestCallback(interval=2)
    sim = make(speed)
    sim.reset()
    with caplog.at_level(logging.INFO, logger="minestudio_nb"):
        for _ in range(5):
            sim.step(sim.noop_action())
    assert speed.num_steps == 5
    assert speed.fps == pytest.approx(5 / speed.total_times)
    assert [record.message.split(":")[0] for record in caplog.records] == ["2 steps", "4 steps"]
    with pytest.raises(SimulatorError, match="at least 1"):
        SpeedTestCallback(0)


def test_an_episode_is_recorded_with_all_that_was_asked_for(tmp_path: Path) -> None:
    record = RecordCallback(
        tmp_path / "films", fps=10, record_actions=True, record_infos=True, record_origin_observation=True
    )
    sim = make(CommandsCallback(["/give @p dirt 5"]), record, action_type="env")
    for steps in (3, 2):
        sim.reset()
        for _ in range(steps):
            sim.step({"forward": 1, "camera": np.array([1.0, 2.0])})
    sim.close()
    files = sorted(path.name for path in (tmp_path / "films").iterdir())
    assert files == [f"episode_{n}{end}" for n in (1, 2) for end in (".mp4", ".npy", "_action.json", "_info.json")]
    with av.open(str(tmp_path / "films" / "episode_1.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].average_rate == 10
    assert len(frames) == 4 and frames[0].shape == (18, 32, 3)
    kept = np.load(tmp_path / "films" / "episode_1.npy")
    assert kept.shape == (4, 18, 32, 3) and kept.dtype == np.uint8
    np.testing.assert_array_equal(np.load(tmp_path / "films" / "episode_2.npy")[-1], sim.render())
    assert np.abs(kept[0].astype(float) - frames[0]).mean() < 12.0
    actions = json.loads((tmp_path / "films" / "episode_1_action.json").read_text())
    assert actions[0] == {} and actions[1] == {"forward": 1, "camera": [1.0, 2.0]} and len(actions) == 4
    infos = json.loads((tmp_path / "films" / "episode_2_info.json").read_text())
    assert len(infos) == 3 and infos[0]["inventory"]["0"] == {"type": "dirt", "quantity": 5}
    assert "pov" not in infos[0]


def test_recordings_do_not_overwrite_each_other(tmp_path: Path) -> None:
    first, second = RecordCallback(tmp_path), RecordCallback(tmp_path, frame_type="obs", show_actions=True)
    for callback in (first, second):
        sim = make(callback, obs_size=(64, 32))
        sim.reset()
        sim.step(sim.noop_action())
        sim.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episode_1.mp4", "episode_2.mp4"]
    assert (first.episode_id, second.episode_id) == (1, 2)
    with av.open(str(tmp_path / "episode_2.mp4")) as film:
        assert (film.streams.video[0].width, film.streams.video[0].height) == (64, 32)
    off = RecordCallback(tmp_path / "none", recording=False)
    sim = make(off)
    sim.reset()
    sim.close()
    assert not (tmp_path / "none").exists()
    with pytest.raises(SimulatorError, match="'pov' or 'obs'"):
        RecordCallback(tmp_path, frame_type="image")


def test_composed_callbacks_act_as_they_would_alone() -> None:
    inside = [JudgeResetCallback(3), PrevActionCallback()]
    sim = make(Compose(inside))
    assert sim.callbacks[0].batch_ticks
    obs, _ = sim.reset()
    assert "env_prev_action" in obs and obs in sim.observation_space
    assert [sim.step(sim.noop_action())[3] for _ in range(3)] == [False, False, True]
    assert FrameSkip(sim, 10).reset() and FrameSkip(sim, 10).step(sim.noop_action())[3]
    assert sim.ticks_in_step == 3, "a batch ends at the limit"


def test_composed_callbacks_are_drawn_for_each_episode() -> None:
    given = [CommandsCallback([f"/give @p {item}"]) for item in ("dirt", "stone", "sand")]
    sim = make(Compose(given, options=2))
    seen = set()
    for _ in range(12):
        info = sim.reset()[1]
        held = frozenset(stack["type"] for stack in info["inventory"].values() if stack["quantity"])
        assert len(held) == 2
        seen.add(held)
    assert len(seen) == 3
    assert make(Compose(given, options=0)).reset()[1]["inventory"][0]["type"] == "none"
    with pytest.raises(SimulatorError, match="0 to 3"):
        Compose(given, options=4)
    with pytest.raises(SimulatorError, match="adds to the observation"):
        make(Compose([PrevActionCallback()], options=1))


def test_the_state_of_composed_callbacks_is_kept() -> None:
    def build() -> VoxelSim:
        return make(Compose([JudgeResetCallback(5), JudgeResetCallback(9)], options=1))

    sim, copy = build(), build()
    sim.reset()
    for _ in range(4):
        sim.step(sim.noop_action())
    copy.set_state(sim.get_state())
    for _ in range(5):
        assert sim.step(sim.noop_action())[3] == copy.step(copy.noop_action())[3]


def test_specs_make_composed_callbacks() -> None:
    inner = [{"name": "JudgeReset", "args": {"time_limit": 2}}, {"name": "Voxels"}]
    made = from_spec({"name": "Compose", "args": {"callbacks": inner, "options": 1}})
    assert isinstance(made, Compose)
    assert [type(callback) for callback in made.callbacks] == [JudgeResetCallback, VoxelsCallback]


@pytest.mark.parametrize("name", ["Demonstration", "Play", "PlaySegment", "Point"])
def test_what_only_the_real_game_has_says_so(name: str) -> None:
    with pytest.raises(
        SimulatorError, match=rf"{name}Callback needs real Minecraft \(env_config.simulator=minecraft\)"
    ):
        from_spec({"name": name})


TASK_FILE = """
defaults: [base, _self_]
custom_init_commands:
- /give @s minecraft:diamond_axe 1
text: Chop down a tree.
reference_video: chop
summon_mobs: [{name: cow, number: 2, range_x: [-3, 3], range_z: [-3, 3]}]
init_inventory: [{slot: 3, type: dirt, quantity: 7}]
reward_cfg: [{event: mine_block, objects: [oak_log], reward: 1.0, identity: chop, max_reward_times: 9}]
biomes: [plains]
random_tp_range: 100
time_limit: 3
use_prev_action: true
cheats: true
"""


def test_a_task_file_makes_its_callbacks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "chop_a_tree.yaml"
    path.write_text(TASK_FILE)
    with caplog.at_level(logging.WARNING, logger="minestudio_nb"):
        callbacks = load_callbacks_from_config(path)
    names = [type(callback).__name__.removesuffix("Callback") for callback in callbacks]
    assert names == [
        "SummonMobs", "Rewards", "FastReset", "Commands", "Task", "JudgeReset", "InitInventory", "PrevAction",
    ]  # fmt: skip
    text = caplog.text
    assert "reference_video is left out" in text and "'cheats'" in text and "defaults" not in text
    sim = make(*callbacks)
    obs, info = sim.reset()
    assert obs["task"] == {"name": "chop_a_tree", "text": "Chop down a tree."}
    assert info["inventory"][0]["type"] == "diamond_axe" and info["inventory"][3]["quantity"] == 7
    assert [sim.step(sim.noop_action())[3] for _ in range(3)] == [False, False, True]
    assert load_callbacks_from_config({}) == []
    assert load_callbacks_from_config({"commands": ["/give @p dirt"]})[0].commands == ["/give @p dirt"]
    (tmp_path / "list.yaml").write_text("- 1")
    for source, message in ((tmp_path / "no.yaml", "no file"), (tmp_path / "list.yaml", "mapping")):
        with pytest.raises(SimulatorError, match=message):
            load_callbacks_from_config(source)


def test_mobs_are_in_info_when_asked_for() -> None:
    mobs = [{"name": "cow", "number": 3, "range_x": [-2, 2], "range_z": [-2, 2]}]
    mobs.append({"name": "sheep", "number": 1, "range_x": [9, 9], "range_z": [9, 9]})
    sim = make(SummonMobsCallback(mobs), preferred_spawn_biome="plains", action_type="env")
    sim.reset()
    info = sim.step({"mobs": [-4, 4, -9, 9, -4, 4]})[-1]
    near = info["mobs"]
    assert [mob["name"] for mob in near] == ["cow"] * 3
    assert all(abs(mob["x"]) <= 4 and abs(mob["z"]) <= 4 and mob["health"] == 10.0 for mob in near)
    assert "mobs" not in sim.step({})[-1], "each info is fresh"
    assert info["mobs"] is near
    by_mask = make(SummonMobsCallback(mobs), MaskActionsCallback(mobs=[-20, 20] * 3), preferred_spawn_biome="plains")
    by_mask.reset()
    names = [mob["name"] for mob in by_mask.step(by_mask.noop_action())[-1]["mobs"]]
    assert names == ["cow"] * 3 + ["sheep"]
    for wrong in ([1, 2, 3], [1, 0, 0, 0, 0, 0], [float("nan")] * 6):
        with pytest.raises(SimulatorError, match="mobs takes"):
            sim.step({"mobs": wrong})

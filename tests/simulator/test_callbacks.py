"""Callbacks against MineStudio's semantics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import VoxelSim
from minestudio_nb.simulator.blocks import block_id, item_id
from minestudio_nb.simulator.callbacks import (
    CommandsCallback,
    GateRewardsCallback,
    InitInventoryCallback,
    JudgeResetCallback,
    MaskActionsCallback,
    MinecraftCallback,
    RewardsCallback,
    SummonMobsCallback,
    VoxelsCallback,
    from_spec,
)
from minestudio_nb.simulator.state import E_KILL, E_MINE, E_PICKUP, M_KIND, M_X, M_Z, P_X, P_Y, P_Z


def make(*callbacks: MinecraftCallback, **options: Any) -> VoxelSim:
    options = {"obs_size": (16, 16), "render_size": (32, 18), "world_size": 32, "pool_size": 2, **options}
    return VoxelSim(callbacks=callbacks, **options)


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "event": "kill_entity", "objects": ["sheep", "cow"], "reward": 5.0, "identity": "hunt", "max_reward_times": 3,
    } | changes  # fmt: skip


def test_a_reward_is_paid_once_a_step_and_up_to_its_limit() -> None:
    sim = make(RewardsCallback([entry()]))
    sim.reset()
    stats = sim.engine.state.stats
    rewards = []
    for cows, sheep in ((0, 0), (1, 0), (1, 1), (0, 0), (0, 1), (1, 0)):
        stats[E_KILL, 0] += cows
        stats[E_KILL, 1] += sheep
        rewards.append(sim.step(sim.noop_action())[1])
    assert rewards == [0.0, 5.0, 5.0, 0.0, 5.0, 0.0], "the limit of three is reached"
    sim.reset()
    sim.engine.state.stats[E_KILL, 0] += 1
    assert sim.step(sim.noop_action())[1] == 5.0, "a new episode counts anew"


def test_rewards_of_several_entries_add_up_and_share_the_count_of_one_identity() -> None:
    log, item = block_id("oak_log"), item_id("oak_log")
    shared = [entry(event="mine_block", objects=["oak_log"], reward=1.0, identity="wood", max_reward_times=1)]
    shared.append(entry(event="pickup", objects=["oak_log"], reward=10.0, identity="wood", max_reward_times=1))
    shared.append(entry(event="pickup", objects=["oak_log"], reward=100.0, identity="other", max_reward_times=9))
    sim = make(RewardsCallback(shared))
    sim.reset()
    sim.engine.state.stats[E_MINE, log] += 1
    sim.engine.state.stats[E_PICKUP, item] += 2
    assert sim.step(sim.noop_action())[1] == 101.0
    assert not sim.callbacks[0].batch_ticks, "two pickups may come in one tick"
    assert not RewardsCallback([entry()]).batch_ticks, "and two kills, by a sweep"
    assert RewardsCallback([entry(event="mine_block", objects=["oak_log"])]).batch_ticks


@pytest.mark.parametrize(
    ("change", "message"),
    [({"event": "kill"}, "kill_entity"), ({"objects": ["unicorn"]}, "cow, sheep"),
     ({"event": "mine_block", "objects": ["oak"]}, "nearest name")],
)  # fmt: skip
def test_rewards_for_unknown_things_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulatorError, match=f"RewardsCallback: .*{message}"):
        make(RewardsCallback([entry(**change)]))
    with pytest.raises(SimulatorError, match="identity"):
        RewardsCallback([{"event": "mine_block", "objects": [], "reward": 1.0}])


def test_the_time_limit_truncates_at_exactly_the_limit() -> None:
    sim = make(JudgeResetCallback(time_limit=5))
    for _ in range(2):
        sim.reset()
        ends = [sim.step(sim.noop_action())[2:4] for _ in range(5)]
        assert ends == [(False, False)] * 4 + [(False, True)]
    with pytest.raises(SimulatorError, match="at least 1"):
        JudgeResetCallback(0)


def test_masked_actions_do_not_happen() -> None:
    sim = make(MaskActionsCallback(forward=0, camera=np.zeros(2)))
    sim.reset()
    before = sim.engine.state.player[[P_X, P_Z]].copy()
    action = {"buttons": np.array([289]), "camera": np.array([0])}
    sim.step(action)
    np.testing.assert_array_equal(sim.engine.state.player[[P_X, P_Z]], before)
    assert action["buttons"][0] == 289


def test_commands_run_at_every_reset() -> None:
    sim = make(CommandsCallback(commands=["/give @p minecraft:bow 1", "/give @p minecraft:arrow 64"]))
    for _ in range(2):
        _, info = sim.reset()
        assert [info["inventory"][slot]["type"] for slot in range(3)] == ["bow", "arrow", "none"]
    broken = make(CommandsCallback(["/fly"]))
    with pytest.raises(SimulatorError, match="CommandsCallback cannot carry out '/fly'"):
        broken.reset()


class Remark(MinecraftCallback):
    def after_reset(self, sim: Any, obs: Any, info: Any) -> Any:
        info["remark"] = "first"
        return {**obs, "note": np.zeros(1)}, info


def test_looking_again_keeps_what_earlier_callbacks_added() -> None:
    sim = make(Remark(), CommandsCallback(["/give @p dirt 7"]))
    obs, info = sim.reset()
    assert info["remark"] == "first"
    assert "note" in obs
    assert info["inventory"][0]["quantity"] == 7


def test_mobs_are_summoned_around_the_player() -> None:
    mobs = [{"name": "sheep", "number": 20, "range_x": [-5, 5], "range_z": [2, 6]}]
    sim = make(SummonMobsCallback(mobs), preferred_spawn_biome="plains")
    for _ in range(3):
        sim.reset()
        rows = sim.engine.state.mobs[sim.engine.state.mobs[:, M_KIND] == 1]
        assert len(rows) == 20
        offset = rows[:, [M_X, M_Z]] - sim.engine.state.player[[P_X, P_Z]]
        assert np.abs(offset[:, 0]).max() <= 5.0
        assert offset[:, 1].min() >= 2.0
        assert offset[:, 1].max() <= 6.0
    for broken in ({"name": "ship", "number": 1, "range_x": [0, 1], "range_z": [0, 1]}, {"name": "sheep", "number": 1}):
        with pytest.raises(SimulatorError, match="SummonMobsCallback"):
            make(SummonMobsCallback([broken]))


def test_a_lenient_simulation_passes_over_what_it_does_not_know() -> None:
    ranges = {"number": 2, "range_x": [-2, 2], "range_z": [-2, 2]}
    callbacks = (
        SummonMobsCallback([{"name": "strider", **ranges}, {"name": "cow", **ranges}]),
        RewardsCallback([entry(event="mine_block", objects=["warped_stem", "oak_log"])]),
        InitInventoryCallback(
            [{"slot": slot, "type": item, "quantity": 1} for slot, item in enumerate(("elytra", "dirt"))]
        ),
        CommandsCallback(["/gamemode creative", "/give @p stone 3"]),
    )
    with pytest.warns(UserWarning, match="passed over") as caught:
        sim = make(*callbacks, unknown_commands="warn", preferred_spawn_biome="plains")
    assert [str(w.message).split(":")[0] for w in caught] == [
        "SummonMobsCallback", "RewardsCallback", "InitInventoryCallback"
    ]  # fmt: skip
    with pytest.warns(UserWarning, match="gamemode creative"):
        info = sim.reset()[1]
    assert int((sim.engine.state.mobs[:, M_KIND] >= 0).sum()) == 2
    assert [info["inventory"][slot]["type"] for slot in range(2)] == ["stone", "dirt"]
    sim.engine.state.stats[E_MINE, block_id("oak_log")] += 1
    assert sim.step(sim.noop_action())[1] == 5.0
    sim.reset()  # without a second warning


def test_voxels_show_the_blocks_around_the_feet() -> None:
    sim = make(VoxelsCallback([-1, 1, -2, 1, 0, 0]))
    sim.reset()
    x, y, z = (int(v) for v in np.floor(sim.engine.state.player[P_X : P_Z + 1]))
    sim.engine.state.world.set(x + 1, y - 1, z, block_id("gold_block"))
    info = sim.step(sim.noop_action())[-1]
    found = {(v["x"], v["y"], v["z"]): v["type"] for v in info["voxels"]}
    assert len(found) == 3 * 4 * 1
    assert found[1, -1, 0] == "gold_block"
    assert found[0, 0, 0] == "air"
    assert "voxels" in dict(info)
    with pytest.raises(SimulatorError, match="xmin"):
        VoxelsCallback([1, 0, 0, 0, 0, 0])


class AsksForVoxels(MinecraftCallback):
    def before_step(self, sim: Any, action: Any) -> Any:
        action["voxels"] = [0, 1, -1, 0, 0, 0]
        return action


def test_voxels_can_be_asked_for_through_the_action() -> None:
    sim = make(AsksForVoxels())
    sim.reset()
    info = sim.step(sim.noop_action())[-1]
    assert [(v["x"], v["y"], v["z"]) for v in info["voxels"]] == [(0, -1, 0), (0, 0, 0), (1, -1, 0), (1, 0, 0)]


def test_a_gate_is_rewarded_block_by_block() -> None:
    sim = make(GateRewardsCallback(), VoxelsCallback(), preferred_spawn_biome="plains")
    sim.reset()
    sim.engine.state.player[P_Y] = 50.0
    x, y, z = (int(v) for v in np.floor(sim.engine.state.player[P_X : P_Z + 1]))
    frame = [(0, up) for up in range(5)] + [(3, up) for up in range(5)] + [(a, up) for a in (1, 2) for up in (0, 4)]
    total = 0.0
    for along, up in frame:
        sim.engine.state.player[P_Y] = 50.0
        sim.engine.state.world.set(x + along, y + up, z + 3, block_id("obsidian"))
        total += sim.step(sim.noop_action())[1]
    assert total == pytest.approx(14 + 2 - 1.4), "14 cells, two beyond the twelfth twice, a tenth off for each block"
    sim.engine.state.world.set(x + 1, y + 1, z + 3, block_id("obsidian"))
    sim.engine.state.player[P_Y] = 50.0
    assert sim.step(sim.noop_action())[1] == pytest.approx(-1.1), "a block in the hole costs one, and a tenth"


def test_specs_name_callbacks_with_and_without_the_ending() -> None:
    assert isinstance(from_spec({"name": "JudgeReset", "args": {"time_limit": 3}}), JudgeResetCallback)
    assert isinstance(from_spec({"name": "GateRewardsCallback"}), GateRewardsCallback)
    for spec, message in (
        ({"name": "JudgeRest"}, "JudgeResetCallback"),
        ({"name": "JudgeReset", "args": {"limit": 3}}, "arguments"),
        ({"args": {}}, "name and args"),
        ({"name": "JudgeReset", "arguments": {}}, "name and args"),
    ):
        with pytest.raises(SimulatorError, match=message):
            from_spec(spec)


class Everything(MinecraftCallback):
    """Overrides every hook, in the way of a callback written for MineStudio."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def before_reset(self, sim: Any, reset_flag: bool) -> bool:
        self.calls.append("before_reset")
        return reset_flag

    def after_reset(self, sim: Any, obs: Any, info: Any) -> Any:
        self.calls.append("after_reset")
        obs, _, _, info = sim.env.execute_cmd("/give @p dirt 2")
        return sim._wrap_obs_info(obs, info)

    def before_step(self, sim: Any, action: Any) -> Any:
        self.calls.append("before_step")
        action["jump"] = 1
        return action

    def after_step(self, sim: Any, obs: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Any:
        self.calls.append("after_step")
        info["seen"] = info["inventory"][0]["quantity"]
        return obs, reward + 0.5, terminated, truncated, info

    def before_close(self, sim: Any) -> None:
        self.calls.append("before_close")

    def after_close(self, sim: Any) -> None:
        self.calls.append("after_close")

    def before_render(self, sim: Any, image: Any) -> Any:
        self.calls.append("before_render")
        return image

    def after_render(self, sim: Any, image: Any) -> Any:
        self.calls.append("after_render")
        return image // 2


def test_every_hook_is_called_and_may_change_what_passes() -> None:
    callback = Everything()
    sim = make(callback)
    sim.reset()
    _, reward, _, _, info = sim.step(sim.noop_action())
    assert (reward, info["seen"]) == (0.5, 2)
    assert sim.engine.state.player[P_Y] % 1.0 == pytest.approx(0.42)
    assert sim.render().max() < 128
    sim.close()
    assert callback.calls == [
        "before_reset", "after_reset", "before_step", "after_step", "before_render", "after_render", "before_close",
        "after_close",
    ]  # fmt: skip

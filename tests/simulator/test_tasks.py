"""The shipped tasks: they are environments, and each can be solved with its own actions.

A scripted player, who knows the state of the world, stands for an agent: what it achieves proves that the rewards are
there to be had within an episode.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import build_env, make_chop, make_task, task_config
from minestudio_nb.simulator.blocks import SOLID, block_id
from minestudio_nb.simulator.callbacks import PortalFrameCallback
from minestudio_nb.simulator.callbacks.portal import FRAME
from minestudio_nb.simulator.state import (
    M_KIND,
    M_X,
    M_Y,
    M_Z,
    P_PITCH,
    P_X,
    P_Y,
    P_YAW,
    P_Z,
    S_BOW_DRAW,
)
from minestudio_nb.simulator.world import FACE_DX, FACE_DY, FACE_DZ, raycast

LEARNED = ("chop_tree", "hunt", "mine_stone", "shoot", "place_frame")
DECISIONS = {"place_frame": 50}
ACTIONS = {"shoot": 7, "place_frame": 5}
FULL_DRAW = 18  # ticks after which an arrow flies nearly as far as it can
EYE = 1.62
Player = Callable[[Any, Any], dict[str, Any]]


def eye_of(sim: Any) -> np.ndarray:
    x, y, z = sim.engine.state.player[[P_X, P_Y, P_Z]]
    return np.array([x, y + EYE, z])


def angles_to(sim: Any, point: np.ndarray) -> tuple[float, float]:
    """How far yaw and pitch are from looking at a point, in degrees."""
    dx, dy, dz = point - eye_of(sim)
    player = sim.engine.state.player
    yaw = math.degrees(math.atan2(-dx, dz)) - player[P_YAW]
    pitch = math.degrees(math.atan2(-dy, math.hypot(dx, dz))) - player[P_PITCH]
    return (yaw + 180.0) % 360.0 - 180.0, pitch


def turn_to(sim: Any, env: Any, point: np.ndarray) -> dict[str, Any] | None:
    """The camera action of the task that brings the look nearest to a point; None when none brings it nearer."""
    yaw, pitch = angles_to(sim, point)
    turns = [action for action in env.actions if set(action) - {"use"} == {"camera"}]
    best = min(turns, key=lambda action: math.hypot(yaw - action["camera"][1], pitch - action["camera"][0]))
    missed = math.hypot(yaw - best["camera"][1], pitch - best["camera"][0])
    return best if missed < math.hypot(yaw, pitch) - 1e-6 else None


def play(env: Any, player: Player, seed: int) -> float:
    """The return of an episode in which ``player(sim, env)`` chooses among the task's actions."""
    env.reset(seed=seed)
    sim, total = env.unwrapped, 0.0
    while True:
        _, reward, terminated, truncated, _ = env.step(env.actions.index(player(sim, env)))
        total += reward
        if terminated or truncated:
            return total


def nearest(sim: Any, points: np.ndarray) -> np.ndarray:
    return points[np.argmin(np.linalg.norm(points - eye_of(sim), axis=1))]


def hunter(sim: Any, env: Any) -> dict[str, Any]:
    """Turns to the nearest animal, runs there, strikes."""
    mobs = sim.engine.state.mobs
    alive = mobs[mobs[:, M_KIND] >= 0]
    point = nearest(sim, alive[:, [M_X, M_Y, M_Z]] + (0.0, 0.5, 0.0))
    turn = turn_to(sim, env, point)
    if turn is not None and (abs(turn["camera"][1]) > 0 or np.linalg.norm(point - eye_of(sim)) < 4.0):
        return turn
    return next(action for action in env.actions if action.get("attack") and action.get("forward"))


def archer(sim: Any, env: Any) -> dict[str, Any]:
    """Draws while turning to the sheep that is nearest, or nearly in sight, and shoots a little above it."""
    mobs = sim.engine.state.mobs
    sheep = mobs[mobs[:, M_KIND] >= 0][:, [M_X, M_Y, M_Z]] + (0.0, 0.9, 0.0)
    far = np.linalg.norm(sheep - eye_of(sim), axis=1)
    turned = np.array([abs(angles_to(sim, point)[0]) for point in sheep])
    best = np.argmin(turned + 3.0 * far)
    turn = turn_to(sim, env, sheep[best] + (0.0, 0.006 * far[best] ** 2, 0.0))
    if turn is not None:
        return turn
    return {} if sim.engine.state.status[S_BOW_DRAW] >= FULL_DRAW else {"use": 1}


def miner(sim: Any, env: Any) -> dict[str, Any]:
    """Digs a tunnel, a little downwards."""
    if sim.engine.state.player[P_PITCH] < 24.0:
        return {"camera": [12, 0]}
    return {"forward": 1} if placed_cell(sim) is None else {"attack": 1}


def woodcutter(sim: Any, env: Any) -> dict[str, Any]:
    """Turns to the nearest log at the height of the eyes, walks there, chops."""
    cells, origin = sim.engine.cells_around(-8, 8, 0, 3, -8, 8)
    names = ("oak_log", "birch_log", "spruce_log")
    found = np.argwhere(np.isin(cells, [block_id(name) for name in names]))[:, [0, 2, 1]]
    if not len(found):
        return {"forward": 1, "jump": 1}
    feet = np.floor(sim.engine.state.player[[P_X, P_Y, P_Z]])
    point = nearest(sim, found + origin + feet + 0.5)
    turn = turn_to(sim, env, point)
    close = np.linalg.norm(point - eye_of(sim)) < 4.0
    if turn is not None and (abs(turn["camera"][1]) > 0 or close):
        return turn
    return {"attack": 1} if close else {"forward": 1, "jump": 1}


def gaps_of_frame(sim: Any) -> list[tuple[int, int, int]]:
    """The cells in which the frame before the player lacks obsidian."""
    blocks = sim.engine.state.world.blocks
    x, z, y = np.nonzero(blocks == block_id("obsidian"))
    found = set(zip(x.tolist(), y.tolist(), z.tolist(), strict=True))
    along_x = np.ptp(x) > np.ptp(z)
    x0, y0, z0 = x.min(), y.max() - 4, z.min()
    frame = [(x0 + along * along_x, y0 + up, z0 + along * (not along_x)) for along, up in FRAME]
    return [tuple(map(int, cell)) for cell in frame if cell not in found]


def builder(sim: Any, env: Any) -> dict[str, Any]:
    """Looks at faces against which a missing block can be placed, and places it."""
    gaps = gaps_of_frame(sim)
    if not gaps:
        return env.actions[0]
    if placed_cell(sim) in gaps:
        return {"use": 1}
    points = [point for cell in gaps for point in faces_in_sight(sim, cell)]
    points.sort(key=lambda point: float(np.linalg.norm(point - eye_of(sim))))
    turns = [turn for point in points if (turn := turn_to(sim, env, point)) is not None]
    return turns[0] if turns else env.actions[int(sim.np_random.integers(4))]


def faces_in_sight(sim: Any, cell: tuple[int, int, int]) -> list[np.ndarray]:
    """The middles of the faces against which a block in ``cell`` would be placed, as far as the player can see them."""
    eye, world, middles = eye_of(sim), sim.engine.state.world, []
    for step in np.stack([FACE_DX, FACE_DY, FACE_DZ], axis=1):
        behind = np.array(cell) - step
        middle = np.array(cell) + 0.5 - 0.5 * step
        if SOLID[world.get(*behind.tolist())] and np.dot(eye - middle, step) > 0.1:
            look, hit = middle - 0.02 * step - eye, np.zeros(5, np.int64)
            reached = raycast(world.blocks, *eye, *(look / np.linalg.norm(look)), 4.5, hit)
            if reached >= 0 and hit[:3].tolist() == behind.tolist():
                middles.append(middle)
    return middles


def placed_cell(sim: Any) -> tuple[int, int, int] | None:
    """Where a block would come if the player used it now, standing upright."""
    player, hit = sim.engine.state.player, np.zeros(5, np.int64)
    yaw, pitch = np.radians(player[[P_YAW, P_PITCH]])
    look = (-math.sin(yaw) * math.cos(pitch), -math.sin(pitch), math.cos(yaw) * math.cos(pitch))
    if raycast(sim.engine.state.world.blocks, *eye_of(sim), *look, 4.5, hit) < 0:
        return None
    x, y, z, face = hit[:4].tolist()
    return x + int(FACE_DX[face]), y + int(FACE_DY[face]), z + int(FACE_DZ[face])


@pytest.mark.parametrize(
    ("name", "player", "seeds", "least"),
    [
        ("chop_tree", woodcutter, 3, 2.0),
        ("hunt", hunter, 3, 3.0),
        ("mine_stone", miner, 3, 5.0),
        ("shoot", archer, 3, 6.0),
        ("place_frame", builder, 3, 4.0),
    ],
)
def test_a_scripted_player_earns_the_reward(name: str, player: Player, seeds: int, least: float) -> None:
    env = make_task(name)
    returns = [play(env, player, seed) for seed in range(seeds)]
    assert np.mean(returns) > least, returns


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped.*:UserWarning")
@pytest.mark.parametrize("name", LEARNED)
def test_tasks_are_environments_that_end_at_their_time_limit(name: str) -> None:
    env = make_task(name, seed=1)
    check_env(env, skip_render_check=True)
    assert env.action_space.n == len(env.actions) == ACTIONS.get(name, 9)
    assert env.observation_space["image"].shape == (64, 64, 3)
    rng = np.random.default_rng(0)
    for _ in range(2):
        env.reset()
        decisions, over = 0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(int(rng.integers(env.action_space.n)))
            assert math.isfinite(reward)
            decisions, over = decisions + 1, terminated or truncated
        assert (decisions, truncated) == (DECISIONS.get(name, 100), True)


def test_hunt_begins_with_sixteen_animals_and_a_sword() -> None:
    env = make_task("hunt", seed=2)
    _, info = env.reset()
    state = env.unwrapped.engine.state
    assert (state.mobs[:, M_KIND] >= 0).sum() == 16
    assert info["equipped_items"]["mainhand"]["type"] == "netherite_sword"


def test_a_scripted_player_chops_a_log_for_one_reward() -> None:
    env = make_chop(seed=3)
    env.reset(seed=0)
    sim = env.unwrapped
    state = sim.engine.state
    state.player[[P_YAW, P_PITCH]] = 0.0
    x, y, z = (int(v) for v in np.floor(state.player[:3]))
    for height in (0, 1, 2):
        for step in (1, 2):
            state.world.set(x, y + height, z + step, block_id("air"))
    state.world.set(x, y + 1, z + 2, block_id("oak_log"))
    attack = env.actions.index({"attack": 1})
    rewards = [env.step(attack)[1] for _ in range(3)]
    assert rewards == [0.0, 1.0, 0.0], "eight ticks of a diamond axe are two decisions"
    assert sim.count("mine_block", "oak_log") == 1


def test_seeds_lead_to_different_worlds_and_held_out_ones_are_apart() -> None:
    worlds = [make_chop(seed=s, held_out=h).unwrapped.engine.choice.seed for s in range(3) for h in (False, True)]
    assert len(set(worlds)) == 6
    first, second = make_chop(seed=4), make_chop(seed=4)
    np.testing.assert_array_equal(first.reset()[0]["image"], second.reset()[0]["image"])


def test_the_shipped_gate_task_plays() -> None:
    env = build_env({**task_config("gate"), "kwargs": {"world_size": 32}})
    for _ in range(2):
        _, info = env.reset()
        assert info["inventory"][0]["type"] == "diamond_pickaxe"
        assert info["inventory"][40] == {"type": "obsidian", "quantity": 64}
    env.unwrapped.engine.state.player[P_PITCH] = 50.0
    env.step({"buttons": 0, "camera": 60})
    _, reward, _, _, info = env.step({"buttons": 16, "camera": 60})
    assert info["use_item"] == {"obsidian": 1}
    assert reward == pytest.approx(1 - 0.1)
    assert len(info["voxels"]) == 15**3


def test_the_frame_lacks_what_it_should_wherever_the_player_stands() -> None:
    env = make_task("place_frame")
    sides: set[int] = set()
    for seed in range(20):
        env.reset(seed=seed)
        sim = env.unwrapped
        gaps = gaps_of_frame(sim)
        assert len(gaps) == 4
        towards = np.mean(gaps, axis=0) + 0.5 - eye_of(sim)
        sides.add(round(math.degrees(math.atan2(-towards[0], towards[2])) / 90.0) % 4)
        assert abs(angles_to(sim, eye_of(sim) + towards)[0]) < 90.0, "the frame is in sight"
        below = np.floor(eye_of(sim)).astype(int) - (0, 2, 0)
        assert sim.engine.state.world.get(*below.tolist()) == block_id("grass_block")
    assert sides == {0, 1, 2, 3}


def test_finishing_a_frame_pays_what_the_score_grows_by() -> None:
    env = make_task("place_frame")
    env.reset(seed=0)
    sim = env.unwrapped
    assert env.step(0)[1] == 0.0, "what stands already pays nothing"
    for cell in gaps_of_frame(sim):
        sim.engine.state.world.set(*cell, block_id("obsidian"))
    # 10 cells of 14 became 14 + 2, and four blocks cost a tenth each.
    assert env.step(0)[1] == pytest.approx(16 - 10 - 0.4)


def test_wrong_frames_and_tasks_are_refused() -> None:
    with pytest.raises(SimulatorError, match="1 to 5"):
        PortalFrameCallback(missing=8)
    with pytest.raises(SimulatorError, match="distance"):
        PortalFrameCallback(distance=(3, 2))
    with pytest.raises(SimulatorError, match="chop_tree, gate, hunt"):
        task_config("chop")


def test_a_task_can_be_shorter_finer_and_larger() -> None:
    env = make_chop(ticks=9, frame_skip=3, size=48)
    obs, _ = env.reset()
    assert obs["image"].shape == (48, 48, 3)
    assert [env.step(0)[3] for _ in range(3)] == [False, False, True]

"""What MineStudio's simulator gets wrong and ours does not, as far as no other test shows it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minestudio_nb.simulator import VoxelSim
from minestudio_nb.simulator.callbacks import (
    CommandsCallback,
    Compose,
    FastResetCallback,
    HardResetCallback,
    InitInventoryCallback,
    MinecraftCallback,
    SummonMobsCallback,
    TaskCallback,
)


def make(*callbacks: MinecraftCallback, **options: Any) -> VoxelSim:
    options = {"obs_size": (16, 16), "render_size": (32, 18), "world_size": 32, "pool_size": 3, **options}
    return VoxelSim(callbacks=callbacks, **options)


class Once(MinecraftCallback):
    """Puts something into info at the first step of an episode only."""

    def __init__(self) -> None:
        self.said = False

    def after_reset(self, sim: Any, obs: Any, info: Any) -> Any:
        self.said = False
        return obs, info

    def after_step(self, sim: Any, obs: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Any:
        if not self.said:
            info["error"] = "socket"
            info["inventory"][0]["quantity"] = 99
            self.said = True
        return obs, reward, terminated, truncated, info


def test_each_info_is_of_its_own_step() -> None:
    sim = make(Once())
    sim.reset()
    first = sim.step(sim.noop_action())[-1]
    assert first["error"] == "socket"
    for _ in range(2):
        second = sim.step(sim.noop_action())[-1]
        assert second is not first
        assert "error" not in second
        assert second["inventory"][0]["quantity"] == 0
    assert "error" not in sim.reset()[1]


def test_everything_drawn_at_random_follows_the_seed() -> None:
    def run(seed: int) -> list[Any]:
        items = [{"slot": "random", "type": "dirt", "quantity": "random"}]
        mobs = [{"name": "cow", "number": 2, "range_x": [-5, 5], "range_z": [-5, 5]}]
        commands = [CommandsCallback([f"/give @p {item}"]) for item in ("stone", "sand", "torch", "oak_log")]
        sim = make(
            TaskCallback([{"name": str(number)} for number in range(9)]),
            FastResetCallback(["plains", "desert", "taiga"], 1000),
            InitInventoryCallback(items, distraction_level="easy"),
            Compose(commands, options=2),
            SummonMobsCallback(mobs),
            seed=seed,
        )
        seen = []
        for _ in range(4):
            obs, info = sim.reset()
            seen.append([obs["task"], info["location_stats"], info["inventory"], sim.engine.state.mobs.tolist()])
        return seen

    np.random.seed(1)
    first = run(5)
    np.random.seed(2)
    assert run(5) == first
    assert run(6) != first


def test_hard_resets_follow_the_seed_too() -> None:
    places = [{"seed": seed, "position": [8.5, 30, 8.5]} for seed in range(5)]

    def run() -> list[int]:
        sim = make(HardResetCallback(places), seed=3)
        return [(sim.reset(), sim.engine.choice.seed)[1] for _ in range(6)]

    assert run() == run()


def test_composed_callbacks_draw_after_the_picture() -> None:
    class Halve(MinecraftCallback):
        def after_render(self, sim: Any, image: Any) -> Any:
            return image // 2

    plain, halved = make(seed=1), make(Compose([Halve()]), seed=1)
    plain.reset()
    halved.reset()
    np.testing.assert_array_equal(plain.render() // 2, halved.render())

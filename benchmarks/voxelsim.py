"""VoxelSim's speed on one core: CPU time of ticks, rendering and whole steps, and Python's share of a step.

Prints one line per measurement: the median over repetitions, interleaved so that a loaded machine slows all alike.

    python benchmarks/voxelsim.py [--seconds 1.0] [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from minestudio_nb.simulator import VoxelSim, make_chop, make_hunt
from minestudio_nb.simulator.callbacks import JudgeResetCallback, RewardsCallback


def step_agent(size: int, render: bool = True) -> Callable[[], None]:
    """Steps of a simulation with rewards and a time limit, random agent actions."""
    reward = {
        "event": "mine_block", "objects": ["oak_log"], "reward": 1.0, "identity": "chop", "max_reward_times": 100,
    }  # fmt: skip
    callbacks = [RewardsCallback([reward]), JudgeResetCallback(400)]
    sim = VoxelSim(obs_size=(size, size), preferred_spawn_biome="forest", callbacks=callbacks)
    sim.reset()
    if not render:
        sim._view.render = lambda engine, out: None
    rng = np.random.default_rng(0)

    def step() -> None:
        *_, terminated, truncated, _ = sim.step({"buttons": rng.integers(8641), "camera": rng.integers(121)})
        if terminated or truncated:
            sim.reset()

    return step


def step_task(make: Callable[..., Any], size: int, render: bool = True) -> Callable[[], None]:
    """Decisions (four ticks) of a learning task, random actions."""
    env = make(seed=0, size=size)
    if not render:
        env.unwrapped._view.render = lambda engine, out: None
    env.reset()
    rng = np.random.default_rng(0)

    def step() -> None:
        *_, terminated, truncated, _ = env.step(rng.integers(9))
        if terminated or truncated:
            env.reset()

    return step


def reset(size: int, render: bool = True) -> Callable[[], object]:
    """Resets with twenty idle ticks, from a pool whose worlds are made."""
    sim = VoxelSim(obs_size=(size, size), preferred_spawn_biome="forest")
    for _ in range(20):
        sim.reset()
    if not render:
        sim._view.render = lambda engine, out: None
    return sim.reset


def tick() -> Callable[[], None]:
    """Bare ticks of the hunting task's world."""
    env = make_hunt(seed=0)
    env.reset()
    engine = env.unwrapped.engine
    return lambda: engine.idle(1)


def measure(step: Callable[[], object], seconds: float) -> float:
    """Calls per CPU second."""
    calls = 0
    start = time.process_time()
    while time.process_time() - start < seconds:
        for _ in range(20):
            step()
        calls += 20
    return calls / (time.process_time() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds per measurement")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    subjects = {
        "tick with 16 mobs": tick(),
        "chop decision, without rendering": step_task(make_chop, 64, render=False),
        "chop decision, 64x64": step_task(make_chop, 64),
        "hunt decision, 64x64": step_task(make_hunt, 64),
        "agent step, 64x64": step_agent(64),
        "agent step, 128x128": step_agent(128),
        "agent step, without rendering": step_agent(128, render=False),
        "reset, 64x64": reset(64),
        "reset, 128x128": reset(128),
        "reset, without the first picture": reset(128, render=False),
    }
    for step in subjects.values():
        measure(step, 0.1)
    rates: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(options.repeats):
        for name, step in subjects.items():
            rates[name].append(measure(step, options.seconds))
    for name, values in rates.items():
        rate = statistics.median(values)
        print(f"{name:36s} {rate:9.0f} /s {1e6 / rate:9.1f} us")


if __name__ == "__main__":
    main()

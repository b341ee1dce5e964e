"""Many simulations in one process: time per environment step, with and without threads, and memory per environment.

    python benchmarks/vector.py [--envs 16] [--size 64] [--seconds 1.0] [--repeats 5]

"singles" steps the same environments one after another without ``VoxelVectorEnv``. CPU microseconds count all threads;
wall time means something on a quiet machine only. Contestants take turns; medians. Memory is the growth of the resident
set per environment after a reset, worlds in the pool not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from minestudio_nb.simulator import VoxelVectorEnv, build_env, task_config


def resident_bytes() -> int:
    """Memory of this process that is in use now (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def singles(config: dict, number: int) -> Callable[[], None]:
    """Environments in a list, stepped in a loop."""
    shared = {**config, "kwargs": {"world_seed": 0}}
    envs = [build_env(shared, i) for i in range(number)]
    for env in envs:
        env.reset()
    rng = np.random.default_rng(0)

    def step() -> None:
        for env, action in zip(envs, rng.integers(9, size=number), strict=True):
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return step


def vector(config: dict, number: int, threads: int) -> Callable[[], None]:
    """``VoxelVectorEnv``."""
    envs = VoxelVectorEnv(config, number, threads=threads, autoreset_mode="SameStep")
    envs.reset()
    rng = np.random.default_rng(0)
    return lambda: envs.step(rng.integers(9, size=number)) and None


def memory_per_env(config: dict, number: int) -> float:
    """MB per environment."""
    first = VoxelVectorEnv(config, 1)
    for _ in range(20):
        first.reset()  # all worlds of the pool are made
    before = resident_bytes()
    envs = VoxelVectorEnv(config, number)
    envs.reset()
    return (resident_bytes() - before) / number / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=16)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    config = task_config("chop_tree", frame_skip=1, size=options.size)
    number = options.envs
    print(f"memory per environment: {memory_per_env(config, number):.2f} MB")
    subjects = {
        "singles": singles(config, number),
        "vector, 1 thread": vector(config, number, 1),
        "vector, 2 threads": vector(config, number, 2),
    }
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
    for _ in range(options.repeats):
        for name, step in subjects.items():
            step()
            calls, cpu, wall = 0, time.process_time(), time.perf_counter()
            while time.perf_counter() - wall < options.seconds:
                step()
                calls += 1
            per_step = 1e6 / (calls * number)
            results[name].append(((time.process_time() - cpu) * per_step, (time.perf_counter() - wall) * per_step))
    for name, pairs in results.items():
        cpu, wall = (statistics.median(values) for values in zip(*pairs, strict=True))
        print(f"{name:20s} {cpu:8.1f} us CPU {wall:8.1f} us wall per environment step")


if __name__ == "__main__":
    main()

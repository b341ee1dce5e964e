"""Rollout throughput (workload W1: step and batched inference, no learning) against the prototypes of the designs.

    python benchmarks/rollout.py PEERS [--repeats 3] [--seconds 6] [--cases in_worker,processes]

PEERS is the folder that holds ``common.py`` (environment and networks, the same for all) and ``proto_rollout.py``.
Each repetition runs ours and the prototype one after the other: two workers of four environments, side by side, one
torch thread each, 128x128x3 images. Steps per second depend on the neighbours; CPU seconds per 1,000 steps hardly do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

CASES = {"in_worker": ("none", "2x_d_sync"), "processes": ("sleep5", "2x_e_ready")}
"""Execution mode -> cost of a step, and the prototype of the same design."""
ENVS, FRAGMENT, WORKERS = 4, 64, 2


class PixelEnvFactory:
    """The peers' environment; it travels to environment processes as the path that it comes from."""

    def __init__(self, peers: str, cost: str) -> None:
        self.peers, self.cost = peers, cost

    def __call__(self, index: int) -> Any:
        sys.path.insert(0, self.peers)
        import common

        return common.make_env(self.cost, obs="dict", seed=index)()


def make_policy(peers: str, net: str) -> Any:
    """A policy factory with the peers' trunk and our heads."""
    import torch

    from minestudio_nb.policies.base import FeedForwardPolicy

    sys.path.insert(0, peers)
    import common

    class Trunk(FeedForwardPolicy):
        def __init__(self, spec: Any) -> None:
            torch.manual_seed(0)
            super().__init__(spec, features=256)
            self.trunk = common.nets()[0](net)

        def encode(self, obs: Any) -> Any:
            features = self.trunk(obs["image"].permute(0, 3, 1, 2).float() / 255.0)
            return features, features

    return Trunk


class TimedSink:
    """Grants everything until the window is over; counts the steps of whole fragments."""

    def __init__(self, window: Any, seconds: float) -> None:
        self.make_window, self.seconds = window, seconds
        self.window: Any = None
        self.fragments = 0
        self.result: dict[str, Any] | None = None

    def acquire(self, count: int, wait: bool = True) -> int:
        return 0 if self.result else count

    def put(self, fragment: Any) -> None:
        self.fragments += 1
        if self.fragments % ENVS:
            return
        if self.window is None:
            self.window, self.fragments = self.make_window(), 0
        elif self.result is None and time.perf_counter() - self.window.t0 > self.seconds:
            self.result = self.window.done(self.fragments * FRAGMENT)

    def release(self, count: int) -> None:
        return


class Silent:
    """Weights that never come, telemetry that nobody reads."""

    def newest(self) -> None:
        return None

    def metrics(self, batch: Any) -> None:
        return

    def event(self, event: Any) -> None:
        return

    def episodes(self, episodes: Any) -> None:
        return


def run_worker(args: argparse.Namespace) -> None:
    """One rollout worker in this process; prints its result."""
    from minestudio_nb.config.schema import OnlineConfig
    from minestudio_nb.rollout.worker import RolloutWorker

    sys.path.insert(0, args.peers)
    import common

    settings = {"num_envs": ENVS, "execution": args.worker}
    config = OnlineConfig.from_dict({"rollout_config": {"fragment_length": FRAGMENT, "worker_config": settings}})
    sink = TimedSink(common.Window, args.seconds)
    factory = PixelEnvFactory(args.peers, args.cost)
    worker = RolloutWorker(0, config, factory, make_policy(args.peers, args.net), sink, Silent(), Silent(), 0)
    try:
        worker.start(60.0)
        time.sleep(max(0.0, args.begin - time.time()))  # both workers begin together
        if args.profile:
            profile(worker)
        else:
            worker.run()
    finally:
        worker.close()
    print("RESULT " + json.dumps(sink.result))


def profile(worker: Any) -> None:
    """Runs under cProfile and prints where the time went."""
    import cProfile
    import pstats

    profiler = cProfile.Profile()
    profiler.runcall(worker.run)
    pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)


def measure_ours(args: argparse.Namespace, mode: str, cost: str) -> dict[str, float]:
    """Two workers side by side."""
    command = [sys.executable, __file__, args.peers, "--worker", mode, "--cost", cost, "--net", args.net]
    command += ["--seconds", str(args.seconds), "--begin", str(time.time() + 12)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)]
    results = [_result(child.communicate(timeout=args.seconds + 120)[0]) for child in children]
    steps = sum(result["steps"] for result in results)
    return {
        "steps_per_s": sum(result["steps_per_s"] for result in results),
        "cpu_s_per_1k": sum(result["cpu_s_per_1k"] * result["steps"] for result in results) / steps,
    }


def measure_prototype(args: argparse.Namespace, prototype: str, cost: str) -> dict[str, float]:
    """The prototype's own command, with the same number of workers, environments and threads."""
    command = [sys.executable, "proto_rollout.py", "--mode", prototype, "--cost", cost, "--net", args.net]
    command += ["--envs", str(ENVS * WORKERS), "--seconds", str(args.seconds), "--threads", "1"]
    done = subprocess.run(
        command, cwd=args.peers, stdout=subprocess.PIPE, text=True, check=True, timeout=args.seconds + 120
    )
    return _result(done.stdout)


def _result(output: str) -> dict[str, Any]:
    line = next(line for line in reversed(output.splitlines()) if line.startswith("RESULT"))
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one line per case: medians, and ours as a share of the prototype's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", type=lambda text: str(Path(text).resolve()))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--net", default="tiny")
    parser.add_argument("--cases", default="in_worker,processes")
    parser.add_argument("--cost", default="", help="none, cpu2 or sleep5; empty: what belongs to the case")
    parser.add_argument("--profile", action="store_true", help="with --worker: print where the time goes")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    parser.add_argument("--begin", type=float, default=0.0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        run_worker(args)
        return
    for mode in args.cases.split(","):
        cost, prototype = args.cost or CASES[mode][0], CASES[mode][1]
        ours, theirs = [], []
        for _ in range(args.repeats):
            ours.append(measure_ours(args, mode, cost))
            theirs.append(measure_prototype(args, prototype, cost))
        for name in ("steps_per_s", "cpu_s_per_1k"):
            mine, its = (statistics.median(run[name] for run in runs) for runs in (ours, theirs))
            print(f"W1 {cost} {args.net}: {mode} {mine:.2f}, {prototype} {its:.2f} {name}; ratio {mine / its:.2f}")


if __name__ == "__main__":
    main()

"""What Ray costs: CPU seconds per 1,000 steps of the same job on Ray and inline, whole process tree, without start.

    python benchmarks/ray_overhead.py [--peers PEERS] [--jobs chop_tree,pixels] [--repeats 3] [--seconds 30]

Jobs: ``chop_tree`` as shipped; ``pixels``, the peers' environment with the tiny network (workload W2) in two workers;
``pixels_1``, the same in one. Both runtimes use ``schedule: alternate``, so that they do exactly the same, but inline
takes turns where Ray runs two workers side by side. On processors that share caches or execution units this alone makes
each step dearer; ``pixels_1`` shows what Ray costs without that.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import measuring

LOOK_SECONDS = 0.5  # as often as session.wait() looks
WARM_UP_ITERATIONS = 2
RUNTIMES = ("inline", "ray")


class TreeWindow:
    """CPU seconds of this process and its descendants, and the clock, from now on."""

    def __init__(self, trees: Any) -> None:
        self._trees = trees
        self._cpu, self.started = trees.sample().cpu_seconds, time.perf_counter()

    def done(self, steps: int) -> dict[str, Any]:
        """Rates over ``steps`` steps."""
        wall = time.perf_counter() - self.started
        cpu = self._trees.sample().cpu_seconds - self._cpu
        return {"steps": steps, "steps_per_s": steps / wall, "cpu_s_per_1k": 1000.0 * cpu / steps}


def measure(job: str, runtime: Any, peers: str, seconds: float) -> dict[str, Any]:
    """One run: from the end of the second iteration to the end of the first one after ``seconds``."""
    from minestudio_nb import OnlineSession
    from minestudio_nb.telemetry import ProcessTrees

    workers = {"pixels": 2, "pixels_1": 1}.get(job)
    source: Any = job if workers is None else measuring.pixel_config(peers, workers=workers)
    rules = ["schedule=alternate", "train_config.target_return=null", "train_config.max_minutes=null"]
    trees = ProcessTrees([os.getpid()])
    with tempfile.TemporaryDirectory() as root:
        session = OnlineSession("benchmark", runtime=runtime, run_root=root, detached=False)
        session.load_config(source, rules)
        with session:
            session.start_rollout()
            session.start_trainer()
            steps = _next_iteration(session, WARM_UP_ITERATIONS)
            window = TreeWindow(trees)
            while time.perf_counter() - window.started < seconds:
                last = _next_iteration(session)
            return window.done(last - steps)


def _next_iteration(session: Any, wanted: int | None = None) -> int:
    """Waits for iteration ``wanted``, or the next one; the steps that were trained on by then."""
    wanted = session.status().values["iteration"] + 1 if wanted is None else wanted
    deadline = time.monotonic() + 300.0
    while (values := session.status().values)["iteration"] < wanted:
        if session.failure or time.monotonic() > deadline:
            raise SystemExit(f"training did not reach iteration {wanted}: {session.failure or 'it takes too long'}")
        time.sleep(LOOK_SECONDS)
    return int(values["iteration"]) * session.config.config.samples_per_iteration


def compare(arguments: argparse.Namespace) -> None:
    """Interleaved runs, then medians and ratios."""
    rows = []
    for job in arguments.jobs.split(","):
        results: dict[str, list[dict[str, Any]]] = {runtime: [] for runtime in RUNTIMES}
        for _ in range(arguments.repeats):
            for runtime in RUNTIMES:
                command = [sys.executable, __file__, "--measure", runtime, "--jobs", job, "--peers", arguments.peers]
                command += ["--seconds", str(arguments.seconds)]
                result = measuring.run_script(command, measuring.BENCHMARKS.parent, arguments.seconds + 400.0)
                results[runtime].append(result)
                print(job, runtime, result, flush=True)
        inline, on_ray = (measuring.median(results[runtime], "cpu_s_per_1k") for runtime in RUNTIMES)
        ratio = on_ray / inline if inline and on_ray else None
        rows.append({"job": job, "inline CPU s/1k": inline, "Ray CPU s/1k": on_ray, "Ray / inline": ratio})
    print(measuring.markdown(["job", "inline CPU s/1k", "Ray CPU s/1k", "Ray / inline"], rows))


def main(argv: Sequence[str] | None = None) -> None:
    """Compares, or with ``--measure`` makes one run and prints its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="", help="needed for the job pixels")
    parser.add_argument("--jobs", default="chop_tree")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--measure", choices=RUNTIMES, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.measure:
        result = measure(arguments.jobs, arguments.measure, arguments.peers, arguments.seconds)
        measuring.emit(peer=f"ours ({arguments.measure})", workload=arguments.jobs, **result)
    else:
        compare(arguments)


if __name__ == "__main__":
    main()

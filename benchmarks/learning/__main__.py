"""``python -m benchmarks.learning``: see the package's docstring."""

from __future__ import annotations

import argparse
import os
import statistics
import sys

import benchmarks.learning as package
from benchmarks.learning import runner
from benchmarks.learning.registry import Experiment, Job, experiments, find


def main() -> int:
    """Runs what is missing, or does what was asked for instead. Exit status 1 where a run failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="this experiment; may be repeated")
    parser.add_argument("--seeds", help="numbers with commas, instead of the experiments' own")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time (default: 1)")
    parser.add_argument("--list", action="store_true", help="show what is done and what is missing, and end")
    parser.add_argument("--publish", action="store_true", help="no training: page and pictures from the results")
    parser.add_argument("--train", nargs=3, metavar=("NAME", "ARM", "SEED"), help="this run, in this process")
    options = parser.parse_args()
    if options.train:
        return _train(*options.train)
    known = {experiment.name for experiment in experiments()}
    if unknown := sorted(set(options.only or ()) - known):
        parser.error(f"there is no experiment {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    chosen = [experiment for experiment in experiments() if not options.only or experiment.name in options.only]
    if options.publish:
        from benchmarks.learning import page, pictures

        pictures.draw_all()
        page.write()
        return 0
    seeds = None if options.seeds is None else [int(seed) for seed in options.seeds.split(",")]
    jobs = runner.missing(chosen, seeds)
    if options.list:
        _list(chosen, jobs)
        return 0
    return 1 if runner.run_all(jobs, options.jobs) else 0


def _train(name: str, arm: str, seed: str) -> int:
    experiment = find(name)
    os.nice(max(0, runner.NICENESS - os.nice(0)))
    result = runner.run_here(Job(experiment, experiment.arm(arm), int(seed)))
    if result is None:
        print("done already, or at hand in another process")
        return 0
    kinds = [kind for kind in ("random", "greedy", "sampled") if kind in result]
    ends = {kind: round(statistics.fmean(result[kind]), 2) for kind in kinds}
    print(f"{result['env_steps']} steps, {result['cpu_seconds']:.0f} CPU s, mean returns {ends}")
    return 0


def _list(chosen: list[Experiment], jobs: list[Job]) -> None:
    for experiment in chosen:
        lines = runner.newest(runner.read_results(experiment.name)).values()
        for arm in experiment.arms:
            done = sorted(line["seed"] for line in lines if line["arm"] == arm.name)
            mine = [job for job in jobs if (job.experiment.name, job.arm.name) == (experiment.name, arm.name)]
            seconds = sum(runner.estimate(job) for job in mine)
            left = f"missing {[job.seed for job in mine]}, about {seconds / 60:.1f} CPU min" if mine else "complete"
            print(f"{experiment.name:24} {arm.name:16} done {done}; {left}")
    print(f"in all: {len(jobs)} runs, about {sum(map(runner.estimate, jobs)) / 60:.0f} CPU min")


if __name__ == "__main__":
    sys.exit(main())

"""Which runs are missing, and running them: each in a process of its own, which writes its line when it is done."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from benchmarks.learning.registry import ROOT, Experiment, Job, Result

__all__ = [
    "RESULTS",
    "append",
    "estimate",
    "missing",
    "newest",
    "read_results",
    "run_all",
    "run_here",
    "weights_folder",
]

RESULTS = Path(__file__).parent / "results"
SCRATCH = ROOT / "runs" / "learning"
"""Below the folder of runs, which git ignores: locks of the runs at hand, and weights that are kept."""
NICENESS = 10
LONGEST_S = 8 * 3600.0
PACKAGES = ("torch", "numpy", "gymnasium", "stable-baselines3", "minigrid", "crafter", "Box2D")


def read_results(name: str, folder: Path = RESULTS) -> list[Result]:
    """The lines of an experiment; one that was cut off while it was written is none."""
    path = folder / f"{name}.jsonl"
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def newest(results: Iterable[Result]) -> dict[tuple[str, str, int], Result]:
    """The last line of each run, which is the one that counts."""
    return {(result["experiment"], result["arm"], result["seed"]): result for result in results}


def append(result: Result, folder: Path = RESULTS) -> None:
    """Adds a line, whole, after what there is, even where that ends in the middle of a line."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['experiment']}.jsonl"
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        broken = b"\n" if text and not text.endswith(b"\n") else b""
        file.write(broken + json.dumps(result).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def missing(experiments: Iterable[Experiment], seeds: Sequence[int] | None = None, folder: Path = RESULTS) -> list[Job]:
    """Runs without a line, cheapest first; ``seeds`` replaces those of the experiments."""
    jobs = []
    for experiment in experiments:
        wanted = experiment.seeds if seeds is None else tuple(seeds)
        done = newest(read_results(experiment.name, folder))
        every = [Job(experiment, arm, seed) for seed in wanted for arm in experiment.arms]
        jobs += [job for job in every if job.key not in done]
    return sorted(jobs, key=lambda job: estimate(job, folder))


def estimate(job: Job, folder: Path = RESULTS) -> float:
    """CPU seconds of a run: the mean of those of its arm that are done, else the experiment's guess."""
    lines = [line for line in read_results(job.experiment.name, folder) if line["arm"] == job.arm.name]
    return sum(line["cpu_seconds"] for line in lines) / len(lines) if lines else job.experiment.cpu_seconds


def weights_folder(job: Job) -> Path:
    """Where a run of an experiment with ``keep_weights`` leaves its last checkpoint."""
    return SCRATCH / "weights" / "-".join(map(str, job.key))


@contextlib.contextmanager
def _claimed(job: Job) -> Iterator[bool]:
    """Whether this process may make the run: nobody else is at it. The claim ends with the process."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with (SCRATCH / ("-".join(map(str, job.key)) + ".lock")).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def run_here(job: Job, folder: Path = RESULTS) -> Result | None:
    """Makes a run in this process and writes its line; None where it is done, or another process is at it."""
    with _claimed(job) as mine:
        if not mine or job.key in newest(read_results(job.experiment.name, folder)):
            return None
        import torch

        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory(prefix="learning-") as scratch:
            trained = job.arm.train(job, Path(scratch))
        name, arm, seed = job.key
        day = time.strftime("%Y-%m-%d", time.gmtime())
        result = {"experiment": name, "arm": arm, "seed": seed, **trained, "versions": _versions(), "day": day}
        append(result, folder)
        return result


def _versions() -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def run_all(jobs: Sequence[Job], at_once: int) -> int:
    """Makes the runs in processes of their own, ``at_once`` side by side; how many failed."""
    say = threading.Lock()
    failed = 0

    def make(job: Job) -> bool:
        began = time.monotonic()
        status, output = _run_apart(job)
        with say:
            last = output.strip().splitlines()[-1] if output.strip() else ""
            told = last if status == 0 else f"FAILED ({status})\n{output[-3000:]}"
            print(f"{' '.join(map(str, job.key))}, {time.monotonic() - began:.0f} s: {told}", flush=True)
        return status == 0

    with ThreadPoolExecutor(at_once) as pool:
        failed = sum(not done for done in pool.map(make, jobs))
    return failed


def _run_apart(job: Job) -> tuple[int, str]:
    """Exit status and output of the process of one run."""
    name, arm, seed = job.key
    command = [sys.executable, "-m", "benchmarks.learning", "--train", name, arm, str(seed)]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **threads},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_S,
    )
    return done.returncode, done.stdout

"""How far one replay buffer, one rollout manager and one telemetry hub carry: 8, 64 and 256 logical rollout workers.

    python benchmarks/growth.py                            # measures this version
    python benchmarks/growth.py --against COMMIT           # and another commit, in turns; the two must agree on calls
    python benchmarks/growth.py --profile --workers 256    # where the buffer's event loop spends its time

Workers are asyncio tasks in at most 8 actors (``tests/support/logical_workers.py``) that send what real ones send, with
small fragments by reference; each has 4 environments. The trainer reads and publishes 8.8 MB of weights as fast as it
can. ``saturated``: steps cost nothing. ``paced``: a fragment takes 3.2 s, which is 64 steps at Minecraft's 20 a second.
Each measurement is a line of ``benchmarks/results/growth.jsonl``, from which ``docs/scaling.md`` takes its tables.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if __name__ != "__main__" or "--measure" not in sys.argv:
    sys.path.insert(0, str(ROOT))  # a measurement gets the version of the package from its environment

RESULTS = ROOT / "benchmarks" / "results" / "growth.jsonl"
PACES = {"saturated": 0.0, "paced": 3.2}


def measure(workers: int, pace: str, seconds: float, label: str, address: str, head: int, profile: bool) -> None:
    """One measurement in the cluster at ``address``, printed as JSON."""
    import psutil
    import ray

    from minestudio_nb.runtime.cluster import connect
    from tests.support.growth import Growth
    from tests.support.logical_workers import Load

    connect(address)
    servers = [process for process in psutil.Process(head).children(recursive=True) if process.name() in SERVERS]
    others = {name: [process.pid for process in servers if process.name() == name] for name in SERVERS}
    load = Load(fragment_seconds=PACES[pace])
    with (
        tempfile.TemporaryDirectory() as root,
        Growth(f"growth-{os.getpid()}", workers, load, Path(root)) as growth,
    ):
        growth.iterate(3)
        result = growth.measure(seconds, others, profile)
    ray.shutdown()
    print(result.pop("profile"), file=sys.stderr)
    print("RESULT " + json.dumps({"version": label, "pace": pace, **_rounded(result)}), flush=True)


SERVERS = ("raylet", "gcs_server")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(argv: Sequence[str] | None = None) -> None:
    """All measurements, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="8,64,256")
    parser.add_argument("--paces", default="saturated,paced")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--against", help="a commit to compare with")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--write", action="store_true", help="add to the results")
    parser.add_argument("--measure", nargs=4, metavar=("LABEL", "PACE", "ADDRESS", "HEAD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.measure:
        label, pace, address, head = arguments.measure
        workers, seconds = int(arguments.workers), arguments.seconds
        measure(workers, pace, seconds, label, address, int(head), arguments.profile)
    else:
        compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Measures the versions in turns, each in a cluster of its own."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        versions = {"now": ROOT}
        if arguments.against:
            versions = {"before": _export(arguments.against, Path(folder)), **versions}
        clusters = {label: stack.enter_context(cluster(label, code, Path(folder))) for label, code in versions.items()}
        paces, counts = arguments.paces.split(","), arguments.workers.split(",")
        for _, pace, workers in itertools.product(range(arguments.repeats), paces, counts):
            for label, code in versions.items():
                command = [sys.executable, __file__, "--workers", workers, "--seconds", str(arguments.seconds)]
                command += ["--measure", label, pace, *clusters[label]]
                _run(command + (["--profile"] if arguments.profile else []), code, arguments.write)


@contextlib.contextmanager
def cluster(label: str, code: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """A cluster whose processes import the package from ``code``: its address, and the process id of its head."""
    from minestudio_nb.runtime.cluster import HeadSettings, start_head, stop_head

    record_path = folder / f"{label}.json"
    settings = HeadSettings(f"growth-{label}", record_path, False, 8, 0, 2**30)
    own = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(code)
    try:
        record, head = start_head(settings, timeout=300.0)
    finally:
        os.environ.pop("PYTHONPATH")
        os.environ.update({} if own is None else {"PYTHONPATH": own})
    assert head.stdin is not None
    try:
        yield record.address, str(record.pid)
    finally:
        stop_head(record, record_path, timeout=60.0)
        head.stdin.close()
        head.wait(timeout=30.0)


def _export(commit: str, folder: Path) -> Path:
    """The package as it was at ``commit``, with today's simulation beside it."""
    archive = subprocess.run(["git", "archive", commit, "minestudio_nb"], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    shutil.copytree(ROOT / "tests" / "support", folder / "tests" / "support")
    return folder


def _run(command: Sequence[str], code: Path, write: bool) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(code)}
    # Ray's workers look for modules in the driver's folder first.
    done = subprocess.run(command, cwd=code, env=environment, stdout=subprocess.PIPE, text=True, timeout=600.0)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        print(f"no result: {' '.join(command)}", flush=True)
        return
    result: dict[str, Any] = json.loads(lines[0].removeprefix("RESULT "))
    assert Path(result.pop("code")) == code, "the session ran another version"
    result["load1"], result["day"] = round(os.getloadavg()[0], 1), time.strftime("%Y-%m-%d")
    print(json.dumps(result), flush=True)
    if write:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()

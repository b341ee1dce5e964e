"""Ours and the peers, interleaved and repeated: medians, ratios and whether each goal is met.

    python benchmarks/compare.py --peers PEERS [--cases w1_none,w1_sleep5,w2,w3,ray] [--repeats 3] [--seconds 8]
                                 [--out results.jsonl] [--quiet 0]

PEERS holds the peers' scripts and a virtual environment ``v_<name>`` for each. Every run is a line of JSON in
``--out``; a Markdown table per case goes to standard output. ``--report results.jsonl`` makes the tables again.

Steps per second mean little while other programs run (``others_cores``, in cores); CPU seconds per 1,000 steps, of all
processes of a contestant, depend on them much less. All contestants use one thread per process.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import measuring
import rollout
from measuring import Result

OURS = "ours"
Run = Callable[[int], Result]
"""Makes one run with this seed."""


@dataclass(frozen=True)
class Case:
    """One contest: what is measured, against whom, and what is wanted."""

    title: str
    measure: str
    """Key of the results that decides."""
    wanted: float | None
    """Ours over the best other: at least this where more is better, else at most. None: whatever comes."""
    more_is_better: bool
    contestants: dict[str, Run]


def make_cases(arguments: argparse.Namespace) -> dict[str, Case]:
    """All cases by name."""
    peers, seconds = Path(arguments.peers).resolve(), arguments.seconds
    python = [sys.executable]

    def script(name: str, *options: str) -> Run:
        command = [*python, str(measuring.BENCHMARKS / name), "--peers", str(peers), *options]
        return lambda seed: measuring.run_script(command, measuring.BENCHMARKS.parent, 600.0)

    def seeded(name: str, option: str) -> Run:
        return lambda seed: script(name, option, str(seed), "--seconds", str(seconds))(seed)

    def peer(venv: str, name: str, workload: str, *options: str) -> Run:
        command = [str(peers / f"v_{venv}/bin/python"), f"peer_{name}.py", "--workload", workload, "--threads", "1"]
        command += ["--cost", "none", "--net", "tiny", "--seconds", str(seconds), *options]
        return lambda seed: measuring.run_script([*command, "--seed", str(seed)], peers, 600.0)

    def prototype(mode: str, cost: str) -> Run:
        command = [
            str(peers / "v_core/bin/python"),
            "proto_rollout.py",
            "--mode",
            mode,
            "--cost",
            cost,
            "--net",
            "tiny",
        ]
        return lambda seed: measuring.run_script([*command, "--threads", "1", "--seconds", str(seconds)], peers, 600.0)

    def our_rollout(mode: str, cost: str) -> Run:
        options = argparse.Namespace(peers=str(peers), net="tiny", seconds=seconds)
        return lambda seed: rollout.measure_ours(options, mode, cost)

    def cartpole(seed: int) -> Result:
        return script("cartpole.py", "--seeds", str(seed))(seed)

    def ours_on(runtime: str, job: str) -> Run:
        return script("ray_overhead.py", "--measure", runtime, "--jobs", job, "--seconds", str(3 * seconds))

    w1 = "steps_per_s"
    cases = {
        "w1_none": Case("W1, steps that cost nothing", w1, 0.85, True, {
            OURS: our_rollout("in_worker", "none"), "2x_d_sync": prototype("2x_d_sync", "none")}),
        "w1_sleep5": Case("W1, steps that wait 5 ms", w1, 0.85, True, {
            OURS: our_rollout("processes", "sleep5"), "2x_e_ready": prototype("2x_e_ready", "sleep5")}),
        "w2": Case("W2, full PPO, tiny network", "cpu_s_per_1k", 1.1, False, {
            OURS: seeded("ppo.py", "--seed"), "cleanrl": peer("core", "cleanrl", "w2"),
            "sb3": peer("sb3", "sb3", "w2"), "skrl": peer("skrl", "skrl", "w2"), "sf": peer("sf", "sf", "w2")}),
        "w3": Case("W3, CartPole to a greedy mean of 475", "cpu_s", None, False, {
            OURS: cartpole, "cleanrl": peer("core", "cleanrl", "w3"), "sb3": peer("sb3", "sb3", "w3", "--mode", "zoo"),
            "skrl": peer("skrl", "skrl", "w3"), "sf": peer("sf", "sf", "w3")}),
    }  # fmt: skip
    for job in ("chop_tree", "pixels", "pixels_1"):
        contestants = {OURS: ours_on("ray", job), "inline": ours_on("inline", job)}
        cases[f"ray_{job}"] = Case(f"Ray over inline, {job}", "cpu_s_per_1k", 1.15, False, contestants)
    return cases


def run_cases(cases: dict[str, Case], arguments: argparse.Namespace) -> None:
    """All runs, interleaved: a round of every contestant, then the next."""
    common = measuring.peers_common(arguments.peers)
    with open(arguments.out, "a", encoding="utf-8") as out:
        for repeat in range(arguments.repeats):
            for name, case in cases.items():
                for contestant, run in case.contestants.items():
                    common.wait_quiet(max_wait=arguments.quiet)
                    result = measuring.watched(functools.partial(run, repeat), common.machine_busy)
                    line = {"case": name, "contestant": contestant, "repeat": repeat, **result}
                    out.write(json.dumps(line) + "\n")
                    out.flush()
                    print(line, file=sys.stderr, flush=True)


def report(cases: dict[str, Case], results: Sequence[Result]) -> str:
    """A Markdown table per case."""
    parts = []
    for name, case in cases.items():
        of_case = [result for result in results if result["case"] == name]
        if not of_case:
            continue
        rows = [_row(case, who, [r for r in of_case if r["contestant"] == who]) for who in case.contestants]
        verdict = _verdict(case, rows)
        keys = ("steps_per_s", "cpu_s_per_1k", "env_steps", "cpu_s", "others_cores")
        columns = ["contestant", *(key for key in keys if any(row[key] is not None for row in rows)), "runs"]
        parts.append("\n\n".join([f"### {case.title}", measuring.markdown(columns, rows), verdict + "."]))
    return "\n\n".join(parts)


def _verdict(case: Case, rows: Sequence[Result]) -> str:
    ours, others = rows[0], [row for row in rows[1:] if row[case.measure] is not None]
    if not others or ours[case.measure] is None:
        return "Nothing to compare"
    choose = max if case.more_is_better else min
    best = choose(others, key=lambda row: row[case.measure])
    ratio = ours[case.measure] / best[case.measure]
    text = f"{case.measure}: ours is {ratio:.2f} of the best other"
    if case.wanted is not None:
        met = ratio >= case.wanted if case.more_is_better else ratio <= case.wanted
        bound = f"{'at least' if case.more_is_better else 'at most'} {case.wanted:g}"
        text += f"; wanted {bound}: {'met' if met else 'missed'}"
    if case.measure == "steps_per_s":
        text += f". Steps per CPU second: {best['cpu_s_per_1k'] / ours['cpu_s_per_1k']:.2f} of its"
    return text


def _row(case: Case, contestant: str, results: Sequence[Result]) -> Result:
    good = [result for result in results if result.get(case.measure) is not None and result.get("reached", True)]
    keys = ("steps_per_s", "cpu_s_per_1k", "env_steps", "cpu_s", "others_cores")
    runs = f"{len(good)}/{len(results)}"
    return {"contestant": contestant, "runs": runs, **{key: measuring.median(good, key) for key in keys}}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and reports, or only reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--cases", default="w1_none,w1_sleep5,w2,w3,ray_chop_tree,ray_pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each measurement")
    parser.add_argument("--quiet", type=float, default=0.0, help="wait so many seconds for a quiet machine, each time")
    parser.add_argument("--out", type=Path, default=Path("results.jsonl"), help="results are added here")
    parser.add_argument("--report", type=Path, help="make the tables of this file and measure nothing")
    arguments = parser.parse_args(argv)
    cases = make_cases(arguments)
    if arguments.report is None:
        run_cases({name: cases[name] for name in arguments.cases.split(",")}, arguments)
    lines = (arguments.report or arguments.out).read_text(encoding="utf-8").splitlines()
    print(report(cases, [json.loads(line) for line in lines]))


if __name__ == "__main__":
    main()

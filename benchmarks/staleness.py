"""CartPole-v1 learned from data that is 0, 2 and 8 policy versions old, with the decoupled and the plain objective.

    python benchmarks/staleness.py                  # 3 seeds; what is in the results already is not run again
    python benchmarks/staleness.py --seeds 3,4
    python benchmarks/staleness.py --publish        # no training: picture and table from the results so far

The shipped ``cartpole`` configuration, inline, with a clip range of 0.02, so that the trust region is what limits how
fast the policy changes, and 300 iterations of 256 steps. A store between buffer and trainer holds fragments back. Each
run is a line of ``benchmarks/results/staleness.jsonl``, from which ``docs/images/staleness.png`` and the table of
``docs/ppo.md`` are made.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

RESULTS = ROOT / "benchmarks" / "results" / "staleness.jsonl"
PICTURE = ROOT / "docs" / "images" / "staleness.png"
LAGS, OBJECTIVES = (0, 2, 8), ("decoupled", "plain")
SETTINGS = ("train_config.ppo_clip=0.02", "train_config.num_iterations=300", "recovery_interval=100000")
GOAL = 475.0
"""Mean return of the last 50 training episodes."""
CURVE_POINTS = 75
MEANS = ("rollout/staleness", "ppo/effective_sample_size", "ppo/clip_fraction", "ppo/approx_kl_nats")
COLOURS = {"decoupled": "#2e8b57", "plain": "#c8662b"}

Result = dict[str, Any]


def train(lag: int, objective: str, seed: int) -> Result:
    """One run, as a line of the results."""
    from minestudio_nb import OnlineSession
    from minestudio_nb.trainer import register_trainer
    from tests.support.lag import LaggedPPOTrainer

    register_trainer(LaggedPPOTrainer)
    LaggedPPOTrainer.lag = lag
    own = ["trainer_name=LaggedPPOTrainer", f"train_config.objective={objective}"]
    seeds = [f"train_config.seed={seed}", f"rollout_config.worker_config.seed={seed}"]
    began = time.process_time()
    with tempfile.TemporaryDirectory() as root, OnlineSession("lag", runtime="inline", run_root=root) as session:
        session.load_config("cartpole", [*own, *seeds, *SETTINGS])
        session.start_rollout()
        session.start_trainer()
        session.wait(timeout=3600)
        used = time.process_time() - began
        points = [json.loads(line) for line in (Path(root) / "lag" / "metrics.jsonl").read_text().splitlines()]
        final = session.evaluate(20).mean_return
    steps, returns = trained_curve(points)
    settled = [point["values"] for point in points if point["iteration"] > lag]
    means = {
        name.partition("/")[2]: round(sum(values[name] for values in settled) / len(settled), 4)
        for name in MEANS
        if name in settled[0]
    }
    every = max(1, len(steps) // CURVE_POINTS)
    return {
        "lag": lag,
        "objective": objective,
        "seed": seed,
        "reached_at": next((step for step, value in zip(steps, returns, strict=True) if value >= GOAL), None),
        "best": round(max(returns), 1),
        "final": round(final, 1),
        "cpu_seconds": round(used, 1),
        **means,
        "curve": [steps[::every], [round(value, 1) for value in returns[::every]]],
        "day": time.strftime("%Y-%m-%d"),
    }


def trained_curve(points: Sequence[dict[str, Any]]) -> tuple[list[int], list[float]]:
    """Steps trained on, and the mean return of the last 50 episodes, where there is one."""
    known = [point for point in points if "episode/return_window" in point["values"]]
    return [256 * point["iteration"] for point in known], [point["values"]["episode/return_window"] for point in known]


def read_results() -> list[Result]:
    """All lines written so far."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []


def draw(results: Sequence[Result]) -> None:
    """``docs/images/staleness.png``: a panel for each lag, a line for each run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(9.6, 2.9), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(LAGS), sharey=True)
    for axes, lag in zip(panels, LAGS, strict=True):
        for objective in OBJECTIVES:
            # Drawn wider and first where the other is the same line.
            width = 3.6 if (lag, objective) == (0, "decoupled") else 1.4
            mine = [result for result in results if (result["lag"], result["objective"]) == (lag, objective)]
            for index, result in enumerate(mine):
                label = objective if index == 0 else None
                axes.plot(*result["curve"], color=COLOURS[objective], linewidth=width, label=label, alpha=0.85)
        axes.axhline(GOAL, color="#555555", linestyle="--", linewidth=1.0)
        axes.set_title(f"{lag} versions old", fontsize=9)
        axes.set_xlabel("env steps trained on", fontsize=8)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel("return, last 50 episodes", fontsize=8)
    panels[-1].legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    """Runs what is missing, and publishes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="numbers with commas (default: 0,1,2)")
    parser.add_argument("--publish", action="store_true", help="only draw, and fill the page")
    options = parser.parse_args()
    if not options.publish:
        wanted = itertools.product(map(int, options.seeds.split(",")), LAGS, OBJECTIVES)
        for seed, lag, objective in wanted:
            known = read_results()
            if any((run["lag"], run["objective"], run["seed"]) == (lag, objective, seed) for run in known):
                continue
            result = train(lag, objective, seed)
            ordered = sorted([*known, result], key=lambda run: (run["lag"], run["objective"], run["seed"]))
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text("".join(json.dumps(run) + "\n" for run in ordered))
            print(json.dumps({key: value for key, value in result.items() if key != "curve"}), flush=True)
    import generate

    draw(read_results())
    generate.main()


if __name__ == "__main__":
    main()

"""Trains the shipped tasks and writes what comes of it: ``docs/tasks.jsonl``, pictures, the tables of docs/tasks.md.

    python benchmarks/tasks.py                                  # every task, seeds 0 and 1, on Ray as a user would
    python benchmarks/tasks.py --tasks hunt,shoot --seeds 0,1,2
    python benchmarks/tasks.py --pictures                       # no training: pictures and page from the results so far

Each run is ``python -m minestudio_nb.run TASK --report``: it plays 20 held-out episodes before and after training, and
trains until the task's target. Its line in the results replaces an earlier one of the same task and seed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

TASKS = ("chop_tree", "hunt", "mine_stone", "shoot", "place_frame")
RESULTS = ROOT / "docs" / "tasks.jsonl"
IMAGES = ROOT / "docs" / "images"
CURVE_POINTS = 60
FRAME = (480, 270)
FRAME_SEEDS = {
    "chop_tree": 1,
    "hunt": 3,
    "mine_stone": 2,
    "shoot": 2,
    "place_frame": 1,
}  # episodes that begin with a good view
COLOURS = ("#2e8b57", "#c8662b", "#3a6fb0", "#8a5fa8", "#777777")

Result = dict[str, Any]


def train(task: str, seed: int, root: Path, runtime: str, episodes: int, overrides: Sequence[str]) -> Result:
    """One run, as a line of the results."""
    name = f"{task}-{seed}"
    seeds = [f"train_config.seed={seed}", f"rollout_config.worker_config.seed={seed}"]
    options = ["--name", name, "--run-root", str(root), "--runtime", runtime, "--replace", "--report"]
    command = [sys.executable, "-m", "minestudio_nb.run", task, *seeds, *overrides, *options, f"--episodes={episodes}"]
    log = root / f"{name}.log"
    with log.open("w") as output:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=output, stderr=subprocess.STDOUT
        )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}; see {log}")
    summary = json.loads((root / name / "summary.json").read_text())
    points = [json.loads(line) for line in (root / name / "metrics.jsonl").read_text().splitlines()]
    return {
        "task": task,
        "seed": seed,
        "runtime": runtime,
        "cores": os.cpu_count(),
        "random": round(summary["return_random"], 3),
        "trained": round(summary["return_final"], 3),
        "held_out_episodes": summary["held_out_episodes"],
        "target": summary["target_return"],
        "learned": summary["learned"],
        "env_steps": summary["env_steps"],
        "cpu_seconds": round(summary["cpu_seconds"] or 0.0, 1),
        "train_seconds": summary["training_seconds"],
        "curve": curve(points),
        "day": time.strftime("%Y-%m-%d"),
    }


def random_gate(episodes: int = 8) -> Result:
    """What a random policy returns in ``gate``, which nothing here trains; tiny images, for they do not matter."""
    from minestudio_nb.simulator import build_env, task_config

    env = build_env({**task_config("gate"), "obs_size": [16, 16]}, seed=1)
    env.action_space.seed(0)
    returns = []
    for episode in range(episodes):
        env.reset(seed=episode)
        returns.append(0.0)
        over = False
        while not over:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            returns[-1] += float(reward)
            over = terminated or truncated
    env.close()
    return {"task": "gate", "seed": 0, "random": round(sum(returns) / episodes, 3), "random_episodes": episodes}


def curve(points: Sequence[dict[str, Any]]) -> list[list[float]]:
    """``[env steps, mean return of the latest episodes]`` of at most CURVE_POINTS points and the last."""
    known = [
        [point["env_steps"], round(point["values"]["episode/return_window"], 3)]
        for point in points
        if "episode/return_window" in point["values"]
    ]
    every = max(1, len(known) // CURVE_POINTS)
    return known[::every] + ([known[-1]] if known and (len(known) - 1) % every else [])


def read_results() -> list[Result]:
    """All lines written so far."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []


def write_results(results: Iterable[Result]) -> None:
    """All lines, in the order of TASKS and seeds."""
    ordered = sorted(results, key=lambda result: ((*TASKS, "gate").index(result["task"]), result["seed"]))
    RESULTS.write_text("".join(json.dumps(result) + "\n" for result in ordered))


def draw_curves(task: str, results: Sequence[Result]) -> None:
    """``docs/images/task_<task>.png``: the return over env steps, a line for each seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(4.8, 2.7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for result, colour in zip(results, COLOURS, strict=False):
        steps, returns = zip(*result["curve"], strict=True)
        axes.plot(steps, returns, color=colour, linewidth=1.8, label=f"seed {result['seed']}")
    if results[0]["target"] is not None:
        axes.axhline(results[0]["target"], color="#555555", linestyle="--", linewidth=1.0, label="training ends")
    random = sum(result["random"] for result in results) / len(results)
    axes.axhline(random, color="#999999", linestyle=":", linewidth=1.2, label="random policy")
    axes.set_xlabel("env steps", fontsize=8)
    axes.set_ylabel("mean return", fontsize=8)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.legend(frameon=False, fontsize=7, loc="upper left")
    figure.savefig(IMAGES / f"task_{task}.png", dpi=100)


def draw_frame(task: str) -> None:
    """``docs/images/task_<task>.jpg``: how an episode begins."""
    from PIL import Image

    from minestudio_nb.simulator import build_env, task_config

    env = build_env({**task_config(task), "render_size": list(FRAME)}, seed=3)
    env.reset(seed=FRAME_SEEDS.get(task, 0))
    frame: Any = env.render()
    env.close()
    Image.fromarray(frame).save(IMAGES / f"task_{task}.jpg", quality=82, optimize=True)


def publish(results: Sequence[Result]) -> None:
    """Pictures of every task, and docs/tasks.md with the numbers of these results."""
    import generate

    IMAGES.mkdir(exist_ok=True)
    for task in (*TASKS, "gate"):
        draw_frame(task)
        mine = [result for result in results if result["task"] == task and result["curve"]]
        if mine:
            draw_curves(task, mine)
    generate.main()


def main() -> None:
    """Trains what was asked for, one run after another, and publishes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS), help="names with commas (default: all)")
    parser.add_argument("--seeds", default="0,1", help="numbers with commas (default: 0,1)")
    parser.add_argument("--runtime", choices=("ray", "inline"), default="ray")
    parser.add_argument("--episodes", type=int, default=20, help="held-out episodes before and after (default: 20)")
    parser.add_argument("--run-root", help="keep the runs' directories here (default: a temporary folder)")
    parser.add_argument("--pictures", action="store_true", help="only draw, and fill the page")
    parser.add_argument("--overrides", nargs="*", default=[], help="further overrides of the configurations")
    options = parser.parse_args()
    unknown = set(options.tasks.split(",")) - set(TASKS)
    if unknown:
        parser.error(f"there is no task {sorted(unknown)[0]!r}; tasks are {', '.join(TASKS)}")
    if not options.pictures:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(options.run_root or folder).resolve()
            root.mkdir(parents=True, exist_ok=True)
            for task in options.tasks.split(","):
                for seed in map(int, options.seeds.split(",")):
                    result = train(task, seed, root, options.runtime, options.episodes, options.overrides)
                    kept = [old for old in read_results() if (old["task"], old["seed"]) != (task, seed)]
                    write_results([*kept, result])
                    print(json.dumps({key: value for key, value in result.items() if key != "curve"}), flush=True)
            write_results([*(old for old in read_results() if old["task"] != "gate"), random_gate()])
    publish(read_results())


if __name__ == "__main__":
    main()

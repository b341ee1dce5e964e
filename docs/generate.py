"""Writes what follows from code and measurements into the documents: ``python docs/generate.py`` (or ``make docs``).

``metrics.md`` comes from the catalogue of metrics, ``settings.md`` from the configuration's schema, ``biomes.md`` from
VoxelSim's biomes, ``physics.md`` from measurements of it, and the tables of ``tasks.md`` from ``tasks.jsonl``, which
``benchmarks/tasks.py`` writes, of ``ppo.md`` from the results of ``benchmarks/staleness.py``, and of ``scaling.md``
from those of ``benchmarks/growth.py``. ``learning.md`` comes from the results of ``benchmarks/learning``. A test
compares.
"""

from __future__ import annotations

import itertools
import json
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minestudio_nb.config import field_specs
from minestudio_nb.contracts.fields import FieldSpec
from minestudio_nb.contracts.telemetry import METRICS, MetricSpec
from minestudio_nb.simulator.biomes import BIOMES, NEAREST

ROOT = Path(__file__).parent.parent

REDUCTIONS = {
    "mean": "mean over the iteration, weighted by samples",
    "sum": "sum over the iteration",
    "max": "greatest of the iteration",
    "min": "smallest of the iteration",
    "last": "last of the iteration",
}


def metrics_page() -> str:
    """``docs/metrics.md``."""
    lines = [
        "# Metrics",
        "",
        "One point per iteration, in `metrics.jsonl`, `session.metrics()`, the report and the exporters. A metric",
        "exists only if it is declared in `minestudio_nb/contracts/telemetry.py`, from which this page is made",
        "(`make docs`). A point lacks the metrics that nobody measured in its iteration.",
        "",
        "Every count and rate is in *steps*: one step is one decision of the policy, whatever the frame skip.",
    ]
    for group, specs in itertools.groupby(METRICS.values(), key=lambda spec: spec.name.split("/")[0]):
        lines += ["", f"## {group}", "", "| metric | unit | one point is | meaning | what bad looks like |"]
        lines += ["|---|---|---|---|---|", *(_metric_row(spec) for spec in specs)]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """``docs/settings.md``."""
    lines = [
        "# Settings",
        "",
        "Every key of a configuration, made from the schema (`make docs`). Keys are MineStudio's where MineStudio has",
        "them. *Live* settings can be changed while a session runs: `session.set(key, value)` holds from the next",
        "iteration on. [configuration.md](configuration.md) says how configurations are written and composed.",
    ]
    specs = field_specs().values()
    for section, members in itertools.groupby(specs, key=lambda spec: spec.key.rpartition(".")[0]):
        lines += ["", f"## {section or 'top level'}", "", "| key | default | range | unit | live | effect |"]
        lines += ["|---|---|---|---|---|---|", *(_setting_row(spec) for spec in members)]
    return "\n".join(lines) + "\n"


def biomes_page() -> str:
    """``docs/biomes.md``."""
    lines = [
        "# Biomes",
        "",
        "One of VoxelSim's worlds is one biome. `preferred_spawn_biome`, `env_config.biome`, FastReset's `biomes` and",
        "`/teleportbiome` take these names, and every name of Minecraft 1.16's overworld, which means the nearest",
        "of ours. Names of other dimensions are refused. The table is made from `minestudio_nb/simulator/biomes.py`",
        "(`make docs`); [minestudio.md](minestudio.md) says what else differs from the real game.",
        "",
        "| biome | stands for |",
        "|---|---|",
        *(_row(f"`{name}`", ", ".join(f"`{other}`" for other in NEAREST.get(name, ()))) for name in BIOMES),
    ]
    return "\n".join(lines) + "\n"


def tasks_page() -> str:
    """``docs/tasks.md`` with its tables filled anew; each stands between ``<!-- name -->`` and ``<!-- /name -->``."""
    here = Path(__file__).parent
    runs = [json.loads(line) for line in (here / "tasks.jsonl").read_text(encoding="utf-8").splitlines()]
    page = (here / "tasks.md").read_text(encoding="utf-8")

    def filled(match: re.Match[str]) -> str:
        name = match["name"]
        mine = [run for run in runs if run["task"] == name]
        if name == "results":
            filling = _overview([run for run in runs if "trained" in run])
        elif name == "gate":
            filling = _task(name, []) + "".join(
                f"\nA random policy returns {run['random']:.1f}, the mean of {run['random_episodes']} episodes.\n"
                for run in mine
            )
        else:
            filling = _task(name, mine)
        return f"<!-- {name} -->\n{filling}<!-- /{name} -->"

    return re.sub(r"<!-- (?P<name>\w+) -->\n.*?<!-- /(?P=name) -->", filled, page, flags=re.DOTALL)


def _overview(runs: Sequence[dict[str, Any]]) -> str:
    """One row for each task: means over its seeds, and the range of what it took."""
    lines = ["| task | random | trained | env steps | CPU seconds | minutes | seeds |", "|---|---|---|---|---|---|---|"]
    for task, members in itertools.groupby(runs, key=lambda run: str(run["task"])):
        some = list(members)
        means = [f"{sum(run[key] for run in some) / len(some):.2f}" for key in ("random", "trained")]
        took = (
            _range([run["env_steps"] / 1000 for run in some], "{:.0f}k"),
            _range([run["cpu_seconds"] for run in some], "{:.0f}"),
            _range([run["train_seconds"] / 60 for run in some], "{:.1f}"),
        )
        learned = sum(run["learned"] for run in some)
        seeds = f"{len(some)}" if learned == len(some) else f"{learned} of {len(some)} reached the target"
        lines.append(_row(f"[{task}](#{task})", *means, *took, seeds))
    return "\n".join(lines) + "\n"


def _task(task: str, runs: Sequence[dict[str, Any]]) -> str:
    """How a task looks and how the return grew, and one row for each run."""
    pictures = [f"![How an episode begins](images/task_{task}.jpg)"]
    if not runs:
        return pictures[0] + "\n"
    pictures.append(f"![Return over env steps](images/task_{task}.png)")
    lines = [
        _row(*pictures),
        "|---|---|",
        "",
        "| seed | random | trained | target | env steps | CPU seconds | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        reached = f"{run['target']:g}" + ("" if run["learned"] else " (not reached)")
        took = (f"{run['env_steps']:,}", f"{run['cpu_seconds']:.0f}", f"{run['train_seconds'] / 60:.1f}")
        lines.append(_row(f"{run['seed']}", f"{run['random']:.2f}", f"{run['trained']:.2f}", reached, *took))
    return "\n".join(lines) + "\n"


def _range(values: Sequence[float], form: str) -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def ppo_page() -> str:
    """``docs/ppo.md`` with its table of stale data filled anew from ``benchmarks/results/staleness.jsonl``."""
    runs = [json.loads(line) for line in (ROOT / "benchmarks/results/staleness.jsonl").read_text().splitlines()]
    lines = ["| age of the data | objective | 475 reached at | evaluated at the end | ESS | clipped | seeds |"]
    lines.append("|---|---|---|---|---|---|---|")
    for (lag, objective), members in itertools.groupby(runs, key=lambda run: (run["lag"], run["objective"])):
        some = list(members)
        reached = ", ".join("never" if run["reached_at"] is None else f"{run['reached_at']:,}" for run in some)
        final = ", ".join(f"{run['final']:.0f}" for run in some)
        sizes = [run["effective_sample_size"] for run in some if "effective_sample_size" in run]
        size = f"{sum(sizes) / len(sizes):.2f}" if sizes else ""
        clipped = f"{sum(run['clip_fraction'] for run in some) / len(some):.2f}"
        lines.append(_row(f"{lag} versions", objective, reached, final, size, clipped, f"{len(some)}"))
    filling = "\n".join(["![Returns by age of the data](images/staleness.png)", "", *lines])
    page = (Path(__file__).parent / "ppo.md").read_text(encoding="utf-8")
    pattern = r"<!-- staleness -->\n.*?<!-- /staleness -->"
    return re.sub(pattern, lambda _: f"<!-- staleness -->\n{filling}\n<!-- /staleness -->", page, flags=re.DOTALL)


GROWTH_COLUMNS = {
    "fragments/s": "fragments_per_s",
    "put to seen, ms, p50": "put_to_seen_ms_p50",
    "p95": "put_to_seen_ms_p95",
    "loop late, ms, p95": "loop_late_ms_p95",
    "new weights, ms, p50": "publish_ms_p50",
    "snapshot, ms, p50": "snapshot_ms_p50",
}


def scaling_page() -> str:
    """``docs/scaling.md`` with its tables filled anew from ``benchmarks/results/growth.jsonl``."""
    runs = [json.loads(line) for line in (ROOT / "benchmarks/results/growth.jsonl").read_text().splitlines()]
    page = (Path(__file__).parent / "scaling.md").read_text(encoding="utf-8")
    for pace in ("saturated", "paced"):
        filling = _growth_table([run for run in runs if run["pace"] == pace])
        pattern = rf"<!-- {pace} -->\n.*?<!-- /{pace} -->"
        page = re.sub(pattern, f"<!-- {pace} -->\n{filling}\n<!-- /{pace} -->", page, flags=re.DOTALL)
    return page


def _growth_table(runs: Sequence[dict[str, Any]]) -> str:
    """Medians over the runs of one size and version."""
    services = ("buffer", "supervisor", "raylet")
    heads = [*GROWTH_COLUMNS, *(f"{name}, CPU ms a fragment" for name in services), "buffer, MB", "supervisor, MB"]
    lines = [_row("workers", "version", "runs", *heads), "|" + "---|" * (3 + len(heads))]
    for workers, version in sorted({(run["workers"], run["version"]) for run in runs}):
        some = [run for run in runs if (run["workers"], run["version"]) == (workers, version)]
        values = [statistics.median(run[key] for run in some) for key in GROWTH_COLUMNS.values()]
        values += [statistics.median(run["cpu_ms_per_fragment"][name] for run in some) for name in services]
        values += [statistics.median(run["memory_mb"][name] for run in some) for name in services[:2]]
        cells = [f"{value:.2f}" if value < 10 else f"{value:,.0f}" for value in values]
        lines.append(_row(str(workers), version, str(len(some)), *cells))
    return "\n".join(lines)


def _metric_row(spec: MetricSpec) -> str:
    return _row(f"`{spec.name}`", spec.unit, REDUCTIONS[spec.reduction], spec.help, spec.bad)


def _setting_row(spec: FieldSpec) -> str:
    name = spec.key.rpartition(".")[2]
    effect = f"{spec.help} *Without effect here:* {spec.inert}" if spec.inert else spec.help
    return _row(f"`{name}`", f"`{spec.default}`", spec.range_text, spec.unit, "yes" if spec.live else "", effect)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def physics_page() -> str:
    """``docs/physics.md``: the numbers of ``tests/support/published.py``, ours measured now."""
    sys.path.insert(0, str(ROOT))
    try:
        from tests.support.published import ROWS, table
    finally:
        sys.path.pop(0)
    lines = [
        "# Measured against Minecraft",
        "",
        f"{len(ROWS)} numbers that the Minecraft Wiki publishes for Java Edition 1.16, and what VoxelSim does,",
        "measured in a running world (`make docs`; `tests/support/published.py` holds the rows and their tolerances,",
        "and a test compares them). *Source* is the wiki's page. [voxelsim.md](voxelsim.md) says what differs on",
        "purpose.",
        "",
        table(),
    ]
    return "\n".join(lines) + "\n"


def learning_page() -> str:
    """``docs/learning.md``."""
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.learning.page import page
    finally:
        sys.path.pop(0)
    return page()


PAGES = {
    "metrics.md": metrics_page,
    "settings.md": settings_page,
    "biomes.md": biomes_page,
    "physics.md": physics_page,
    "tasks.md": tasks_page,
    "ppo.md": ppo_page,
    "scaling.md": scaling_page,
    "learning.md": learning_page,
}


def main() -> None:
    """Writes the pages beside this file."""
    for name, page in PAGES.items():
        (Path(__file__).parent / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

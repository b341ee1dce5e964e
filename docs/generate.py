"""Writes the reference pages that follow from the code: ``python docs/generate.py`` (or ``make docs``).

``metrics.md`` comes from the catalogue of metrics, ``settings.md`` from the configuration's schema, ``biomes.md`` from
VoxelSim's biomes, ``physics.md`` from measurements of it. A test compares.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

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


PAGES = {
    "metrics.md": metrics_page,
    "settings.md": settings_page,
    "biomes.md": biomes_page,
    "physics.md": physics_page,
}


def main() -> None:
    """Writes the pages beside this file."""
    for name, page in PAGES.items():
        (Path(__file__).parent / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

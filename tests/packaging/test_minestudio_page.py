"""What docs/minestudio.md says exists: tests, keys without effect, callbacks."""

from __future__ import annotations

import re
from pathlib import Path

from minestudio_nb.config import field_specs
from minestudio_nb.config.minestudio_compat import CALLBACK_NAMES, NOT_FOR_SPECS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "minestudio.md").read_text(encoding="utf-8")


def test_every_test_that_it_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 30
    missing = [
        f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert not missing


def test_every_row_of_the_tables_of_defects_names_a_proof() -> None:
    _, _, tables = PAGE.partition("## What MineStudio does, what happens here")
    rows = [line for line in tables.splitlines() if line.startswith("| ") and not line.startswith("| MineStudio")]
    assert len(rows) == 13 + 21
    assert all("`tests/" in row or "`benchmarks/" in row for row in rows)


def test_every_key_without_effect_is_listed() -> None:
    section = PAGE.partition("### Keys that mean nothing here")[2].partition("###")[0]
    listed = set(re.findall(r"^\| `([\w.]+)` \|", section, re.MULTILINE))
    assert listed == {spec.key for spec in field_specs().values() if spec.inert}


def test_every_callback_is_in_the_table() -> None:
    section = PAGE.partition("| callback | in VoxelSim |")[2].partition("\n\n")[0]
    listed = {name for row in section.splitlines()[2:] for name in row.split("|")[1].replace(" ", "").split(",")}
    assert listed == {name.removesuffix("Callback") for name in CALLBACK_NAMES if name not in NOT_FOR_SPECS}

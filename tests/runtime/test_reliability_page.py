"""docs/reliability.md: every fault in its tables has a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
HEADER = "| fault | found by | what is done | within | lost | test |"


def rows() -> list[list[str]]:
    """The cells of all rows of all tables of faults."""
    tables = PAGE.split(HEADER)[1:]
    lines = [line for table in tables for line in table.partition("\n\n")[0].splitlines()[2:]]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def test_every_fault_has_a_test_that_exists() -> None:
    assert len(rows()) >= 9
    assert PAGE.count("| fault |") == PAGE.count(HEADER), "all tables have the same columns"
    for row in rows():
        assert len(row) == 6, row
        assert row[0] and row[1] and row[2], f"no cell but the fifth may be empty: {row}"
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row[5])
        assert named, f"no test: {row}"
        for path, name in named:
            assert re.search(rf"def {name}\b", (ROOT / path).read_text(encoding="utf-8")), f"{path}::{name}"


def test_no_fault_is_named_twice() -> None:
    faults = [row[0] for row in rows()]
    assert sorted(set(faults)) == sorted(faults)

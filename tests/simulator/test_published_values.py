"""VoxelSim against the numbers that are published about Minecraft: one row each, in ``tests/support/published.py``."""

from __future__ import annotations

import pytest

from tests.support.published import ROWS, Row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.group}: {row.what}")
def test_ours_is_as_published(row: Row) -> None:
    assert row.measure() == pytest.approx(row.published, rel=0.0, abs=row.tolerance + 1e-12)


def test_no_quantity_is_listed_twice() -> None:
    names = [(row.group, row.what) for row in ROWS]
    assert len(set(names)) == len(names) > 100

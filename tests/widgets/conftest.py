"""Points like those of a run that learns, and a JupyterLab that all browser tests share."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import Server, lab, needs_browser


def make_points(count: int = 60, seed: int = 0) -> list[dict[str, Any]]:
    """``count`` iterations of 100 env steps and 2 seconds each, with a return that rises from about 0 to 4."""
    generator = random.Random(seed)
    points = []
    for k in range(1, count + 1):
        mean = 4 / (1 + math.exp(-(k - count / 2) / 6))
        values = {
            "episode/return": mean + generator.gauss(0, 0.3),
            "episode/return_window": mean,
            "rollout/env_steps": 100.0,
            "rollout/steps_per_second": 50.0,
            "rollout/staleness": 0.0,
            "train/samples_per_second": 900.0,
            "ppo/value_loss": 1 / k,
            "ppo/policy_loss": -0.01,
            "ppo/entropy_nats": 3 - k / count,
            "ppo/approx_kl_nats": 0.01,
            "system/memory_bytes": 1.5e9,
        }
        points.append({"iteration": k, "time": 1_700_000_000 + 2.0 * k, "env_steps": 100 * k, "values": values})
    return points


@pytest.fixture
def points() -> list[dict[str, Any]]:
    return make_points()


@pytest.fixture(scope="package")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all: its start takes half a minute."""
    needs_browser()
    with lab(tmp_path_factory.mktemp("lab"), {"MSNB_TEST": "1"}) as server:  # notebooks at test size
        yield server

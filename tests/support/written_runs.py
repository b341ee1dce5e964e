"""Run directories as sessions leave them, written by hand with numbers that are easy to check."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minestudio_nb.config.load import to_yaml
from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.runs import Origin, RunDirectory, RunRecord

BEGAN = 1_700_000_000.0
SECONDS = 10.0
"""Of an iteration."""


def write_run(
    root: Path,
    name: str,
    iterations: range = range(1, 11),
    origin: Origin | None = None,
    settings: Mapping[str, Any] | None = None,
    events: Sequence[Event] = (),
    began: float = BEGAN,
    ended: str = "STOPPED",
    **values: Any,
) -> RunDirectory:
    """A run whose return in iteration k is k, unless ``values`` say otherwise; 32 steps and 10 s an iteration."""
    run = RunDirectory.create(root, name)
    config = OnlineConfig()
    for key, value in (settings or {}).items():
        config = config.with_value(key, value)
    run.write_text("config.yaml", to_yaml(config.to_dict()))
    with run.metrics.open("w") as file:
        for index, iteration in enumerate(iterations):
            point = {
                "iteration": iteration,
                "time": began + SECONDS * (index + 1),
                "env_steps": 32 * iteration,
                "values": {
                    "episode/return": float(iteration),
                    "episode/return_window": iteration / 2,
                    "ppo/entropy_nats": 1.0 / iteration,
                    "rollout/steps_per_second": 3.2,
                    "train/iteration_seconds": SECONDS,
                    **values,
                },
                "tasks": {"chop": {"return_mean": iteration / 2, "return_std": 1.0, "length_mean": 9, "length_std": 0}},
            }
            file.write(json.dumps(point) + "\n")
    with run.events.open("w") as file:
        file.writelines(json.dumps(event.to_dict()) + "\n" for event in events)
    record = RunRecord("chop_tree", "chop", created_at=began, origin=origin)
    record.started("inline", False, began).ended(ended, "").write(run.path)
    return run


def origin_in(root: Path, parent: str, iteration: int, *overrides: str) -> Origin:
    """A fork of ``parent`` at ``iteration``."""
    folder = f"iteration_{iteration:06d}"
    return Origin("fork", parent, str(root / parent), folder, iteration, 32 * iteration, overrides, {}, time.time())


def edit_event(key: str, value: Any, iteration: int, revision: int = 1) -> Event:
    """As the trainer tells of a live edit."""
    data = {"revision": revision, "key": key, "value": value}
    return Event("edit", f"{key} = {value!r} applied @ iteration {iteration}.", "info", "trainer", iteration, data=data)

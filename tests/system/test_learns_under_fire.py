"""Learning goes on while environments crash, die, stall and return garbage at random."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from minestudio_nb import OnlineSession
from minestudio_nb.config import load_config
from tests.support.hostile_env import CRASHES, DEATHS, LIES, PEACE, STALLS, HostileFactory

PATIENT = {"env_per_window": 1_000, "env_lifetime": 10_000, "window": 0.1}
"""Environments break far more often here than anybody would accept."""


def play(
    root: Path, name: str, factory: HostileFactory, *overrides: str, **sections: dict[str, Any]
) -> tuple[OnlineSession, Counter[str]]:
    """Trains a shipped configuration inline to its end with hostile environments; the session, and faults by kind."""
    loaded = load_config(name, ["env_config.simulator=null"] if name == "chop_tree" else [])
    online = {**loaded.config.to_dict(), "env_config": {"task": name}}
    for section, values in sections.items():
        online[section] = {**online[section], **values}
    session = OnlineSession(name, runtime="inline", run_root=root)
    session.load_config({"online_dict": online, "env_generator": factory}, overrides)
    session.start_rollout()
    session.start_trainer()
    session.wait(timeout=3000)
    return session, Counter(path.name.split("-")[0] for path in Path(factory.directory).iterdir())


def test_cartpole_learns_although_environments_crash_and_lie(tmp_path: Path) -> None:
    """As :func:`tests.system.test_learns.test_cartpole_learns_in_a_minute`, with a fault in every 100 steps."""
    faults = tmp_path / "faults"
    faults.mkdir()
    factory = HostileFactory(str(faults), dict.fromkeys((*CRASHES[:1], *LIES), 0.0015))
    limits = ["train_config.max_env_steps=20000", "rollout_config.worker_config.execution=in_worker"]
    session, kinds = play(tmp_path, "cartpole", factory, *limits, restarts=PATIENT)
    with session:
        restarts = session.metrics()["rollout/env_restarts"].sum()
        events = [event for event in session.event_list if event.kind == "env_restart"]
        assert kinds.total() > 100 and set(kinds) == {CRASHES[0], *LIES}
        assert kinds.total() - 8 <= restarts <= kinds.total(), "none was overlooked; the last are in no point any more"
        assert events
        (tmp_path / PEACE).touch()
        assert session.evaluate(20).mean_return >= 150
        episodes = session.episodes()
        assert (episodes["episode_return"] == episodes["length"]).all(), "no reward of a cut episode is counted"


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_cartpole_is_solved_although_processes_die_and_stall(tmp_path: Path) -> None:
    faults = tmp_path / "faults"
    faults.mkdir()
    rates = {**dict.fromkeys(DEATHS, 0.0003), **dict.fromkeys(STALLS, 0.0001), **dict.fromkeys(LIES, 0.0001)}
    limits = ["rollout_config.worker_config.execution=processes", "timeouts.step=3"]
    session, kinds = play(tmp_path, "cartpole", HostileFactory(str(faults), rates), *limits, restarts=PATIENT)
    with session:
        assert kinds.total() > 50 and set(kinds) >= {*DEATHS, *STALLS}
        (tmp_path / PEACE).touch()
        assert session.evaluate(20).mean_return >= 475

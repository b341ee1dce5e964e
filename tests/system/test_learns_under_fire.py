"""Learning goes on while environments crash, die, stall and return garbage at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from minestudio_nb import OnlineSession
from minestudio_nb.config import load_config
from tests.support.hostile_env import DEATHS, LIES, PEACE, STALLS, HostileFactory

PATIENT = {"env_per_window": 1_000, "env_lifetime": 10_000, "window": 0.1}
"""Environments break far more often here than anybody would accept."""


def play(root: Path, name: str, rates: Mapping[str, float], *overrides: str) -> tuple[OnlineSession, Counter[str]]:
    """Trains a shipped configuration inline to its end with hostile environments; the session, and faults by kind."""
    faults = root / "faults"
    faults.mkdir()
    online = load_config(name, overrides).config.to_dict()
    factory = HostileFactory(str(faults), rates, online["env_config"])
    online |= {"env_config": {"task": name}, "restarts": {**online["restarts"], **PATIENT}}
    session = OnlineSession(name, runtime="inline", run_root=root)
    session.load_config({"online_dict": online, "env_generator": factory})
    session.start_rollout()
    session.start_trainer()
    session.wait(timeout=3000)
    (root / PEACE).touch()
    return session, Counter(path.name.split("-")[0] for path in faults.iterdir())


def test_cartpole_learns_although_environments_crash_and_lie(tmp_path: Path) -> None:
    """As :func:`tests.system.test_learns.test_cartpole_learns_in_a_minute`, with a fault in every 100 steps."""
    limits = ["train_config.max_env_steps=20000", "rollout_config.worker_config.execution=in_worker"]
    session, kinds = play(tmp_path, "cartpole", dict.fromkeys(("raise", *LIES), 0.0015), *limits)
    with session:
        restarts = session.metrics()["rollout/env_restarts"].sum()
        assert kinds.total() > 100 and set(kinds) == {"raise", *LIES}
        assert kinds.total() - 8 <= restarts <= kinds.total(), "none was overlooked; the last are in no point any more"
        assert session.evaluate(20).mean_return >= 150
        episodes = session.episodes()
        assert (episodes["episode_return"] == episodes["length"]).all(), "no reward of a cut episode is counted"


RATES = {**dict.fromkeys(DEATHS, 0.0003), **dict.fromkeys(STALLS, 0.0001), **dict.fromkeys(LIES, 0.0001)}


@pytest.mark.full
@pytest.mark.timeout(3000)
def test_cartpole_is_solved_although_processes_die_and_stall(tmp_path: Path) -> None:
    limits = ["rollout_config.worker_config.execution=processes", "timeouts.step=3"]
    session, kinds = play(tmp_path, "cartpole", RATES, *limits)
    with session:
        assert kinds.total() > 50 and set(kinds) >= {*DEATHS, *STALLS}
        assert session.evaluate(20).mean_return >= 475


@pytest.mark.full
@pytest.mark.timeout(3000)
def test_trees_are_chopped_although_processes_die_and_stall(tmp_path: Path) -> None:
    limits = ["rollout_config.num_rollout_workers=1", "rollout_config.worker_config.execution=processes"]
    limits += ["timeouts.step=5", "train_config.max_minutes=null", "train_config.target_return=2.0"]
    session, kinds = play(tmp_path, "chop_tree", {kind: rate / 2 for kind, rate in RATES.items()}, *limits)
    with session:
        assert kinds.total() >= 10, "some 24 in the 40,000 steps that it takes"
        assert set(kinds) & {*DEATHS, *LIES}
        assert session.reached_target()

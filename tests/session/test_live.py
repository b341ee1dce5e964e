"""A running session as a display sees and steers it."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from minestudio_nb.contracts.view import SessionView
from minestudio_nb.errors import ConfigError, RunError, SessionStateError
from minestudio_nb.live import LiveView, read_recording
from minestudio_nb.session import OnlineSession
from minestudio_nb.widgets.dashboard import Dashboard
from tests.session.test_session_inline import session_of, small
from tests.support.counting_env import CountingEnv

LR = "train_config.learning_rate"


class Pictures(CountingEnv):
    """Shows its step number as a grey that is large enough for the cnn policy; episodes of five steps."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)

    def observation(self) -> np.ndarray:
        return np.full((64, 64, 3), 100 + self.step_number, np.uint8)

    def step(self, action: Any) -> tuple[Any, ...]:
        self.step_number += 1
        return self.observation(), 1.0, self.step_number == 5, False, {}


def pictures(**train: Any) -> dict[str, Any]:
    config = small(Pictures, num_iterations=100_000, **train)
    config["online_dict"]["policy_config"] = {"name": "cnn", "args": {}}
    return config


def test_what_a_display_sees_and_orders(tmp_path: Path) -> None:
    with session_of(tmp_path, pictures()) as session:
        session.start_rollout()
        view = LiveView(session)
        assert isinstance(view, SessionView)
        assert (view.head().name, view.head().state, view.points()) == ("run", "ROLLING", ())
        session.start_trainer()
        session.wait(iterations=3, timeout=60)
        view.refresh()
        assert [point["iteration"] for point in view.points(1)][:2] == [2, 3] and view.head().state == "TRAINING"
        held = view.points()[-1]["values"]["buffer/fragments"]
        assert 0 < held <= view.head().values["buffer_fragments"] == session.config.config.buffer_fragments
        deadline = time.monotonic() + 60
        while (tile := view.tiles()["1/0"]).action is None:  # frames come while somebody asks for them
            assert time.monotonic() < deadline
            session.wait(iterations=session.status().values["iteration"] + 1, timeout=60)
        assert sorted(view.tiles()) == ["0/0", "0/1", "1/0", "1/1"]
        assert tile.frame is not None and tile.frame.shape == (64, 64, 3) and tile.frame.max() == 100 + tile.step
        assert tile.episode_return == tile.step
        assert tile.action.shape == (2,) and math.isfinite(tile.value)
        assert view.order("pause") and view.order("resume")


def test_edits_are_applied_undone_and_refused(tmp_path: Path) -> None:
    with session_of(tmp_path, small(num_iterations=100_000)) as session:
        session.start_rollout()
        session.start_trainer()
        view = LiveView(session)
        values = {spec.key: value for spec, value in view.fields()}
        assert (
            values[LR] == 1e-3 and "train_config.ppo_clip" in values and "rollout_config.fragment_length" not in values
        )
        view.order("set", key=LR, value=5e-4)
        view.order("set", key=LR, value=2e-4)
        session.wait(iterations=session.status().values["iteration"] + 3, timeout=60)
        view.refresh()
        assert {spec.key: value for spec, value in view.fields()}[LR] == 2e-4
        assert [edit.status for edit in view.edits()] == ["applied", "applied"]
        assert "goes back to 0.0005" in view.order("undo", revision=2)
        assert "goes back to 0.001" in view.order("undo", revision=1)
        with pytest.raises(SessionStateError, match="no edit 9"):
            view.order("undo", revision=9)
        with pytest.raises(ConfigError, match="learning_rate"):
            view.order("set", key=LR, value=-1.0)
        assert "iterations" in view.order("stop")
        view.refresh()
        assert view.head().state == "STOPPED" and view.tiles() == {}
        with pytest.raises(SessionStateError, match="STOPPED"):
            view.order("pause")


def test_recordings_are_found_by_their_event_only(tmp_path: Path) -> None:
    with session_of(tmp_path, pictures()) as session:
        session.start_rollout()
        session.start_trainer()
        view = LiveView(session)
        view.order("record")
        while not (told := [event for event in view.events() if event.kind == "recording"]):
            session.wait(iterations=session.status().values["iteration"] + 3, timeout=60)
            view.refresh()
        data = told[0].data
        recording = view.recording(data["path"])
        assert len(recording.rewards) == len(recording.values) == len(recording.advantages) == data["length"]
        assert sum(recording.rewards) == pytest.approx(data["episode_return"])
        assert len(recording.actions[0]) == 2 and recording.video[4:8] == b"ftyp"
        with pytest.raises(RunError, match="no event of this session told of a recording"):
            view.recording(str(session.run_directory / "config.yaml"))
        Path(data["path"]).unlink()
        with pytest.raises(RunError, match="was it moved or deleted"):
            view.recording(data["path"])


@pytest.mark.parametrize("terminated", [True, False])
def test_advantages_of_a_recording_by_hand(tmp_path: Path, terminated: bool) -> None:
    # discount 0.5, lambda 1: advantage = discounted rewards (+ 0.5^k of the last value where truncated) - value
    numbers = {"rewards": [1.0, 1.0, 4.0], "values": [1.0, 1.0, 1.0], "terminated": terminated, "actions": []}
    (tmp_path / "e.json").write_text(json.dumps(numbers))
    (tmp_path / "e.mp4").write_bytes(b"video")
    bootstrap = 0.0 if terminated else 1.0
    returns = [1 + 0.5 + 1.0 + 0.125 * bootstrap, 1 + 2.0 + 0.25 * bootstrap, 4 + 0.5 * bootstrap]
    recording = read_recording(tmp_path / "e.mp4", 0.5, 1.0)
    assert recording.advantages == pytest.approx(np.array(returns) - 1.0)
    assert recording.media_type == "video/mp4"


def test_a_session_without_a_configuration_has_no_settings_to_show(tmp_path: Path) -> None:
    view = LiveView(OnlineSession(run_root=tmp_path))
    view.refresh()
    assert (view.head().state, view.fields()) == ("NEW", [])


def test_a_dashboard_is_made_in_any_state_and_keys_are_checked(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    dashboard = session.dashboard()
    assert isinstance(dashboard, Dashboard) and dashboard.panels[0] == "head"
    tuner = session.tuner([LR])
    assert (tuner.panels, tuner.setting_keys) == (["tuning"], [LR])
    with pytest.raises(ConfigError, match="learning_rate"):
        session.tuner(["train_config.learning_rat"])
    with pytest.raises(ConfigError, match="cannot change while a session runs"):
        session.tuner(["rollout_config.fragment_length"])
    dashboard.close()
    tuner.close()
    session.stop()

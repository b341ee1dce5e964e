"""OnlineSession on the inline runtime: its states, live edits, pauses, evaluation, resuming, reports."""

import asyncio
import json
import math
import time

import gymnasium
import numpy as np
import pytest

from minestudio_nb import OnlineSession
from minestudio_nb.errors import ConfigError, EnvStartError, ResourceError, RunError, SessionStateError, TrainingError
from minestudio_nb.trainer import CheckpointStore
from tests.support.counting_env import CountingEnv

SMALL = {
    "schedule": "alternate",
    "rollout_config": {
        "num_rollout_workers": 2,
        "fragment_length": 8,
        "worker_config": {"num_envs": 2, "execution": "in_worker"},
    },
    "train_config": {
        "batch_size_per_gpu": 2,
        "batches_per_iteration": 2,
        "num_iterations": 4,
        "learning_rate": 1e-3,
        "anneal_lr_linearly": False,
    },
    "policy_config": {"name": "mlp", "args": {}},
}


def small(env_generator=None, **train):
    online = {key: dict(value) if isinstance(value, dict) else value for key, value in SMALL.items()}
    online["train_config"] |= train
    if env_generator is None:
        online["env_config"] = {"simulator": "gymnasium", "id": "CartPole-v1"}
        return {"online_dict": online}
    return {"online_dict": online, "env_generator": env_generator}


def session_of(tmp_path, config=None, name="run", overrides=(), **load):
    session = OnlineSession(name, runtime="inline", run_root=tmp_path)
    session.load_config(config or small(), overrides, **load)
    return session


@pytest.fixture
def session(tmp_path):
    made = session_of(tmp_path)
    yield made
    made.stop()


def test_a_whole_run(tmp_path):
    with OnlineSession("whole", runtime="inline", run_root=tmp_path) as session:
        plan = session.load_config(small())
        assert "4" in str(plan)
        session.start_rollout()
        assert session.state == "ROLLING"
        session.start_trainer()
        status = session.wait(timeout=60)
        assert (status.state, status.iteration, status.env_steps) == ("FINISHED", 4, 4 * 4 * 8)
        metrics = session.metrics()
        assert list(metrics["iteration"]) == [1, 2, 3, 4]
        assert metrics["ppo/loss"].notna().all()
        assert len(session.episodes()) == int(metrics["episode/count"].sum())
        report = session.stop()
    assert session.state == "STOPPED"
    assert report.iterations == 4 and report.stop_reason == "num_iterations"
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4]
    assert (tmp_path / "whole" / "config.yaml").is_file()
    assert session.stop() is report


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda s: s.start_rollout(), r"session is NEW.*load_config\(\) first"),
        (lambda s: s.start_trainer(), r"session is NEW.*load_config\(\) first"),
        (lambda s: s.set("train_config.ppo_clip", 0.1), r"load_config\(\) first"),
        (lambda s: s.pause(), r"load_config\(\) first"),
        (lambda s: s.checkpoint(), r"load_config\(\) first"),
        (lambda s: s.evaluate(1), r"load_config\(\) first"),
        (lambda s: s.wait(iterations=1), r"load_config\(\) first"),
    ],
)
def test_calls_out_of_order_say_what_comes_first(tmp_path, call, hint):
    with pytest.raises(SessionStateError, match=hint):
        call(OnlineSession("new", runtime="inline", run_root=tmp_path))


def test_each_state_names_the_next_call(session):
    with pytest.raises(SessionStateError, match=r"CONFIGURED.*start_rollout\(\) first"):
        session.start_trainer()
    session.start_rollout()
    with pytest.raises(SessionStateError, match=r"ROLLING.*start_trainer\(\) first"):
        session.pause()
    session.start_trainer()
    with pytest.raises(SessionStateError, match="called already"):
        session.start_trainer()
    session.wait(timeout=60)
    with pytest.raises(SessionStateError, match=r"FINISHED.*over"):
        session.set("train_config.ppo_clip", 0.1)
    session.stop()
    with pytest.raises(SessionStateError, match=r"load_config\(\.\.\., resume=\.\.\.\)"):
        session.start_trainer()


def test_stop_is_legal_in_every_state(tmp_path):
    fresh = OnlineSession("fresh", runtime="inline", run_root=tmp_path)
    fresh.stop()
    assert fresh.state == "STOPPED"
    configured = session_of(tmp_path, name="configured")
    configured.stop()
    rolling = session_of(tmp_path, name="rolling")
    rolling.start_rollout()
    rolling.stop()
    assert (configured.state, rolling.state) == ("STOPPED", "STOPPED")


def test_a_stop_that_fails_says_why_and_can_be_tried_again(session, monkeypatch):
    session.start_rollout()
    whole = session._runtime.stop

    def stuck(timeout):
        monkeypatch.setattr(session._runtime, "stop", whole)
        raise ResourceError("process 4711 could not be ended")

    monkeypatch.setattr(session._runtime, "stop", stuck)
    with pytest.raises(ResourceError, match="4711"):
        session.stop()
    assert session.state == "FAILED"
    assert session.failure == "it could not be stopped: process 4711 could not be ended"
    assert str(session.stop()).startswith("run: ")
    assert session.state == "FAILED"


def test_an_edit_is_applied_at_a_border_and_wrong_ones_are_refused_at_once(tmp_path):
    session = session_of(tmp_path, small(num_iterations=10_000))
    session.start_rollout()
    session.start_trainer()
    edit = session.set("train_config.learning_rate", 2e-3)
    assert edit.revision == 1
    session.wait(iterations=session.status().iteration + 2, timeout=60)
    (applied,) = session.edits()
    assert applied.status == "applied" and applied.iteration is not None
    rates = session.metrics().set_index("iteration")["ppo/learning_rate"]
    assert rates[applied.iteration + 1] == pytest.approx(2e-3)
    if applied.iteration >= 1:
        assert rates[applied.iteration] == pytest.approx(1e-3)
    with pytest.raises(ConfigError, match="learning_rat"):
        session.set("train_config.learning_rat", 1e-3)
    with pytest.raises(ConfigError, match="cannot change while a session runs"):
        session.set("rollout_config.fragment_length", 16)
    with pytest.raises(ConfigError, match="must be"):
        session.set("train_config.discount", 1.5)
    assert len(session.edits()) == 1
    session.stop()


def test_a_pause_holds_and_a_resume_goes_on(tmp_path):
    session = session_of(tmp_path, small(num_iterations=10_000))
    session.start_rollout()
    session.start_trainer()
    session.wait(iterations=1, timeout=60)
    session.pause()
    deadline = time.monotonic() + 20
    while "paused" not in " ".join(session.events()["message"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    held = session.status().iteration
    time.sleep(0.5)
    assert session.status().iteration == held and session.state == "PAUSED"
    session.resume()
    session.wait(iterations=held + 2, timeout=60)
    assert session.state == "TRAINING"
    session.stop()


def test_until_leaves_the_event_loop_free_and_times_out(tmp_path):
    session = session_of(tmp_path, small(num_iterations=10_000))
    session.start_rollout()
    session.start_trainer()

    async def both():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticker = asyncio.ensure_future(tick())
        await session.until(iterations=3, timeout=60)
        with pytest.raises(TimeoutError, match="target_return"):
            await session.until(target_return=1e9, timeout=0.1)
        ticker.cancel()
        return ticks

    assert asyncio.run(both()) > 5
    session.stop()


def test_a_goal_needs_a_whole_window_of_episodes(tmp_path):
    few = ["train_config.num_iterations=3", "rollout_config.episode_statistics_config.window=100000"]
    with session_of(tmp_path, name="few", overrides=[*few, "train_config.target_return=1"]) as session:
        session.start_rollout()
        session.start_trainer()
        session.wait(target_return=1.0, timeout=60)
        assert session.state == "FINISHED", "only the end of training ended the waiting"
        returns = session.episodes()["episode_return"]
        assert session.return_window() == pytest.approx(returns.mean()) and session.return_window() > 1
        assert not session.reached_target()
    two = ["rollout_config.episode_statistics_config.window=2", "train_config.target_return=1"]
    with session_of(tmp_path, name="two", overrides=two) as session:
        session.start_rollout()
        session.start_trainer()
        status = session.wait(timeout=60)
        assert status.values["stop_reason"] == "target_return" and session.reached_target()
        assert session.return_window() == pytest.approx(session.episodes()["episode_return"].tail(2).mean())
        assert session.tasks().loc["default", "return_mean"] == pytest.approx(session.return_window())


def test_evaluation_plays_held_out_episodes_and_disturbs_nothing(session):
    session.start_rollout()
    result = session.evaluate(3, random_policy=True, label="before")
    assert len(result.returns) == len(result.lengths) == 3
    assert session.evaluations["before"] is result
    again = session.evaluate(3, deterministic=True)
    same = session.evaluate(3, deterministic=True)
    assert again.returns == same.returns
    assert session.status().env_steps == 0


def _trained(tmp_path, name, evaluations):
    """Points and weights of a run, beside which as many evaluations as asked for began and ended."""
    session = session_of(tmp_path, small(num_iterations=100_000), name)
    session.start_rollout()
    session.start_trainer()
    results = []
    for number in range(evaluations):
        results.append(session.evaluate(2, deterministic=number % 2 == 0, seed=7))
        assert session.status().state == "TRAINING"
    session.set("train_config.num_iterations", 1)  # ends at the next border
    session.wait(timeout=60)
    session.stop()
    return session.points, results


def test_training_with_evaluations_beside_it_is_bit_equal_to_training_without(tmp_path):
    points, results = _trained(tmp_path, "evaluated", 6)
    versions = [result.policy_version for result in results]
    assert versions[-1] > versions[0] >= -1, "training went on meanwhile"
    alone = session_of(tmp_path, small(num_iterations=len(points)), "alone")
    alone.start_rollout()
    alone.start_trainer()
    alone.wait(timeout=60)
    alone.stop()
    for one, other in zip(points, alone.points, strict=True):
        data = ("ppo/", "episode/", "buffer/", "rollout/")
        kept = [name for name in one["values"] if name.startswith(data) and "second" not in name]
        assert len(kept) > 10
        np.testing.assert_equal({n: one["values"][n] for n in kept}, {n: other["values"][n] for n in kept})
    through, apart = _weights(tmp_path, "evaluated"), _weights(tmp_path, "alone")
    assert all(tensor.equal(apart[name]) for name, tensor in through.items())


def test_a_session_without_others_holds_its_controls_and_cannot_be_left(session):
    with pytest.raises(SessionStateError, match=r"load_config|start_rollout\(\) first"):
        session.take_controls()
    session.start_rollout()
    session.take_controls()
    assert session.held_by == ""
    with pytest.raises(SessionStateError, match=r"runtime='inline' all runs in this process"):
        session.detach()
    assert session.state == "ROLLING"


def test_an_inline_session_is_listed_and_not_attached_to(tmp_path):
    session = session_of(tmp_path, name="inside")
    session.start_rollout()
    (found,) = OnlineSession.list(tmp_path)
    assert (found.name, found.state, found.note) == ("inside", "ROLLING", "this process")
    with pytest.raises(RunError, match="which no other process can reach"):
        OnlineSession.attach("inside", run_root=tmp_path)
    session.start_trainer()
    session.wait(timeout=60)
    assert [one.state for one in OnlineSession.list(tmp_path)] == ["FINISHED"]
    session.stop()
    assert len(OnlineSession.list(tmp_path)) == 0


def test_waiting_ends_when_somebody_stops_the_session(tmp_path):
    session = session_of(tmp_path, small(num_iterations=100_000))
    session.start_rollout()
    session.start_trainer()

    async def both():
        waiting = asyncio.ensure_future(session.until(iterations=99_999, timeout=60))
        await asyncio.sleep(0)  # it waits now
        await asyncio.to_thread(session.stop)
        return await waiting

    assert asyncio.run(both()).state in ("STOPPING", "STOPPED")


def test_a_failing_start_leaves_a_clear_error_and_no_worker(tmp_path):
    def broken():
        raise RuntimeError("no such world")

    session = session_of(tmp_path, small(broken))
    with pytest.raises(EnvStartError, match="no such world"):
        session.start_rollout()
    assert session.state == "FAILED"
    with pytest.raises(SessionStateError, match="no such world"):
        session.start_trainer()
    assert "checkpoints" not in session.stop().files, "none was saved"


class _Crashing(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self):
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps >= 20:
            raise ValueError("the world ended")
        return np.zeros(3, np.float32), 0.0, False, False, {}


def test_a_crash_loop_fails_the_session_with_its_cause(tmp_path):
    session = session_of(tmp_path, small(_Crashing, num_iterations=10_000))
    session.start_rollout()
    session.start_trainer()
    with pytest.raises(TrainingError, match="the world ended"):
        session.wait(timeout=60)
    assert session.state == "FAILED"
    assert "env_restart" in set(session.events()["kind"])
    session.stop()
    assert session.state == "FAILED"


class _Counts(CountingEnv):
    """The counting environment without its picture, for the mlp policy."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.observation_space = gymnasium.spaces.Dict({"count": self.observation_space["count"]})

    def observation(self):
        return {"count": super().observation()["count"]}


class _Pictures(CountingEnv):
    """The counting environment with a picture that is large enough for the cnn policy."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)

    def observation(self):
        return np.full((64, 64, 3), 100 + self.step_number, np.uint8)

    def step(self, action):
        self.step_number += 1
        done = self.step_number == 5
        return self.observation(), 1.0, done, False, {}


def _weights(tmp_path, name):
    return CheckpointStore(tmp_path / name / "checkpoints").load().weights


def _run_counting(tmp_path, name, iterations, resume=None):
    config = small(_Counts, num_iterations=iterations)
    session = session_of(tmp_path, config, name, resume=resume)
    session.start_rollout()
    session.start_trainer()
    session.wait(timeout=60)
    session.stop()


def test_a_run_stopped_and_resumed_is_bit_equal_to_one_that_never_stopped(tmp_path):
    _run_counting(tmp_path, "through", 6)
    _run_counting(tmp_path, "first", 3)
    _run_counting(tmp_path, "second", 6, resume="first")
    through, resumed = _weights(tmp_path, "through"), _weights(tmp_path, "second")
    assert through.keys() == resumed.keys()
    for name, tensor in through.items():
        assert tensor.equal(resumed[name]), name


def test_a_run_that_goes_on_elsewhere_counts_on(tmp_path):
    _run_counting(tmp_path, "first", 3)
    _run_counting(tmp_path, "second", 4, resume="first")
    last, next_ = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("first", "second")
    )
    assert [point["iteration"] for point in next_] == [4]
    assert next_[0]["env_steps"] == last[-1]["env_steps"] + 4 * 8
    finished = next_[0]["values"].get("episode/count", 0)
    before, after = (sum(task["episodes"] for task in point["tasks"].values()) for point in (last[-1], next_[0]))
    assert before > 0 and after == before + finished


class _Slow(_Counts):
    """Takes its time, as Minecraft does."""

    def step(self, action):
        time.sleep(0.1)
        return super().step(action)


def test_a_stop_within_a_round_saves_a_checkpoint(tmp_path):
    config = small(_Slow, num_iterations=9, save_interval=100)
    config["online_dict"]["recovery_interval"] = 100
    session = session_of(tmp_path, config, "cut")
    session.start_rollout()
    session.start_trainer()
    session.wait(env_steps=33, timeout=60)  # the second iteration is being collected
    assert session.stop(timeout=1.0).failure == ""
    saved = CheckpointStore(tmp_path / "cut" / "checkpoints").load()
    assert saved.iteration == 1
    assert "workers" not in saved.extra  # in the middle of their fragments


def test_the_resumed_test_would_notice_another_seed(tmp_path):
    _run_counting(tmp_path, "one", 2)
    config = small(_Counts, num_iterations=2)
    config["online_dict"]["rollout_config"]["worker_config"]["seed"] = 5
    session = session_of(tmp_path, config, "two")
    session.start_rollout()
    session.start_trainer()
    session.wait(timeout=60)
    session.stop()
    one, two = _weights(tmp_path, "one"), _weights(tmp_path, "two")
    assert any(not tensor.equal(two[name]) for name, tensor in one.items())


def test_a_run_goes_on_in_its_own_directory_only_when_resumed(tmp_path):
    _run_counting(tmp_path, "grows", 2)
    with pytest.raises(RunError, match=r"exists already.*resume='grows'"):
        _run_counting(tmp_path, "grows", 4)
    _run_counting(tmp_path, "grows", 4, resume="grows")
    rows = [json.loads(line) for line in (tmp_path / "grows" / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4]
    assert [row["env_steps"] for row in rows] == [32, 64, 96, 128]


def test_after_a_stop_the_same_object_takes_another_run(tmp_path):
    session = session_of(tmp_path, name="again")
    session.start_rollout()
    session.start_trainer()
    session.wait(timeout=60)
    session.stop()
    session.load_config(small(num_iterations=6), resume="again")
    session.start_rollout()
    session.start_trainer()
    assert session.wait(timeout=60).iteration == 6
    assert session.name != "again"
    session.stop()


def test_the_repr_never_asks_the_runtime(session):
    session.start_rollout()
    session._runtime.snapshot = lambda cursor: pytest.fail("repr asked the runtime")
    assert "ROLLING" in repr(session)
    assert "ROLLING" in session._repr_html_()
    del session._runtime.snapshot


def test_the_html_escapes_what_comes_from_outside(session):
    session._states.failure = "<img src=x onerror=alert(1)>"
    assert "<img" not in session._repr_html_()


def test_frames_of_the_first_observations_are_there_before_training(tmp_path):
    config = small(_Pictures)
    config["online_dict"]["policy_config"] = {"name": "cnn"}
    session = session_of(tmp_path, config)
    session.start_rollout()
    frames = session.frames()
    assert sorted(frames) == ["0/0", "0/1", "1/0", "1/1"]
    assert all(frame.dtype == np.uint8 and frame.shape == (64, 64, 3) for frame in frames.values())
    session.stop()


def test_report_and_summary_hold_the_evaluations(tmp_path):
    from minestudio_nb.reporting import write_summary

    session = session_of(tmp_path)
    session.start_rollout()
    session.evaluate(2, random_policy=True, label="before")
    session.start_trainer()
    session.wait(timeout=60)
    session.evaluate(2, label="after")
    session.stop()
    html = session.report().read_text()
    assert "Before training" in html and "<script" not in html
    assert (tmp_path / "run" / "curves.png").stat().st_size > 5_000
    summary = json.loads(write_summary(session, 12.0).read_text())
    assert summary["iterations"] == 4 and summary["env_steps"] == 128 and summary["seconds"] == 12.0
    assert math.isfinite(summary["return_random"]) and math.isfinite(summary["return_final"])
    assert summary["learned"] is True and summary["seed"] == 0


def test_continuous_actions_from_the_environment_to_the_optimizer(tmp_path):
    session = session_of(tmp_path, small(num_iterations=2), overrides=["env_config.id=Pendulum-v1"])
    session.start_rollout()
    session.start_trainer()
    session.wait(timeout=60)
    assert np.isfinite(session.metrics()["ppo/entropy_nats"]).all()
    assert session.evaluate(1).lengths == [200]
    session.stop()

"""Forks: a new session at a checkpoint of another, with other settings; and the record of where runs began."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minestudio_nb import OnlineSession
from minestudio_nb.config import load_config
from minestudio_nb.errors import CheckpointError, ConfigError, RunError, SessionStateError, TrainingError
from minestudio_nb.runs import RunRecord, summarize
from minestudio_nb.trainer import CheckpointStore, outline
from tests.session.test_session_inline import _Counts, session_of, small

LR, ENTROPY = "train_config.learning_rate", "train_config.entropy_bonus_coef"


def trained(root: Path, name: str = "parent", iterations: int = 3, **train: Any) -> OnlineSession:
    """A session that has finished ``iterations`` iterations of 32 steps."""
    session = session_of(root, small(_Counts, num_iterations=iterations, **train), name)
    finish(session)
    return session


def finish(session: OnlineSession) -> None:
    session.start_rollout()
    session.start_trainer()
    session.wait(timeout=60)


def rows(session: OnlineSession) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (session.run_directory / "metrics.jsonl").read_text().splitlines()]


def weights(session: OnlineSession) -> Any:
    return CheckpointStore(session.run_directory / "checkpoints").load().weights


def test_a_fork_that_changes_nothing_is_bit_equal_to_the_run_that_goes_on(tmp_path: Path) -> None:
    with trained(tmp_path, "through", 6) as through, trained(tmp_path) as parent:
        fork = parent.fork(overrides=["train_config.num_iterations=6"], name="same")
        assert (fork.state, fork.name, fork.run_root) == ("CONFIGURED", "same", parent.run_root)
        with fork:
            finish(fork)
            assert fork.status().iteration == 6
            assert [row["iteration"] for row in rows(fork)] == [4, 5, 6], "it counts on"
            assert [row["env_steps"] for row in rows(fork)] == [128, 160, 192]
            other = weights(fork)
            assert all(tensor.equal(other[name]) for name, tensor in weights(through).items())


def test_the_record_says_where_a_fork_began_and_what_it_changed(tmp_path: Path) -> None:
    with trained(tmp_path) as parent:
        fork = parent.fork(3, ["train_config.num_iterations=5", f"{LR}=5e-4"])
        assert (
            fork.name == "parent-fork-1" and parent.fork(3, ["train_config.num_iterations=5"]).name == "parent-fork-2"
        )
        origin = summarize(fork.run_directory).origin
        assert origin is not None and summarize(fork.run_directory).state == "CONFIGURED"
        assert (origin.kind, origin.parent, origin.iteration, origin.env_steps) == ("fork", "parent", 3, 96)
        assert origin.checkpoint == "iteration_000003" and origin.parent_path == str(parent.run_directory)
        assert origin.overrides == ("train_config.num_iterations=5", f"{LR}=5e-4")
        with fork:
            finish(fork)
            assert rows(fork)[0]["values"]["ppo/learning_rate"] == pytest.approx(5e-4)
        again = fork.fork(overrides=["train_config.num_iterations=7"])
        assert again.name == "parent-fork-3", "not parent-fork-1-fork-1"
        assert again.config.config.get(LR) == 5e-4, "what the first fork changed stays"
        report = fork.report().read_text()
        assert "forked from" in report and "at iteration 3, with train_config.num_iterations=5" in report
        record = RunRecord.read(fork.run_directory)
        assert record is not None and record.origin == origin and record.ended_as == "STOPPED"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "no draft is left"


def test_both_run_at_once_and_live_edits_of_the_parent_become_settings(tmp_path: Path) -> None:
    with session_of(tmp_path, small(num_iterations=1_000_000), "parent") as parent:
        parent.start_rollout()
        parent.start_trainer()
        parent.set(LR, 5e-4)
        parent.set(ENTROPY, 0.03)
        parent.wait(iterations=2, timeout=60)
        parent.checkpoint("mark")
        fork = parent.fork("mark", [f"{LR}=1e-3"])  # the value that held before the edit; waits for the checkpoint
        config = fork.config.config
        assert (config.get(LR), config.get(ENTROPY)) == (1e-3, 0.03)
        with fork:
            fork.start_rollout()
            fork.start_trainer()
            begun = outline(fork.run_directory / "checkpoints" / config.train_config.resume.rpartition("/")[2])
            assert begun.edits == {} and begun.iteration >= 2
            here = parent.status().iteration
            fork.wait(iterations=begun.iteration + 3, timeout=60)
            parent.wait(iterations=here + 3, timeout=60)
            assert (parent.state, fork.state) == ("TRAINING", "TRAINING")
            assert rows(fork)[0]["iteration"] == begun.iteration + 1
            assert rows(fork)[0]["values"]["ppo/learning_rate"] == pytest.approx(1e-3)
            third = fork.fork(name="third")  # at the newest of a session that replaces it every iteration
            assert third.state == "CONFIGURED"
            assert [edit.status for edit in parent.edits()] == ["applied", "applied"]


def test_a_paused_session_is_forked_at_its_border_and_a_stopped_one_at_its_end(tmp_path: Path) -> None:
    with session_of(tmp_path, small(_Counts, num_iterations=60), "parent") as parent:
        parent.start_rollout()
        parent.start_trainer()
        parent.pause()
        parent.checkpoint("mark")
        fork = parent.fork("mark")
        assert parent.state == "PAUSED"
        parent.resume()
        parent.wait(timeout=60)
        parent.stop()
        with fork:
            finish(fork)
            other = weights(fork)
            assert all(tensor.equal(other[name]) for name, tensor in weights(parent).items())
    later = parent.fork(overrides=["train_config.num_iterations=61"])
    assert (parent.state, later.state) == ("STOPPED", "CONFIGURED")
    with later:
        finish(later)
        assert [row["iteration"] for row in rows(later)] == [61]


class _Breaks(_Counts):
    """Works for a while, and then never again."""

    steps = 0

    def step(self, action: Any) -> tuple[Any, ...]:
        type(self).steps += 1
        if type(self).steps > 70:
            raise RuntimeError("the world ended")
        return super().step(action)


def test_a_failed_session_is_forked_at_its_last_checkpoint(tmp_path: Path) -> None:
    with session_of(tmp_path, small(_Breaks, num_iterations=60), "parent") as parent:
        with pytest.raises(TrainingError, match="the world ended"):
            finish(parent)
        fork = parent.fork(name="saved")
        assert parent.state == "FAILED" and fork.state == "CONFIGURED"
        assert outline(next((fork.run_directory / "checkpoints").iterdir())).iteration >= 1


def test_other_environments_begin_new_episodes_and_new_statistics(tmp_path: Path) -> None:
    with session_of(tmp_path, small(num_iterations=3), "parent") as parent:
        finish(parent)
        more = "train_config.num_iterations=4"
        same = parent.fork(overrides=[more])
        wider = parent.fork(overrides=[more, "rollout_config.worker_config.num_envs=4"])
        other = parent.fork(overrides=[more, "+env_config.kwargs.max_episode_steps=50"])
        extras = [CheckpointStore(fork.run_directory / "checkpoints").load().extra for fork in (same, wider, other)]
        assert [len(extra["workers"]) for extra in extras] == [2, 0, 0]
        assert [len(extra["hub"]["statistics"]["returns"]) > 0 for extra in extras] == [True, True, False]
        with wider:
            finish(wider)
            told = wider.events()
            assert told["message"].str.contains("environments begin new episodes").any()


def test_generators_given_as_functions_travel_into_the_fork(tmp_path: Path) -> None:
    with trained(tmp_path) as parent:
        fork = parent.fork(overrides=["train_config.num_iterations=4"])
        assert fork.config.env == parent.config.env and fork.config.env.kind == "callable"
        assert fork.config.name == parent.config.name
        loaded = load_config(parent.config, ["train_config.ppo_clip=0.1"])
        assert loaded.config == parent.config.config.with_value("train_config.ppo_clip", 0.1)


def test_what_cannot_be_forked_is_said_with_the_reason_and_leaves_nothing(tmp_path: Path) -> None:
    with trained(tmp_path, target_return=1e6) as parent:
        wrong = ["policy_config.name=cnn", "train_config.resume=elsewhere", "train_config.max_env_steps=90"]
        with pytest.raises(ConfigError) as caught:
            parent.fork(overrides=wrong)
        problems = "\n".join(caught.value.problems)
        for part in (
            "policy_config.name: a fork cannot change it. The checkpoint's weights fit the policy",
            "train_config.resume: a fork begins with the checkpoint that fork() was called with",
            "train_config.num_iterations: is 3, and the checkpoint has 3 iterations behind it",
            "for example train_config.num_iterations=6",
            "train_config.max_env_steps: is 90, and the checkpoint has 96 env steps behind it",
        ):
            assert part in problems
        with pytest.raises(ConfigError, match=r"learning_rate: must be 0 <= x <= 1, 7.0 came"):
            parent.fork(overrides=[f"{LR}=7"])
        with pytest.raises(ConfigError, match=r"did you mean 'train_config.learning_rate'"):
            parent.fork(overrides=["train_config.learning_rat=0.1"])
        with pytest.raises(ConfigError, match=r"target_return: is 0, and the latest episodes before"):
            parent.fork(overrides=["train_config.num_iterations=9", "train_config.target_return=0"])
        with pytest.raises(CheckpointError, match=r"no checkpoint 'mark'.*there are: iteration_000003"):
            parent.fork("mark")
        with pytest.raises(CheckpointError, match=r"no checkpoint 2 in"):
            parent.fork(2)
        with pytest.raises(CheckpointError, match=r"holds no state.json"):
            parent.fork(tmp_path)
        with pytest.raises(RunError, match="'parent' exists already"):
            parent.fork(name="parent", overrides=["train_config.num_iterations=9"])
        assert [path.name for path in tmp_path.iterdir()] == ["parent"]


def test_a_session_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(SessionStateError, match=r"is NEW and has none. Call load_config"):
        OnlineSession("new", runtime="inline", run_root=tmp_path).fork()
    with session_of(tmp_path) as session:
        with pytest.raises(CheckpointError, match=r"has saved no checkpoint yet.*session is CONFIGURED"):
            session.fork()
        session.start_rollout()
        with pytest.raises(CheckpointError, match="session is ROLLING"):
            session.fork()


def test_a_fork_can_be_started_from_its_files_alone(tmp_path: Path) -> None:
    with session_of(tmp_path, small(num_iterations=2), "parent") as parent:
        finish(parent)
        fork = parent.fork(overrides=["train_config.num_iterations=3"])
    with OnlineSession(fork.name, runtime="inline", run_root=tmp_path) as session:
        session.load_config(fork.run_directory / "config.yaml")
        finish(session)
        assert [row["iteration"] for row in rows(session)] == [3]
    summary = summarize(fork.run_directory)
    assert summary.origin is not None and (summary.origin.parent, summary.config) == ("parent", "notebook")


def test_a_run_resumed_under_another_name_has_a_parent_too_and_in_place_it_keeps_its_own(tmp_path: Path) -> None:
    with trained(tmp_path, "first") as first:
        first.stop()
    for iterations, resume in ((4, "first"), (5, "second")):
        with session_of(tmp_path, small(_Counts, num_iterations=iterations), "second", resume=resume) as session:
            finish(session)
        summary = summarize(tmp_path / "second")
        assert summary.origin is not None and summary.iterations == iterations
        assert (summary.origin.kind, summary.origin.parent, summary.origin.iteration) == ("resume", "first", 3)
        assert summary.state == "FINISHED"


def test_a_failed_start_is_recorded_and_a_taken_name_is_not(tmp_path: Path) -> None:
    class _Broken(_Counts):
        def __init__(self, index: int) -> None:
            raise RuntimeError("no display")

    with session_of(tmp_path, small(_Broken), "broken") as session, pytest.raises(Exception, match="no display"):
        session.start_rollout()
    summary = summarize(tmp_path / "broken")
    assert summary.state == "FAILED" and "no display" in summary.note
    with trained(tmp_path, "done") as done:
        done.stop()
    with session_of(tmp_path, name="done") as session, pytest.raises(RunError, match="exists already"):
        session.start_rollout()
    assert summarize(tmp_path / "done").state == "FINISHED"


@pytest.mark.full
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_on_ray_a_fork_runs_beside_its_parent_in_one_cluster(ray_cluster: str, tmp_path: Path) -> None:
    few = ["train_config.num_iterations=1000000", "rollout_config.num_rollout_workers=1"]
    with OnlineSession("parent", address=ray_cluster, run_root=tmp_path, detached=False) as parent:
        parent.load_config("cartpole", [*few, "rollout_config.worker_config.num_envs=4"])
        parent.start_rollout()
        parent.start_trainer()
        parent.set(LR, 5e-4)
        parent.wait(iterations=2, timeout=240)
        parent.checkpoint("mark")
        with parent.fork("mark", [f"{ENTROPY}=0.03"]) as fork:
            fork.start_rollout()
            fork.start_trainer()
            here = parent.status().iteration
            origin = summarize(fork.run_directory).origin
            assert origin is not None and origin.iteration >= 2
            fork.wait(iterations=origin.iteration + 2, timeout=240)
            parent.wait(iterations=here + 1, timeout=240)
            assert (parent.state, fork.state) == ("TRAINING", "TRAINING")
            first = rows(fork)[0]
            assert first["iteration"] == origin.iteration + 1 and first["env_steps"] > origin.env_steps
            assert first["values"]["ppo/learning_rate"] == pytest.approx(5e-4, rel=0.01)  # cartpole anneals it
        assert parent.status().state == "TRAINING", "the fork's end is its own"
        other = OnlineSession("other", run_root=tmp_path, detached=False)  # wants a cluster of its own
        other.load_config("cartpole", few)
        with pytest.raises(SessionStateError, match=r"Stop the other session.*address='auto'"):
            other.start_rollout()
        assert other.state == "CONFIGURED", "it can be started when the other session has been stopped"

"""Behaviour cloning beside PPO: reading demonstrations, the loss by hand, memory, faults, and that it helps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from minestudio_nb import OnlineSession, load_config
from minestudio_nb.contracts.demonstrations import Demonstration
from minestudio_nb.contracts.specs import ActionLeaf, ActionSpec, BoxSpec, EnvSpec, ObsSpec
from minestudio_nb.errors import ConfigError, RunError
from minestudio_nb.policies import build_policy
from minestudio_nb.trainer import CheckpointStore, PPOBCTrainer, record_demonstrations
from minestudio_nb.trainer.demonstrations import Demonstrations
from tests.support.fragments import VECTOR_SPEC, FeedStore
from tests.support.recurrent import ActedStore, make_policy
from tests.support.training import Bench, same_weights, small_config

AGENT = ActionSpec(
    (ActionLeaf("buttons", "multi_discrete", (8641,), (1,)), ActionLeaf("camera", "multi_discrete", (121,), (1,))), True
)
IMAGES = EnvSpec(ObsSpec((("image", BoxSpec((6, 8, 3), "uint8")),), True), AGENT)


def write_steps(folder: Path, name: str = "episode_0000.npz", length: int = 6, action: int | None = 2) -> Path:
    """One episode for VECTOR_SPEC: random observations, always the same action (None: in turn)."""
    random = np.random.default_rng(length)
    actions = np.arange(length) % 4 if action is None else np.full(length, action)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / name,
        head=np.frombuffer(b"{}", np.uint8),
        actions=actions[:, None].astype(np.int64),
        rewards=np.ones(length, np.float32),
        **{"obs:obs": random.random((length, 3)).astype(np.float32)},
    )
    return folder


def bench_of(folder: Path, store: FeedStore | None = None, policy: Any = None, **settings: Any) -> Bench:
    cloning = {name: settings.pop(name) for name in ("coef", "coef_decay", "batch_size") if name in settings}
    parts = {"checkpoints": settings.pop("checkpoints")} if "checkpoints" in settings else {}
    config = small_config(**settings, bc_config={"paths": [str(folder)], **cloning})
    return Bench(config, store, policy, trainer=PPOBCTrainer, **parts)


def test_the_loss_by_hand(tmp_path: Path) -> None:
    """A uniform policy over 4 actions: -log p = log 4; the likeliest of equal ones is the first."""
    write_steps(tmp_path, length=8, action=None)
    policy = build_policy({"name": "mlp", "args": {"hidden": [16]}}, VECTOR_SPEC, seed=1)
    torch.nn.init.zeros_(policy.pi_head.linear.weight)
    off = {"ppo_policy_coef": 0.0, "ppo_vf_coef": 0.0, "num_iterations": 1, "learning_rate": 0.0}
    bench = bench_of(tmp_path, policy=policy, coef=0.5, batch_size=4000, **off)
    bench.run()
    point = bench.telemetry.points[1]
    assert point["bc/loss_nats"] == pytest.approx(math.log(4))
    assert point["ppo/loss"] == pytest.approx(0.5 * math.log(4))
    assert point["bc/accuracy"] == pytest.approx(0.25, abs=0.05) and point["bc/coef"] == 0.5


def test_it_pulls_towards_what_was_demonstrated_and_decays(tmp_path: Path) -> None:
    off = {"ppo_policy_coef": 0.0, "ppo_vf_coef": 0.0, "num_iterations": 12}
    bench = bench_of(write_steps(tmp_path), coef=1.0, coef_decay=0.5, **off)
    bench.run()
    points = bench.telemetry.points
    assert points[12]["bc/loss_nats"] < 0.5 * points[1]["bc/loss_nats"] and points[12]["bc/accuracy"] == 1.0
    assert [points[k]["bc/coef"] for k in (1, 2, 3)] == [1.0, 0.5, 0.25]
    assert (
        "12" not in bench.telemetry.told[0].message and "6 steps of 1 demonstrations" in bench.telemetry.told[0].message
    )


def test_without_weight_it_is_ppo(tmp_path: Path) -> None:
    bench = bench_of(write_steps(tmp_path), coef=0.0)
    bench.run()
    plain = Bench(small_config())
    plain.run()
    assert same_weights(bench.weights, plain.weights)


def test_a_live_edit_replaces_the_decayed_weight_and_a_resume_goes_on(tmp_path: Path) -> None:
    folder = write_steps(tmp_path / "demos")
    settings = {"coef": 1.0, "coef_decay": 0.5, "num_iterations": 4}
    straight = bench_of(folder, **settings)
    straight.run()
    store = CheckpointStore(tmp_path / "checkpoints")
    half = bench_of(folder, checkpoints=store, **settings)
    half.trainer._stop_check = lambda: "half" if half.trainer.progress.iteration == 2 else None
    half.run()
    rest = bench_of(folder, FeedStore(start=16), checkpoints=store, resume="latest", **settings)
    rest.run()
    assert rest.telemetry.points[3]["bc/coef"] == 0.25 and same_weights(straight.weights, rest.weights)
    edited = bench_of(folder, **settings)
    edited.control.edit("train_config.bc_config.coef", 0.8)
    edited.run()
    assert [edited.telemetry.points[k]["bc/coef"] for k in (1, 2)] == [0.8, 0.4]


def test_memory_runs_over_what_came_before(tmp_path: Path) -> None:
    """A drawn sequence begins with the memory that the policy would have had, across the start of an episode too."""
    for index, length in enumerate((5, 9)):
        write_steps(tmp_path, f"episode_000{index}.npz", length, action=None)
    policy = make_policy()
    bench = bench_of(tmp_path, ActedStore(policy), policy=policy, batch_size=1, num_iterations=1)
    bench.trainer.setup()
    trainer, steps = bench.trainer, bench.trainer._demonstrations
    assert len(steps) == 14 and steps.first.nonzero().flatten().tolist() == [0, 5]
    trainer.before_update()
    with torch.no_grad():
        outputs, _ = policy({"obs": steps.obs["obs"][None]}, policy.initial_state(1), {"first": steps.first[None]})
        wanted = policy.pi_head.logprob(steps.actions[None], outputs["pi_logits"])[0]
        for start in range(14):
            numbers = (torch.arange(start - 8, start + 4) % 14)[None]  # 8 steps of a fragment before, 4 of context
            steps.__dict__["draw"] = lambda *_, numbers=numbers: numbers
            loss, _ = trainer._cloning_loss()
            assert loss.item() == pytest.approx(-wanted[numbers[0, 8:]].mean().item(), abs=1e-5), start


def test_played_demonstrations(tmp_path: Path) -> None:
    steps = 4
    played = Demonstration(
        task="hunt",
        seed=1,
        buttons=("attack", "forward"),
        image=np.arange((steps + 1) * 6 * 8 * 3, dtype=np.uint8).reshape(steps + 1, 6, 8, 3),
        env_buttons=np.array([[1, 0], [0, 1], [0, 0], [1, 1]], np.int8),
        env_camera=np.zeros((steps, 2), np.float32),
        agent_buttons=np.array([0, 5, 8640, 7], np.int32),
        agent_camera=np.array([60, 0, 120, 60], np.int32),
        reward=np.zeros(steps, np.float32),
        terminated=np.zeros(steps, bool),
        truncated=np.zeros(steps, bool),
    )
    folder = tmp_path / "hunt-1"
    folder.mkdir()
    (folder / "demonstration.npz").write_bytes(played.to_bytes())
    read = Demonstrations.load([str(tmp_path)], IMAGES)
    assert read.actions.tolist() == [[0, 60], [5, 0], [8640, 120], [7, 60]]
    assert (
        torch.equal(read.obs["image"], torch.from_numpy(played.image[:-1]))
        and read.first.tolist() == [True] + [False] * 3
    )
    other = EnvSpec(IMAGES.obs, ActionSpec((ActionLeaf("action", "discrete", (9,)),), False))
    with pytest.raises(RunError, match=r"the policy chooses among \['action'\] \(9\)"):
        Demonstrations.load([str(tmp_path)], other)
    larger = EnvSpec(ObsSpec((("image", BoxSpec((64, 64, 3), "uint8")),), True), AGENT)
    with pytest.raises(RunError, match=r"uint8 \(6, 8, 3\), the policy reads uint8 \(64, 64, 3\)"):
        Demonstrations.load([str(tmp_path)], larger)


def test_what_does_not_fit_or_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no file or folder"):
        Demonstrations.load([str(tmp_path / "nowhere")], VECTOR_SPEC)
    with pytest.raises(RunError, match="There are no demonstrations"):
        Demonstrations.load([str(tmp_path)], VECTOR_SPEC)
    folder = write_steps(tmp_path, action=4)
    with pytest.raises(RunError, match=r"actions beyond the policy's \(4,\)"):
        Demonstrations.load([str(folder)], VECTOR_SPEC)
    (tmp_path / "episode_0000.npz").write_bytes(b"nothing")
    with pytest.raises(RunError, match="is no demonstration"):
        Demonstrations.load([str(folder)], VECTOR_SPEC)
    with pytest.raises(ConfigError, match=r"none are named\. Name files"):
        load_config("cartpole", ["trainer_name=PPOBCTrainer"])
    (warning,) = load_config("cartpole", ["train_config.bc_config.paths=[a]"]).warnings
    assert "PPOTrainer reads no demonstrations" in warning.text


class CodeLock(gymnasium.Env[Any, Any]):
    """Six right choices among four in a row pay 1, a wrong one begins anew: one random attempt in 4096 succeeds."""

    CODE = (2, 0, 3, 1, 1, 2)
    observation_space = gymnasium.spaces.Box(0.0, 1.0, (6,), np.float32)
    action_space = gymnasium.spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.steps = 0
        return self.observation(), {}

    def observation(self) -> Any:
        return np.eye(7, dtype=np.float32)[self.place, :6]

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.place = self.place + 1 if action == self.CODE[self.place] else 0
        opened = self.place == 6
        return self.observation(), float(opened), opened, self.steps == 24, {}


def knowing(obs: dict[str, Any]) -> int:
    return CodeLock.CODE[int(obs["obs"].argmax())]


def test_it_learns_faster_with_demonstrations(tmp_path: Path) -> None:
    assert record_demonstrations(knowing, CodeLock, tmp_path / "demos", episodes=3) == [1.0, 1.0, 1.0]

    def learned(trainer: str) -> float:
        train = {"num_iterations": 12, "batch_size_per_gpu": 4, "batches_per_iteration": 2, "learning_rate": 1e-2}
        cloning = {"bc_config": {"paths": [str(tmp_path / "demos")], "coef": 0.5}} if "BC" in trainer else {}
        online = {
            "trainer_name": trainer,
            "train_config": {**train, **cloning},
            "rollout_config": {
                "num_rollout_workers": 1,
                "fragment_length": 16,
                "worker_config": {"num_envs": 8, "execution": "in_worker"},
            },
        }
        with OnlineSession(trainer, runtime="inline", run_root=tmp_path) as session:
            session.load_config({"online_dict": online, "env_generator": CodeLock})
            session.start_rollout()
            session.start_trainer()
            session.wait(timeout=250)
            return session.evaluate(20).mean_return

    assert learned("PPOTrainer") < 0.2
    assert learned("PPOBCTrainer") > 0.8


def test_a_trained_policy_demonstrates(tmp_path: Path) -> None:
    loaded = load_config("cartpole", ["policy_config.name=mlp_gru"])
    spec = EnvSpec(
        ObsSpec((("obs", BoxSpec((4,), "float32")),), False),
        ActionSpec((ActionLeaf("action", "discrete", (2,)),), False),
    )
    policy = build_policy(loaded.policy, spec, seed=0)
    returns = record_demonstrations(policy, loaded.env, tmp_path, episodes=2, seed=5)
    again = record_demonstrations(policy, loaded.env, tmp_path, episodes=2, seed=5)
    assert returns == again
    assert len(Demonstrations.load([str(tmp_path)], spec)) == sum(returns)

"""Parts of a policy: frozen, with settings of their own, computed again, in bfloat16, compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from minestudio_nb.config.checking import check
from minestudio_nb.errors import CheckpointError, ConfigError
from minestudio_nb.policies import MinePolicy, build_policy
from minestudio_nb.trainer import CheckpointStore
from tests.support.recurrent import POLICIES, ActedStore, lively
from tests.support.training import Bench, small_config

torch.set_num_threads(1)


def changed(bench: Bench, first: int = 0, last: int = -1) -> set[str]:
    """First two words of the names of tensors that differ between two published versions."""
    one, other = bench.publisher.packages[first].state, bench.publisher.packages[last].state
    return {".".join(name.split(".")[:2]) for name in one if (one[name] != other[name]).any()}


EVERYTHING = {"actor.0", "critic.0", "pi_head.linear", "value_head.linear"}


def test_frozen_parts_stay_as_they_were() -> None:
    bench = Bench(small_config(freeze=["actor", "value_head.linear"], weight_decay=0.1))
    bench.run()
    assert changed(bench) == EVERYTHING - {"actor.0", "value_head.linear"}
    assert all(parameter.grad is None for parameter in bench.policy.actor.parameters())
    bench = Bench(small_config(freeze=["*.bias"]))
    bench.run()
    one, other = bench.publisher.packages[0].state, bench.publisher.packages[-1].state
    assert all((one[name] == other[name]).all() == name.endswith("bias") for name in one if "linear" in name)


def test_freezing_and_thawing_while_it_trains() -> None:
    bench = Bench(small_config(num_iterations=4))
    bench.trainer.setup()
    bench.control.edit("train_config.freeze", ["actor", "pi_head"])
    publish, seen = bench.publisher.publish, []

    def publish_and_thaw(package: Any, collect: bool = True) -> None:
        publish(package, collect)
        seen.append(package.version)
        if package.version == 2:
            bench.control.edit("train_config.freeze", ["nothing_is_named_so"])
        if package.version == 3:
            bench.control.edit("train_config.freeze", [])

    bench.publisher.publish = publish_and_thaw
    bench.trainer.train()
    assert changed(bench, 0, 3) == EVERYTHING - {"actor.0", "pi_head.linear"}, "a wrong name changes nothing"
    assert changed(bench, 3, 4) == EVERYTHING
    (told,) = [event for event in bench.telemetry.told if "stays as it was" in event.message]
    assert "no parameter is named 'nothing_is_named_so'" in told.message and told.severity == "warning"


@pytest.mark.parametrize(
    ("freeze", "text"),
    [(["actr.0"], "did you mean 'actor.0'"), (["*"], "leaves no parameter to train")],
)
def test_what_cannot_be_frozen(freeze: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Bench(small_config(freeze=freeze)).run()


def test_groups_have_their_own_rate_and_decay() -> None:
    groups = [
        {"match": ["pi_head", "value_head"], "learning_rate_factor": 0.0},
        {"match": "critic", "weight_decay": 0.5, "learning_rate_factor": 2.0},
    ]
    nothing = {"ppo_policy_coef": 0.0, "ppo_vf_coef": 0.0}
    settings = {"num_iterations": 1, "gradient_accumulation": 4, "learning_rate": 0.1, **nothing}
    before = Bench().weights
    bench = Bench(small_config(parameter_groups=groups, **settings))
    bench.run()
    after = bench.weights
    # No gradient moves anything, so that only decay is left: lr x factor x decay, once.
    torch.testing.assert_close(after["critic.0.weight"], before["critic.0.weight"] * (1 - 0.1 * 2.0 * 0.5))
    torch.testing.assert_close(after["actor.0.weight"], before["actor.0.weight"])
    bench.trainer.edited("train_config.weight_decay", 0.25)
    assert [group["weight_decay"] for group in bench.trainer.optimizer.param_groups] == [0.25, 0.5, 0.25]
    bench = Bench(small_config(parameter_groups=groups[:1]))
    bench.run()
    assert changed(bench) == {"actor.0", "critic.0"}


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ([{"match": "nowhere"}], "no parameter is named 'nowhere'"),
        ([{"match": "actor"}, {"match": "actor.0"}], "have taken all parameters"),
    ],
)
def test_groups_that_match_nothing(groups: list[dict[str, Any]], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Bench(small_config(parameter_groups=groups))


def test_groups_are_checked_before_anything_starts() -> None:
    groups = [{"match": []}, {"match": "a", "learning_rate": 1}, {"match": "a", "weight_decay": -1}, {"match": "b"}]
    found = [str(problem) for problem in check(small_config(parameter_groups=groups))]
    assert ["match must name" in found[0], "has no setting 'learning_rate'" in found[1]] == [True, True]
    assert "weight_decay must be a number of 0 or more, -1 came" in found[2] and len(found) == 3


def test_resuming_keeps_groups_and_what_is_frozen(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"parameter_groups": [{"match": "critic", "learning_rate_factor": 0.5}]}
    store = CheckpointStore(tmp_path)
    first = Bench(small_config(num_iterations=1, **settings), checkpoints=store)
    first.trainer.setup()
    first.control.edit("train_config.freeze", ["actor"])
    folder = str(first.trainer.train().checkpoint)
    again = Bench(small_config(num_iterations=3, resume=folder, **settings))
    again.run()
    assert changed(again) == EVERYTHING - {"actor.0"}, "the edit is in force again"
    with pytest.raises(CheckpointError, match="other groups of parameters"):
        Bench(small_config(num_iterations=3, resume=folder)).run()


def trained(policy: MinePolicy, **settings: Any) -> Bench:
    store = ActedStore(policy) if policy.is_recurrent else None
    bench = Bench(small_config(num_iterations=1, **settings), store, policy, policy.env_spec)
    bench.run()
    return bench


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_computing_parts_again_changes_nothing(name: str) -> None:
    plain, again = trained(lively(name)), trained(lively(name), gradient_checkpointing=True)
    assert again.policy.gradient_checkpointing and not plain.policy.gradient_checkpointing
    torch.testing.assert_close(again.weights, plain.weights)
    again.trainer.edited("train_config.gradient_checkpointing", False)
    assert not again.policy.gradient_checkpointing


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_training_in_bfloat16(name: str) -> None:
    bench = trained(lively(name), use_amp=True)
    assert bench.telemetry.points[1]["ppo/updates_skipped"] == 0.0
    assert bench.telemetry.points[1]["ppo/importance_weight"] == pytest.approx(1.0, abs=0.3)
    assert all(parameter.dtype == torch.float32 for parameter in bench.policy.parameters())


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # torch's compiler has many of its own
@pytest.mark.parametrize("name", ["mlp", *sorted(POLICIES)])
def test_a_compiled_policy_learns_the_same(name: str) -> None:
    plain, compiled = (
        trained(lively(name) if name in POLICIES else Bench().policy, learning_rate=1e-4, compile_policy=on)
        for on in (False, True)
    )
    torch.testing.assert_close(compiled.weights, plain.weights, rtol=1e-3, atol=1e-4)


def test_a_parameter_that_a_policy_freezes_itself_stays_frozen() -> None:
    policy = build_policy({"name": "mlp", "args": {"hidden": [16]}}, Bench().policy.env_spec, seed=1)
    policy.actor.requires_grad_(False)
    bench = Bench(small_config(), policy=policy)
    bench.run()
    assert changed(bench) == EVERYTHING - {"actor.0"}

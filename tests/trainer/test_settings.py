"""Every setting of train_config that the trainer reads does what it says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minestudio_nb.learning import gae
from minestudio_nb.policies import build_policy
from minestudio_nb.trainer import CheckpointStore
from tests.support.fragments import VECTOR_SPEC, FeedStore, make_fragment
from tests.support.recurrent import ActedStore, make_policy
from tests.support.training import SMALL, Bench, same_weights, small_config

ONE_STEP = {"num_iterations": 1, "gradient_accumulation": 4}
NOTHING = {"ppo_policy_coef": 0.0, "ppo_vf_coef": 0.0}


def trained(**train: Any) -> Bench:
    bench = Bench(small_config(**train))
    bench.run()
    return bench


def change(bench: Bench, part: str) -> float:
    """Norm of what training changed in parameters whose name begins with ``part``."""
    first, last = bench.publisher.packages[0].state, bench.publisher.packages[-1].state
    return math.sqrt(sum(float(((last[name] - first[name]) ** 2).sum()) for name in first if name.startswith(part)))


def test_sizes_of_an_iteration() -> None:
    bench = trained(num_iterations=3, epochs_per_iteration=5)
    assert [len(numbers) for numbers in bench.store.taken] == [8, 8, 8]
    steps = next(iter(bench.trainer.optimizer.state.values()))["step"]
    assert steps == 3 * 5 * 4 / 2
    assert bench.trainer.progress.samples == 3 * 5 * 8 * 8 and bench.trainer.progress.env_steps == 3 * 8 * 8


def test_learning_rate_and_its_annealing() -> None:
    assert same_weights(trained(learning_rate=0.0).weights, Bench().weights)
    assert change(trained(learning_rate=1e-3), "actor") < change(trained(learning_rate=1e-2), "actor")
    points = trained(num_iterations=4, anneal_lr_linearly=True).telemetry.points
    assert [points[k]["ppo/learning_rate"] for k in (1, 2, 3, 4)] == pytest.approx([1e-2, 7.5e-3, 5e-3, 2.5e-3])
    points = trained().telemetry.points
    assert [points[k]["ppo/learning_rate"] for k in (1, 2)] == [1e-2, 1e-2]


def test_weight_decay_is_decoupled() -> None:
    before, after = Bench().weights, trained(**ONE_STEP, **NOTHING, learning_rate=0.1, weight_decay=0.5).weights
    torch.testing.assert_close(after["actor.0.weight"], before["actor.0.weight"] * (1 - 0.1 * 0.5))


def test_gradient_norm_and_adam_epsilon() -> None:
    # The first step of Adam is lr * g / (|g| + eps): with eps = 1 and a small gradient, lr * g.
    bench = trained(**ONE_STEP, adam_eps=1.0, max_grad_norm=1e-3, learning_rate=1.0)
    assert change(bench, "") == pytest.approx(1e-3, rel=0.02)
    assert bench.telemetry.points[1]["ppo/grad_norm"] > 1e-2
    assert change(trained(**ONE_STEP, adam_eps=1e-8, max_grad_norm=1e-3, learning_rate=1.0), "") > 1.0


@pytest.mark.parametrize(("discount", "lam"), [(0.0, 0.5), (0.9, 0.0), (0.9, 0.8)])
def test_discount_and_lambda(discount: float, lam: float) -> None:
    bench = trained(num_iterations=1, zero_initial_vf=True, discount=discount, gae_lambda=lam)
    wanted = []
    for number in range(8):
        part = make_fragment(number)
        flags = [torch.from_numpy(array)[None] for array in (part.terminated, part.truncated)]
        rewards, zeros = torch.from_numpy(part.rewards)[None], torch.zeros(1, 8)
        wanted.append(gae(rewards, torch.zeros(1, 9), *flags, zeros, discount, lam)[0])
    assert bench.telemetry.points[1]["ppo/advantage_std"] == pytest.approx(torch.cat(wanted).std(correction=0).item())


def test_ppo_clip_bounds_the_ratio() -> None:
    tight, wide = trained(epochs_per_iteration=4, ppo_clip=1e-3), trained(epochs_per_iteration=4, ppo_clip=10.0)
    assert tight.telemetry.points[2]["ppo/clip_fraction"] > 0.5
    assert wide.telemetry.points[2]["ppo/clip_fraction"] == 0.0
    assert tight.telemetry.points[2]["ppo/approx_kl_nats"] < wide.telemetry.points[2]["ppo/approx_kl_nats"]


def test_the_clip_range_is_annealed_when_asked_for() -> None:
    points = trained(num_iterations=4, anneal_clip_linearly=True, ppo_clip=0.4).telemetry.points
    assert [points[k]["ppo/clip_range"] for k in (1, 2, 3, 4)] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    # The range is also what holds: at 0.001 of it nearly every ratio is outside.
    late = trained(num_iterations=1000, max_env_steps=128, anneal_clip_linearly=True, ppo_clip=0.4)
    assert late.telemetry.points[2]["ppo/clip_range"] == pytest.approx(0.4 * 0.999)
    assert [trained().telemetry.points[k]["ppo/clip_range"] for k in (1, 2)] == [0.2, 0.2]


def test_target_kl_ends_an_iteration_early_and_keeps_what_was_done() -> None:
    many = {"num_iterations": 1, "epochs_per_iteration": 20, "learning_rate": 0.02}
    free, held = trained(**many), trained(**many, target_kl=0.01)
    assert free.telemetry.points[1]["ppo/optimizer_steps"] == 40
    steps = held.telemetry.points[1]["ppo/optimizer_steps"]
    assert 1 <= steps < 20
    assert held.telemetry.points[1]["ppo/approx_kl_nats"] <= 0.01, "no step was made from beyond it"
    assert change(held, "actor") > 0.0 and held.telemetry.points[1]["ppo/updates_skipped"] == 0
    assert held.trainer.progress.samples == steps * 32
    assert next(iter(held.trainer.optimizer.state.values()))["step"] == steps


def test_value_clipping_holds_the_value_back() -> None:
    many = {"num_iterations": 1, "epochs_per_iteration": 30, "ppo_clip": 0.02}
    assert change(trained(**many, clip_vloss=True), "critic") < 0.7 * change(trained(**many), "critic")


def test_coefficients_switch_their_terms_on_and_off() -> None:
    bench = trained(ppo_policy_coef=0.0)
    assert change(bench, "actor") == 0.0 and change(bench, "critic") > 0.0
    bench = trained(ppo_vf_coef=0.0)
    assert change(bench, "critic") == 0.0 and change(bench, "actor") > 0.0
    assert change(trained(**NOTHING), "") == 0.0


def test_entropy_bonus_spreads_the_policy() -> None:
    policy = build_policy({"name": "mlp"}, VECTOR_SPEC, 1)
    with torch.no_grad():
        policy.pi_head.linear.bias.copy_(torch.tensor([2.0, 0.0, 0.0, -1.0]))
    bench = Bench(small_config(**NOTHING, entropy_bonus_coef=1.0, num_iterations=5), policy=policy)
    bench.run()
    points = bench.telemetry.points
    assert points[5]["ppo/entropy_nats"] > points[1]["ppo/entropy_nats"] + 0.05


def test_kl_pulls_towards_the_reference_and_decays() -> None:
    reference = build_policy({"name": "mlp", "args": {"hidden": [16]}}, VECTOR_SPEC, 2)
    with torch.no_grad():
        reference.pi_head.linear.bias.copy_(torch.tensor([1.0, 0.0, 0.0, -1.0]))
    config = small_config(**NOTHING, kl_divergence_coef_rho=1.0, coef_rho_decay=0.5, num_iterations=6)
    bench = Bench(config, reference_policy=reference)
    bench.run()
    points = bench.telemetry.points
    assert points[6]["ppo/kl_reference_nats"] < 0.7 * points[1]["ppo/kl_reference_nats"]
    assert points[1]["ppo/loss"] == pytest.approx(points[1]["ppo/kl_reference_nats"], rel=1e-4)
    assert points[2]["ppo/loss"] == pytest.approx(0.5 * points[2]["ppo/kl_reference_nats"], rel=1e-4)
    assert bench.trainer.state()["rho"] == pytest.approx(0.5**6)


def test_a_reference_is_made_only_where_rho_asks_for_one() -> None:
    assert trained().trainer.reference_policy is None
    bench = trained(kl_divergence_coef_rho=0.1)
    assert same_weights(bench.trainer.reference_policy.state_dict(), Bench().weights)
    assert bench.trainer.reference_weights() is None, "the initial policy need not be saved"
    bench = trained(kl_divergence_coef_rho=0.1, enable_ref_update=True)
    assert same_weights(bench.trainer.reference_policy.state_dict(), bench.weights)
    assert bench.trainer.reference_weights() is not None


def test_log_ratio_range_bounds_every_ratio() -> None:
    bench = trained(epochs_per_iteration=5, log_ratio_range=1e-3, learning_rate=0.1, ppo_clip=10.0)
    assert 0.0 < bench.telemetry.points[2]["ppo/approx_kl_nats"] <= math.exp(1e-3) - 1 - 1e-3 + 1e-7


def test_advantages_over_the_iteration_or_over_each_step() -> None:
    one_step = [trained(**ONE_STEP, normalize_advantage_full_batch=full).weights for full in (True, False)]
    torch.testing.assert_close(*(weights["actor.0.weight"] for weights in one_step))
    several = [trained(normalize_advantage_full_batch=full).weights for full in (True, False)]
    assert not torch.allclose(*(weights["actor.0.weight"] for weights in several))
    # Of unit deviation over the whole, whatever the scale of rewards: the policy's gradient does not grow with them.
    assert trained(normalize_advantage_full_batch=True).telemetry.points[1]["ppo/advantage_std"] > 1.0


class ScaledStore(FeedStore):
    """Rewards of 50 and above."""

    def make(self, number: int, version: int) -> Any:
        fragment = super().make(number, version)
        fragment.rewards = (fragment.rewards * 10 + 50).astype(np.float32)
        return fragment


def test_a_normalised_value_function() -> None:
    config = small_config(use_normalized_vf=True, num_iterations=3, discount=0.0)
    bench = Bench(config, ScaledStore())
    bench.run()
    head = bench.policy.value_head
    assert head.mean.item() == pytest.approx(50.0, abs=3.0) and head.std.item() == pytest.approx(10.0, abs=2.0)
    assert bench.telemetry.points[1]["ppo/value_loss"] < 20.0, "about half a squared deviation in normalised units"
    plain = Bench(small_config(num_iterations=1, discount=0.0), ScaledStore())
    plain.run()
    assert plain.telemetry.points[1]["ppo/value_loss"] > 1000.0


def test_zero_initial_vf() -> None:
    weights = trained(zero_initial_vf=True).publisher.packages[0].state
    assert not weights["value_head.linear.weight"].any() and not weights["value_head.linear.bias"].any()


def test_vf_warmup_trains_the_value_function_alone() -> None:
    bench = trained(vf_warmup=1, entropy_bonus_coef=0.1, kl_divergence_coef_rho=0.1)
    built, warmed, last = (package.state for package in bench.publisher.packages)
    assert np.array_equal(built["actor.0.weight"], warmed["actor.0.weight"])
    assert not np.array_equal(built["critic.0.weight"], warmed["critic.0.weight"])
    assert not np.array_equal(warmed["actor.0.weight"], last["actor.0.weight"])


def biased() -> Any:
    policy = build_policy({"name": "mlp"}, VECTOR_SPEC, 1)
    with torch.no_grad():
        policy.pi_head.linear.bias.copy_(torch.tensor([2.0, 0.0, 0.0, 0.0]))
    return policy


def test_importance_weights_of_stale_data() -> None:
    for clamp, clamped in ((100.0, 0.0), (2.0, 0.25)):
        bench = Bench(small_config(importance_weight_clamp=clamp, num_iterations=1), FeedStore(lag=1), biased())
        bench.run()
        point = bench.telemetry.points[1]
        # A quarter of the uniform actions are the one that the biased policy takes with p = .71: weight 2.8.
        assert point["ppo/importance_clamped_fraction"] == pytest.approx(clamped, abs=0.12)
        assert point["ppo/effective_sample_size"] < 0.95
        assert point["ppo/importance_weight"] <= clamp


def test_the_plain_objective_is_held_against_what_the_workers_stored() -> None:
    """Without a step made, ratio and value error are those of the policy against the stored numbers themselves."""
    for plain in (True, False):
        one = {"num_iterations": 1, "gradient_accumulation": 4, "objective": "plain" if plain else "decoupled"}
        bench = Bench(small_config(**one), FeedStore(lag=0), biased())
        bench.run()
        point = bench.telemetry.points[1]
        log_ratios = []
        for number in range(8):  # what acted was uniform over 4 actions
            fragment = make_fragment(number)
            obs = torch.from_numpy(fragment.obs["obs"][:8])[None]
            with torch.no_grad():
                outputs, _ = biased()({"obs": obs}, [], {})
            log_probs = biased().pi_head.logprob(torch.from_numpy(fragment.actions)[None], outputs["pi_logits"])
            log_ratios.append(log_probs[0] + math.log(4.0))
        ratio = torch.cat(log_ratios).exp()
        outside = ((ratio - 1).abs() > 0.2).float().mean().item()
        assert point["ppo/clip_fraction"] == pytest.approx(outside if plain else 0.0) and outside == 1.0
        kl = (ratio - 1 - ratio.log()).mean().item()
        assert point["ppo/approx_kl_nats"] == pytest.approx(kl if plain else 0.0, rel=1e-4, abs=1e-6)
        assert ("ppo/effective_sample_size" in point) is not plain, "nothing is weighted, so nothing is measured"


def test_plain_and_decoupled_are_the_same_where_nothing_is_stale() -> None:
    """Recurrent, acted by the very policy that learns: memory, values and log-probabilities are those of acting."""
    weights = []
    for objective in ("plain", "decoupled"):
        policy = make_policy()
        bench = Bench(small_config(num_iterations=2, objective=objective), ActedStore(policy), policy=policy)
        bench.run()
        weights.append(bench.weights)
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-4)


def test_staleness_is_that_of_the_samples() -> None:
    bench = Bench(small_config(num_iterations=3), FeedStore(lag=1))
    bench.run()
    assert [bench.telemetry.points[k]["rollout/staleness"] for k in (1, 2, 3)] == [0.0, 1.0, 1.0]


def test_seeds() -> None:
    assert same_weights(trained(seed=3).weights, trained(seed=3).weights)
    assert not same_weights(trained(seed=3).weights, trained(seed=4).weights)


def test_automatic_mixed_precision_is_close_and_not_the_same() -> None:
    plain, mixed = trained(learning_rate=1e-3).weights, trained(learning_rate=1e-3, use_amp=True).weights
    assert not same_weights(plain, mixed)
    assert mixed["actor.0.weight"].dtype == torch.float32
    torch.testing.assert_close(plain["actor.0.weight"], mixed["actor.0.weight"], rtol=0, atol=5e-3)


def test_checkpoints_at_their_intervals(tmp_path: Path) -> None:
    config = small_config(num_iterations=7, save_interval=2, keep_interval=4).with_value("recovery_interval", 1000)
    result = Bench(config, checkpoints=CheckpointStore(tmp_path)).run()
    # 2 was deleted when 4 came; 4 is a multiple of keep_interval; 6 was deleted for the last one.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iteration_000004", "iteration_000007", "latest"]
    assert result.checkpoint == tmp_path / "iteration_000007"


def test_small_models_are_saved_after_each_iteration(tmp_path: Path) -> None:
    written = []

    class Counting(CheckpointStore):
        def write(self, frozen: Any, label: str = "", keep_interval: int = 1) -> Path:
            written.append(frozen.iteration)
            return super().write(frozen, label, keep_interval)

    Bench(small_config(num_iterations=3, save_interval=100), checkpoints=Counting(tmp_path)).run()
    assert written == [1, 2, 3]


def test_videos_are_asked_for_at_their_interval() -> None:
    asked: list[Any] = []
    Bench(small_config(num_iterations=5, record_video_interval=2), on_request=asked.append).run()
    assert asked == [{"kind": "record", "episodes": 4}] * 2


@pytest.mark.parametrize(
    ("train", "parts", "reason", "iterations"),
    [
        ({}, {}, "num_iterations", 4),
        ({"max_env_steps": 100}, {}, "max_env_steps", 2),
        ({"max_minutes": 1e-9}, {}, "max_minutes", 1),
        ({"target_return": 5.0}, {"return_window": lambda: 5.5}, "target_return", 0),
        ({"target_return": 5.0}, {"return_window": lambda: math.nan}, "num_iterations", 4),
        ({}, {"stop_check": lambda: "enough"}, "enough", 0),
    ],
)
def test_what_ends_training(train: Any, parts: Any, reason: str, iterations: int) -> None:
    result = Bench(small_config(**{**SMALL, "num_iterations": 4, **train}), **parts).run()
    assert (result.reason, result.iterations) == (reason, iterations)

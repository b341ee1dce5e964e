"""Advantages, objective and batches against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from minestudio_nb.errors import TrainingError
from minestudio_nb.learning import (
    TERMS,
    LossSettings,
    LossTargets,
    collate,
    effective_sample_size,
    explained_variance,
    gae,
    gather_chunks,
    gather_observations,
    importance_weights,
    moments,
    normalise_advantages,
    observation_rows,
    ppo_loss,
    shuffled_chunks,
)
from tests.support.fragments import make_fragment

torch.set_num_threads(1)


def advantages(
    terminated: int | None = None,
    truncated: int | None = None,
    final: float = 0.0,
    lam: float = 0.8,
    value: float = 0.5,
) -> list[float]:
    """GAE of three rewards of 1, constant values, gamma 0.9."""
    flags = torch.zeros(2, 1, 3, dtype=torch.bool)
    finals = torch.zeros(1, 3)
    if terminated is not None:
        flags[0, 0, terminated] = True
    if truncated is not None:
        flags[1, 0, truncated], finals[0, truncated] = True, final
    result, returns = gae(torch.ones(1, 3), torch.full((1, 4), value), flags[0], flags[1], finals, 0.9, lam)
    torch.testing.assert_close(returns, result + value)
    return result[0].tolist()


def test_gae_by_hand() -> None:
    assert advantages() == pytest.approx([2.12648, 1.634, 0.95])
    assert advantages(terminated=1) == pytest.approx([1.31, 0.5, 0.95])
    assert advantages(lam=0.0) == pytest.approx([0.95, 0.95, 0.95])
    assert advantages(lam=1.0, value=0.0) == pytest.approx([2.71, 1.9, 1.0])


def test_a_time_limit_bootstraps_from_the_final_observation() -> None:
    # Step 1 is cut off at an observation worth 2: delta_1 = 1 + .9 * 2 - .5 = 2.3; delta_0 = .95 + .72 * 2.3.
    assert advantages(truncated=1, final=2.0) == pytest.approx([0.95 + 0.72 * 2.3, 2.3, 0.95])
    # Both at once: a terminated episode is worth nothing more.
    assert advantages(terminated=1, truncated=1, final=2.0) == pytest.approx([1.31, 0.5, 0.95])


def test_batch_rows_do_not_mix() -> None:
    rewards, values = torch.rand(5, 7), torch.rand(5, 8)
    terminated, truncated = torch.rand(5, 7) < 0.2, torch.rand(5, 7) < 0.2
    finals = torch.rand(5, 7)
    together, _ = gae(rewards, values, terminated, truncated, finals, 0.97, 0.9)
    for row in range(5):
        pick = slice(row, row + 1)
        alone, _ = gae(rewards[pick], values[pick], terminated[pick], truncated[pick], finals[pick], 0.97, 0.9)
        torch.testing.assert_close(together[pick], alone)


def test_normalisation_over_parts_is_that_over_the_whole() -> None:
    values, weights = torch.tensor([1.0, 2.0, 3.0, 100.0]), torch.tensor([1.0, 1.0, 1.0, 0.0])
    total = moments(values[:1], weights[:1]) + moments(values[1:], weights[1:])
    normal = normalise_advantages(values, total)
    # Mean 2, population deviation sqrt(2/3); the sample of weight 0 does not count.
    assert normal[:3].tolist() == pytest.approx([-math.sqrt(1.5), 0.0, math.sqrt(1.5)])
    errors = torch.tensor([0.5, -0.5, 0.5, 7.0])
    assert explained_variance(total, moments(errors, weights)) == pytest.approx(1 - (2 / 9) / (2 / 3))


def targets(**changes: Tensor) -> LossTargets:
    base = {
        "log_probs": torch.tensor([-1.0, -1.0, -1.0]),
        "values": torch.tensor([0.0, 0.0, 0.0]),
        "advantages": torch.tensor([1.0, 1.0, -2.0]),
        "returns": torch.tensor([1.0, 1.0, 1.0]),
        "importance": torch.ones(3),
        "weights": torch.ones(3),
    }
    return LossTargets(**(base | changes))


LOG_PROBS = torch.tensor([math.log(1.5), math.log(1.1), math.log(0.5)]) - 1.0
VALUES = torch.tensor([0.5, 0.1, 2.0])
ENTROPY = torch.tensor([1.0, 2.0, 3.0])


def named(sums: Tensor) -> dict[str, float]:
    return dict(zip(TERMS, sums.tolist(), strict=True))


def test_the_loss_by_hand() -> None:
    settings = LossSettings(clip=0.2, policy_coef=1.0, value_coef=0.5, entropy_coef=0.1, kl_coef=2.0)
    kl = torch.tensor([0.1, 0.0, 0.2])
    loss, sums = ppo_loss(LOG_PROBS, VALUES, ENTROPY, kl, targets(), 3.0, settings)
    # Ratios 1.5, 1.1, 0.5; policy: -min(1.5, 1.2), -1.1, -min(-1.0, -1.6) = 1.6.
    terms = named(sums)
    assert terms["policy_loss"] == pytest.approx(-1.2 - 1.1 + 1.6)
    assert terms["value_loss"] == pytest.approx(0.5 * (0.25 + 0.81 + 1.0))
    assert terms["entropy_nats"] == pytest.approx(6.0)
    assert terms["clip_fraction"] == 2.0
    assert terms["approx_kl_nats"] == pytest.approx(sum(r - 1 - math.log(r) for r in (1.5, 1.1, 0.5)))
    assert terms["kl_reference_nats"] == pytest.approx(0.3)
    assert loss.item() == pytest.approx((-0.7 + 0.5 * 1.03 - 0.1 * 6.0 + 2.0 * 0.3) / 3, abs=1e-6)
    assert terms["loss"] == pytest.approx(3 * loss.item())


def test_the_value_loss_is_clipped_as_the_policy_is() -> None:
    settings = LossSettings(clip=0.2, value_clip=0.2)
    _, sums = ppo_loss(LOG_PROBS, VALUES, ENTROPY, None, targets(), 3.0, settings)
    # Held to 0.2, 0.1, 0.2: errors max(.25, .64), .81, max(1, .64).
    assert named(sums)["value_loss"] == pytest.approx(0.5 * (0.64 + 0.81 + 1.0))


def test_importance_weights_scale_the_policy_loss_only() -> None:
    importance = torch.tensor([2.0, 0.5, 1.0])
    _, sums = ppo_loss(LOG_PROBS, VALUES, ENTROPY, None, targets(importance=importance), 3.0, LossSettings(clip=0.2))
    assert named(sums)["policy_loss"] == pytest.approx(-2.4 - 0.55 + 1.6)
    assert named(sums)["value_loss"] == pytest.approx(0.5 * (0.25 + 0.81 + 1.0))


def test_importance_statistics_by_hand() -> None:
    proximal, behaviour = torch.tensor([0.0, math.log(4.0), math.log(0.5)]), torch.zeros(3)
    weights, stats = importance_weights(proximal, behaviour, torch.ones(3), clamp=2.0)
    assert weights.tolist() == pytest.approx([1.0, 2.0, 0.5])
    assert stats.tolist() == pytest.approx([3.0, 3.5, 5.25, 1.0])
    assert effective_sample_size(stats) == pytest.approx(3.5**2 / (3 * 5.25))
    equal, stats = importance_weights(behaviour, behaviour, torch.ones(3), clamp=2.0)
    assert equal.tolist() == [1.0, 1.0, 1.0] and effective_sample_size(stats) == 1.0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_log_ratios_are_clamped_both_ways_alike(sign: float) -> None:
    """Only a runaway ratio is clamped: with identical weights every ratio is exactly 1, however rare the action."""
    low = torch.tensor([-300.0, -12.0, -1.0])
    same, sums = ppo_loss(low, VALUES, ENTROPY, None, targets(log_probs=low), 3.0, LossSettings(clip=0.2, value_coef=0))
    assert named(sums)["clip_fraction"] == 0.0 and same.item() == pytest.approx(0.0)
    far = low + sign * 200.0
    for advantage in (1.0, -1.0):
        given = targets(log_probs=low, advantages=torch.full((3,), advantage))
        _, sums = ppo_loss(far, VALUES, ENTROPY, None, given, 3.0, LossSettings(clip=0.2, log_ratio_range=2.0))
        ratio = math.exp(sign * 2.0)
        expected = -min(ratio * advantage, max(0.8, min(1.2, ratio)) * advantage)
        assert named(sums)["policy_loss"] == pytest.approx(3 * expected, rel=1e-5)


def test_parts_of_unequal_size_add_up_to_the_whole() -> None:
    settings = LossSettings(clip=0.2, entropy_coef=0.1)
    log_probs = LOG_PROBS.clone().requires_grad_()
    whole, _ = ppo_loss(log_probs, VALUES, ENTROPY, None, targets(), 3.0, settings)
    (expected,) = torch.autograd.grad(whole, log_probs)
    total, gradient = 0.0, torch.zeros(3)
    for part in (slice(0, 1), slice(1, 3)):
        given = LossTargets(**{name: value[part] for name, value in vars(targets()).items()})
        loss, _ = ppo_loss(log_probs[part], VALUES[part], ENTROPY[part], None, given, 3.0, settings)
        gradient += torch.autograd.grad(loss, log_probs)[0]
        total += loss.item()
    assert total == pytest.approx(whole.item())
    torch.testing.assert_close(gradient, expected)


def test_samples_of_weight_zero_do_not_count() -> None:
    weights = torch.tensor([1.0, 0.0, 1.0])
    log_probs = LOG_PROBS.clone().requires_grad_()
    loss, sums = ppo_loss(log_probs, VALUES, ENTROPY, None, targets(weights=weights), 2.0, LossSettings(clip=0.2))
    loss.backward()
    assert log_probs.grad is not None and log_probs.grad[1].item() == 0.0
    assert named(sums)["policy_loss"] == pytest.approx(0.4)


def test_collate_keeps_every_step_and_every_end() -> None:
    fragments = [make_fragment(0), make_fragment(1, ends=False), make_fragment(2)]
    batch = collate(fragments, weights=[1.0, 0.0, 1.0])
    assert batch.size == 3 and batch.length == 8 and batch.obs["obs"].shape == (3, 9, 3)
    assert batch.final_index.tolist() == [[0, 5], [2, 5]]
    assert batch.final_obs["obs"][1].tolist() == fragments[2].final_obs["obs"][0].tolist()
    assert batch.weights.sum(1).tolist() == [8.0, 0.0, 8.0]
    with pytest.raises(TrainingError, match=r"one length, \[4, 8\] came"):
        collate([make_fragment(0), make_fragment(1, length=4)])


@pytest.mark.parametrize("context", [1, 4, 8])
def test_chunks_cover_every_step_once_with_their_own_observations(context: int) -> None:
    fragments, length = 4, 8
    steps = torch.arange(fragments * length).reshape(fragments, length)
    observations = torch.cat([steps, torch.full((fragments, 1), -1)], 1)
    order = shuffled_chunks(fragments, length, context, microbatches=2, generator=torch.Generator().manual_seed(0))
    assert order.shape == (2, 16 // context)
    seen = []
    for chunks in order:
        picked = gather_chunks(steps, chunks, context)
        assert torch.equal(
            picked, gather_observations(observations, observation_rows(chunks, length, context), context)
        )
        assert torch.equal(picked, picked[:, :1] + torch.arange(context))
        seen += picked.flatten().tolist()
    assert sorted(seen) == list(range(fragments * length))
    again = shuffled_chunks(fragments, length, context, 2, torch.Generator().manual_seed(0))
    assert torch.equal(order, again)
    with pytest.raises(TrainingError, match="context_length 3"):
        shuffled_chunks(fragments, length, 3, 2, torch.Generator())

"""Each shipped recurrent policy: memory in training is the memory that acted, whatever the chunks."""

from __future__ import annotations

import contextlib

import pytest
import torch

from minestudio_nb.learning import collate
from minestudio_nb.policies import MinePolicy
from minestudio_nb.trainer.passes import Evaluator
from tests.support.recurrent import POLICIES, ActedStore, Actor, lively
from tests.support.training import Bench, small_config

torch.set_num_threads(1)


@pytest.fixture(params=sorted(POLICIES))
def policy(request: pytest.FixtureRequest) -> MinePolicy:
    return lively(request.param)


def logits_of(policy: MinePolicy, batch, chunk: int) -> tuple[dict, torch.Tensor, list]:
    """Everything the policy says of whole fragments, shown ``chunk`` steps at a time."""
    state, found = batch.state, []
    for start in range(0, batch.length, chunk):
        steps = slice(start, min(start + chunk, batch.length))
        obs = {key: part[:, steps] for key, part in batch.obs.items()}
        outputs, state = policy(obs, state, {"first": batch.first[:, steps]})
        found.append(outputs)
    logits = {name: torch.cat([one["pi_logits"][name] for one in found], 1) for name in policy.pi_head.names}
    return logits, torch.cat([one["vpred"] for one in found], 1), state


@torch.no_grad()
def test_logits_of_training_are_those_of_acting_whatever_the_chunks(policy: MinePolicy) -> None:
    actors = [Actor(policy, number, length=12, episode=episode) for number, episode in enumerate((5, 7, 30))]
    for actor in actors:
        actor.fragment(1)  # the next ones begin mid-episode, and episodes begin at different steps of each
    batch = collate([actor.fragment(1) for actor in actors])
    assert batch.first[:, 0].tolist() == [False] * 3 and batch.first.any(1).tolist() == [True, True, False]
    logits, values, state = logits_of(policy, batch, 12)
    for chunk in (1, 3, 5):
        again, values_again, state_again = logits_of(policy, batch, chunk)
        torch.testing.assert_close(again, logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(values_again, values, rtol=0, atol=1e-5)
        torch.testing.assert_close(state_again, state, rtol=0, atol=1e-5)
    # Acting went step by step, each stream by itself; its action and value were recorded.
    torch.testing.assert_close(policy.pi_head.logprob(batch.actions, logits), batch.log_probs, rtol=0, atol=5e-5)
    torch.testing.assert_close(policy.value_head.denormalize(values)[..., 0], batch.values, rtol=0, atol=5e-5)
    batch.first[:] = False
    ignorant, _, _ = logits_of(policy, batch, 12)
    name = policy.pi_head.names[0]
    gap = (ignorant[name] - logits[name]).abs().amax((1, 2))
    assert (gap[:2] > 0.005).all(), "ignoring episode starts would be noticed"
    assert gap[2] < 1e-5


def test_passes_of_the_trainer_and_its_reference_repeat_what_acting_said(policy: MinePolicy) -> None:
    actor = Actor(policy, 0, length=8, episode=5)
    before, after = actor.fragment(1), actor.fragment(1)
    batch = collate([before, after])
    for context_length in (2, 8):
        result = Evaluator(policy, context_length, 2, contextlib.nullcontext).evaluate(batch, batch.state)
        torch.testing.assert_close(result.log_probs, batch.log_probs, rtol=0, atol=5e-5)
    settings = {"num_iterations": 2, "learning_rate": 0.0, "kl_divergence_coef_rho": 0.1}
    bench = Bench(small_config(**settings), ActedStore(policy), policy, policy.env_spec)
    bench.run()
    for point in bench.telemetry.points.values():
        assert point["ppo/kl_reference_nats"] == pytest.approx(0.0, abs=1e-5)
        assert point["ppo/approx_kl_nats"] == pytest.approx(0.0, abs=1e-5) and point["ppo/clip_fraction"] == 0.0
        assert point["ppo/effective_sample_size"] == pytest.approx(1.0, abs=1e-3)


def test_gradients_reach_the_memory_and_stop_at_episode_starts(policy: MinePolicy) -> None:
    obs = {key: torch.from_numpy(part)[None, :4] for key, part in Actor(policy, 0).fragment(1).obs.items()}
    first = torch.zeros(1, 4, dtype=torch.bool)
    with torch.no_grad():
        _, state = policy(obs, policy.initial_state(1), {"first": first})  # a memory of something
    state = [part.requires_grad_(part.is_floating_point()) for part in state]
    floats = [part for part in state if part.requires_grad]
    outputs, _ = policy(obs, state, {"first": first})
    outputs["vpred"][:, -1].sum().backward()
    assert any(part.grad is not None and part.grad.abs().max() > 0 for part in floats)
    for part in floats:
        part.grad = None
    first[:, 2] = True
    outputs, _ = policy(obs, state, {"first": first})
    outputs["vpred"][:, -1].sum().backward()
    assert all(part.grad is None or part.grad.abs().max() == 0 for part in floats)

"""Memory in training is the memory that acted: resets at episode starts, states at chunk starts, final observations."""

from __future__ import annotations

import contextlib

import pytest
import torch

from minestudio_nb.learning import collate
from minestudio_nb.trainer.passes import Evaluator, reference_mask
from tests.support.recurrent import ActedStore, Actor, make_policy
from tests.support.training import Bench, small_config

torch.set_num_threads(1)


def evaluator(policy, context_length: int = 4, rows: int = 2) -> Evaluator:
    return Evaluator(policy, context_length, rows, contextlib.nullcontext)


@pytest.mark.parametrize("context_length", [1, 4, 8])
def test_a_pass_repeats_what_acting_said(context_length: int) -> None:
    policy = make_policy()
    fragments = [fragment for number in range(3) for fragment in [Actor(policy, number).fragment(1)]]
    actor = Actor(policy, 9)
    fragments += [actor.fragment(1), actor.fragment(1)]  # the second begins mid-episode
    batch = collate(fragments)
    result = evaluator(policy, context_length).evaluate(batch, batch.state)
    torch.testing.assert_close(result.log_probs, batch.log_probs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.values[:, :-1], batch.values, rtol=1e-4, atol=1e-5)
    # The value after the last step of the fragment is that of the first step of the next one.
    torch.testing.assert_close(result.values[3, -1], batch.values[4, 0], rtol=1e-4, atol=1e-5)
    assert result.chunk_states[0].shape == (5 * 8 // context_length, 8)


def test_ignoring_episode_starts_would_be_noticed() -> None:
    policy = make_policy()
    batch = collate([Actor(policy, 0).fragment(1)])
    batch.first[:] = False
    result = evaluator(policy).evaluate(batch, batch.state)
    assert (result.log_probs - batch.log_probs).abs().max() > 0.01


@torch.no_grad()
def test_final_observations_are_valued_with_the_memory_of_their_episode() -> None:
    policy = make_policy()
    fragment = Actor(policy, 0, length=8, episode=7).fragment(1)  # cut off at step 6
    batch = collate([fragment])
    assert batch.final_index.tolist() == [[0, 6]]
    result = evaluator(policy).evaluate(batch, batch.state)
    state = policy.initial_state(1)
    steps = torch.cat([batch.obs["obs"][0, :7], batch.final_obs["obs"][:1]])
    for step in steps:
        state = [policy.cell(step[None], state[0])]
    assert result.final_values[0, 6].item() == pytest.approx(policy.value_head(state[0]).item(), abs=1e-5)
    assert result.final_values[0, :6].abs().max() == 0.0


def test_chunk_states_continue_where_the_chunk_before_ended() -> None:
    policy = make_policy()
    batch = collate([Actor(policy, number).fragment(1) for number in range(2)])
    states = evaluator(policy, context_length=4).evaluate(batch, batch.state).chunk_states
    with torch.no_grad():
        _, after = policy({"obs": batch.obs["obs"][1:, :4]}, [batch.state[0][1:]], {"first": batch.first[1:, :4]})
    torch.testing.assert_close(states[0][3:], after[0])
    assert torch.equal(states[0][2], batch.state[0][1])


def test_states_are_made_anew_from_the_fragment_before() -> None:
    policy = make_policy()
    actor = Actor(policy, 0)
    before, after = actor.fragment(1), actor.fragment(1)
    lost = [torch.full((2, 8), 7.0)]
    warm = evaluator(policy, context_length=3).warm_up([before, None], lost, recorded=True)
    torch.testing.assert_close(warm[0][0], torch.from_numpy(after.state[0]), rtol=1e-4, atol=1e-5)
    assert torch.equal(warm[0][1], lost[0][1]) and lost[0][0, 0] == 7.0


def test_where_the_reference_lacks_context() -> None:
    batch = collate([Actor(make_policy(), number, episode=5).fragment(1) for number in range(2)])
    batch.first[:, 0] = False  # as if both began mid-episode; the next episode begins at step 5
    assert reference_mask(batch, [False, True], None).tolist() == [[0] * 5 + [1] * 3, [1] * 8]
    assert reference_mask(batch, [False, True], 2).tolist() == [[0] * 2 + [1] * 6, [1] * 8]


def test_training_a_recurrent_policy() -> None:
    policy = make_policy()
    settings = {"num_iterations": 3, "learning_rate": 0.0, "kl_divergence_coef_rho": 0.1}
    bench = Bench(small_config(**settings), ActedStore(policy), policy=policy)
    bench.run()
    for point in bench.telemetry.points.values():
        # Nothing was learned, so in training every number must be that of acting, and the reference that of the policy.
        assert point["ppo/approx_kl_nats"] == pytest.approx(0.0, abs=1e-6) and point["ppo/clip_fraction"] == 0.0
        assert point["ppo/importance_weight"] == pytest.approx(1.0, abs=1e-4)
        assert point["ppo/effective_sample_size"] == pytest.approx(1.0, abs=1e-4)
        assert point["ppo/kl_reference_nats"] == pytest.approx(0.0, abs=1e-6)
        assert point["ppo/kl_masked_fraction"] == 0.0


def test_a_fragment_without_its_predecessor_is_masked_for_the_reference() -> None:
    policy = make_policy()
    store = ActedStore(policy)
    for actor in store.actors:
        actor.fragment(0)  # lost: what is taken first begins mid-episode, at step 3 of 5
    bench = Bench(small_config(num_iterations=1, kl_divergence_coef_rho=0.1, learning_rate=0.0), store, policy=policy)
    bench.run()
    point = bench.telemetry.points[1]
    assert point["ppo/kl_masked_fraction"] == pytest.approx(2 / 8)
    assert point["ppo/kl_reference_nats"] == pytest.approx(0.0, abs=1e-6), "what counts has the context it needs"


def test_the_state_of_a_reused_fragment_is_made_anew() -> None:
    policy = make_policy()
    store = ActedStore(policy, repeat=True)
    bench = Bench(small_config(num_iterations=3, learning_rate=0.0), store, policy=policy)
    bench.run()
    points = bench.telemetry.points
    assert store.taken[1] == store.taken[2]
    assert [points[k]["buffer/reuse"] for k in (1, 2, 3)] == [1.0, 1.0, 2.0]
    # The recorded states were spoiled before the second use, and nothing was learned: had one been used, it would show.
    assert points[3]["ppo/importance_weight"] == pytest.approx(1.0, abs=1e-4)
    assert points[3]["ppo/effective_sample_size"] == pytest.approx(1.0, abs=1e-4)

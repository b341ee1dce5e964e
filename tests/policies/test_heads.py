"""Action heads over every kind of space, by hand-computed numbers; the value head's loss."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from minestudio_nb.contracts.specs import ActionSpec, EnvSpec
from minestudio_nb.environments.spaces import action_spec, spec_of
from minestudio_nb.policies import CategoricalHead, MixedHead, MlpPolicy, ValueHead, build_policy, make_action_head
from tests.support.fragments import VECTOR_SPEC, FeedStore
from tests.support.training import Bench, small_config

torch.set_num_threads(1)

CAMERA = spaces.Box(np.array([-180.0, 0.0], np.float32), np.array([180.0, 10.0], np.float32))
MIXED = spaces.Dict({"aim": CAMERA, "jump": spaces.Discrete(2), "keys": spaces.MultiDiscrete([3, 4])})
SPACES = [spaces.Discrete(3, start=2), spaces.MultiDiscrete([[2, 3], [4, 5]]), CAMERA, MIXED]


@pytest.mark.parametrize("space", SPACES, ids=["discrete", "multi_discrete", "box", "dict"])
def test_a_head_for_every_space(space: spaces.Space) -> None:
    spec = action_spec(space)
    head = make_action_head(5, spec)
    distribution = head(torch.randn(4, 6, 5))
    assert {name: tuple(part.shape) for name, part in distribution.items()} == {
        name: (4, 6, n) for name, n in zip(spec.component_names, spec.parameter_counts, strict=True)
    }
    generator = torch.Generator().manual_seed(0)
    actions = head.sample(distribution, generator)
    assert actions.shape == (4, 6, spec.size) and str(actions.dtype) == f"torch.{spec.dtype}"
    assert space.contains(spec.decode(actions[0, 0].numpy()))
    logprob, entropy = head.logprob(actions, distribution), head.entropy(distribution)
    assert logprob.shape == entropy.shape == (4, 6)
    torch.testing.assert_close(head.logprob(spec.split(actions), distribution), logprob)
    rows = head.join(distribution)[0]
    drawn, drawn_logprob = head.sample_logits(rows, generator)
    torch.testing.assert_close(drawn_logprob, head.logprob(drawn, head.distribution(rows)))
    # The mean of -log p over draws is the entropy, and that of log p - log q the divergence from q.
    one = {name: part[:1, :1] for name, part in distribution.items()}
    other = {name: part[1:2, :1] for name, part in head(torch.randn(4, 6, 5) * 30).items()}
    scores = head.join(one)[0].expand(40_000, -1)
    draws, log_p = head.sample_logits(scores, generator)
    assert -log_p.mean().item() == pytest.approx(head.entropy(one).item(), abs=0.03)
    log_q = head.logprob(draws, {name: part[0].expand(40_000, -1) for name, part in other.items()})
    assert (log_p - log_q).mean().item() == pytest.approx(head.kl_divergence(one, other).item(), abs=0.05, rel=0.03)
    assert head.kl_divergence(one, one).item() == pytest.approx(0.0, abs=1e-6)


def test_normal_components_by_hand() -> None:
    head = make_action_head(3, action_spec(spaces.Box(-np.inf, np.inf, (2,))))
    assert isinstance(head, MixedHead)
    pi = {"action.0": torch.tensor([[0.0, 0.0]]), "action.1": torch.tensor([[1.0, math.log(2)]])}
    actions = torch.tensor([[1.0, 5.0]])
    # N(0, 1) at 1: -1/2 - ln sqrt(2 pi); N(1, 2) at 5: -(4/2)^2 / 2 - ln 2 - ln sqrt(2 pi)
    expected = -0.5 - 2.0 - math.log(2) - math.log(2 * math.pi)
    assert head.logprob(actions, pi).item() == pytest.approx(expected)
    assert head.entropy(pi).item() == pytest.approx(math.log(2 * math.pi * math.e) + math.log(2))
    other = {"action.0": torch.tensor([[1.0, 0.0]]), "action.1": torch.tensor([[1.0, 0.0]])}
    # KL(N(0,1) || N(1,1)) = 1/2; KL(N(1,2) || N(1,1)) = -ln 2 + 4/2 - 1/2
    assert head.kl_divergence(pi, other).item() == pytest.approx(0.5 - math.log(2) + 1.5)
    assert head.sample(pi, deterministic=True).tolist() == [[0.0, 1.0]]


def test_temperature_divides_the_scores() -> None:
    spec = action_spec(spaces.Discrete(3))
    warm, plain = CategoricalHead(2, spec, temperature=2.0), CategoricalHead(2, spec)
    plain.load_state_dict(warm.state_dict())
    features = torch.randn(5, 2)
    torch.testing.assert_close(warm(features)["action"], (plain.logits(features) / 2).log_softmax(-1))
    bare = CategoricalHead(None, spec)
    assert not list(bare.parameters())
    torch.testing.assert_close(bare(plain.logits(features))["action"], plain(features)["action"])


def test_boxes_are_scaled_and_clipped_and_open_sides_are_left() -> None:
    spec = action_spec(MIXED)
    assert spec.component_names == ("aim.0", "aim.1", "jump", "keys.0", "keys.1") and spec.dtype == "float32"
    native = spec.decode(np.array([0.5, -3.0, 1.0, 2.0, 3.0], np.float32))
    assert native["aim"].tolist() == [90.0, 0.0] and native["aim"].dtype == np.float32
    assert native["jump"] == 1 and native["keys"].tolist() == [2, 3] and native["keys"].dtype == np.int64
    assert spec.encode(native).tolist() == [0.5, -1.0, 1.0, 2.0, 3.0]
    half_open = action_spec(
        spaces.Box(np.array([0.0, -np.inf], np.float64), np.array([np.inf, np.inf]), dtype=np.float64)
    )
    assert half_open.decode(np.array([-2.0, -7.0])).tolist() == [0.0, -7.0]
    random = spec.sample(np.random.default_rng(0), 100)
    assert random.shape == (100, 5) and all(MIXED.contains(spec.decode(row)) for row in random)
    assert {row[4] for row in random.tolist()} == {0.0, 1.0, 2.0, 3.0} and abs(random[:, :2]).max() <= 1.0


class Target(gymnasium.Env):
    """Pays for a guess near the number that is shown; an episode is one step."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Dict({"guess": spaces.Box(-10.0, 10.0, (1,)), "sign": spaces.Discrete(2)})

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.shown = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.shown, {}

    def step(self, action: dict) -> tuple:
        error = abs(float(action["guess"][0]) / 10.0 - float(self.shown[0])) + (action["sign"] != (self.shown[0] > 0))
        return self.reset()[0], -float(error), True, False, {}


def test_continuous_actions_are_trained() -> None:
    spec = EnvSpec(VECTOR_SPEC.obs, action_spec(MIXED))
    policy = build_policy({"name": "mlp", "args": {"hidden": [8]}}, spec, seed=0)

    class Store(FeedStore):
        def make(self, number: int, version: int):
            fragment = super().make(number, version)
            fragment.actions = spec.action.sample(np.random.default_rng(number), fragment.length)
            fragment.log_probs[:] = -3.0
            return fragment

    bench = Bench(small_config(num_iterations=2, kl_divergence_coef_rho=0.1), Store(), policy, spec)
    before = bench.weights
    bench.run()
    after = bench.weights
    for name in ("pi_head.log_std", "pi_head.mean.weight", "pi_head.categorical.linear.weight"):
        assert not torch.equal(before[name], after[name]), name
    assert bench.telemetry.points[2]["ppo/updates_skipped"] == 0.0


def test_the_value_loss_is_in_normalised_units() -> None:
    head = ValueHead(3)
    head.update_scale(mean=10.0, mean_square=104.0, count=64)  # deviation 2
    loss = head.loss(torch.tensor([[0.0], [1.0]]), torch.tensor([[12.0], [10.0]]))
    assert loss.item() == pytest.approx((1.0 + 1.0) / 2, rel=1e-4)
    assert sum(p.numel() for p in head.parameters()) == 3 + 1 + 3
    assert [name for name, p in head.named_parameters() if not p.requires_grad] == ["_moments"]


def test_a_policy_says_what_its_space_is() -> None:
    policy = MlpPolicy(spec_of(Target()))
    action, _ = policy.get_action({"obs": np.zeros(1, np.float32)}, None, input_shape="*")
    assert Target.action_space.contains(action)
    assert ActionSpec((), False).is_categorical

"""The published details of PPO that no other test holds, and that docs/ppo.md names tests and code which exist."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minestudio_nb.config import OnlineConfig
from minestudio_nb.contracts.specs import ActionLeaf, ActionSpec, BoxSpec, EnvSpec, ObsSpec
from minestudio_nb.environments.build import EnvFactory
from minestudio_nb.environments.spaces import spec_of
from minestudio_nb.policies import build_policy
from tests.config.test_config_schema import MINESTUDIO_KEYS
from tests.support.fragments import VECTOR_SPEC, FeedStore
from tests.support.training import Bench, small_config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ppo.md").read_text(encoding="utf-8")
IMAGE_SPEC = EnvSpec(
    ObsSpec((("image", BoxSpec((64, 64, 3), "uint8")),), True),
    ActionSpec((ActionLeaf("action", "discrete", (4,)),), False),
)


# The page.


def test_everything_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE))
    assert len(named) > 60
    missing = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not re.search(rf"(def|class) {name}\b|^{name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert not missing


def test_every_detail_and_every_key_has_a_row() -> None:
    details, _, keys = PAGE.partition("## The 37 details")[2].partition("## MineStudio's keys")
    numbers = [int(number) for number in re.findall(r"^\| (\d+) ", details, re.MULTILINE)]
    assert numbers == list(range(1, 38))
    rows = [line for line in details.splitlines() if re.match(r"\| \d+ ", line)]
    untested = [int(row.split()[1]) for row in rows if "`tests/" not in row]
    assert untested == [16, 17], "only what there is nothing of here has no test"
    assert re.findall(r"^\| `(\w+)` \|.*`tests/.*` \|$", keys, re.MULTILINE) != []
    assert set(re.findall(r"^\| `(\w+)` \|.*`tests/", keys, re.MULTILINE)) == set(MINESTUDIO_KEYS["train_config"])


# Initialisation.


def gain_of(weight: Tensor) -> float:
    """The common singular value of an orthogonal layer's weight."""
    values = torch.linalg.svdvals(weight.detach().flatten(1))
    torch.testing.assert_close(values, values[:1].expand_as(values), rtol=1e-3, atol=1e-4)
    return values[0].item()


@pytest.mark.parametrize(
    ("name", "args", "spec"),
    [
        ("mlp", {}, VECTOR_SPEC),
        ("cnn", {"variant": "tiny"}, IMAGE_SPEC),
        ("cnn", {"variant": "nature"}, IMAGE_SPEC),
        ("cnn", {"variant": "impala"}, IMAGE_SPEC),
        ("mlp_gru", {}, VECTOR_SPEC),
    ],
)
def test_layers_begin_orthogonal(name: str, args: dict[str, Any], spec: EnvSpec) -> None:
    policy = build_policy({"name": name, "args": args}, spec, seed=0)
    gains = {}
    for path, module in policy.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            gains[path] = gain_of(module.weight)
            assert module.bias is None or not module.bias.any(), path
    assert gains.pop("pi_head.linear") == pytest.approx(0.01, rel=1e-3)
    assert gains.pop("value_head.linear") == pytest.approx(1.0, rel=1e-3)
    assert gains and all(gain == pytest.approx(math.sqrt(2), rel=1e-3) for gain in gains.values())
    recurrent = [module for module in policy.modules() if isinstance(module, (nn.GRU, nn.GRUCell))]
    assert bool(recurrent) == policy.is_recurrent
    for module in recurrent:
        for path, weight in module.named_parameters():
            if "bias" in path:
                assert not weight.any()
            else:
                assert [gain_of(gate) for gate in weight.chunk(3)] == pytest.approx([1.0] * 3, rel=1e-3)
    assert all(not part.any() for part in policy.initial_state(2))


# The optimizer.


def test_the_optimizer_is_adam_as_published() -> None:
    assert OnlineConfig().train_config.adam_eps == 1e-5
    bench = Bench(small_config(num_iterations=1, gradient_accumulation=4, max_grad_norm=1e9))
    (group,) = bench.trainer.optimizer.param_groups
    assert (group["eps"], group["betas"], group["weight_decay"], group["amsgrad"]) == (1e-5, (0.9, 0.999), 0.0, False)
    gradients: list[Tensor] = []
    step = bench.trainer.optimizer.step

    def noting_step() -> None:
        gradients.append(bench.policy.pi_head.linear.bias.grad.clone())
        step()

    bench.trainer.optimizer.step = noting_step
    bench.run()
    # Adam's first step, corrected for its bias: lr * g / (|g| + eps).
    (gradient,) = gradients
    torch.testing.assert_close(
        bench.policy.pi_head.linear.bias.detach(), -1e-2 * gradient / (gradient.abs() + 1e-5), rtol=1e-4, atol=1e-7
    )


# Rewards and observations.


class Scaled(FeedStore):
    """The rewards of the feed, times ``scale``."""

    scale = 1.0

    def make(self, number: int, version: int) -> Any:
        fragment = super().make(number, version)
        fragment.rewards = (fragment.rewards * self.scale).astype(np.float32)
        return fragment


def test_the_size_of_rewards_does_not_matter_to_the_update() -> None:
    """With a normalised value function and normalised advantages, rewards a thousand times larger teach the same."""

    def actor(scale: float, normalised: bool) -> tuple[Tensor, float]:
        store = Scaled()
        store.scale = scale
        # What the value head says before its first update is in units of reward: zero in both.
        config = small_config(use_normalized_vf=normalised, num_iterations=3, zero_initial_vf=True)
        bench = Bench(config, store)
        bench.run()
        return bench.weights["actor.0.weight"], bench.telemetry.points[3]["ppo/value_loss"]

    (small, small_loss), (large, large_loss) = actor(1.0, True), actor(1000.0, True)
    torch.testing.assert_close(small, large, rtol=1e-3, atol=1e-4)
    assert large_loss == pytest.approx(small_loss, rel=1e-3)
    (_, small_loss), (_, large_loss) = actor(1.0, False), actor(1000.0, False)
    assert large_loss > 1e4 * small_loss, "without it the value loss drowns everything else"


def test_gymnasiums_wrappers_serve_in_a_generator() -> None:
    """Stacked, normalised and clipped observations and rewards, for environments that need them."""

    def env_generator() -> gymnasium.Env[Any, Any]:
        env: Any = gymnasium.make("CartPole-v1", disable_env_checker=True)
        env = gymnasium.wrappers.NormalizeObservation(env)
        env = gymnasium.wrappers.TransformObservation(env, lambda obs: np.clip(obs, -10, 10), env.observation_space)
        env = gymnasium.wrappers.FrameStackObservation(env, 4)
        return gymnasium.wrappers.TransformReward(env, lambda reward: float(np.clip(7.0 * reward, -1, 1)))

    env = EnvFactory(env_generator)(0)
    spec = spec_of(env)
    assert spec.obs["obs"].shape == (4, 4)
    env.reset(seed=0)
    obs, reward, *_ = env.step(1)
    assert obs.shape == (4, 4) and reward == 1.0
    env.close()

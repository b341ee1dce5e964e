"""Policies of MineStudio's own package: taken as they are, their ignorance of episode starts repaired."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
from torch import nn

from minestudio_nb.contracts.specs import ActionLeaf, ActionSpec, BoxSpec, EnvSpec, ObsSpec
from minestudio_nb.errors import ConfigError, UnsupportedSpaceError
from minestudio_nb.learning import collate
from minestudio_nb.policies import ForeignPolicy, build_policy, load_package, to_package
from tests.support.recurrent import ActedStore, Actor
from tests.support.training import Bench, small_config

torch.set_num_threads(1)

SPEC = EnvSpec(
    ObsSpec((("image", BoxSpec((4, 4, 3), "uint8")),), True),
    ActionSpec(
        (ActionLeaf("buttons", "multi_discrete", (6,), (1,)), ActionLeaf("camera", "multi_discrete", (9, 9), (2,))),
        True,
    ),
)


class Net(nn.Module):
    """A GRU that never looks at where episodes begin, unless ``heeds``."""

    def __init__(self, heeds: bool) -> None:
        super().__init__()
        self.heeds = heeds
        self.gru = nn.GRU(48, 8, batch_first=True)

    def forward(self, image: torch.Tensor, state: Any, first: torch.Tensor) -> Any:
        hidden, outputs = state[0], []
        for step in range(image.shape[1]):
            if self.heeds:
                hidden = hidden * (~first[:, step])[:, None]
            output, last = self.gru(image[:, step : step + 1].flatten(2).float() / 64 - 2, hidden[None].contiguous())
            hidden = last[0]
            outputs.append(output)
        return torch.cat(outputs, 1), [hidden]


class Normalizer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name, value in (("running_mean", [1.5]), ("running_mean_sq", [6.5]), ("debiasing_term", 0.5)):
            setattr(self, name, nn.Parameter(torch.tensor(value), requires_grad=False))


class ValueHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 1)
        self.normalizer = Normalizer()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features)


class ActionHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.buttons, self.camera = nn.Linear(8, 6), nn.Linear(8, 18)

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        buttons, camera = self.buttons(features).unsqueeze(-2), self.camera(features).unflatten(-1, (2, 9))
        return {"buttons": buttons.log_softmax(-1), "camera": camera.log_softmax(-1)}


class TheirPolicy(nn.Module):
    """In the form of MineStudio's VPTPolicy, its faults included."""

    def __init__(self, heeds: bool = False) -> None:
        super().__init__()
        self.net, self.pi_head, self.value_head = Net(heeds), ActionHead(), ValueHead()
        self.cached: dict[int, Any] = {}

    def initial_state(self, batch_size: int | None = None) -> Any:
        return self.cached.setdefault(batch_size, [torch.zeros(batch_size or 1, 8)])

    def forward(self, input: Any, state_in: Any, **kwargs: Any) -> Any:
        first = kwargs["context"]["first"]
        try:
            hidden, state = self.net(input["image"], state_in, first)
        except Exception:  # noqa: BLE001
            pytest.fail("a debugger would be opened here")
        return {"pi_logits": self.pi_head(hidden), "vpred": self.value_head(hidden)}, state


@pytest.fixture
def policy(caplog: pytest.LogCaptureFixture) -> ForeignPolicy:
    with caplog.at_level(logging.WARNING):
        built = build_policy(lambda: TheirPolicy(), SPEC, seed=0)
    assert isinstance(built, ForeignPolicy) and built.ignores_starts
    assert "TheirPolicy ignores where episodes begin" in caplog.text
    return built


def test_it_is_taken_as_it_is(policy: ForeignPolicy) -> None:
    assert policy.is_recurrent and policy.pi_head.names == ("buttons", "camera.0", "camera.1")
    assert policy.value_head.mean.item() == pytest.approx(3.0) and policy.value_head.std.item() == pytest.approx(2.0)
    assert policy.initial_state(2)[0] is not policy.initial_state(2)[0]
    names = [name for name, _ in policy.named_parameters()]
    assert names.count("value_head.linear.weight") == 1 and "module.value_head.linear.weight" not in names
    other = build_policy(lambda: TheirPolicy(), SPEC, seed=5)
    load_package(other, to_package(policy, "s", 1))
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), other.parameters(), strict=True))


@torch.no_grad()
def test_what_it_does_not_heed_is_repaired_in_acting_and_training(policy: ForeignPolicy) -> None:
    actors = [Actor(policy, number, length=12, episode=episode) for number, episode in enumerate((5, 7))]
    batch = collate([actor.fragment(1) for actor in actors])
    outputs, _ = policy(batch.obs, batch.state, {"first": torch.zeros_like(batch.first)})
    plain = {name: part[:, :12] for name, part in outputs["pi_logits"].items()}
    assert (policy.pi_head.logprob(batch.actions, plain) - batch.log_probs).abs().max() > 0.001, "memory matters"
    outputs, _ = policy(batch.obs, batch.state, {"first": batch.first})
    repaired = {name: part[:, :12] for name, part in outputs["pi_logits"].items()}
    torch.testing.assert_close(policy.pi_head.logprob(batch.actions, repaired), batch.log_probs, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        policy.value_head.denormalize(outputs["vpred"])[:, :12, 0], batch.values, rtol=0, atol=1e-5
    )


def test_it_is_trained(policy: ForeignPolicy) -> None:
    before = copy.deepcopy(policy.state_dict())
    bench = Bench(small_config(num_iterations=2, use_normalized_vf=True), ActedStore(policy), policy, SPEC)
    bench.run()
    assert bench.telemetry.points[1]["ppo/importance_weight"] == pytest.approx(1.0, abs=1e-4)
    after = policy.state_dict()
    for name in ("module.net.gru.weight_hh_l0", "module.pi_head.camera.weight", "value_head.linear.weight"):
        assert not torch.equal(before[name], after[name]), name
    assert torch.equal(after["value_head.linear.weight"], after["module.value_head.linear.weight"])


def test_one_that_heeds_them_is_left_alone() -> None:
    policy = build_policy(lambda: TheirPolicy(heeds=True), SPEC, seed=0)
    assert isinstance(policy, ForeignPolicy) and policy.ignores_starts is False
    batch = collate([Actor(policy, 0, length=12).fragment(1)])
    with torch.no_grad():
        outputs, _ = policy(batch.obs, batch.state, {"first": batch.first})
    said = {name: part[:, :12] for name, part in outputs["pi_logits"].items()}
    torch.testing.assert_close(policy.pi_head.logprob(batch.actions, said), batch.log_probs, rtol=0, atol=1e-5)


def test_its_errors_come_out(policy: ForeignPolicy) -> None:
    image = torch.zeros(1, 1, 5, 5, 3, dtype=torch.uint8)
    for one in (policy, copy.deepcopy(policy)):
        with pytest.raises(RuntimeError) as caught:
            one({"image": image}, one.initial_state(1))
        assert caught.value.__notes__ == ["TheirPolicy was shown image torch.uint8 (1, 1, 5, 5, 3)."]


def test_what_is_no_policy_is_refused() -> None:
    box = ActionSpec((ActionLeaf("aim", "box", shape=(1,), low=(-1.0,), high=(1.0,)),), True)
    with pytest.raises(UnsupportedSpaceError, match="categorical actions only"):
        build_policy(lambda: TheirPolicy(), EnvSpec(SPEC.obs, box), 0)
    with pytest.raises(ConfigError, match="a policy of MineStudio's package is taken"):
        build_policy(lambda: nn.Linear(1, 1), SPEC, 0)

"""Policies: shapes, agreement of the acting path with the training path, distributions, weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from minestudio_nb.contracts.specs import ActionLeaf, ActionSpec, BoxSpec, EnvSpec, ObsSpec
from minestudio_nb.contracts.weights import WeightsPackage
from minestudio_nb.errors import ConfigError, ResourceError, UnsupportedSpaceError, WeightsError
from minestudio_nb.policies import (
    CategoricalHead,
    CnnPolicy,
    MinePolicy,
    MlpPolicy,
    ValueHead,
    build_policy,
    choose_device,
    episode_segments,
    load_package,
    load_weights,
    reset_state,
    save_weights,
    to_package,
)
from tests.support.fragments import VECTOR_SPEC
from tests.support.recurrent import make_policy

torch.set_num_threads(1)


def spec(*boxes: tuple[str, BoxSpec], nvec: tuple[int, ...] = (5,)) -> EnvSpec:
    leaf = ActionLeaf("action", "discrete" if len(nvec) == 1 else "multi_discrete", nvec, (len(nvec),))
    return EnvSpec(ObsSpec(boxes, True), ActionSpec((leaf,), False))


VECTOR = spec(("obs", BoxSpec((4,), "float32")))
IMAGE = spec(("image", BoxSpec((64, 64, 3), "uint8")), nvec=(3, 3, 2))
BOTH = spec(("image", BoxSpec((36, 40, 3), "uint8")), ("compass", BoxSpec((2, 3), "float32")))


def observations(env_spec: EnvSpec, *lead: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        key: (torch.rand(*lead, *box.shape, generator=generator) * 255).to(getattr(torch, box.dtype))
        for key, box in env_spec.obs.items()
    }


def test_one_rule_for_devices() -> None:
    assert choose_device("auto", 0.0) == choose_device("cpu", 1.0) == torch.device("cpu")
    assert choose_device("mps", 0.0).type == "mps"
    for wanted, gpus in (("auto", 0.5), ("cuda", 0.0)):
        if torch.cuda.is_available():
            assert choose_device(wanted, gpus).type == "cuda"
        else:
            with pytest.raises(ResourceError, match=r"torch sees none.*scale=laptop"):
                choose_device(wanted, gpus)


@pytest.mark.parametrize(
    ("config", "env_spec"),
    [
        ({"name": "mlp"}, VECTOR),
        ({"name": "mlp", "args": {"shared": True, "hidden": [8]}}, VECTOR),
        ({"name": "auto"}, IMAGE),
        ({"name": "auto"}, BOTH),
        ({"name": "cnn", "args": {"variant": "nature"}}, IMAGE),
        ({"name": "cnn", "args": {"variant": "impala", "dense": 32, "channels": [4, 8], "blocks": 1}}, BOTH),
    ],
)
@torch.no_grad()
def test_acting_gives_the_numbers_of_training(config: dict, env_spec: EnvSpec) -> None:
    policy = build_policy(config, env_spec, seed=0)
    obs = observations(env_spec, 6, 2)
    outputs, state = policy(obs, policy.initial_state(6), {"first": torch.zeros(6, 2, dtype=torch.bool)})
    names = env_spec.action.component_names
    assert [tuple(outputs["pi_logits"][name].shape) for name in names] == [(6, 2, n) for n in env_spec.action.nvec]
    assert outputs["vpred"].shape == (6, 2, 1) and state == []
    step = {key: value[:, 1] for key, value in obs.items()}
    acted = policy.act(step, torch.zeros(6, dtype=torch.bool), [], torch.Generator().manual_seed(3))
    assert acted.actions.shape == (6, len(names)) and acted.actions.dtype == torch.int64
    expected = policy.pi_head.logprob(acted.actions, {n: p[:, 1] for n, p in outputs["pi_logits"].items()})
    torch.testing.assert_close(acted.log_probs, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(acted.values, outputs["vpred"][:, 1, 0], rtol=1e-4, atol=1e-4)
    general = MinePolicy.act(policy, step, torch.zeros(6, dtype=torch.bool), [], torch.Generator().manual_seed(3))
    assert torch.equal(general.actions, acted.actions)


def test_actions_follow_the_probabilities_and_the_seed() -> None:
    head = CategoricalHead(2, ActionSpec((ActionLeaf("a", "multi_discrete", (3, 3, 2), (3,)),), False))
    probabilities = ([0.7, 0.2, 0.1], [0.05, 0.05, 0.9], [0.4, 0.6])
    logits = torch.tensor([[math.log(p) + 1.5 for part in probabilities for p in part]]).expand(20_000, -1)
    actions, log_probs = head.sample_logits(logits, torch.Generator().manual_seed(0))
    for index, wanted in enumerate(probabilities):
        share = torch.bincount(actions[:, index], minlength=len(wanted)) / 20_000
        torch.testing.assert_close(share, torch.tensor(wanted), rtol=0, atol=0.015)
    row = actions[0].tolist()
    assert log_probs[0].item() == pytest.approx(sum(math.log(probabilities[k][row[k]]) for k in range(3)), abs=1e-5)
    again, _ = head.sample_logits(logits, torch.Generator().manual_seed(0))
    assert torch.equal(actions, again)
    best, _ = head.sample_logits(logits[:1], deterministic=True)
    assert best.tolist() == [[0, 2, 1]]


def test_entropy_and_kl_by_hand() -> None:
    head = CategoricalHead(2, ActionSpec((ActionLeaf("a", "discrete", (2,)), ActionLeaf("b", "discrete", (2,))), True))
    pi = {"a": torch.tensor([[0.5, 0.5]]).log(), "b": torch.tensor([[1.0, 0.0]]).log()}
    other = {"a": torch.tensor([[0.25, 0.75]]).log(), "b": torch.tensor([[0.5, 0.5]]).log()}
    assert head.entropy(pi).item() == pytest.approx(math.log(2))
    # a: .5 ln(.5/.25) + .5 ln(.5/.75) = .5 ln(4/3); b: ln 2
    assert head.kl_divergence(pi, other).item() == pytest.approx(0.5 * math.log(4 / 3) + math.log(2))
    assert head.kl_divergence(pi, pi).item() == 0.0


@torch.no_grad()
def test_bfloat16_acts_with_its_own_numbers_and_follows_new_weights() -> None:
    policy = CnnPolicy(IMAGE)
    names = list(policy.state_dict())
    policy.prepare_for_acting("bfloat16")
    assert list(policy.state_dict()) == names and next(policy.parameters()).dtype == torch.float32
    obs, first = observations(IMAGE, 4), torch.zeros(4, dtype=torch.bool)
    acted = policy.act(obs, first, [], deterministic=True)
    replica = policy._acting_module()
    scores = replica.pi_head.logits(replica.encode(obs)[0]).float().detach()
    exact = policy.pi_head.logprob(acted.actions, policy.pi_head.distribution(scores))
    torch.testing.assert_close(acted.log_probs, exact, rtol=0, atol=0)
    assert acted.log_probs.dtype == acted.values.dtype == torch.float32
    other = build_policy({"name": "cnn"}, IMAGE, seed=9)
    load_package(policy, to_package(other, "s", 3))
    torch.testing.assert_close(
        policy.act(obs, first, []).values, other.act(obs, first, []).values, rtol=0.05, atol=0.05
    )


@torch.no_grad()
def test_images_are_divided_by_255_and_stay_channels_last() -> None:
    encoder = CnnPolicy(IMAGE).trunk.encoders[0]
    image = observations(IMAGE, 2)["image"]
    plain = torch.nn.functional.conv2d(
        image.permute(0, 3, 1, 2).float() / 255, encoder.stem.weight, encoder.stem.bias, 4, 2
    )
    torch.testing.assert_close(encoder(image), encoder.body(plain).permute(0, 2, 3, 1).flatten(1), rtol=1e-4, atol=1e-5)
    assert encoder.stem.weight.is_contiguous(memory_format=torch.channels_last)


def test_value_scale_keeps_what_was_said() -> None:
    head = ValueHead(3)
    features = torch.randn(7, 3)
    before = head.denormalize(head(features))
    head.update_scale(mean=10.0, mean_square=104.0, count=64)
    assert head.mean.item() == pytest.approx(10.0) and head.std.item() == pytest.approx(2.0, rel=1e-4)
    torch.testing.assert_close(head.denormalize(head(features)), before, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(head.normalize(torch.tensor([12.0])), torch.tensor([1.0]), rtol=1e-4, atol=1e-4)
    head.zero_()
    assert head(features).abs().max() == 0


def test_equal_seeds_build_equal_weights_and_leave_the_global_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = build_policy({"name": "mlp"}, VECTOR, 7), build_policy({"name": "mlp"}, VECTOR, 7)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    third = build_policy({"name": "mlp"}, VECTOR, 8)
    assert not torch.equal(next(first.parameters()), next(third.parameters()))


def test_user_functions_with_and_without_the_spec() -> None:
    assert isinstance(build_policy(lambda env_spec: MlpPolicy(env_spec), VECTOR, 0), MlpPolicy)
    assert isinstance(build_policy(lambda: MlpPolicy(VECTOR), VECTOR, 0), MlpPolicy)
    with pytest.raises(ConfigError, match="must give a MinePolicy, Linear came"):
        build_policy(lambda: torch.nn.Linear(1, 1), VECTOR, 0)
    with pytest.raises(UnsupportedSpaceError, match=r"action components are \{'action': 5\}"):
        build_policy(lambda: MlpPolicy(spec(("obs", BoxSpec((4,), "float32")), nvec=(2,))), VECTOR, 0)


@pytest.mark.parametrize(
    ("config", "env_spec", "error", "text"),
    [
        ({"name": "cmn"}, IMAGE, ConfigError, "did you mean 'cnn'"),
        ({"name": "mlp", "args": {"width": 3}}, VECTOR, ConfigError, "width"),
        ({"name": "mlp"}, IMAGE, UnsupportedSpaceError, "Use policy cnn"),
        ({"name": "cnn"}, VECTOR, UnsupportedSpaceError, "Use policy mlp"),
        ({"name": "cnn", "args": {"variant": "nature"}}, spec(("i", BoxSpec((20, 20, 3), "uint8"))), None, "too small"),
        ({"name": "cnn", "args": {"variant": "huge"}}, IMAGE, UnsupportedSpaceError, "'tiny'"),
        ({"name": "cnn", "args": {"channels": [4]}}, IMAGE, UnsupportedSpaceError, "sizes of the variant impala"),
        ({"name": "cnn_gru"}, VECTOR, UnsupportedSpaceError, "needs an image"),
        ({"name": "mlp"}, EnvSpec(VECTOR.obs, ActionSpec((), True)), UnsupportedSpaceError, "MultiDiscrete"),
    ],
)
def test_what_cannot_be_built_says_why(config: dict, env_spec: EnvSpec, error: type | None, text: str) -> None:
    with pytest.raises(error or UnsupportedSpaceError, match=text):
        build_policy(config, env_spec, 0)


def test_packages_are_immutable_and_loading_is_strict(tmp_path) -> None:
    source, target = build_policy({"name": "mlp"}, VECTOR, 1), build_policy({"name": "mlp"}, VECTOR, 2)
    package = to_package(source, "run", 4)
    kept = {name: array.copy() for name, array in package.state.items()}
    with torch.no_grad():
        next(source.parameters()).add_(1)
    load_package(target, package)
    with torch.no_grad():
        next(target.parameters()).add_(1)
    assert all(np.array_equal(package.state[name], kept[name]) for name in kept)
    with pytest.raises(ValueError, match="read-only"):
        package.state["pi_head.linear.weight"][0] = 1.0

    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    wrong = {name: array for name, array in package.state.items() if name != "pi_head.linear.bias"}
    wrong |= {"stray": np.zeros(1, np.float32), "actor.0.weight": np.zeros((64, 3), np.float32)}
    with pytest.raises(WeightsError) as caught:
        load_package(target, WeightsPackage("run", 5, wrong))
    for text in ("1 missing: pi_head.linear.bias", "1 unexpected: stray", "actor.0.weight: (64, 3) came, (64, 4)"):
        assert text in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())

    save_weights(tmp_path / "w.safetensors", source.state_dict())
    loaded = load_weights(tmp_path / "w.safetensors")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in source.state_dict().items())
    (tmp_path / "junk").write_bytes(b"junk")
    for name in ("junk", "absent"):
        with pytest.raises(WeightsError, match="cannot be read"):
            load_weights(tmp_path / name)


def test_state_helpers() -> None:
    state = [torch.arange(6.0).reshape(3, 2), torch.arange(3.0)]
    parts = MinePolicy.split_state(state)
    assert len(parts) == 3 and parts[1][0].tolist() == [[2.0, 3.0]] and parts[1][1].tolist() == [1.0]
    assert all(torch.equal(a, b) for a, b in zip(MinePolicy.merge_state(parts), state, strict=True))
    assert MinePolicy.split_state([], 2) == [[], []]
    policy = MlpPolicy(VECTOR)
    merged = policy.merge_input([{"obs": torch.full((4,), float(row))} for row in range(3)])
    assert merged["obs"].shape == (3, 1, 4) and merged["obs"][:, 0, 0].tolist() == [0, 1, 2]
    assert policy.merge_input([{"obs": np.zeros((5, 4))}] * 2)["obs"].shape == (2, 5, 4)
    split = MinePolicy.split_action({"a": torch.tensor([[1], [2]]), "b": torch.tensor([[3], [4]])}, 2)
    assert split[1]["a"].tolist() == [2] and split[1]["b"].tolist() == [4]
    initial = [torch.zeros(3, 2), torch.zeros(3)]
    reset = reset_state(state, initial, torch.tensor([False, True, False]))
    assert reset[0].tolist() == [[0, 1], [0, 0], [4, 5]] and reset[1].tolist() == [0, 0, 2]


@pytest.mark.parametrize("make", [make_policy, lambda: build_policy({"name": "mlp_gru"}, VECTOR_SPEC, 0)])
def test_a_recurrent_policy_acts_in_bfloat16_and_keeps_a_float32_state(make: Callable[[], MinePolicy]) -> None:
    policy = make()
    obs, first, state = {"obs": torch.rand(3, 3)}, torch.zeros(3, dtype=torch.bool), policy.initial_state(3)
    plain = policy.act(obs, first, state, deterministic=True)
    policy.prepare_for_acting("bfloat16")
    rough = policy.act(obs, first, state, deterministic=True)
    assert rough.state[0].dtype == torch.float32
    torch.testing.assert_close(rough.state[0], plain.state[0], rtol=0.05, atol=0.02)
    assert not torch.equal(rough.values, plain.values)


def test_get_action_of_minestudio() -> None:
    policy = CnnPolicy(IMAGE)
    image = observations(IMAGE)["image"].numpy()
    action, state = policy.get_action({"image": image}, None, deterministic=True, input_shape="*")
    assert action.shape == (3,)
    batch, _ = policy.get_action({"image": image[None, None].repeat(2, 0)}, state, deterministic=True)
    assert batch.shape == (2, 1, 3) and batch[0, 0].tolist() == action.tolist()

    agent = ActionSpec(
        (ActionLeaf("buttons", "multi_discrete", (5,), (1,)), ActionLeaf("jump", "discrete", (2,))), True
    )
    policy = MlpPolicy(EnvSpec(VECTOR.obs, agent))
    by_leaf, _ = policy.get_action({"obs": torch.zeros(2, 3, 4)}, None)
    assert {name: tuple(part.shape) for name, part in by_leaf.items()} == {"buttons": (2, 3, 1), "jump": (2, 3, 1)}
    one, _ = policy.get_action({"obs": np.zeros(4, np.float32)}, None, input_shape="*")
    assert one["buttons"].shape == (1,) and one["jump"] in (0, 1)


def test_a_single_stream_has_states_without_a_batch() -> None:
    policy, steps = make_policy(), torch.rand(2, 3)
    state, single = policy.initial_state(1), [part[0] for part in policy.initial_state(1)]
    for obs in steps:
        _, state = policy.get_action({"obs": obs[None, None]}, state)
        _, single = policy.get_action({"obs": obs}, single, input_shape="*")
    torch.testing.assert_close(single[0], state[0][0])
    _, fresh = policy.get_action({"obs": steps[1]}, None, input_shape="*")
    _, begun = policy.get_action({"obs": steps[1], "first": True}, single, input_shape="*")
    torch.testing.assert_close(begun, fresh)


def test_sizes_of_the_impala_network() -> None:
    policy = CnnPolicy(IMAGE, "impala", dense=10, channels=(4, 8), blocks=3)
    convolutions = [m for m in policy.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 2 * (1 + 3 * 2)
    assert policy.trunk.encoders[0].out_features == 8 * 16 * 16 and policy.trunk.dense.out_features == 10


def test_segments_are_cut_where_any_stream_begins() -> None:
    first = torch.tensor([[True, False, False, True, False], [False, False, True, False, False]])
    assert episode_segments(first) == [(0, 2), (2, 3), (3, 5)]
    assert episode_segments(first[:, 1:2]) == [(0, 1)]


def test_gradient_checkpointing_changes_no_gradient() -> None:
    policy, obs = CnnPolicy(IMAGE), observations(IMAGE, 2, 3)
    found = []
    for on in (False, True):
        policy.gradient_checkpointing = on
        policy.zero_grad()
        outputs, _ = policy(obs)
        outputs["vpred"].sum().backward()
        found.append([p.grad.clone() for p in policy.trunk.parameters()])
    torch.testing.assert_close(found[0], found[1])

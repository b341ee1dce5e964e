"""VPT: MineStudio's numbers, published files, and what they may not do to us."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from minestudio_nb.contracts.specs import ActionLeaf, ActionSpec, BoxSpec, EnvSpec, ObsSpec
from minestudio_nb.errors import ConfigError, UnsupportedSpaceError, WeightsError
from minestudio_nb.policies import CategoricalHead, build_policy
from minestudio_nb.policies.vpt import (
    HierarchicalHead,
    MineStudioVPT,
    VPTPolicy,
    build_vpt,
    foundation_2x,
    load_published_weights,
    load_vpt_policy,
)
from tests.data.vpt import make_golden as golden

torch.set_num_threads(1)

SPACE = gymnasium.spaces.Dict(
    {
        "buttons": gymnasium.spaces.MultiDiscrete([golden.BUTTONS]),
        "camera": gymnasium.spaces.MultiDiscrete([golden.CAMERA]),
    }
)


@pytest.fixture(scope="module")
def published() -> dict[str, np.ndarray]:
    with np.load(golden.GOLDEN, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def weights(published: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Weights under MineStudio's names."""
    shapes = {}
    for line in published["shapes"]:
        name, *sizes = str(line).split(" ")
        shapes[name] = tuple(int(size) for size in sizes if size)
    return {name: torch.from_numpy(part) for name, part in golden.make_weights(shapes).items()}


def make() -> MineStudioVPT:
    return MineStudioVPT(golden.POLICY_KWARGS, SPACE, golden.TEMPERATURE)


def test_foundation_2x_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        policy = foundation_2x()
    assert sum(parameter.numel() for parameter in policy.parameters()) == 248_495_294
    sizes = {
        part: sum(p.numel() for n, p in policy.named_parameters() if n.startswith(part))
        for part in ("net.blocks", "net.tower", "pi_head")
    }
    assert {part: round(size / 1e6, 1) for part, size in sizes.items()} == {
        "net.blocks": 202.7,
        "net.tower": 23.1,
        "pi_head": 18.0,
    }
    assert policy.pi_head.temperature == 2.0 and policy.memory_steps == 4 * 127
    assert [tuple(part.shape) for part in policy.initial_state(2)[:3]] == [(2, 1, 128), (2, 128, 2048), (2, 128, 2048)]


@pytest.mark.parametrize("chunks", [(40,), (1,) * 40, golden.CHUNKS, (17, 23), (30, 9, 1)])
@torch.no_grad()
def test_the_numbers_are_minestudios(published: Any, weights: Any, chunks: tuple[int, ...]) -> None:
    policy = make()
    assert load_published_weights(policy, weights).missing == ()
    images = torch.from_numpy(golden.make_images())
    first = torch.zeros(golden.STREAMS, golden.STEPS, dtype=torch.bool)
    for stream, starts in enumerate(golden.STARTS):
        first[stream, list(starts)] = True
    state, said, start = policy.initial_state(golden.STREAMS), [], 0
    for count in chunks:
        steps = slice(start, start + count)
        outputs, state = policy({"image": images[:, steps]}, state, {"first": first[:, steps]})
        said.append({**outputs["pi_logits"], "vpred": outputs["vpred"]})
        start += count
    assert start == golden.STEPS
    for name in ("buttons", "camera", "vpred"):
        came = torch.cat([one[name] for one in said], 1)
        torch.testing.assert_close(came, torch.from_numpy(published[name]), rtol=0, atol=1e-5)
    value = policy.value_head.denormalize(torch.cat([one["vpred"] for one in said], 1))
    torch.testing.assert_close(value, torch.from_numpy(published["value"]), rtol=0, atol=2e-5)
    for index, part in enumerate(state):
        theirs = torch.from_numpy(published[f"state_{index}"])
        known = torch.from_numpy(published[f"state_{index // 3 * 3}"])
        if index % 3 == 0:
            assert torch.equal(part, theirs)
        else:  # what was forgotten may differ
            keep = known.transpose(1, 2)
            torch.testing.assert_close(part * keep, theirs * keep, rtol=0, atol=1e-5)


def test_the_golden_numbers_would_notice_a_mistake(published: Any, weights: Any) -> None:
    assert np.ptp(published["buttons"], axis=-1).mean() > 1.0, "the logits are no constant"
    steps = published["buttons"].reshape(golden.STREAMS, golden.STEPS, -1)
    assert np.abs(np.diff(steps, axis=1)).max(-1).min() > 0.01, "every step says something else"


# Files.


def model_file(path: Path, **changes: Any) -> Path:
    network = {**golden.POLICY_KWARGS, "unused": 3, **changes}
    head = {"temperature": np.float64(golden.TEMPERATURE)}
    path.write_bytes(pickle.dumps({"model": {"args": {"net": {"args": network}, "pi_head_opts": head}}}))
    return path


class Harmful:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def env_spec(action: ActionSpec | None = None, shape: tuple[int, ...] = (24, 20, 3)) -> EnvSpec:
    leaves = tuple(ActionLeaf(n, "multi_discrete", (k,), (1,)) for n, k in (("buttons", 37), ("camera", 9)))
    return EnvSpec(ObsSpec((("image", BoxSpec(shape, "uint8")),), True), action or ActionSpec(leaves, True))


def test_published_files_are_loaded(tmp_path: Path, weights: Any) -> None:
    model, file = model_file(tmp_path / "x.model"), tmp_path / "x.weights"
    torch.save(weights, file)
    config = {"name": "vpt", "args": {"model": str(model), "weights": str(file)}}
    policy = build_policy(config, env_spec(), 0)
    assert isinstance(policy, VPTPolicy) and policy.pi_head.temperature == 2.0
    assert torch.equal(policy.net.norm.weight, weights["net.final_ln.weight"])
    assert torch.equal(policy.pi_head.linear.weight[37:], weights["pi_head.camera.linear_layer.weight"])
    assert policy.value_head.mean.item() == pytest.approx(3.0) and policy.value_head.std.item() == pytest.approx(2.0)
    torch.save({"state_dict": {f"mine_policy.{name}": part for name, part in weights.items()}}, file)
    report = load_published_weights(make(), file)
    assert len(report.matched) == len(weights) and report.parameters == sum(part.numel() for part in weights.values())
    assert str(report) == f"{file}: {len(weights)} tensors with {report.parameters:,} numbers matched."
    with pytest.raises(ConfigError, match="sizes come from the model file"):
        build_vpt(env_spec(), str(model), hidsize=8)
    with pytest.raises(UnsupportedSpaceError, match=r"obs_size to \[20, 24\]"):
        build_vpt(env_spec(shape=(64, 64, 3)), str(model))


def test_minestudios_function_takes_both_files(tmp_path: Path) -> None:
    model = model_file(tmp_path / "x.model", img_shape=[128, 128, 3], impala_width=0.125)
    policy = load_vpt_policy(model_path=str(model)).to("cpu")
    assert policy.pi_head.nvec == (8641, 121) and isinstance(policy.pi_head, HierarchicalHead)
    with pytest.raises(WeightsError, match="nothing is downloaded"):
        load_vpt_policy(None)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_vpt_policy(str(tmp_path / "nowhere.model"))


def test_files_execute_nothing(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    model = model_file(tmp_path / "x.model", extra=Harmful(touched))
    load = build_vpt(env_spec(), str(model))
    assert load.sizes.hidsize == 32 and not touched.exists()
    (tmp_path / "x.weights").write_bytes(pickle.dumps({"net": Harmful(touched)}))
    torch.save({"net": Harmful(touched)}, tmp_path / "y.weights")
    for name in ("x.weights", "y.weights"):
        with pytest.raises(WeightsError, match="cannot be read as weights"):
            load_published_weights(make(), tmp_path / name)
    assert not touched.exists()
    pickle.loads(pickle.dumps(Harmful(touched)))
    assert touched.exists(), "it would have been touched"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (pickle.dumps({"model": {}}), "is no .model file"),
        (pickle.dumps(Path()), "is no .model file"),
        (b"\x80\x04junk", "is no .model file"),
        (b"0" * 10_000_001, "a few thousand"),
    ],
)
def test_what_is_no_model_file_is_refused(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "x.model").write_bytes(content)
    with pytest.raises(WeightsError, match=text):
        build_vpt(env_spec(), str(tmp_path / "x.model"))


def test_loading_is_strict_and_all_or_none(weights: Any, caplog: pytest.LogCaptureFixture) -> None:
    policy = make()
    before = {name: part.clone() for name, part in policy.state_dict().items()}
    wrong = {name: part for name, part in weights.items() if "q_layer.bias" not in name and "b_nd" not in name}
    wrong["net.final_ln.bias"] = torch.zeros(3)
    with pytest.raises(WeightsError) as caught:
        load_published_weights(policy, wrong)
    for text in ("6 missing: ", "net.final_ln.bias: (3,) came, (32,) is needed"):
        assert text in str(caught.value)
    assert all(torch.equal(before[name], part) for name, part in policy.state_dict().items())
    with caplog.at_level(logging.WARNING):
        report = load_published_weights(policy, {**weights, "net.extra": torch.zeros(2)})
    assert report.unexpected == ("net.extra",) and "1 unexpected: net.extra" in caplog.text


def test_the_trunk_alone_serves_other_actions(weights: Any) -> None:
    policy = VPTPolicy(env_spec(ActionSpec((ActionLeaf("go", "discrete", (4,)),), False)), 2.0, **make_sizes())
    with pytest.raises(WeightsError, match="with heads=False the trunk alone"):
        load_published_weights(policy, weights)
    head = policy.pi_head.linear.weight.clone()
    load_published_weights(policy, weights, heads=False)
    assert torch.equal(policy.net.norm.weight, weights["net.final_ln.weight"])
    assert torch.equal(policy.pi_head.linear.weight, head)


def make_sizes() -> dict[str, Any]:
    names = ("hidsize", "impala_width", "attention_heads", "attention_memory_size", "timesteps", "n_recurrence_layers")
    return {name: golden.POLICY_KWARGS[name] for name in names}


def test_a_value_head_that_saw_no_return_stays_in_reward_units(weights: Any) -> None:
    policy = make()
    unseen = {name: torch.zeros_like(part) if "normalizer" in name else part for name, part in weights.items()}
    load_published_weights(policy, unseen)
    assert (policy.value_head.mean.item(), policy.value_head.std.item()) == (0.0, 1.0)


def test_other_forms_are_refused_with_every_difference() -> None:
    with pytest.raises(ConfigError) as caught:
        MineStudioVPT({**golden.POLICY_KWARGS, "recurrence_type": "multi_layer_lstm", "init_norm_kwargs": {}})
    assert len(caught.value.problems) == 2 and "recurrence_type: 'transformer' is supported" in str(caught.value)
    with pytest.raises(ConfigError, match="nucleus_prob"):
        MineStudioVPT(golden.POLICY_KWARGS, SPACE, nucleus_prob=0.9)
    for sizes, text in (
        ({"attention_memory_size": 4, "timesteps": 4}, "above timesteps"),
        ({"hidsize": 30}, "a multiple of attention_heads"),
        ({"hierarchical": True}, "8641 buttons"),
    ):
        with pytest.raises(UnsupportedSpaceError, match=text):
            VPTPolicy(env_spec(), **sizes)
    with pytest.raises(UnsupportedSpaceError, match="named 'image'"):
        VPTPolicy(EnvSpec(ObsSpec((("pov", BoxSpec((16, 16, 3), "uint8")),), True), env_spec().action))


def test_a_folder_in_the_form_of_the_hub(tmp_path: Path, weights: Any) -> None:
    space_of_minecraft = {**golden.POLICY_KWARGS, "impala_width": 0.125}
    policy = MineStudioVPT(space_of_minecraft)
    theirs = {name: part for name, part in weights.items() if "linear_layer" not in name and "cnn" not in name}
    with pytest.raises(WeightsError, match="missing"):
        load_published_weights(policy, theirs)
    with pytest.raises(WeightsError, match="no local folder"):
        MineStudioVPT.from_pretrained("CraftJarvis/MineStudio_VPT.foundation")
    names = {"buttons": 8641, "camera": 121}
    full = {**weights, **{f"pi_head.{n}.linear_layer.weight": torch.randn(k, 32) for n, k in names.items()}}
    full |= {f"pi_head.{n}.linear_layer.bias": torch.randn(k) for n, k in names.items()}
    (tmp_path / "config.json").write_text(json.dumps({"policy_kwargs": golden.POLICY_KWARGS, "temperature": 2.0}))
    save_file(full, tmp_path / "model.safetensors")
    loaded = MineStudioVPT.from_pretrained(tmp_path)
    assert torch.equal(loaded.pi_head.linear.bias[8641:], full["pi_head.camera.linear_layer.bias"])


# The head.


def test_the_camera_counts_only_where_buttons_move_it() -> None:
    from minestudio_nb.simulator.actions import _CAMERA_ON

    agent = ActionSpec(tuple(ActionLeaf(n, "discrete", (k,)) for n, k in (("buttons", 8641), ("camera", 121))), True)
    head, flat = HierarchicalHead(4, agent), CategoricalHead(4, agent)
    assert head._moves.tolist() == _CAMERA_ON.tolist()
    flat.load_state_dict(head.state_dict())
    pi, other = head(torch.randn(3, 4) * 300), head(torch.randn(3, 4) * 300)
    for button, counts in ((0, False), (1, True), (288, False), (8639, True), (8640, True)):
        actions = torch.tensor([[button, 60]] * 3)
        expected = pi["buttons"][:, button] + (pi["camera"][:, 60] if counts else 0.0)
        torch.testing.assert_close(head.logprob(actions, pi), expected)
    moving = pi["buttons"].exp()[:, head._moves].sum(1)
    camera = {
        name: {"buttons": pi["buttons"], "camera": part["camera"]} for name, part in (("pi", pi), ("other", other))
    }
    camera_kl = flat.kl_divergence(camera["pi"], camera["other"])
    buttons_kl = flat.kl_divergence(pi, other) - camera_kl
    torch.testing.assert_close(head.kl_divergence(pi, other), buttons_kl + moving * camera_kl, rtol=1e-4, atol=1e-5)
    camera_entropy = -(pi["camera"].exp() * pi["camera"]).sum(1)
    expected = flat.entropy(pi) - (1 - moving) * camera_entropy
    torch.testing.assert_close(head.entropy(pi), expected, rtol=1e-4, atol=1e-4)
    actions, log_probs = head.sample_logits(head.join(pi), torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_probs, head.logprob(actions, pi))


@torch.no_grad()
def test_it_acts_in_bfloat16() -> None:
    policy = build_policy({"name": "vpt", "args": make_sizes()}, env_spec(), 0)
    image, first = torch.from_numpy(golden.make_images())[:, 0], torch.ones(2, dtype=torch.bool)
    exact = policy.act({"image": image}, first, policy.initial_state(2), deterministic=True)
    policy.prepare_for_acting("bfloat16")
    rough = policy.act({"image": image}, first, policy.initial_state(2), deterministic=True)
    assert [part.dtype for part in rough.state] == [part.dtype for part in exact.state]
    assert not torch.equal(rough.values, exact.values)
    torch.testing.assert_close(rough.values, exact.values, rtol=0, atol=0.5)

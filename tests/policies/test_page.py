"""The examples and names of docs/policies.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from minestudio_nb.config import load_config
from minestudio_nb.config.schema import field_specs
from minestudio_nb.policies import build, build_policy, policy_names
from tests.support.fragments import VECTOR_SPEC
from tests.support.recurrent import ActedStore
from tests.support.training import Bench, small_config

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(build, "_POLICIES", dict(build._POLICIES))
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        if "OnlineSession" not in block:
            exec(block, namespace)
    return namespace


def test_the_examples_are_trained(examples: dict[str, Any]) -> None:
    for source in ({"name": "linear", "args": {"width": 8}}, lambda env_spec: examples["Recurrent"](env_spec, 8)):
        policy = build_policy(source, VECTOR_SPEC, 0)
        store = ActedStore(policy) if policy.is_recurrent else None
        bench = Bench(small_config(num_iterations=1, learning_rate=0.0), store, policy)
        bench.run()
        if policy.is_recurrent:
            assert bench.telemetry.points[1]["ppo/importance_weight"] == pytest.approx(1.0, abs=1e-4)


def test_all_that_is_shipped_is_described() -> None:
    for name in set(policy_names()):
        assert f"`{name}`" in PAGE
    named = re.findall(r"`((?:train_config|rollout_config)\.[a-z_.]+)`", PAGE)
    assert named and all(name in field_specs() for name in named)


def test_vpt_by_overrides() -> None:
    overrides = re.findall(r'^ +"(.*=.*)",$', PAGE, re.MULTILINE)
    config = load_config("gate_kl", overrides).config
    assert config.policy_config.args == {
        "model": "/models/foundation-model-2x.model",
        "weights": "/models/foundation-model-2x.weights",
    }
    assert config.policy_config.name == "vpt" and list(config.env_config.obs_size) == [128, 128]

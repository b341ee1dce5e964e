"""The experiment on forgetting: where its runs begin, and what its table says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.learning.forgetting import kept_and_learned, pretrained
from benchmarks.learning.registry import Arm, Result, find
from benchmarks.learning.training import load
from minestudio_nb.contracts.specs import ActionLeaf, ActionSpec, BoxSpec, EnvSpec, ObsSpec
from minestudio_nb.errors import WeightsError
from minestudio_nb.policies import CnnPolicy, save_weights

SPEC = EnvSpec(
    ObsSpec((("image", BoxSpec((64, 64, 3), "uint8")),), is_dict=True),
    ActionSpec((ActionLeaf("action", "discrete", (9,)),), is_dict=False),
    "trial",
)


def line(arm: str, seed: int, chop: float, hunt: float, before: float) -> Result:
    return {"arm": arm, "seed": seed, "chop": chop, "hunt": hunt, "chop_before": before, "hunt_before": 0.5}


def test_what_was_kept_and_learned_by_hand() -> None:
    lines = [line("kl", 0, 3.0, 4.0, 4.0), line("kl", 1, 1.0, 6.0, 2.0)]
    lines += [line("plain", 0, 0.5, 7.0, 4.0), line("plain", 1, 0.5, 9.0, 2.0)]
    alone = line("kl", 2, 100.0, 100.0, 1.0)  # a seed that the other arm lacks
    shares = [row.split("|")[3].strip() for row in kept_and_learned([*lines, alone]).splitlines()[2:]]
    assert shares == ["67 %", "17 %", "62 %"]  # 2 of 3; 0.5 of 3; 5 of 8
    assert kept_and_learned(lines[:2]).count("not run yet") == 3


def test_the_second_task_differs_from_the_first_in_its_animals_and_rewards_alone() -> None:
    first, second = (load(find(name).jobs()[0]).config.env_config for name in ("voxel_chop", "forgetting"))
    for key in ("action_type", "obs_size", "biome", "inventory", "kwargs", "wrappers"):
        assert getattr(first, key) == getattr(second, key)
    assert [spec["name"] for spec in second.callbacks] == ["SummonMobsCallback", *(s["name"] for s in first.callbacks)]


def test_the_arms_differ_in_rho_alone() -> None:
    with_kl, without = (load(job).config.train_config for job in find("forgetting").jobs()[:2])
    assert (with_kl.kl_divergence_coef_rho, without.kl_divergence_coef_rho) == (0.08, 0.0)
    arms: tuple[Arm, ...] = find("forgetting").arms
    assert [len(arm.overrides) for arm in arms] == [1, 0] and arms[0].train is arms[1].train


def test_a_run_begins_with_the_weights_of_the_checkpoint(tmp_path: Path) -> None:
    old = CnnPolicy(SPEC)
    save_weights(tmp_path / "weights.safetensors", old.state_dict())
    new = pretrained(tmp_path, SPEC)
    assert all(torch.equal(new.state_dict()[name], tensor) for name, tensor in old.state_dict().items())
    with pytest.raises(WeightsError, match="cannot be read"):
        pretrained(tmp_path / "gone", SPEC)

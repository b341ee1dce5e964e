"""The schema: one declaration per setting, typed reading, every problem at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from minestudio_nb.config import OnlineConfig, field_specs
from minestudio_nb.config.fields import Problem, Section, parse, setting
from minestudio_nb.errors import ConfigError

LIVE = {
    "learning_rate",
    "weight_decay",
    "ppo_clip",
    "entropy_bonus_coef",
    "kl_divergence_coef_rho",
    "coef_rho_decay",
    "ppo_policy_coef",
    "ppo_vf_coef",
    "max_grad_norm",
    "discount",
    "gae_lambda",
    "epochs_per_iteration",
    "num_iterations",
    "save_interval",
    "keep_interval",
    "record_video_interval",
}

MINESTUDIO_KEYS = {
    "": ["trainer_name", "detach_rollout_manager"],
    "rollout_config": [
        "num_rollout_workers",
        "num_gpus_per_worker",
        "num_cpus_per_worker",
        "fragment_length",
        "to_send_queue_size",
    ],
    "rollout_config.worker_config": ["num_envs", "batch_size", "restart_interval", "video_fps", "video_output_dir"],
    "rollout_config.replay_buffer_config": [
        "max_chunks",
        "max_reuse",
        "max_staleness",
        "fragments_per_report",
        "fragments_per_chunk",
    ],
    "rollout_config.replay_buffer_config.database_config": ["path", "num_shards"],
    "train_config": [
        "num_workers",
        "num_gpus_per_worker",
        "num_iterations",
        "vf_warmup",
        "learning_rate",
        "anneal_lr_linearly",
        "weight_decay",
        "adam_eps",
        "batch_size_per_gpu",
        "batches_per_iteration",
        "gradient_accumulation",
        "epochs_per_iteration",
        "context_length",
        "discount",
        "gae_lambda",
        "ppo_clip",
        "clip_vloss",
        "max_grad_norm",
        "zero_initial_vf",
        "ppo_policy_coef",
        "ppo_vf_coef",
        "kl_divergence_coef_rho",
        "entropy_bonus_coef",
        "coef_rho_decay",
        "log_ratio_range",
        "normalize_advantage_full_batch",
        "use_normalized_vf",
        "num_readers",
        "num_cpus_per_reader",
        "prefetch_batches",
        "save_interval",
        "keep_interval",
        "record_video_interval",
        "enable_ref_update",
        "resume",
        "resume_optimizer",
        "save_path",
        "use_amp",
    ],
    "logger_config": ["project", "name"],
}


def test_every_minestudio_key_is_there() -> None:
    keys = {f"{section}.{name}".lstrip(".") for section, names in MINESTUDIO_KEYS.items() for name in names}
    assert keys <= set(field_specs())


def test_every_setting_is_explained_and_its_default_is_in_range() -> None:
    for key, spec in field_specs().items():
        assert spec.key == key
        assert spec.help.endswith("."), key
        assert spec.problem_with(spec.default) is None, key
        assert spec.live or spec.why_not_live, key
        assert OnlineConfig().get(key) == spec.default


def test_what_has_to_be_live_is_live() -> None:
    live = {key for key, spec in field_specs().items() if spec.live}
    assert {f"train_config.{name}" for name in LIVE} <= live
    assert {f"rollout_config.replay_buffer_config.{name}" for name in ("max_reuse", "max_staleness")} <= live


def test_a_setting_that_is_not_live_must_say_why() -> None:
    with pytest.raises(ValueError, match="must say why"):
        setting(1, "Some number.")


def test_all_problems_come_at_once() -> None:
    raw = {
        "train_conf": {},
        "train_config": {"learnin_rate": 1e-3, "discount": 1.5, "num_iterations": "many", "use_amp": 1},
        "rollout_config": 3,
        "env_config": {"simulator": "voxl", "obs_size": [64], "callbacks": [{"name": "A", "arg": 1}]},
    }
    with pytest.raises(ConfigError) as caught:
        OnlineConfig.from_dict(raw)
    text = str(caught.value)
    assert len(caught.value.problems) == 9
    assert "train_conf: the configuration has no setting of this name; did you mean 'train_config'?" in text
    assert "did you mean 'learning_rate'?" in text
    assert "train_config.discount: must be 0 <= x <= 1, 1.5 came" in text
    assert "train_config.num_iterations: must be a whole number, 'many' came" in text
    assert "train_config.use_amp: must be true or false, 1 came" in text
    assert "rollout_config: is a section of settings, 3 came" in text
    assert "did you mean 'voxel'?" in text
    assert "env_config.obs_size: must have 2 items, 1 came" in text
    assert "['arg']; move them under args" in text


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("train_config.learning_rate", 1, 1.0),
        ("train_config.num_iterations", 2e3, 2000),
        ("train_config.num_iterations", np.int64(7), 7),
        ("train_config.kl_skip", None, None),
        ("env_config.obs_size", [64, 32], (64, 32)),
        ("env_config.wrappers", ["PitchClamp"], [{"name": "PitchClamp", "args": {}}]),
    ],
)
def test_values_convert_where_nothing_is_lost(key: str, value: object, expected: object) -> None:
    result = OnlineConfig().with_value(key, value).get(key)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train_config.learning_rate", "1e-3"),
        ("train_config.learning_rate", float("nan")),
        ("train_config.learning_rate", True),
        ("train_config.num_iterations", 1.5),
        ("train_config.num_iterations", 0),
        ("train_config.num_iterations", None),
        ("train_config.ppo_clip", 0.0),
        ("schedule", "sometimes"),
        ("env_config.kwargs", {"f": object()}),
        ("env_config.callbacks", "JudgeReset"),
        ("train_config.learnin_rate", 1.0),
        ("train_config", {}),
    ],
)
def test_bad_values_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError):
        OnlineConfig().with_value(key, value)


def test_a_known_name_in_the_wrong_section_is_found() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'rollout_config\.worker_config\.num_envs'"):
        OnlineConfig.from_dict({"train_config": {"num_envs": 3}})
    with pytest.raises(ConfigError, match=r"did you mean 'train_config\.discount'"):
        OnlineConfig().with_value("discount", 0.5)


def test_with_value_changes_one_setting_of_a_copy() -> None:
    before = OnlineConfig()
    after = before.with_value("rollout_config.worker_config.num_envs", 9)
    assert after.rollout_config.worker_config.num_envs == 9
    assert before == OnlineConfig()
    assert after.with_value("rollout_config.worker_config.num_envs", 4) == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.schedule = "overlap"  # type: ignore[misc]


def test_defaults_are_not_shared() -> None:
    OnlineConfig().env_config.kwargs["leak"] = 1
    assert OnlineConfig().env_config.kwargs == {}


def test_plain_data_round_trip() -> None:
    config = OnlineConfig.from_dict(
        {"env_config": {"kwargs": {"a": {"b": [1, 2.5, None, "x"]}}}, "schedule": "overlap"}
    )
    plain = config.to_dict()
    assert OnlineConfig.from_dict(plain) == config
    plain["env_config"]["kwargs"]["a"]["b"].append(1)
    assert config.env_config.kwargs["a"]["b"] == [1, 2.5, None, "x"]


def test_sizes_of_an_iteration() -> None:
    config = OnlineConfig.from_dict(
        {
            "rollout_config": {"num_rollout_workers": 3, "fragment_length": 10, "worker_config": {"num_envs": 5}},
            "train_config": {
                "num_workers": 2,
                "batch_size_per_gpu": 4,
                "batches_per_iteration": 6,
                "gradient_accumulation": 3,
                "epochs_per_iteration": 5,
            },
        }
    )
    assert config.num_envs == 15
    assert config.fragments_per_iteration == 48
    assert config.samples_per_iteration == 480
    assert config.optimizer_steps_per_iteration == 10


def test_the_real_game_has_longer_deadlines_unless_told() -> None:
    config = OnlineConfig.from_dict({"env_config": {"simulator": "minecraft"}, "timeouts": {"step": 5}})
    assert (config.timeouts.start, config.timeouts.reset, config.timeouts.step) == (300.0, 180.0, 5.0)
    config = OnlineConfig.from_dict({})
    assert (config.timeouts.start, config.timeouts.reset, config.timeouts.step) == (120.0, 60.0, 30.0)


def test_scaling_config_overrides_the_trainers_numbers() -> None:
    config = OnlineConfig.from_dict({"train_config": {"scaling_config": {"num_workers": 3, "use_gpu": True}}})
    assert (config.train_config.num_workers, config.train_config.num_gpus_per_worker) == (3, 1.0)
    config = OnlineConfig.from_dict({"train_config": {"scaling_config": {"resources_per_worker": {"GPU": 0.5}}}})
    assert config.train_config.num_gpus_per_worker == 0.5
    assert OnlineConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    "train",
    [
        {"num_workers": 2, "scaling_config": {"num_workers": 3}},
        {"num_gpus_per_worker": 2, "scaling_config": {"use_gpu": True}},
        {"scaling_config": {"use_gpu": False, "resources_per_worker": {"GPU": 1}}},
    ],
)
def test_contradicting_scaling_is_an_error(train: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"scaling_config|resources_per_worker"):
        OnlineConfig.from_dict({"train_config": train})


def test_repr_hides_secrets() -> None:
    config = OnlineConfig.from_dict({"env_config": {"kwargs": {"api_key": "canary"}}})
    assert "canary" not in repr(config)
    assert "canary" not in repr(config.env_config)
    assert config.env_config.kwargs["api_key"] == "canary"


def test_parse_keeps_going_with_defaults() -> None:
    @dataclasses.dataclass(frozen=True, repr=False)
    class Small(Section):
        count: int = setting(3, "A count.", ge=1, live=True)
        rate: float = setting(0.5, "A rate.", live=True)

    problems: list[Problem] = []
    small = parse(Small, {"count": 0, "rate": 2}, problems)
    assert (small.count, small.rate) == (3, 2.0)
    assert [problem.key for problem in problems] == ["count"]

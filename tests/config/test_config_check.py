"""Every problem at once, with arithmetic and fix; and each rule alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from minestudio_nb.config import OnlineConfig, Problem, Resources, check, require, resources
from minestudio_nb.contracts.specs import ActionLeaf, ActionSpec, BoxSpec, EnvSpec, ObsSpec
from minestudio_nb.errors import ConfigError

ROOMY = Resources(cpus=64, gpus=8, memory_bytes=10**12, shm_bytes=10**12)
IMAGE = BoxSpec((64, 64, 3), "uint8")
VECTOR = BoxSpec((4,), "float32")


def nested(settings: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        *path, name = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[name] = value
    return tree


def problems(settings: dict[str, Any], machine: Resources | None = None, **specs: Any) -> list[Problem]:
    return check(OnlineConfig.from_dict(nested(settings)), machine, **specs)


def env_spec(**boxes: BoxSpec) -> EnvSpec:
    return EnvSpec(ObsSpec(tuple(boxes.items()), True), ActionSpec((ActionLeaf("a", "discrete", (2,)),), False))


def test_the_defaults_are_fine_on_a_roomy_machine() -> None:
    assert check(OnlineConfig(), ROOMY) == []
    require([])


def test_everything_comes_at_once_errors_first() -> None:
    raw = nested(
        {
            "train_config.learnin_rate": 1,
            "train_config.discount": 3,
            "train_config.batches_per_iteration": 7,
            "train_config.gradient_accumulation": 2,
            "train_config.num_gpus_per_worker": 1,
            "train_config.save_path": "/x",
            "rollout_config.worker_config.batch_size": 9,
            "rollout_config.replay_buffer_config.max_chunks": 2,
            "schedule": "never",
        }
    )
    found = check(raw, Resources(cpus=1, gpus=0, memory_bytes=10**9, shm_bytes=10**9))
    assert [problem.key.rpartition(".")[2] for problem in found] == [
        "learnin_rate",
        "discount",
        "schedule",
        "batches_per_iteration",
        "max_chunks",
        "batch_size",
        "num_gpus_per_worker",
        "num_rollout_workers",
        "save_path",
    ]
    with pytest.raises(ConfigError) as caught:
        require(found)
    assert len(caught.value.problems) == 8  # the warning is not among them
    assert all(len(problem.fix) > 5 for problem in found)


@pytest.mark.parametrize(
    ("settings", "key", "text", "severity"),
    [
        (
            {"train_config.batches_per_iteration": 7, "train_config.gradient_accumulation": 3},
            "train_config.batches_per_iteration",
            "7 microbatches make no whole number of optimizer steps of 3 microbatches each. Use batches",
            "error",
        ),
        (
            {"rollout_config.fragment_length": 10, "train_config.context_length": 4},
            "train_config.context_length",
            "a fragment of 10 steps is no whole number of sequences of 4 steps",
            "error",
        ),
        (
            {
                "train_config.num_workers": 2,
                "train_config.batch_size_per_gpu": 3,
                "train_config.batches_per_iteration": 5,
                "rollout_config.replay_buffer_config.max_chunks": 7,
                "rollout_config.replay_buffer_config.fragments_per_chunk": 4,
            },
            "rollout_config.replay_buffer_config.max_chunks",
            "2 ranks x 3 x 5 microbatches = 30 fragments, the buffer holds 7 chunks x 4 = 28. Use max_chunks=8",
            "error",
        ),
        (
            {"rollout_config.worker_config.num_envs": 3, "rollout_config.worker_config.batch_size": 4},
            "rollout_config.worker_config.batch_size",
            "a worker of 3 environments can never collect 4 observations",
            "error",
        ),
        (
            {"schedule": "alternate", "train_config.batches_per_iteration": 3},
            "train_config.batches_per_iteration",
            "12 fragments per iteration are no multiple of the 8 environments, so 4 fragments wait",
            "warning",
        ),
        (
            {"schedule": "overlap", "lead": 3},
            "lead",
            "workers may be 3 iterations ahead, fragments over 2 versions old are dropped. Use max_staleness=3",
            "error",
        ),
        (
            {"rollout_config.replay_buffer_config.max_chunks": 31, "schedule": "overlap"},
            "rollout_config.replay_buffer_config.max_chunks",
            "(1 + 1) x 16 = 32 fragments, the buffer holds 31, so unread ones may be dropped. Use max_chunks=32",
            "warning",
        ),
        (
            {"rollout_config.replay_buffer_config.max_reuse": 3},
            "rollout_config.replay_buffer_config.max_reuse",
            "3 - 1 + 1 (lead) = 3 versions old, but fragments over 2 versions old are dropped",
            "warning",
        ),
        (
            {"train_config.save_interval": 10, "train_config.keep_interval": 25},
            "train_config.keep_interval",
            "Use a multiple of 10",
            "warning",
        ),
        (
            {"train_config.vf_warmup": 5, "train_config.num_iterations": 5},
            "train_config.vf_warmup",
            "the policy is never trained",
            "warning",
        ),
        (
            {"train_config.kl_skip": 0.1, "train_config.target_kl": 0.2},
            "train_config.target_kl",
            "an iteration is undone above kl_skip = 0.1, so it never ends early above 0.2",
            "error",
        ),
        ({"train_config.device": "gpu"}, "train_config.device", "'gpu' came", "error"),
        ({"env_config.obs_size": [0, 64]}, "env_config.obs_size", "1 to 4096 pixels, [0, 64] came", "error"),
        ({"env_config.simulator": "gymnasium"}, "env_config.id", "needs a registered id", "error"),
        (
            {"env_config.simulator": "gymnasium", "env_config.id": "A-v0", "env_config.callbacks": ["JudgeReset"]},
            "env_config",
            "callbacks say how a Minecraft world is built, which a Gymnasium environment is not. Remove them",
            "warning",
        ),
        ({"env_config.simulator": "minecraft"}, "env_config.python", "--install-minecraft DIR", "warning"),
        (
            {"env_config.python": "/opt/py", "rollout_config.worker_config.execution": "in_worker"},
            "rollout_config.worker_config.execution",
            "env_config.python names /opt/py. Use auto",
            "error",
        ),
        (
            {"env_config.callbacks": ["JudgeReset", "RewardCallback"]},
            "env_config.callbacks.1",
            "there is no callback 'RewardCallback'; did you mean 'RewardsCallback'? Correct",
            "error",
        ),
        (
            {"env_config.callbacks": ["JudgeReset", "Play"]},
            "env_config.callbacks.1",
            "Play needs the real game. Remove it, or use env_config.simulator=minecraft",
            "error",
        ),
        ({"env_config.id": "CartPole-v1"}, "env_config.id", "only simulator gymnasium takes an id", "error"),
        ({"rollout_config.to_send_queue_size": 9}, "rollout_config.to_send_queue_size", "has no effect", "warning"),
    ],
)
def test_rules_that_need_no_machine(settings: dict[str, Any], key: str, text: str, severity: str) -> None:
    (problem,) = problems(settings)
    assert (problem.key, problem.severity) == (key, severity)
    assert text in str(problem)


def test_arguments_of_voxelsim_are_left_out_of_the_real_game() -> None:
    settings = {"env_config.kwargs": {"world_size": 64, "pool_size": 2}, "env_config.python": "python"}
    (note,) = problems({**settings, "env_config.simulator": "minecraft"}, own_env=True)
    assert (note.key, note.severity) == ("env_config.kwargs", "warning")
    assert str(note).startswith("env_config.kwargs: world_size, pool_size shape VoxelSim's worlds")


def test_values_at_the_border_are_fine() -> None:
    assert not problems(
        {
            "train_config.batches_per_iteration": 6,
            "train_config.gradient_accumulation": 3,
            "rollout_config.worker_config.batch_size": 4,
            "rollout_config.replay_buffer_config.max_chunks": 48,
            "rollout_config.replay_buffer_config.max_reuse": 2,
            "schedule": "overlap",
        }
    )
    assert not problems(
        {"rollout_config.replay_buffer_config.max_chunks": 16, "schedule": "alternate"}  # 4 x 4 fragments
    )


def test_gpus_that_are_absent_name_the_laptop_scale() -> None:
    settings = {
        "rollout_config.num_gpus_per_worker": 0.5,
        "train_config.num_workers": 3,
        "train_config.num_gpus_per_worker": 1,
    }
    (problem,) = problems(settings, Resources(cpus=8, gpus=3))
    assert "2 rollout workers x 0.5 + 3 training processes x 1 = 4 GPUs are asked for, 3 are here" in problem.text
    assert "scale=laptop" in problem.fix
    assert problems(settings, Resources(cpus=8, gpus=4)) == []
    (problem,) = problems({"train_config.device": "cuda:0"}, Resources(cpus=8))
    assert "no GPU is here" in problem.text


def test_cpus() -> None:
    (problem,) = problems({"rollout_config.num_rollout_workers": 5}, Resources(cpus=4))
    assert "5 rollout workers x 1 = 5 CPUs are asked for, 4 are here" in problem.text
    (problem,) = problems({"schedule": "overlap"}, Resources(cpus=2))
    assert problem.severity == "warning" and "together 3" in problem.text
    assert problems({}, Resources(cpus=2)) == []


def test_memory_of_the_buffer() -> None:
    settings = {"env_config.obs_size": [10, 20], "rollout_config.fragment_length": 9}
    settings["rollout_config.replay_buffer_config.max_chunks"] = 1000  # x 10 observations x 600 bytes = 6 MB
    (problem,) = problems(settings, Resources(cpus=8, memory_bytes=5_999_999, shm_bytes=10**9))
    assert "1000 fragments x 10 observations x 600 bytes = 6 MB, 6 MB of memory are free" in problem.text
    assert problems(settings, Resources(cpus=8, memory_bytes=6_000_000, shm_bytes=6_000_000)) == []
    (problem,) = problems(settings, Resources(cpus=8, memory_bytes=10**9, shm_bytes=5_000_000))
    assert problem.severity == "warning" and "5 MB of shared memory" in problem.text
    exact = env_spec(obs=BoxSpec((200,), "float32"))  # 800 bytes
    (problem,) = problems(settings, Resources(cpus=8, memory_bytes=6_000_000, shm_bytes=10**9), env_spec=exact)
    assert "x 800 bytes = 8 MB" in problem.text


@pytest.mark.parametrize(
    ("name", "spec", "text"),
    [
        ("cnn", env_spec(obs=VECTOR), "cnn looks at images, the observation has none: obs"),
        ("mlp", env_spec(pov=IMAGE, state=VECTOR), "mlp takes vectors, the observation has images: pov"),
        ("mlp_gru", env_spec(pov=IMAGE), "mlp_gru takes vectors, the observation has images: pov"),
        ("auto", env_spec(pov=IMAGE), None),
        ("cnn", env_spec(pov=IMAGE), None),
        ("mlp", env_spec(obs=VECTOR), None),
    ],
)
def test_policy_against_what_it_sees(name: str, spec: EnvSpec, text: str | None) -> None:
    found = problems({"policy_config.name": name, "train_config.context_length": 8}, env_spec=spec)
    assert [problem.text for problem in found] == ([] if text is None else [text])


def test_a_memory_that_no_gradient_reaches_is_reported() -> None:
    (problem,) = problems({"policy_config.name": "cnn_gru", "train_config.context_length": 1})
    assert problem.severity == "warning" and "no gradient reaches its memory" in problem.text
    assert not problems({"policy_config.name": "cnn_gru", "train_config.context_length": 16})


def test_spaces() -> None:
    box, discrete = gymnasium.spaces.Box(0, 1, (2,), np.float32), gymnasium.spaces.Discrete(3)
    dict_of = gymnasium.spaces.Dict
    assert not problems({}, observation_space=dict_of({"a": box}), action_space=dict_of({"b": discrete}))
    found = problems(
        {},
        observation_space=dict_of({"a": box, "t": gymnasium.spaces.Text(3)}),
        action_space=gymnasium.spaces.MultiBinary(2),
    )
    assert ["observation 't'" in found[0].text, "action 'action'" in found[1].text] == [True, True]
    assert "Discrete, MultiDiscrete" in found[1].text


def test_detect_finds_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = Resources.detect()
    assert found.cpus > 0 and found.memory_bytes > 10**7 and found.shm_bytes > 0 and found.gpus >= 0


def test_gpus_are_counted_through_the_driver_and_visibility(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A'; echo '  MIG 1g'; echo 'GPU 1: B'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    for visible, count in ((None, 2), ("", 0), ("1", 1), ("0,1,2", 2), ("0,-1,1", 1)):
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert Resources.detect().gpus == count
    tool.write_text("#!/bin/sh\nexit 9\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert Resources.detect().gpus == 0


def test_limits_of_a_container_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"cpu.max": "50000 100000", "memory.max": "1000000", "memory.current": "400000"}
    monkeypatch.setattr(resources, "_cgroup", lambda name: limits[name])
    found = Resources.detect()
    assert (found.cpus, found.memory_bytes) == (0.5, 600_000)
    limits.update({"cpu.max": "max 100000", "memory.max": "max"})
    found = Resources.detect()
    assert found.cpus >= 1 and found.memory_bytes > 600_000


@pytest.mark.parametrize(
    ("settings", "key", "text"),
    [
        ({"env_config.id": "CartPol-v1"}, "env_config.id", "did you mean 'CartPole-v1'"),
        ({"env_config.id": "no_such_package:Env-v0"}, "env_config.id", "No module named 'no_such_package'"),
        ({"env_config.kwargs": {"speed": 3}}, "env_config.id", "unexpected keyword argument 'speed'"),
        ({"env_config.id": "Blackjack-v1"}, "env_config", "observation 'observation' is Tuple"),
    ],
)
def test_a_gymnasium_id_is_looked_at(settings: dict[str, Any], key: str, text: str) -> None:
    cartpole = {"env_config.simulator": "gymnasium", "env_config.id": "CartPole-v1"}
    assert not problems(cartpole, ROOMY)
    (problem,) = problems(cartpole | settings, ROOMY)
    assert (problem.key, problem.severity) == (key, "error")
    assert text in str(problem)
    assert not problems(cartpole | settings), "what is registered elsewhere is not known here"


def test_memory_for_images_of_a_users_environment_is_a_guess() -> None:
    small = Resources(cpus=64, memory_bytes=10**8, shm_bytes=10**8)
    assert [problem.severity for problem in problems({}, small)] == ["error"]
    assert [problem.severity for problem in problems({}, small, own_env=True)] == ["warning"]

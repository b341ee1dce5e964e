"""The shipped configurations: they load, build, fit a laptop, and say what they cost."""

from __future__ import annotations

import pytest

from minestudio_nb.config import OnlineConfig, Plan, Resources, check, load_config, plan
from minestudio_nb.config.compose import library_dir
from minestudio_nb.config.planning import PlanRow, chosen_schedule
from minestudio_nb.contracts.generators import GeneratorSpec

LAPTOP = Resources(cpus=2, gpus=0, memory_bytes=4 * 10**9, shm_bytes=10**9)
CLUSTER = Resources(cpus=64, gpus=4, memory_bytes=10**12, shm_bytes=10**12)
NAMES = sorted(path.stem for path in library_dir().glob("*.yaml"))


def test_what_is_shipped() -> None:
    assert NAMES == ["cartpole", "chop_tree", "gate_kl", "hunt", "mine_stone", "place_frame", "shoot"]


@pytest.mark.parametrize("name", NAMES)
def test_each_fits_a_laptop(name: str) -> None:
    config = load_config(name, resources=LAPTOP).config
    assert check(config, LAPTOP) == []
    table = plan(config, LAPTOP)
    assert table.gpus == 0
    assert table.buffer_bytes is None or table.buffer_bytes < 10**9
    assert config.fragments_per_iteration % config.num_envs == 0
    assert config.logger_config.name == name


@pytest.mark.parametrize("name", NAMES)
def test_each_builds_its_environment(name: str) -> None:
    from minestudio_nb.environments import build

    loaded = load_config(name)
    env = build.EnvFactory(loaded.env)(0)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    env.step(env.action_space.sample())
    env.close()


@pytest.mark.parametrize("name", sorted({path.stem for path in (library_dir() / "task").glob("*.yaml")} & set(NAMES)))
def test_tasks_are_the_simulators(name: str) -> None:
    from minestudio_nb.simulator import task_config

    made = task_config(name)
    for spec in made["callbacks"]:
        spec.setdefault("args", {})
    shipped = load_config(name).config.to_dict()["env_config"]
    assert {key: shipped[key] for key in made} == made


def test_cartpole_has_the_anchors_numbers() -> None:
    config = load_config("cartpole").config
    train = config.train_config
    assert (config.num_envs, config.samples_per_iteration, config.optimizer_steps_per_iteration) == (8, 256, 20)
    assert (train.discount, train.gae_lambda, train.learning_rate, train.ppo_clip) == (0.98, 0.8, 1e-3, 0.2)
    assert train.anneal_lr_linearly
    assert train.num_iterations * config.samples_per_iteration <= 150_000


def test_gate_kl_at_the_clusters_scale_states_its_buffer_and_gpus() -> None:
    config = load_config("gate_kl", ["scale=cluster"]).config
    table = plan(config, LAPTOP)
    # 4800 fragments x 257 observations of 128 x 128 x 3 bytes.
    assert table.buffer_bytes == 4800 * 257 * 128 * 128 * 3
    assert "60.6 GB" in str(table)
    assert table.gpus == 4 and "4 needed" in str(table) and "0 here" in str(table)
    assert (table.samples_per_iteration, table.optimizer_steps_per_iteration) == (102_400, 20)
    errors = [problem for problem in check(config, LAPTOP) if problem.severity == "error"]
    assert any("= 4 GPUs are asked for, 0 are here" in problem.text for problem in errors)
    assert any("60.6 GB" in problem.text for problem in errors)
    assert check(config, CLUSTER) == []
    assert plan(config, CLUSTER).schedule == "overlap"


def test_gate_kl_keeps_minestudios_algorithm_at_every_scale() -> None:
    for scale in ("laptop", "cluster"):
        train = load_config("gate_kl", [f"scale={scale}", "policy=auto"]).config.train_config
        assert (train.learning_rate, train.weight_decay, train.discount, train.gae_lambda) == (2e-5, 0.04, 0.999, 0.95)
        assert (train.kl_divergence_coef_rho, train.coef_rho_decay, train.max_grad_norm) == (0.2, 0.9995, 5.0)
        assert (train.ppo_vf_coef, train.ppo_clip, train.context_length, train.num_iterations) == (0.5, 0.2, 64, 4000)


@pytest.mark.parametrize(
    ("schedule", "cpus", "chosen"),
    [("auto", 2, "alternate"), ("auto", 3, "overlap"), ("alternate", 64, "alternate"), ("overlap", 1, "overlap")],
)
def test_schedule_follows_the_cores(schedule: str, cpus: float, chosen: str) -> None:
    assert chosen_schedule(OnlineConfig().with_value("schedule", schedule), cpus) == chosen


def test_plan_names_the_recipes_and_the_loss_bound() -> None:
    env = GeneratorSpec(kind="module", function="env_generator", path="/a/b/mine.py")
    config = OnlineConfig().with_value("recovery_interval", 3).with_value("train_config.max_minutes", 5)
    text = str(plan(config, LAPTOP, obs_nbytes=1000, env=env))
    assert "env_generator() of mine.py" in text
    assert "3 iterations" in text and "3,072 steps (recovery_interval)" in text
    assert "5 minutes" in text
    assert plan(config, LAPTOP, obs_nbytes=1000).buffer_bytes == 256 * 65 * 1000


def test_plan_says_what_is_guessed_and_what_a_cluster_decides() -> None:
    env = GeneratorSpec(kind="callable", function="env_generator")
    text = str(plan(OnlineConfig(), LAPTOP, env=env, elsewhere=True))
    assert "about 818 MB" in text and "if an observation is 128 x 128 pixels" in text  # 256 x 65 x 128 x 128 x 3
    assert "the cluster is asked" in text and "0 here" not in text
    assert plan(OnlineConfig(), LAPTOP, elsewhere=True).schedule == "auto"


def test_plan_as_html_is_escaped() -> None:
    row = PlanRow("<img src=x onerror=alert(1)>", "<b>", "&")
    table = Plan((row,), 0, 1, 1, 1, None, "auto")._repr_html_()
    assert "<img" not in table and "<b>" not in table
    assert "&lt;img" in table and "&amp;" in table
    config = OnlineConfig.from_dict({"env_config": {"simulator": "gymnasium", "id": "<script>"}})
    assert "<script>" not in plan(config, LAPTOP)._repr_html_()

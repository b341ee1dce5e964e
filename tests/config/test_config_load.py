"""Three sources, one result; overrides in Hydra's grammar for all of them; saved configurations load again."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minestudio_nb
from minestudio_nb.config import OnlineConfig, build_generator, field_specs, load_config
from minestudio_nb.config.load import LoadedConfig, to_yaml
from minestudio_nb.config.resources import Resources
from minestudio_nb.contracts.fields import FieldSpec
from minestudio_nb.errors import ConfigError

ROOT = Path(minestudio_nb.__file__).parents[1]
"""So that a fresh interpreter finds the package, installed or not."""

UNPICKLABLE = threading.Lock()

MODULE = """
online_dict = {
    "trainer_name": "PPOTrainer",
    "rollout_config": {"fragment_length": 16},
    "train_config": {"learning_rate": 0.001, "context_length": 8},
}

def env_generator(seed):
    return ("env", seed)

def policy_generator():
    return "policy"
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of our own, without ``configs/``."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def save(loaded: LoadedConfig, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in loaded.files().items():
        write(directory / name, text)
    return directory / "config.yaml"


def test_the_same_settings_from_each_source_are_the_same(elsewhere: Path) -> None:
    plain = {"rollout_config": {"fragment_length": 16}, "train_config": {"learning_rate": 1e-3, "context_length": 8}}
    module = write(elsewhere / "one.py", MODULE)
    text = write(elsewhere / "two.yaml", yaml.safe_dump(plain))
    overrides = ["train_config.ppo_clip=0.3", "++env_config.task=mine", "~train_config.context_length", "scale=laptop"]
    results = [
        load_config(source, overrides).config for source in (module, str(text), plain, OnlineConfig.from_dict(plain))
    ]
    assert results[0].train_config.ppo_clip == 0.3
    assert results[0].env_config.task == "mine"
    assert results[0].train_config.learning_rate == 1e-3
    assert results[0].rollout_config.fragment_length == 64  # scale=laptop
    assert all(result == results[0] for result in results)


def test_names_are_found_locally_first(elsewhere: Path) -> None:
    shipped = load_config("cartpole")
    assert shipped.name == "cartpole"
    write(elsewhere / "configs/cartpole.yaml", "defaults: [policy: small, _self_]\nschedule: overlap\n")
    write(
        elsewhere / "configs/policy/small.yaml", "# @package _global_\npolicy_config: {name: mlp, args: {hidden: 8}}\n"
    )
    write(elsewhere / "configs/mine.py", MODULE)
    local = load_config("cartpole")
    assert local.config.schedule == "overlap"
    assert local.config.policy_config.args == {"hidden": 8}
    assert load_config("cartpole", ["policy=cnn"]).config.policy_config.name == "cnn"  # a shipped option
    assert load_config("chop_tree").config.env_config.task == "chop_tree"  # a shipped configuration
    assert load_config("mine").env.kind == "module"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("cartpol", "did you mean 'cartpole'"),
        ("nowhere", r"no configuration 'nowhere'\. Known in"),
        ("nowhere/x.yaml", "There is no file nowhere/x.yaml"),
        ("bad.yaml", "no valid YAML"),
        ("list.yaml", "must hold settings"),
        ("group.yaml", "cannot be composed"),
        ("x.yml", "ends in .yaml"),
        ("plain.py", "defines no online_dict"),
        ("broken.py", "SyntaxError"),
        ("raises.py", "ZeroDivisionError"),
        ("missing.yaml", "Give the value"),
        ("loose.yaml", "there is no file"),
        (3, "a name, a path or a mapping"),
    ],
)
def test_errors_of_sources_say_what_to_do(elsewhere: Path, source: Any, text: str) -> None:
    write(elsewhere / "bad.yaml", "a: [1\n")
    write(elsewhere / "list.yaml", "- 1\n")
    write(elsewhere / "group.yaml", "defaults: [policy: nonsense]\n")
    write(elsewhere / "x.yml", "schedule: auto\n")
    write(elsewhere / "plain.py", "x = 1\n")
    write(elsewhere / "broken.py", "def f(:\n")
    write(elsewhere / "raises.py", "1 / 0\n")
    write(elsewhere / "missing.yaml", "train_config: {num_workers: '???'}\n")
    write(elsewhere / "loose.yaml", "generator_module: gone.py\n")
    with pytest.raises(ConfigError, match=text):
        load_config(source)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("train_config.learnin_rate=1", "did you mean 'train_config.learning_rate'"),
        ("nonsense", "Write key=value"),
        ("rollout_confg=1", r"did you mean 'rollout_config'\? Correct"),
        ("polcy=cnn", r"did you mean 'policy'\? Correct"),
        ("zzz=1", r"there is no setting 'zzz'\. Correct"),
        ("train_config.seed=1,2", "several values"),
        ("scale=huge", "Could not find 'scale/huge'"),
        ("+schedule=overlap", "Leave out the"),
        ("~nope", "no setting 'nope'"),
        ("~train_config.discount=0.5", "is 0.98, not 0.5"),
        ("env_config.kwargs.x=1", r"add it with \+env_config.kwargs.x"),
        ("train_config.discount=2", "must be 0 <= x <= 1"),
        ("train_config.seed=${nope}", "nope"),
        ("train_config@x=1", "group"),
    ],
)
def test_errors_of_overrides_say_what_to_do(elsewhere: Path, line: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        load_config("cartpole", [line])


def test_all_override_errors_come_at_once(elsewhere: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("cartpole", ["a=1", "train_config.seed=1", "b.c=2"])
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match="list of texts"):
        load_config("cartpole", "train_config.seed=1")


def test_override_grammar(elsewhere: Path) -> None:
    lines = [
        "+env_config.kwargs={a: 1}",
        "++env_config.kwargs.b=[1,two,'3']",
        "env_config.kwargs.a=null",
        "train_config.kl_skip=1e-2",
        "logger_config.name='a,b = c'",
        "+env_config.callbacks=[{name: A, args: {n: 1}}]",
        "env_config.callbacks.0.args.n=5",
        "train_config.seed=${rollout_config.fragment_length}",
    ]
    config = load_config("cartpole", lines).config
    assert config.env_config.kwargs == {"a": None, "b": [1, "two", "3"]}
    assert config.train_config.kl_skip == 0.01
    assert config.logger_config.name == "a,b = c"
    assert config.env_config.callbacks == [{"name": "A", "args": {"n": 5}}]
    assert config.train_config.seed == 32


def test_hydra_is_left_as_it_was(elsewhere: Path) -> None:
    load_config("gate_kl", ["scale=cluster"])
    assert not GlobalHydra.instance().is_initialized()
    state = Singleton.get_state()
    try:
        write(elsewhere / "app/main.yaml", "x: 1\n")
        with initialize_config_dir(str(elsewhere / "app"), version_base="1.3"):
            load_config("gate_kl")
            with pytest.raises(ConfigError):
                load_config("gate_kl", ["scale=nope"])
            assert compose("main").x == 1
    finally:
        Singleton.set_state(state)


def test_simulator_and_policy_arguments(elsewhere: Path) -> None:
    module = write(elsewhere / "one.py", MODULE)
    loaded = load_config(module, simulator="minecraft", policy="cnn")
    assert loaded.config.env_config.simulator == "minecraft"
    assert loaded.config.timeouts.start == 300
    assert loaded.env.kind == "module" and loaded.env.simulator == "minecraft"
    assert loaded.policy.kind == "policy_config" and loaded.policy.config["name"] == "cnn"
    assert load_config(module, ["policy=cnn"]).policy == load_config(module, policy="cnn").policy
    with pytest.raises(ConfigError, match="did you mean 'voxel'"):
        load_config(module, simulator="voxl")


def test_generators_of_a_module_run_anew_elsewhere(elsewhere: Path) -> None:
    loaded = pickle.loads(pickle.dumps(load_config(write(elsewhere / "one.py", MODULE))))
    assert build_generator(loaded.env, seed=7, worker=1) == ("env", 7)
    assert build_generator(loaded.policy, seed=7) == "policy"
    code = "import pickle,sys; from minestudio_nb.config import build_generator; "
    code += "print(build_generator(pickle.load(sys.stdin.buffer), seed=3)); print('hydra' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(loaded.env),
        capture_output=True,
        check=True,
        timeout=60,
        cwd=ROOT,
    )
    assert answer.stdout.decode().split("\n")[:2] == ["('env', 3)", "False"]


def test_functions_of_a_mapping(elsewhere: Path) -> None:
    offset = 10

    def env_generator(seed: int = 0) -> int:
        return offset + seed

    loaded = load_config({"env_generator": env_generator, "online_dict": {"schedule": "alternate"}})
    assert loaded.config.schedule == "alternate"
    assert loaded.env.kind == "callable" and loaded.policy.kind == "policy_config"
    assert build_generator(pickle.loads(pickle.dumps(loaded.env)), seed=3, index=1) == 13
    with pytest.raises(ConfigError, match="pass from_config"):
        build_generator(loaded.policy)
    assert build_generator(loaded.policy, from_config=lambda config, seed: (config["name"], seed), seed=1) == (
        "auto",
        1,
    )


def test_functions_replace_what_a_base_says(elsewhere: Path) -> None:
    def env_generator() -> str:
        return "mine"

    def policy_generator(**kwargs: int) -> int:
        return len(kwargs)

    loaded = load_config({"base": "gate_kl", "env_generator": env_generator, "schedule": "overlap"})
    assert loaded.config.train_config.discount == 0.999
    assert loaded.config.schedule == "overlap"
    assert loaded.config.env_config.task == "gate" and loaded.config.env_config.callbacks == []
    assert build_generator(loaded.env) == "mine"
    loaded = load_config({"base": "cartpole", "env_generator": env_generator})
    assert loaded.config.env_config.simulator == "voxel" and loaded.config.env_config.task == "cartpole"
    assert build_generator(loaded.env) == "mine"
    loaded = load_config({"base": "gate_kl", "policy_generator": policy_generator}, ["scale=cluster"])
    assert loaded.config.buffer_fragments == 4800
    assert build_generator(loaded.policy, seed=1, other=2) == 2


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({"env_generator": int, "env_config": {"biome": "plains"}}, "biome would have no effect"),
        ({"policy_generator": int, "policy_config": {"name": "cnn"}}, "Give one of the two"),
        ({"env_generator": "a.b"}, "must be a function"),
        ({"online_dict": {}, "schedule": "auto"}, "Give one of the two"),
        ({"train_config": {"seed": object()}}, "plain values only"),
        ({"env_generator": UNPICKLABLE.locked}, "Build such objects inside"),
        ({"train_config": {"gradient_accumulation": 3}}, "batches_per_iteration=3"),
    ],
)
def test_errors_of_mappings(elsewhere: Path, source: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        load_config(source)


def test_env_generator_beside_simulator_python_and_task_is_fine(elsewhere: Path) -> None:
    settings = {"env_generator": int, "env_config": {"simulator": "minecraft", "python": "/opt/py", "task": "x"}}
    assert load_config(settings).env.simulator == "minecraft"


def test_inert_settings_are_reported_once(elsewhere: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        loaded = load_config({"train_config": {"save_path": "/x", "num_readers": 9}})
    assert [problem.key for problem in loaded.warnings] == ["train_config.num_readers", "train_config.save_path"]
    assert len(caplog.records) == 1
    assert "checkpoints/ in the run directory" in caplog.text


def test_resources_are_checked_in_the_same_error(elsewhere: Path) -> None:
    small = Resources(cpus=2, gpus=0, memory_bytes=10**9, shm_bytes=10**9)
    with pytest.raises(ConfigError) as caught:
        load_config("gate_kl", ["scale=cluster", "train_config.gradient_accumulation=7"], resources=small)
    assert len(caught.value.problems) == 3


def test_saved_module_configuration_loads_again(elsewhere: Path) -> None:
    text = MODULE + '\nAPI_KEY = "canary"\n'
    first = load_config(write(elsewhere / "one.py", text), ["train_config.seed=3"])
    assert "canary" not in first.whole_config and "API_KEY" in first.whole_config
    assert "canary" not in repr(first)
    path = save(first, elsewhere / "runs/r1")
    assert "canary" not in (path.parent / "whole_config.py").read_text()
    again = load_config(path)
    assert again.config.train_config == first.config.train_config
    assert again.name == "r1"
    assert build_generator(again.env, seed=2) == ("env", 2)
    assert build_generator(again.policy) == "policy"
    third = load_config(save(again, elsewhere / "runs/r2"))
    assert third.config == again.config


def test_hidden_secrets_of_a_saved_configuration_are_asked_for(elsewhere: Path) -> None:
    first = load_config("cartpole", ["+env_config.kwargs.api_key=canary"])
    assert first.config.env_config.kwargs == {"api_key": "canary"}
    assert "canary" not in first.whole_config
    path = save(first, elsewhere / "runs/r1")
    assert "canary" not in path.read_text()
    with pytest.raises(ConfigError, match=r"env_config\.kwargs\.api_key: was hidden"):
        load_config(path)
    assert load_config(path, ["env_config.kwargs.api_key=canary"]).config == first.config


def test_saved_configuration_with_a_replaced_policy_keeps_it(elsewhere: Path) -> None:
    first = load_config(write(elsewhere / "one.py", MODULE), policy="cnn")
    again = load_config(save(first, elsewhere / "runs/r1"))
    assert again.policy == first.policy
    assert again.env.kind == "module"


def test_saved_notebook_functions_are_asked_for(elsewhere: Path) -> None:
    def env_generator() -> str:
        return "mine"

    path = save(load_config({"env_generator": env_generator}), elsewhere / "runs/r1")
    with pytest.raises(ConfigError, match="Give them again"):
        load_config(path)
    again = load_config({"base": str(path), "env_generator": env_generator})
    assert build_generator(again.env) == "mine"


@pytest.mark.parametrize("name", ["cartpole", "chop_tree", "place_frame", "gate_kl"])
def test_saved_shipped_configuration_loads_again(elsewhere: Path, name: str) -> None:
    first = load_config(name)
    again = load_config(save(first, elsewhere / "runs/r1"))
    assert (again.config, again.env, again.policy) == (first.config, first.env, first.policy)
    assert again.warnings == ()
    said = yaml.safe_load((elsewhere / "runs/r1/whole_config").read_text())
    assert "timeouts" not in said and said["train_config"].keys() < first.config.to_dict()["train_config"].keys()


def test_importing_the_package_loads_no_ray_and_no_torch() -> None:
    code = "import sys, minestudio_nb.config.load, minestudio_nb.config.planning; "
    code += "print([m for m in ('ray', 'torch', 'numba', 'wandb') if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=60, text=True, cwd=ROOT
    )
    assert answer.stdout.strip() == "[]"


def value_of(spec: FieldSpec) -> st.SearchStrategy[Any]:
    """Values that ``spec`` allows."""
    if spec.choices:
        return st.sampled_from(spec.choices)
    low = 0.0 if spec.minimum is None else spec.minimum
    high = low + 50 if spec.maximum is None else spec.maximum
    strategies: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "bool": st.booleans,
        "int": lambda: st.integers(int(low), int(high)),
        "float": lambda: st.floats(
            low, high, exclude_min=spec.exclusive_minimum, exclude_max=spec.exclusive_maximum, allow_subnormal=False
        ),
        "str": lambda: st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8),
    }
    return strategies[spec.kind]()


LEAVES = [
    spec
    for spec in field_specs().values()
    if spec.kind in ("bool", "int", "float", "str", "choice") and spec.key not in ("generator_module", "env_config.id")
]
ASSIGNMENTS = st.lists(
    st.sampled_from(LEAVES).flatmap(lambda spec: st.tuples(st.just(spec.key), value_of(spec))), min_size=1, max_size=6
)


def as_override(key: str, value: Any) -> str:
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\") if value.endswith("\\") else value
        quoted = quoted.replace("\\'", "\\\\'").replace("'", "\\'").replace("${", "\\${")
        return f"{key}='{quoted}'"
    return f"{key}={str(value).lower() if isinstance(value, bool) else repr(value)}"


@settings(max_examples=20, deadline=None)
@given(ASSIGNMENTS)
def test_overrides_say_what_they_set(assignments: list[tuple[str, Any]]) -> None:
    wanted = {key: value for key, value in assignments if not (isinstance(value, str) and "\\" in value)}
    raw: dict[str, Any] = {}
    expected = OnlineConfig()
    for key, value in wanted.items():
        expected = expected.with_value(key, value)
    try:
        loaded = load_config(raw, [as_override(key, value) for key, value in wanted.items()])
    except ConfigError as error:  # the values may contradict each other; then both ways must say so
        with pytest.raises(ConfigError):
            load_config(expected)
        assert error.problems
        return
    for key, value in wanted.items():
        assert loaded.config.get(key) == value


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=6),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False)
            | st.text(max_size=10)
            | st.text("\\${}a", max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    )
)
@example({"a": "\x85", "b": "\u2028 \u2029"})
def test_saved_text_reads_back(kwargs: dict[str, Any]) -> None:
    from minestudio_nb.config.redaction import is_secret_name

    kwargs = {name: value for name, value in kwargs.items() if not is_secret_name(name)}
    settings_text = to_yaml({"env_config": {"kwargs": kwargs}})
    assert "\x00" not in settings_text
    from omegaconf import OmegaConf

    back = OmegaConf.to_container(OmegaConf.create(yaml.safe_load(settings_text)), resolve=True)
    assert back == {"env_config": {"kwargs": kwargs}}

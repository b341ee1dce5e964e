"""MineStudio's configuration modules run unmodified, and nothing else notices.

The modules here have the form of MineStudio's three: imports at the top and inside functions, placeholders, subclasses.
"""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import minestudio_nb
from minestudio_nb.config import build_generator, load_config
from minestudio_nb.config.minestudio_compat import (
    CALLBACK_NAMES,
    DEFERRED_TARGETS,
    NOT_FOR_SPECS,
    REAL_GAME_CALLBACKS,
    TARGETS,
    execute_module,
    imports_minestudio,
)
from minestudio_nb.contracts.generators import GeneratorSpec
from minestudio_nb.environments.build import EnvFactory
from minestudio_nb.errors import ConfigError, SimulatorError, WeightsError

ROOT = Path(minestudio_nb.__file__).parents[1]

GATE_FORM = """
from minestudio.utils import get_compute_device

online_dict = {
    "trainer_name": "PPOTrainer",
    "detach_rollout_manager": True,
    "rollout_config": {
        "num_rollout_workers": 2, "num_gpus_per_worker": 1.0, "num_cpus_per_worker": 1, "fragment_length": 256,
        "to_send_queue_size": 8,
        "worker_config": {"num_envs": 16, "batch_size": 8, "restart_interval": 3600, "video_fps": 20,
                          "video_output_dir": "output/videos"},
        "replay_buffer_config": {
            "max_chunks": 4800, "max_reuse": 2, "max_staleness": 2, "fragments_per_report": 40,
            "fragments_per_chunk": 1, "database_config": {"path": "output/cache", "num_shards": 8},
        },
        "episode_statistics_config": {},
    },
    "train_config": {
        "num_workers": 2, "num_gpus_per_worker": 1.0, "batch_size_per_gpu": 1, "batches_per_iteration": 200,
        "gradient_accumulation": 10, "context_length": 64, "max_grad_norm": 5, "resume": None,
    },
    "logger_config": {"project": "minestudio_online", "name": "gate"},
}

def env_generator():
    from minestudio.simulator import MinecraftSim
    from minestudio.simulator.callbacks import (
        SummonMobsCallback, MaskActionsCallback, CommandsCallback, JudgeResetCallback,
    )
    return MinecraftSim(
        obs_size=(32, 32),
        preferred_spawn_biome="plains",
        callbacks=[
            MaskActionsCallback(inventory = 0),
            CommandsCallback(commands=["/give @p minecraft:diamond_pickaxe 1"]),
            JudgeResetCallback(2400),
        ],
    )

class Policy:
    def to(self, device):
        self.device = device
        return self

def policy_generator():
    return Policy().to(get_compute_device())

def pretrained_generator():
    from minestudio.models import load_vpt_policy
    return load_vpt_policy(model_path="/nowhere/x.model", weights_path="/nowhere/x.weights").to(get_compute_device())
"""

SHOOT_FORM = """
from numpy import roll
from omegaconf import OmegaConf
import hydra
import logging
import surely_not_installed_package
import surely_not_installed_package.deeper as deeper
from surely_not_installed_package.deeper import thing
from minestudio.online.rollout.rollout_manager import RolloutManager
from minestudio.online.utils.rollout import get_rollout_manager
from minestudio.online.utils.train.training_session import TrainingSession
from minestudio.online.rollout.start_manager import start_rolloutmanager
from minestudio.utils.register import Registers
import minestudio.utils as utils

online_dict = {"train_config": {"num_workers": 1}}

class Session(TrainingSession):
    pass

@Registers.model_loader.register
class Loader:
    pass

def env_generator():
    def roll_thing():
        return roll
    return {"roll": roll_thing().__name__, "utils": utils.get_compute_device}

def call_missing():
    return thing(1)

def call_deeper():
    return deeper.a.b()

def call_module():
    return surely_not_installed_package.init(project="x")

def make_session():
    return Session()

def call_unknown_function():
    from minestudio.simulator.utils import gutils
    return gutils()
"""

CALLBACK_FORM = """
from __future__ import annotations
from dataclasses import dataclass
from minestudio.simulator.callbacks import MinecraftCallback
from minestudio.simulator.callbacks.callback import MinecraftCallback as Same
from minestudio.simulator.callbacks import RecordCallback, DemonstrationCallback

online_dict = {}

@dataclass
class Settings:
    bonus: float = 1.0

class Bonus(MinecraftCallback):
    def after_step(self, sim, obs, reward, terminated, truncated, info):
        return obs, reward + Settings().bonus, terminated, truncated, info

class Lacking(DemonstrationCallback):
    pass

def env_generator():
    from minestudio.simulator import MinecraftSim
    @dataclass
    class Local:
        size: tuple[int, int] = (16, 16)
    assert Same is MinecraftCallback
    return MinecraftSim(obs_size=Local().size, callbacks=[Bonus()])

def lacking():
    return Lacking("x")
"""


ALL_CALLBACKS_FORM = """
from minestudio.simulator import MinecraftSim
from minestudio.simulator.callbacks import *
from minestudio.simulator.callbacks.hard_reset import HardResetCallback
from minestudio.benchmark import convert_yaml_to_callbacks
from minestudio.benchmark.utility.task_call import TaskCallback as BenchmarkTask

online_dict = {}

def env_generator():
    commands, task = convert_yaml_to_callbacks("TASK_FILE")
    return MinecraftSim(
        obs_size=(16, 16), render_size=(32, 18), world_size=32, pool_size=1,
        callbacks=[
            HardResetCallback([{"seed": 4, "position": [8.5, 64, 8.5]}]),
            SpeedTestCallback(50),
            RecordCallback(record_path="FILMS", fps=20, frame_type="pov", record_actions=True),
            SummonMobsCallback([{"name": "pig", "number": 2, "range_x": [-3, 3], "range_z": [-3, 3]}]),
            MaskActionsCallback(attack=0),
            RewardsCallback([{"event": "use_item", "objects": ["dirt"], "reward": 1.0, "identity": "place",
                              "max_reward_times": 9}]),
            FastResetCallback(biomes=["plains"], random_tp_range=1000),
            CommandsCallback(commands),
            BenchmarkTask(task),
            TaskCallback([{"name": "chop", "text": "chop the tree"}]),
            JudgeResetCallback(600),
            GateRewardsCallback(),
            VoxelsCallback([-1, 1, -1, 1, -1, 1]),
            InitInventoryCallback([{"slot": 8, "type": "dirt", "quantity": ">2"}], distraction_level="zero"),
            PrevActionCallback(),
            Compose([JudgeResetCallback(9)], options=1),
        ] + load_callbacks_from_config("TASK_FILE"),
    )
"""


def module_spec(source: str, function: str, simulator: str = "voxel") -> GeneratorSpec:
    return GeneratorSpec(kind="module", function=function, source=source, path="given.py", simulator=simulator)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate_form.py"
    path.write_text(GATE_FORM)
    return path


@pytest.fixture(autouse=True)
def clean_modules() -> None:
    """No test may leave a trace of MineStudio behind."""
    yield
    assert not [name for name in sys.modules if name.split(".")[0] == "minestudio" or name.startswith("_minestudio_nb")]


def test_minestudio_is_not_installed_here() -> None:
    assert importlib.util.find_spec("minestudio") is None


def test_gate_form_loads_and_builds_the_embedded_world(gate: Path) -> None:
    loaded = load_config(gate)
    assert loaded.config.train_config.batches_per_iteration == 200
    assert loaded.config.rollout_config.replay_buffer_config.database_config.path == "output/cache"
    assert {problem.key for problem in loaded.warnings} == {"rollout_config.replay_buffer_config.database_config.path"}
    assert loaded.whole_config == GATE_FORM
    env = build_generator(loaded.env, seed=1)
    from minestudio_nb.simulator import VoxelSim

    assert type(env) is VoxelSim
    observation, _ = env.reset()
    assert observation["image"].shape == (32, 32, 3)
    env.close()


def test_policy_generator_finds_the_device(gate: Path) -> None:
    assert build_generator(load_config(gate).policy).device in ("cpu", "cuda", "mps")


def test_pretrained_policies_are_ours(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"/nowhere/x\.model cannot be read"):
        build_generator(module_spec(GATE_FORM, "pretrained_generator"))
    source = "from minestudio.models import VPTPolicy, load_vpt_policy\nclass Mine(VPTPolicy): pass\n"
    from minestudio_nb.policies.vpt import MineStudioVPT, load_vpt_policy

    module = execute_module(source, "x.py")
    assert issubclass(module.Mine, MineStudioVPT) and module.load_vpt_policy.__name__ == load_vpt_policy.__name__


def test_scale_and_policy_make_it_run_on_a_laptop(gate: Path) -> None:
    loaded = load_config(gate, ["scale=laptop"], policy="cnn")
    assert loaded.config.num_envs == 8
    assert loaded.config.train_config.num_gpus_per_worker == 0
    assert loaded.config.train_config.max_grad_norm == 5
    assert loaded.policy.config == {"name": "cnn", "args": {}}
    assert loaded.env.kind == "module"


def test_shoot_form_loads_with_placeholders() -> None:
    module = execute_module(SHOOT_FORM, "shoot.py")
    assert module.online_dict == {"train_config": {"num_workers": 1}}
    assert build_generator(module_spec(SHOOT_FORM, "env_generator"))["roll"] == "roll"


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("call_missing", "'surely_not_installed_package' is not installed"),
        ("call_deeper", "'surely_not_installed_package' is not installed"),
        ("call_module", "surely_not_installed_package.init was called"),
        ("make_session", "TrainingSession was called, but minestudio_nb has no equivalent"),
        ("call_unknown_function", "gutils was called"),
        ("no_such_function", r"no function no_such_function\(\)"),
    ],
)
def test_placeholders_fail_when_called_with_a_clear_sentence(function: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        build_generator(module_spec(SHOOT_FORM, function))


def test_callbacks_can_be_subclassed_at_the_top() -> None:
    env = build_generator(module_spec(CALLBACK_FORM, "env_generator"))
    env.reset()
    _, reward, *_ = env.step(env.noop_action())
    assert reward == 1.0
    env.close()
    with pytest.raises(SimulatorError, match="Lacking needs real Minecraft"):
        build_generator(module_spec(CALLBACK_FORM, "lacking"))


def test_misspelled_callback_is_an_import_error() -> None:
    source = "from minestudio.simulator.callbacks import SumonMobsCallback\nonline_dict = {}\n"
    with pytest.raises(ConfigError, match="did you mean 'SummonMobsCallback'"):
        execute_module(source, "typo.py")


def test_all_callbacks_in_one_environment(tmp_path: Path) -> None:
    task = tmp_path / "dig.yaml"
    task.write_text("custom_init_commands: [/give @s stone 2]\ntext: Dig.\ndefaults: [base, _self_]\n")
    source = ALL_CALLBACKS_FORM.replace("TASK_FILE", str(task)).replace("FILMS", str(tmp_path / "films"))
    env = build_generator(module_spec(source, "env_generator"))
    for _ in range(2):
        obs, info = env.reset()
        assert info["inventory"][0] == {"type": "stone", "quantity": 4}, "twice by the commands of the file"
        assert info["inventory"][8]["quantity"] >= 3
        assert obs["task"] == {"name": "dig", "text": "Dig."}
        for step in range(9):
            obs, reward, terminated, truncated, info = env.step(env.noop_action())
            assert (reward, terminated, truncated) == (0.0, False, step == 8)
        assert len(info["voxels"]) == 27 and "forward" in obs["env_prev_action"]
    env.close()
    assert len(list((tmp_path / "films").iterdir())) == 4


def test_all_callbacks_as_specs(tmp_path: Path) -> None:
    arguments = {
        "HardReset": {"spawn_positions": [{"seed": 4, "position": [8.5, 64, 8.5]}]},
        "SpeedTest": {},
        "Record": {"record_path": str(tmp_path)},
        "SummonMobs": {"mobs": [{"name": "pig", "number": 2, "range_x": [-3, 3], "range_z": [-3, 3]}]},
        "MaskActions": {"mobs": [-9, 9, -9, 9, -9, 9], "hotbar.1": 0},
        "Rewards": {"reward_cfg": []},
        "FastReset": {"biomes": ["plains"], "random_tp_range": 1000},
        "Commands": {"commands": ["/time set noon"]},
        "Task": {"task_cfg": [{"name": "chop", "text": "chop the tree"}]},
        "JudgeReset": {"time_limit": 3},
        "GateRewards": {},
        "Voxels": {},
        "InitInventory": {"init_inventory": [{"slot": "random", "type": "dirt", "quantity": "random"}]},
        "PrevAction": {},
        "Compose": {"callbacks": [{"name": "JudgeReset", "args": {"time_limit": 3}}]},
    }
    names = {name.removesuffix("Callback") for name in CALLBACK_NAMES if name not in NOT_FOR_SPECS}
    assert set(arguments) == names - {name.removesuffix("Callback") for name in REAL_GAME_CALLBACKS}
    specs = [{"name": name, "args": args} for name, args in arguments.items()]
    settings = {"env_config": {"obs_size": [16, 16], "callbacks": specs, "kwargs": {"world_size": 32, "pool_size": 1}}}
    env = EnvFactory(load_config(settings).env)(0)
    env.reset()
    for _ in range(3):
        info = env.step(env.noop_action())[-1]
    assert info["task"] == "chop" and len(info["mobs"]) == 2 and len(info["voxels"]) == 15**3
    env.close()


def test_star_import_of_callbacks() -> None:
    module = execute_module("from minestudio.simulator.callbacks import *\n", "star.py")
    assert set(CALLBACK_NAMES) <= set(vars(module))


def test_the_real_game_is_asked_for_by_name() -> None:
    with pytest.raises(ConfigError, match="simulator=minecraft needs MineStudio itself"):
        build_generator(module_spec(GATE_FORM, "env_generator", simulator="minecraft"))


def test_modules_without_minestudio_get_no_placeholders() -> None:
    assert not imports_minestudio("import minestudio_nb\nfrom . import minestudio\n")
    assert imports_minestudio("def f():\n    import minestudio.utils as u\n")
    with pytest.raises(ConfigError, match="No module named 'surely_not_installed_package'"):
        execute_module("import surely_not_installed_package\n", "own.py")


def test_an_installed_package_that_fails_by_itself_is_no_placeholder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed_package.py").write_text("import surely_not_installed_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="surely_not_installed_package"):
        execute_module("import minestudio.utils\nimport half_installed_package\n", "own.py")


def test_errors_of_a_module_keep_their_cause() -> None:
    with pytest.raises(ConfigError, match=r"given\.py cannot be executed: KeyError") as caught:
        execute_module("import minestudio\n{}['x']\n", "given.py")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ConfigError, match="SyntaxError"):
        execute_module("def f(:\n", "given.py")


def test_it_works_in_a_fresh_process_without_torch_or_ray(gate: Path) -> None:
    spec = load_config(gate).env
    code = (
        "import pickle, sys\n"
        "from minestudio_nb.config.generators import build_generator\n"
        "env = build_generator(pickle.load(sys.stdin.buffer), seed=1)\n"
        "heavy = ('torch', 'ray', 'hydra', 'omegaconf', 'minestudio')\n"
        "print(type(env).__name__, [name for name in heavy if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(spec), capture_output=True, check=True, timeout=120, cwd=ROOT
    )
    assert answer.stdout.decode().strip() == "VoxelSim []"


def test_targets_name_what_exists() -> None:
    import importlib

    for name, (module, attribute) in {**TARGETS, **DEFERRED_TARGETS}.items():
        assert hasattr(importlib.import_module(module), attribute), name

"""The parts of the adapter that need no MineStudio: settings, turns, and what the installer refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from minestudio_nb.config import load_config
from minestudio_nb.environments.minecraft import install as installer
from minestudio_nb.environments.minecraft.install import install
from minestudio_nb.environments.minecraft.settings import resolve_callback, simulator_arguments
from minestudio_nb.environments.minecraft.turns import default_slots, turn
from minestudio_nb.errors import ConfigError, EnvStartError, ResourceError


def test_a_shipped_configuration_as_arguments_of_the_real_game() -> None:
    config = load_config("chop_tree", ["env=minecraft"]).env.config
    assert simulator_arguments(config, 7) == {
        "seed": 7,
        "action_type": "env",
        "num_empty_frames": 20,
        "obs_size": (64, 64),
        "render_size": (640, 360),
        "inventory": {0: {"type": "diamond_axe", "quantity": 1}},
        "preferred_spawn_biome": "dark_forest",
    }


def test_settings_of_the_real_game_only_pass_and_unknown_ones_do_not() -> None:
    kwargs = {"world_size": 64, "pool_size": 8, "start_slots": 2}
    assert simulator_arguments({"kwargs": kwargs, "biome": "minecraft:desert"}, 0) == {
        "seed": 0,
        "preferred_spawn_biome": "desert",
        "start_slots": 2,
    }
    with pytest.raises(ConfigError, match=r"no key 'obssize'.*did you mean 'obs_size'"):
        simulator_arguments({"obssize": 3}, 0)


class JudgeResetCallback:
    def __init__(self, time_limit: int = 600) -> None:
        self.time_limit = time_limit


class FastResetCallback:
    def __init__(self, biomes: list[str], random_tp_range: int) -> None:
        self.biomes = biomes


CLASSES: dict[str, type] = {cls.__name__: cls for cls in (JudgeResetCallback, FastResetCallback)}


def test_callbacks_by_name() -> None:
    assert resolve_callback({"name": "JudgeReset", "args": {"time_limit": 5}}, CLASSES).time_limit == 5
    assert resolve_callback({"name": "JudgeResetCallback"}, CLASSES).time_limit == 600
    spec = {"name": "FastReset", "args": {"biomes": ["meadow", "desert"], "random_tp_range": 10}}
    assert resolve_callback(spec, CLASSES).biomes == ["sunflower_plains", "desert"]
    assert spec["args"]["biomes"] == ["meadow", "desert"], "the configuration is not changed"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"name": "JudgReset"}, "no callback 'JudgReset'"),
        ({"name": "JudgeReset", "args": {"limit": 3}}, "JudgeResetCallback does not take these arguments"),
        ({"args": {}}, "has the keys name and args"),
        ({"name": "JudgeReset", "arguments": {}}, "has the keys name and args"),
    ],
)
def test_callbacks_that_do_not_exist(spec: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        resolve_callback(spec, CLASSES)


def test_a_turn_is_waited_for_and_told(tmp_path: Path) -> None:
    told: list[bool] = []
    inside = threading.Event()
    with turn(2, None, tmp_path), turn(2, None, tmp_path):

        def third() -> None:
            with turn(2, told.append, tmp_path, timeout=30.0):
                inside.set()

        waiting = threading.Thread(target=third)
        waiting.start()
        assert not inside.wait(0.5)
        assert told == [True]
    assert inside.wait(10.0)
    waiting.join()
    assert told == [True, False]
    assert default_slots() >= 1


def test_a_turn_that_never_comes_is_an_error(tmp_path: Path) -> None:
    with (
        turn(1, None, tmp_path),
        pytest.raises(EnvStartError, match="1 others were starting all the time"),
        turn(1, None, tmp_path, timeout=0.3),
    ):
        pass


def test_a_killed_engine_gives_its_turn_back(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from minestudio_nb.environments.minecraft.turns import turn\n"
        "with turn(1, None, Path(sys.argv[1])):\n    print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()
        other.wait()
        with turn(1, None, tmp_path, timeout=10.0):
            pass


# The installer.


def fake_python(folder: Path, script: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo 3 13", "exist for Python 3.11 and 3.12, but .* is 3.13. Name one of those: --base python3.12"),
        ("echo 3 10", "is 3.10"),
        ("echo \"ModuleNotFoundError: No module named 'ensurepip'\" >&2; exit 1", "'ensurepip'. On Debian or Ubuntu"),
    ],
)
def test_an_unsuitable_python(script: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=text):
        install(tmp_path / "new", base=str(fake_python(tmp_path, script)), tell=lambda line: None)
    assert not (tmp_path / "new").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ResourceError, match="not an environment of an earlier call, and not empty"):
        install(tmp_path, tell=lambda line: None)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.full
def test_pips_reason_is_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real venv and the real pip, told that there is no package index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    told: list[str] = []
    with pytest.raises(ResourceError, match=r"(?s)pip failed with status 1.*No matching distribution.*install\.log"):
        install(tmp_path / "new", tell=told.append)
    assert told[0].startswith("Making a virtual environment") and len(told) == 2
    log = (tmp_path / "new" / "install.log").read_text()
    assert "requirements.txt" in log
    with pytest.raises(ResourceError, match="pip failed"):  # the second time it goes on where it stopped
        install(tmp_path / "new", tell=told.append)
    assert len(told) == 3


def test_a_complete_environment_is_only_checked(tmp_path: Path) -> None:
    bin_folder = tmp_path / "env" / "bin"
    bin_folder.mkdir(parents=True)
    python = fake_python(bin_folder, 'echo "chatter"; echo "1.1.6 2.13.0+cpu 1.26.4"')
    (tmp_path / "env" / installer.MARKER).write_text(json.dumps({"fingerprint": installer._fingerprint(None)}))
    told: list[str] = []
    assert install(tmp_path / "env", tell=told.append) == str(python)
    assert "MineStudio 1.1.6 (torch 2.13.0+cpu, numpy 1.26.4) works" in told[-1]
    fake_python(bin_folder, "echo 'ImportError: libGL.so.1: cannot open shared object file' >&2; exit 1")
    with pytest.raises(ResourceError, match=r"(?s)cannot import MinecraftSim:\nImportError: libGL.so.1"):
        install(tmp_path / "env", tell=told.append)


def test_all_versions_are_pinned() -> None:
    lines = [line for line in installer.REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) > 20 and all(line.count("==") == 1 for line in lines)
    assert {"numpy==1.26.4", "opencv-python-headless==4.8.0.74"} <= set(lines)

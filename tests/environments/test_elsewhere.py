"""Environments in an interpreter that has other packages: what it must have, what it gets, and what errors say."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minestudio_nb.contracts.generators import GeneratorSpec
from minestudio_nb.environments import foreign
from minestudio_nb.environments.build import EnvFactory
from minestudio_nb.errors import EnvCrashError, EnvStartError
from minestudio_nb.rollout.evaluation import evaluate
from minestudio_nb.rollout.pool import Deadlines, RestartLimits
from minestudio_nb.rollout.process_pool import ProcessPool

NEEDED = ("numpy", "numpy.libs", "gymnasium", "cloudpickle", "typing_extensions.py", "farama_notifications")
HEAVY = ("torch", "ray", "numba", "omegaconf", "hydra", "pandas", "psutil")

SOURCE = f"""
import sys
import gymnasium
import numpy as np

class Counting(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 99, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(5)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return np.array([0, seed or 0], np.float32), {{}}

    def step(self, action):
        self.count += 1
        print("step", self.count, action)
        loaded = [name for name in {HEAVY!r} if name in sys.modules]
        extras = {{"heavy": len(loaded), "elsewhere": sys.prefix.endswith("other")}}
        return np.array([self.count, action], np.float32), 1.0, self.count == 3, False, {{"extras": extras}}

def env_generator():
    return Counting()
"""


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with numpy and gymnasium, without anything else that this one has."""
    folder = tmp_path_factory.mktemp("interpreters") / "other"
    _make_venv(folder, NEEDED)
    return folder / "bin" / "python"


def _make_venv(folder: Path, packages: tuple[str, ...]) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (own,) = folder.glob("lib/python*/site-packages")
    for package in packages:
        for place in site.getsitepackages():
            if (Path(place) / package).exists():
                (own / package).symlink_to(Path(place) / package)


def pool_of(python: Path | str, logs: Path, source: str = SOURCE) -> ProcessPool:
    recipe = GeneratorSpec(kind="module", function="env_generator", source=source, path="counting.py")
    limits = RestartLimits(in_window=1, first_wait=0.01)
    return ProcessPool(EnvFactory(recipe, 3, python=str(python)), 2, Deadlines(60, 10, 10), limits=limits, logs=logs)


def test_environments_step_in_another_interpreter_and_import_little(other_python: Path, tmp_path: Path) -> None:
    pool = pool_of(other_python, tmp_path / "logs")
    try:
        spec = pool.start(60.0)
        assert spec.action.nvec == (5,)
        for number in (1, 2, 3):
            pool.submit(np.arange(2), np.array([[number], [4]]))
            ends = {}
            stepped: list[int] = []
            while len(stepped) < 2:
                outcome = pool.collect(2, 10.0)
                assert not outcome.faults
                stepped += outcome.stepped
                ends |= outcome.ends
            if number < 3:
                assert pool.arrays.obs["obs"].tolist() == [[number, number], [number, 4]]
        assert [dict(end.extras) for end in ends.values()] == [{"heavy": 0.0, "elsewhere": 1.0}] * 2
    finally:
        pool.close()
    printed = (tmp_path / "logs" / "worker0-env0.log").read_text()
    assert "step 3 3" in printed


def test_an_evaluation_elsewhere(other_python: Path, tmp_path: Path) -> None:
    recipe = GeneratorSpec(kind="module", function="env_generator", source=SOURCE, path="counting.py")
    played = evaluate(None, recipe, 3, random_policy=True, python=str(other_python), logs=tmp_path)
    assert played.returns == [3.0] * 3 and played.lengths == [3] * 3
    assert (tmp_path / "evaluation-env1.log").read_text().count("step 3") == 1


def test_an_evaluation_goes_on_where_a_process_dies_once(other_python: Path, tmp_path: Path) -> None:
    mark = tmp_path / "it died"
    dies = f"import pathlib; mark = pathlib.Path({str(mark)!r}); mark.exists() or mark.touch() or sys.exit(4)"
    recipe = GeneratorSpec(
        kind="module",
        function="env_generator",
        source=SOURCE.replace("self.count += 1", f"self.count += 1; {dies}"),
        path="counting.py",
    )
    played = evaluate(None, recipe, 3, random_policy=True, python=str(other_python), logs=tmp_path)
    assert mark.exists() and played.returns == [3.0] * 3 and played.lengths == [3] * 3


def test_an_evaluation_whose_environment_fails_says_why(other_python: Path, tmp_path: Path) -> None:
    source = SOURCE.replace("self.count += 1", "print('last words'); sys.exit(4)")
    recipe = GeneratorSpec(kind="module", function="env_generator", source=source, path="counting.py")
    with pytest.raises(EnvCrashError, match=r"(?s)exited with status 4.*last words"):
        evaluate(None, recipe, 1, random_policy=True, python=str(other_python), logs=tmp_path)


def test_what_the_other_interpreter_lacks_is_in_the_error(tmp_path: Path) -> None:
    _make_venv(tmp_path / "bare", ())
    pool = pool_of(tmp_path / "bare" / "bin" / "python", tmp_path / "logs")
    try:
        with pytest.raises(EnvStartError, match=r"(?s)exited with status 1.*No module named 'gymnasium'"):
            pool.start(60.0)
    finally:
        pool.close()


def test_no_interpreter_at_the_path(tmp_path: Path) -> None:
    pool = pool_of(tmp_path / "nothing", tmp_path / "logs")
    try:
        with pytest.raises(EnvStartError, match=r"env_config.python names .*nothing, which cannot be started"):
            pool.start(60.0)
    finally:
        pool.close()


def test_errors_of_the_environment_come_with_its_last_lines(other_python: Path, tmp_path: Path) -> None:
    source = SOURCE.replace("return Counting()", "print('before the fall'); raise RuntimeError('on purpose')")
    pool = pool_of(other_python, tmp_path / "logs", source)
    try:
        with pytest.raises(EnvStartError, match=r"(?s)RuntimeError: on purpose.*worker0-env\d.log:\n.*before the fall"):
            pool.start(60.0)
    finally:
        pool.close()


def test_an_old_interpreter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "LEAST", (99, 0))
    with pytest.raises(SystemExit, match=r"needs Python 3.11 or newer; .* is 3\."):
        foreign.main(["minestudio_nb.environments.entry"])


def test_the_file_that_is_run_elsewhere_hides_no_module(other_python: Path) -> None:
    """``spaces`` and ``slot`` lie beside it; an import of these names must not find them."""
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(foreign.__file__)!r}); import foreign; "
        "foreign.lend_package(); import minestudio_nb.environments.slot; "
        "from importlib.util import find_spec; assert find_spec('slot') is None and find_spec('session') is None"
    )
    subprocess.run([other_python, "-c", code], check=True, env={"PATH": os.environ["PATH"]})

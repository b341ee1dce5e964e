"""The checklist of docs/security.md: each of its points has tests that exist. Here are those that read the sources."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from minestudio_nb.config import load_config
from minestudio_nb.errors import ConfigError
from minestudio_nb.runtime import cluster

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
POINTS = 12


def test_every_point_has_tests_that_exist() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, POINTS + 1))
    for number, promise, how, tests in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
        assert promise.strip() and how.strip() and named, f"point {number} names no test"
        for path, name in named:
            assert re.search(rf"^def {name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), (path, name)


# 2


def test_the_token_is_there_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    started = []

    def start(*arguments: object, **options: object) -> None:
        started.append(token.stat().st_mode & 0o777)
        raise OSError("no process for a test")

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(OSError, match="no process"):
        cluster.start_head(cluster.HeadSettings("test", tmp_path / "cluster.json", False, 1, 0, 2**27), 1.0)
    assert started == [0o600]


# 4


def test_no_example_listens_on_all_interfaces() -> None:
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "notebooks").rglob("*.ipynb")]
    texts += [*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "scripts").rglob("*"), ROOT / "Makefile"]
    texts += [*(ROOT / "minestudio_nb").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    wide = re.compile(
        r"(--\S*host|--ip|bind|listen)\S*[ =]+[\"']?(0\.0\.0\.0|::|\*)|ServerApp\.ip\s*=\s*[\"']?(\*|0\.)"
    )
    found = [str(path) for path in texts if path.is_file() and wide.search(path.read_text(encoding="utf-8"))]
    assert not found
    assert "ssh -N -L" in (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")


# 5, 6, 11, 12: what the package's own code may not do.


@cache
def nodes() -> tuple[tuple[str, ast.AST], ...]:
    """File and node, for all calls and imports of the package."""
    wanted = (ast.Call, ast.Import, ast.ImportFrom)
    return tuple(
        (str(path.relative_to(ROOT / "minestudio_nb")), node)
        for path in sorted((ROOT / "minestudio_nb").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, wanted)
    )


@cache
def calls() -> tuple[tuple[str, str, ast.Call], ...]:
    """File, dotted name of what is called, and the call, for all calls of the package."""
    return tuple((path, ast.unparse(node.func), node) for path, node in nodes() if isinstance(node, ast.Call))


def option(call: ast.Call, name: str) -> str:
    """The source of a keyword argument; empty where it is not given."""
    return next((ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == name), "")


FROM_OUR_OWN_PROCESSES = {
    "environments/channel.py",
    "environments/entry.py",
    "config/generators.py",
    "runtime/parcels.py",
}
"""Where pickles are read that the process itself, its parent or, through Ray, its session made: never a file."""


def test_nothing_of_ours_reads_pickles_from_disk() -> None:
    seen = set()
    for path, name, call in calls():
        where = f"{path}:{call.lineno}: {ast.unparse(call)}"
        assert name not in ("pickle.load", "pickle.Unpickler", "cloudpickle.load", "joblib.load", "dill.load"), where
        if name in ("pickle.loads", "cloudpickle.loads"):
            assert path in FROM_OUR_OWN_PROCESSES, where
            seen.add(path)
        if name in ("torch.load", "load") and "torch" in name:
            assert option(call, "weights_only") == "True", where
            seen.add("torch")
        if name.endswith("np.load"):
            assert option(call, "allow_pickle") == "False", where
            seen.add("numpy")
        assert name not in ("pickle.dump", "cloudpickle.dump", "torch.save"), where
    assert seen == {*FROM_OUR_OWN_PROCESSES, "torch", "numpy"}, "what is looked for exists"


def test_yaml_executes_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    for number, text in enumerate(
        (f"a: !!python/object/apply:os.mkdir ['{mark}']", f"!!python/name:os.mkdir '{mark}'")
    ):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError):
            load_config(path)
    assert not mark.exists()
    for path, name, call in calls():
        if name.startswith("yaml.") and "load" in name:
            safe = name == "yaml.safe_load" or option(call, "Loader") in ("_LOADER", "yaml.SafeLoader")
            assert safe, f"{path}:{call.lineno}"


def test_code_comes_from_configuration_modules_only() -> None:
    assert [path for path, name, _ in calls() if name in ("exec", "eval")] == ["config/minestudio_compat.py"]


def test_no_debugger_stays_in_the_package() -> None:
    modules = {"pdb", "ipdb", "pudb", "debugpy", "remote_pdb", "code"}
    for path, node in nodes():
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        assert not modules & {name.split(".")[0] for name in names}, path
    for path, name, call in calls():
        assert name != "breakpoint" and not name.endswith("set_trace"), f"{path}:{call.lineno}"


def test_no_shell_and_no_kill_by_name() -> None:
    for path, name, call in calls():
        where = f"{path}:{call.lineno}: {ast.unparse(call)}"
        assert name not in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"), where
        assert option(call, "shell") in ("", "False"), where
        if name.startswith("subprocess."):
            assert not re.search(r"pkill|killall|ray['\", ]+stop", ast.unparse(call)), where
        if name in ("os.kill", "os.killpg"):
            assert ast.unparse(call.args[0]) in ("self.pid", "parent"), where

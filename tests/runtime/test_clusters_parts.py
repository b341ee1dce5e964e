"""Files that come home, and code that goes out, between directories of this machine; with Ray: test_clusters.py."""

from __future__ import annotations

import io
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minestudio_nb import cluster
from minestudio_nb.config import load_config
from minestudio_nb.errors import ConfigError, ResourceError, RunError
from minestudio_nb.runs import RunDirectory
from minestudio_nb.runtime import far_files, own_code
from minestudio_nb.runtime.base import RuntimeSpec
from minestudio_nb.runtime.cluster import ensure_token
from minestudio_nb.runtime.far_files import Courier, list_files, read_part
from minestudio_nb.runtime.nodes import NodePorts, parse_amounts, parse_pairs
from minestudio_nb.runtime.reaching import require_versions, split_address
from tests.runtime.cluster_support import free_block


@pytest.fixture
def far(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path / "far", "demo")
    run.metrics.write_text('{"iteration": 1}\n')
    folder = run.checkpoints / "iteration_000001"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(bytes(range(256)) * 10)
    (run.checkpoints / ".half").write_text("being written")
    return run


def courier(far: RunDirectory, home: RunDirectory, asked: list[str] | None = None) -> Courier:
    def ask(method: str, *arguments: Any) -> Any:
        if asked is not None:
            asked.append(" ".join([method, *map(str, arguments)]))
        return list_files(far) if method == "far_files" else read_part(far, *arguments)

    return Courier(home, ask)


def test_what_is_new_comes_home_in_parts(far: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far_files, "PART", 1000)
    home = RunDirectory.create(tmp_path / "home", "demo")
    asked: list[str] = []
    trips = courier(far, home, asked)
    trips.fetch()
    weights = "checkpoints/iteration_000001/weights.safetensors"
    assert (home.path / weights).read_bytes() == bytes(range(256)) * 10
    assert [entry for entry in asked if "weights" in entry] == [f"far_part {weights} {at}" for at in (0, 1000, 2000)]
    assert sorted(path.name for path in home.path.rglob("*") if path.is_file()) == ["metrics.jsonl", Path(weights).name]
    asked.clear()
    with open(far.metrics, "a") as file:
        file.write('{"iteration": 2}\n')
    trips.fetch()
    assert asked == ["far_files", "far_part metrics.jsonl 0"], "only what has changed"
    assert home.metrics.read_text().count("\n") == 2


def test_old_checkpoints_go_and_what_is_too_large_stays(
    far: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = RunDirectory.create(tmp_path / "home", "demo")
    (home.path / "report.html").write_text("mine")
    trips = courier(far, home)
    trips.fetch()
    (far.checkpoints / "iteration_000001" / "weights.safetensors").unlink()
    large = far.recordings / "long.mp4"
    large.write_bytes(b"x" * 5000)
    monkeypatch.setattr(far_files, "LARGEST", 4000)
    trips.fetch()
    assert not (home.checkpoints / "iteration_000001").exists()
    assert trips.left == ["episodes/long.mp4"] and not (home.recordings / "long.mp4").exists()
    assert (home.path / "report.html").read_text() == "mine"


def test_a_supervisor_cannot_write_outside_of_the_run(tmp_path: Path) -> None:
    home = RunDirectory.create(tmp_path / "home", "demo")
    evil = far_files.FarFile("../../evil", 3, 1)
    trips = Courier(home, lambda method, *arguments: [evil] if method == "far_files" else b"abc")
    with pytest.raises(RunError, match="must lie inside"):
        trips.fetch()
    assert not (tmp_path / "evil").exists()


def test_a_name_that_the_head_has_already_is_refused(far: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSNB_RUN_ROOT", str(far.root))
    with pytest.raises(RunError, match="has a run 'demo' already"):
        far_files._make_run("demo", {}, goes_on=False)
    assert far_files._make_run("demo", {"origin/x/state.json": b"{}"}, goes_on=True) == str(far.root)
    assert (far.path / "origin" / "x" / "state.json").read_bytes() == b"{}"


def test_modules_of_ones_own_arrive_with_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mine_f3"
    package.mkdir()
    (package / "__init__.py").write_text("NAME = 'mine'\n")
    (package / "rewards.py").write_text("from mine_f3 import NAME\nBONUS = 2.5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("mine_f3.rewards")
    code = own_code.own_modules()
    assert {"mine_f3/__init__.py", "mine_f3/rewards.py"} <= set(code)
    assert not any(name.startswith(("minestudio_nb/", "numpy/", "json/", "pytest")) for name in code)
    own = {name: text for name, text in code.items() if name.startswith("mine_f3/")}
    spec = RuntimeSpec("demo", load_config("cartpole"), str(tmp_path), code=own)
    (tmp_path / "spec").write_bytes(pickle.dumps(spec))
    child = (
        "import pickle, subprocess, sys; spec = pickle.load(open(sys.argv[1], 'rb'));"
        "import mine_f3.rewards; print(mine_f3.rewards.BONUS, mine_f3.NAME);"
        "subprocess.run([sys.executable, '-c', 'import mine_f3.rewards; print(mine_f3.rewards.BONUS)'], check=True)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path / "elsewhere")}
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", child, str(tmp_path / "spec")],
        cwd=tmp_path / "elsewhere",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert sorted(done.stdout.split()) == ["2.5", "2.5", "mine"], done.stderr


def test_too_much_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_code, "LARGEST", 10)
    with pytest.raises(ConfigError, match="The largest is"):
        own_code.own_modules()


def test_versions_that_differ_are_named() -> None:
    import platform

    import ray

    here = {"Ray": ray.__version__, "Python": platform.python_version()}
    require_versions("node fox", here)
    major, minor, _ = here["Python"].split(".")
    require_versions("node fox", {"Python": f"{major}.{minor}.99"})
    with pytest.raises(ResourceError, match=r"Ray is 2\.1\.0 on node fox and .* here"):
        require_versions("node fox", {**here, "Ray": "2.1.0"})
    with pytest.raises(ResourceError, match=r"Python is 3\.8\.1 on node fox"):
        require_versions("node fox", {"Python": "3.8.1"})


@pytest.mark.parametrize("address", ["fox", "ray://fox", "fox:0", "fox:99999", "ray:/fox:1", "http://fox:10001"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ResourceError, match="is no address of a Ray cluster"):
        split_address(address)


def test_addresses_are_split() -> None:
    assert split_address("ray://fox:10001") == ("fox", 10001)
    assert split_address("10.0.0.1:6379") == ("10.0.0.1", 6379)


def test_words_of_the_cluster_command() -> None:
    assert parse_pairs(["kind=gpu,rack=2", "zone=a"], "labels") == {"kind": "gpu", "rack": "2", "zone": "a"}
    assert parse_amounts(["display=1"]) == {"display": 1.0}
    for wrong in ("kind", "=gpu", "kind="):
        with pytest.raises(ResourceError, match="--labels takes name=value pairs"):
            parse_pairs([wrong], "labels")
    with pytest.raises(ResourceError, match="--resources takes numbers, display=one came"):
        parse_amounts(["display=one"])


def test_a_port_that_is_taken_is_named() -> None:
    first = free_block(8)
    ports = NodePorts(first=first, control=first + 6, client=first + 7)
    ports.require_free()
    with socket.create_server(("", first + 7)), pytest.raises(ResourceError, match=f"Port {first + 7} cannot be used"):
        ports.require_free()


def test_a_directory_for_rays_files_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSNB_NODES", str(tmp_path / "nodes"))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    first = free_block(8)
    ports = ["--port", str(first), "--client-port", str(first + 1), "--node-ports", str(first + 2)]
    (tmp_path / "file").touch()
    for wrong, why in ((tmp_path / "none", "does not exist"), (tmp_path / "file", "is no directory")):
        said = io.StringIO()
        assert cluster.main(["head", *ports, "--temp-dir", str(wrong)], out=said) == 2
        assert said.getvalue().startswith("ResourceError: --temp-dir takes a directory in which files can be made; ")
        assert f"{str(wrong)!r} {why}. Make it first" in said.getvalue()
    assert not (tmp_path / "token").exists() and not (tmp_path / "nodes").exists()


def test_a_worker_needs_the_token_of_its_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(ResourceError, match="There is no token in"):
        ensure_token(make=False)
    assert not (tmp_path / "token").exists()

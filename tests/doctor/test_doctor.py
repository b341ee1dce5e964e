"""The doctor: every probe finds what is there, says what it blocks and how to mend it, and none can stop the report."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

import minestudio_nb as ms
from minestudio_nb.doctor import TARGETS, DoctorReport, Finding
from minestudio_nb.doctor.__main__ import main
from minestudio_nb.doctor.learning import PROBES as LEARNING
from minestudio_nb.doctor.machine import PROBES as MACHINE
from minestudio_nb.doctor.minecraft import ENGINE
from minestudio_nb.doctor.minecraft import PROBES as MINECRAFT
from minestudio_nb.doctor.probing import Options, Probe, ask_python, run_probes

ROOT = Path(__file__).resolve().parents[2]
BY_NAME = {probe.name: probe for probe in (*MACHINE, *LEARNING, *MINECRAFT)}


def look(name: str, **options: object) -> Finding:
    (finding,) = run_probes([BY_NAME[name]], Options(**options))  # type: ignore[arg-type]
    return finding


def tool(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all there is on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat"):
        (folder / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_probe_that_raises_or_hangs_is_reported_and_holds_up_nobody() -> None:
    let_go = threading.Event()

    def hang(options: Options) -> Finding:
        let_go.wait(30.0)
        return Finding("hangs", "ok", "late")

    def fail(options: Options) -> Finding:
        raise OSError("the disk is on fire")

    probes = [
        Probe("hangs", hang, ("gpu",), seconds=0.2),
        Probe("raises", fail, ("voxel",)),
        Probe("works", lambda options: Finding("works", "ok", "well")),
        Probe("slow", hang, ("cluster",), slow=True),
    ]
    began = time.monotonic()
    report = DoctorReport("voxel", tuple(run_probes(probes, Options(quick=True))))
    let_go.set()
    assert time.monotonic() - began < 5.0
    assert [f.state for f in report.findings] == ["unknown", "unknown", "ok", "skipped"]
    assert report["hangs"].found == "no answer within 0 s" and report["hangs"].blocks == ("gpu",)
    assert report["raises"].found == "looking failed: OSError: the disk is on fire"
    assert not report.ok and report.verdict("voxel") == "blocked by raises"
    assert report.verdict("cluster") == "ready, as far as was looked (not at slow)"
    assert report.verdict("notebook") == "ready"


def test_this_machine_can_run_the_embedded_world() -> None:
    report = ms.doctor(quick=True)
    for name in ("Python", "packages", "ports and files", "video", "JupyterLab"):
        assert report[name].state == "ok", report[name]
    for name in ("cores and memory", "shared memory", "disk", "compiled VoxelSim"):
        assert report[name].state in ("ok", "warning"), report[name]
    assert report.ok and bool(report)
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in report["Python"].found


def test_the_name_is_callable_before_and_after_the_module_was_imported() -> None:
    code = (
        "import minestudio_nb as ms; a = ms.doctor; import minestudio_nb.doctor; b = ms.doctor;"
        "reports = [f(quick=True) for f in (a, b)];"
        "assert [r.target for r in reports] == ['voxel', 'voxel']"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_it_works_where_no_package_is_installed() -> None:
    command = [sys.executable, "-S", "-m", "minestudio_nb.doctor", "--quick", "--json"]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 1, result.stderr
    data = json.loads(result.stdout)
    findings = {finding["name"]: finding for finding in data["findings"]}
    assert findings["packages"]["state"] == "missing" and "pip install" in findings["packages"]["fix"]
    assert set(findings["packages"]["blocks"]) == set(TARGETS)
    assert all(data["blocked"][target] for target in TARGETS) and data["ok"] is False


def test_missing_and_old_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from minestudio_nb.doctor import machine

    real = machine.metadata.version

    def version(name: str) -> str:
        if name == "rich":
            raise machine.metadata.PackageNotFoundError(name)
        return {"numba": "0.1", "anywidget": "0.1"}.get(name) or real(name)

    monkeypatch.setattr(machine.metadata, "version", version)
    finding = look("packages")
    assert finding.state == "missing" and finding.found.startswith("2 of ")
    assert finding.fix.endswith("-m pip install 'numba>=0.60' 'rich>=13'")
    lab = look("JupyterLab")
    assert lab.blocks == ("notebook",) and "anywidget>=0.9.18" in lab.fix


def test_a_server_without_the_browsers_part_of_the_widgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import jupyter_core.paths

    monkeypatch.setattr(jupyter_core.paths, "jupyter_path", lambda *names: ["/nowhere"])
    finding = look("JupyterLab")
    assert finding.blocks == ("notebook",) and finding.fix.endswith("--force-reinstall anywidget ipywidgets")


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("free", "shm", "disk"),
    [(32 * 2**20, "missing", "missing"), (600 * 2**20, "warning", "missing"), (3 * 2**30, "ok", "warning")],
)
def test_little_room(free: int, shm: str, disk: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2 * free, free, free))
    assert look("shared memory").state == shm
    finding = look("disk", run_root=tmp_path / "not" / "yet")
    assert finding.state == disk and str(tmp_path) in finding.found
    assert (finding.blocks != ()) == (disk == "missing")


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from minestudio_nb.config.resources import Resources

    monkeypatch.setattr(Resources, "detect", classmethod(lambda cls: cls(cpus=1, memory_bytes=2**30)))
    assert look("cores and memory").state == "missing"
    monkeypatch.setattr(Resources, "detect", classmethod(lambda cls: cls(cpus=1, memory_bytes=2**34)))
    finding = look("cores and memory")
    assert finding.state == "warning" and finding.found.startswith("1 cores, 16.0 GB")


def test_a_sandbox_without_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not permitted")

    monkeypatch.setattr(socket, "create_server", refuse)
    finding = look("ports and files")
    assert "voxel" in finding.blocks and "not permitted" in finding.found


def test_the_compile_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from minestudio_nb.simulator import cache_folder

    monkeypatch.setattr(cache_folder, "use_cache", lambda: tmp_path)
    finding = look("compiled VoxelSim")
    assert finding.state == "warning" and finding.fix.endswith("-m minestudio_nb.simulator.compile_cache")
    (tmp_path / "complete").touch()
    assert look("compiled VoxelSim").state == "ok"


def test_java(bin_folder: Path) -> None:
    assert look("Java 8").found == "there is no java on PATH"
    tool(bin_folder, "java", """echo 'openjdk version "17.0.15" 2025-04-15' >&2""")
    new = look("Java 8")
    assert "is Java 17.0.15" in new.found and new.blocks == ("minecraft",) and "openjdk=8" in new.fix
    tool(bin_folder, "java", """echo 'openjdk version "1.8.0_432"' >&2""")
    assert look("Java 8").state == "ok"
    tool(bin_folder, "java", "echo 'Error: could not find libjava.so' >&2; exit 1")
    assert "libjava.so" in look("Java 8").found


def test_the_display(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINESTUDIO_GPU_RENDER", raising=False)
    monkeypatch.setenv("DISPLAY", ":7")
    finding = look("virtual display")
    assert "xvfb-run, Xvfb, xauth" in finding.found and "DISPLAY=:7 is there, but" in finding.found
    for name in ("Xvfb", "xauth", "xvfb-run"):
        tool(bin_folder, name, "exit 0")
    assert look("virtual display").state == "ok"
    tool(bin_folder, "xvfb-run", "echo Xvfb failed to start; exit 1")
    assert "Xvfb failed to start" in look("virtual display").found
    monkeypatch.setenv("MINESTUDIO_GPU_RENDER", "1")
    assert "vglrun" in look("virtual display").found


def test_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINESTUDIO_DIR", str(tmp_path))
    missing = look("engine", python="/opt/mc/bin/python")
    assert missing.blocks == ("minecraft",) and missing.fix.startswith("/opt/mc/bin/python -c")
    jar = tmp_path / ENGINE
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"x" * 2**20)
    assert look("engine").found == f"{jar}, 1 MB"


def test_the_other_interpreter(tmp_path: Path) -> None:
    absent = look("MinecraftSim", python=str(tmp_path / "python"))
    assert "no interpreter" in absent.found and "--install-minecraft" in absent.fix
    assert "has no minestudio" in look("MinecraftSim").found
    liar = tool(tmp_path, "python", "echo 'ImportError: libGL.so.1: cannot open'; exit 1")
    broken = look("MinecraftSim", python=str(liar))
    assert broken.state == "unknown" and "libGL.so.1" in broken.found and broken.blocks == ("minecraft",)


def test_an_interpreter_is_asked_without_loading_anything_here() -> None:
    assert ask_python(sys.executable, "print('chatter')\nanswer['sum'] = 1 + 1") == {"sum": 2}
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        ask_python(sys.executable, "1 / 0")


@pytest.mark.parametrize("found", ["driver", "nothing"])
def test_a_torch_that_cannot_use_the_gpu(found: str, bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minestudio_nb.doctor import learning

    answer = {"version": "2.13.0+cpu", "built_for": None, "mps": False, "names": []}
    monkeypatch.setattr(learning, "ask_python", lambda python, code: answer)
    if found == "nothing":
        assert look("GPU").found == "torch 2.13.0+cpu; nvidia-smi is not here"
        return
    tool(bin_folder, "nvidia-smi", "echo '580.65.06, NVIDIA H200, 143771 MiB'")
    finding = look("GPU")
    assert finding.found.startswith("NVIDIA H200 (143771 MiB) with driver 580.65.06, but torch 2.13.0+cpu was built")
    assert finding.blocks == ("gpu",) and "pip install --force-reinstall torch" in finding.fix
    answer["built_for"] = "13.0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert look("GPU").fix == "unset CUDA_VISIBLE_DEVICES"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert "update the driver" in look("GPU").fix
    tool(bin_folder, "nvidia-smi", "echo 'No devices were found'; exit 6")
    assert "says: No devices were found" in look("GPU").found


def test_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    assert "none yet" in look("Ray's token").found
    token.touch(mode=0o644)
    token.chmod(0o644)
    assert look("Ray's token").fix == f"chmod 600 {token}"
    token.chmod(0o600)
    assert look("Ray's token").state == "ok"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "voxel" in look("Ray's token").blocks


def test_a_cluster_is_asked_for_only_by_those_who_want_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert look("cluster").state == "warning"
    wanted = look("cluster", target="cluster")
    assert wanted.state == "missing" and "--address" in wanted.fix


@pytest.mark.ray
def test_a_cluster_says_what_it_offers(ray_cluster: str) -> None:
    finding = look("cluster", address=ray_cluster)
    assert finding.state == "ok" and f"{ray_cluster}: 1 nodes, 8 CPU" in finding.found


@pytest.mark.full
def test_ray_is_started_and_stopped_and_torch_is_asked() -> None:
    finding = look("Ray")
    assert finding.state == "ok" and "was stopped" in finding.found
    assert "torch" in look("GPU").found


def test_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINESTUDIO_DIR", str(tmp_path))
    assert main(["--quick"]) == 0
    text = capsys.readouterr().out
    assert "* voxel" in text and "  minecraft  blocked by " in text
    (fix,) = (line for line in text.splitlines() if "download_engine" in line)
    assert fix.strip().startswith("fix: DIR/bin/python -c"), "a command stays in one line"
    assert main(["--quick", "--json", "--for", "minecraft"]) == 1
    assert "engine" in json.loads(capsys.readouterr().out)["blocked"]["minecraft"]
    with pytest.raises(SystemExit):
        main(["--for", "everything"])
    with pytest.raises(ValueError, match="target is one of voxel"):
        ms.doctor("everything")


def test_html_is_escaped_and_marks_what_was_asked() -> None:
    bad = Finding("Java 8", "missing", "<img src=x onerror=alert(1)>", ("minecraft",), "a && b")
    html = DoctorReport("minecraft", (bad,))._repr_html_()
    assert "<img" not in html and "&lt;img" in html and "a &amp;&amp; b" in html
    assert "font-weight:bold" in html and "<details open>" in html and "blocked by Java 8" in html

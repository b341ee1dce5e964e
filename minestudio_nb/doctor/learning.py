"""What training needs: GPU and torch, and Ray, here or elsewhere."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any, Final

from minestudio_nb.doctor.probing import SLOW_SECONDS, Options, Probe, ask_python, output_of, pip_install
from minestudio_nb.doctor.report import Finding

__all__ = ["PROBES"]

_TORCH: Final = """
import torch
answer["version"], answer["built_for"] = torch.__version__, torch.version.cuda
answer["mps"] = torch.backends.mps.is_available()
answer["names"] = []
if torch.cuda.is_available():
    for index in range(torch.cuda.device_count()):
        ones = torch.ones(64, 64, device=f"cuda:{index}")
        assert (ones @ ones)[0, 0].item() == 64.0
        answer["names"].append(torch.cuda.get_device_name(index))
"""
_RAY: Final = """
import tempfile, time
from pathlib import Path
import ray
from minestudio_nb.runtime.cluster import HeadSettings, start_head, stop_head
answer["version"] = ray.__version__
with tempfile.TemporaryDirectory() as folder:
    record_path = Path(folder, "cluster.json")
    began = time.monotonic()
    settings = HeadSettings("doctor", record_path, detached=False, cpus=1, gpus=0, object_store_bytes=80 * 2**20)
    record, head = start_head(settings, {seconds})
    answer["seconds"] = time.monotonic() - began
    stop_head(record, record_path, 30.0)
    head.stdin.close()
    head.wait(10.0)
"""
_CLUSTER: Final = """
import ray
from minestudio_nb.runtime.cluster import connect
connect({address!r})
answer["version"] = ray.__version__
answer["nodes"] = sum(node["Alive"] for node in ray.nodes())
answer["resources"] = ray.cluster_resources()
ray.shutdown()
"""
_RAY_SECONDS: Final = SLOW_SECONDS - 60


def _torch(options: Options) -> Finding:
    answer = ask_python(sys.executable, _TORCH)
    driver, cards = _nvidia_driver()
    version = f"torch {answer['version']}"
    if answer["names"]:
        return Finding("GPU", "ok", f"{', '.join(answer['names'])}; {version}, driver {driver or 'not asked'}")
    if answer["mps"]:
        return Finding("GPU", "ok", f"Apple's, through MPS; {version}")
    if not driver:
        found = f"{version}; nvidia-smi {cards or 'is not here'}"
        fix = "a machine with an NVIDIA GPU and its driver, or the address of a cluster with one; the CPU works too"
        return Finding("GPU", "missing", found, ("gpu",), fix)
    if answer["built_for"] is None:
        found = f"{cards} with driver {driver}, but {version} was built without CUDA"
        command = pip_install("--force-reinstall", "torch")
        return Finding("GPU", "missing", found, ("gpu",), f"{command}  # for Linux, the default build has CUDA")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = f"{cards} with driver {driver}, but {version} for CUDA {answer['built_for']} cannot use it"
    if hidden is not None:
        found += f": CUDA_VISIBLE_DEVICES={hidden}"
        return Finding("GPU", "missing", found, ("gpu",), "unset CUDA_VISIBLE_DEVICES")
    return Finding("GPU", "missing", found, ("gpu",), "update the driver, or install a torch for an older CUDA")


def _nvidia_driver() -> tuple[str, str]:
    """Version of the driver and names of the cards; or an empty text and what nvidia-smi said instead."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "", ""
    status, output = output_of([tool, "--query-gpu=driver_version,name,memory.total", "--format=csv,noheader"])
    rows = [line.split(", ") for line in output.strip().splitlines() if line.count(", ") == 2]
    if status or not rows:
        return "", f"says: {' '.join(output.split())[:120]}"
    return rows[0][0], ", ".join(f"{name} ({memory})" for _, name, memory in rows)


def _ray_starts(options: Options) -> Finding:
    answer = ask_python(sys.executable, _RAY.format(seconds=_RAY_SECONDS))
    return Finding("Ray", "ok", f"{answer['version']} started here in {answer['seconds']:.0f} s, and was stopped")


def _token(options: Options) -> Finding:
    name = "Ray's token"
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        found = f"RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']}: everybody who reaches this machine could run code"
        return Finding(name, "missing", found, ("voxel", "gpu", "minecraft", "cluster"), "unset RAY_AUTH_MODE")
    if os.environ.get("RAY_AUTH_TOKEN"):
        return Finding(name, "ok", "in RAY_AUTH_TOKEN")
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if not path.is_file():
        return Finding(name, "ok", f"none yet; the first session makes {path}")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        found = f"others may read {path} (mode {mode:o}); the next session corrects that"
        return Finding(name, "warning", found, (), f"chmod 600 {path}")
    return Finding(name, "ok", f"{path}, readable by its owner only")


def _cluster(options: Options) -> Finding:
    name = "cluster"
    address = options.address or os.environ.get("RAY_ADDRESS")
    if not address:
        found = "no address given, and RAY_ADDRESS is not set"
        return Finding(name, "warning" if options.target != "cluster" else "missing", found, ("cluster",), _ADDRESS)
    try:
        answer = ask_python(sys.executable, _CLUSTER.format(address=address))
    except RuntimeError as error:
        return Finding(name, "missing", f"{address}: {error}", ("cluster",), _UNREACHABLE)
    amounts: dict[str, Any] = answer["resources"]
    offered = ", ".join(f"{amounts[key]:g} {key}" for key in ("CPU", "GPU") if key in amounts)
    return Finding(name, "ok", f"{address}: {answer['nodes']} nodes, {offered}; Ray {answer['version']} here")


_ADDRESS: Final = "--address HOST:PORT, or address= in Python"
_UNREACHABLE: Final = (
    "the same versions of Python and Ray on both sides, the cluster's token in ~/.ray/auth_token, a tunnel to its port"
)

PROBES: Final = (
    Probe("GPU", _torch, ("gpu",), SLOW_SECONDS, slow=True),
    Probe("Ray's token", _token, ("cluster",)),
    Probe("Ray", _ray_starts, ("voxel", "gpu", "minecraft"), SLOW_SECONDS, slow=True),
    Probe("cluster", _cluster, ("cluster",), SLOW_SECONDS),
)

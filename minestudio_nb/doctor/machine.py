"""What everything needs: Python, packages, cores, memory, disk, sockets; and what notebooks and VoxelSim need."""

from __future__ import annotations

import io
import os
import platform
import shutil
import socket
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

from minestudio_nb.doctor.probing import SLOW_SECONDS, Options, Probe, import_or_none, pip_install, this_python
from minestudio_nb.doctor.report import TARGETS, Finding, Target

__all__ = ["PROBES"]

DISTRIBUTION: Final = "minestudio-nb"
MINIMUM_PYTHON: Final = (3, 11)
MINIMUM_MEMORY: Final = 2 * 2**30
"""Bytes; a small session with Ray takes about 1.5 GB."""
MINIMUM_SHM: Final = 64 * 2**20
"""Bytes of /dev/shm, below which observations of environment processes or Ray's object store do not fit."""
GOOD_SHM: Final = 2**30
MINIMUM_DISK: Final = 2**30
GOOD_DISK: Final = 5 * 2**30
GOOD_OPEN_FILES: Final = 4096
"""Ray's own advice is more, but a session on one machine opens some hundreds a process."""
_LOCAL: Final[tuple[Target, ...]] = ("voxel", "gpu", "minecraft")


def gigabytes(amount: float) -> str:
    """Bytes for people."""
    return f"{amount / 2**30:.1f} GB" if amount >= 2**30 else f"{amount / 2**20:.0f} MB"


def _python(options: Options) -> Finding:
    version = platform.python_version()
    if sys.version_info < MINIMUM_PYTHON:
        wanted = ".".join(map(str, MINIMUM_PYTHON))
        return Finding("Python", "missing", version, TARGETS, f"make a virtual environment with Python {wanted}")
    where = "a virtual environment" if sys.prefix != sys.base_prefix else "no virtual environment"
    return Finding("Python", "ok", f"{version}, {where} at {sys.prefix}")


def _lacking(extra: str) -> tuple[list[str], int]:
    """Requirements of this distribution (those of an extra only, or of none) that are not met, and how many exist."""
    required = metadata.requires(DISTRIBUTION) or []
    try:
        from packaging.requirements import Requirement
    except ImportError:  # it reads the others
        return ["packaging"], len(required)
    lacking, count = [], 0
    for text in required:
        requirement = Requirement(text)
        always = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        wanted = always if not extra else not always and requirement.marker.evaluate({"extra": extra})  # type: ignore[union-attr]
        if not wanted:
            continue
        count += 1
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = ""
        if not version or not requirement.specifier.contains(version, prereleases=True):
            extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            lacking.append(f"{requirement.name}{extras}{requirement.specifier}")
    return lacking, count


def _packages(options: Options) -> Finding:
    try:
        lacking, count = _lacking("")
    except metadata.PackageNotFoundError:
        found = f"{DISTRIBUTION} is imported from {Path(__file__).parents[1]}, but not installed"
        return Finding("packages", "missing", found, TARGETS, pip_install("-e", "."))
    if lacking:
        found = f"{len(lacking)} of {count} are missing or too old: {', '.join(lacking)}"
        return Finding("packages", "missing", found, TARGETS, pip_install(*lacking))
    return Finding("packages", "ok", f"all {count} that are needed")


def _notebook(options: Options) -> Finding:
    lacking, _ = _lacking("lab")
    if lacking:
        return Finding("JupyterLab", "missing", f"not here: {', '.join(lacking)}", ("notebook",), pip_install(*lacking))
    from jupyter_core.paths import jupyter_path

    folders = [Path(folder) for folder in jupyter_path("labextensions")]
    parts = {"anywidget": "anywidget", "@jupyter-widgets/jupyterlab-manager": "ipywidgets"}
    absent = [package for name, package in parts.items() if not any((folder / name).is_dir() for folder in folders)]
    version = metadata.version("jupyterlab")
    if absent:
        found = f"{version}, without the browser's part of {' and '.join(absent)}: widgets would not be shown"
        return Finding("JupyterLab", "missing", found, ("notebook",), pip_install("--force-reinstall", *absent))
    found = f"{version}, anywidget {metadata.version('anywidget')}"
    return Finding("JupyterLab", "ok", f"{found}; a server of another environment needs anywidget as well")


def _cores(options: Options) -> Finding:
    from minestudio_nb.config.resources import Resources

    here = Resources.detect()
    found = f"{here.cpus:g} cores, {gigabytes(here.memory_bytes)} memory free for this process"
    if here.memory_bytes < MINIMUM_MEMORY:
        fix = f"end other programs, or use a machine with {gigabytes(MINIMUM_MEMORY)} free"
        return Finding("cores and memory", "missing", found, _LOCAL, fix)
    if here.cpus < 2:
        fix = "two cores or more; with one, acting and learning take turns"
        return Finding("cores and memory", "warning", found, (), fix)
    return Finding("cores and memory", "ok", found)


def _shared_memory(options: Options) -> Finding:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Finding("shared memory", "ok", f"no {folder} on this system; Ray uses files")
    usage = shutil.disk_usage(folder)
    found = f"{gigabytes(usage.free)} of {gigabytes(usage.total)} free in {folder}"
    fix = "mount -o remount,size=4G /dev/shm; for a container: docker run --shm-size=4g ..."
    if not os.access(folder, os.W_OK):
        return Finding("shared memory", "missing", f"{folder} cannot be written", _LOCAL, "chmod 1777 /dev/shm")
    if usage.free < MINIMUM_SHM:
        return Finding("shared memory", "missing", found, _LOCAL, fix)
    if usage.free < GOOD_SHM:
        return Finding("shared memory", "warning", f"{found}; the replay buffer would go to disk", (), fix)
    return Finding("shared memory", "ok", found)


def _disk(options: Options) -> Finding:
    places = {"runs": options.run_root, "temporary files": Path(tempfile.gettempdir())}
    texts, least = [], float("inf")
    for what, place in places.items():
        existing = next(folder for folder in (place.resolve(), *place.resolve().parents) if folder.exists())
        if not os.access(existing, os.W_OK):
            fix = "choose another run_root" if what == "runs" else "set TMPDIR to a folder that can be written"
            return Finding("disk", "missing", f"{existing}, for {what}, cannot be written", _LOCAL, fix)
        free = shutil.disk_usage(existing).free
        texts.append(f"{gigabytes(free)} free for {what} ({existing})")
        least = min(least, free)
    fix = "make room, or choose another run_root or TMPDIR"
    if least < MINIMUM_DISK:
        return Finding("disk", "missing", ", ".join(texts), _LOCAL, fix)
    if least < GOOD_DISK:
        return Finding("disk", "warning", ", ".join(texts), (), fix)
    return Finding("disk", "ok", ", ".join(texts))


def _sockets(options: Options) -> Finding:
    name = "ports and files"
    fix = "allow connections on the loopback interface in the firewall or sandbox"
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(5.0)
            with socket.create_connection(server.getsockname(), timeout=5.0):
                server.accept()[0].close()
    except OSError as error:
        return Finding(name, "missing", f"a port of this machine cannot be used: {error}", (*_LOCAL, "notebook"), fix)
    found = "ports can be opened and reached on loopback"
    resource = import_or_none("resource")  # not on Windows
    if resource is None:
        return Finding(name, "ok", found)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = "unlimited" if soft == resource.RLIM_INFINITY else f"{soft}"
    found = f"{found}; open files: {limit}"
    if soft != resource.RLIM_INFINITY and soft < GOOD_OPEN_FILES:
        higher = GOOD_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, GOOD_OPEN_FILES)
        return Finding(name, "warning", found, (), f"ulimit -n {higher}, before starting Python or JupyterLab")
    return Finding(name, "ok", found)


def _compiled(options: Options) -> Finding:
    from minestudio_nb.simulator.cache_folder import is_writable, use_cache

    folder = use_cache()
    command = f"{this_python()} -m minestudio_nb.simulator.compile_cache"
    if not is_writable(folder):
        found = f"{folder} cannot be written, so every process compiles for a minute"
        fix = "set NUMBA_CACHE_DIR to a folder that can be written"
        return Finding("compiled VoxelSim", "warning", found, (), fix)
    if (folder / "complete").is_file():
        return Finding("compiled VoxelSim", "ok", f"in {folder}")
    found = f"not yet in {folder}; the first session compiles for a minute"
    return Finding("compiled VoxelSim", "warning", found, (), command)


def _video(options: Options) -> Finding:
    import av
    import numpy as np

    try:
        with av.open(io.BytesIO(), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=20)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except (OSError, ValueError, av.codec.codec.UnknownCodecError) as error:
        found = f"PyAV {av.__version__} cannot encode H.264 ({error}); videos become GIFs"
        return Finding("video", "warning", found, (), pip_install("--force-reinstall", "--no-deps", "av"))
    return Finding("video", "ok", f"PyAV {av.__version__} encodes H.264")


PROBES: Final = (
    Probe("Python", _python, TARGETS),
    Probe("packages", _packages, TARGETS),
    Probe("cores and memory", _cores, _LOCAL),
    Probe("shared memory", _shared_memory, _LOCAL),
    Probe("disk", _disk, _LOCAL),
    Probe("ports and files", _sockets, (*_LOCAL, "notebook")),
    Probe("compiled VoxelSim", _compiled, ("voxel",), SLOW_SECONDS),
    Probe("video", _video, (), SLOW_SECONDS),
    Probe("JupyterLab", _notebook, ("notebook",)),
)

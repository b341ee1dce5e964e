"""What real Minecraft needs: Java 8, a virtual display, OpenGL, the engine's files, and MinecraftSim itself."""

from __future__ import annotations

import ctypes.util
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from minestudio_nb.doctor.probing import SLOW_SECONDS, Options, Probe, ask_python, output_of, this_python
from minestudio_nb.doctor.report import Finding, Target
from minestudio_nb.environments import foreign

__all__ = ["PROBES"]

_MINECRAFT: Final[tuple[Target, ...]] = ("minecraft",)
ENGINE: Final = Path("engine", "build", "libs", "mcprec-6.13.jar")
"""Where MineStudio looks for the engine, below MINESTUDIO_DIR (MineStudio 1.1.6, simulator/entry.py)."""
_SIMULATOR: Final = """
from importlib.metadata import version
from minestudio.simulator import MinecraftSim
answer["version"] = version("minestudio")
"""
_ENTRY: Final = f"""
import sys
sys.path.insert(0, {str(Path(foreign.__file__).parent)!r})
import foreign
foreign.lend_package()
import minestudio_nb.environments.entry
"""
_IS_THERE: Final = """
from importlib.util import find_spec
answer["there"] = find_spec("minestudio") is not None
"""


def _missing(name: str, found: str, fix: str) -> Finding:
    return Finding(name, "missing", found, _MINECRAFT, fix)


def _java(options: Options) -> Finding:
    fix = "conda install -c conda-forge openjdk=8; or your system's package of a Java 8, first on PATH"
    tool = shutil.which("java")
    if tool is None:
        return _missing("Java 8", "there is no java on PATH", fix)
    status, output = output_of([tool, "-version"])
    match = re.search(r'version "([^"]+)"', output)
    if status or match is None:
        return _missing("Java 8", f"{tool} says: {' '.join(output.split())[:120]}", fix)
    if not match[1].startswith("1.8."):
        return _missing("Java 8", f"{tool} is Java {match[1]}; Minecraft 1.16 runs on Java 8 only", fix)
    return Finding("Java 8", "ok", f"{match[1]} ({tool})")


def _display(options: Options) -> Finding:
    name = "virtual display"
    if sys.platform != "linux":
        return Finding(name, "ok", "the engine uses the screen on this system")
    fix = "apt-get install xvfb xauth; or conda install -c conda-forge xorg-xvfb-server xorg-xauth"
    if os.environ.get("MINESTUDIO_GPU_RENDER") == "1":
        tool = shutil.which("vglrun")
        if tool is None:
            return _missing(name, "MINESTUDIO_GPU_RENDER=1 needs vglrun (VirtualGL)", "unset MINESTUDIO_GPU_RENDER")
        return Finding(name, "ok", f"{tool}, as MINESTUDIO_GPU_RENDER=1 asks")
    lacking = [tool for tool in ("xvfb-run", "Xvfb", "xauth") if shutil.which(tool) is None]
    if lacking:
        screen = os.environ.get("DISPLAY")
        beside = f"; DISPLAY={screen} is there, but the engine starts a screen of its own" if screen else ""
        return _missing(name, f"not on PATH: {', '.join(lacking)}{beside}", fix)
    status, output = output_of(["xvfb-run", "-a", "true"])
    if status:
        return _missing(name, f"xvfb-run fails: {' '.join(output.split())[:120]}", fix)
    return Finding(name, "ok", "xvfb-run starts a screen")


def _opengl(options: Options) -> Finding:
    if sys.platform != "linux":
        return Finding("OpenGL", "ok", "comes with the system")
    prefixes = [sys.prefix, os.environ.get("CONDA_PREFIX", sys.prefix)]
    if options.python:
        prefixes.append(str(Path(options.python).absolute().parents[1]))
    own = (library for prefix in prefixes for library in Path(prefix, "lib").glob("libGL.so*"))
    library = ctypes.util.find_library("GL") or next(own, None)
    if library is None:
        fix = "apt-get install libgl1 libgl1-mesa-dri; or conda install -c conda-forge libgl mesalib"
        return _missing("OpenGL", "no libGL", fix)
    return Finding("OpenGL", "ok", str(library))


def _engine(options: Options) -> Finding:
    named = os.environ.get("MINESTUDIO_DIR")
    folder = Path(named) if named else Path(tempfile.gettempdir(), "MineStudio")
    jar = folder / ENGINE
    python = shlex.quote(options.python) if options.python else "DIR/bin/python"
    fetch = f'{python} -c "from minestudio.simulator.entry import download_engine as get; get()"'
    if not jar.is_file():
        where = "" if named else "export MINESTUDIO_DIR=~/minestudio; "
        comment = "" if options.python else "  # DIR: where --install-minecraft put its interpreter"
        return _missing("engine", f"there is no {jar}", where + fetch + comment)
    found = f"{jar}, {jar.stat().st_size / 2**20:.0f} MB"
    if not named:
        fix = f"move it to a lasting folder, and set MINESTUDIO_DIR: {folder} is for temporary files"
        return Finding("engine", "warning", found, (), fix)
    return Finding("engine", "ok", found)


def _simulator(options: Options) -> Finding:
    name = "MinecraftSim"
    install = (
        f"{this_python()} -m minestudio_nb.doctor --install-minecraft DIR, then env_config.python=DIR/bin/python"
        " (here: --python DIR/bin/python)"
    )
    python = options.python or sys.executable
    if not Path(python).is_file():
        return _missing(name, f"there is no interpreter {python}", install)
    if not ask_python(python, _IS_THERE)["there"]:
        return _missing(name, f"{python} has no minestudio, which needs an interpreter of its own", install)
    try:
        answer = ask_python(python, _SIMULATOR + (_ENTRY if options.python else ""))
    except RuntimeError as error:
        return _missing(name, f"{python} cannot import it: {error}", install)
    return Finding(name, "ok", f"MineStudio {answer['version']} in {python}")


PROBES: Final = (
    Probe("Java 8", _java, _MINECRAFT),
    Probe("virtual display", _display, _MINECRAFT),
    Probe("OpenGL", _opengl, _MINECRAFT),
    Probe("engine", _engine, _MINECRAFT),
    Probe("MinecraftSim", _simulator, _MINECRAFT, SLOW_SECONDS, slow=True),
)

"""Build the interpreter in which MineStudio lives: a virtual environment with its simulator and what that needs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from minestudio_nb.errors import ResourceError

__all__ = ["MINESTUDIO", "install", "verify"]

MINESTUDIO: Final = "minestudio==1.1.6"
REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
MARKER: Final = "minestudio_nb.json"
LOG: Final = "install.log"
OLDEST, NEWEST = (3, 11), (3, 12)
"""Pythons for which all pinned packages exist: numpy 1.26, which OpenCV 4.8 needs, ends with 3.12."""

_STEP_SECONDS = 3600.0
_LAST_LINES = 15
_CHECK = """
import warnings
warnings.simplefilter("ignore")
from minestudio.simulator import MinecraftSim
import minestudio.simulator.callbacks, minestudio.simulator.minerl.env._singleagent
from importlib.metadata import version
print(version("minestudio"), version("torch"), version("numpy"))
"""

Tell = Callable[[str], None]


def _to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def install(
    directory: Path | str, base: str | None = None, torch_index: str | None = None, tell: Tell = _to_stderr
) -> str:
    """Builds the environment in ``directory``, or completes it; returns the path of its interpreter.

    What is there already, and of the right versions, stays. Everything that pip prints goes to ``install.log`` there.

    Args:
        directory: made when it does not exist; it must be empty or come from an earlier call.
        base: the Python to build it from, 3.11 or 3.12; None: this one.
        torch_index: package index for torch alone, such as that of the CPU builds or of one CUDA version; None: pip's
            own settings. MineStudio's simulator only needs torch to be there.
        tell: gets one line for each thing that is done.

    Raises:
        ResourceError: an unsuitable Python or directory, or a package that could not be installed, with pip's reason.
    """
    directory = Path(directory).expanduser().absolute()
    python = directory / "bin" / "python"
    wanted = _fingerprint(torch_index)
    if _marker(directory).get("fingerprint") == wanted and python.is_file():
        tell(f"{directory} is complete; checking it ...")
        tell(f"MineStudio {verify(python)} works: env_config.python={python}")
        return str(python)
    base = base or sys.executable
    _check_python(base)
    if not python.is_file():
        _check_empty(directory)
        tell(f"Making a virtual environment in {directory} ...")
        _run([base, "-m", "venv", str(directory)], directory, "python -m venv")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--no-input"]
    if torch_index is not None:
        (torch,) = (line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if line.startswith("torch="))
        tell(f"Installing {torch} from {torch_index} ...")
        _run([*pip, "--index-url", torch_index, torch], directory, "pip")
    tell(
        "Installing what MineStudio's simulator needs; torch is the largest part, about 200 MB to download or more ..."
    )
    _run([*pip, "-r", str(REQUIREMENTS)], directory, "pip")
    tell(f"Installing {MINESTUDIO} ...")
    _run([*pip, "--no-deps", MINESTUDIO], directory, "pip")
    tell("Checking that MinecraftSim can be imported ...")
    versions = verify(python)
    (directory / MARKER).write_text(json.dumps({"fingerprint": wanted, "versions": versions}), encoding="utf-8")
    tell(f"MineStudio {versions} works: env_config.python={python}")
    return str(python)


def verify(python: Path | str) -> str:
    """Imports MinecraftSim with that interpreter; returns the versions of MineStudio, torch and numpy.

    Raises:
        ResourceError: it cannot be imported, with the reason.
    """
    with tempfile.TemporaryDirectory() as scratch:  # importing it makes folders in MINESTUDIO_DIR
        environment = {**os.environ, "MINESTUDIO_DIR": scratch, "PYTHONPATH": ""}
        try:
            done = subprocess.run(
                [str(python), "-c", _CHECK], capture_output=True, text=True, timeout=300.0, env=environment, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ResourceError(f"{python} could not import MinecraftSim: {error}") from error
    if done.returncode:
        reason = "\n".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
        raise ResourceError(
            f"MineStudio is installed, but {python} cannot import MinecraftSim:\n{reason}\n"
            "Where a system library is named, install it; otherwise remove the folder and install anew."
        )
    own, torch, numpy = done.stdout.split()[-3:]
    return f"{own} (torch {torch}, numpy {numpy})"


def _check_python(base: str) -> None:
    code = "import sys, ensurepip, venv; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([base, "-c", code], capture_output=True, text=True, timeout=60.0, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ResourceError(f"The Python {base} cannot be started: {error}. Name another one.") from error
    if done.returncode:
        raise ResourceError(
            f"{base} cannot make virtual environments: {done.stderr.strip().splitlines()[-1]}. "
            "On Debian or Ubuntu: apt-get install python3-venv."
        )
    major, minor = (int(number) for number in done.stdout.split())
    if not OLDEST <= (major, minor) <= NEWEST:
        raise ResourceError(
            f"MineStudio's packages exist for Python {OLDEST[0]}.{OLDEST[1]} and {NEWEST[0]}.{NEWEST[1]}, but {base} "
            f"is {major}.{minor}. Name one of those: --base python{NEWEST[0]}.{NEWEST[1]}."
        )


def _check_empty(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(entry.name != LOG for entry in directory.iterdir())):
        raise ResourceError(
            f"{directory} is not an environment of an earlier call, and not empty. Name a new folder, or remove it."
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{directory} cannot be made: {error}. Name a folder that you may write to.") from error


def _run(command: Sequence[str], directory: Path, what: str) -> None:
    """Runs a step with its output in the log; ResourceError with the last lines when it fails."""
    log = directory / LOG
    with log.open("ab") as file:
        file.write(f"$ {' '.join(command)}\n".encode())
        file.flush()
        begin = file.tell()
        environment = {**os.environ, "PYTHONPATH": "", "PYTHONWARNINGS": "ignore"}
        try:
            done = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, timeout=_STEP_SECONDS, env=environment, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ResourceError(f"{what} failed: {error}. All of its output is in {log}.") from error
    if done.returncode:
        with log.open("rb") as file:
            file.seek(begin)
            lines = file.read().decode("utf-8", "replace").splitlines()
        reason = "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
        raise ResourceError(
            f"{what} failed with status {done.returncode}:\n{reason}\nAll of its output is in {log}. What is installed "
            "stays; call again when the cause is gone."
        )


def _marker(directory: Path) -> dict[str, str]:
    try:
        found = json.loads((directory / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _fingerprint(torch_index: str | None) -> str:
    text = "\n".join((REQUIREMENTS.read_text(encoding="utf-8"), MINESTUDIO, torch_index or ""))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

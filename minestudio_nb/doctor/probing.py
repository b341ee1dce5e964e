"""Looking at one thing after the other, each with a deadline, none able to raise."""

from __future__ import annotations

import importlib
import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from minestudio_nb.doctor.report import Finding, Target

__all__ = ["Options", "Probe", "ask_python", "examine", "output_of", "pip_install", "this_python"]

QUICK_SECONDS: Final = 20.0
SLOW_SECONDS: Final = 180.0
"""Importing torch or MinecraftSim from a slow disk, or starting Ray on a busy machine."""
_MARK: Final = "minestudio_nb-doctor:"


@dataclass(frozen=True)
class Options:
    """What :func:`minestudio_nb.doctor.doctor` was called with."""

    python: str | None = None
    address: str | None = None
    run_root: Path = Path("runs")
    quick: bool = False
    target: Target = "voxel"


@dataclass(frozen=True)
class Probe:
    """One thing to look at.

    Attributes:
        name: in the report.
        look: gives the finding.
        serves: what cannot be done without it; taken as blocked when ``look`` raises or misses the deadline.
        seconds: the deadline.
        slow: skipped when the doctor is asked to be quick.
    """

    name: str
    look: Callable[[Options], Finding]
    serves: tuple[Target, ...] = ()
    seconds: float = QUICK_SECONDS
    slow: bool = False


def examine(options: Options) -> list[Finding]:
    """All findings, in the order of the probes, which run side by side."""
    from minestudio_nb.doctor import learning, machine, minecraft

    return run_probes([*machine.PROBES, *learning.PROBES, *minecraft.PROBES], options)


def run_probes(probes: Sequence[Probe], options: Options) -> list[Finding]:
    """Runs probes, each on a thread of its own; one that misses its deadline is left behind, as ``unknown``."""
    results: dict[str, Finding] = {}

    def look(probe: Probe) -> None:
        if probe.slow and options.quick:
            results[probe.name] = Finding(probe.name, "skipped", "not looked at, to be quick", probe.serves)
            return
        try:
            results[probe.name] = probe.look(options)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a machine, the report must come
            cause = f"{type(error).__name__}: {error}"
            results[probe.name] = Finding(probe.name, "unknown", f"looking failed: {cause}", probe.serves)

    began = time.monotonic()
    threads = [threading.Thread(target=look, args=(p,), name=f"doctor-{p.name}", daemon=True) for p in probes]
    for thread in threads:
        thread.start()
    findings = []
    for probe, thread in zip(probes, threads, strict=True):
        thread.join(max(0.0, began + probe.seconds - time.monotonic()))
        late = Finding(probe.name, "unknown", f"no answer within {probe.seconds:.0f} s", probe.serves)
        findings.append(results.get(probe.name, late))
    return findings


def output_of(command: Sequence[str], seconds: float = QUICK_SECONDS / 2) -> tuple[int, str]:
    """Exit status, and standard output and error together, of a command that must end within ``seconds``.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it did not end; it was killed.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        check=False,
        text=True,
        errors="replace",
    )
    return done.returncode, done.stdout


def ask_python(python: str, code: str, seconds: float = SLOW_SECONDS - 10) -> dict[str, Any]:
    """What ``code`` puts into the dict ``answer``, run by an interpreter in a process of its own.

    Nothing that is imported for a look gets into the process that looks, and nothing that crashes takes it along.

    Raises:
        RuntimeError: the code failed; the text is its last line of output.
    """
    whole = f"import json\nanswer = {{}}\n{code}\nprint({_MARK!r} + json.dumps(answer))"
    status, output = output_of([python, "-c", whole], seconds)
    for line in reversed(output.splitlines()):
        if line.startswith(_MARK):
            answer: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            return answer
    lines = output.strip().splitlines()
    raise RuntimeError(lines[-1] if lines else f"{python} ended with status {status} and said nothing")


def this_python() -> str:
    """The running interpreter, as a word of a shell command."""
    return shlex.quote(sys.executable or "python")


def pip_install(*what: str) -> str:
    """The command that installs packages into the running interpreter."""
    return f"{this_python()} -m pip install {' '.join(shlex.quote(item) for item in what)}"


def import_or_none(name: str) -> Any:
    """A module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None

"""What this machine lacks for what you want to do, and the command that fixes it. ::

    import minestudio_nb as ms
    ms.doctor()                                                         # in a notebook
    ms.doctor("minecraft", python="~/minecraft/bin/python")

    python -m minestudio_nb.doctor --for gpu                            # in a shell; exit status 0: nothing blocks
    python -m minestudio_nb.doctor --install-minecraft ~/minecraft      # real Minecraft, in an interpreter of its own

Only the standard library is imported here: the doctor has to work where packages are missing.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

from minestudio_nb.doctor.probing import Options, examine
from minestudio_nb.doctor.report import TARGETS, DoctorReport, Finding, Target

__all__ = ["TARGETS", "DoctorReport", "Finding", "Target", "doctor"]


def doctor(
    target: Target = "voxel",
    *,
    python: str | Path | None = None,
    address: str | None = None,
    run_root: str | Path = "runs",
    quick: bool = False,
) -> DoctorReport:
    """Examines this machine. Takes some seconds, never raises for what it finds, and changes nothing.

    Args:
        target: what ``report.ok`` and the exit status are about; everything is examined for every target.
        python: interpreter of real Minecraft, as in ``env_config.python``; None looks in this one.
        address: of a Ray cluster to ask; needed for ``target="cluster"``, unless ``RAY_ADDRESS`` says it.
        run_root: where runs would be written.
        quick: leave out what takes long: starting Ray for a moment, asking torch, importing MinecraftSim.

    Raises:
        ValueError: unknown target.
    """
    if target not in TARGETS:
        raise ValueError(f"target is one of {', '.join(TARGETS)}; got {target!r}")
    options = Options(
        python=str(Path(python).expanduser()) if python is not None else None,
        address=address,
        run_root=Path(run_root),
        quick=quick,
        target=target,
    )
    return DoctorReport(target, tuple(examine(options)))


class _CallableModule(types.ModuleType):
    """``minestudio_nb.doctor`` is this module once somebody has imported it; calling it is calling :func:`doctor`."""

    def __call__(self, *args: Any, **kwargs: Any) -> DoctorReport:
        return doctor(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule

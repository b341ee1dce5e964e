"""``python -m minestudio_nb.doctor``: what this machine lacks, and installing real Minecraft.

Exit status: 0 nothing blocks what was asked for, 1 something does, 2 the installation failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from minestudio_nb.doctor import TARGETS, Target, doctor
from minestudio_nb.errors import MineStudioError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status."""
    options = _parser().parse_args(arguments)
    python = options.python
    if options.install_minecraft is not None:
        from minestudio_nb.environments.minecraft.install import install

        try:
            python = install(options.install_minecraft, options.base, options.torch_index)
        except MineStudioError as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            return 2
    target: Target = options.target or ("minecraft" if options.install_minecraft is not None else "voxel")
    if not (options.quick or options.json):
        sys.stderr.write("Looking; Ray is started for a moment, which takes some seconds ...\n")
    report = doctor(target, python=python, address=options.address, run_root=options.run_root, quick=options.quick)
    sys.stdout.write((report.to_json() if options.json else str(report)) + "\n")
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minestudio_nb.doctor",
        description="What this machine lacks for what you want to do, and the command that fixes it.",
    )
    parser.add_argument("--for", dest="target", choices=TARGETS, help="what the exit status is about (default: voxel)")
    parser.add_argument("--python", help="interpreter of real Minecraft, as in env_config.python")
    parser.add_argument("--address", help="Ray cluster to ask, HOST:PORT (default: RAY_ADDRESS)")
    parser.add_argument("--run-root", default="runs", help="where runs would be written (default: runs)")
    parser.add_argument("--quick", action="store_true", help="leave out what takes long: Ray, torch, MinecraftSim")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    parser.add_argument(
        "--install-minecraft",
        metavar="DIR",
        type=Path,
        help="first make an interpreter with MineStudio in DIR; env_config.python is then DIR/bin/python",
    )
    parser.add_argument("--base", metavar="PYTHON", help="with it: the Python to build from (default: this one)")
    parser.add_argument("--torch-index", metavar="URL", help="with it: package index for torch alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())

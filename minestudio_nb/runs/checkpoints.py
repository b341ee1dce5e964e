"""Which checkpoints a folder holds, and which of them comes first; for whoever need not read what is in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

__all__ = ["LATEST", "checkpoint_folders", "how_to_go_on", "iteration_of", "newest_first"]

LATEST = "latest"
"""The file with the name of the checkpoint that was written last."""

_FOLDER = re.compile(r"iteration_(\d{6,})(?:-([A-Za-z0-9._-]{1,64}))?")


def iteration_of(folder: Path) -> int:
    """The iteration in a checkpoint's name, -1 where it is none."""
    match = _FOLDER.fullmatch(folder.name)
    return int(match.group(1)) if match else -1


def checkpoint_folders(directory: Path) -> list[Path]:
    """The checkpoints in ``directory`` by their names, that of the lowest iteration first."""
    if not directory.is_dir():
        return []
    found = [path for path in directory.iterdir() if _FOLDER.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: (iteration_of(path), path.name))


def newest_first(directory: Path) -> list[Path]:
    """The checkpoint that was written last, those before it, and then those after it, which a resume left behind.

    Times of files decide nothing: copying a run changes them, and clocks of machines differ.
    """
    folders = checkpoint_folders(directory)[::-1]
    try:
        named = directory / (directory / LATEST).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return folders
    if named not in folders:
        return folders
    place = folders.index(named)
    return folders[place:] + folders[:place]


def how_to_go_on(run: Path) -> str:
    """One sentence with the command that goes on with the run in ``run`` from its newest checkpoint.

    Where functions of a notebook are part of its configuration, only the notebook can: the sentence says so.
    """
    name, config = run.name, run / "config.yaml"
    if not checkpoint_folders(run / "checkpoints"):
        return f"It has saved no checkpoint yet, so it can only be started anew, under another name or without {run}."
    saved = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else "generator_module: <"
    if re.search(r"^generator_module: ['\"]?<", saved, re.MULTILINE):
        return (
            "Go on from its newest checkpoint where its functions are: "
            f"OnlineSession({name!r}, run_root={str(run.parent)!r}), then load_config(..., resume={name!r})."
        )
    words = ["python", "-m", "minestudio_nb.run", str(config), "--name", name]
    words += ["--run-root", str(run.parent), "--resume", name]
    return f"Go on from its newest checkpoint: {shlex.join(words)}"

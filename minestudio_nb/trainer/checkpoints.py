"""Checkpoints: one folder each with weights, optimizer, numbers and random states, as safetensors and JSON.

A folder is written beside its final name and then renamed: what has the name is complete. Nothing is pickled. ::

    checkpoints/iteration_000040/           kept: a multiple of keep_interval
    checkpoints/iteration_000047-before_x/  kept: asked for, with a label
    checkpoints/iteration_000050/           kept: the newest
        weights.safetensors                 the policy, by parameter name
        state.json, state.safetensors       everything else
    checkpoints/latest                      the name of the one that was written last
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from minestudio_nb.errors import CheckpointError, WeightsError
from minestudio_nb.policies import load_weights, save_weights
from minestudio_nb.trainer.packing import pack, unpack

__all__ = [
    "LATEST",
    "Checkpoint",
    "CheckpointStore",
    "Outline",
    "branch_off",
    "copy_checkpoint",
    "find_checkpoint",
    "outline",
]

FORMAT = 1
LATEST = "latest"
_FOLDER = re.compile(r"iteration_(\d{6,})(?:-([A-Za-z0-9._-]{1,64}))?")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds; all plain data, arrays and tensors.

    ``state`` are the trainer's numbers; ``reference`` the reference policy's weights where they are not the initial
    ones; ``extra`` what the runtime keeps beside them, such as the states of environments for a bit-equal resume.
    """

    iteration: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    state: Mapping[str, Any]
    reference: Mapping[str, Tensor] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outline:
    """How far training had come at a checkpoint; what a look into its small file tells."""

    iteration: int
    env_steps: int
    minutes: float
    """Of training, pauses not counted."""
    edits: Mapping[str, Any]
    """Live edits in force, by key."""


class CheckpointStore:
    """The checkpoints of one run. One writer, any number of readers.

    Args:
        directory: the folder that holds them; made when the first is written.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def save(self, checkpoint: Checkpoint, label: str = "", keep_interval: int = 1) -> Path:
        """Writes a checkpoint, then deletes those that need not be kept. Returns its folder.

        Of checkpoints without a label those stay whose iteration is a multiple of ``keep_interval``, and the newest.
        """
        name = f"iteration_{checkpoint.iteration:06d}" + (f"-{_checked(label)}" if label else "")
        target, partial = self.directory / name, self.directory / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        parts = {key: getattr(checkpoint, key) for key in ("optimizer", "state", "reference", "extra")}
        tree, tensors = pack(parts)
        save_weights(partial / "weights.safetensors", checkpoint.weights)
        save_file(tensors, str(partial / "state.safetensors"))
        text = json.dumps({"format": FORMAT, "iteration": checkpoint.iteration, "tree": tree})
        (partial / "state.json").write_text(text, encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        self._point_to(target)
        self._prune(keep_interval, target)
        return target

    def folders(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        if not self.directory.is_dir():
            return []
        found = [path for path in self.directory.iterdir() if _FOLDER.fullmatch(path.name) and path.is_dir()]
        return sorted(found, key=lambda path: (_iteration(path), path.name))

    def load(self, source: str | Path = LATEST) -> Checkpoint:
        """Reads the newest checkpoint of this run, or the one in the folder ``source``.

        Raises:
            CheckpointError: there is none, or its files are missing, damaged, or of another format.
        """
        if str(source) != LATEST:
            return _read(Path(source))
        newest = self.newest()
        if newest is None:
            raise CheckpointError(f"There is no checkpoint in {self.directory}.")
        return _read(newest)

    def newest(self) -> Path | None:
        """The checkpoint that was written last, which after a resume need not be that of the highest iteration."""
        folders = self.folders()
        pointer = self.directory / LATEST
        if pointer.is_file():
            named = self.directory / pointer.read_text(encoding="utf-8").strip()
            if named in folders:
                return named
        return folders[-1] if folders else None

    def find(self, wanted: int | str) -> Path:
        """The checkpoint of an iteration, or of a label or folder name; the newest where several fit.

        Raises:
            CheckpointError: there is none; the message lists those that there are.
        """
        folders = self.folders()
        text = str(wanted)
        for path in reversed(folders):
            label = path.name.partition("-")[2]
            if text in (path.name, label) or (text.isdecimal() and _iteration(path) == int(text)):
                return path
        there = ", ".join(path.name for path in folders) or "none yet"
        raise CheckpointError(
            f"There is no checkpoint {wanted!r} in {self.directory}; there are: {there}. Of those without a label "
            "only the newest stays, and those of iterations that are multiples of train_config.keep_interval."
        )

    def _point_to(self, target: Path) -> None:
        partial = self.directory / f".{LATEST}.partial"
        partial.write_text(target.name + "\n", encoding="utf-8")
        partial.replace(self.directory / LATEST)

    def _prune(self, keep_interval: int, newest: Path) -> None:
        for path in self.folders():
            if path != newest and "-" not in path.name and _iteration(path) % keep_interval:
                shutil.rmtree(path, ignore_errors=True)


def find_checkpoint(source: str, own: CheckpointStore) -> Path:
    """The folder that ``train_config.resume`` means.

    ``source`` is ``"latest"`` (the newest of this run), a checkpoint's folder, a run's folder or its ``checkpoints``,
    or the name of a run beside this one, whose newest checkpoint is meant.

    Raises:
        CheckpointError: nothing of that kind is there.
    """
    candidates = [own.directory] if source == LATEST else [Path(source), Path(source) / "checkpoints"]
    if _NAME.fullmatch(source):
        candidates.append(own.directory.parent.parent / source / "checkpoints")
    for candidate in candidates:
        if (candidate / "state.json").is_file():
            return candidate
        newest = CheckpointStore(candidate).newest()
        if newest is not None:
            return newest
    raise CheckpointError(
        f"No checkpoint found for resume = {source!r}; looked in {', '.join(str(path) for path in candidates)}. "
        "Give a checkpoint's folder, or the name of a run that has saved one."
    )


def outline(folder: Path) -> Outline:
    """How far training had come at the checkpoint in ``folder``; reads no tensors.

    Raises:
        CheckpointError: the folder is no complete checkpoint of this package.
    """
    document = _document(folder)
    try:
        progress = unpack(_item(_item(document["tree"], "state"), "progress"), {})
        edits = {str(key): value for key, (_, value) in progress["edits"].items()}
        return Outline(progress["iteration"], progress["env_steps"], progress["seconds"] / 60.0, edits)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} does not say how far training had come: {error!r}.") from error


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copies a checkpoint to the folder ``target``, so that it stays when its own run deletes it.

    Large files become links where the file system allows, since nobody ever writes into a checkpoint.

    Raises:
        CheckpointError: ``source`` is incomplete, or was deleted meanwhile; ``target`` is gone then.
    """
    try:
        target.mkdir(parents=True)
        for name in ("weights.safetensors", "state.safetensors"):
            _link(source / name, target / name)
        shutil.copyfile(source / "state.json", target / "state.json")
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise CheckpointError(f"The checkpoint {source} cannot be copied: {error}.") from error


def branch_off(folder: Path, keep_rollout: bool = True, keep_statistics: bool = True) -> None:
    """Makes the checkpoint in ``folder``, a copy, one to begin another run with: no live edits are in force in it.

    Args:
        keep_rollout: false leaves out the states of workers and environments, which then begin new episodes.
        keep_statistics: false leaves out the statistics of finished episodes.
    """
    document = _document(folder)
    _put(document["tree"], {}, "state", "progress", "edits")
    if not keep_rollout:
        _put(document["tree"], [], "extra", "workers")
    if not keep_statistics:
        _put(document["tree"], {"returns": [], "tasks": {}}, "extra", "hub", "statistics")
    (folder / "state.json").write_text(json.dumps(document), encoding="utf-8")


def _document(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} is not a complete checkpoint: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CheckpointError(f"{folder} is of another format than this package's, {FORMAT}.")
    return document


def _item(packed: Any, key: str) -> Any:
    """The packed value at ``key`` of a packed dict; KeyError where there is none."""
    return dict((name, value) for name, value in packed["items"])[key]


def _put(packed: Any, value: Any, *path: str) -> None:
    """Replaces the value at ``path`` of packed dicts, in place; where a part of the path is absent nothing happens."""
    for pair in packed["items"]:
        if pair[0] == path[0]:
            if len(path) == 1:
                pair[1], tensors = pack(value)
                assert not tensors, "a replacement holds plain values only"
            else:
                _put(pair[1], value, *path[1:])


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _read(folder: Path) -> Checkpoint:
    document = _document(folder)
    try:
        tensors = load_file(str(folder / "state.safetensors"))
        weights = load_weights(folder / "weights.safetensors")
    except (OSError, ValueError, SafetensorError, WeightsError) as error:
        raise CheckpointError(f"{folder} is not a complete checkpoint: {error}") from error
    return Checkpoint(iteration=int(document["iteration"]), weights=weights, **unpack(document["tree"], tensors))


def _iteration(folder: Path) -> int:
    match = _FOLDER.fullmatch(folder.name)
    return int(match.group(1)) if match else -1


def _checked(label: str) -> str:
    if not _NAME.fullmatch(label):
        raise CheckpointError(f"A checkpoint's label is 1 to 64 letters, digits, dots, - and _; {label!r} came.")
    return label

"""Checkpoints: one folder each with weights, optimizer, numbers and random states, as safetensors and JSON.

A folder is written beside its final name, brought to the disk, and renamed: what has the name is complete. Checksums
tell what a disk damaged later. Nothing is pickled. ::

    checkpoints/iteration_000040/           kept: a multiple of keep_interval
    checkpoints/iteration_000047-before_x/  kept: asked for, with a label
    checkpoints/iteration_000050/           kept: the newest
        weights.safetensors                 the policy, by parameter name
        state.json, state.safetensors       everything else, and the checksums
    checkpoints/latest                      the name of the one that was written last
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from minestudio_nb.errors import CheckpointError, WeightsError
from minestudio_nb.policies import load_weights
from minestudio_nb.runs import write_atomically
from minestudio_nb.runs.checkpoints import LATEST, checkpoint_folders, iteration_of, newest_first
from minestudio_nb.trainer.packing import pack, unpack

__all__ = [
    "LATEST",
    "Checkpoint",
    "CheckpointStore",
    "Frozen",
    "Outline",
    "branch_off",
    "copy_checkpoint",
    "find_checkpoint",
    "find_checkpoints",
    "freeze_checkpoint",
    "outline",
    "read_newest",
]

FORMAT = 1
WEIGHTS, STATE, DOCUMENT = "weights.safetensors", "state.safetensors", "state.json"
PARTIAL, REPLACED = ".partial", ".replaced"
"""Ends of the hidden names of a checkpoint that is being written, and of one whose name another is about to take."""
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

        Raises:
            CheckpointError: the label is none, something cannot be saved, or the disk refused it. Nothing of it is left
                then, and the checkpoints before it are as they were.
        """
        return self.write(freeze_checkpoint(checkpoint), label, keep_interval)

    def write(self, frozen: Frozen, label: str = "", keep_interval: int = 1) -> Path:
        """As :meth:`save`, with what :func:`freeze_checkpoint` made; any thread may do it, one at a time."""
        name = f"iteration_{frozen.iteration:06d}" + (f"-{_checked(label)}" if label else "")
        target, partial = self.directory / name, self.directory / f".{name}{PARTIAL}"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            _write_files(partial, frozen)
            self._put_in_place(partial, target)
            self.point_to(target)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise CheckpointError(f"The checkpoint {name} could not be written: {error}.") from error
        self._prune(keep_interval, target)
        return target

    def point_to(self, folder: Path) -> None:
        """Makes ``folder`` the one that a trainer goes on from, where it is one of these."""
        if folder.parent == self.directory:
            write_atomically(self.directory / LATEST, folder.name + "\n")

    def tidy(self) -> None:
        """Removes what a writer that was killed has left, and puts back what it was about to replace.

        Only for the one who writes.
        """
        for path in self.directory.glob(f".*{REPLACED}") if self.directory.is_dir() else ():
            target = self.directory / path.name[1 : -len(REPLACED)]
            if target.exists():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.rename(target)
        for path in self.directory.glob(f".*{PARTIAL}"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.directory.glob(f".{LATEST}.*.tmp"):
            path.unlink(missing_ok=True)

    def folders(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return checkpoint_folders(self.directory)

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
        return next(iter(newest_first(self.directory)), None)

    def find(self, wanted: int | str) -> Path:
        """The checkpoint of an iteration, or of a label or folder name; the newest where several fit.

        Raises:
            CheckpointError: there is none; the message lists those that there are.
        """
        folders = self.folders()
        text = str(wanted)
        for path in reversed(folders):
            label = path.name.partition("-")[2]
            if text in (path.name, label) or (text.isdecimal() and iteration_of(path) == int(text)):
                return path
        there = ", ".join(path.name for path in folders) or "none yet"
        raise CheckpointError(
            f"There is no checkpoint {wanted!r} in {self.directory}; there are: {there}. Of those without a label "
            "only the newest stays, and those of iterations that are multiples of train_config.keep_interval."
        )

    def _put_in_place(self, partial: Path, target: Path) -> None:
        """Gives a complete folder its name. One that has it already makes room for as long as two renames take."""
        aside = self.directory / f".{target.name}{REPLACED}"
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
            target.rename(aside)
        partial.rename(target)
        _sync(self.directory)
        shutil.rmtree(aside, ignore_errors=True)

    def _prune(self, keep_interval: int, newest: Path) -> None:
        for path in self.folders():
            if path != newest and "-" not in path.name and iteration_of(path) % keep_interval:
                shutil.rmtree(path, ignore_errors=True)


class Frozen(NamedTuple):
    """A checkpoint that no longer changes with what it was taken from; what is written."""

    iteration: int
    weights: Mapping[str, Tensor]
    tree: Any
    tensors: Mapping[str, Tensor]


def freeze_checkpoint(checkpoint: Checkpoint) -> Frozen:
    """Copies all that ``checkpoint`` holds to the CPU's memory.

    Raises:
        CheckpointError: something in it is neither plain data nor an array nor a tensor.
    """
    parts = {key: getattr(checkpoint, key) for key in ("optimizer", "state", "reference", "extra")}
    tree, tensors = pack(parts)
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in checkpoint.weights.items()}
    return Frozen(checkpoint.iteration, weights, tree, tensors)


def find_checkpoint(source: str, own: CheckpointStore) -> Path:
    """The folder that ``train_config.resume`` means.

    ``source`` is ``"latest"`` (the newest of this run), a checkpoint's folder, a run's folder or its ``checkpoints``,
    or the name of a run beside this one, whose newest checkpoint is meant.

    Raises:
        CheckpointError: nothing of that kind is there.
    """
    return find_checkpoints(source, own)[0]


def find_checkpoints(source: str, own: CheckpointStore) -> list[Path]:
    """As :func:`find_checkpoint`, with those to take instead where a folder is damaged, the best first.

    Where ``source`` names one folder, that alone is meant.
    """
    candidates = [own.directory] if source == LATEST else [Path(source), Path(source) / "checkpoints"]
    if _NAME.fullmatch(source):
        candidates.append(own.directory.parent.parent / source / "checkpoints")
    for candidate in candidates:
        if (candidate / DOCUMENT).is_file() or (iteration_of(candidate) >= 0 and candidate.is_dir()):
            return [candidate]
        folders = newest_first(candidate)
        if folders:
            return folders
    raise CheckpointError(
        f"No checkpoint found for resume = {source!r}; looked in {', '.join(str(path) for path in candidates)}. "
        "Give a checkpoint's folder, or the name of a run that has saved one."
    )


def read_newest(folders: Iterable[Path]) -> tuple[Path, Checkpoint, list[str]]:
    """The first of ``folders`` that can be read, with its contents, and why those before it cannot be.

    Raises:
        CheckpointError: none can be read; says why each cannot.
    """
    problems: list[str] = []
    for folder in folders:
        try:
            return folder, _read(folder), problems
        except CheckpointError as error:
            problems.append(str(error))
    raise CheckpointError(" ".join(problems))


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
        for name in (WEIGHTS, STATE):
            _link(source / name, target / name)
        shutil.copyfile(source / DOCUMENT, target / DOCUMENT)
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
    _put(document["tree"], 0, "extra", "hub", "episodes")  # those are the other run's
    checksums = document.get("checksums", {})
    text = _document_text(document["iteration"], document["tree"], checksums)
    (folder / DOCUMENT).write_text(text, encoding="utf-8")


# Files.


def _write_files(folder: Path, frozen: Frozen) -> None:
    """Writes a checkpoint's three files and brings them to the disk."""
    save_file(dict(frozen.weights), str(folder / WEIGHTS))
    save_file(dict(frozen.tensors), str(folder / STATE))
    checksums = {}
    for name in (WEIGHTS, STATE):
        _sync(folder / name)
        checksums[name] = _checksum(folder / name)
    text = _document_text(frozen.iteration, frozen.tree, checksums)
    (folder / DOCUMENT).write_text(text, encoding="utf-8")
    _sync(folder / DOCUMENT)
    _sync(folder)


def _document_text(iteration: int, tree: Any, checksums: Mapping[str, int]) -> str:
    """``state.json``. Its checksums are CRC-32, which finds damage by chance, not by intent."""
    known = {**checksums, DOCUMENT: _checksum_of_tree(iteration, tree)}
    return json.dumps({"format": FORMAT, "iteration": iteration, "tree": tree, "checksums": known})


def _checksum_of_tree(iteration: int, tree: Any) -> int:
    return zlib.crc32(json.dumps([iteration, tree]).encode())


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            value = zlib.crc32(piece, value)
    return value


def _sync(path: Path) -> None:
    """Returns when what is in a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _document(folder: Path) -> dict[str, Any]:
    """What ``state.json`` holds; CheckpointError where it is missing, cut, damaged or of another format."""
    try:
        document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} is not a complete checkpoint: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CheckpointError(f"{folder} is of another format than this package's, {FORMAT}.")
    wanted = document.get("checksums", {}).get(DOCUMENT)
    if wanted is not None and wanted != _checksum_of_tree(document.get("iteration"), document.get("tree")):
        raise CheckpointError(f"{folder} is damaged: {DOCUMENT} is not what was written.")
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
    checksums = document.get("checksums", {})  # older checkpoints have none
    try:
        for name in (WEIGHTS, STATE):
            if name in checksums and checksums[name] != _checksum(folder / name):
                raise CheckpointError(f"{folder} is damaged: {name} is not what was written.")
        tensors = load_file(str(folder / STATE))
        weights = load_weights(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError, WeightsError) as error:
        raise CheckpointError(f"{folder} is not a complete checkpoint: {error}") from error
    return Checkpoint(iteration=int(document["iteration"]), weights=weights, **unpack(document["tree"], tensors))


def _checked(label: str) -> str:
    if not _NAME.fullmatch(label):
        raise CheckpointError(f"A checkpoint's label is 1 to 64 letters, digits, dots, - and _; {label!r} came.")
    return label

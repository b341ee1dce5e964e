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

__all__ = ["LATEST", "Checkpoint", "CheckpointStore", "find_checkpoint"]

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


def _read(folder: Path) -> Checkpoint:
    try:
        document = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        tensors = load_file(str(folder / "state.safetensors"))
        weights = load_weights(folder / "weights.safetensors")
    except (OSError, ValueError, SafetensorError, WeightsError) as error:
        raise CheckpointError(f"{folder} is not a complete checkpoint: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CheckpointError(f"{folder} is of another format than this package's, {FORMAT}.")
    return Checkpoint(iteration=int(document["iteration"]), weights=weights, **unpack(document["tree"], tensors))


def _iteration(folder: Path) -> int:
    match = _FOLDER.fullmatch(folder.name)
    return int(match.group(1)) if match else -1


def _checked(label: str) -> str:
    if not _NAME.fullmatch(label):
        raise CheckpointError(f"A checkpoint's label is 1 to 64 letters, digits, dots, - and _; {label!r} came.")
    return label

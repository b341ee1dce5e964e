"""The files of a run whose session lives on machines that do not see the notebook's disk.

The run directory then lies on the machine of the cluster's head, below ``MSNB_RUN_ROOT`` of the head's environment or
:data:`FAR_ROOT`, and what is not too large comes home into the notebook's own directory: when the session starts, when
a checkpoint or a recording was made, when it ends, and with every ``attach``. So reports, comparisons and resumes work
at home as if the session had run there.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from minestudio_nb.config.placement import asks, place
from minestudio_nb.errors import ResourceError, RunError
from minestudio_nb.runs import RunDirectory
from minestudio_nb.runtime.base import RuntimeSpec
from minestudio_nb.runtime.calls import call
from minestudio_nb.runtime.names import ON_THE_HEAD
from minestudio_nb.runtime.survey import survey

if TYPE_CHECKING:
    from minestudio_nb.config.load import LoadedConfig

__all__ = ["FAR_ROOT", "Courier", "FarFile", "list_files", "read_part", "settle"]

logger = logging.getLogger(__name__)

FAR_ROOT = "~/minestudio_nb_runs"
LARGEST = 256 * 2**20
"""Bytes; larger files stay where they are, so that no tunnel is busy for an hour with weights nobody asked for."""
PART = 16 * 2**20
"""Bytes of one message."""
MAKE_SECONDS = 300.0
"""Deadline for a checkpoint that is resumed from to reach the cluster."""
_AT_HOME = ("run.json", "report.html", "curves.png", "summary.json")
"""Files that the session object writes itself."""


@dataclass(frozen=True)
class FarFile:
    """A file of the run directory on the head's machine."""

    name: str
    """Its path in the run directory."""
    size: int
    changed_at: int
    """Nanoseconds; with the size it tells whether a copy is still the same."""


def settle(spec: RuntimeSpec, run: RunDirectory, marker: Path, mark: str) -> RuntimeSpec:
    """What the session is started with in a cluster, whose nodes are surveyed: where its run directory lies for them,
    and which of them may train.

    Args:
        run: the notebook's directory of the run, with ``marker``, a file that holds ``mark``.

    Raises ResourceError when a node cannot run the session, or none can both train and write the run's files; RunError
    when the head's machine has another run of that name.
    """
    address = str(spec.address)
    answers = survey(address, marker, mark)
    if not answers[0].sees_run:
        root, config = _make_far_run(spec, run, mark)
        spec = replace(spec, run_root=root, config=config, far=True)
        answers = survey(address, Path(root, spec.session, marker.name), mark)
    seeing = [answer.node for answer in answers if answer.sees_run]
    if len(seeing) < len(answers):
        if place([asks(spec.config.config)[1]], seeing)[0].missing:
            raise ResourceError(
                f"The trainer writes checkpoints to the run directory in {spec.run_root}, and no node that sees it has "
                f"room for the trainer; these do: {', '.join(node.name for node in seeing) or 'none'}. Let it train "
                "there, or keep runs on a file system that all machines share (run_root, or MSNB_RUN_ROOT in the "
                "head's environment)."
            )
        spec = replace(spec, trainer_nodes=tuple(node.node_id for node in seeing))
    return spec


def _make_far_run(spec: RuntimeSpec, run: RunDirectory, mark: str) -> tuple[str, LoadedConfig]:
    """Makes the run directory on the head's machine, with a checkpoint that only this machine sees."""
    from minestudio_nb.trainer import CheckpointStore, find_checkpoint

    config = spec.config
    resume = config.config.train_config.resume
    folder = find_checkpoint(resume, CheckpointStore(run.checkpoints)) if resume else None
    goes_on = folder is not None and folder.resolve().is_relative_to(run.path)
    checkpoint = {} if folder is None else {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    files = {name: text.encode() for name, text in config.files().items()}
    names = {} if folder is None else {f"origin/{folder.name}/{name}": data for name, data in checkpoint.items()}
    marker = next(path.name for path in run.path.glob(".seen-*"))
    made = ray.remote(_make_run).options(num_cpus=0, resources=ON_THE_HEAD, max_retries=0)
    root: str = call(
        made.remote(spec.session, {**files, **names, marker: mark.encode()}, goes_on),
        MAKE_SECONDS,
        "the cluster's head",
    )
    if folder is not None:
        there = str(Path(root, spec.session, "origin", folder.name))
        config = replace(config, config=config.config.with_value("train_config.resume", there))
    return root, config


def _make_run(session: str, files: Mapping[str, bytes], goes_on: bool) -> str:
    """Runs on the head's machine. Returns the root of its runs."""
    root = os.environ.get("MSNB_RUN_ROOT") or FAR_ROOT
    run = RunDirectory.create(root, session, exist_ok=True)
    if run.metrics.exists() and not goes_on:
        raise RunError(
            f"The machine of the cluster's head has a run {session!r} already, in {run.path}. Choose another name, or "
            "delete that directory."
        )
    for name, data in files.items():
        path = run.inside(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(run.root)


def list_files(run: RunDirectory) -> list[FarFile]:
    """The complete files of a run directory."""
    return [
        FarFile(str(path.relative_to(run.path)), status.st_size, status.st_mtime_ns)
        for path, status in _files(run.path)
        if not any(part.startswith(".") for part in path.relative_to(run.path).parts)
    ]


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file() and not path.is_symlink():
                yield path, path.stat()
        except FileNotFoundError:
            continue  # an old checkpoint is deleted at this moment


def read_part(run: RunDirectory, name: str, begin: int) -> bytes:
    """At most :data:`PART` bytes of a file of the run; empty at its end, and where it is gone."""
    try:
        with open(run.inside(name), "rb") as file:
            file.seek(begin)
            return file.read(PART)
    except FileNotFoundError:
        return b""


class Courier:
    """Brings files of the run home. Any thread may call.

    Args:
        run: the notebook's directory of the run.
        ask: calls a method of the supervisor, by name and arguments.
    """

    def __init__(self, run: RunDirectory, ask: Callable[..., Any]) -> None:
        self._run, self._ask = run, ask
        self._known: dict[str, FarFile] = {}
        self._lock = threading.Lock()
        self._trip: threading.Thread | None = None
        self.left: list[str] = []
        """Names of files that are too large to come home."""

    def send(self) -> None:
        """Fetches what is new, beside everything else; does nothing while an earlier trip lasts."""
        if self._trip is None or not self._trip.is_alive():
            self._trip = threading.Thread(target=self._quietly, name="courier", daemon=True)
            self._trip.start()

    def fetch(self) -> None:
        """Fetches what is new, and returns when it is here; removes checkpoints that are gone there."""
        with self._lock:
            there: list[FarFile] = self._ask("far_files")
            self.left = [file.name for file in there if file.size > LARGEST]
            for file in there:
                if file.size <= LARGEST and file.name not in _AT_HOME and self._known.get(file.name) != file:
                    self._fetch_one(file)
                    self._known[file.name] = file
            self._forget({file.name for file in there})

    def _quietly(self) -> None:
        try:
            self.fetch()
        except Exception as error:  # noqa: BLE001 - the next trip, or the end, tries again
            logger.warning("files of run %s did not come home: %s", self._run.name, error)

    def _fetch_one(self, file: FarFile) -> None:
        target = self._run.inside(file.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.tmp")
        with open(partial, "wb") as written:
            while written.tell() < file.size:
                part: bytes = self._ask("far_part", file.name, written.tell())
                if not part:
                    break
                written.write(part)
            complete = written.tell() >= file.size
        if complete:
            partial.replace(target)
        else:
            partial.unlink()

    def _forget(self, there: set[str]) -> None:
        """Deletes copies of what the cluster has deleted: old checkpoints."""
        for name in [name for name in self._known if name not in there]:
            del self._known[name]
            path = self._run.inside(name)
            path.unlink(missing_ok=True)
            if path.parent != self._run.path and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()

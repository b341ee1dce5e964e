"""One directory per run, ``<root>/<name>/``. Every writer asks :class:`RunDirectory` for its paths.

::

    config.yaml      the configuration as used, secrets removed
    whole_config     the text of the configuration file as it was given, secrets removed
    metrics.jsonl    one line per iteration          } the source of truth from which
    events.jsonl     one line per event              } a restarted telemetry hub
    episodes.jsonl   one line per finished episode   } reloads
    checkpoints/     weights and trainer state
    episodes/        recorded episodes and videos
    logs/            what environments in processes, and game engines, printed
    run.json         what the run is, where it began and how it ended, see :mod:`.record`
    session.json     who runs it now, where, and in which phase, see :mod:`.presence`
    cluster.json     the Ray head that belongs to the session, while there is one
    curves.png, report.html, summary.json
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from minestudio_nb.errors import RunError

__all__ = ["RunDirectory", "check_run_name", "fresh_name", "list_runs", "reserve_name", "write_atomically"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MARKERS = ("config.yaml", "metrics.jsonl", "events.jsonl", "cluster.json")


def check_run_name(name: str) -> str:
    """``name`` itself when it can name a run, else RunError: 1 to 64 of ``A-Z a-z 0-9 . _ -``, not only dots."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None or set(name) == {"."}:
        raise RunError(
            f"A run name consists of 1 to 64 letters, digits, dots, underscores or hyphens (and not of dots only); "
            f"{name!r} came. Choose a name such as 'chop_tree-1'."
        )
    return name


def write_atomically(path: Path, text: str) -> None:
    """Writes ``text`` (UTF-8) beside ``path`` and renames it: a reader sees the old or the new file, never a part."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


class RunDirectory:
    """The paths of one run. Making the object touches no disk; :meth:`create` and :meth:`open` do.

    ``root`` holds all runs (usually ``runs``). Raises RunError when ``name`` is not a legal run name, or when
    ``<root>/<name>`` is a link that leads out of ``root``.
    """

    def __init__(self, root: str | os.PathLike[str], name: str) -> None:
        self.name = check_run_name(name)
        self.root = Path(root).expanduser().resolve()
        self.path = (self.root / name).resolve()
        if self.path.parent != self.root:
            raise RunError(
                f"A run must lie directly in its root directory; {self.root / name} leads to {self.path}. "
                f"Remove the link or choose another run name."
            )

    @classmethod
    def create(cls, root: str | os.PathLike[str], name: str, exist_ok: bool = False) -> RunDirectory:
        """Makes the directory with its subdirectories. RunError when it exists already, unless ``exist_ok``."""
        run = cls(root, name)
        try:
            run.path.mkdir(parents=True, exist_ok=exist_ok)
            run.checkpoints.mkdir(exist_ok=True)
            run.recordings.mkdir(exist_ok=True)
        except FileExistsError as error:
            raise RunError(
                f"The run {name!r} exists already in {run.root}. Choose another name, or attach to it or resume it."
            ) from error
        except OSError as error:
            raise RunError(f"The run directory {run.path} cannot be made: {error}.") from error
        return run

    @classmethod
    def open(cls, root: str | os.PathLike[str], name: str) -> RunDirectory:
        """An existing run; RunError with the names that exist when there is none of this name."""
        run = cls(root, name)
        if not run.path.is_dir():
            known = ", ".join(other.name for other in list_runs(root)[:8]) or "none"
            raise RunError(f"There is no run {name!r} in {run.root}. Runs there, newest first: {known}.")
        return run

    def tidy(self) -> None:
        """Removes what :func:`write_atomically` and others had begun to write, in files and folders named ``.*.tmp``,
        when their process was killed.

        Only for the one who starts the session: nobody else may be writing.
        """
        for path in list(self.path.rglob(".*.tmp")):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def whole_config(self) -> Path:
        return self.path / "whole_config"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def episodes(self) -> Path:
        return self.path / "episodes.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def recordings(self) -> Path:
        """The directory ``episodes/`` of recorded episodes and videos."""
        return self.path / "episodes"

    @property
    def logs(self) -> Path:
        """The directory ``logs/``, made when something is written there."""
        return self.path / "logs"

    @property
    def session(self) -> Path:
        return self.path / "session.json"

    @property
    def cluster(self) -> Path:
        return self.path / "cluster.json"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    def inside(self, relative: str | os.PathLike[str]) -> Path:
        """The absolute path of ``relative`` in this run; RunError when it would lie outside, links resolved."""
        path = (self.path / relative).resolve()
        if not path.is_relative_to(self.path):
            raise RunError(
                f"A path of run {self.name!r} must lie inside {self.path}; {str(relative)!r} leads to {path}."
            )
        return path

    def write_text(self, relative: str | os.PathLike[str], text: str) -> Path:
        """Writes a text file atomically and returns its path."""
        path = self.inside(relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
        return path

    def write_json(self, relative: str | os.PathLike[str], data: Any) -> Path:
        """Writes plain data as JSON, atomically, and returns the path. ValueError for NaN and infinity."""
        return self.write_text(relative, json.dumps(data, indent=2, allow_nan=False) + "\n")

    def read_json(self, relative: str | os.PathLike[str]) -> Any:
        """Reads what :meth:`write_json` wrote; RunError when the file is missing or is not JSON."""
        path = self.inside(relative)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(f"Run {self.name!r} has no file {relative}.") from error
        except ValueError as error:
            raise RunError(f"{path} is not valid JSON: {error}.") from error


def fresh_name(root: str | os.PathLike[str], prefix: str) -> str:
    """A name that no run in ``root`` has: ``<prefix>-<date>-<time>``, with a number appended where that is taken.

    Characters of ``prefix`` that a run name cannot have become hyphens.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", prefix).strip("-.")[:40] or "run"
    base = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    name, number = base, 1
    while os.path.lexists(Path(root).expanduser() / name):
        number += 1
        name = f"{base}-{number}"
    return check_run_name(name)


def reserve_name(root: str | os.PathLike[str], prefix: str) -> str:
    """As :func:`fresh_name`, and makes the run's directory, so that no other process takes the same name."""
    while True:
        name = fresh_name(root, prefix)
        try:
            return RunDirectory.create(root, name).name
        except RunError:
            if not os.path.lexists(Path(root).expanduser() / name):
                raise
            # Somebody else was faster, and the next name is another.


def list_runs(root: str | os.PathLike[str]) -> list[RunDirectory]:
    """The runs in ``root``, the one written to last first. Directories that hold no file of a run are left out."""
    found: list[tuple[float, RunDirectory]] = []
    base = Path(root).expanduser()
    for entry in base.iterdir() if base.is_dir() else ():
        if _NAME.fullmatch(entry.name) is None or entry.is_symlink() or not entry.is_dir():
            continue
        times = [(entry / marker).stat().st_mtime for marker in _MARKERS if (entry / marker).is_file()]
        if times:
            found.append((max(times), RunDirectory(base, entry.name)))
    return [run for _, run in sorted(found, key=lambda pair: pair[0], reverse=True)]

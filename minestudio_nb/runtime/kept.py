"""What a supervisor writes down so that one that takes its place knows it: orders and who gives them.

Everything else is in files already (numbers, events, checkpoints, the phase) or begins anew (workers, trainer, buffer).
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from minestudio_nb.contracts.control import Edit
from minestudio_nb.runs import RunDirectory, write_atomically
from minestudio_nb.runtime.claims import Holder
from minestudio_nb.runtime.controls import Request

__all__ = ["FILE", "Keeper", "Kept"]

logger = logging.getLogger(__name__)

FILE = "supervisor.json"


@dataclass(frozen=True)
class Kept:
    """The contents of ``supervisor.json``."""

    life: int = 0
    """How many supervisors this run directory has had before."""
    paused: bool = False
    edits: tuple[Edit, ...] = ()
    requests: tuple[Request, ...] = ()
    """Wishes that no trainer has said to be done."""
    holder: Holder | None = None
    """Who held the controls last."""
    deaths: tuple[str, ...] = ()
    """The newest checkpoint at each death of a supervisor of this session, empty before the first."""

    @classmethod
    def read(cls, path: Path) -> Kept | None:
        """What was written at ``path``; None where there is nothing that can be used."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(data, dict):
                raise ValueError("it holds no mapping")
            known = {name: data[name] for name in (field.name for field in fields(cls)) if name in data}
            edits = tuple(Edit(**edit) for edit in known.pop("edits", ()))
            holder = known.pop("holder", None)
            deaths = tuple(known.pop("deaths", ()))
            requests = tuple(known.pop("requests", ()))
            if not all(isinstance(request.get("number"), int) and "kind" in request for request in requests):
                raise ValueError("a request in it has no number or no kind")
            holder = None if holder is None else Holder(**holder)
            return cls(**known, edits=edits, requests=requests, deaths=deaths, holder=holder)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            logger.warning("%s cannot be used: %s", path, error)
            return None


class Keeper:
    """Keeps ``supervisor.json`` up to date. Any thread may call.

    Attributes:
        kept: what is written down now.
        before: what the supervisor before this one of the same session had written down; None for the first.
    """

    def __init__(self, run: RunDirectory, again: bool) -> None:
        """``again``: this supervisor takes the place of one that died."""
        self._path = run.path / FILE
        self._lock = threading.Lock()
        found = Kept.read(self._path)
        self.before = (found or Kept()) if again else None
        life = int(again) if found is None else found.life + 1
        self.kept = replace(self.before or Kept(), life=life)
        self._write()

    def orders(self, paused: bool, edits: Sequence[Edit], requests: Sequence[Request]) -> None:
        """Writes down what users have ordered."""
        self._change(paused=paused, edits=tuple(edits), requests=tuple(requests))

    def holder(self, holder: Holder | None) -> None:
        """Writes down who holds the controls."""
        self._change(holder=holder)

    def died(self, newest_checkpoint: str) -> int:
        """Writes down a death of the supervisor before this one; how many there were since the newest checkpoint."""
        self._change(deaths=(*self.kept.deaths, newest_checkpoint))
        return self.kept.deaths.count(newest_checkpoint)

    def _change(self, **values: Any) -> None:
        with self._lock:
            changed = replace(self.kept, **values)
            if changed == self.kept:
                return
            self.kept = changed
            self._write()

    def _write(self) -> None:
        try:
            write_atomically(self._path, json.dumps(asdict(self.kept), indent=2, default=str) + "\n")
        except OSError as error:  # a full disk ends no session
            logger.warning("%s cannot be written: %s", self._path, error)

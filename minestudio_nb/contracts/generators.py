"""A recipe for building an environment or a policy that can travel to another process.

The configuration makes recipes (:mod:`minestudio_nb.config.load`), and a worker turns one into an object with
:func:`minestudio_nb.config.generators.build_generator`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

__all__ = ["GeneratorKind", "GeneratorSpec"]

GeneratorKind = Literal["module", "callable", "env_config", "policy_config"]


@dataclass(frozen=True)
class GeneratorSpec:
    """How to build one environment or policy. Plain data: it pickles, and two equal recipes build the same thing.

    ``kind`` says which of the other members count:

    - ``"module"``: call ``function`` of the Python module with text ``source`` (``path`` names it in tracebacks).
      The text is executed anew in each process, so nothing of the module itself has to be importable there.
    - ``"callable"``: ``payload`` is a cloudpickle of a function, for example one defined in a notebook cell.
    - ``"env_config"`` and ``"policy_config"``: ``config`` is the plain section of that name.

    ``simulator`` is the backend that a module's ``MinecraftSim`` stands for. The repr shows neither source, payload nor
    config values, which may hold secrets.
    """

    kind: GeneratorKind
    function: str = ""
    source: str = field(default="", repr=False)
    path: str = ""
    payload: bytes = field(default=b"", repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    simulator: str = "voxel"

    def describe(self) -> str:
        """One short phrase for tables and messages: ``"env_generator() of gate_kl.py"``."""
        if self.kind == "module":
            return f"{self.function}() of {PurePath(self.path).name}"
        if self.kind == "callable":
            return f"{self.function}() given as a Python function"
        if self.kind == "policy_config":
            return f"policy {self.config.get('name', '?')}"
        name = self.config.get("id") or self.config.get("task") or ""
        return f"{self.config.get('simulator', '?')} environment {name}".strip()

"""Train Minecraft agents online, from a notebook.

Importing this package loads neither Ray nor torch; names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minestudio_nb.ancestry import lineage
    from minestudio_nb.comparison import compare
    from minestudio_nb.config import load_config, plan
    from minestudio_nb.contracts.demonstrations import load_demonstration
    from minestudio_nb.doctor import doctor
    from minestudio_nb.playing import play
    from minestudio_nb.session import OnlineSession

__version__ = "0.1.0"

_EXPORTS = {
    "OnlineSession": "minestudio_nb.session",
    "compare": "minestudio_nb.comparison",
    "doctor": "minestudio_nb.doctor",
    "lineage": "minestudio_nb.ancestry",
    "load_config": "minestudio_nb.config",
    "load_demonstration": "minestudio_nb.contracts.demonstrations",
    "plan": "minestudio_nb.config",
    "play": "minestudio_nb.playing",
}

__all__ = [
    "OnlineSession",
    "__version__",
    "compare",
    "doctor",
    "lineage",
    "load_config",
    "load_demonstration",
    "plan",
    "play",
    "runs",
]


def __getattr__(name: str) -> Any:
    if name == "runs":  # the package of that name can be called
        return importlib.import_module("minestudio_nb.runs")
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

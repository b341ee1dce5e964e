"""Configuration: the schema with its defaults, loading, checks and the plan.

Names are imported when they are first used, so that an environment's process can read a generator without Hydra.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minestudio_nb.config.checking import check, require
    from minestudio_nb.config.fields import Problem
    from minestudio_nb.config.generators import build_generator
    from minestudio_nb.config.load import LoadedConfig, load_config
    from minestudio_nb.config.planning import Plan, plan
    from minestudio_nb.config.redaction import redact, redact_text
    from minestudio_nb.config.resources import Resources
    from minestudio_nb.config.schema import OnlineConfig, field_specs

_EXPORTS = {
    "LoadedConfig": "load",
    "OnlineConfig": "schema",
    "Plan": "planning",
    "Problem": "fields",
    "Resources": "resources",
    "build_generator": "generators",
    "check": "checking",
    "field_specs": "schema",
    "load_config": "load",
    "plan": "planning",
    "redact": "redaction",
    "redact_text": "redaction",
    "require": "checking",
}

__all__ = [
    "LoadedConfig",
    "OnlineConfig",
    "Plan",
    "Problem",
    "Resources",
    "build_generator",
    "check",
    "field_specs",
    "load_config",
    "plan",
    "redact",
    "redact_text",
    "require",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

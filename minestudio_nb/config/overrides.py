"""Apply overrides in Hydra's grammar to a configuration tree, whatever the tree came from.

``key=value`` sets, ``+key=value`` adds, ``++key=value`` does either, ``~key`` goes back to the default.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from minestudio_nb.config.fields import Problem
from minestudio_nb.config.schema import field_specs, unknown_key_hint
from minestudio_nb.errors import ConfigError

__all__ = ["apply_overrides", "parse_overrides"]


def parse_overrides(lines: Sequence[str]) -> list[Override]:
    """The overrides that ``lines`` say.

    Raises:
        ConfigError: all lines that are not in the grammar, or that give several values.
    """
    if isinstance(lines, str):
        raise ConfigError(f"Overrides are a list of texts, one text came: {lines!r}. Write [{lines!r}].")
    parser = OverridesParser.create()
    parsed, problems = [], []
    for line in lines:
        try:
            override = parser.parse_override(str(line))
        except HydraException as error:
            reason = str(error).strip().splitlines()[0]
            problems.append(f"{line!r}: {reason}. Write key=value; quote a text with special characters: key='a,b'.")
            continue
        if override.is_sweep_override():
            problems.append(f"{line!r}: several values came, one is needed. Quote a text that has commas: key='a,b'.")
        else:
            parsed.append(override)
    if problems:
        raise ConfigError("Overrides cannot be read.", problems)
    return parsed


def apply_overrides(tree: DictConfig, overrides: Sequence[Override], groups: Collection[str] = ()) -> list[Problem]:
    """Apply ``overrides`` to ``tree`` in order, in place; returns those that do not fit, with the nearest known key.

    ``groups`` are names that could have been meant too; choosing from a group is the business of composing.
    """
    problems = []
    for override in overrides:
        try:
            text = _apply(tree, override, groups)
        except OmegaConfBaseException as error:
            text = str(error).strip().splitlines()[0]
        if text:
            problems.append(Problem(str(override.input_line), text, "Correct the override."))
    return problems


def _apply(tree: DictConfig, override: Override, groups: Collection[str]) -> str | None:
    """Apply one override; returns why it does not fit, or None."""
    key = override.key_or_group
    if override.package is not None:
        return f"there is no group {key!r}; a package (@) can be given to a group only"
    present = _has(tree, key)
    if override.is_delete():
        return _delete(tree, key, override.value(), present)
    if override.is_add() and present and not isinstance(override.value(), (dict, list)):
        return f"{key} has a value already. Leave out the +"
    if not override.is_add() and not override.is_force_add() and not present and not _is_known(key):
        return f"there is no setting {key!r}{_plus_hint(key) or unknown_key_hint(key, groups)}"
    OmegaConf.update(tree, key, override.value(), merge=True, force_add=True)
    return None


def _delete(tree: DictConfig, key: str, expected: Any, present: bool) -> str | None:
    if not present:
        return None if _is_known(key) else f"there is no setting {key!r}{unknown_key_hint(key)}"
    if expected is not None and expected != OmegaConf.select(tree, key):
        return f"{key} is {OmegaConf.select(tree, key)!r}, not {expected!r}"
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(tree, parent) if parent else tree
    del node[int(name) if isinstance(node, ListConfig) else name]
    return None


def _has(tree: DictConfig, key: str) -> bool:
    marker = object()
    return OmegaConf.select(tree, key, default=marker) is not marker or _holds_none(tree, key)


def _holds_none(tree: DictConfig, key: str) -> bool:
    """``OmegaConf.select`` gives its default for a value of None; look at the parent instead."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(tree, parent) if parent else tree
    return isinstance(node, DictConfig) and name in node


def _is_known(key: str) -> bool:
    return key in field_specs() or any(known.startswith(f"{key}.") for known in field_specs())


def _plus_hint(key: str) -> str:
    """What to write for a new key inside a free mapping, such as ``env_config.kwargs.x``."""
    parents = [spec for spec in field_specs().values() if spec.kind == "dict" and key.startswith(f"{spec.key}.")]
    return f" yet; add it with +{key}=..." if parents else ""

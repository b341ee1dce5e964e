"""How sections of the configuration are declared, read from plain data and written back.

A section is a frozen dataclass whose members come from :func:`setting` or :func:`section`. Everything that is known
about a setting lives in its declaration; :func:`parse` collects every problem instead of stopping at the first.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import numbers
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from minestudio_nb.config.redaction import redact
from minestudio_nb.contracts.fields import FieldKind, FieldSpec, nearest_hint

__all__ = ["Problem", "Section", "field_specs", "key_hint", "parse", "section", "setting", "to_plain"]

_KINDS: dict[Any, FieldKind] = {bool: "bool", int: "int", float: "float", str: "str", dict: "dict"}
FEW_NAMES = 15
"""Sections with more settings than this are not listed in messages."""

S = TypeVar("S", bound="Section")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: ``text`` has the rule, what came and the arithmetic; ``fix`` says what to do.

    ``severity`` is ``"error"`` (the configuration cannot run) or ``"warning"`` (it runs, but not as it reads).
    """

    key: str
    text: str
    fix: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.key}: {self.text}{'' if self.text.endswith(('?', '.')) else '.'} {self.fix}"


@dataclass(frozen=True, repr=False)
class Section:
    """Base of all sections: its repr hides the values of settings that are named like secrets."""

    def __repr__(self) -> str:
        values = redact({f.name: getattr(self, f.name) for f in dataclasses.fields(self)})
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
    why_not_live: str = "",
    inert: str = "",
    scale: Literal["linear", "log"] = "linear",
    components: bool = False,
) -> Any:
    """Declare one setting. ``ge``, ``gt``, ``le``, ``lt`` bound it; ``components`` marks lists of ``{name, args}``.

    Raises:
        ValueError: a setting that is not live and does not say why.
    """
    if not live and not why_not_live and not inert:
        raise ValueError(f"a setting that is not live must say why: {help}")
    metadata = {
        "help": help,
        "unit": unit,
        "minimum": gt if gt is not None else ge,
        "maximum": lt if lt is not None else le,
        "exclusive_minimum": gt is not None,
        "exclusive_maximum": lt is not None,
        "choices": choices,
        "live": live,
        "why_not_live": why_not_live or inert,
        "inert": inert,
        "scale": scale,
    }
    extra = {"spec": metadata, "components": components}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=functools.partial(copy.deepcopy, default), metadata=extra)
    return dataclasses.field(default=default, metadata=extra)


def section(cls: type[S]) -> Any:
    """Declare a nested section with its defaults."""
    return dataclasses.field(default_factory=cls)


def _hints(cls: type[Section]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _without_none(hint: Any) -> tuple[Any, bool]:
    """``(float, True)`` for ``float | None``; ``(hint, False)`` for anything else."""
    if isinstance(hint, types.UnionType):
        kept = [part for part in typing.get_args(hint) if part is not type(None)]
        return kept[0], True
    return hint, False


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Section)


def field_specs(cls: type[Section], prefix: str = "") -> dict[str, FieldSpec]:
    """Every setting below ``cls`` by its dotted key, in the order of declaration."""
    specs: dict[str, FieldSpec] = {}
    hints = _hints(cls)
    for member in dataclasses.fields(cls):
        key, hint = f"{prefix}{member.name}", hints[member.name]
        if _is_section(hint):
            specs |= field_specs(hint, f"{key}.")
            continue
        base, optional = _without_none(hint)
        metadata = dict(member.metadata["spec"])
        kind: FieldKind = "choice" if metadata["choices"] else _KINDS.get(typing.get_origin(base) or base, "list")
        factory = member.default_factory
        default = factory() if factory is not dataclasses.MISSING else member.default
        specs[key] = FieldSpec(key=key, kind=kind, default=default, optional=optional, **metadata)
    return specs


def parse(
    cls: type[S], raw: Mapping[str, Any], problems: list[Problem], prefix: str = "", all_keys: Collection[str] = ()
) -> S:
    """An instance of ``cls`` from plain data; what is absent takes its default.

    Unknown keys and values of the wrong type or out of range are appended to ``problems``, and their defaults stand in,
    so that the rest can still be checked. ``all_keys`` are the dotted keys of the whole schema: an unknown key is
    looked for there too. Nothing is shared with ``raw``.
    """
    members = {member.name: member for member in dataclasses.fields(cls)}
    specs, hints = field_specs(cls), _hints(cls)
    values: dict[str, Any] = {}
    for name, value in raw.items():
        key = f"{prefix}{name}"
        if name not in members:
            problems.append(_unknown(key, str(name), cls, prefix, all_keys))
            continue
        hint = hints[name]
        if _is_section(hint):
            if value is None:
                continue
            if isinstance(value, Mapping):
                values[name] = parse(hint, value, problems, f"{key}.", all_keys)
            else:
                problems.append(Problem(key, f"is a section of settings, {value!r} came", "Give a mapping."))
            continue
        try:
            converted = _convert(hint, value, bool(members[name].metadata["components"]))
        except ValueError as error:
            problems.append(Problem(key, f"{error}", f"The default is {specs[name].default!r}."))
            continue
        text = specs[name].problem_with(converted)
        if text is None:
            values[name] = converted
        else:
            problems.append(Problem(key, text, f"The default is {specs[name].default!r}."))
    return cls(**values)


def key_hint(name: str, known: Collection[str], all_keys: Collection[str]) -> str:
    """What was meant by ``name``: the same name in another section, else the nearest of ``known``, else nothing."""
    elsewhere = [key for key in all_keys if key.rpartition(".")[2] == name]
    return f"; did you mean {elsewhere[0]!r}?" if elsewhere else nearest_hint(name, known)


def _unknown(key: str, name: str, cls: type[Section], prefix: str, all_keys: Collection[str]) -> Problem:
    known = [member.name for member in dataclasses.fields(cls)]
    hint = key_hint(name, known, all_keys)
    where = prefix.rstrip(".") or "the configuration"
    fix = "Correct the name or remove it."
    if not hint and len(known) <= FEW_NAMES:
        fix = f"Known here: {', '.join(known)}."
    return Problem(key, f"{where} has no setting of this name{hint}", fix)


def _convert(hint: Any, value: Any, components: bool = False) -> Any:
    """``value`` as the type ``hint`` says; numbers convert only where nothing is lost. Raises ValueError otherwise."""
    base, optional = _without_none(hint)
    if value is None:
        if optional:
            return None
        raise ValueError("a value is needed, None came")
    if components:
        return [_component(item) for item in _sequence(value)]
    origin = typing.get_origin(base)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a mapping, {value!r} came")
        return to_plain(value)
    if origin in (list, tuple):
        items = _sequence(value)
        inner = typing.get_args(base)
        if origin is tuple and len(items) != len(inner):
            raise ValueError(f"must have {len(inner)} items, {len(items)} came: {value!r}")
        converted = [_convert(inner[index if origin is tuple else 0], item) for index, item in enumerate(items)]
        return tuple(converted) if origin is tuple else converted
    return _scalar(base, value)


def _sequence(value: Any) -> list[Any]:
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return list(value)
    raise ValueError(f"must be a list, {value!r} came")


def _scalar(base: Any, value: Any) -> Any:
    if base is Any:
        return to_plain(value)
    if base is bool and isinstance(value, bool):
        return value
    if base is str and isinstance(value, str):
        return value
    if base in (int, float) and isinstance(value, numbers.Real) and not isinstance(value, bool):
        if base is float:
            return float(value)
        if isinstance(value, numbers.Integral):
            return int(value)
        if float(value).is_integer():
            return int(float(value))
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    raise ValueError(f"must be {names[base]}, {value!r} came")


def _component(item: Any) -> dict[str, Any]:
    """A callback or wrapper as ``{name, args}``; a bare name means no arguments."""
    if isinstance(item, str):
        return {"name": item, "args": {}}
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        raise ValueError(f"each item must be a name or {{name, args}}, {item!r} came")
    extra = sorted(set(item) - {"name", "args"})
    if extra:
        raise ValueError(f"item {item['name']!r} has keys besides name and args: {extra}; move them under args")
    args = item.get("args") or {}
    if not isinstance(args, Mapping):
        raise ValueError(f"args of {item['name']!r} must be a mapping, {args!r} came")
    return {"name": item["name"], "args": to_plain(args)}


def to_plain(value: Any) -> Any:
    """``value`` as freshly built dicts, lists and scalars that YAML can hold.

    Sections, mappings, sequences and numpy scalars are converted. Raises ValueError for anything else.
    """
    if isinstance(value, Section):
        return {member.name: to_plain(getattr(value, member.name)) for member in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key) if not isinstance(key, (int, bool)) else key: to_plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [to_plain(item) for item in value]
    raise ValueError(f"a configuration holds plain values only, {type(value).__name__} came: {value!r}")

"""Hide secrets in whatever is saved, shown or logged of a configuration."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["REDACTED", "Secrets", "is_secret_name", "redact", "redact_text"]

REDACTED = "<redacted>"

_SECRET = re.compile(r"key|token|secret|password", re.IGNORECASE)
_ALWAYS_SECRET = re.compile(r"secret|password", re.IGNORECASE)
_STRING = r"""[rbfuRBFU]{0,2}(?:\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_ASSIGNMENT = re.compile(
    r"(?P<name>[\w.\-]*(?:key|token|secret|password)[\w.\-]*)"
    r"""(?P<middle>["']?\]?(?:\s*:\s*[\w.\[\] |]+?)?\s*[:=]\s*\(?\s*)"""
    rf"(?P<value>{_STRING}(?:\s*{_STRING})*|\d+\b)",
    re.IGNORECASE,
)
_PLACE = re.compile(r"(path|file|dir|sock)\Z", re.IGNORECASE)
"""Ends of environment variables' names whose value is a place, not a secret: ``RAY_AUTH_TOKEN_PATH``."""
_OVERRIDE = re.compile(r"(?P<key>[^=\s]+)=(?P<value>.+)", re.DOTALL)
_SHORTEST = 8
"""Characters of the shortest value that is looked for in texts; shorter ones are parts of ordinary words."""
_EMPTY = re.compile(r"[rbfu]{0,2}(?:\"\"|'')\Z", re.IGNORECASE)


def is_secret_name(name: object) -> bool:
    """Whether a setting of this name may hold a secret: it contains key, token, secret or password."""
    return isinstance(name, str) and _SECRET.search(name) is not None


def redact(value: Any) -> Any:
    """A copy of plain data in which texts below secret-looking names read ``<redacted>``.

    Numbers go only below ``*secret*`` and ``*password*``, because ``num_tokens: 128`` is a size; true, false, None and
    empty texts stay.
    """
    if isinstance(value, Mapping):
        return {
            name: _hide(item, _ALWAYS_SECRET.search(name) is not None) if is_secret_name(name) else redact(item)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(redact(item) for item in value)
    return value


def _hide(value: Any, numbers_too: bool) -> Any:
    if isinstance(value, Mapping):
        return {name: _hide(item, numbers_too) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_hide(item, numbers_too) for item in value)
    if isinstance(value, bool) or value is None or value in ("", b""):
        return value
    return REDACTED if numbers_too or isinstance(value, (str, bytes)) else value


def redact_text(source: str) -> str:
    """Python source in which literals assigned to secret-looking names read ``"<redacted>"``, comments included."""

    def replace(match: re.Match[str]) -> str:
        number = match["value"][0].isdigit()
        if _EMPTY.match(match["value"]) or (number and not _ALWAYS_SECRET.search(match["name"])):
            return match[0]
        return f'{match["name"]}{match["middle"]}"{REDACTED}"'

    return _ASSIGNMENT.sub(replace, source)


class Secrets:
    """Secret values that are known, and data without them: for what others say, such as the text of an exception.

    Values of fewer than 8 characters are not looked for.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        known = sorted({value for value in values if len(value) >= _SHORTEST and value != REDACTED}, key=len)
        self._pattern = re.compile("|".join(map(re.escape, reversed(known)))) if known else None

    @classmethod
    def of(cls, settings: Mapping[str, Any], source: str = "", environment: Mapping[str, str] | None = None) -> Secrets:
        """Those that :func:`redact` would hide in ``settings``, :func:`redact_text` in ``source``, and those of the
        process's environment, unless another one is given."""
        variables = os.environ if environment is None else environment
        named = (value for name, value in variables.items() if is_secret_name(name) and not _PLACE.search(name))
        return cls([*_below_secret_names(settings), *_literals(source), *named])

    def hide(self, value: Any) -> Any:
        """A copy of ``value`` (text, or plain data of any depth) in which each secret reads ``<redacted>``."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._pattern.sub(REDACTED, value)
        if isinstance(value, Mapping):
            return {name: self.hide(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.hide(item) for item in value]
        return value

    def hide_override(self, override: str) -> str:
        """An override (``key=value``) without its value where the key looks secret, and without known secrets."""
        match = _OVERRIDE.fullmatch(override)
        if match is not None and is_secret_name(match["key"]):
            return f"{match['key']}={REDACTED}"
        return str(self.hide(override))


def _below_secret_names(value: Any, secret: bool = False) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _below_secret_names(item, secret or is_secret_name(name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _below_secret_names(item, secret)
    elif isinstance(value, str) and secret:
        yield value


def _literals(source: str) -> Iterator[str]:
    for match in _ASSIGNMENT.finditer(source):
        try:
            value = ast.literal_eval(match["value"])
        except (SyntaxError, ValueError):
            continue
        if isinstance(value, str):
            yield value

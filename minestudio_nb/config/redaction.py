"""Hide secrets in whatever is saved, shown or logged of a configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["REDACTED", "is_secret_name", "redact", "redact_text"]

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

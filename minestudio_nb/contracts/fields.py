"""What one setting of the configuration is: its type, range, unit, effect, and whether a running job takes a new value.

The schema (:mod:`minestudio_nb.config.schema`) declares these once; forms, live edits and checks read them as data.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["FieldKind", "FieldSpec", "nearest_hint", "range_problem"]

FieldKind = Literal["bool", "int", "float", "str", "choice", "list", "dict"]


@dataclass(frozen=True)
class FieldSpec:
    """One setting.

    ``key`` is dotted from the root (``"train_config.learning_rate"``). ``default`` is the only default there is.
    ``minimum`` and ``maximum`` are inclusive unless the ``exclusive_`` flag says otherwise. ``live`` says whether a
    running session accepts a new value; where it does not, ``why_not_live`` says why. ``inert`` is empty, or says what
    replaces a setting that is accepted for compatibility only. ``scale`` is a hint for sliders.
    """

    key: str
    kind: FieldKind
    default: Any
    help: str
    unit: str = ""
    optional: bool = False
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    choices: tuple[str, ...] = ()
    live: bool = False
    why_not_live: str = ""
    inert: str = ""
    scale: Literal["linear", "log"] = "linear"

    @property
    def range_text(self) -> str:
        """The range for people: ``"0 < x <= 1"``, ``"x >= 0"``, ``"mlp | cnn"``; empty where anything goes."""
        if self.choices:
            return " | ".join(self.choices)
        low = "" if self.minimum is None else f"{self.minimum:g}"
        high = "" if self.maximum is None else f"{self.maximum:g}"
        if low and high:
            left, right = "<" if self.exclusive_minimum else "<=", "<" if self.exclusive_maximum else "<="
            return f"{low} {left} x {right} {high}"
        if low:
            return f"x {'>' if self.exclusive_minimum else '>='} {low}"
        return f"x {'<' if self.exclusive_maximum else '<='} {high}" if high else ""

    def problem_with(self, value: Any) -> str | None:
        """Why ``value`` (of the right type) is out of range, or None when it is not."""
        return range_problem(self, value)


def range_problem(spec: FieldSpec, value: Any) -> str | None:
    """Why ``value`` is outside ``spec``'s range, or None. ``None`` itself is in range of an optional setting."""
    if value is None:
        return None if spec.optional else "a value is needed, None came"
    if spec.choices:
        if value in spec.choices:
            return None
        return f"must be one of {spec.range_text}, {value!r} came{nearest_hint(str(value), spec.choices)}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not math.isfinite(value):
        return f"must be a finite number, {value!r} came"
    low, high = spec.minimum, spec.maximum
    too_low = low is not None and (value < low or (spec.exclusive_minimum and value == low))
    too_high = high is not None and (value > high or (spec.exclusive_maximum and value == high))
    return f"must be {spec.range_text}, {value!r} came" if too_low or too_high else None


def nearest_hint(name: str, known: Collection[str]) -> str:
    """``"; did you mean 'x'?"`` for the known name nearest to ``name``, or an empty text when none is near."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""

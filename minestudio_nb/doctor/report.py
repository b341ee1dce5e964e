"""What the doctor found, as text, HTML and JSON."""

from __future__ import annotations

import json
import platform
import sys
import textwrap
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Final, Literal, get_args

from minestudio_nb.contracts.showing import shown_safely

__all__ = ["TARGETS", "DoctorReport", "Finding", "Target"]

Target = Literal["voxel", "notebook", "gpu", "minecraft", "cluster"]
TARGETS: Final[tuple[Target, ...]] = get_args(Target)
_MEANING: Final[dict[Target, str]] = {
    "voxel": "training in the embedded world, on this machine",
    "notebook": "sessions and widgets in JupyterLab",
    "gpu": "training on a GPU of this machine",
    "minecraft": "real Minecraft",
    "cluster": "training on a Ray cluster elsewhere",
}

State = Literal["ok", "warning", "missing", "unknown", "skipped"]
"""missing: it blocks something. unknown: it could not be found out, which is taken for blocking too. skipped: nobody
looked, because the doctor was asked to be quick."""
_COLOURS: Final[dict[State, str]] = {
    "ok": "#2e8b57",
    "warning": "#b8860b",
    "missing": "#c0392b",
    "unknown": "#c0392b",
    "skipped": "#777",
}
_WIDTH: Final = 110
_INDENT: Final = 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    found: str
    blocks: tuple[Target, ...] = ()
    """What cannot be done as it is; for ``skipped``, what could not be done if it were missing."""
    fix: str = ""
    """A command, or what to do where no command does it."""


@dataclass(frozen=True)
class DoctorReport:
    """All findings. True in a condition if nothing blocks the target."""

    target: Target
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing blocks the target."""
        return not self.blocking(self.target)

    def blocking(self, target: Target) -> tuple[Finding, ...]:
        """What blocks a target."""
        return tuple(f for f in self.findings if target in f.blocks and f.state != "skipped")

    def verdict(self, target: Target) -> str:
        """Whether a target can be reached, in a few words."""
        blocking = ", ".join(finding.name for finding in self.blocking(target))
        if blocking:
            return f"blocked by {blocking}"
        skipped = ", ".join(f.name for f in self.findings if target in f.blocks and f.state == "skipped")
        return f"ready, as far as was looked (not at {skipped})" if skipped else "ready"

    def __bool__(self) -> bool:
        return self.ok

    def __getitem__(self, name: str) -> Finding:
        """The finding of this name. KeyError when there is none."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    def to_json(self) -> str:
        """Everything as one JSON object."""
        data: dict[str, Any] = {
            "target": self.target,
            "ok": self.ok,
            "machine": _machine(),
            "blocked": {target: [finding.name for finding in self.blocking(target)] for target in TARGETS},
            "findings": [asdict(finding) for finding in self.findings],
        }
        return json.dumps(data, indent=2)

    def __str__(self) -> str:
        lines = [_machine(), ""]
        for finding in self.findings:
            head = f"  {finding.state:<9}{finding.name}"
            lines += _wrapped(f"{head:<{_INDENT}}", finding.found)
            if finding.state in ("missing", "unknown") and finding.blocks:
                lines.append(" " * _INDENT + f"blocks: {', '.join(finding.blocks)}")
            if finding.fix:
                lines.append(" " * _INDENT + f"fix: {finding.fix}")  # in one line, so that it can be copied
        lines.append("")
        for target in TARGETS:
            mark = "*" if target == self.target else " "
            lines += _wrapped(f"{mark} {target:<11}", self.verdict(target), 13)
        return "\n".join(lines)

    __repr__ = __str__

    @shown_safely
    def _repr_html_(self) -> str:
        ready = "".join(_target_row(self, target) for target in TARGETS)
        rows = "".join(_finding_row(finding) for finding in self.findings)
        return (
            f'<div style="max-width:68em"><p><b>{escape(_machine())}</b></p><table>{ready}</table>'
            f"<details{'' if self.ok else ' open'}><summary>What was found</summary>"
            f"<table>{rows}</table></details></div>"
        )


def _machine() -> str:
    from minestudio_nb import __version__

    version = platform.python_version()
    return f"minestudio_nb {__version__}, Python {version} ({sys.executable}), {platform.platform(terse=True)}"


def _wrapped(head: str, text: str, indent: int = _INDENT) -> list[str]:
    """``head`` and ``text`` as lines; words and paths are not cut."""
    return textwrap.wrap(
        head + " ".join(text.split()),
        _WIDTH,
        subsequent_indent=" " * indent,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _cell(text: str, style: str = "") -> str:
    return f'<td style="text-align:left;vertical-align:top;{style}">{text}</td>'


def _target_row(report: DoctorReport, target: Target) -> str:
    colour = _COLOURS["missing" if report.blocking(target) else "ok"]
    name = _cell(target, "font-weight:bold" if target == report.target else "")
    verdict = _cell(escape(report.verdict(target)), f"color:{colour}")
    return f"<tr>{name}{_cell(escape(_MEANING[target]))}{verdict}</tr>"


def _finding_row(finding: Finding) -> str:
    stopped = finding.state in ("missing", "unknown") and finding.blocks
    blocks = f"<br><i>blocks {escape(', '.join(finding.blocks))}</i>" if stopped else ""
    fix = f"<br>fix: <code>{escape(finding.fix)}</code>" if finding.fix else ""
    state = _cell(finding.state, f"color:{_COLOURS[finding.state]}")
    return f"<tr>{state}{_cell(escape(finding.name))}{_cell(escape(finding.found) + blocks + fix)}</tr>"

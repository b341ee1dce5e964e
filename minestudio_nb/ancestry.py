"""Which run began with whose checkpoint: the runs of a directory as trees, in text and drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from minestudio_nb.contracts.showing import shown_safely
from minestudio_nb.errors import RunError
from minestudio_nb.runs import RunSummary, summaries
from minestudio_nb.runs.table import state_colour
from minestudio_nb.widgets.series import number
from minestudio_nb.widgets.svg import ticks

__all__ = ["Lineage", "lineage"]

WIDTH, NAMES, ROW, TOP = 900, 250, 46, 12
"""Pixels: of the drawing, of its column of names, of a row, above the first one."""
RIGHT = 150
LETTERS = 34
"""Of a name, or of what a fork changed, as far as there is room."""


@dataclass(frozen=True)
class _Node:
    """One run in its tree. ``summary`` is None for a parent whose directory is gone."""

    name: str
    summary: RunSummary | None
    depth: int
    last: bool
    """Whether no sibling follows."""
    trunk: tuple[bool, ...]
    """For each ancestor but the first, whether siblings of it follow."""

    known_until: int = 0
    """The last iteration at which another run of the tree began."""

    @property
    def begins(self) -> int:
        origin = self.summary.origin if self.summary else None
        return origin.iteration if origin else 0

    @property
    def ends(self) -> int:
        return max(self.begins, self.summary.iterations if self.summary else self.known_until)


def lineage(run_root: str | Path = "runs", name: str | None = None) -> Lineage:
    """The trees of the runs below ``run_root``: who was forked or resumed from whom, where, and with what changes.

    Args:
        name: only the tree that this run belongs to.

    Raises:
        RunError: there is no such run.
    """
    runs = {run.name: run for run in summaries(run_root) if run.state != "UNREADABLE"}
    if name is not None and name not in runs:
        raise RunError(f"There is no run {name!r} in {run_root}. Runs there: {', '.join([*runs][:8]) or 'none'}.")
    return Lineage(runs, name, str(run_root))


class Lineage:
    """What :func:`lineage` gives: a tree as text, drawn in a notebook. Runs without relatives are counted only."""

    def __init__(self, runs: dict[str, RunSummary], name: str | None, root: str) -> None:
        self._root = root
        self._runs = runs
        parents = {run.name: _parent(run) for run in runs.values()}
        for each in parents:
            if _goes_round(each, parents):  # records that were changed by hand
                parents[each] = ""
        self._children: dict[str, list[str]] = {}
        for child, parent in parents.items():
            if parent:
                self._children.setdefault(parent, []).append(child)
        for children in self._children.values():
            children.sort(key=lambda child: (_begins(runs[child]), runs[child].started))
        roots = [each for each in dict.fromkeys([*self._children, *runs]) if not parents.get(each)]
        roots.sort(key=lambda each: -runs[each].started if each in runs else 0.0)
        alone = [each for each in roots if each not in self._children]
        chosen = [each for each in roots if each in self._children] or alone
        self.alone = len(alone) if chosen is not alone else 0
        """Runs that nobody was forked from, and that were forked from nobody; they are not drawn."""
        if name is not None:
            chosen, self.alone = [_root(name, parents)], 0
        self.nodes: Sequence[_Node] = [node for root_name in chosen for node in self._walk(root_name, 0, True, ())]

    def _walk(self, name: str, depth: int, last: bool, trunk: tuple[bool, ...]) -> Iterator[_Node]:
        children = self._children.get(name, [])
        until = max((_begins(self._runs[child]) for child in children), default=0)
        yield _Node(name, self._runs.get(name), depth, last, trunk, until)
        below = (*trunk, not last) if depth else ()
        for index, child in enumerate(children):
            yield from self._walk(child, depth + 1, index == len(children) - 1, below)

    def __str__(self) -> str:
        if not self.nodes:
            return f"There is no run in {self._root} yet."
        left = [_branch(node) + node.name for node in self.nodes]
        width = max(map(len, left))
        lines = [f"{text:<{width}}  {_facts(node)}" for text, node in zip(left, self.nodes, strict=True)]
        return "\n".join([*lines, *([self._rest()] if self.alone else [])])

    __repr__ = __str__

    def _rest(self) -> str:
        return f"and {self.alone} {'run' if self.alone == 1 else 'runs'} without relatives"

    @shown_safely
    def _repr_html_(self) -> str:
        if not self.nodes:
            return f'<p style="opacity:.7">There is no run in <code>{escape(self._root)}</code> yet.</p>'
        rest = f'<div style="opacity:.7">{self._rest()}</div>' if self.alone else ""
        return f'<div style="max-width:{WIDTH}px">{self._svg()}{rest}</div>'

    def _svg(self) -> str:
        longest = max(max(node.ends for node in self.nodes), 1)
        rows = {node.name: index for index, node in enumerate(self.nodes)}
        height = TOP + ROW * len(self.nodes) + 24
        parts = [
            f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="lineage of {len(self.nodes)} runs" '
            'style="width:100%;height:auto;font:13px system-ui,sans-serif" fill="currentColor">'
        ]
        for tick in ticks(0, longest, 6):
            if tick <= longest:
                x = _x(tick, longest)
                parts.append(_grid_line(x, height - 20))
                parts.append(_text(x, height - 5, f"{tick:g}", small=True, anchor="middle"))
        parts.append(_text(0, height - 5, "iteration", small=True))
        above = [rows.get(_parent(node.summary)) for node in self.nodes]
        for row, (node, parent) in enumerate(zip(self.nodes, above, strict=True)):
            if parent is not None:
                x = _x(node.begins, longest)
                parts.append(
                    f'<path d="M{x:.1f} {_middle(parent):.1f} V{_middle(row):.1f}" fill="none" stroke="currentColor" '
                    'opacity=".45" stroke-width="1.5"/>'
                )
        for row, (node, parent) in enumerate(zip(self.nodes, above, strict=True)):
            parts.append(_row_svg(node, row, parent is not None, longest))
        return "".join(parts) + "</svg>"


def _row_svg(node: _Node, row: int, branched: bool, longest: int) -> str:
    y, run = _middle(row), node.summary
    begin, end = _x(node.begins, longest), _x(node.ends, longest)
    colour = state_colour(run.state if run else "")
    indent = 14 * node.depth
    note = _changes(node) if run else "its directory is gone"
    room = LETTERS - 2 * node.depth
    parts = [
        f"<g><title>{escape(f'{node.name}: {_facts(node)}')}</title>",
        _text(indent, y - 2, _cut(node.name, room), strong=True),
        _text(indent, y + 13, _cut(note, room + 5), small=True),
    ]
    parts.append(
        f'<line x1="{begin:.1f}" x2="{max(end, begin + 2):.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" '
        'stroke-width="5" stroke-linecap="round"/>'
    )
    if branched:
        parts.append(f'<circle cx="{begin:.1f}" cy="{y:.1f}" r="5" fill="#fff" stroke="{colour}" stroke-width="2"/>')
    if run is not None:
        state = run.state.lower()
        value = "" if math.isnan(run.episode_return) else f"return {number(run.episode_return)}"
        parts.append(_text(end + 12, y - 1, value))
        parts.append(_text(end + 12, y + 13, state, small=True))
    return "".join(parts) + "</g>"


def _text(x: float, y: float, text: str, small: bool = False, strong: bool = False, anchor: str = "start") -> str:
    look = ' opacity=".65" font-size="11"' if small else ' font-weight="600"' if strong else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{look}>{escape(text)}</text>'


def _middle(row: int) -> float:
    return TOP + ROW * row + ROW / 2


def _grid_line(x: float, bottom: float) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom:.1f}" stroke="currentColor" opacity=".1"/>'


def _x(iteration: float, longest: int) -> float:
    return NAMES + iteration / longest * (WIDTH - NAMES - RIGHT)


def _branch(node: _Node) -> str:
    """The lines of a tree before a name."""
    if node.depth == 0:
        return ""
    return "".join("│   " if more else "    " for more in node.trunk) + ("└── " if node.last else "├── ")


def _facts(node: _Node) -> str:
    run = node.summary
    if run is None:
        return "(its directory is gone)"
    parts = [run.state.lower(), f"{run.iterations} iterations" if run.iterations else ""]
    parts.append("" if math.isnan(run.episode_return) else f"return {number(run.episode_return)}")
    parts.append(_changes(node))
    return ", ".join(part for part in parts if part)


def _changes(node: _Node) -> str:
    """Where a run began and what it changed: ``forked @ 31: learning_rate=3e-05``."""
    origin = node.summary.origin if node.summary else None
    if origin is None:
        return node.summary.config if node.summary else ""
    changed = ", ".join(_short(line) for line in origin.overrides)
    return f"{'forked' if origin.kind == 'fork' else 'resumed'} @ {origin.iteration}{': ' if changed else ''}{changed}"


def _short(override: str) -> str:
    """An override without the sections of its key."""
    key, sign, value = override.partition("=")
    return f"{key.rpartition('.')[2]}{sign}{value}"


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _parent(run: RunSummary | None) -> str:
    """The parent's name; empty for none. One in another directory is named with its path."""
    if run is None or run.origin is None:
        return ""
    here = Path(run.origin.parent_path).parent == run.path.parent
    return run.origin.parent if here else run.origin.parent_path


def _begins(run: RunSummary) -> int:
    return run.origin.iteration if run.origin else 0


def _root(name: str, parents: dict[str, str]) -> str:
    while above := parents.get(name):
        name = above
    return name


def _goes_round(name: str, parents: dict[str, str]) -> bool:
    """Whether a run is among its own ancestors."""
    seen = {name}
    while above := parents.get(name):
        if above in seen:
            return True
        seen.add(above)
        name = above
    return False

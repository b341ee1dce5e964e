"""Objects that notebooks draw: none may put an error into a cell."""

import ast
import logging
from pathlib import Path

import pytest

import minestudio_nb
from minestudio_nb.contracts.showing import shown_safely

DRAWINGS = ("_repr_html_", "_repr_png_", "_repr_mimebundle_", "_repr_svg_")


class Broken:
    """Cannot be drawn."""

    def __repr__(self) -> str:
        return "as text"

    @shown_safely
    def _repr_html_(self) -> str:
        raise ZeroDivisionError("no such chart")


class Whole(Broken):
    @shown_safely
    def _repr_html_(self) -> str:
        return "<b>whole</b>"


def test_what_cannot_be_drawn_is_text_and_a_line(caplog: pytest.LogCaptureFixture) -> None:
    from IPython.core.formatters import DisplayFormatter

    with caplog.at_level(logging.WARNING):
        data, _ = DisplayFormatter().format(Broken())
    assert data == {"text/plain": "as text"}
    assert [record.getMessage() for record in caplog.records] == [
        "Broken is shown as text only: ZeroDivisionError: no such chart"
    ]
    assert not caplog.records[0].exc_info
    data, _ = DisplayFormatter().format(Whole())
    assert data == {"text/plain": "as text", "text/html": "<b>whole</b>"}


def test_all_that_notebooks_draw_is_guarded() -> None:
    guarded, bare = set(), set()
    package = Path(minestudio_nb.__file__).parent
    for path in package.rglob("*.py"):
        for found in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for member in found.body if isinstance(found, ast.ClassDef) else ():
                if isinstance(member, ast.FunctionDef) and member.name in DRAWINGS:
                    decorators = {ast.unparse(decorator) for decorator in member.decorator_list}
                    (guarded if "shown_safely" in decorators else bare).add(found.name)
    assert bare == {"Dashboard", "PlayWidget", "Player"}, "widgets draw themselves; all others need @shown_safely"
    assert len(guarded) >= 10

"""The notebooks as they are kept: numbered, executed, without errors, and without traces of where they were run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_BYTES = 1_500_000
"""Code hosts show no notebook that is much larger."""
WIDEST_LINE = 110
"""Characters of code that a page shows without scrolling."""

by_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def texts_of(output: Any) -> dict[str, str]:
    """What an output shows, by media type."""
    if output.output_type == "stream":
        return {"text/plain": output.text}
    return {kind: content for kind, content in output.get("data", {}).items() if isinstance(content, str)}


def test_the_notebooks_are_numbered_and_the_readme_leads_to_each() -> None:
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{number:02d}_" for number in range(1, len(NOTEBOOKS) + 1)]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert f"(notebooks/{path.name})" in readme, f"the README does not link to {path.name}"


@by_notebook
def test_it_was_executed_from_top_to_bottom_without_an_error(path: Path) -> None:
    code = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert [output for output in cell.outputs if output.output_type == "error"] == []
        printed = [output.text for output in cell.outputs if output.get("name") == "stderr"]
        assert not any("Warning:" in text or "Traceback" in text for text in printed)


@by_notebook
def test_it_shows_something_without_a_kernel(path: Path) -> None:
    outputs = [output for cell in read(path).cells if cell.cell_type == "code" for output in cell.outputs]
    kinds = {kind for output in outputs for kind in texts_of(output)}
    assert kinds & {"image/png", "image/jpeg", "text/html"}
    for output in outputs:
        texts = texts_of(output)
        assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {}), "shows 'model not found'"
        assert re.search(r" object at 0x[0-9a-f]+", texts.get("text/html", texts.get("text/plain", ""))) is None


@by_notebook
def test_it_does_not_tell_where_it_was_run(path: Path) -> None:
    notebook = read(path)
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert "execution" not in cell.metadata, "times of execution change with every run"
        for output in cell.get("outputs", []):
            for kind, text in texts_of(output).items():
                if kind.startswith("text/"):
                    visible = re.sub(r'"data:[^"]*"', '""', text)  # pictures in base64 have slashes, too
                    found = re.search(r"(?<![\w.:/~<])/(?:tmp|home|root|Users|work|usr|opt|var)/", visible)
                    assert found is None, f"cell {cell.id}: {visible[max(0, found.start() - 80) : found.end() + 80]}"


@by_notebook
def test_it_reads_well(path: Path) -> None:
    notebook = read(path)
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    assert path.stat().st_size < MOST_BYTES
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert max(map(len, cell.source.splitlines()), default=0) <= WIDEST_LINE, f"cell {cell.id}"


@by_notebook
def test_its_links_lead_somewhere(path: Path) -> None:
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", cell.source):
                if "://" not in target:
                    assert (path.parent / target).exists(), f"cell {cell.id} links to {target}"

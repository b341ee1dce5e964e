"""What is seen of a notebook in JupyterLab while its kernel runs, after it is gone, untrusted, and exported."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbconvert.exporters import HTMLExporter

from tests.support import live_notebook
from tests.support.browser import Notebook, Server, open_notebook

pytestmark = [pytest.mark.browser, pytest.mark.full]

SETUP = f"""import os
os.environ["BROKEN_ONCE"] = "yes"  # no environment is to break here
{live_notebook.ENVIRONMENT}
session = ms.OnlineSession("poster", runtime="inline")
session.load_config(CONFIG)
session.start_rollout(); session.start_trainer()"""
CELLS = [
    SETUP,
    "session.dashboard()",
    "session.set('train_config.learning_rate', 2e-4); await session.until(iterations=session.status().iteration + 4)",
    "session.poster()",
    "session.report()",
    "session.stop()",
]
SHOW, EDIT, POSTER, REPORT, STOP = range(1, 6)
SCREENSHOTS = os.environ.get("MSNB_SCREENSHOTS")
# Pictures that have arrived and take room on the page, in the outputs of one cell.
PICTURES = """(index) => {
  const cell = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell, .jp-Notebook .jp-Cell.jp-CodeCell')][index];
  return [...(cell ? cell.querySelectorAll('.msnb-poster img') : [])]
    .filter((image) => image.offsetWidth > 0 && image.naturalWidth > 0).length;
}"""
SEEN_TEXT = "() => document.querySelector('.jp-Notebook').innerText"
MANY = 6
"""Charts of a poster at least: the return and five panels."""


@pytest.fixture(scope="module")
def notebook(lab_server: Server) -> Iterator[Notebook]:
    with open_notebook(lab_server, CELLS, "poster.ipynb", size=(1200, 6000)) as opened:
        opened.run(0)
        opened.run(SHOW)
        opened.wait("() => document.querySelector('.msnb-live')?.msnbStore.length > 2", seconds=60)
        for cell in (EDIT, POSTER, REPORT):
            opened.run(cell)
        yield opened


def photograph(notebook: Notebook, name: str) -> None:
    if SCREENSHOTS:
        notebook.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)


def pictures(notebook: Notebook, cell: int) -> int:
    count: int = notebook.page.evaluate(PICTURES, cell)
    return count


def test_the_live_display_takes_the_posters_place(notebook: Notebook) -> None:
    assert notebook.page.locator(".msnb-live").is_visible()
    assert pictures(notebook, SHOW) == 0
    assert pictures(notebook, POSTER) >= MANY
    assert notebook.page.locator("iframe[title^='Report of poster']").is_visible()
    assert pictures(notebook, REPORT) == 0, "the report's frame is shown, and its poster is not"
    photograph(notebook, "poster_live")


def test_stopping_leaves_a_picture_and_renews_the_one_of_the_display(notebook: Notebook) -> None:
    notebook.run(STOP)
    assert pictures(notebook, STOP) >= MANY
    notebook.wait("() => document.querySelector('.msnb-state').textContent === 'stopped'")
    notebook.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    saved = json.loads((notebook.folder / "poster.ipynb").read_text())
    poster = "".join(saved["cells"][SHOW]["outputs"][0]["data"]["text/html"])
    assert ">stopped<" in poster and "train_config.learning_rate" in poster
    assert notebook.errors() == []


def test_a_reopened_notebook_shows_pictures(notebook: Notebook) -> None:
    page = notebook.page
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.reload()
    notebook.ready()
    notebook.wait(f"(index) => ({PICTURES})(index) >= {MANY}", SHOW)
    # The renderer of widgets gives up within this time; what it then says must not be seen.
    notebook.wait("() => document.body.textContent.includes('model not found')", seconds=60)
    assert "model not found" not in page.evaluate(SEEN_TEXT)
    assert min(pictures(notebook, cell) for cell in (SHOW, POSTER, STOP)) >= MANY
    photograph(notebook, "poster_reopened")


def test_a_notebook_of_somebody_else_shows_pictures(notebook: Notebook, lab_server: Server) -> None:
    saved = json.loads((notebook.folder / "poster.ipynb").read_text())
    saved["cells"][0]["source"] = "# changed by somebody else, so that it is not trusted"
    (notebook.folder / "foreign.ipynb").write_text(json.dumps(saved))
    url = f"{lab_server.url}/lab/workspaces/foreign/tree/foreign.ipynb?token={lab_server.token}"
    notebook.page.goto(url, wait_until="domcontentloaded")
    notebook.ready()
    notebook.wait(f"(index) => ({PICTURES})(index) >= {MANY}", SHOW)
    assert min(pictures(notebook, cell) for cell in (SHOW, POSTER, REPORT, STOP)) >= MANY
    assert "model not found" not in notebook.page.evaluate(SEEN_TEXT)
    photograph(notebook, "poster_untrusted")


def test_an_exported_notebook_shows_pictures(notebook: Notebook) -> None:
    page = notebook.page
    html, _ = HTMLExporter().from_filename(str(notebook.folder / "poster.ipynb"))
    exported = notebook.folder / "poster.html"
    exported.write_text(html)
    page.route("http*://**", lambda route: route.abort())  # nothing is fetched
    page.goto(exported.as_uri(), wait_until="domcontentloaded")
    seen = (
        "() => [...document.querySelectorAll('.msnb-poster img')].filter((i) => i.offsetWidth && i.naturalWidth).length"
    )
    notebook.wait(f"() => ({seen})() >= {3 * MANY}")
    text = page.evaluate("() => document.body.innerText")
    assert "model not found" not in text and "applied @ iteration" in text
    photograph(notebook, "poster_exported")

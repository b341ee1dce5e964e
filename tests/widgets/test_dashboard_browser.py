"""The dashboard in a real JupyterLab in a real Chromium, over a session that really trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.support import live_notebook
from tests.support.browser import Notebook, Server, open_notebook
from tests.support.live_notebook import FED, STATE, enough, losses, photograph, python_side

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

CELLS = [
    live_notebook.SETUP,
    live_notebook.SHOW,
    live_notebook.LOOK,
    live_notebook.BUSY,
    live_notebook.AWAIT,
    "dashboard",
    live_notebook.STOP,
]
SHOW, LOOK, BUSY, AWAIT, AGAIN, STOP = range(1, 7)
BUSY_SECONDS = 40.0
"""Within this time an order must have been carried out, while a cell runs that would run for 90 s."""
ANSWERED = "() => /Pausing|Going on/.test(document.querySelector('.msnb-note').textContent)"
REQUESTED = "() => /edit [0-9]|: requested|applied @/.test(document.querySelector('.msnb-applied').textContent)"


@pytest.fixture(scope="module")
def notebook(lab_server: Server) -> Iterator[Notebook]:
    with open_notebook(lab_server, CELLS, "dashboard.ipynb", size=(1400, 1300)) as opened:
        opened.run(0)
        opened.run(SHOW)
        opened.wait(FED, 5, seconds=60)
        yield opened
        opened.run(STOP)
        assert opened.errors() == []


def test_what_trains_is_seen(notebook: Notebook) -> None:
    notebook.wait(STATE, "training")
    notebook.wait("() => document.querySelectorAll('.msnb-tile').length === 4")
    notebook.wait("() => document.querySelectorAll('.msnb-chart:not([hidden]) canvas').length >= 8")
    notebook.wait("() => /step\\s[0-9]+ · R\\s[0-9]/.test(document.querySelector('.msnb-what').textContent)")
    shown = losses(notebook)
    known = python_side(notebook, LOOK)["losses"][: len(shown)]
    assert shown == known
    photograph(notebook, "dashboard_light")
    assert notebook.errors() == []


def test_texts_from_outside_stay_texts(notebook: Notebook) -> None:
    notebook.wait("() => [...document.querySelectorAll('.msnb-text')].some(e => e.textContent.includes('<img src=x'))")
    assert notebook.page.evaluate("() => window.hacked") is None


def test_pausing_works_while_a_cell_is_busy(notebook: Notebook) -> None:
    page = notebook.page
    notebook.start(BUSY)
    page.get_by_role("button", name="Pause").click()
    notebook.wait(STATE, "paused", BUSY_SECONDS)
    page.get_by_role("button", name="Resume").click()
    notebook.wait(STATE, "training", BUSY_SECONDS)
    enough(notebook, BUSY)


def test_an_edit_during_an_await_is_applied_and_marked(notebook: Notebook) -> None:
    page = notebook.page
    assert marked_columns(notebook) == 0
    notebook.start(AWAIT)
    box = page.get_by_role("textbox", name="train_config.learning_rate")
    box.fill("0.0005")
    box.press("Enter")
    applied = "() => /applied @ iteration/.test(document.querySelector('.msnb-applied').textContent)"
    notebook.wait(applied, seconds=BUSY_SECONDS)
    slider = page.get_by_role("slider", name="train_config.learning_rate")
    cells = notebook.cells()
    slider.focus()
    slider.press("ArrowRight")  # a range answers to arrows, and the notebook's shortcuts do not
    slider.press("b")
    notebook.wait("() => document.querySelector('.msnb').msnbStore.edits.length >= 2")
    enough(notebook, AWAIT)
    assert notebook.cells() == cells
    value, status, iteration = python_side(notebook, LOOK)["edits"][0]
    assert (value, status) == (0.0005, "applied") and iteration > 0
    assert marked_columns(notebook) > 0
    box.fill("7")
    box.press("Enter")
    notebook.wait("() => /came/.test(document.querySelector('.msnb-applied').textContent)")
    photograph(notebook, "dashboard_edited")


def marked_columns(notebook: Notebook) -> int:
    """How many columns of pixels of the return's chart hold the colour of an edit's sign, #9b5fc0."""
    script = """() => {
      const canvas = document.querySelector('.msnb-chart canvas'), { width, height } = canvas;
      const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
      const found = new Set();
      for (let at = 0; at < data.length; at += 4)
        if (data[at + 3] === 255 && Math.abs(data[at] - 155) < 3 && Math.abs(data[at + 1] - 95) < 3
            && Math.abs(data[at + 2] - 192) < 3) found.add((at / 4) % width);
      return found.size;
    }"""
    count: int = notebook.page.evaluate(script)
    return count


def seconds_until(notebook: Notebook, act: Callable[[], None], condition: str) -> float:
    """From an action until the page shows what the condition says."""
    began = time.perf_counter()
    act()
    notebook.wait(condition, seconds=BUSY_SECONDS)
    return time.perf_counter() - began


@pytest.mark.full
@pytest.mark.parametrize("cell", [BUSY, AWAIT], ids=["busy", "await"])
def test_orders_are_answered_at_once_whatever_the_kernel_does(notebook: Notebook, cell: int) -> None:
    page = notebook.page
    clear = "() => { for (const e of document.querySelectorAll('.msnb-note, .msnb-applied')) e.textContent = ''; }"
    slider = page.get_by_role("slider", name="train_config.learning_rate")
    notebook.start(cell)
    page.evaluate(clear)
    pause = seconds_until(notebook, page.get_by_role("button", name="Pause").click, ANSWERED)
    page.evaluate(clear)
    slide = seconds_until(notebook, lambda: slider.press("ArrowLeft"), REQUESTED)
    page.evaluate(clear)
    notebook.wait(STATE, "paused", BUSY_SECONDS)
    resume = seconds_until(notebook, page.get_by_role("button", name="Resume").click, ANSWERED)
    print(f"answers: Pause {1000 * pause:.0f} ms, slider {1000 * slide:.0f} ms, Resume {1000 * resume:.0f} ms")
    notebook.wait(STATE, "training", BUSY_SECONDS)
    enough(notebook, cell)


@pytest.mark.full
def test_two_views_show_the_same(notebook: Notebook) -> None:
    page = notebook.page
    notebook.run(AGAIN)
    notebook.wait("() => document.querySelectorAll('.msnb').length === 2")
    fed = "(n) => [...document.querySelectorAll('.msnb')].every((view) => view.msnbStore.length > n)"
    notebook.wait(fed, len(losses(notebook)) + 3, 60)
    first, second = losses(notebook, 0), losses(notebook, 1)
    common = min(len(first), len(second))
    assert first[:common] == second[:common]
    box = page.get_by_role("textbox", name="train_config.entropy_bonus_coef").nth(1)
    box.fill("0.02")
    box.press("Enter")
    applied = """() => [...document.querySelectorAll('.msnb')].every((view) => view.msnbStore.edits.some(
      (edit) => edit.key === 'train_config.entropy_bonus_coef' && edit.status === 'applied'))"""
    notebook.wait(applied, seconds=30)
    shown = page.get_by_role("textbox", name="train_config.entropy_bonus_coef").nth(0)
    notebook.wait("(box) => box.value === '0.02'", shown.element_handle())
    page.evaluate(f"window.jupyterapp.shell.currentWidget.content.activeCellIndex = {AGAIN}")
    page.evaluate("window.jupyterapp.commands.execute('notebook:clear-cell-output')")
    notebook.wait("() => document.querySelectorAll('.msnb').length === 1")
    notebook.wait(FED, len(losses(notebook)) + 3)


@pytest.mark.full
def test_a_reloaded_page_has_every_point_again(notebook: Notebook) -> None:
    page = notebook.page
    before = losses(notebook)
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    notebook.ready()
    notebook.wait("(n) => document.querySelector('.msnb')?.msnbStore.length >= n", len(before), 60)
    after = losses(notebook)
    assert after[: len(before)] == before
    known = python_side(notebook, LOOK)["losses"]
    assert after == known[: len(after)]


@pytest.mark.full
def test_nothing_is_sent_when_nobody_looks(notebook: Notebook) -> None:
    assert python_side(notebook, LOOK)["running"]
    notebook.page.evaluate(f"window.jupyterapp.shell.currentWidget.content.activeCellIndex = {SHOW}")
    notebook.page.evaluate("window.jupyterapp.commands.execute('notebook:clear-cell-output')")
    notebook.wait("() => !document.querySelector('.msnb')")
    for _ in range(40):
        if not python_side(notebook, LOOK)["running"]:
            return
        notebook.page.wait_for_timeout(250)
    pytest.fail("the pump runs on")

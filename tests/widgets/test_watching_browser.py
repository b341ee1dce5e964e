"""What a display offers while another process gives the orders, in a page without Jupyter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.support.browser import needs_browser, open_page, ours
from tests.support.shown import Shown

pytestmark = pytest.mark.browser

HOLDER = "notebook <b>tune</b>.ipynb (process 4711 on host fox)"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    needs_browser()
    with open_page(size=(900, 600)) as (page, console):
        yield page
        assert ours(console) == []


def test_who_watches_can_only_take_the_controls(page: Page) -> None:
    shown = Shown(page, ["head", "tuning"])
    shown.tell()
    orders = {"Pause", "Checkpoint", "Record", "Stop…", "train_config.learning_rate"}
    assert orders <= set(shown.usable()) and "Take controls" not in shown.usable()
    page.get_by_text("History of edits").click()
    assert "undo train_config.learning_rate" in shown.usable()

    shown.view.held_by = HOLDER
    shown.tell()
    assert set(shown.usable()) == {"Take controls", "find a setting"}
    said = page.get_by_role("status").filter(has_text="Watching")
    assert said.inner_text().startswith(f"Watching: {HOLDER} holds the controls."), "and its name is a text"

    page.get_by_role("button", name="Take controls").click()
    shown.reply(shown.ordered("take_controls"), "it is gone", ok=False)
    page.get_by_text("it is gone").wait_for()
    shown.view.held_by = ""
    shown.tell()
    assert orders <= set(shown.usable()) and "Take controls" not in shown.usable()


def test_a_tuner_alone_says_so_too(page: Page) -> None:
    shown = Shown(page, ["tuning"])
    shown.view.held_by = HOLDER
    shown.tell()
    assert set(shown.usable()) == {"Take controls", "find a setting"}

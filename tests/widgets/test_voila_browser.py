"""The dashboard in Voila, which shows a notebook's outputs as a page: a second host beside JupyterLab."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import live_notebook
from tests.support.browser import needs_browser, open_page, ours, voila
from tests.support.live_notebook import FED, SCREENSHOTS, STATE

pytestmark = [pytest.mark.browser, pytest.mark.full, pytest.mark.timeout(900)]
SECONDS = 180_000.0


def test_a_page_of_voila_shows_and_steers_a_session(tmp_path: Path) -> None:
    needs_browser()
    pytest.importorskip("voila")
    cells = [live_notebook.SETUP, live_notebook.SHOW]
    with voila(tmp_path, cells) as address, open_page(size=(1400, 1300)) as (page, console):
        page.goto(address, timeout=SECONDS)
        page.wait_for_function(FED, arg=5, timeout=SECONDS)
        page.wait_for_function("() => document.querySelectorAll('.msnb-tile').length === 4", timeout=SECONDS)
        page.get_by_role("button", name="Pause").click()
        page.wait_for_function(STATE, arg="paused", timeout=SECONDS)
        box = page.get_by_role("textbox", name="train_config.learning_rate")
        box.fill("0.0005")
        box.press("Enter")
        page.get_by_role("button", name="Resume").click()
        applied = """() => document.querySelector('.msnb').msnbStore.edits.some(
          (edit) => edit.value === 0.0005 && edit.status === 'applied')"""
        page.wait_for_function(applied, timeout=SECONDS)
        if SCREENSHOTS:
            page.screenshot(path=Path(SCREENSHOTS) / "voila.png", full_page=True)
        assert ours(console) == []

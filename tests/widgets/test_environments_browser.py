"""Enlarging an environment in a real page, what tells of one that broke, and the panel of resources."""

from __future__ import annotations

import pytest

from tests.support import live_notebook
from tests.support.browser import Server, open_notebook
from tests.support.live_notebook import FED, photograph

pytestmark = [pytest.mark.browser, pytest.mark.full, pytest.mark.timeout(600)]

PAINTED = """
class Painted(Grey):
    render_mode = "rgb_array"
    def render(self):
        return np.full((180, 320, 3), 60 + 10 * self.step_number, np.uint8)
    def get_action_meanings(self):
        return ["WAIT", "DIG", "<b>TURN</b>"]
CONFIG["env_generator"] = Painted
"""
SETUP = live_notebook.SETUP.replace("\nsession = ", PAINTED + "session = ")
CELLS = [SETUP, live_notebook.SHOW, live_notebook.STOP]
SHOW, STOP = 1, 2
SHOWN = """(name) => { const store = document.querySelector('.msnb').msnbStore;
  return store.focus === name && store.large?.name === name && document.querySelector('.msnb-large').width === 320; }"""


def test_an_environment_is_enlarged_and_left_with_the_keyboard_alone(lab_server: Server) -> None:
    with open_notebook(lab_server, CELLS, "enlarged.ipynb", size=(1400, 1300)) as notebook:
        notebook.run(0)
        notebook.run(SHOW)
        notebook.wait(FED, 3, seconds=60)
        page = notebook.page
        notebook.wait("() => document.querySelectorAll('.msnb-tile').length === 4")
        broke = "() => document.querySelector('.msnb-tile[data-name=\"0/0\"]').title.includes('it broke')"
        notebook.wait(broke, seconds=60)
        assert "↻1" in page.locator('.msnb-tile[data-name="0/0"] .msnb-where').inner_text()
        cells = notebook.cells()
        page.locator('.msnb-tile[data-name="0/1"]').press("Enter")
        notebook.wait(SHOWN, "0/1", 60)
        notebook.wait("() => /^(wait|dig|<b>turn<\\/b>)$/.test(document.querySelector('.msnb-pressed').textContent)")
        photograph(notebook, "enlarged")
        page.keyboard.press("ArrowRight")
        notebook.wait(SHOWN, "0/2", 60)
        page.keyboard.press("Escape")
        notebook.wait("() => document.activeElement.dataset.name === '0/2'")
        assert notebook.cells() == cells and page.evaluate("() => document.querySelector('.msnb b')") is None
        row = page.locator(".msnb-resources tbody tr").inner_text()
        assert "rollout worker 0" in row and "alive" in row
        notebook.wait("() => document.querySelectorAll('.msnb-meter').length >= 2")
        notebook.run(STOP)
        assert notebook.errors() == []

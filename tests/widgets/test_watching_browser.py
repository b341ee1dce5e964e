"""What a display offers while another process gives the orders, in a page without Jupyter."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from minestudio_nb.contracts.control import Edit
from minestudio_nb.widgets.dashboard import front_end
from minestudio_nb.widgets.pump import Pump
from tests.support.browser import FLAGS, chromium, needs_browser
from tests.support.scripted_view import ScriptedView

pytestmark = pytest.mark.browser

# A model as anywidget gives it to a display; sent: what the display said; tell(): says something to it.
MODEL = """async ([code, panels]) => {
  const module = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const handlers = [];
  window.sent = [];
  window.tell = (message, buffers) => handlers.forEach((handler) => handler(message,
    buffers.map((text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer))));
  const model = {
    get: (name) => ({ panels, setting_keys: null, session_name: "scripted" })[name],
    on: (event, handler) => { if (event === "msg:custom") handlers.push(handler); }, off() {},
    send: (message) => window.sent.push(message) };
  module.default.render({ model, el: document.body });
}"""
HOLDER = "notebook <b>tune</b>.ipynb (process 4711 on host fox)"


class Shown:
    """A display in a page, fed by a pump whose messages are delivered when the test says so."""

    def __init__(self, page: Page, panels: list[str]) -> None:
        self.view = ScriptedView()
        self.view.add_point(1, ppo__loss=1.0)
        self.view.all_edits.append(Edit(1, "train_config.learning_rate", 1e-4, "applied", 1))
        self.page = page
        self._pump = Pump(self.view, self._deliver)
        code, style = front_end()
        page.set_content(f"<style>{style}</style><body data-jp-theme-light='true'></body>")
        page.evaluate(MODEL, [code, panels])

    def tell(self) -> None:
        """Shows how the view stands now."""
        self._pump._send_history()
        self.page.wait_for_function("(seq) => sent.some((m) => m.k === 'ack' && m.seq === seq)", arg=self._pump._seq)

    def _deliver(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        self.page.evaluate("([m, b]) => tell(m, b)", [message, [base64.b64encode(data).decode() for data in buffers]])

    def usable(self) -> list[str]:
        """Names of the buttons and fields that can be used."""
        names: list[str] = self.page.evaluate(
            "() => [...document.querySelectorAll('button, input')].filter((e) => e.checkVisibility() &&"
            " !e.matches(':disabled')).map((e) => e.getAttribute('aria-label') || e.textContent)"
        )
        return names


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    needs_browser()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield browser.new_page(viewport={"width": 900, "height": 600})
        browser.close()


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
    order = page.evaluate("sent.find((m) => m.k === 'order')")
    assert order["kind"] == "take_controls"
    page.evaluate("(id) => tell({ k: 'reply', id, ok: false, text: 'it is gone' }, [])", order["id"])
    page.get_by_text("it is gone").wait_for()
    shown.view.held_by = ""
    shown.tell()
    assert orders <= set(shown.usable()) and "Take controls" not in shown.usable()


def test_a_tuner_alone_says_so_too(page: Page) -> None:
    shown = Shown(page, ["tuning"])
    shown.view.held_by = HOLDER
    shown.tell()
    assert set(shown.usable()) == {"Take controls", "find a setting"}

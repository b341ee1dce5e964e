"""A display in a page without Jupyter, for tests of what it shows and says."""

from __future__ import annotations

import base64
import time
from typing import Any

from playwright.sync_api import Page

from minestudio_nb.contracts.control import Edit
from minestudio_nb.widgets.dashboard import front_end
from minestudio_nb.widgets.pump import Pump, _Client
from tests.support.scripted_view import ScriptedView

# A model as anywidget gives it to a display; sent: what the display said; tell(): says something to it; cut():
# says that its kernel has gone.
MODEL = """async ([code, panels]) => {
  const module = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const handlers = [];
  window.sent = [];
  window.tell = (message, buffers) => handlers.forEach((handler) => handler(message,
    buffers.map((text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer))));
  const model = {
    get: (name) => ({ panels, setting_keys: null, session_name: "scripted" })[name],
    on: (event, handler) => { if (event === "msg:custom") handlers.push(handler); else window.cut = handler; },
    off() {},
    send: (message) => window.sent.push(message) };
  module.default.render({ model, el: document.body });
}"""


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

    def tell_tiles(self) -> None:
        """Shows the environments of the view, as to a page that looks."""
        self._pump._clients["page"] = _Client(time.monotonic(), self._pump._seq)  # no hello: that starts a thread
        self._pump._send_tick(data=False, frames=True)
        self.page.locator(".msnb-tile").nth(len(self.view.all_tiles) - 1).wait_for()

    def _deliver(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        self.page.evaluate("([m, b]) => tell(m, b)", [message, [base64.b64encode(data).decode() for data in buffers]])

    def reply(self, order: dict[str, Any], text: str = "", ok: bool = True, video: bytes = b"", **more: Any) -> None:
        """Answers an order that the display gave."""
        self._deliver({"k": "reply", "id": order["id"], "ok": ok, "text": text, **more}, [video] if video else [])

    def ordered(self, kind: str) -> dict[str, Any]:
        """The newest order of a kind, which is waited for."""
        found = "(kind) => sent.findLast((m) => m.k === 'order' && m.kind === kind)"
        order: dict[str, Any] = self.page.wait_for_function(found, arg=kind).json_value()
        return order

    def usable(self) -> list[str]:
        """Names of the buttons and fields that can be used."""
        names: list[str] = self.page.evaluate(
            "() => [...document.querySelectorAll('button, input')].filter((e) => e.checkVisibility() &&"
            " !e.matches(':disabled')).map((e) => e.getAttribute('aria-label') || e.textContent)"
        )
        return names

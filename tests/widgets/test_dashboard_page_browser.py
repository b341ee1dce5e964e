"""The display's page in a real JupyterLab, over a session that does as it is told: keyboard, looks, hostile texts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import Notebook, Server, open_notebook
from tests.support.live_notebook import FED, photograph

pytestmark = [pytest.mark.browser, pytest.mark.full, pytest.mark.timeout(900)]

HOSTILE = "</script><img src=x onerror=\"window.hacked = true\"><b>run</b> & '${name}'"
SETUP = f"""
import json, os, threading, time
import numpy as np
from minestudio_nb.config import field_specs
from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.widgets.dashboard import Dashboard
from tests.support.scripted_view import ScriptedView

class Settings(ScriptedView):
    def fields(self):
        return [(spec, self.values.get(key, spec.default)) for key, spec in sorted(field_specs().items()) if spec.live]
    def order(self, kind, **arguments):
        self.orders.append((kind, arguments))
        if kind == "pause":
            self.state = "PAUSED"
        if kind == "resume":
            self.state = "TRAINING"
        if kind == "set":
            self.values[arguments["key"]] = arguments["value"]
            self.all_edits.append(Edit(len(self.all_edits) + 1, arguments["key"], arguments["value"], "applied", 3))
        return kind + " done"

view = Settings()
view.name = {HOSTILE!r}
view.add_tiles(12, side=64)
view.all_events.append(Event("failure", {HOSTILE!r}, "error", {HOSTILE!r}, data={{"detail": {HOSTILE!r}}}))
view.all_episodes.append({{"episode_return": 1.0, "length": 5, "task": {HOSTILE!r}, "version": 1, "stream": [0, 1],
                          "finished_at": 1.7e9}})

def live():
    number = 0
    while True:
        number += 1
        view.add_point(number, {{"task": {{"return_mean": 1.0, "return_std": 0.5}}}}, episode__return=float(number % 7),
                       episode__return_window=number / 10, ppo__value_loss=1 / number, ppo__policy_loss=0.1,
                       ppo__entropy_nats=1.0, ppo__approx_kl_nats=0.01)
        if "dashboard" in globals():
            with open("pump.tmp", "w") as file:
                json.dump({{"running": dashboard.pump.running, **dashboard.pump.statistics}}, file)
            os.replace("pump.tmp", "pump.json")
        time.sleep(0.2)

threading.Thread(target=live, daemon=True).start()
""".strip()
CELLS = [
    SETUP,
    "dashboard = Dashboard(view)\ndashboard",
    "print(json.dumps({'orders': view.orders, 'edits': [[e.key, e.value] for e in view.all_edits]}))",
    "dashboard",
]
SHOW, LOOK, AGAIN = range(1, 4)
CONTROLS = """() => [...document.querySelector('.msnb').querySelectorAll(
  'button, select, input, summary, a[href], video, [tabindex="0"]')]
  .filter((e) => e.checkVisibility() && !e.disabled)"""


@pytest.fixture(scope="module")
def notebook(lab_server: Server) -> Iterator[Notebook]:
    with open_notebook(lab_server, CELLS, "page.ipynb", size=(1400, 1300)) as opened:
        opened.run(0)
        opened.run(SHOW)
        opened.wait(FED, 5, seconds=60)
        opened.wait("() => document.querySelectorAll('.msnb-tile').length === 9")
        yield opened
        assert opened.errors() == []


def kernel_side(notebook: Notebook) -> dict[str, Any]:
    side: dict[str, Any] = json.loads(notebook.text(LOOK))
    return side


def last_order(notebook: Notebook) -> list[Any]:
    order: list[Any] = kernel_side(notebook)["orders"][-1]
    return order


def active_cell(notebook: Notebook) -> int:
    index: int = notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex")
    return index


def test_hostile_texts_are_shown_as_they_are(notebook: Notebook) -> None:
    page = notebook.page
    assert page.locator(".msnb-name").text_content() == HOSTILE
    assert HOSTILE in (page.locator(".msnb-text").first.text_content() or "")
    assert page.locator(".msnb-text pre").first.text_content() == HOSTILE
    assert page.locator(".msnb-table tbody td", has_text="onerror").first.text_content() == HOSTILE
    assert page.locator(".msnb img:not(.msnb-video), .msnb b, .msnb script").count() == 0
    assert page.evaluate("() => window.hacked") is None
    photograph(notebook, "hostile")


def test_tab_reaches_every_control(notebook: Notebook) -> None:
    page = notebook.page
    page.evaluate(f"() => {{ window.controls = ({CONTROLS})(); window.reached = new Set(); }}")
    count = page.evaluate("() => window.controls.length")
    assert count > 40
    page.evaluate("() => window.controls[0].focus()")
    step = """() => { const at = document.activeElement; window.reached.add(at);
      return Boolean(at.closest('.msnb')); }"""
    for _ in range(3 * count):
        if not page.evaluate(step):
            break
        page.keyboard.press("Tab")
    missed = """() => window.controls.filter((e) => e.isConnected && e.checkVisibility() && !window.reached.has(e))
      .map((e) => `${e.tagName} ${e.getAttribute('aria-label') || e.textContent}`)"""
    assert page.evaluate(missed) == []
    assert not page.evaluate("() => Boolean(document.activeElement.closest('.msnb'))"), "and Tab leads out again"


def test_every_control_has_a_name(notebook: Notebook) -> None:
    nameless = f"""() => ({CONTROLS})().filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim()
      || e.labels?.length)).map((e) => e.outerHTML.slice(0, 200))"""
    assert notebook.page.evaluate(nameless) == []


def test_keys_work_the_buttons(notebook: Notebook) -> None:
    page = notebook.page
    page.get_by_role("button", name="Pause").press("Enter")
    page.get_by_role("button", name="Resume").press("Space")
    notebook.wait("() => document.querySelector('.msnb-state').textContent === 'training'")
    assert [kind for kind, _ in kernel_side(notebook)["orders"][-2:]] == ["pause", "resume"]
    for name in ("Checkpoint", "Record"):
        page.get_by_role("button", name=name, exact=True).press("Enter")
        notebook.wait("(text) => document.querySelector('.msnb-note').textContent === text", f"{name.lower()} done")
        assert last_order(notebook)[0] == name.lower()
    tile = page.locator(".msnb-tile").nth(2)
    tile.press("Enter")
    close = page.get_by_role("button", name="Show all")
    close.wait_for()
    close.press("Space")
    tile.wait_for()
    log = page.get_by_role("button", name="log axis of Losses")
    log.press("Space")
    assert log.get_attribute("aria-pressed") == "true"
    log.press("Enter")
    assert log.get_attribute("aria-pressed") == "false"
    meaning = page.get_by_role("button", name="what KL means")
    meaning.press("Enter")
    words = page.get_by_role("figure", name="KL").locator(".msnb-helptext").text_content() or ""
    assert "What bad looks like:" in words
    meaning.press("Enter")


def test_escape_takes_back_the_wish_to_stop(notebook: Notebook) -> None:
    page = notebook.page
    page.get_by_role("button", name="Stop…").press("Enter")
    really = page.get_by_role("button", name="Stop training")
    really.wait_for()
    page.keyboard.press("Escape")
    really.wait_for(state="hidden")
    assert page.evaluate("() => document.activeElement.textContent") == "Stop…"
    assert "stop" not in [kind for kind, _ in kernel_side(notebook)["orders"]]


def test_arrows_on_sliders_stay_there(notebook: Notebook) -> None:
    page = notebook.page
    cells, sliders = notebook.cells(), page.locator(".msnb input[type=range]:visible")
    page.evaluate(f"window.jupyterapp.shell.currentWidget.content.activeCellIndex = {SHOW}")
    assert sliders.count() > 5
    for number in range(sliders.count()):
        slider = sliders.nth(number)
        slider.focus()
        before = slider.input_value()
        slider.press("ArrowRight" if float(before) < float(slider.get_attribute("max") or 0) else "ArrowLeft")
        assert slider.input_value() != before, slider.get_attribute("aria-label")
        for key in ("ArrowDown", "ArrowUp", "a", "d", "d", "x"):  # the notebook's keys for cells
            slider.press(key)
    assert (active_cell(notebook), notebook.cells()) == (SHOW, cells)


def test_a_fast_drag_ends_at_its_last_value(notebook: Notebook) -> None:
    page = notebook.page
    slider = page.get_by_role("slider", name="train_config.learning_rate")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    before = len(kernel_side(notebook)["orders"])
    for turn in range(5):
        page.mouse.move(box["x"] + box["width"] / 2, middle)
        page.mouse.down()
        for number in range(40):
            page.mouse.move(box["x"] + box["width"] * (0.1 + 0.8 * (number * 17 % 40) / 40), middle)
        page.mouse.move(box["x"] + box["width"] * (0.2 + 0.1 * turn), middle)
        page.mouse.up()
    shown = float(page.get_by_role("textbox", name="train_config.learning_rate").input_value())
    deadline = time.monotonic() + 30
    while (edits := [v for k, v in kernel_side(notebook)["edits"] if k == "train_config.learning_rate"])[-1] != shown:
        assert time.monotonic() < deadline, (edits, shown)
    assert len(kernel_side(notebook)["orders"]) - before <= 5, "an edit for each drag, not for each pixel"
    notebook.wait("(value) => document.querySelector('.msnb').msnbStore.edits.at(-1).value === value", shown)
    assert float(page.get_by_role("textbox", name="train_config.learning_rate").input_value()) == shown


CONTRAST = """() => {  // WCAG's contrast ratio of each text and what is behind it; 4.5 is asked for
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const linear = (c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll('.msnb *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.disabled || element.closest('.msnb-tile, .msnb-focus')) continue;
    const pair = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${element.className} ${element.textContent.slice(0, 30)}`);
  }
  return [...new Set(poor)];
}"""


def set_theme(notebook: Notebook, name: str) -> None:
    change = "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
    notebook.page.evaluate(change, f"JupyterLab {name}")
    dark = name == "Dark"
    notebook.wait("(dark) => document.querySelector('.msnb').classList.contains('msnb-dark') === dark", dark, 60)


def test_both_themes_can_be_read(notebook: Notebook) -> None:
    page = notebook.page
    page.mouse.move(0, 0)
    try:
        for name, darkness in (("Dark", (0, 60)), ("Light", (200, 256))):
            set_theme(notebook, name)
            paper = page.evaluate("() => getComputedStyle(document.querySelector('.msnb')).backgroundColor")
            level = int(paper.removeprefix("rgb(").split(",")[0])
            assert darkness[0] <= level < darkness[1], paper
            poor = page.evaluate(CONTRAST)
            assert not poor, f"{name}: {poor}"
            ink = page.evaluate("() => getComputedStyle(document.querySelector('.msnb .msnb-value')).color")
            assert (int(ink.removeprefix("rgb(").split(",")[0]) > 128) == (name == "Dark")
            photograph(notebook, f"theme_{name.lower()}")
    finally:
        set_theme(notebook, "Light")


OVERFLOWING = """() => {
  const root = document.querySelector('.msnb'), right = root.getBoundingClientRect().right;
  const clipped = (e) => {
    for (let at = e.parentElement; at && at !== root; at = at.parentElement)
      if (getComputedStyle(at).overflowX !== 'visible') return true;
    return false;
  };
  return [...root.querySelectorAll('*')]
    .filter((e) => e.checkVisibility() && !clipped(e) && e.getBoundingClientRect().right > right + 1)
    .map((e) => `${e.tagName} ${e.className} ${e.textContent.slice(0, 30)}`)
    .concat(root.scrollWidth > root.clientWidth ? [`root ${root.scrollWidth} > ${root.clientWidth}`] : []);
}"""


@pytest.mark.parametrize("width", [400, 800, 1000])
def test_no_width_makes_it_overflow(notebook: Notebook, width: int) -> None:
    page = notebook.page
    resize = "(width) => { document.querySelector('.msnb').style.width = width; }"
    page.evaluate(resize, f"{width}px")
    try:
        notebook.wait(
            "(width) => [...document.querySelectorAll('.msnb .uplot')].every((plot) => plot.offsetWidth < width)", width
        )
        assert page.evaluate(OVERFLOWING) == []
        photograph(notebook, f"width_{width}")
    finally:
        page.evaluate(resize, "")


def test_a_page_that_closes_is_sent_nothing_more(notebook: Notebook) -> None:
    def pump() -> dict[str, Any]:
        state: dict[str, Any] = json.loads((notebook.folder / "pump.json").read_text())
        return state

    assert pump()["running"]
    notebook.page.close(run_before_unload=False)
    deadline = time.monotonic() + 60
    while pump()["running"]:
        assert time.monotonic() < deadline, "the pump runs on"
        time.sleep(0.1)
    messages = pump()["messages"]
    time.sleep(1.0)
    assert pump()["messages"] == messages

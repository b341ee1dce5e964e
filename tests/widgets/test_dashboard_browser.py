"""The dashboard in a real JupyterLab in a real Chromium, over a session that really trains."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Notebook, Server, open_notebook

pytestmark = pytest.mark.browser

SETUP = """
import asyncio, json, os, time
import gymnasium, numpy as np
import minestudio_nb as ms

class Grey(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)
    def __init__(self, index):
        self.fails = index == 0 and os.environ.setdefault("BROKEN_ONCE", "no") == "no"
    def look(self):
        time.sleep(0.002)  # a world takes its time
        return np.full((64, 64, 3), 60 + 10 * self.step_number, np.uint8)
    def reset(self, *, seed=None, options=None):
        self.step_number = 0
        return self.look(), {}
    def step(self, action):
        self.step_number += 1
        if self.fails and self.step_number == 7:
            os.environ["BROKEN_ONCE"] = "yes"
            raise RuntimeError("<img src=x onerror='window.hacked = true'> it broke")
        return self.look(), float(action == 1), self.step_number >= 10, False, {}

session = ms.OnlineSession("live", runtime="inline")
session.load_config({"env_generator": Grey, "online_dict": {
    "policy_config": {"name": "cnn", "args": {}},
    "rollout_config": {"num_rollout_workers": 1, "fragment_length": 8,
                       "worker_config": {"num_envs": 4, "execution": "in_worker"}},
    "train_config": {"batch_size_per_gpu": 2, "batches_per_iteration": 2, "num_iterations": 100000,
                     "learning_rate": 1e-3}}})
session.start_rollout(); session.start_trainer()
""".strip()
CELLS = [
    SETUP,
    "dashboard = session.dashboard()\ndashboard",
    "session.status(); print(json.dumps({'state': session.state, 'running': dashboard.pump.running,"
    " 'edits': [[e.value, e.status, e.iteration] for e in session.edit_list],"
    " 'returns': [[p['iteration'], p['values'].get('ppo/value_loss')] for p in session.points]}))",
    "time.sleep(10)",
    "await asyncio.sleep(10)",
    "dashboard.close(); print(session.stop().iterations)",
]
SHOW, LOOK, BUSY, AWAIT, STOP = range(1, 6)
SCREENSHOTS = os.environ.get("MSNB_SCREENSHOTS")
"""A folder for pictures of what the test saw, for people."""
RUNS = "() => window.msnbRun === 'running'"
STATE = "(state) => document.querySelector('.msnb-state')?.textContent === state"
BUSY_SECONDS = 8.0
"""Within this time an order must have been carried out while a cell of ten seconds runs."""


@pytest.fixture(scope="module")
def notebook(lab_server: Server) -> Iterator[Notebook]:
    with open_notebook(lab_server, CELLS, "dashboard.ipynb", size=(1400, 1300)) as opened:
        opened.run(0)
        opened.run(SHOW)
        opened.wait("() => document.querySelector('.msnb')?.msnbStore.length > 5", seconds=60)
        yield opened
        opened.run(STOP)


def python_side(notebook: Notebook) -> dict[str, Any]:
    side: dict[str, Any] = json.loads(notebook.text(LOOK))
    return side


def photograph(notebook: Notebook, name: str) -> None:
    if SCREENSHOTS:
        notebook.page.locator(".msnb").screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def losses(notebook: Notebook) -> list[list[float]]:
    """Iteration and value loss of the curve in the page."""
    script = """() => { const { columns } = document.querySelector('.msnb').msnbStore;
      return columns.iteration.map((k, i) => [k, columns['ppo/value_loss'][i]]); }"""
    found: list[list[float]] = notebook.page.evaluate(script)
    return found


def test_what_trains_is_seen(notebook: Notebook) -> None:
    notebook.wait(STATE, "training")
    notebook.wait("() => document.querySelectorAll('.msnb-tile').length === 4")
    notebook.wait("() => document.querySelectorAll('.msnb-chart:not([hidden]) canvas').length >= 8")
    notebook.wait("() => /step [0-9]+ · R [0-9]/.test(document.querySelector('.msnb-what').textContent)")
    shown = losses(notebook)
    known = python_side(notebook)["returns"][: len(shown)]
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
    assert page.evaluate(RUNS), "the order was carried out while the cell ran"
    page.get_by_role("button", name="Resume").click()
    notebook.wait(STATE, "training", BUSY_SECONDS)
    notebook.finish(BUSY)


def test_an_edit_during_an_await_is_applied_and_marked(notebook: Notebook) -> None:
    page = notebook.page
    notebook.start(AWAIT)
    box = page.get_by_role("textbox", name="train_config.learning_rate")
    box.fill("0.0005")
    box.press("Enter")
    applied = "() => /applied @ iteration/.test(document.querySelector('.msnb-applied').textContent)"
    notebook.wait(applied, seconds=BUSY_SECONDS)
    assert page.evaluate(RUNS)
    slider = page.get_by_role("slider", name="train_config.learning_rate")
    cells = notebook.cells()
    slider.focus()
    slider.press("ArrowRight")  # a range answers to arrows, and the notebook's shortcuts do not
    slider.press("b")
    notebook.wait("() => document.querySelector('.msnb').msnbStore.edits.length >= 2")
    notebook.finish(AWAIT)
    assert notebook.cells() == cells
    value, status, iteration = python_side(notebook)["edits"][0]
    assert (value, status) == (0.0005, "applied") and iteration > 0
    box.fill("7")
    box.press("Enter")
    notebook.wait("() => /came/.test(document.querySelector('.msnb-applied').textContent)")
    photograph(notebook, "dashboard_edited")


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
    known = python_side(notebook)["returns"]
    assert after == known[: len(after)]


@pytest.mark.full
def test_nothing_is_sent_when_nobody_looks(notebook: Notebook) -> None:
    assert python_side(notebook)["running"]
    notebook.page.evaluate(f"window.jupyterapp.shell.currentWidget.content.activeCellIndex = {SHOW}")
    notebook.page.evaluate("window.jupyterapp.commands.execute('notebook:clear-cell-output')")
    notebook.wait("() => !document.querySelector('.msnb')")
    for _ in range(40):
        if not python_side(notebook)["running"]:
            return
        notebook.page.wait_for_timeout(250)
    pytest.fail("the pump runs on")

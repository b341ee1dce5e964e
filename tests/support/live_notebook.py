"""Cells of a notebook in which a small session really trains, and what a test reads of page and kernel."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.support.browser import Notebook

ENVIRONMENT = """
import asyncio, json, os, shutil, time
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

CONFIG = {"env_generator": Grey, "online_dict": {
    "policy_config": {"name": "cnn", "args": {}},
    "rollout_config": {"num_rollout_workers": 1, "fragment_length": 8,
                       "worker_config": {"num_envs": 4, "execution": "in_worker"}},
    "train_config": {"batch_size_per_gpu": 2, "batches_per_iteration": 2, "num_iterations": 100000,
                     "learning_rate": 1e-3}}}
""".strip()
SETUP = f"""{ENVIRONMENT}
shutil.rmtree("runs/live", ignore_errors=True)  # of another test's notebook
session = ms.OnlineSession("live", runtime="inline")
session.load_config(CONFIG)
session.start_rollout(); session.start_trainer()"""
SHOW = "dashboard = session.dashboard()\ndashboard"
LOOK = (
    "session.status(); print(json.dumps({'state': session.state, 'running': dashboard.pump.running,"
    " 'edits': [[e.value, e.status, e.iteration] for e in session.edit_list],"
    " 'losses': [[p['iteration'], p['values'].get('ppo/value_loss')] for p in session.points]}))"
)
BUSY = """deadline = time.monotonic() + 90
while not os.path.exists("enough") and time.monotonic() < deadline:
    time.sleep(0.5)"""
"""A cell that keeps the kernel busy until the test has seen enough."""
AWAIT = BUSY.replace("time.sleep", "await asyncio.sleep")
STOP = "dashboard.close(); print(session.stop().iterations)"

SCREENSHOTS = os.environ.get("MSNB_SCREENSHOTS")
"""A folder for pictures of what a test saw, for people."""
RUNS = "() => window.msnbRun === 'running'"
STATE = "(state) => document.querySelector('.msnb-state')?.textContent === state"
FED = "(count) => document.querySelector('.msnb')?.msnbStore.length > count"


def photograph(notebook: Notebook, name: str) -> None:
    """Keeps a picture of the display, for people."""
    if SCREENSHOTS:
        notebook.page.locator(".msnb").first.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def losses(notebook: Notebook, which: int = 0) -> list[list[float]]:
    """Iteration and value loss of the curve that a view in the page holds."""
    script = """(which) => { const { columns } = document.querySelectorAll('.msnb')[which].msnbStore;
      return columns.iteration.map((k, i) => [k, columns['ppo/value_loss'][i]]); }"""
    found: list[list[float]] = notebook.page.evaluate(script, which)
    return found


def enough(notebook: Notebook, cell: int) -> None:
    """Ends the cell BUSY or AWAIT, which must still run: what came before came while it ran."""
    assert notebook.page.evaluate(RUNS)
    marker = notebook.folder / "enough"
    marker.touch()
    notebook.finish(cell)
    marker.unlink()


def python_side(notebook: Notebook, cell: int) -> dict[str, Any]:
    """What the kernel says in its cell LOOK."""
    side: dict[str, Any] = json.loads(notebook.text(cell))
    return side

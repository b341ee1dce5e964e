"""play() in a real JupyterLab in a real Chromium: keys and mouse move the world, and nothing else."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minestudio_nb as ms
from minestudio_nb.simulator import VoxelSim
from tests.support.browser import Notebook, Server, open_notebook

pytestmark = pytest.mark.browser

OPTIONS: dict[str, Any] = {
    "action_type": "env",
    "seed": 11,
    "preferred_spawn_biome": "plains",
    "world_size": 64,
    "pool_size": 1,
    "obs_size": (32, 32),
}
CELLS = [
    f"import json, threading\nfrom minestudio_nb.simulator import VoxelSim\nsim = VoxelSim(**{OPTIONS!r})",
    "player = sim.play(run_root='runs', record=True)\nplayer",
    "print(json.dumps({**player.status(), **sim.info['player_pos'], 'slot': sim.info['selected_slot'],"
    " 'threads': [t.name for t in threading.enumerate() if t.name == 'minestudio_nb-play']}))",
    "player.close()",
]
SHOW, LOOK, CLOSE = 1, 2, 3
CANVAS = ".msnb-play canvas"
SCREENSHOTS = os.environ.get("MSNB_SCREENSHOTS")
"""A folder for pictures of what the test saw, for people."""


@pytest.fixture(scope="module")
def notebook(lab_server: Server) -> Iterator[Notebook]:
    with open_notebook(lab_server, CELLS, "play.ipynb", size=(1100, 1000)) as opened:
        opened.run(0)
        yield opened


def state(notebook: Notebook) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(notebook.text(LOOK))
    return result


def until(condition: Callable[[], bool], what: str) -> None:
    pause, end = threading.Event(), time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        pause.wait(0.1)


def picture(notebook: Notebook) -> str:
    data: str = notebook.page.evaluate(f"() => document.querySelector('{CANVAS}').toDataURL()")
    return hashlib.sha256(data.encode()).hexdigest()


def shown(notebook: Notebook, label: str) -> str:
    return notebook.page.locator(f".msnb-play .bar span:has(> .label:text-is('{label}')) b").inner_text()


def wait_steps(notebook: Notebook, more: int) -> None:
    """Until the view shows that so many ticks more have passed."""
    at = int(shown(notebook, "step"))
    notebook.wait(
        "(least) => [...document.querySelectorAll('.msnb-play .bar span')].some(cell =>"
        " cell.querySelector(':scope > .label')?.textContent === 'step'"
        " && Number(cell.querySelector('b').textContent) >= least)",
        at + more,
    )


def keep(notebook: Notebook, name: str) -> None:
    if SCREENSHOTS:
        notebook.page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))


def test_a_person_walks_turns_and_digs(notebook: Notebook) -> None:
    notebook.run(SHOW)
    page = notebook.page
    canvas = page.locator(CANVAS)
    notebook.wait(f"() => document.querySelector('{CANVAS}').getContext('2d').getImageData(320, 180, 1, 1).data[3] > 0")
    keep(notebook, "1-before")
    first, began, cells = picture(notebook), state(notebook), notebook.cells()
    assert began["state"] == "paused" and began["step"] == 0

    canvas.click()  # begins, and is no attack
    notebook.wait("() => document.querySelector('.msnb-play .banner').hidden")
    wait_steps(notebook, 2)
    page.keyboard.press("w")
    page.keyboard.down("w")  # twice: sprints
    wait_steps(notebook, 30)
    page.keyboard.up("w")
    wait_steps(notebook, 2)
    box = canvas.bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(middle[0] + 100, middle[1] + 20, steps=5)
    page.mouse.up()
    page.keyboard.press("4")
    for letter in "ddab":  # JupyterLab's own: delete, insert a cell above, below
        page.keyboard.press(letter)
    wait_steps(notebook, 3)
    keep(notebook, "2-playing")
    assert shown(notebook, "speed").split()[1] == "ticks/s,"
    page.keyboard.press("Escape")
    notebook.wait("() => !document.querySelector('.msnb-play .banner').hidden")

    after = state(notebook)
    assert after["state"] == "paused" and after["threads"] == ["minestudio_nb-play"]
    assert picture(notebook) != first
    walked = math.dist((began["x"], began["z"]), (after["x"], after["z"]))
    assert 3.0 < walked < 0.29 * after["step"], "some 30 ticks, none faster than a sprint of 5.6 m/s"
    assert after["yaw"] - began["yaw"] == pytest.approx(15.0, abs=0.5), "100 pixels of 0.15 degrees"
    assert after["pitch"] - began["pitch"] == pytest.approx(3.0, abs=0.5)
    assert after["slot"] == 3
    assert notebook.cells() == cells, "keys reach the game only"
    step = after["step"]
    assert state(notebook)["step"] == step, "a paused world stands still"
    assert notebook.errors() == []


def test_the_recording_of_what_was_played_leads_to_the_same_place(notebook: Notebook) -> None:
    """Goes on after the test above."""
    before = state(notebook)
    notebook.page.locator(".msnb-play button:text('New episode')").click()
    notebook.wait("() => document.querySelector('.msnb-play [role=status]').textContent.includes('recorded in runs')")
    assert state(notebook)["episode"] == 2
    folder = notebook.folder / notebook.page.locator(".msnb-play [role=status]").inner_text().split("recorded in ")[1]
    until(lambda: (folder / "episode.json").is_file(), "the episode is on disk")
    demonstration = ms.load_demonstration(folder / "demonstration.npz")
    assert len(demonstration) == before["step"]
    pressed = dict(zip(demonstration.buttons, demonstration.env_buttons.sum(axis=0).tolist(), strict=True))
    # The view shows the step a little late, so the key was down for some 30 ticks.
    assert pressed["forward"] >= 20 and pressed["sprint"] >= 15 and pressed["attack"] >= 1 and pressed["hotbar.4"] == 1
    sim = VoxelSim(**OPTIONS)
    sim.reset()
    for step in range(len(demonstration)):
        obs, *_, info = sim.step(demonstration.env_action(step))
    assert info["player_pos"] == {axis: before[axis] for axis in ("x", "y", "z", "pitch", "yaw")}
    assert np.array_equal(obs["image"], demonstration.image[-1])


def test_the_keyboard_alone_is_enough_and_leaving_the_picture_pauses(notebook: Notebook) -> None:
    page, before = notebook.page, state(notebook)
    page.locator(CANVAS).focus()
    page.keyboard.press("Enter")
    notebook.wait("() => document.querySelector('.msnb-play .banner').hidden")
    page.keyboard.down("ArrowRight")
    wait_steps(notebook, 10)
    page.keyboard.up("ArrowRight")
    page.keyboard.press("Tab")  # leaves the picture
    notebook.wait("() => document.querySelector('.msnb-play .big').textContent === 'Paused'")
    record = page.locator(".msnb-play button:text('Record')")
    assert record.get_attribute("aria-pressed") == "true"
    record.click()
    notebook.wait("() => document.querySelector('.msnb-play button').getAttribute('aria-pressed') === 'false'")
    after = state(notebook)
    assert after["state"] == "paused" and after["recording"] is False
    turned = (after["yaw"] - before["yaw"]) % 360.0
    assert turned >= 54.0 and turned / 6.0 == pytest.approx(round(turned / 6.0), abs=1e-3), "6 degrees a tick"


def test_a_view_that_is_gone_stops_the_world_and_closing_ends_everything(notebook: Notebook) -> None:
    page = notebook.page
    page.locator(CANVAS).focus()
    page.keyboard.press("Enter")
    wait_steps(notebook, 2)
    page.evaluate(f"() => window.jupyterapp.shell.currentWidget.content.widgets[{SHOW}].model.clearExecution()")
    notebook.wait("() => !document.querySelector('.msnb-play')")
    until(lambda: state(notebook)["threads"] == [], "the thread has ended")
    stopped = state(notebook)
    assert stopped["state"] == "paused" and state(notebook)["step"] == stopped["step"]
    notebook.run(CLOSE)
    assert state(notebook)["state"] == "closed"
    assert notebook.errors() == []

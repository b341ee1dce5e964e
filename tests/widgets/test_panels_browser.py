"""Curves and recorded episodes in a page without Jupyter: what cursor, zoom, buttons and scrubbing do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page

from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.telemetry.video import write_video
from tests.support.browser import needs_browser, open_page, ours
from tests.support.shown import Shown

pytestmark = pytest.mark.browser

PIXELS = "(chart) => chart.querySelector('canvas').toDataURL()"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    needs_browser()
    with open_page(size=(1200, 900)) as (page, console):
        yield page
        assert ours(console) == []


def number(chart: Locator, low: float, high: float) -> float:
    """What stands beside a chart's only name, as soon as that lies between two numbers."""
    between = """([chart, low, high]) => {
      const value = parseFloat(chart.querySelector('.msnb-value').textContent);
      return value >= low && value <= high && value;
    }"""
    value: float = chart.page.wait_for_function(between, arg=[chart.element_handle(), low, high]).json_value()
    return value


def test_cursor_and_zoom_of_one_chart_are_those_of_all(page: Page) -> None:
    shown = Shown(page, ["curves"])
    shown.view.all_points = []
    for iteration in range(1, 101):
        shown.view.add_point(iteration, ppo__entropy_nats=float(iteration), ppo__clip_fraction=iteration / 1000)
    shown.tell()
    entropy, clipped = page.get_by_role("figure", name="Entropy"), page.get_by_role("figure", name="Clip fraction")
    number(entropy, 100, 100)  # the latest, without a cursor
    number(clipped, 0.1, 0.1)
    box = entropy.locator(".u-over").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    here = number(entropy, 46, 55)
    number(clipped, here / 1000 - 1e-6, here / 1000 + 1e-6)

    part, before = page.get_by_label("part of the run"), clipped.evaluate(PIXELS)
    page.mouse.move(box["x"] + box["width"] * 0.2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, middle, steps=5)
    page.mouse.up()
    page.wait_for_function("([part]) => part.value === 'zoom'", arg=[part.element_handle()])
    page.wait_for_function(f"([chart, before]) => ({PIXELS})(chart) !== before", arg=[clipped.element_handle(), before])
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    number(entropy, 28, 33)  # the middle of what was chosen
    shown.view.add_point(101, ppo__entropy_nats=101.0, ppo__clip_fraction=0.101)
    shown.tell()
    part.select_option("1")
    page.mouse.move(0, 0)
    number(entropy, 101, 101)


def recording(path: str, episode_return: float) -> Event:
    data = {"path": path, "episode_return": episode_return, "finished_at": 1.7e9, "task": "<b>dig</b>"}
    return Event("recording", path, data=data)


def test_recorded_episodes_are_chosen_played_and_scrubbed(page: Page, tmp_path: Path) -> None:
    frames = [np.full((32, 32, 3), 60 * k, np.uint8) for k in range(4)]
    video = write_video(frames, tmp_path / "video", fps=4)
    assert video is not None
    shown = Shown(page, ["episodes"])
    shown.view.all_events = [recording("a/first.mp4", 2.0), recording("a/best.mp4", 9.0), recording("a/worst.mp4", 1.0)]
    shown.view.all_events.append(recording("a/last.mp4", 5.0))
    shown.tell()
    for button, path in (("Best", "a/best.mp4"), ("Worst", "a/worst.mp4"), ("Latest", "a/last.mp4")):
        page.get_by_role("button", name=button).press("Enter")
        order = shown.ordered("play")
        assert order["arguments"] == {"path": path}
        shown.reply(order, "it was deleted", ok=False)
    page.get_by_text("it was deleted").wait_for()

    page.get_by_label("recorded episode", exact=True).first.select_option("a/first.mp4")
    numbers: dict[str, Any] = {"rewards": [0.0, 1.0, 1.0, 0.0], "values": [1.5, 1.25, None, 0.25]}
    numbers |= {"advantages": [0.5, 0.75, 0.0, -0.25], "actions": [[0], [3], [3], [1]]}
    media = "video/mp4" if video.path.suffix == ".mp4" else "image/gif"
    shown.reply(shown.ordered("play"), video=video.path.read_bytes(), media_type=media, **numbers)
    scrub = page.get_by_label("step of the episode")
    scrub.wait_for()
    download = page.get_by_role("link", name="Download")
    assert download.get_attribute("download") == "first.mp4" and str(download.get_attribute("href")).startswith("blob:")
    scrub.focus()
    scrub.press("End")
    told = page.locator(".msnb-player .msnb-caption").first
    assert told.inner_text() == "step 4 of 4 · reward 0 · return 2 · value 0.25 · advantage -0.25 · action [1]"
    scrub.press("ArrowLeft")
    assert told.inner_text() == "step 3 of 4 · reward 1 · return 2 · value – · advantage 0 · action [3]"
    if media == "video/mp4":
        page.wait_for_function("() => Math.abs(document.querySelector('video').currentTime - 2.5 / 4) < 0.2")
    assert page.locator(".msnb b").count() == 0

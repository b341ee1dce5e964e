"""The panels of a display in a page without Jupyter: what they show, and what their controls do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.telemetry.video import write_video
from tests.support.browser import needs_browser, open_page, ours
from tests.support.shown import Shown

pytestmark = pytest.mark.browser

COLOUR = "(element) => getComputedStyle(element).backgroundColor"
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


def test_smoothing_weighs_what_came_before(page: Page) -> None:
    shown = Shown(page, ["curves"])
    shown.view.all_points = []
    for iteration, entropy in enumerate([0.0, 4.0], start=1):
        shown.view.add_point(iteration, ppo__entropy_nats=entropy)
    shown.tell()
    chart = page.get_by_role("figure", name="Entropy")
    number(chart, 4, 4)
    page.get_by_label("smoothing").fill("0.5")
    number(chart, 2.67, 2.67)  # (0 * 0.25 + 4 * 0.5) / 0.75
    page.get_by_label("smoothing").fill("0")
    number(chart, 4, 4)


# The share of a chart's height, from its lower end, in which the first line's band is drawn at half the width.
BAND = """(chart) => {
  const canvas = chart.querySelector('canvas');
  const over = chart.querySelector('.u-over').getBoundingClientRect();
  const all = canvas.getBoundingClientRect();
  const scale = canvas.width / all.width;
  const { data } = canvas.getContext('2d').getImageData((over.left - all.left + over.width * 0.47) * scale,
    (over.top - all.top) * scale, 1, over.height * scale);
  const rows = [];
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 20 && data[i + 2] - data[i] > 100) rows.push(i / 4);
  return [1 - rows[rows.length - 1] / (data.length / 4), 1 - rows[0] / (data.length / 4)];
}"""


def test_returns_have_a_line_and_a_band_for_each_task(page: Page) -> None:
    shown = Shown(page, ["curves"])
    shown.view.all_points = []
    dig = {"return_mean": 10.0, "return_std": 2.0}
    for iteration in (1, 2, 3):
        shown.view.add_point(iteration, {"<b>dig</b>": dig}, episode__return_window=10.0)
    shown.tell()
    chart = page.get_by_role("figure", name="Return")
    low, high = chart.evaluate(BAND)  # 8 to 12 of an axis with 8 % of 4 more on either side
    assert (low, high) == (pytest.approx(0.32 / 4.64, abs=0.02), pytest.approx(4.32 / 4.64, abs=0.02))
    keys = chart.locator(".msnb-key")
    assert keys.count() == 1, "of one task there is nothing to tell apart"

    both = {"<b>dig</b>": dig, "hunt": {"return_mean": 4.0, "return_std": 1.0}}
    shown.view.add_point(4, both, episode__return_window=7.0)
    shown.tell()
    expect(keys).to_have_text(["latest episodes7", "<b>dig</b>10", "hunt4"])


def test_edits_checkpoints_and_faults_are_marked(page: Page) -> None:
    shown = Shown(page, ["curves"])
    shown.view.all_points = []
    for iteration in range(1, 102):
        shown.view.add_point(iteration, episode__return_window=float(iteration))
    shown.view.all_edits = [
        Edit(1, "train_config.learning_rate", 1e-4, "applied", 11),
        Edit(2, "train_config.discount", 7.0, "rejected", 61, "too large"),
    ]
    shown.view.all_events = [
        Event("checkpoint", "Checkpoint <b>7</b>", iteration=31),
        Event("env_restart", "a world broke", "warning", iteration=41),
        Event("error", "no disk", "error", time=1.7e9 + 51),
        Event("edit", "too large", "warning", iteration=61, data={"revision": 2}),
        Event("recording", "seen", iteration=71),
    ]
    shown.tell()
    box = page.get_by_role("figure", name="Return").locator(".u-over").bounding_box()
    assert box is not None
    told = page.locator(".msnb-told")
    for iteration, text in (
        (11, "▲ train_config.learning_rate = 0.0001"),
        (31, "◆ Checkpoint <b>7</b>"),
        (41, "✕ a world broke"),
        (51, "✕ no disk"),
        (61, ""),
        (71, ""),
    ):
        page.mouse.move(box["x"] + box["width"] * (iteration - 1) / 100, box["y"] + box["height"] / 2)
        expect(told).to_have_text(text)


def test_undo_is_ordered_and_its_refusal_shown(page: Page) -> None:
    shown = Shown(page, ["tuning"])
    shown.view.all_edits.append(Edit(2, "train_config.learning_rate", 7.0, "rejected", None, "too large"))
    shown.tell()
    page.get_by_text("History of edits").click()
    undo = page.get_by_role("button", name="undo train_config.learning_rate")
    assert undo.count() == 1, "what was rejected cannot be undone"
    undo.click()
    order = shown.ordered("undo")
    assert order["arguments"] == {"revision": 1}
    shown.reply(order, "the session has <b>ended</b>", ok=False)
    page.get_by_text("the session has <b>ended</b>").wait_for()


def test_episodes_are_sorted_by_any_column(page: Page) -> None:
    shown = Shown(page, ["episodes"])
    for k, (episode_return, length, task, stream) in enumerate(
        [(2.0, 30, "dig", ["1", "0"]), (-10.0, 200, "hunt", ["0", "1"]), (9.0, 4, "climb", ["0", "0"])]
    ):
        row = {"episode_return": episode_return, "length": length, "task": task, "stream": stream, "version": 20 - k}
        shown.view.all_episodes.append({**row, "finished_at": 1.7e9 + k})
    shown.tell()
    table = page.get_by_role("table")
    tasks = table.locator("tbody tr td:nth-child(3)")
    expect(tasks).to_have_text(["climb", "hunt", "dig"])  # the newest first
    for column, order in {
        "return": ["climb", "dig", "hunt"],
        "length": ["hunt", "dig", "climb"],
        "task": ["hunt", "dig", "climb"],
        "version": ["dig", "hunt", "climb"],
        "worker": ["dig", "hunt", "climb"],
        "ended": ["climb", "hunt", "dig"],
    }.items():
        heading = table.get_by_role("columnheader", name=column)
        heading.get_by_role("button").click()
        expect(heading).to_have_attribute("aria-sort", "descending")
        expect(tasks).to_have_text(order)
        heading.get_by_role("button").press("Enter")
        expect(heading).to_have_attribute("aria-sort", "ascending")
        expect(tasks).to_have_text(order[::-1])


def test_events_are_filtered_and_stay_so(page: Page) -> None:
    shown = Shown(page, ["events"])
    shown.view.all_events = [Event("a", "fine"), Event("b", "odd", "warning"), Event("c", "<b>bad</b>", "error")]
    shown.tell()
    texts, which = page.locator(".msnb-event .msnb-text"), page.get_by_label("which events")
    expect(texts).to_have_text(["<b>bad</b>", "odd", "fine"])
    which.select_option("bad")
    expect(texts).to_have_text(["<b>bad</b>", "odd"])
    which.select_option("error")
    expect(texts).to_have_text(["<b>bad</b>"])
    shown.view.all_events += [Event("a", "fine again"), Event("c", "worse", "error")]
    shown.tell()
    expect(texts).to_have_text(["worse", "<b>bad</b>"])


LOOKED = """(wanted) => sent.some((m) => m.k === 'look' && Object.entries(wanted).every(
  ([key, value]) => JSON.stringify(m[key]) === JSON.stringify(value)))"""


def test_number_of_tiles_and_rate_are_asked_for(page: Page) -> None:
    shown = Shown(page, ["environments"])
    shown.view.add_tiles(6)
    shown.tell()
    shown.tell_tiles()
    page.get_by_label("number of environments shown").select_option("4")
    page.wait_for_function(LOOKED, arg={"fps": 5, "tiles": ["0/0", "0/1", "0/2", "0/3"], "focus": None})
    page.get_by_label("pictures per second").select_option("2")
    page.wait_for_function(LOOKED, arg={"fps": 2, "tiles": ["0/0", "0/1", "0/2", "0/3"]})
    page.get_by_role("button", name="next environments").click()
    page.wait_for_function(LOOKED, arg={"fps": 2, "tiles": ["0/4", "0/5"]})
    page.get_by_label("pictures per second").select_option("0")
    page.wait_for_function(LOOKED, arg={"fps": 0, "tiles": ["0/4", "0/5"]})


def test_stop_asks_first(page: Page) -> None:
    shown = Shown(page, ["head"])
    shown.tell()
    stop, really = page.get_by_role("button", name="Stop…"), page.get_by_role("button", name="Stop training")
    for leave in (lambda: page.keyboard.press("Escape"), lambda: page.keyboard.press("Enter")):  # on "Go on"
        stop.press("Enter")
        expect(page.get_by_role("button", name="Go on")).to_be_focused()
        leave()
        expect(really).to_be_hidden()
        expect(stop).to_be_focused()
    assert page.evaluate("() => sent.every((m) => m.k !== 'order')")
    stop.click()
    really.click()
    order = shown.ordered("stop")
    assert order["arguments"] == {}
    shown.reply(order, "Stopped after 4 iterations.")
    page.get_by_text("Stopped after 4 iterations.").wait_for()
    expect(really).to_be_hidden()


def test_head_tells_time_left_and_fill_of_the_buffer(page: Page) -> None:
    shown = Shown(page, ["head"])
    shown.view.all_points = []
    for iteration in range(1, 5):  # one second each
        shown.view.add_point(iteration, buffer__fragments=48.0)
    shown.view.status = {"iteration": 4, "num_iterations": 100}
    shown.tell()
    page.get_by_text("iteration 4 of 100 · 1:36 left").wait_for()
    buffer = page.locator(".msnb-pair", has_text="buffer").locator("dd")
    expect(buffer).to_have_text("48")
    shown.view.status["buffer_fragments"] = 64
    shown.tell()
    expect(buffer).to_have_text("75 % of 64")


def test_head_says_when_the_kernel_has_gone(page: Page) -> None:
    shown = Shown(page, ["head"])
    shown.view.add_point(2)
    shown.tell()
    chip = page.locator(".msnb-state")
    expect(chip).to_have_text("training")
    training, left = chip.evaluate(COLOUR), page.get_by_text(" left")
    expect(left).to_be_visible()
    page.evaluate("() => cut()")
    expect(chip).to_have_text("no kernel")
    page.get_by_role("alert").filter(has_text="The kernel does not answer").wait_for()
    assert chip.evaluate(COLOUR) != training
    expect(left).to_have_count(0)
    shown.tell()  # it only was busy
    expect(chip).to_have_text("training")
    assert chip.evaluate(COLOUR) == training

"""What a display is sent: nothing twice, nothing lost, nothing unasked."""

from __future__ import annotations

import io
import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.contracts.view import Tile
from minestudio_nb.widgets.messages import clean, thin_out
from minestudio_nb.widgets.pump import Pump, PumpSettings
from tests.support.scripted_view import ScriptedView

FAST = PumpSettings(data_seconds=0.01, in_flight=3, view_seconds=5.0)
SECONDS = 20.0


def eventually(condition: Callable[[], Any]) -> Any:
    """The first true value of ``condition``; fails after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)
    return value


class Browser:
    """The other end: keeps what a view would have, and acknowledges when told to."""

    def __init__(self, view: ScriptedView, settings: PumpSettings = FAST) -> None:
        self.pump = Pump(view, self._take, settings)
        self.messages: list[dict[str, Any]] = []
        self.buffers: list[list[bytes]] = []
        self.acknowledges = True
        self.lock = threading.Lock()

    def _take(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        json.dumps(message, allow_nan=False)
        with self.lock:
            self.messages.append(message)
            self.buffers.append(buffers)
        if self.acknowledges:
            self.ack(message["seq"])

    def say(self, kind: str, **entries: Any) -> None:
        self.pump.receive({"k": kind, "view": "v", **entries})

    def ack(self, seq: int, view: str = "v") -> None:
        self.pump.receive({"k": "ack", "view": view, "seq": seq})

    def rows(self) -> dict[float, dict[str, float]]:
        """What the view knows of points: values by name, by iteration, as its store would keep them."""
        known: dict[float, dict[str, float]] = {}
        names: list[str] = []
        with self.lock:
            for message, buffers in zip(self.messages, self.buffers, strict=True):
                if message["k"] == "history":
                    known, names = {}, ["iteration", "time", "env_steps", *message["names"]]
                if message.get("rows"):
                    for row in np.frombuffer(buffers[0]).reshape(message["rows"], -1):
                        known.setdefault(row[0], dict(zip(names, row.tolist(), strict=True)))
        return known

    def last(self, key: str) -> Any:
        return next((message[key] for message in reversed(self.messages) if key in message), None)


@pytest.fixture
def view() -> ScriptedView:
    return ScriptedView()


@pytest.fixture
def browser(view: ScriptedView) -> Iterator[Browser]:
    browser = Browser(view)
    yield browser
    browser.pump.close()
    assert not browser.pump.running


def test_nothing_happens_before_a_view_says_hello(view: ScriptedView, browser: Browser) -> None:
    browser.say("ack", seq=1)
    browser.say("look", fps=5)
    assert not browser.pump.running and view.refreshed == 0


def test_a_view_gets_the_history_exactly(view: ScriptedView, browser: Browser) -> None:
    view.add_point(1, ppo__loss=0.1)
    view.add_point(2, ppo__loss=math.nan, ppo__grad_norm=1 / 3, tasks={"a": {"return_mean": 2.5, "return_std": 0.5}})
    browser.say("hello")
    rows = eventually(browser.rows)
    assert rows[1.0]["ppo/loss"] == 0.1 and math.isnan(rows[1.0]["ppo/grad_norm"]) and rows[1.0]["time"] == 1.7e9 + 1
    assert math.isnan(rows[2.0]["ppo/loss"]) and rows[2.0]["ppo/grad_norm"] == 1 / 3 and rows[2.0]["env_steps"] == 128
    assert (rows[2.0]["task/a"], rows[2.0]["task_std/a"]) == (2.5, 0.5)
    assert browser.messages[0]["catalogue"]["ppo/clip_fraction"]["bad"]


def test_points_are_repeated_until_acknowledged_and_never_after(view: ScriptedView, browser: Browser) -> None:
    browser.acknowledges = False
    view.add_point(1, ppo__loss=1.0)
    browser.say("hello")
    eventually(lambda: browser.messages)
    view.add_point(2, ppo__loss=2.0)
    eventually(lambda: sum("rows" in message for message in browser.messages) >= 2)
    newest = browser.messages[-1]["seq"]
    assert [message.get("rows") for message in browser.messages[1:]].count(1) >= 1
    browser.ack(newest)
    view.add_point(3, ppo__loss=3.0)
    with browser.lock:
        seen = len(browser.messages)
    tick = eventually(lambda: next((m for m in browser.messages[seen:] if m["shown"][0] == 3), None))
    index = browser.messages.index(tick)
    assert np.frombuffer(browser.buffers[index][0]).reshape(tick["rows"], -1)[-1, 0] == 3.0
    assert sorted(browser.rows()) == [1.0, 2.0, 3.0]


def test_a_browser_that_is_behind_is_left_in_peace_and_loses_no_point(view: ScriptedView, browser: Browser) -> None:
    browser.acknowledges = False
    view.add_point(1, ppo__loss=1.0)
    browser.say("hello")
    eventually(lambda: browser.pump.statistics["held_back"] > 5)
    sent = len(browser.messages)
    assert sent == 1 + FAST.in_flight
    for iteration in range(2, 40):
        view.add_point(iteration, ppo__loss=float(iteration))
    eventually(lambda: browser.pump.statistics["held_back"] > 15)
    assert len(browser.messages) == sent
    browser.acknowledges = True
    browser.ack(browser.messages[-1]["seq"])
    eventually(lambda: len(browser.rows()) == 39)
    assert browser.rows()[39.0]["ppo/loss"] == 39.0


def test_every_point_arrives_whatever_is_acknowledged_when(view: ScriptedView, browser: Browser) -> None:
    generator = random.Random(0)
    browser.acknowledges = False
    browser.say("hello")
    for iteration in range(1, 200):
        view.add_point(iteration, ppo__loss=float(iteration))
        if generator.random() < 0.3 and browser.messages:
            browser.ack(generator.choice(browser.messages)["seq"])  # late, out of order or again
        if generator.random() < 0.02:
            browser.say("hello")
        if generator.random() < 0.2:
            time.sleep(0.01)
    browser.acknowledges = True
    eventually(lambda: browser.messages and (browser.ack(browser.messages[-1]["seq"]) or len(browser.rows()) == 199))
    assert all(row["ppo/loss"] == iteration for iteration, row in browser.rows().items())


def test_a_new_metric_brings_the_history_anew(view: ScriptedView, browser: Browser) -> None:
    view.add_point(1, ppo__loss=1.0)
    browser.say("hello")
    eventually(browser.rows)
    view.add_point(2, ppo__loss=1.0, ppo__grad_norm=5.0)
    eventually(lambda: browser.rows().get(2.0, {}).get("ppo/grad_norm") == 5.0)
    assert math.isnan(browser.rows()[1.0]["ppo/grad_norm"])


def test_another_run_of_the_session_replaces_what_was_shown(view: ScriptedView, browser: Browser) -> None:
    for iteration in (1, 2, 3):
        view.add_point(iteration, ppo__loss=1.0)
    browser.say("hello")
    eventually(lambda: len(browser.rows()) == 3)
    view.all_points = []
    view.name = "scripted-2"
    view.add_point(1, ppo__grad_norm=7.0)
    eventually(
        lambda: [set(row) for row in browser.rows().values()] == [{"iteration", "time", "env_steps", "ppo/grad_norm"}]
    )
    view.add_point(2, ppo__grad_norm=8.0)
    eventually(lambda: browser.rows().get(2.0, {}).get("ppo/grad_norm") == 8.0)


def test_points_that_a_fault_took_back_are_replaced(view: ScriptedView, browser: Browser) -> None:
    for iteration in (1, 2, 3, 4):
        view.add_point(iteration, ppo__loss=1.0)
    browser.say("hello")
    eventually(lambda: len(browser.rows()) == 4)
    again = [{**view.all_points[k], "time": 1.8e9 + k, "values": {"ppo/loss": 9.0}} for k in (2, 3)]
    view.all_points = [*view.all_points[:2], *again]  # the trainer went on from the checkpoint of iteration 2
    eventually(lambda: [row["ppo/loss"] for row in browser.rows().values()] == [1.0, 1.0, 9.0, 9.0])
    view.add_point(5, ppo__loss=5.0)
    eventually(lambda: browser.rows().get(5.0, {}).get("ppo/loss") == 5.0)


def test_two_views_both_get_everything(view: ScriptedView, browser: Browser) -> None:
    view.add_point(1, ppo__loss=1.0)
    browser.say("hello")
    eventually(browser.rows)
    browser.pump.receive({"k": "hello", "view": "second"})
    eventually(lambda: sum(message["k"] == "history" for message in browser.messages) == 2)
    view.add_point(2, ppo__loss=2.0)
    eventually(lambda: 2.0 in browser.rows())
    # The second never acknowledges: what it lacks is sent again and again, and then nothing more.
    eventually(lambda: browser.pump.statistics["held_back"] > 3)
    browser.pump.receive({"k": "bye", "view": "second"})
    view.add_point(3, ppo__loss=3.0)
    eventually(lambda: 3.0 in browser.rows())


@pytest.mark.parametrize("leaving", ["bye", "silence"])
def test_without_a_view_the_thread_ends_and_nothing_is_asked(view: ScriptedView, leaving: str) -> None:
    browser = Browser(view, PumpSettings(data_seconds=0.01, in_flight=3, view_seconds=0.3))
    browser.say("hello")
    eventually(lambda: browser.messages)
    if leaving == "bye":
        browser.say("bye")
    else:
        browser.acknowledges = False
    eventually(lambda: not browser.pump.running)
    refreshed, sent = view.refreshed, len(browser.messages)
    time.sleep(0.05)
    assert (view.refreshed, len(browser.messages)) == (refreshed, sent)
    browser.acknowledges = True
    browser.say("hello")  # and it comes back
    eventually(lambda: len(browser.messages) > sent)
    browser.pump.close()


def test_unchanged_things_are_not_sent_again(view: ScriptedView, browser: Browser) -> None:
    browser.say("hello")
    eventually(lambda: len(browser.messages) > 5)
    assert all("head" not in m and "fields" not in m and "edits" not in m for m in browser.messages[1:])
    view.status["iteration"] = 4
    eventually(lambda: browser.messages[-1].get("head") or browser.last("head")["values"]["iteration"] == 4)


def test_a_fault_in_the_session_is_survived(view: ScriptedView, browser: Browser, caplog: Any) -> None:
    browser.say("hello")
    eventually(lambda: browser.messages)
    view.refresh_error = RuntimeError("the cluster is on fire")
    eventually(lambda: "left out an update" in caplog.text)
    view.refresh_error = None
    view.add_point(1, ppo__loss=1.0)
    eventually(lambda: 1.0 in browser.rows())


def test_tiles_are_one_picture_and_only_those_that_are_wanted(view: ScriptedView, browser: Browser) -> None:
    view.add_tiles(20)
    browser.say("hello")
    browser.say("look", fps=20, tiles=["0/3", "0/1", "0/12"], visible=True)
    ticks = eventually(lambda: [m for m in browser.messages if "tiles" in m and len(m["tiles"]["tiles"]) == 3])
    tiles = ticks[0]["tiles"]
    assert [tile["name"] for tile in tiles["tiles"]] == ["0/1", "0/3", "0/12"]
    assert tiles["all"] == [f"0/{k}" for k in range(20)]
    assert tiles["tiles"][1]["step"] == 3 and tiles["tiles"][1]["action"] == [3] and tiles["tiles"][1]["value"] == 0.5
    buffers = browser.buffers[browser.messages.index(ticks[0])]
    picture = np.asarray(Image.open(io.BytesIO(buffers[tiles["buffer"]])))
    assert (tiles["columns"], tiles["width"], tiles["height"], picture.shape) == (2, 8, 8, (16, 16, 3))
    assert abs(int(picture[4, 4, 0]) - 15) < 8 and abs(int(picture[4, 12, 0]) - 35) < 8
    assert abs(int(picture[12, 4, 0]) - 125) < 8 and picture[12, 12, 0] < 8


def test_an_unchanged_picture_is_not_sent_again_but_to_a_new_view(view: ScriptedView, browser: Browser) -> None:
    view.add_tiles(2)
    browser.say("hello")
    browser.say("look", fps=20, tiles=["0/0", "0/1"])
    eventually(lambda: sum(message.get("tiles", {}).get("same", False) for message in browser.messages) > 3)
    assert all(not buffers for message, buffers in zip(browser.messages, browser.buffers, strict=True)
               if message.get("tiles", {}).get("same"))  # fmt: skip
    with browser.lock:
        seen = len(browser.messages)
    browser.pump.receive({"k": "hello", "view": "second"})
    eventually(lambda: any("buffer" in message.get("tiles", {}) for message in browser.messages[seen:]))
    browser.pump.receive({"k": "bye", "view": "second"})
    with browser.lock:
        seen = len(browser.messages)
    view.all_tiles["0/1"] = replace(view.all_tiles["0/1"], frame=np.full((8, 8, 3), 250, np.uint8))
    eventually(lambda: any("buffer" in message.get("tiles", {}) for message in browser.messages[seen:]))


def test_an_enlarged_environment_comes_alone_with_its_own_picture(view: ScriptedView, browser: Browser) -> None:
    view.add_tiles(3)
    view.all_tiles["0/1"] = replace(view.all_tiles["0/1"], large=b"jpeg", pressed="forward + attack")
    browser.say("hello")
    browser.say("look", fps=20, tiles=["0/0"], focus="0/1")
    index = eventually(lambda: next((k for k, m in enumerate(browser.messages) if m.get("large")), None))
    message, (large,) = browser.messages[index], browser.messages[index]["large"]
    assert browser.buffers[index][large["buffer"]] == b"jpeg" and large["rendered"]
    assert (large["name"], large["pressed"], large["step"]) == ("0/1", "forward + attack", 1)
    assert message["tiles"]["tiles"] == [] and "buffer" not in message["tiles"]
    assert message["tiles"]["all"] == ["0/0", "0/1", "0/2"]
    eventually(lambda: any(m["large"][0].get("same") for m in browser.messages[index + 1 :] if m.get("large")))
    assert view.enlarged[-1] == ("0/1",)
    asked = len(view.enlarged)
    browser.say("look", focus=None)
    eventually(lambda: browser.messages[-1].get("large") == [] and browser.messages[-1]["tiles"]["tiles"])
    assert set(view.enlarged[asked + 2 :]) <= {()}, "no lease for what nobody enlarges"


def test_without_a_picture_of_its_own_the_observation_is_enlarged(view: ScriptedView, browser: Browser) -> None:
    view.all_tiles = {"0/0": Tile(np.full((300, 200, 3), 90, np.uint8)), "0/1": Tile(None, 4, pressed="action 2")}
    browser.say("hello")
    browser.say("look", fps=20, focus="0/0")
    index = eventually(lambda: next((k for k, m in enumerate(browser.messages) if m.get("large")), None))
    (large,) = browser.messages[index]["large"]
    picture = np.asarray(Image.open(io.BytesIO(browser.buffers[index][large["buffer"]])))
    assert picture.shape == (300, 200, 3) and not large["rendered"]
    browser.say("look", focus="0/1")
    eventually(lambda: browser.last("large") and browser.last("large")[0]["name"] == "0/1")
    assert browser.last("large")[0]["pressed"] == "action 2" and "buffer" not in browser.last("large")[0]


def test_who_enlarges_does_not_take_the_tiles_from_others(view: ScriptedView, browser: Browser) -> None:
    view.add_tiles(20)
    browser.say("hello")
    browser.say("look", fps=20, focus="0/17", tiles=["0/16"])
    browser.pump.receive({"k": "hello", "view": "second"})
    browser.pump.receive({"k": "look", "view": "second", "fps": 20, "tiles": ["0/2", "0/3"]})

    def both() -> Any:
        if browser.messages:
            browser.ack(browser.messages[-1]["seq"], "second")
        return next((m for m in browser.messages if m.get("large") and len(m["tiles"]["tiles"]) == 2), None)

    message = eventually(both)
    assert [tile["name"] for tile in message["tiles"]["tiles"]] == ["0/2", "0/3"]
    assert [large["name"] for large in message["large"]] == ["0/17"]


def test_trouble_is_told_with_each_tile(view: ScriptedView, browser: Browser) -> None:
    cause = "<b>process 7</b> was killed by SIGKILL"
    view.all_tiles = {"0/0": Tile(None, state="restarting", cause=cause, restarts=2)}
    browser.say("hello")
    tile = eventually(lambda: browser.last("tiles"))["tiles"][0]
    assert (tile["state"], tile["cause"], tile["restarts"]) == ("restarting", cause, 2)


def test_hidden_views_get_no_pictures(view: ScriptedView, browser: Browser) -> None:
    view.add_tiles(2)
    browser.say("hello")
    browser.say("look", visible=False)
    eventually(lambda: len(browser.messages) > 10)
    with browser.lock:
        late = browser.messages[8:]
    assert not any("tiles" in message for message in late)


def test_environments_without_pictures_are_told_of(view: ScriptedView, browser: Browser) -> None:
    view.all_tiles = {"0/0": Tile(None, 7)}
    browser.say("hello")
    tiles = eventually(lambda: browser.last("tiles"))
    assert tiles["columns"] == 0 and "buffer" not in tiles and tiles["tiles"][0]["step"] == 7


def test_data_travel_with_the_pictures(view: ScriptedView) -> None:
    view.add_tiles(2)
    view.add_point(1, ppo__loss=1.0)
    browser = Browser(view, PumpSettings(data_seconds=0.1))
    browser.say("hello")
    browser.say("look", fps=20.0)
    eventually(lambda: browser.last("tiles"))
    for number in range(2, 8):
        view.add_point(number, ppo__loss=1.0)
        eventually(lambda number=number: number in browser.rows())
    browser.pump.close()
    ticks = [message for message in browser.messages if message["k"] == "tick" and message["seq"] > 4]
    assert sum("rows" in message for message in ticks) >= 4
    assert all("tiles" in message for message in ticks)


def test_what_does_not_change_is_not_made_again(
    view: ScriptedView, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr("minestudio_nb.widgets.pump.field_row", lambda spec, value: made.append(value) or {"v": value})
    browser.say("hello")
    eventually(lambda: view.refreshed > 5)
    assert made == [3e-4]
    view.values["train_config.learning_rate"] = 1e-3
    eventually(lambda: browser.last("fields") == [{"v": 1e-3}])


def test_a_browser_that_is_behind_does_not_keep_the_pump_busy(view: ScriptedView) -> None:
    view.add_tiles(2)
    browser = Browser(view, PumpSettings(data_seconds=0.2, in_flight=2, view_seconds=60.0))
    browser.acknowledges = False
    browser.say("hello")
    browser.say("look", fps=10.0)
    eventually(lambda: browser.pump.statistics["held_back"] > 0)
    before, looked, began = browser.pump.statistics["held_back"], view.refreshed, time.monotonic()
    eventually(lambda: view.refreshed >= looked + 3)
    left_out = browser.pump.statistics["held_back"] - before
    assert left_out <= 10 * (time.monotonic() - began) + 4, "one for each picture that was due"
    browser.pump.close()


def test_events_and_episodes_say_from_which_number_on(view: ScriptedView, browser: Browser) -> None:
    view.all_events = [Event("state", "one"), Event("failure", "<script>alert(1)</script>", "error")]
    browser.say("hello")
    assert [event["message"] for event in eventually(lambda: browser.last("events"))][1] == "<script>alert(1)</script>"
    view.all_events.append(Event("state", "three"))
    view.all_episodes.append({"episode_return": math.inf, "stream": [0, 1]})
    message = eventually(lambda: next((m for m in browser.messages[1:] if "events" in m), None))
    assert message["base"] == [0, 2, 0] and message["shown"][1] == 3
    assert [event["message"] for event in message["events"]] == ["three"]
    episodes = eventually(lambda: browser.last("episodes"))
    assert episodes == [{"episode_return": None, "stream": [0, 1]}]


def test_messages_of_strangers_are_ignored(view: ScriptedView, browser: Browser) -> None:
    browser.say("hello")
    eventually(lambda: browser.messages)
    strange = {"k": "look", "view": "v", "fps": float("nan"), "tiles": 3, "visible": "no"}
    for message in ({}, {"k": "ack", "view": "v", "seq": "x"}, {"k": "ack", "view": "v", "seq": 10**9}, strange):
        browser.pump.receive(message)
    view.add_point(1, ppo__loss=1.0)
    eventually(lambda: 1.0 in browser.rows())


def test_long_histories_are_thinned_out() -> None:
    points = [{"iteration": k} for k in range(10_001)]
    thin = thin_out(points, 2_000)
    assert len(thin) == 2_000 and thin[0]["iteration"] == 0 and thin[-1]["iteration"] == 10_000
    assert thin_out(points[:5], 2_000) == points[:5]


def test_cleaning_leaves_only_what_json_can_hold() -> None:
    dirty = {1: math.nan, "a": [np.float32(0.5), np.arange(2), {3}, object], "t": "x" * 9_999}
    tidy = clean(dirty)
    assert tidy["1"] is None and tidy["a"][:3] == [0.5, [0, 1], [3]] and isinstance(tidy["a"][3], str)
    assert len(tidy["t"]) < 5_000
    json.dumps(tidy, allow_nan=False)

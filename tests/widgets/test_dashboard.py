"""The widget without a browser: what it says, what it does when told, and that nothing of it is left."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from minestudio_nb.contracts.view import SessionView
from minestudio_nb.widgets.dashboard import PANELS, Dashboard, front_end
from minestudio_nb.widgets.pump import PumpSettings
from tests.support.scripted_view import ScriptedView

SECONDS = 20.0


def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
    return value


class Listening(Dashboard):
    """Keeps what it would send."""

    def __init__(self, view: SessionView, **options: Any) -> None:
        self.sent: list[tuple[dict[str, Any], list[bytes]]] = []
        super().__init__(view, settings=PumpSettings(data_seconds=0.01), **options)

    def send(self, content: Any, buffers: Any = None) -> None:
        self.sent.append((content, buffers or []))

    def tell(self, **message: Any) -> None:
        """As the browser does."""
        self._handle_custom_msg(message, [])

    def order(self, kind: str, **arguments: Any) -> tuple[dict[str, Any], list[bytes]]:
        """Gives an order and returns the reply."""
        name = f"order {len(self.sent)} {kind}"
        self.tell(k="order", id=name, kind=kind, arguments=arguments)
        return eventually(lambda: next((sent for sent in self.sent if sent[0].get("id") == name), None))


@pytest.fixture
def view() -> ScriptedView:
    return ScriptedView()


@pytest.fixture
def dashboard(view: ScriptedView) -> Iterator[Listening]:
    dashboard = Listening(view)
    yield dashboard
    dashboard.close()
    eventually(lambda: not [t for t in threading.enumerate() if t.name in ("msnb-pump", "msnb-orders")])


def test_the_scripted_view_is_a_session_view(view: ScriptedView) -> None:
    assert isinstance(view, SessionView)


def test_a_view_that_opens_is_fed(view: ScriptedView, dashboard: Listening) -> None:
    view.add_point(1, ppo__loss=1.0)
    assert dashboard.sent == []
    dashboard.tell(k="hello", view="v")
    message, buffers = eventually(lambda: dashboard.sent)[0]
    assert message["k"] == "history" and message["rows"] == 1 and len(buffers[0]) == 4 * 8
    dashboard.tell(k="bye", view="v")
    eventually(lambda: not dashboard.pump.running)


def test_a_display_without_environments_asks_for_no_frames(view: ScriptedView) -> None:
    view.add_tiles(2)
    tuner = Listening(view, panels=["tuning"])
    tuner.tell(k="hello", view="v")
    tuner.tell(k="look", view="v", visible=True)
    for count in (2, 4, 6):
        eventually(lambda count=count: len(tuner.sent) >= count)
        tuner.tell(k="ack", view="v", seq=tuner.sent[-1][0]["seq"])
    assert view.enlarged == [] and not any("tiles" in message for message, _ in tuner.sent)
    tuner.close()


def test_orders_are_carried_out_in_their_turn_and_answered(view: ScriptedView, dashboard: Listening) -> None:
    assert dashboard.order("pause")[0] | {"id": 0} == {"k": "reply", "id": 0, "ok": True, "text": "pause done"}
    reply, _ = dashboard.order("set", key="train_config.learning_rate", value=7)
    assert not reply["ok"] and "0 < x <= 1, 7 came" in reply["text"]
    assert [kind for kind, _ in view.orders] == ["pause", "set"]


def test_faults_and_nonsense_are_answered_in_words(view: ScriptedView, dashboard: Listening) -> None:
    assert "ZeroDivisionError: a fault inside" in dashboard.order("stop")[0]["text"]
    assert "Orders are play, pause" in dashboard.order("format_disk")[0]["text"]
    assert "nothing is known" in dashboard.order("play", path="../../secret")[0]["text"]
    dashboard._handle_custom_msg("not a dict", [])
    dashboard.tell(k="order", id="x", kind="set", arguments="no dict")
    assert not eventually(lambda: [m for m, _ in dashboard.sent if m.get("id") == "x"])[0]["ok"]


def test_a_recording_comes_with_its_numbers(dashboard: Listening) -> None:
    reply, buffers = dashboard.order("play", path="episode.mp4")
    assert buffers == [b"video"] and reply["media_type"] == "video/mp4"
    assert (reply["rewards"], reply["values"], reply["actions"]) == ([1.0, 0.0], [0.5, None], [[3], [4]])


def test_the_thread_of_orders_ends_when_there_are_none(dashboard: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minestudio_nb.widgets.dashboard.ORDER_SECONDS", 0.05)
    dashboard.order("pause")
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "msnb-orders"])
    dashboard.order("resume")


def test_unknown_panels_are_refused(view: ScriptedView) -> None:
    with pytest.raises(ValueError, match="panels head, environments"):
        Dashboard(view, panels=["heads"])


def test_closing_leaves_no_comm_behind(view: ScriptedView) -> None:
    from ipywidgets.widgets.widget import _instances

    before = set(_instances)
    dashboard = Listening(view)
    dashboard.tell(k="hello", view="v")
    assert set(_instances) > before
    dashboard.close()
    assert set(_instances) == before and dashboard.comm is None


def test_the_front_end_needs_no_network_and_makes_no_markup_of_texts() -> None:
    script, style = front_end()
    own = script[script.index("What all panels share") :]
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", own)
    assert not re.findall(r"https?://|\bimport\b\s*[({\"']", own)
    assert "@import" not in style and "url(" not in style
    assert all(f'definePanel("{name}"' in own for name in PANELS)


def test_the_vendored_library_comes_with_its_licence() -> None:
    from importlib import resources

    vendor = resources.files("minestudio_nb.widgets") / "assets" / "vendor"
    assert "MIT" in (vendor / "uPlot.LICENSE").read_text() and "uPlot" in (vendor / "uPlot.iife.min.js").read_text()

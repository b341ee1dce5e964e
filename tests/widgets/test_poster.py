"""The picture that stays in a notebook: complete, escaped, and seen by whatever opens or exports the notebook."""

from __future__ import annotations

import base64
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter

from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.widgets.dashboard import Dashboard
from minestudio_nb.widgets.mosaic import build_mosaic
from minestudio_nb.widgets.poster import MAX_ROWS, Poster, poster_html, take_poster
from tests.support.scripted_view import ScriptedView

EVIL = '<img src=x onerror="window.evil=1">\'"</script><script>window.evil=1</script>'
WIDGET = "application/vnd.jupyter.widget-view+json"


class Elements(HTMLParser):
    """Collects tags, names of attributes and the sources of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.sources += [str(value) for name, value in attrs if name == "src"]


def elements(html: str) -> Elements:
    parser = Elements()
    parser.feed(html)
    return parser


def charts(html: str) -> list[ET.Element]:
    """The charts of a poster, as trees: what is no XML raises."""
    prefix = "data:image/svg+xml;base64,"
    found = [source for source in elements(html).sources if source.startswith(prefix)]
    return [ET.fromstring(base64.b64decode(source[len(prefix) :])) for source in found]


@pytest.fixture
def view(points: list[dict[str, Any]]) -> ScriptedView:
    view = ScriptedView()
    view.all_points = list(points)
    view.add_tiles(4)
    view.status = {"iteration": 60, "num_iterations": 100}
    view.all_edits = [
        Edit(1, "train_config.learning_rate", 5e-4, "applied", 12),
        Edit(2, "train_config.ppo_clip", 7.0, "rejected", None, "must be 0 < x < 1, 7.0 came"),
    ]
    view.all_events = [
        Event("edit", "learning_rate is 0.0005", iteration=12, data={"revision": 1}),
        Event("edit", "ppo_clip rejected", "warning", iteration=13, data={"revision": 2}),
        Event("checkpoint", "written", iteration=15),
        Event("env_restart", "env 3 hung for 30 s; rebuilt", "warning", iteration=20),
    ]
    return view


def test_a_poster_tells_how_the_session_stands(view: ScriptedView) -> None:
    poster = take_poster(view)
    html = poster_html(poster)
    for part in (
        ">training<",
        ">scripted<",
        "iteration 60 of 100 · 6,000 env steps · 1 min 58 s of training",
        "applied @ iteration 12",
        "rejected: must be 0 &lt; x &lt; 1, 7.0 came",
        "env 3 hung for 30 s; rebuilt",
        "the newest frames of 4 environments",
    ):
        assert part in html
    assert repr(poster) == "Poster of scripted: TRAINING, iteration 60 of 100, 60 points"
    assert len(html) < 60_000


def test_charts_are_pictures_with_lines_and_markers(view: ScriptedView) -> None:
    first, *others = charts(poster_html(take_poster(view)))
    names = "{http://www.w3.org/2000/svg}"
    assert len(first.findall(f".//{names}polyline")) == 2
    marked = [line.get("class", "") for line in first.iter(f"{names}line") if "marker" in line.get("class", "")]
    assert marked == ["marker edit", "marker checkpoint", "marker fault"]
    assert len(others) == 5, "those of PANELS that have data"
    text = "".join(first.itertext())
    assert "var(" not in text and "env_restart: env 3 hung" in text


def test_nothing_from_outside_becomes_markup(view: ScriptedView) -> None:
    def attacked(text: str) -> str:
        view.name = view.state = text
        view.all_edits = [Edit(1, text, text, "rejected", None, text)]
        view.all_events = [Event(text, text, "error", text, iteration=20)]
        view.all_tiles = {text: view.all_tiles.popitem()[1]}
        poster = take_poster(view)
        return poster_html(Poster(**{**vars(poster), "failure": text}))

    plain, evil = attacked("name"), attacked(EVIL)
    assert elements(evil).tags == elements(plain).tags
    assert elements(evil).attributes == elements(plain).attributes
    assert "script" not in elements(evil).tags and len(charts(evil)) == len(charts(plain))


def test_it_reads_well_where_style_sheets_and_svg_are_taken_away(view: ScriptedView) -> None:
    html = re.sub(r"<style>.*?</style>", "", poster_html(take_poster(view), "key"))
    assert "<svg" not in html and all(source.startswith("data:image/") for source in elements(html).sources)
    assert "hidden" not in elements(html).attributes and "display:none" not in html


def test_the_first_seconds_have_a_poster() -> None:
    html = poster_html(Poster("new", "CONFIGURED"))
    assert "No iteration was finished yet." in html and "<img" not in html
    only = {
        "iteration": 1,
        "time": 1e9,
        "env_steps": 64,
        "values": {"episode/return": math.nan, "ppo/entropy_nats": 2.0},
    }
    assert len(charts(poster_html(Poster("one", "TRAINING", points=[only])))) == 1
    assert "image/png" not in Poster("new", "CONFIGURED")._repr_mimebundle_()


def test_tables_show_the_newest(view: ScriptedView) -> None:
    view.all_edits = [Edit(k, "train_config.ppo_clip", 0.1, "applied", k) for k in range(1, MAX_ROWS + 2)]
    html = poster_html(take_poster(view))
    assert f"Edits, the newest {MAX_ROWS} of {MAX_ROWS + 1}" in html
    assert "iteration 1<" not in html and f"iteration {MAX_ROWS + 1}<" in html


def test_frames_stay_after_the_environments_ended(view: ScriptedView) -> None:
    mosaic = build_mosaic(view.all_tiles)
    view.all_tiles = {}
    assert take_poster(view, mosaic).mosaic is mosaic


def test_for_paper_there_is_a_picture(view: ScriptedView) -> None:
    bundle = take_poster(view)._repr_mimebundle_()
    assert bundle["image/png"].startswith(b"\x89PNG") and bundle["text/html"].startswith("<style>")


def saved(outputs: list[dict[str, Any]], **metadata: Any) -> Any:
    """A notebook with one executed cell, as it lies on disk."""
    cell = nbformat.v4.new_code_cell("session.dashboard()", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("display_data", output) for output in outputs]
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata=metadata)
    nbformat.validate(notebook)
    return notebook


def shown(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a notebook is told when ``dashboard`` is the last line of a cell, and when its poster is renewed."""
    from IPython.core import display_functions, interactiveshell

    messages: list[dict[str, Any]] = []

    class Publisher:
        def publish(self, **message: Any) -> None:
            messages.append(message)

    class Shell:
        display_pub = Publisher()

        @classmethod
        def instance(cls) -> Shell:
            return cls()

    monkeypatch.setattr(interactiveshell, "InteractiveShell", Shell)
    assert display_functions.publish_display_data is not None
    dashboard._ipython_display_()
    dashboard.update_poster()
    return messages


def test_a_dashboard_shows_a_poster_and_itself(view: ScriptedView, monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard = Dashboard(view)
    dashboard.update_poster()  # nothing was shown yet, so nothing is told
    poster, live, renewed = shown(dashboard, monkeypatch)
    assert "msnb-poster" in poster["data"]["text/html"] and WIDGET not in poster["data"]
    assert live["data"][WIDGET]["model_id"] == dashboard.model_id and "text/html" not in live["data"]
    assert renewed["update"] and renewed["transient"] == poster["transient"]
    assert dashboard.poster_key in poster["data"]["text/html"]
    dashboard.close()


def test_a_picture_that_fails_keeps_no_display_from_being_shown(
    view: ScriptedView, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dashboard = Dashboard(view)
    monkeypatch.setattr(view, "events", None)
    poster, live, _ = shown(dashboard, monkeypatch)
    assert poster["data"] == {"text/plain": "There is no picture of scripted."} and WIDGET in live["data"]
    assert "not callable" in caplog.text
    dashboard.close()


def test_an_export_shows_pictures(view: ScriptedView, monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard = Dashboard(view)
    poster, live, _ = shown(dashboard, monkeypatch)
    notebook = saved([poster["data"], live["data"]])
    html = HTMLExporter().from_notebook_node(notebook)[0]
    assert html.count("data:image/svg+xml") >= 6 and html.count("data:image/jpeg") == 1
    assert "model not found" not in html and "widget-view+json" not in html.split("<body")[1]
    dashboard.close()


def test_a_tuner_leaves_its_edits_only(view: ScriptedView) -> None:
    html = poster_html(take_poster(view), "key", ["tuning"])
    assert "applied @ iteration 12" in html and not elements(html).sources and "env_restart" not in html


def test_a_display_without_environments_asks_for_no_frames(view: ScriptedView, monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard = Dashboard(view, ["head", "tuning"])
    shown(dashboard, monkeypatch)
    dashboard.update_poster()
    dashboard.close()
    assert view.enlarged == [], "no frames were asked for"
    assert take_poster(view).mosaic.jpeg and len(view.enlarged) == 1


def test_one_output_holds_both_where_a_host_asks_for_one(view: ScriptedView) -> None:
    dashboard = Dashboard(view)
    data, _ = dashboard._repr_mimebundle_()
    assert WIDGET in data and "msnb-poster" in data["text/html"]
    html = HTMLExporter().from_notebook_node(saved([data]))[0]
    assert "data:image/svg+xml" in html
    dashboard.close()

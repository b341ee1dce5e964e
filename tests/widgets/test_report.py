"""The report and the session's HTML: complete, escaped, without script, and playable in a browser."""

from __future__ import annotations

import math
import os
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.contracts.view import Tile
from minestudio_nb.telemetry.video import jpeg, write_mp4
from minestudio_nb.widgets.mosaic import build_mosaic
from minestudio_nb.widgets.poster import Poster
from minestudio_nb.widgets.report import (
    MAX_VIDEO_BYTES,
    MAX_VIDEOS,
    ReportData,
    ReportVideo,
    ShownReport,
    render_report,
    summary_facts,
)
from minestudio_nb.widgets.session_html import session_html

EVIL = '<img src=x onerror="window.evil=1">\'"</script><script>window.evil=1</script>'
VOID = {"meta", "img", "source", "circle", "line", "br", "polyline"}


# The page's own policy forbids Playwright's polling, which evaluates text; a promise does not need it.
PLAY = """() => new Promise((resolve, reject) => {
    const video = document.querySelector('video');
    video.ontimeupdate = () => { if (video.currentTime > 0.2) resolve(video.currentTime); };
    setTimeout(() => reject(new Error('the video did not play for 15 s')), 15000);
    video.play();
})"""


class Elements(HTMLParser):
    """Collects tags and attributes, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in VOID or tag in ("line", "circle", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()


def elements(html: str) -> Elements:
    parser = Elements()
    parser.feed(html)
    assert not parser.open
    return parser


def a_video(tmp_path: Path) -> ReportVideo:
    frames = [np.full((36, 64, 3), 3 * k, np.uint8) for k in range(40)]
    path = write_mp4(frames, tmp_path / "v.mp4").path
    return ReportVideo("after", "return 4", path.read_bytes(), jpeg(frames[20]))


def full_data(points: list[dict[str, Any]], text: str, video: ReportVideo) -> ReportData:
    events = [
        Event("env_restart", text, "warning", text, iteration=10),
        Event(text, "hung", "error", time=points[20]["time"]),
    ]
    return ReportData(
        name=text,
        state="FINISHED",
        points=points,
        events=events,
        facts=summary_facts(points),
        edits=[Edit(1, text, text, "rejected", None, text), Edit(2, text, 0.5, "applied", 7)],
        frames=build_mosaic({text: Tile(np.zeros((8, 8, 3), np.uint8), 3, 1.5, 0.5, None, text)}),
        videos=[ReportVideo(text, text, video.mp4, video.poster)],
        evaluations={"before": [0.0, 1.0], text: [3.0, 5.0]},
        changes=[(text, text, text)],
        config_text=text,
        whole_config=text,
        failure=text,
        goal=3.0,
        goal_reached=True,
    )


def test_nothing_from_outside_becomes_markup(points: list[dict[str, Any]], tmp_path: Path) -> None:
    video = a_video(tmp_path)
    harmless, attacked = (elements(render_report(full_data(points, text, video))) for text in ("name", EVIL))
    assert attacked.tags == harmless.tags, "the same elements whatever the texts hold"
    assert "script" not in attacked.tags and not [name for name in attacked.attributes if name.startswith("on")]


def test_the_page_fetches_nothing(points: list[dict[str, Any]], tmp_path: Path) -> None:
    html = render_report(full_data(points, "name", a_video(tmp_path)))
    assert not re.findall(r"""(?:src|href|poster)=["'](?!data:)""", html) and "url(" not in html
    assert "default-src 'none'" in html


def test_the_report_says_what_changed(points: list[dict[str, Any]], tmp_path: Path) -> None:
    html = render_report(full_data(points, "name", a_video(tmp_path)))
    assert "rose from <b>0.50</b> to <b>4.00</b> in 6,000 env steps" in html
    assert "The goal of 3 was reached." in html
    missed = ReportData("missed", "STOPPED", points, goal=3.0)
    assert "The goal of 3 was not reached." in render_report(missed)
    assert "<video" in html and "data:video/mp4;base64," in html
    assert "1.50 GB" in html and "1 min 58 s" in html  # memory; 59 iterations of 2 s
    assert html.count("<polyline") >= 10


def test_edits_frames_and_changed_settings_are_told(points: list[dict[str, Any]], tmp_path: Path) -> None:
    html = render_report(full_data(points, "name", a_video(tmp_path)))
    assert "applied @ iteration 7" in html and "rejected: name" in html
    assert "Settings that are not at their defaults" in html
    assert html.count("data:image/jpeg") == 2, "the video's first frame and the newest frames"


def test_a_notebook_shows_the_report_in_a_frame_or_else_a_poster(points: list[dict[str, Any]]) -> None:
    report = render_report(ReportData(EVIL, "STOPPED", points))
    html = ShownReport(report, Poster(EVIL, "STOPPED", points=points), "runs/x/report.html")._repr_mimebundle_()[
        "text/html"
    ]
    found = elements(html)
    assert found.tags.count("iframe") == 1 and "script" not in found.tags and "onerror" not in found.attributes
    assert 'sandbox=""' in html and "msnb-poster" in html


def test_a_run_that_never_began_has_a_report() -> None:
    html = render_report(ReportData("empty", "FAILED", failure="EnvStartError: no display"))
    elements(html)
    assert "No episode has ended yet" in html and "EnvStartError: no display" in html


def test_one_point_and_nan_points_have_a_report(points: list[dict[str, Any]]) -> None:
    only = [{**points[0], "values": {"episode/return": 1.0, "ppo/policy_loss": math.nan, "ppo/value_loss": math.inf}}]
    html = render_report(ReportData("one", "STOPPED", only, goal=5.0))
    elements(html)
    assert "<circle" in html and "nan" not in html.lower().replace("nanosecond", "")


def test_videos_are_capped_in_number_and_size() -> None:
    poster = jpeg(np.zeros((20, 20, 3), np.uint8))
    large = ReportVideo("large", "", b"\0" * (MAX_VIDEO_BYTES + 1), poster)
    html = render_report(ReportData("many", "STOPPED", videos=[large] * (MAX_VIDEOS + 2)))
    assert "data:video" not in html and html.count("<figure><img") == MAX_VIDEOS
    assert "2 more in the run directory" in html


def session_arguments(**changes: Any) -> dict[str, Any]:
    plain = {"name": "demo", "state": "TRAINING", "since": time.time() - 5, "runtime": "ray", "failure": ""}
    values = {"iteration": 5, "num_iterations": 10, "env_steps": 1280, "workers": 2, "workers_alive": 1}
    latest = {"rollout/steps_per_second": 241.3, "rollout/staleness": 0.0}
    numbers = {"values": values, "latest": latest, "returns": (0.1, math.nan, 0.4), "return_window": 0.31}
    return {**plain, **numbers, "directory": "/x/runs/demo", **changes}


def test_a_session_shows_its_state_and_numbers() -> None:
    html = session_html(**session_arguments())
    elements(html)
    for part in (
        "demo",
        "TRAINING",
        "for 5 s",
        "of 10",
        "1,280",
        "0.31",
        "<polyline",
        ">241<",
        "1 of 2",
        "/x/runs/demo",
    ):
        assert part in html


def test_a_new_session_is_one_line() -> None:
    html = session_html(
        name="(unnamed)",
        state="NEW",
        since=time.time(),
        runtime="ray",
        values={},
        latest={},
        returns=(),
        return_window=math.nan,
    )
    elements(html)
    assert "NEW" in html and "iteration" not in html


def test_a_session_escapes_all_texts() -> None:
    texts = dict.fromkeys(("name", "state", "runtime", "failure", "directory"), EVIL)
    harmless = elements(session_html(**session_arguments(**dict.fromkeys(texts, "x"))))
    assert elements(session_html(**session_arguments(**texts))).tags == harmless.tags


@pytest.mark.browser
def test_a_browser_plays_the_video_and_runs_no_script(points: list[dict[str, Any]], tmp_path: Path) -> None:
    if not os.path.exists("/usr/bin/chromium"):
        if os.environ.get("MSNB_REQUIRE_BROWSER") == "1":
            pytest.fail("MSNB_REQUIRE_BROWSER=1 and there is no /usr/bin/chromium")
        pytest.skip("no /usr/bin/chromium; install Debian's package chromium")
    api = pytest.importorskip("playwright.sync_api")
    page_file = tmp_path / "report.html"
    page_file.write_text(render_report(full_data(points, EVIL, a_video(tmp_path))))
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        page = browser.new_page(color_scheme="dark", viewport={"width": 420, "height": 800})
        page.goto(page_file.as_uri())
        page.set_default_timeout(20_000)
        assert page.evaluate(PLAY) > 0.2
        assert page.evaluate("document.querySelector('video').videoWidth") == 64
        assert page.evaluate("window.evil") is None
        assert page.evaluate("document.documentElement.scrollWidth") <= 420, "readable on a phone"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 22)"
        browser.close()

"""The pictures that a session leaves in a notebook, over a session that really trains."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from minestudio_nb import displays
from minestudio_nb import session as session_module
from minestudio_nb.widgets.poster import Poster
from minestudio_nb.widgets.report import ShownReport
from tests.session.test_live import LR, pictures
from tests.session.test_session_inline import session_of


def test_stop_poster_and_report_leave_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(displays, "show", shown.append)
    for module in (displays, session_module):
        monkeypatch.setattr(module, "in_notebook", lambda: True)
    with session_of(tmp_path, pictures()) as session:
        session.start_rollout()
        session.start_trainer()
        session.wait(iterations=2, timeout=60)
        session.set(LR, 2e-4)
        written = session.report()
        session.stop()
        session.stop(poster=False)
    report, poster, again = shown
    assert isinstance(report, ShownReport) and report.html == written.read_text()
    assert repr(written) == report.path and written.name == "report.html"
    assert "Last frames" in report.html and "Edits while it ran" in report.html
    assert "<td>0.0002</td>" in report.html
    assert "<code>train_config.num_iterations</code></td><td>100000</td>" in report.html, "what is no default"
    assert isinstance(poster, Poster) and isinstance(again, Poster), "a second stop() leaves a second picture"
    assert poster.state == "STOPPED" and len(poster.points) >= 2
    assert len(poster.mosaic.layout["tiles"]) == 4 and poster.mosaic.jpeg, "of the last frames, which are gone"


def test_a_picture_that_fails_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(content: Any) -> None:
        raise ValueError("a display broke")

    for module in (displays, session_module):
        monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr(displays, "show", fail)
    with session_of(tmp_path, pictures()) as session:
        session.start_rollout()
        assert session.stop().iterations == 0
    assert "a display broke" in caplog.text


def test_outside_a_notebook_and_in_threads_nothing_is_displayed(capsys: pytest.CaptureFixture[str]) -> None:
    assert not displays.in_notebook()
    thread = threading.Thread(target=displays.show, args=("text",))
    thread.start()
    thread.join()
    displays.show("text")
    assert capsys.readouterr().out == ""

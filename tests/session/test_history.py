"""What a session has seen of its run, also where the runtime no longer holds all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from minestudio_nb.contracts.fragments import EpisodeSummary, StreamId
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.history import History
from minestudio_nb.runs import RunDirectory
from minestudio_nb.runtime.base import Cursor, Snapshot
from minestudio_nb.telemetry import Hub, hub


@pytest.fixture
def small_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POINTS_KEPT", "EVENTS_KEPT", "EPISODES_KEPT"):
        monkeypatch.setattr(hub, name, 4)


def grow(source: Hub, count: int, first: int = 1) -> None:
    for k in range(first, first + count):
        source.event(Event("state", f"event {k}"))
        source.episodes([EpisodeSummary(StreamId(0, 0), "task", float(k), 5, 0, True, False, 1.7e9 + k)])
        source.iteration(k, {})


def snapshot(source: Hub, cursor: Cursor) -> Snapshot:
    news = source.news(cursor.points, cursor.events, cursor.episodes, cursor.rewinds)
    seen = Cursor(news.points_seen, news.events_seen, news.episodes_seen, news.rewinds)
    return Snapshot("training", seen, {}, news.points, news.events, news.episodes)


def test_what_the_runtime_no_longer_holds_comes_from_the_files(tmp_path: Path, small_rings: None) -> None:
    run = RunDirectory.create(tmp_path, "long")
    source, late, regular = Hub(run), History(), History()
    for turn in range(5):
        grow(source, 3, 3 * turn + 1)
        regular.absorb(snapshot(source, regular.cursor), run.path)
    late.absorb(snapshot(source, late.cursor), run.path)
    for history in (late, regular):
        assert [point["iteration"] for point in history.points] == list(range(1, 16))
        assert [event.message for event in history.events] == [f"event {k}" for k in range(1, 16)]
        assert [episode["episode_return"] for episode in history.episodes] == [float(k) for k in range(1, 16)]
    grow(source, 6, 16)
    late.absorb(snapshot(source, late.cursor), run.path)
    assert [point["iteration"] for point in late.points] == list(range(1, 22))
    source.close()


def test_what_a_fault_took_back_is_not_kept_twice(tmp_path: Path) -> None:
    source, prompt, late = Hub(RunDirectory.create(tmp_path, "rewound")), History(), History()
    grow(source, 4)
    state = source.get_state()
    grow(source, 3, 5)
    for history in (prompt, late):
        history.absorb(snapshot(source, history.cursor), tmp_path / "rewound")
    source.rewind(4, state)
    prompt.absorb(snapshot(source, prompt.cursor))
    assert len(prompt.points) == len(prompt.episodes) == 4
    grow(source, 5, 5)
    for history in (prompt, late):
        history.absorb(snapshot(source, history.cursor), tmp_path / "rewound")
        assert [point["iteration"] for point in history.points] == list(range(1, 10))
        assert [episode["episode_return"] for episode in history.episodes] == [float(k) for k in range(1, 10)]
    source.close()


def test_files_of_another_run_are_not_mixed_in(tmp_path: Path, small_rings: None) -> None:
    other, source = Hub(RunDirectory.create(tmp_path, "same")), Hub()
    grow(other, 9)
    other.close()
    grow(source, 9)
    history = History()
    history.absorb(snapshot(source, history.cursor), tmp_path / "same")
    assert [point["iteration"] for point in history.points] == [6, 7, 8, 9]
    source.close()

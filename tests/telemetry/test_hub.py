"""The hub: merging, points, derived metrics, cursors, files, reloading, and faults that stop nobody."""

from __future__ import annotations

import json
import math
import os
import resource
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minestudio_nb.contracts.fragments import EpisodeSummary, StreamId
from minestudio_nb.contracts.telemetry import METRICS, Event, MetricBatch
from minestudio_nb.errors import TelemetryError
from minestudio_nb.runs import RunDirectory
from minestudio_nb.telemetry import Hub, ProcessTrees, Recorder, ResourceMeter, read_history
from minestudio_nb.telemetry import hub as hub_module
from minestudio_nb.telemetry.files import JsonLinesFile


def batch(**values: float) -> MetricBatch:
    recorder = Recorder()
    for name, value in values.items():
        recorder.add(name.replace("__", "/"), value)
    return recorder.flush()


def episode(value: float, length: int = 10) -> EpisodeSummary:
    return EpisodeSummary(StreamId(1, 2), "chop", value, length, 7, False, True, 1_700_000_000.0, {"logs": 2.0})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, "run")


def test_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(TelemetryError, match="did you mean 'ppo/clip_fraction'"):
        Recorder().add("ppo/clip_fractoin", 0.1)


def test_recorder_weighs_samples_and_flush_starts_anew() -> None:
    recorder = Recorder()
    recorder.add("ppo/loss", 1.0, weight=3)
    recorder.add("ppo/loss", 5.0, weight=1)
    flushed = recorder.flush()
    assert flushed["ppo/loss"].value("mean") == pytest.approx(2.0)  # (1*3 + 5*1) / 4
    assert recorder.flush() == {}


def test_an_iteration_reduces_each_metric_as_the_catalogue_says() -> None:
    hub = Hub()
    hub.metrics(batch(rollout__env_steps=64, ppo__loss=1.0, buffer__fragments=3))
    hub.metrics(batch(rollout__env_steps=32))
    hub.iteration(1, batch(ppo__loss=2.0, buffer__fragments=4))
    (point,) = hub.news().points
    assert point["iteration"] == 1 and point["env_steps"] == 96
    assert point["values"]["rollout/env_steps"] == 96  # sum
    assert point["values"]["ppo/loss"] == pytest.approx(1.5)  # mean
    assert point["values"]["buffer/fragments"] == 4  # last
    assert "rollout/steps_per_second" not in point["values"], "the first iteration has no beginning"


def test_steps_per_second_counts_from_the_last_border(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("minestudio_nb.telemetry.hub.time.time", lambda: now[0])
    hub = Hub()
    hub.iteration(1, batch(rollout__env_steps=50))
    now[0] += 4.0
    hub.iteration(2, batch(rollout__env_steps=100))
    values = hub.news(points=1).points[0]["values"]
    assert values["rollout/steps_per_second"] == pytest.approx(25.0)
    assert values["rollout/env_steps_total"] == 150


def test_episode_metrics_and_the_window_of_fifty() -> None:
    hub = Hub()
    hub.episodes([episode(100.0)] * 10)
    hub.iteration(1, {})
    hub.episodes([episode(float(k), length=k + 1) for k in range(50)])
    hub.iteration(2, {})
    hub.iteration(3, {})
    first, second, third = (point["values"] for point in hub.news().points)
    assert first["episode/return"] == 100.0 and first["episode/count"] == 10
    assert second["episode/return"] == pytest.approx(24.5) and second["episode/length_steps"] == pytest.approx(25.5)
    assert second["episode/return_window"] == pytest.approx(24.5), "the ten old ones have left the window"
    assert "episode/return" not in third and third["episode/return_window"] == pytest.approx(24.5)
    assert hub.return_window() == pytest.approx(24.5) and hub.window_size() == 50


def test_episode_metrics_that_a_worker_sent_are_not_counted_twice() -> None:
    hub = Hub()
    hub.episodes([episode(1.0), episode(3.0)])
    hub.iteration(1, batch(episode__count=2, episode__return=2.0))
    assert hub.news().points[0]["values"]["episode/count"] == 2


def test_cursors_give_only_news() -> None:
    hub = Hub()
    for k in range(3):
        hub.iteration(k, batch(ppo__loss=float(k)))
    hub.event(Event("state", "rolling"))
    hub.episodes([episode(1.0)])
    news = hub.news()
    assert (news.points_seen, news.events_seen, news.episodes_seen) == (3, 1, 1)
    hub.iteration(3, {})
    later = hub.news(news.points_seen, news.events_seen, news.episodes_seen)
    assert [point["iteration"] for point in later.points] == [3]
    assert not later.events and not later.episodes


def test_rings_keep_the_newest_and_count_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minestudio_nb.telemetry.hub.EVENTS_KEPT", 5)
    hub = Hub()
    for k in range(12):
        hub.event(Event("state", str(k)))
    assert [event.message for event in hub.news().events] == ["7", "8", "9", "10", "11"]
    assert [event.message for event in hub.news(events=10).events] == ["10", "11"]
    assert hub.news(events=3).events == hub.news().events, "a reader that fell behind gets what is left"
    assert hub.news(events=12).events == [] and hub.news(events=99).events == []


def test_reload_restores_everything_and_goes_on(run: RunDirectory) -> None:
    hub = Hub(run)
    hub.metrics(batch(rollout__env_steps=128))
    hub.episodes([episode(2.0), episode(4.0)])
    hub.iteration(1, batch(ppo__loss=0.5))
    hub.event(Event("edit", "applied", source="rank 0", iteration=1, data={"key": "a", "at": np.int64(3)}))
    before = hub.news()
    hub.close()

    again = Hub.reload(run)
    after = again.news()
    assert after.points == before.points
    assert list(after.episodes) == list(before.episodes)
    assert after.events[0].message == "applied" and after.events[0].data == {"key": "a", "at": 3}
    assert again.return_window() == 3.0 and again.env_steps == 128
    again.iteration(2, batch(rollout__env_steps=2))
    assert again.news(points=1).points[0]["tasks"] == before.points[0]["tasks"], "counted anew from the file"
    assert again.news(points=1).points[0]["env_steps"] == 130
    again.close()
    assert [point["iteration"] for point in read_history(run.path).points] == [1, 2]


def test_a_checkpoint_keeps_the_statistics_for_a_run_elsewhere() -> None:
    hub = Hub(window=3)
    hub.episodes([episode(float(k)) for k in range(5)])
    hub.iteration(1, batch(rollout__env_steps=40))
    state = json.loads(json.dumps(hub.get_state()))
    elsewhere = Hub(window=3)
    elsewhere.rewind(1, state)
    assert elsewhere.env_steps == 40 and elsewhere.return_window() == 3.0 and elsewhere.iterations_done == 1
    elsewhere.iteration(2, {})
    assert elsewhere.news().points[0]["tasks"] == hub.news().points[0]["tasks"]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("reloaded", [False, True])
def test_what_came_after_a_checkpoint_is_taken_back_with_steps_and_episodes(run: RunDirectory, reloaded: bool) -> None:
    hub = Hub(run)
    for k in (1, 2):
        hub.episodes([episode(float(k))])
        hub.iteration(k, batch(rollout__env_steps=10))
    state = hub.get_state()
    seen = hub.news()
    hub.episodes([episode(9.0), episode(9.0)])
    hub.iteration(3, batch(rollout__env_steps=10))
    hub.episodes([episode(9.0)])
    hub.metrics(batch(rollout__env_steps=3))
    if reloaded:
        hub.close()
        hub = Hub.reload(run)
    hub.rewind(2, state)
    assert hub.env_steps == 20 and hub.return_window() == 1.5 and hub.iterations_done == 2
    hub.episodes([episode(3.0)])
    hub.iteration(3, batch(rollout__env_steps=7))
    hub.close()
    assert [(row["iteration"], row["env_steps"]) for row in rows(run.metrics)] == [(1, 10), (2, 20), (3, 27)]
    assert [row["episode_return"] for row in rows(run.episodes)] == [1.0, 2.0, 3.0]
    assert hub.news().points[-1]["tasks"]["chop"]["episodes"] == 3
    anew = hub.news(seen.points_seen, seen.events_seen, seen.episodes_seen, seen.rewinds)
    assert [point["iteration"] for point in anew.points] == [1, 2, 3] and anew.rewinds == 1
    later = hub.news(anew.points_seen, anew.events_seen, anew.episodes_seen, anew.rewinds)
    assert not later.points and not later.episodes


def test_a_reader_that_missed_what_a_second_supervisor_took_back_gets_all_anew(run: RunDirectory) -> None:
    hub = Hub.reload(run)
    for k in (1, 2, 3):
        hub.iteration(k, batch(rollout__env_steps=10))
    hub.rewind(2)
    hub.iteration(3, batch(rollout__env_steps=11))
    seen = hub.news()
    assert seen.rewinds == 1
    hub.close()
    again = Hub.reload(run, rewinds=1 << 16)
    again.rewind(2)
    again.iteration(3, batch(rollout__env_steps=12))
    news = again.news(seen.points_seen, rewinds=seen.rewinds)
    again.close()
    assert [point["values"]["rollout/env_steps"] for point in news.points] == [10, 10, 12]
    assert news.rewinds == (1 << 16) + 1
    unchanged = Hub.reload(run, rewinds=2 << 16)  # dies before anything is taken back
    assert len(unchanged.news(3, rewinds=news.rewinds).points) == 3
    unchanged.close()


def test_more_is_taken_back_than_the_rings_hold(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POINTS_KEPT", "EPISODES_KEPT"):
        monkeypatch.setattr(hub_module, name, 3)
    hub = Hub(run)
    for k in range(1, 10):
        hub.episodes([episode(float(k))])
        hub.iteration(k, batch(rollout__env_steps=10))
        if k == 2:
            state = hub.get_state()
    hub.rewind(2, state)
    assert hub.iterations_done == 2 and hub.news().points_seen == 2 and hub.news().episodes_seen == 2
    hub.episodes([episode(3.0)])
    hub.iteration(3, batch(rollout__env_steps=1))
    hub.close()
    assert [row["env_steps"] for row in rows(run.metrics)] == [10, 20, 21]
    assert [row["episode_return"] for row in rows(run.episodes)] == [1.0, 2.0, 3.0]
    assert [point["iteration"] for point in hub.news().points] == [1, 2, 3]


def test_a_trainer_that_was_replaced_takes_back_its_points_only(run: RunDirectory) -> None:
    hub = Hub(run)
    for k in (1, 2, 3):
        hub.episodes([episode(float(k))])
        hub.iteration(k, batch(rollout__env_steps=10))
    hub.metrics(batch(rollout__env_steps=5))
    hub.rewind(1)
    hub.iteration(2, {})
    hub.close()
    assert [(row["iteration"], row["env_steps"]) for row in rows(run.metrics)] == [(1, 10), (2, 35)]
    assert len(rows(run.episodes)) == 3


@pytest.mark.parametrize("tail", [b'{"iteration": 3, "ti', b"\xff\xfe\n[1]\n", b'{"iteration": 3, "values": {}}'])
def test_the_end_of_a_file_is_cut_whatever_a_killed_writer_left_there(tail: bytes, run: RunDirectory) -> None:
    file = JsonLinesFile(run.metrics)
    file.append([{"iteration": k} for k in range(4)])
    file.close()
    with run.metrics.open("ab") as torn:
        torn.write(tail)
    file.cut(lambda row: row["iteration"] > 1)
    file.append([{"iteration": 2}])
    file.close()
    assert [row["iteration"] for row in rows(run.metrics)] == [0, 1, 2]


def test_a_disk_without_room_never_holds_half_a_line_and_gets_all_when_there_is(run: RunDirectory) -> None:
    """With a real limit of the system on the size of files."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    hub = Hub(run)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
        for k in range(40):
            hub.iteration(k, batch(rollout__env_steps=10))
            assert len(rows(run.metrics)) <= k + 1, "every line is whole"
        kept = len(rows(run.metrics))
        assert 0 < kept < 40 and run.metrics.stat().st_size <= 2_000
        assert [event.severity for event in hub.news().events] == ["warning"]
        hub.rewind(37)  # rows that are not in the file yet
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    hub.iteration(38, {})
    hub.close()
    assert [row["iteration"] for row in rows(run.metrics)] == list(range(39))
    assert [row["kind"] for row in rows(run.events)] == ["telemetry"]


def test_statistics_of_each_task_are_part_of_every_point(run: RunDirectory) -> None:
    hub = Hub(run, window=2)
    hub.iteration(1, {})
    hub.episodes([episode(1.0), episode(2.0, 4), episode(4.0, 8), replace(episode(9.0), task="hunt")])
    hub.iteration(2, {})
    hub.close()
    first, second = read_history(run.path).points
    assert first["tasks"] == {} and list(second["tasks"]) == ["chop", "hunt"]
    assert second["tasks"]["chop"] == {  # the latest two of three
        "episodes": 3,
        "return_mean": 3.0,
        "return_std": 1.0,
        "length_mean": 6.0,
        "length_std": 2.0,
        "terminated_fraction": 0.0,
    }
    assert hub.return_window() == 6.5  # (4 + 9) / 2


def test_a_torn_last_line_is_left_out_and_the_next_row_is_whole(run: RunDirectory) -> None:
    hub = Hub(run)
    hub.iteration(1, batch(ppo__loss=0.5))
    hub.close()
    with run.metrics.open("a") as file:
        file.write('{"iteration": 2, "time": 17')
    again = Hub.reload(run)
    assert len(again.news().points) == 1
    again.iteration(2, batch(ppo__loss=0.25))
    again.close()
    assert [point["iteration"] for point in read_history(run.path).points] == [1, 2]


def test_nan_is_null_in_the_file_and_nan_again_after(run: RunDirectory) -> None:
    hub = Hub(run)
    hub.iteration(1, batch(ppo__loss=math.nan, ppo__grad_norm=math.inf))
    hub.close()
    row = json.loads(run.metrics.read_text())
    assert row["values"]["ppo/loss"] is None
    assert math.isnan(read_history(run.path).points[0]["values"]["ppo/loss"])


def test_an_undeclared_metric_becomes_one_event_and_the_rest_is_kept() -> None:
    hub = Hub()
    stat = batch(ppo__loss=1.0)["ppo/loss"]
    for k in range(3):
        hub.iteration(k, {"ppo/los": stat, "ppo/loss": stat})
    (event,) = hub.news().events
    assert event.severity == "warning" and "did you mean 'ppo/loss'" in event.message
    assert hub.last_point()["values"]["ppo/loss"] == 1.0


def test_a_disk_that_refuses_is_told_once_and_loses_nothing(run: RunDirectory) -> None:
    run.metrics.mkdir()  # opening it as a file raises OSError, as a missing or read-only disk would
    hub = Hub(run)
    for k in range(3):
        hub.iteration(k, batch(ppo__loss=float(k)))
    warnings = [event for event in hub.news().events if event.severity == "warning"]
    assert len(warnings) == 1 and "metrics.jsonl cannot be written" in warnings[0].message
    run.metrics.rmdir()
    hub.iteration(3, batch(ppo__loss=3.0))
    hub.close()
    assert [point["iteration"] for point in read_history(run.path).points] == [0, 1, 2, 3]


def test_many_threads_lose_nothing(run: RunDirectory) -> None:
    hub = Hub(run)

    def work(worker: int) -> None:
        for _ in range(50):
            hub.metrics(batch(rollout__env_steps=3))
            hub.episodes([episode(float(worker))])
            hub.event(Event("state", str(worker)))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for k in range(20):
        hub.iteration(k, {})
    for thread in threads:
        thread.join(30)
    hub.iteration(20, {})
    hub.close()
    history = read_history(run.path)
    assert sum(point["values"].get("rollout/env_steps", 0) for point in history.points) == 4 * 50 * 3
    assert history.points[-1]["env_steps"] == 600
    assert len(history.episodes) == 200 and len(history.events) == 200


def test_after_close_news_stay_in_memory(run: RunDirectory) -> None:
    hub = Hub(run)
    hub.close()
    hub.close()
    hub.event(Event("state", "late"))
    assert len(hub.news().events) == 1 and not run.events.exists()


def test_every_metric_of_the_catalogue_can_be_recorded() -> None:
    recorder = Recorder()
    for name in METRICS:
        recorder.add(name, 1.0)
    hub = Hub()
    hub.iteration(1, recorder.flush())
    assert set(hub.last_point()["values"]) == set(METRICS)


def test_points_show_the_processes_looked_at_once_a_second() -> None:
    hub = Hub(resources=ResourceMeter(ProcessTrees([os.getpid()])))
    assert hub.last_point() is None
    hub.iteration(1, {})
    hub.iteration(2, {})
    first, second = (point["values"] for point in hub.news().points)
    assert first["system/cpu_seconds_total"] > 0 and first["system/memory_bytes"] > 1e7
    assert second["system/cpu_seconds_total"] == first["system/cpu_seconds_total"], "not looked at again so soon"


def test_a_full_object_store_is_told_once_each_time() -> None:
    shares = iter([0.5, 0.95, 0.99, 0.8, 0.95, 0.6, 0.97])
    size = 80 * 2**20
    meter = ResourceMeter(ProcessTrees([os.getpid()]), lambda: (next(shares) * size, float(size)))
    hub = Hub(resources=meter)
    for k in range(7):
        meter._looked_at = -1e9  # it looks once a second at most
        hub.iteration(k, {})
    told = [event for event in hub.news().events if "object store" in event.message]
    assert [event.severity for event in told] == ["warning", "warning"]
    assert "store of 80 MiB is full: 76 MiB are held" in told[0].message and "max_chunks" in told[0].message


def test_fragments_that_ray_has_moved_to_disk_count_for_the_object_store() -> None:
    size = 80 * 2**20
    hub = Hub(resources=ResourceMeter(ProcessTrees([os.getpid()]), lambda: (0.3 * size, float(size))))
    hub.iteration(1, batch(buffer__bytes=20 * 2**20))
    assert not hub.news().events
    hub.iteration(2, batch(buffer__bytes=192 * 2**20))
    (event,) = hub.news().events
    assert "store of 80 MiB is full: 192 MiB are held" in event.message

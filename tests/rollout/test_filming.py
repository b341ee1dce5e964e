"""Recorded episodes become videos, numbers and traces in the run directory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import av
import numpy as np

from minestudio_nb.contracts.fragments import EpisodeSummary, StreamId
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.rollout.filming import episode_frames, film, store_episode
from minestudio_nb.rollout.viewing import RecordedEpisode
from minestudio_nb.runs import RunDirectory
from minestudio_nb.runtime.common import FilmCrew
from tests.runtime.ray_support import REPOSITORY, eventually


def episode(steps: int = 6, side: int = 240) -> RecordedEpisode:
    frames = [np.full((side, side, 3), 10 * k, np.uint8) for k in range(steps + 1)]
    return RecordedEpisode(
        StreamId(1, 2),
        frames=frames,
        values=[0.5] * steps,
        rewards=[1.0] * steps,
        versions=[3] * steps,
        actions=[[0, 2]] * steps,
    )


def summary(task: str = "chop/../x") -> EpisodeSummary:
    return EpisodeSummary(StreamId(1, 2), task, 6.0, 6, 3, False, True, 1000.5)


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_an_episode_is_stored_under_a_safe_name_with_video_and_numbers(tmp_path: Path) -> None:
    video = store_episode(tmp_path / "episodes", episode(), summary(), fps=20)
    assert video is not None and video.parent == tmp_path / "episodes"
    assert video.name == "chop----x-v3-w1e2-1000500.mp4"
    assert len(decoded(video)) == 7
    numbers = json.loads(video.with_suffix(".json").read_text())
    assert numbers["rewards"] == [1.0] * 6 and numbers["values"] == [0.5] * 6 and numbers["episode_return"] == 6.0
    assert numbers["actions"] == [[0, 2]] * 6


def test_return_and_value_are_drawn_on_the_frames(tmp_path: Path) -> None:
    info = film(episode(), tmp_path / "film")
    assert info is not None
    dark = decoded(info.path)[0]
    assert dark[:20].max() > 150 and dark[120:].max() < 30, "white letters at the top, the frame itself below"


def test_steps_and_frames_go_together() -> None:
    assert [step for step, _ in episode_frames(episode(3))] == [0, 1, 2, 2]


def test_an_episode_without_pictures_leaves_its_numbers(tmp_path: Path) -> None:
    blind = episode()
    blind.frames = []
    assert store_episode(tmp_path, blind, summary("cartpole"), 20) is None
    assert len(list(tmp_path.glob("*.json"))) == 1 and not list(tmp_path.glob("*.mp4"))


def test_a_film_crew_tells_what_it_filmed_and_survives_what_it_cannot(tmp_path: Path) -> None:
    told: list[Event] = []
    crew = FilmCrew(tmp_path, 20, told.append)
    broken = episode()
    broken.frames = [np.zeros((3, 3), np.uint8)]
    crew.deliver(broken, summary())
    crew.deliver(episode(), summary())
    crew.close(30)
    assert [event.severity for event in told] == ["warning", "info"]
    assert Path(told[1].data["path"]).is_file() and told[1].data["length"] == 6 and told[1].data["stream"] == [1, 2]
    assert "return 6.00" in told[1].message


ENDLESS_FILM = """
import itertools, sys
from pathlib import Path
from tests.rollout.test_filming import episode, store_episode, summary
long = episode()
long.frames = itertools.cycle(long.frames)
store_episode(Path(sys.argv[1]), long, summary(), 20)
"""


def test_who_is_killed_while_filming_leaves_nothing_half_written(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "killed")
    store_episode(run.recordings, episode(), summary("whole"), 20)
    whole = sorted(path.name for path in run.recordings.iterdir())
    with subprocess.Popen([sys.executable, "-c", ENDLESS_FILM, str(run.recordings)], cwd=REPOSITORY) as process:
        eventually(lambda: list(run.recordings.glob(".*/*.json")), 60.0, "a film that is being made")
        process.kill()
    assert sorted(path.name for path in run.recordings.glob("[!.]*")) == whole and len(whole) == 2
    run.tidy()
    assert sorted(path.name for path in run.recordings.iterdir()) == whole


def test_without_room_for_a_video_nothing_of_it_is_left(tmp_path: Path) -> None:
    """With a real limit of the system on the size of files; the next one, for which there is room, is whole."""
    told: list[Event] = []
    long = episode(24)
    noise = np.random.default_rng(0)
    long.frames = [noise.integers(0, 256, (240, 240, 3), np.uint8) for _ in range(25)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    crew = FilmCrew(tmp_path, 20, told.append)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
        crew.deliver(long, summary())
        crew.close(60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    (event,) = told
    assert event.severity == "warning" and "File too large" in event.message
    again = FilmCrew(tmp_path, 20, told.append)
    again.deliver(long, summary())
    again.close(60)
    assert len(decoded(Path(told[1].data["path"]))) == 25

"""Recorded episodes on disk and as video: what the policy valued is drawn on the frames.

A trace is kept beside its video, since frames of any size can be rendered from it later.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minestudio_nb.contracts.fragments import EpisodeSummary
from minestudio_nb.rollout.viewing import RecordedEpisode
from minestudio_nb.telemetry.video import VideoInfo, annotate, write_video

__all__ = ["episode_frames", "film", "store_episode"]

Frame = npt.NDArray[np.uint8]

FILM_SIZE = (640, 360)
"""Width and height of videos rendered from traces, in pixels."""
TICKS_PER_FRAME = 2
"""A trace has 20 ticks a second; a video of it 10 frames a second of world time."""


def episode_frames(episode: RecordedEpisode, size: tuple[int, int] = FILM_SIZE) -> Iterator[tuple[int, Frame]]:
    """``(step, frame)`` for each frame of a recorded episode; frames are uint8 ``(H, W, 3)``.

    From a trace they are rendered at ``size`` (width, height), several of each step; else they are what the policy saw.
    """
    steps = max(len(episode.rewards), 1)
    if episode.trace is None:
        for number, frame in enumerate(episode.frames):
            yield min(number, steps - 1), frame
        return
    from minestudio_nb.simulator.replay import render_trace

    ticks = max(len(episode.trace), 1)
    for number, frame in enumerate(render_trace(episode.trace, size, TICKS_PER_FRAME)):
        yield min(number * TICKS_PER_FRAME * steps // ticks, steps - 1), frame


def film(episode: RecordedEpisode, stem: Path, fps: float = 20.0) -> VideoInfo | None:
    """Writes ``<stem>.mp4`` with step, return and value drawn on each frame; None where there is nothing to see."""
    returns = np.cumsum(episode.rewards) if episode.rewards else np.zeros(1)
    frames = []
    for step, frame in episode_frames(episode):
        text = f"step {step + 1}   return {returns[max(step - 1, 0)] if step else 0.0:.1f}"
        if step < len(episode.values):
            text += f"   value {episode.values[step]:.2f}"
        frames.append(annotate(frame, text, episode.values, step) if frame.shape[1] >= 200 else frame)
    return write_video(frames, stem, fps) if frames else None


def store_episode(directory: Path, episode: RecordedEpisode, summary: EpisodeSummary, fps: float) -> Path | None:
    """Stores an episode as video, numbers and (where there is one) trace in ``directory``; returns the video's path.

    The files are ``<task>-v<version>-w<worker>e<env>-<time>.{mp4,json,npz}``, made in a hidden folder beside them, so
    that each is whole. Where one cannot be written, for want of room on the disk or for any other cause, none is left,
    and the cause is raised.
    """
    where = f"w{summary.stream.worker}e{summary.stream.env}"
    task = "".join(letter if letter.isalnum() or letter in "_-" else "-" for letter in summary.task)[:40]
    name = f"{task}-v{summary.version}-{where}-{int(summary.finished_at * 1000)}"
    draft = directory / f".{name}.tmp"
    draft.mkdir(parents=True, exist_ok=True)
    stem = draft / name
    try:
        if episode.trace is not None:
            stem.with_suffix(".npz").write_bytes(episode.trace.to_bytes())
        stem.with_suffix(".json").write_text(json.dumps(_numbers(episode, summary), allow_nan=False), encoding="utf-8")
        video = film(episode, stem, fps)
        for path in draft.iterdir():
            path.replace(directory / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return None if video is None else directory / video.path.name


def _numbers(episode: RecordedEpisode, summary: EpisodeSummary) -> dict[str, Any]:
    return {
        "task": summary.task,
        "episode_return": summary.episode_return,
        "length": summary.length,
        "terminated": summary.terminated,
        "rewards": episode.rewards,
        "values": [value if np.isfinite(value) else None for value in episode.values],
        "versions": episode.versions,
        "actions": episode.actions,
    }

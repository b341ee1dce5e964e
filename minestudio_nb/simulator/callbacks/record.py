"""Recording episodes to files: video, actions, infos, frames."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.callbacks.base import MinecraftCallback, Observation, StepResult

if TYPE_CHECKING:
    from minestudio_nb.video import VideoWriter

_SUFFIXES: Final = (".mp4", "_action.json", "_info.json", ".npy")
_HIDDEN: Final = ("chat", "mobs", "voxels")  # what show_actions leaves out


class RecordCallback(MinecraftCallback):
    """Records each episode to ``episode_1.mp4``, ``episode_2.mp4``, ... in a folder.

    Frames go into the file as they come, and a file gets its name when the episode is over, at the next reset or when
    the simulation closes: the next number for which nothing is there yet, so that several environments may share
    a folder. Put it last among callbacks, so that it sees what they have done.

    Args:
        record_path: the folder, made if it is not there.
        fps: frames per second of the video; one frame is one tick.
        frame_type: "pov" for frames of ``render_size``, "obs" for the observation.
        recording: whether to record from the start; the attribute of this name may be changed between episodes.
        show_actions: write the action onto each frame.
        record_actions: also write ``episode_1_action.json``: a list of env actions, the first empty, for the reset.
        record_infos: also write ``episode_1_info.json``: a list of infos, without ``pov``.
        record_origin_observation: also write ``episode_1.npy``: all frames, uint8[n, h, w, 3].

    Raises:
        SimulatorError: unknown ``frame_type``.
    """

    def __init__(
        self,
        record_path: str | Path,
        fps: int = 20,
        frame_type: Literal["pov", "obs"] = "pov",
        recording: bool = True,
        show_actions: bool = False,
        record_actions: bool = False,
        record_infos: bool = False,
        record_origin_observation: bool = False,
    ) -> None:
        if frame_type not in ("pov", "obs"):
            raise SimulatorError(f"frame_type is 'pov' or 'obs'; got {frame_type!r}.")
        self.record_path = Path(record_path)
        self.fps = fps
        self.frame_type = frame_type
        self.recording = recording
        self.show_actions = show_actions
        self.record_actions = record_actions
        self.record_infos = record_infos
        self.record_origin_observation = record_origin_observation
        self.needs_image = frame_type == "obs"
        self.episode_id = 0
        self._take: _Take | None = None
        self._action: dict[str, Any] = {}

    def before_reset(self, sim: Any, reset_flag: bool) -> bool:
        """Save the last episode."""
        self._save()
        return reset_flag

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Begin a recording with the first frame."""
        if self.recording:
            self.record_path.mkdir(parents=True, exist_ok=True)
            self._take = _Take(self.record_path)
            self._action = {}
            self._add(obs, info)
        return obs, info

    def before_step(self, sim: Any, action: dict[str, Any]) -> dict[str, Any]:
        """Note the action."""
        if self._take is not None:
            self._action = dict(action)
        return action

    def after_step(
        self, sim: Any, obs: Observation, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> StepResult:
        """Add what came of it."""
        if self._take is not None:
            self._add(obs, info)
        return obs, reward, terminated, truncated, info

    def before_close(self, sim: Any) -> None:
        """Save the last episode."""
        self._save()

    def _add(self, obs: Observation, info: Mapping[str, Any]) -> None:
        assert self._take is not None
        frame = obs["image"] if self.frame_type == "obs" else info["pov"]
        shown = _with_action(frame, self._action) if self.show_actions else frame
        self._take.film(shown, self.fps)
        if self.record_origin_observation:
            self._take.keep(frame)
        if self.record_actions:
            self._take.actions.append(_plain(self._action))
        if self.record_infos:
            self._take.infos.append(_plain({key: value for key, value in info.items() if key != "pov"}))

    def _save(self) -> None:
        take, self._take = self._take, None
        if take is None:
            return
        take.close()
        if self.record_actions:
            take.write("_action.json", take.actions)
        if self.record_infos:
            take.write("_info.json", take.infos)
        self.episode_id = take.publish(self.episode_id + 1)

    def __repr__(self) -> str:
        return f"RecordCallback(record_path={str(self.record_path)!r})"


class _Take:
    """One recording that is under way, in files with hidden names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stem = f".recording-{os.getpid()}-{id(self):x}"
        self._writer: VideoWriter | None = None
        self._raw: Any = None
        self._shape: tuple[int, ...] = ()
        self.actions: list[Any] = []
        self.infos: list[Any] = []

    def _path(self, suffix: str) -> Path:
        return self._folder / f"{self._stem}{suffix}"

    def film(self, frame: NDArray[np.uint8], fps: float) -> None:
        """Append a frame to the video."""
        if self._writer is None:
            from minestudio_nb.video import VideoWriter, fit

            self._writer = VideoWriter(self._path(".mp4"), *fit(frame.shape[1], frame.shape[0]), fps=fps)
        self._writer.add(frame)

    def keep(self, frame: NDArray[np.uint8]) -> None:
        """Append a frame to the array; it goes to disk, for long episodes do not fit into memory."""
        if self._raw is None:
            self._raw = self._path(".raw").open("wb")
            self._shape = (0, *frame.shape)
        self._raw.write(np.ascontiguousarray(frame).data)
        self._shape = (self._shape[0] + 1, *self._shape[1:])

    def write(self, suffix: str, data: Any) -> None:
        """Write a JSON file."""
        self._path(suffix).write_text(json.dumps(data), encoding="utf-8")

    def close(self) -> None:
        """Finish video and array."""
        if self._writer is not None:
            self._writer.close()
        if self._raw is not None:
            self._raw.close()
            array = np.lib.format.open_memmap(self._path(".npy"), mode="w+", dtype=np.uint8, shape=self._shape)
            array[:] = np.memmap(self._path(".raw"), np.uint8, "r", shape=self._shape)
            array.flush()
            self._path(".raw").unlink()

    def publish(self, number: int) -> int:
        """Give the files their names, from this number on the first that is free; returns it."""
        while True:
            target = self._folder / f"episode_{number}.mp4"
            with contextlib.suppress(FileExistsError):
                target.touch(exist_ok=False)  # the name is ours, whoever else looks for one now
                break
            number += 1
        self._path(".mp4").replace(target)
        for suffix in _SUFFIXES[1:]:
            if self._path(suffix).exists():
                self._path(suffix).replace(self._folder / f"episode_{number}{suffix}")
        return number


def _plain(value: Any) -> Any:
    """Arrays as lists, NumPy's numbers as Python's, keys as texts: what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value


def _with_action(frame: NDArray[np.uint8], action: Mapping[str, Any]) -> NDArray[np.uint8]:
    """A copy of the frame with one line for each part of the action, in red where something is pressed."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(frame)
    draw = ImageDraw.Draw(image)
    line = max(frame.shape[0] // 24, 8)
    lines = {name: value for name, value in action.items() if name not in _HIDDEN}
    for row, (name, value) in enumerate(lines.items()):
        pressed = bool(np.any(np.asarray(value)))
        text = "[{:.2f}, {:.2f}]".format(*np.asarray(value).reshape(-1)) if name == "camera" else str(value)
        colour = (234, 53, 70) if pressed else (249, 200, 14)
        draw.text((6, 4 + row * line), f"{name}: {text}", fill=colour, font=ImageFont.load_default(line - 1))
    return np.asarray(image)

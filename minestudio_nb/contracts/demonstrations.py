"""Recorded demonstrations: what somebody saw, did and got, step by step, as one npz file without pickles.

The file is made by ``numpy.savez_compressed`` and holds, for an episode of T steps of one tick each:

====================  =======================  ====================================================================
array                 dtype and shape          meaning
====================  =======================  ====================================================================
``head``              uint8 [n]                JSON as UTF-8: ``format``, ``task``, ``seed``, ``buttons``, ``extras``
``image``             uint8 [T + 1, H, W, 3]   RGB; what was seen before each step, and at the end
``env_buttons``       int8 [T, B]              0 or 1, one column for each name in ``head["buttons"]``
``env_camera``        float32 [T, 2]           pitch and yaw, in degrees
``agent_buttons``     int32 [T]                0..8640, the nearest action of a policy with a joint button head
``agent_camera``      int32 [T]                bin of its camera
``reward``            float32 [T]
``terminated``        bool [T]                 only the last can be true
``truncated``         bool [T]                 only the last can be true; neither: the player gave up
====================  =======================  ====================================================================

Actions are those that were carried out, after callbacks such as masks. ``extras`` is plain data for the record.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from minestudio_nb.errors import RunError

__all__ = ["DEMONSTRATION_FORMAT", "Demonstration", "load_demonstration"]

DEMONSTRATION_FORMAT: Final = 1
_ARRAYS: Final[Mapping[str, Any]] = {
    "image": np.uint8,
    "env_buttons": np.int8,
    "env_camera": np.float32,
    "agent_buttons": np.int32,
    "agent_camera": np.int32,
    "reward": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
}


@dataclass(frozen=True, eq=False)
class Demonstration:
    """One episode; the table above says what the arrays are. ValueError when they do not fit together."""

    task: str
    seed: int
    buttons: tuple[str, ...]
    """Names of the columns of ``env_buttons``."""
    image: npt.NDArray[np.uint8]
    env_buttons: npt.NDArray[np.int8]
    env_camera: npt.NDArray[np.float32]
    agent_buttons: npt.NDArray[np.int32]
    agent_camera: npt.NDArray[np.int32]
    reward: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    extras: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps = len(self.reward)
        shapes = {"env_buttons": (steps, len(self.buttons)), "env_camera": (steps, 2)}
        for name, dtype in _ARRAYS.items():
            array = getattr(self, name)
            if array.dtype != dtype:
                raise ValueError(f"{name} must be {np.dtype(dtype).name}, it is {array.dtype}")
            if name == "image":
                if array.ndim != 4 or len(array) != steps + 1 or array.shape[3] != 3:
                    raise ValueError(f"image must be [{steps + 1}, height, width, 3], it is {list(array.shape)}")
            elif array.shape != shapes.get(name, (steps,)):
                raise ValueError(f"{name} must be {list(shapes.get(name, (steps,)))}, it is {list(array.shape)}")

    def __len__(self) -> int:
        """Steps; one image more is there."""
        return len(self.reward)

    def __repr__(self) -> str:
        height, width = self.image.shape[1:3]
        return f"Demonstration({self.task!r}, {len(self)} steps, return {self.reward.sum():g}, {width}x{height} pixels)"

    def env_action(self, step: int) -> dict[str, Any]:
        """The action of one step in the ``env`` form: every button as 0 or 1, and ``camera`` float32[2]."""
        pressed = self.env_buttons[step].tolist()
        return {**dict(zip(self.buttons, pressed, strict=True)), "camera": self.env_camera[step].copy()}

    def agent_action(self, step: int) -> dict[str, npt.NDArray[np.int32]]:
        """The action of one step in the ``agent`` form: arrays of shape (1,)."""
        return {"buttons": self.agent_buttons[step : step + 1], "camera": self.agent_camera[step : step + 1]}

    def to_bytes(self) -> bytes:
        """The contents of the file."""
        head = {
            "format": DEMONSTRATION_FORMAT,
            "task": self.task,
            "seed": self.seed,
            "buttons": list(self.buttons),
            "extras": dict(self.extras),
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
        return buffer.getvalue()


def load_demonstration(path: str | os.PathLike[str]) -> Demonstration:
    """Reads a demonstration.

    Raises:
        RunError: there is no such file, or it is no demonstration of a format that this version knows.
    """
    file = Path(path)
    try:
        with np.load(file, allow_pickle=False) as arrays:
            head = json.loads(arrays["head"].tobytes())
            if head["format"] != DEMONSTRATION_FORMAT:
                raise RunError(
                    f"{file} is a demonstration of format {head['format']}; this version reads {DEMONSTRATION_FORMAT}."
                )
            named = {name: arrays[name] for name in _ARRAYS}
        return Demonstration(
            str(head["task"]), int(head["seed"]), tuple(head["buttons"]), **named, extras=head["extras"]
        )
    except FileNotFoundError as error:
        raise RunError(f"There is no file {file}.") from error
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise RunError(f"{file} is no demonstration: {error}.") from error

"""Episodes as seed, initial state and actions, and frames made from them again at any size.

A trace is recorded below callbacks and wrappers, so replaying needs neither: the engine alone goes through the same
ticks and chat commands, and its states are bit-equal to those of the episode. Only what a callback writes directly into
the engine's arrays in the middle of an episode is not in it.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.actions import TICK_FIELDS
from minestudio_nb.simulator.commands import execute
from minestudio_nb.simulator.engine import Recording, VoxelEngine

TRACE_FORMAT: Final = 2


@dataclass(eq=False)
class EpisodeTrace:
    """One episode.

    Attributes:
        seed: of the simulation, for the record.
        initial: the engine's state at the beginning (``VoxelEngine.get_state``).
        ticks: int32[n], how many ticks each entry held its action.
        actions: int8[n, TICK_FIELDS], tick rows.
        cameras: float64[n, 2], pitch and yaw in degrees.
        commands: chat commands: number of entries before it, seed, text.
    """

    seed: int
    initial: dict[str, Any]
    ticks: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    actions: NDArray[np.int8] = field(default_factory=lambda: np.zeros((0, TICK_FIELDS), np.int8))
    cameras: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    commands: list[tuple[int, int, str]] = field(default_factory=list)

    @classmethod
    def begin(cls, engine: VoxelEngine, seed: int) -> EpisodeTrace:
        """Start to record what ``engine`` runs."""
        trace = cls(seed, engine.get_state())
        engine.recording = Recording()
        return trace

    def end(self, engine: VoxelEngine) -> EpisodeTrace:
        """Stop recording; returns this trace, filled."""
        recording = engine.recording or Recording()
        engine.recording = None
        self.ticks = np.array([run[0] for run in recording.runs], np.int32)
        rows = b"".join(run[1] for run in recording.runs)
        self.actions = np.frombuffer(rows, np.int8).reshape(-1, TICK_FIELDS).copy()
        self.cameras = np.array([run[2:] for run in recording.runs], np.float64).reshape(-1, 2)
        self.commands = list(recording.commands)
        return self

    def __len__(self) -> int:
        """How many ticks it lasts."""
        return int(self.ticks.sum())

    def to_bytes(self) -> bytes:
        """The trace as a compressed npz file, which holds no pickles."""
        arrays = {f"initial/{k}": v for k, v in self.initial.items() if isinstance(v, np.ndarray)}
        plain = {k: v for k, v in self.initial.items() if not isinstance(v, np.ndarray)}
        head = {"format": TRACE_FORMAT, "seed": self.seed, "initial": plain, "commands": self.commands}
        arrays |= {"ticks": self.ticks, "actions": self.actions, "cameras": self.cameras}
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> EpisodeTrace:
        """The trace that ``to_bytes`` wrote.

        Raises:
            SimulatorError: the bytes are no trace, or one of another format.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                head = json.loads(arrays["head"].tobytes())
                if head["format"] != TRACE_FORMAT:
                    raise SimulatorError(f"This version reads traces of format {TRACE_FORMAT}; got {head['format']}.")
                initial = head["initial"] | {
                    name.removeprefix("initial/"): arrays[name] for name in arrays.files if name.startswith("initial/")
                }
                commands = [(int(at), int(seed), str(text)) for at, seed, text in head["commands"]]
                return cls(head["seed"], initial, arrays["ticks"], arrays["actions"], arrays["cameras"], commands)
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise SimulatorError(f"These bytes are not a recorded episode: {error}.") from error


def replay(trace: EpisodeTrace) -> Iterator[VoxelEngine]:
    """Live through an episode again, tick by tick.

    Yields:
        The engine, one and the same: first as the episode began, then after each tick.

    Raises:
        SimulatorError: this version generates another world from the trace's seed.
    """
    engine = VoxelEngine()
    engine.set_state(trace.initial)
    yield engine
    action = np.zeros(TICK_FIELDS, np.int32)
    still = np.zeros(2)
    commands = list(trace.commands)
    for number, (ticks, row, camera) in enumerate(zip(trace.ticks.tolist(), trace.actions, trace.cameras, strict=True)):
        while commands and commands[0][0] <= number:
            _, seed, text = commands.pop(0)
            execute(engine, text, seed)
        action[:] = row
        for tick in range(ticks):
            if engine.run(action, camera if tick == 0 else still) == 0:
                break
            yield engine
    for _, seed, text in commands:
        execute(engine, text, seed)


def render_trace(
    trace: EpisodeTrace, size: tuple[int, int] = (640, 360), every: int = 1
) -> Iterator[NDArray[np.uint8]]:
    """The frames of an episode.

    Args:
        trace: the episode.
        size: width and height in pixels.
        every: render each n-th tick only, beginning with the first.

    Yields:
        uint8[height, width, 3], a new array each.
    """
    from minestudio_nb.simulator.view import View

    view = View(*size)
    for number, engine in enumerate(replay(trace)):
        if number % every == 0:
            frame = np.empty((size[1], size[0], 3), np.uint8)
            view.render(engine, frame)
            yield frame

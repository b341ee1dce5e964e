"""Counting environments that people can look at, or cannot; importable without torch, for processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.support.counting_env import CountingEnv


class Painted(CountingEnv):
    """Renders a grey of 16 times its step, leaves a line in a file for each frame, and has names for its moves."""

    render_mode = "rgb_array"

    def __init__(self, index: int, notes: str) -> None:
        super().__init__(index)
        self.notes = Path(notes) / f"rendered-{index}"

    def render(self) -> np.ndarray:
        with self.notes.open("a") as file:
            file.write(f"{self.step_number}\n")
        return np.full((36, 64, 3), 16 * self.step_number, np.uint8)

    def describe_action(self, action: dict[str, Any]) -> str:
        return f"walk {action['move']}"


class Unpaintable(CountingEnv):
    render_mode = "rgb_array"

    def render(self) -> None:
        raise RuntimeError("no screen")

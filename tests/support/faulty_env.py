"""A counting environment that breaks, once each, in every way that environments break."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.breaking import break_process
from tests.support.counting_env import CountingEnv

Place = tuple[int, int]
"""Episode and step before which the fault happens; step 0 is in the reset, and (-1, 0) in the constructor."""


GROWTH = 400 << 20
"""Bytes that the child of a growing environment takes."""


@dataclass(frozen=True)
class FaultyFactory:
    """Builds environment ``index`` with the faults ``plan[index]``: ``{place: kind}``.

    A fault happens once over all processes and restarts, remembered as a file in ``directory``, unless its kind ends
    with ``"!"``. Kinds: raise, exit, kill, stop (SIGSTOP: alive, and silent), block (until ``directory/go`` exists);
    nan, text (rewards), shape, dtype, nan_obs (observations), flag (terminated is 0); grow (a child process that takes
    :data:`GROWTH` bytes).
    """

    directory: str
    plan: Mapping[int, Mapping[Place, str]]

    def __call__(self, index: int) -> FaultyEnv:
        return FaultyEnv(index, Path(self.directory), self.plan.get(index, {}))


class FaultyEnv(CountingEnv):
    def __init__(self, index: int, directory: Path, plan: Mapping[Place, str]) -> None:
        self.directory, self.plan = directory, plan
        (directory / f"pid-{index}-{os.getpid()}").touch()
        super().__init__(index)
        self.break_at((-1, 0))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        shown = super().reset(seed=seed, options=options)
        self.break_at((self.episode, 0))
        return shown

    def step(self, action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        shown, reward, terminated, truncated, info = super().step(action)
        count = shown["count"]
        match self.break_at((self.episode, self.step_number)):
            case "nan":
                reward = float("nan")
            case "text":
                reward = "much"
            case "shape":
                shown["count"] = count[:1]
            case "dtype":
                shown["image"] = shown["image"].astype(np.float64)
            case "nan_obs":
                shown["count"] = np.where(count == count[3], np.nan, count)
            case "flag":
                terminated = 0
        return shown, reward, terminated, truncated, info

    def break_at(self, place: Place) -> str:
        kind = self.plan.get(place, "")
        if not kind:
            return ""
        if not kind.endswith("!"):
            marker = self.directory / f"{kind}-{self.index}-{place[0]}-{place[1]}"
            if marker.exists():
                return ""
            marker.touch()
        kind = kind.rstrip("!")
        print(f"environment {self.index} is about to {kind}")
        if kind == "raise":
            raise RuntimeError(f"broken on purpose at {place}")
        break_process(kind)
        if kind == "block":
            (self.directory / "blocked").touch()
            while not (self.directory / "go").exists():
                time.sleep(0.01)
        if kind == "grow":
            child = subprocess.Popen([sys.executable, "-c", f"held = b'x' * {GROWTH}; input()"], stdin=subprocess.PIPE)
            (self.directory / f"pid-{self.index}-{child.pid}").touch()
        return kind

"""Callbacks that judge a step: rewards, the end of an episode, and what ``info`` shows of the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator import blocks as table
from minestudio_nb.simulator.callbacks.base import MinecraftCallback, Observation, StepResult, pass_over
from minestudio_nb.simulator.callbacks.portal import FRAME, HEIGHT, HOLE, WIDTH
from minestudio_nb.simulator.info import StepInfo, event_row, object_column

_REWARD_KEYS: Final = ("event", "objects", "reward", "identity", "max_reward_times")
# Events that happen at most once in a tick, so that their number in a batch is the number of ticks in which they
# happened. Kills are not among them: a sweep may kill several.
_SINGLE_EVENTS: Final = ("mine_block", "use_item")


class RewardsCallback(MinecraftCallback):
    """Replaces the reward by the sum over what was achieved in this step.

    Args:
        reward_cfg: a list of ``{"event": "kill_entity", "objects": ["sheep", "cow"], "reward": 1.0, "identity": "hunt",
            "max_reward_times": 5}``. An entry pays once in a step in which the counter of the event grew for one of the
            objects, and at most ``max_reward_times`` times in an episode; entries with the same identity share
            that count.

    Raises:
        SimulatorError: a key is missing; an event or object is unknown, when a simulation takes it.
    """

    def __init__(self, reward_cfg: Sequence[Mapping[str, Any]]) -> None:
        self.reward_cfg = [dict(entry) for entry in reward_cfg]
        self._columns: list[tuple[int, list[int]]] = [(0, [])] * len(self.reward_cfg)
        for entry in self.reward_cfg:
            missing = [key for key in _REWARD_KEYS if key not in entry]
            if missing:
                raise SimulatorError(f"RewardsCallback needs {', '.join(_REWARD_KEYS)}; {entry} lacks {missing}.")
        self.batch_ticks = all(entry["event"] in _SINGLE_EVENTS for entry in self.reward_cfg)
        self.reward_memory: dict[str, int] = {}
        self._seen = [0] * len(self.reward_cfg)

    @staticmethod
    def create_from_conf(source: Mapping[str, Any] | str | Path) -> RewardsCallback | None:
        """From ``reward_cfg``."""
        data = MinecraftCallback.load_data_from_conf(source)
        return RewardsCallback(data["reward_cfg"]) if "reward_cfg" in data else None

    def attach(self, sim: Any) -> None:
        """Look up what is counted."""
        for index, entry in enumerate(self.reward_cfg):
            columns, row = [], 0
            for name in entry["objects"]:
                try:
                    row = event_row(entry["event"])
                    columns.append(object_column(entry["event"], name))
                except SimulatorError as error:
                    pass_over(sim, self, error)
            self._columns[index] = (row, columns)

    def _count(self, sim: Any) -> list[int]:
        stats = sim.engine.state.stats
        return [sum(int(stats[row, column]) for column in columns) for row, columns in self._columns]

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Forget the last episode."""
        self.reward_memory = {}
        self._seen = self._count(sim)
        return obs, info

    def after_step(
        self, sim: Any, obs: Observation, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> StepResult:
        """Pay for the counters that grew."""
        total = 0.0
        counts = self._count(sim)
        for entry, before, now in zip(self.reward_cfg, self._seen, counts, strict=True):
            if now <= before:
                continue
            times = min(now - before, sim.ticks_in_step)
            paid = self.reward_memory.get(entry["identity"], 0)
            times = max(0, min(times, entry["max_reward_times"] - paid))
            total += times * entry["reward"]
            self.reward_memory[entry["identity"]] = paid + times
        self._seen = counts
        return obs, total, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """The counters seen and the times paid."""
        return {"reward_memory": dict(self.reward_memory), "seen": list(self._seen)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.reward_memory = dict(state["reward_memory"])
        self._seen = list(state["seen"])

    def __repr__(self) -> str:
        return f"RewardsCallback({self.reward_cfg})"


class JudgeResetCallback(MinecraftCallback):
    """Ends an episode after ``time_limit`` steps, as a truncation: the world could have gone on.

    Args:
        time_limit: steps (calls of ``sim.step``; a wrapper that repeats an action makes several).
    """

    batch_ticks = True

    def __init__(self, time_limit: int = 600) -> None:
        if time_limit < 1:
            raise SimulatorError(f"time_limit must be at least 1 step; got {time_limit}.")
        self.time_limit = int(time_limit)
        self.time_step = 0

    @staticmethod
    def create_from_conf(source: Mapping[str, Any] | str | Path) -> JudgeResetCallback | None:
        """From ``time_limit``."""
        data = MinecraftCallback.load_data_from_conf(source)
        return JudgeResetCallback(data["time_limit"]) if "time_limit" in data else None

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Start counting."""
        self.time_step = 0
        return obs, info

    def max_batch(self, sim: Any) -> int:
        """A batch must end at the limit."""
        return max(1, self.time_limit - self.time_step)

    def after_step(
        self, sim: Any, obs: Observation, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> StepResult:
        """Truncate at the limit."""
        self.time_step += sim.ticks_in_step
        if self.time_step >= self.time_limit:
            truncated = True
        return obs, reward, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """The steps so far."""
        return {"time_step": self.time_step}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.time_step = int(state["time_step"])

    def __repr__(self) -> str:
        return f"JudgeResetCallback(time_limit={self.time_limit})"


class VoxelsCallback(MinecraftCallback):
    """Puts the blocks around the player into ``info["voxels"]``: a list of ``{"x", "y", "z", "type"}``, air included.

    Coordinates are relative to the cell of the player's feet. The list is made when it is read.

    Args:
        voxels_ins: the least and the largest x, y and z, both included.
    """

    batch_ticks = True

    def __init__(self, voxels_ins: Sequence[int] = (-7, 7, -7, 7, -7, 7)) -> None:
        x0, x1, y0, y1, z0, z1 = (int(v) for v in voxels_ins)
        if x0 > x1 or y0 > y1 or z0 > z1:
            raise SimulatorError(f"voxels_ins is [xmin, xmax, ymin, ymax, zmin, zmax]; got {list(voxels_ins)}.")
        self.voxels_ins = [x0, x1, y0, y1, z0, z1]

    def after_step(
        self, sim: Any, obs: Observation, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> StepResult:
        """Copy the cells out of the world."""
        if isinstance(info, StepInfo):
            info.add_voxels(*sim.engine.cells_around(*self.voxels_ins))
        return obs, reward, terminated, truncated, info

    def __repr__(self) -> str:
        return f"VoxelsCallback({self.voxels_ins})"


class GateRewardsCallback(MinecraftCallback):
    """Rewards progress towards a nether portal: the change of a score of the obsidian within seven blocks.

    The score of a corner and a direction is the number of frame cells that are obsidian (each beyond the twelfth counts
    twice), less the hole's cells that are, less a tenth of all obsidian around. The best one counts, at least 0.

    What stands at the end of the reset pays nothing, if this callback comes after those that build it.
    """

    RANGE: Final = 7
    batch_ticks = True  # changes of the score add up

    def __init__(self) -> None:
        self.prev_reward = 0.0
        self._obsidian = table.block_id("obsidian")

    def score(self, sim: Any) -> float:
        """The score of what stands around the player now."""
        r = self.RANGE
        cells, _ = sim.engine.cells_around(-r, r, -r, r, -r, r)
        found = cells == self._obsidian  # x, z, y
        if not found.any():
            return 0.0
        side = len(found)
        padded = np.zeros((side + WIDTH - 1, side + WIDTH - 1, side + HEIGHT - 1), np.int8)
        padded[:side, :side, :side] = found
        best = 0
        for along_x in (1, 0):
            frame, hole = (
                sum(
                    padded[x : x + side, z : z + side, up : up + side]
                    for along, up in cells
                    for x, z in ((along * along_x, along * (1 - along_x)),)
                )
                for cells in (FRAME, HOLE)
            )
            scores = frame + np.maximum(0, frame - 12) - hole
            best = max(best, int(scores[found].max()))
        return max(0.0, best - 0.1 * int(found.sum()))

    def after_reset(self, sim: Any, obs: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Start from what stands."""
        self.prev_reward = self.score(sim)
        return obs, info

    def after_step(
        self, sim: Any, obs: Observation, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> StepResult:
        """Pay the change of the score."""
        score = self.score(sim)
        reward, self.prev_reward = score - self.prev_reward, score
        return obs, reward, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """The last score."""
        return {"prev_reward": self.prev_reward}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.prev_reward = float(state["prev_reward"])

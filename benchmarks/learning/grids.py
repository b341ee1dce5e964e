"""MiniGrid: DoorKey from pixels, and Memory with and without a memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt

from benchmarks.learning.registry import OURS, Arm, Experiment, Published

if TYPE_CHECKING:
    from minestudio_nb import OnlineSession

__all__ = ["EXPERIMENTS", "CellKinds", "doorkey_pixels", "memory_kinds", "successes"]

KINDS = 11
"""Kinds of things in MiniGrid: unseen, empty, wall, floor, door, key, ball, box, goal, lava, agent."""
NEAR_ROWS = 4
"""Of the seven rows of cells before the agent, those that it sees in the task for memory."""
TILE = 8
"""Pixels of a cell's side: 56x56 for the 7x7 cells that an agent sees."""


class CellKinds(gymnasium.ObservationWrapper[Any, Any, Any]):
    """What kind of thing is in each cell of the ``rows`` nearest rows that the agent sees, itself in the last one.

    Float32 ``(columns * rows * KINDS,)``, one-hot; MiniGrid's own view is 7 columns by 7 rows.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], rows: int) -> None:
        super().__init__(env)
        cells = env.observation_space
        assert isinstance(cells, gymnasium.spaces.Box)
        self._rows = rows
        self._one_hot = np.eye(KINDS, dtype=np.float32)
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (cells.shape[0] * rows * KINDS,), np.float32)

    def observation(self, observation: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """``(columns, rows, 3)`` of kind, colour and state, the farthest row first -> one-hot kinds."""
        return self._one_hot[observation[:, -self._rows :, 0]].reshape(-1)


def doorkey_pixels(**arguments: Any) -> gymnasium.Env[Any, Any]:
    """MiniGrid-DoorKey-5x5-v0, seen as MiniGrid draws the 7x7 cells before the agent: uint8 ``(56, 56, 3)``."""
    from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper

    env = gymnasium.make("MiniGrid-DoorKey-5x5-v0", disable_env_checker=True, **arguments)
    return ImgObsWrapper(RGBImgPartialObsWrapper(env, tile_size=TILE))


def memory_kinds(rows: int = NEAR_ROWS, **arguments: Any) -> gymnasium.Env[Any, Any]:
    """MiniGrid-MemoryS7-v0, seen as the kinds of the cells of the four nearest rows.

    With all seven the task needs no memory: at the fork, looking back, the agent sees the object to remember and both
    ends at once.
    """
    from minigrid.wrappers import ImgObsWrapper

    env = gymnasium.make("MiniGrid-MemoryS7-v0", disable_env_checker=True, **arguments)
    return CellKinds(ImgObsWrapper(env), rows)


for _name, _entry in (("DoorKeyPixels-v0", doorkey_pixels), ("MemoryKinds-v0", memory_kinds)):
    if _name not in gymnasium.registry:
        gymnasium.register(_name, _entry)

SUCCESS_EPISODES = 200
SUCCESS_SEED = 2_000_000


def successes(session: OnlineSession) -> dict[str, float]:
    """Percentage of held-out episodes that succeed, which is all that is rewarded; actions are drawn."""

    def rate(random_policy: bool) -> float:
        drawn = {"deterministic": False, "random_policy": random_policy}
        returns = np.array(session.evaluate(SUCCESS_EPISODES, seed=SUCCESS_SEED, **drawn).returns)
        return round(100.0 * float((returns > 0).mean()), 2)

    return {"success": rate(random_policy=False), "random_success": rate(random_policy=True)}


COLUMNS = {"success": "success, sampled (%)"}
STARTER_FILES = "https://github.com/lcswillems/rl-starter-files"

EXPERIMENTS = (
    Experiment(
        name="doorkey",
        title="MiniGrid-DoorKey-5x5-v0 from pixels",
        config="benchmarks/learning/configs/doorkey.yaml",
        about=(
            "Fetch a key, open a door, go to the goal, from a picture of 56x56 pixels (`RGBImgPartialObsWrapper`). "
            "Success pays 1 - 0.9 * steps / 250, at its own end of episodes; everything else pays nothing."
        ),
        arms=(OURS,),
        cpu_seconds=150,
        episodes=100,
        solved=0.9,
        columns=COLUMNS,
        extras=successes,
        published=(
            Published(
                "0.93 (success 1.00 after 18.6 steps, over 100 episodes)",
                "rl-starter-files, PPO, 80,000 frames, from cells instead of pixels; its return in today's reward",
                STARTER_FILES,
            ),
        ),
    ),
    Experiment(
        name="memory",
        title="MiniGrid-MemoryS7-v0",
        config="benchmarks/learning/configs/memory.yaml",
        about=(
            "An object in the first room tells at which of two ends of a corridor the reward is; it is out of sight "
            "there. Who guesses succeeds in half of the episodes. All seven actions, the task's own reward and 245 "
            "steps, but of the usual 7 rows of 7 cells only the 4 nearest are seen: with all of them, an agent that "
            "looks back at the fork sees the object and both ends at once, and a policy without memory succeeded in "
            "72 %. The same settings with a GRU (`mlp_gru`) and without memory (`mlp`)."
        ),
        arms=(
            Arm("recurrent", "mlp_gru"),
            Arm("feed_forward", "mlp", ("policy=mlp", "train_config.context_length=1")),
        ),
        cpu_seconds=140,
        finding=(
            "Not tried: the tasks of memory-gym, whose package pins gymnasium 0.29 and cannot be installed beside the "
            "others."
        ),
        episodes=100,
        columns=COLUMNS,
        extras=successes,
    ),
)

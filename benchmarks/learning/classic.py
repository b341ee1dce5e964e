"""Classic control and LunarLander, beside stable-baselines3, and CartPole without its velocities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from benchmarks.learning.registry import OURS, Arm, Experiment, Job, Published, Result

__all__ = ["EXPERIMENTS", "Masked"]


class Masked(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Only the components ``kept`` of a vector observation."""

    def __init__(self, env: gymnasium.Env[Any, Any], kept: tuple[int, ...]) -> None:
        super().__init__(env)
        self._kept = list(kept)
        whole = env.observation_space
        assert isinstance(whole, gymnasium.spaces.Box)
        self.observation_space = gymnasium.spaces.Box(whole.low[self._kept], whole.high[self._kept], dtype=np.float32)

    def observation(self, observation: Any) -> Any:
        """See the base class."""
        return observation[self._kept]


def masked_cartpole(**arguments: Any) -> gymnasium.Env[Any, Any]:
    """CartPole-v1 with the cart's position and the pole's angle, without their velocities."""
    return Masked(gymnasium.make("CartPole-v1", disable_env_checker=True, **arguments).unwrapped, (0, 2))


if "MaskedCartPole-v1" not in gymnasium.registry:
    gymnasium.register("MaskedCartPole-v1", masked_cartpole, max_episode_steps=500)


def train_sb3(job: Job, folder: Path) -> Result:
    """See :func:`benchmarks.learning.sb3.train`."""
    from benchmarks.learning.sb3 import train

    return train(job, folder)


SB3 = Arm("sb3", "stable-baselines3", train=train_sb3)

EXPERIMENTS = (
    Experiment(
        name="cartpole",
        title="CartPole-v1",
        config="configs/cartpole.yaml",
        about="The shipped configuration. 500 is the most that an episode can give.",
        arms=(OURS, SB3),
        seeds=(0, 1, 2, 3, 4),
        cpu_seconds=35,
        solved=475.0,
        published=(
            Published(
                "488.8 ± 18.4",
                "CleanRL's ppo.py, 500k steps, 3 seeds, other hyperparameters",
                "https://docs.cleanrl.dev/rl-algorithms/ppo/",
            ),
        ),
    ),
    Experiment(
        name="masked_cartpole",
        title="CartPole-v1 without velocities",
        config="benchmarks/learning/configs/masked_cartpole.yaml",
        about=(
            "Only the cart's position and the pole's angle are seen; how fast they change has to be remembered. The "
            "same settings with a GRU (`mlp_gru`) and without memory (`mlp`)."
        ),
        arms=(
            Arm("recurrent", "mlp_gru"),
            Arm("feed_forward", "mlp", ("policy=mlp", "train_config.context_length=1")),
        ),
        seeds=(0, 1, 2, 3, 4),
        cpu_seconds=70,
        solved=475.0,
        key_settings=("train_config.context_length",),
    ),
    Experiment(
        name="acrobot",
        title="Acrobot-v1",
        config="benchmarks/learning/configs/acrobot.yaml",
        about="Swing a two-link arm up; each step costs 1, so the return is the time that it takes.",
        arms=(OURS, SB3),
        seeds=(0, 1, 2, 3, 4),
        cpu_seconds=120,
        solved=-100.0,
        published=(
            Published(
                "-82.5 ± 5.9",
                "CleanRL's ppo.py, 500k steps, 3 seeds, whose hyperparameters these are",
                "https://docs.cleanrl.dev/rl-algorithms/ppo/",
            ),
            Published(
                "-73.5 ± 18",
                "stable-baselines3's zoo, 1M steps, one agent, other hyperparameters",
                "https://github.com/DLR-RM/rl-baselines3-zoo/blob/master/benchmark.md",
            ),
        ),
    ),
    Experiment(
        name="lunarlander",
        title="LunarLander-v3",
        config="benchmarks/learning/configs/lunarlander.yaml",
        about="Land softly between the flags; 200 is a good landing.",
        arms=(OURS, SB3),
        cpu_seconds=400,
        solved=200.0,
        published=(
            Published(
                "242 ± 32",
                "stable-baselines3's zoo, LunarLander-v2, 1M steps, one agent",
                "https://github.com/DLR-RM/rl-baselines3-zoo/blob/master/benchmark.md",
            ),
        ),
    ),
)

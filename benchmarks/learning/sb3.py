"""The same experiment through stable-baselines3's PPO, whose arguments follow from our configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.learning.registry import Job, Result
from benchmarks.learning.training import HELD_OUT_SEED, CpuClock, load, settings_of, thinned

if TYPE_CHECKING:
    from collections.abc import Callable

    from minestudio_nb.config import OnlineConfig

__all__ = ["ppo_arguments", "train"]

WINDOW = 50
"""Latest training episodes that a point of the curve is the mean of, as ours."""
SAME = {
    "env_config.simulator": "gymnasium",
    "trainer_name": "PPOTrainer",
    "rollout_config.num_rollout_workers": 1,
    "train_config.num_workers": 1,
    "train_config.weight_decay": 0.0,
    "train_config.ppo_policy_coef": 1.0,
    "train_config.clip_vloss": False,
    "train_config.use_normalized_vf": False,
    "train_config.zero_initial_vf": False,
    "train_config.vf_warmup": 0,
    "train_config.target_kl": None,
    "train_config.kl_skip": None,
    "train_config.kl_divergence_coef_rho": 0.0,
}
"""Settings for which stable-baselines3 has nothing equal, or only these values."""


def ppo_arguments(config: OnlineConfig) -> dict[str, Any]:
    """Arguments of ``stable_baselines3.PPO`` that mean what our configuration means.

    Its value loss lacks our factor of one half, so ``vf_coef`` is half of ``ppo_vf_coef``. It asks its schedules after
    an iteration's steps are counted, we before.

    Raises:
        ValueError: a setting has no equal there.
    """
    train, samples = config.train_config, config.samples_per_iteration
    for key, value in SAME.items():
        if config.get(key) != value:
            raise ValueError(f"{key}={config.get(key)!r}: stable-baselines3 has only what {value!r} means.")
    if config.policy_config.name != "mlp" or config.policy_config.args.get("shared", False):
        raise ValueError("Only the mlp policy with separate networks is built alike in stable-baselines3.")
    batch = train.batch_size_per_gpu * config.rollout_config.fragment_length * train.gradient_accumulation
    if train.normalize_advantage_full_batch and batch != samples:
        raise ValueError("stable-baselines3 normalises advantages over each optimizer step only.")
    hidden = list(config.policy_config.args.get("hidden", (64, 64)))
    one_iteration = 1.0 / train.num_iterations
    return {
        "n_steps": samples // config.num_envs,
        "batch_size": batch,
        "n_epochs": train.epochs_per_iteration,
        "learning_rate": _schedule(train.learning_rate, train.anneal_lr_linearly, one_iteration),
        "clip_range": _schedule(train.ppo_clip, train.anneal_clip_linearly, one_iteration),
        "gamma": train.discount,
        "gae_lambda": train.gae_lambda,
        "ent_coef": train.entropy_bonus_coef,
        "vf_coef": 0.5 * train.ppo_vf_coef,
        "max_grad_norm": train.max_grad_norm,
        "normalize_advantage": True,
        "seed": train.seed,
        "stats_window_size": WINDOW,
        "policy_kwargs": {
            "net_arch": {"pi": hidden, "vf": hidden},
            "activation_fn": torch.nn.Tanh,
            "ortho_init": True,
            "optimizer_kwargs": {"eps": train.adam_eps},
        },
    }


def _schedule(value: float, falls: bool, one_iteration: float) -> float | Callable[[float], float]:
    return (lambda remaining: value * (remaining + one_iteration)) if falls else value


def train(job: Job, folder: Path) -> Result:
    """One run, as a line of the results."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    loaded = load(job)
    config = loaded.config
    steps: list[int] = []
    returns: list[float] = []

    class Curve(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            latest = [episode["r"] for episode in self.model.ep_info_buffer]
            if latest:
                steps.append(self.num_timesteps)
                returns.append(float(np.mean(latest)))

    clock = CpuClock()
    # By itself it asks for pictures, and LunarLander then moves the sparks of its engines, too, whether seen or not.
    arguments = {"render_mode": None, **config.env_config.kwargs}
    env = make_vec_env(config.env_config.id, config.num_envs, config.train_config.seed, env_kwargs=arguments)
    model = PPO("MlpPolicy", env, device="cpu", **ppo_arguments(config))
    model.learn(config.train_config.num_iterations * config.samples_per_iteration, Curve())
    env.close()
    seconds = clock.seconds()
    return {
        "env_steps": model.num_timesteps,
        "cpu_seconds": round(seconds, 1),
        "greedy": _evaluate(model, loaded.env, job, deterministic=True),
        "sampled": _evaluate(model, loaded.env, job, deterministic=False),
        "settings": settings_of(config),
        "curve": thinned(steps, returns),
    }


class _ActingModel:
    """What :func:`minestudio_nb.rollout.evaluation.evaluate` asks of a policy, answered by a model of theirs."""

    device = torch.device("cpu")

    def __init__(self, model: Any) -> None:
        self._model = model

    def initial_state(self, batch_size: int) -> list[torch.Tensor]:
        return []

    def act(self, obs: Any, first: Any, state: Any, generator: Any, deterministic: bool) -> Any:
        from minestudio_nb.policies.base import ActOutput

        (vector,) = obs.values()
        actions, _ = self._model.predict(vector.numpy(), deterministic=deterministic)
        nothing = torch.zeros(len(actions))
        return ActOutput(torch.from_numpy(actions).reshape(len(actions), -1), nothing, nothing, [])


def _evaluate(model: Any, env: Any, job: Job, deterministic: bool) -> list[float]:
    """The very episodes that ours are evaluated in."""
    from minestudio_nb.rollout.evaluation import evaluate

    torch.manual_seed(HELD_OUT_SEED)
    acting: Any = _ActingModel(model)
    played = evaluate(acting, env, job.experiment.episodes, deterministic, HELD_OUT_SEED)
    return [round(value, 3) for value in played.returns]

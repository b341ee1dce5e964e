"""Demonstrations for behaviour cloning: recording them, and reading them as what a policy sees and does.

Two kinds of npz files are read. Those of :func:`minestudio_nb.play` hold what a person did in VoxelSim, tick by tick.
Those that :func:`record_demonstrations` writes hold the steps of any environment as a policy meets them: a JSON
``head``, and for an episode of T steps ``obs:<key>`` ``(T, *shape)``, ``actions`` ``(T, K)``, ``rewards`` ``(T,)``.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from minestudio_nb.contracts.demonstrations import Demonstration, load_demonstration
from minestudio_nb.contracts.generators import GeneratorSpec
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.environments.build import EnvFactory
from minestudio_nb.environments.spaces import flatten_observation, spec_of
from minestudio_nb.errors import RunError
from minestudio_nb.policies import MinePolicy

__all__ = ["Demonstrations", "record_demonstrations"]

FORMAT = 1
AGENT_LEAVES = {"buttons", "camera"}

Obs = dict[str, npt.NDArray[Any]]
Expert = Callable[[Obs], Any]
"""What acts: observation arrays by key -> the environment's own action."""


@dataclass(frozen=True)
class Demonstrations:
    """All steps of all episodes, one after another, as one stream of N steps on the CPU.

    ``obs[key]`` ``(N, *shape)``, ``actions`` ``(N, K)``, ``first`` bool ``(N,)``: where episodes begin.
    """

    obs: Mapping[str, Tensor]
    actions: Tensor
    first: Tensor

    @classmethod
    def load(cls, paths: Sequence[str], spec: EnvSpec) -> Demonstrations:
        """Reads files, and all ``*.npz`` below folders that are demonstrations of this kind or of ``play()``.

        Raises:
            RunError: there are none, one cannot be read, or one does not fit what the policy sees and does.
        """
        files = [file for path in paths for file in _files(Path(path))]
        if not files:
            raise RunError(f"There are no demonstrations in {list(paths)}: no demonstration.npz or episode_*.npz.")
        episodes = [_read(file, spec) for file in files]
        firsts = [np.arange(len(actions)) == 0 for _, actions in episodes]
        return cls(
            {key: torch.from_numpy(np.concatenate([obs[key] for obs, _ in episodes])) for key in spec.obs.keys},
            torch.from_numpy(np.concatenate([actions for _, actions in episodes])),
            torch.from_numpy(np.concatenate(firsts)),
        )

    def __len__(self) -> int:
        """Steps."""
        return len(self.actions)

    def draw(self, chunks: int, before: int, length: int, generator: torch.Generator) -> Tensor:
        """Numbers ``(chunks, before + length)`` of consecutive steps, chunks beginning anywhere.

        The stream is a ring: its first step begins an episode, so that a memory which runs over it forgets the end.
        """
        starts = torch.randint(len(self), (chunks, 1), generator=generator)
        return (starts - before + torch.arange(before + length)) % len(self)


def record_demonstrations(
    expert: MinePolicy | Expert,
    env_source: GeneratorSpec | Mapping[str, Any] | Callable[..., Any],
    folder: str | Path,
    episodes: int,
    *,
    seed: int = 0,
    at_least: float = -np.inf,
    deterministic: bool = False,
) -> list[float]:
    """Lets a policy, or a function, play, and writes each episode as ``episode_<i>.npz``; returns their returns.

    Args:
        expert: a policy of this package, or a function from observation arrays by key to the environment's action.
        env_source: a recipe such as ``load_config(...).env``, an ``env_config``, or a function that builds one.
        at_least: episodes with a smaller return are not written.
        deterministic: of a policy, the most probable action instead of a random one.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    env = EnvFactory(env_source, seed)(0)
    try:
        spec = spec_of(env)
        act = _actor(expert, spec, seed, deterministic) if isinstance(expert, MinePolicy) else expert
        returns = []
        for episode in range(episodes):
            obs, actions, rewards = _play(env, spec, act, seed + episode)
            returns.append(float(rewards.sum()))
            if returns[-1] >= at_least:
                head = {"format": FORMAT, "kind": "steps", "return": returns[-1], "seed": seed + episode}
                arrays = {"head": np.frombuffer(json.dumps(head).encode(), np.uint8), "actions": actions}
                arrays |= {"rewards": rewards, **{f"obs:{key}": part for key, part in obs.items()}}
                np.savez_compressed(target / f"episode_{episode:04d}.npz", **arrays)
        return returns
    finally:
        env.close()


def _play(env: Any, spec: EnvSpec, act: Expert, seed: int) -> tuple[Obs, npt.NDArray[Any], npt.NDArray[np.float32]]:
    seen: list[Obs] = []
    actions, rewards = [], []
    native, _ = env.reset(seed=seed)
    over, first = False, True
    while not over:
        obs = {key: np.array(part, spec.obs[key].dtype) for key, part in flatten_observation(native, spec.obs).items()}
        action = act({**obs, "first": np.array(first)})
        native, reward, terminated, truncated, _ = env.step(action)
        seen.append(obs)
        actions.append(spec.action.encode(action))
        rewards.append(float(reward))
        over, first = terminated or truncated, False
    return (
        {key: np.stack([obs[key] for obs in seen]) for key in spec.obs.keys},
        np.stack(actions),
        np.array(rewards, np.float32),
    )


def _actor(policy: MinePolicy, spec: EnvSpec, seed: int, deterministic: bool) -> Expert:
    state = list(policy.initial_state(1))
    generator = torch.Generator(policy.device).manual_seed(seed)

    def act(obs: Obs) -> Any:
        nonlocal state
        first = torch.tensor([bool(obs["first"])], device=policy.device)
        tensors = {key: torch.from_numpy(obs[key])[None].to(policy.device) for key in spec.obs.keys}
        out = policy.act(tensors, first, state, generator, deterministic)
        state = list(out.state)
        return spec.action.decode(out.actions[0].cpu().numpy())

    return act


# Reading.


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted([*path.rglob("episode_*.npz"), *path.rglob("demonstration.npz")])
    if not path.is_file():
        raise RunError(
            f"There is no file or folder {path}. Paths of demonstrations are those of the machine that trains."
        )
    return [path]


def _read(file: Path, spec: EnvSpec) -> tuple[Obs, npt.NDArray[Any]]:
    """Observations and actions of one episode, as the policy of ``spec`` meets them."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            steps = "actions" in arrays
            if steps:
                obs = {name.removeprefix("obs:"): arrays[name] for name in arrays.files if name.startswith("obs:")}
                actions = arrays["actions"]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{file} is no demonstration: {error}.") from error
    if not steps:
        obs, actions = _of_play(file, load_demonstration(file), spec)
    _check(file, obs, actions, spec)
    return {key: obs[key] for key in spec.obs.keys}, actions.astype(spec.action.dtype)


def _of_play(file: Path, played: Demonstration, spec: EnvSpec) -> tuple[Obs, npt.NDArray[Any]]:
    images = [key for key, box in spec.obs.items() if box.is_image]
    leaves = {leaf.name for leaf in spec.action.leaves}
    if leaves == AGENT_LEAVES:
        native: Callable[[int], Any] = played.agent_action
    elif leaves == {*played.buttons, "camera"}:
        native = played.env_action
    else:
        raise RunError(
            f"{file} holds the actions of VoxelSim itself, {len(played.buttons)} buttons and a camera; the policy "
            f"chooses among {sorted(leaves)} ({', '.join(map(str, spec.action.nvec))}). Play and train without "
            "wrappers that change actions, or record a trained agent: record_demonstrations()."
        )
    actions = np.stack([spec.action.encode(native(step)) for step in range(len(played))])
    return {key: played.image[:-1] for key in images[:1]}, actions


def _check(file: Path, obs: Obs, actions: npt.NDArray[Any], spec: EnvSpec) -> None:
    problems = []
    for key, box in spec.obs.items():
        if key not in obs:
            problems.append(f"the policy reads {key!r}, which is not among {sorted(obs)}")
        elif obs[key].shape[1:] != box.shape or obs[key].dtype != box.dtype:
            came = f"{obs[key].dtype} {obs[key].shape[1:]}"
            problems.append(f"{key!r} is {came}, the policy reads {box.dtype} {box.shape}")
        elif len(obs[key]) != len(actions):
            problems.append(f"{key!r} has {len(obs[key])} steps, there are {len(actions)} actions")
    if actions.ndim != 2 or actions.shape[1] != spec.action.size:
        problems.append(f"actions are {actions.shape[1:]} numbers, the policy's {spec.action.size}")
    elif spec.action.is_categorical and not ((actions >= 0) & (actions < spec.action.nvec)).all():
        problems.append(f"there are actions beyond the policy's {spec.action.nvec}")
    if problems:
        raise RunError(f"{file} does not fit the environment that is trained in: {'; '.join(problems)}.")

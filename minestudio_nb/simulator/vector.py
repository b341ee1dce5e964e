"""Many simulations in one process behind ``gymnasium.vector.VectorEnv``: one set of compiled kernels, one pool of
worlds, and threads where they help.

Kernels release Python's lock, so threads advance and draw several worlds at once; what stays in Python is about a
fiftieth of a step at 128x128.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.tasks import build_env

_MASK: Final = "_"


class VectorInfo(dict[str, Any]):
    """The infos of all environments in gymnasium's form, batched when a key is read.

    ``infos["health"]`` is an array with one entry for each environment, and ``infos["_health"]`` says which of them
    have that key. Most training loops read one or two keys, and computing all of them takes longer than a tick.

    Attributes:
        single: the info of each environment, None where there is none (in a reset of some environments only).
    """

    def __init__(self, single: Sequence[Mapping[str, Any] | None], gather: Callable[..., dict[str, Any]]) -> None:
        super().__init__()
        self.single = tuple(single)
        self._gather = gather

    def __missing__(self, key: str) -> Any:
        name = key if self._has(key) else key.removeprefix(_MASK)
        batched: dict[str, Any] = {}
        for index, info in enumerate(self.single):
            if info is not None and name in info:
                batched = self._gather(batched, {name: info[name]}, index)
        self.update(batched)
        if not dict.__contains__(self, key):
            raise KeyError(key)
        return dict.__getitem__(self, key)

    def _has(self, key: str) -> bool:
        return any(info is not None and key in info for info in self.single)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        return dict.__contains__(self, key) or self._has(key) or (key[:1] == _MASK and self._has(key[1:]))

    def get(self, key: str, default: Any = None) -> Any:
        """The batched value of a key, or ``default``."""
        return self[key] if key in self else default  # noqa: SIM401 - get is what is defined here

    def _fill(self) -> None:
        for info in self.single:
            for key in info or ():
                if not dict.__contains__(self, key):
                    self.__missing__(key)

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return super().__iter__()

    def __len__(self) -> int:
        self._fill()
        return super().__len__()

    def keys(self):  # type: ignore[no-untyped-def]
        """All keys, with their masks; computes every entry."""
        self._fill()
        return super().keys()

    def items(self):  # type: ignore[no-untyped-def]
        """All keys and values, with their masks; computes every entry."""
        self._fill()
        return super().items()

    def values(self):  # type: ignore[no-untyped-def]
        """All values, with the masks; computes every entry."""
        self._fill()
        return super().values()


class VoxelVectorEnv(VectorEnv[Any, Any, Any]):
    """``num_envs`` simulations of one configuration, stepped together.

    Environment i is ``build_env(env_config, seed + i)`` in the worlds of ``seed``: callbacks and wrappers are built
    anew for each from the same specs, and the pool of worlds is shared. Streams are those of single simulations, bit
    for bit, whatever the number of threads.

    Args:
        env_config: see ``build_env``.
        num_envs: how many.
        seed: of the worlds, and of environment 0; environment i has ``seed + i``.
        held_out: see ``build_env``.
        threads: that step environments at the same time; 1 for none.
        autoreset_mode: when an environment whose episode ended is reset, see ``gymnasium.vector.AutoresetMode``.
            NEXT_STEP, gymnasium's default: the step that ends an episode returns its last observation, and the step
            after that resets (its action is not used, reward 0). SAME_STEP: the step that ends an episode returns the
            next one's first observation; the last observation and info are ``infos["final_obs"][i]`` and
            ``infos["final_info"]``. DISABLED: the caller resets, with ``options={"reset_mask": bool[num_envs]}``.
        copy: whether every step returns new arrays; otherwise the next step overwrites the observations.

    Attributes:
        envs: the environments.

    Raises:
        SimulatorError: a number that must be positive is not, or see ``build_env``.
    """

    def __init__(
        self,
        env_config: Mapping[str, Any],
        num_envs: int,
        seed: int = 0,
        held_out: bool = False,
        threads: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        copy: bool = True,
    ) -> None:
        if num_envs < 1 or threads < 1:
            raise SimulatorError(f"num_envs and threads must be at least 1; got {num_envs} and {threads}.")
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.num_envs, self.copy = num_envs, copy
        config = dict(env_config)
        config["kwargs"] = {"world_seed": 2 * seed + int(held_out), **(config.get("kwargs") or {})}
        self.envs: list[gymnasium.Env[Any, Any]] = [build_env(config, seed + i, held_out) for i in range(num_envs)]
        first = self.envs[0]
        self.metadata = {**first.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = first.render_mode
        self.single_observation_space, self.single_action_space = first.observation_space, first.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._observations = create_empty_array(self.single_observation_space, num_envs, np.zeros)
        self._ended = np.zeros(num_envs, np.bool_)
        share = -(-num_envs // threads)
        self._shares = [range(k, min(k + share, num_envs)) for k in range(0, num_envs, share)]
        self._threads = ThreadPoolExecutor(len(self._shares), "voxel-env") if len(self._shares) > 1 else None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in all environments, or in those of ``options["reset_mask"]``.

        Args:
            seed: a number (environment i gets ``seed + i``), one for each environment, or None to go on.
            options: ``reset_mask`` (bool[num_envs]); no others are known.

        Returns:
            The observations of all environments, and infos of those that were reset.

        Raises:
            SimulatorError: seeds or mask of another length, or other options.
        """
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        if seeds is not None and len(seeds) != self.num_envs:
            raise SimulatorError(f"reset needs one seed for each of {self.num_envs} environments; got {len(seeds)}.")
        rest = dict(options or {})
        mask = rest.pop("reset_mask", None)
        chosen = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask)
        if chosen.dtype != np.bool_ or chosen.shape != (self.num_envs,) or not chosen.any():
            raise SimulatorError(f"reset_mask is bool[{self.num_envs}] with at least one True; got {mask!r}.")
        observations: list[Any] = list(iterate(self.observation_space, self._observations))
        infos: list[Any] = [None] * self.num_envs

        def reset_one(i: int) -> None:
            if chosen[i]:
                observations[i], infos[i] = self.envs[i].reset(seed=seeds[i] if seeds else None, options=rest or None)

        self._for_all(reset_one)
        self._ended[chosen] = False
        return self._batch(observations), VectorInfo(infos, self._add_info)

    def step(
        self, actions: Any
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One step of all environments. After an exception, reset before going on.

        Args:
            actions: of ``action_space``.

        Returns:
            Observations, rewards float64[num_envs], terminated and truncated bool[num_envs], infos (``VectorInfo``).

        Raises:
            SimulatorError: before the first reset, an action that cannot be, or, in mode DISABLED, an environment whose
                episode ended was not reset.
        """
        if self.autoreset_mode == AutoresetMode.DISABLED and self._ended.any():
            raise SimulatorError(
                f"The episodes of environments {np.flatnonzero(self._ended).tolist()} ended. With autoreset_mode "
                "DISABLED, call reset(options={'reset_mask': ...}) for them before the next step."
            )
        single_actions = list(iterate(self.action_space, actions))
        observations: list[Any] = [None] * self.num_envs
        infos: list[Any] = [None] * self.num_envs
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)

        def step_one(i: int) -> None:
            env = self.envs[i]
            if self._ended[i]:
                observations[i], infos[i] = env.reset()
                return
            observations[i], reward, terminated[i], truncated[i], infos[i] = env.step(single_actions[i])
            rewards[i] = float(reward)
            if self.autoreset_mode == AutoresetMode.SAME_STEP and (terminated[i] or truncated[i]):
                final = {"final_obs": observations[i], "final_info": infos[i]}
                observations[i], infos[i] = env.reset()
                infos[i].update(final)

        self._for_all(step_one)
        if self.autoreset_mode != AutoresetMode.SAME_STEP:
            self._ended = terminated | truncated
        return self._batch(observations), rewards, terminated, truncated, VectorInfo(infos, self._add_info)

    def render(self) -> tuple[Any, ...]:  # type: ignore[override]
        """The frame of each environment at ``render_size``."""
        return tuple(env.render() for env in self.envs)

    def get_state(self) -> dict[str, Any]:
        """What ``set_state`` takes back: the states of the environments, and which episodes have ended."""
        return {"envs": [env.get_state() for env in self.envs], "ended": self._ended.copy()}  # type: ignore[attr-defined]

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Return to what ``get_state`` gave, here or in another of the same arguments.

        Raises:
            SimulatorError: the state is of another number of environments, or see ``VoxelSim.set_state``.
        """
        if len(state["envs"]) != self.num_envs:
            raise SimulatorError(f"The state has {len(state['envs'])} environments, and this {self.num_envs}.")
        for env, single in zip(self.envs, state["envs"], strict=True):
            env.set_state(single)  # type: ignore[attr-defined]
        self._ended = np.array(state["ended"], np.bool_)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments and end the threads."""
        for env in self.envs:
            env.close()
        if self._threads is not None:
            self._threads.shutdown()

    def _for_all(self, work: Callable[[int], None]) -> None:
        """Do something for each environment, each thread for its share of them."""
        if self._threads is None:
            for i in range(self.num_envs):
                work(i)
            return

        def do_share(share: range) -> None:
            for i in share:
                work(i)

        futures = [self._threads.submit(do_share, share) for share in self._shares]
        errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:
            raise errors[0]

    def _batch(self, observations: Sequence[Any]) -> Any:
        """The observations in one array for each entry of the space."""
        if self.copy:
            self._observations = create_empty_array(self.single_observation_space, self.num_envs, np.empty)
        self._observations = concatenate(self.single_observation_space, observations, self._observations)
        return self._observations

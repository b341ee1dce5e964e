"""How good a policy is: whole episodes on seeds that training never sees."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minestudio_nb.contracts.fragments import StreamId
from minestudio_nb.contracts.generators import GeneratorSpec
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.environments.build import EnvFactory, env_seed
from minestudio_nb.environments.slot import RECORD, EnvArrays, EnvSlot, EpisodeEnd
from minestudio_nb.errors import EnvStartError
from minestudio_nb.policies.base import MinePolicy
from minestudio_nb.rollout.pool import Deadlines
from minestudio_nb.rollout.remote_slot import RemoteSlot, remote_slots
from minestudio_nb.rollout.viewing import RecordedEpisode, image_key

__all__ = ["Evaluation", "evaluate"]

_logger = logging.getLogger(__name__)

MOST_ENGINES = 2
"""How many environments in processes of their own an evaluation uses: an engine takes a minute to start."""

TRIES = 3
"""So often an episode is tried whose environment fails."""

EVALUATOR = -1 & 0xFFFF
"""Worker number of evaluations, so that their seeds are nobody else's."""


@dataclass
class Evaluation:
    """One item per episode, in the order of ``seeds``; ``recordings`` are the first that were asked for."""

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    recordings: list[RecordedEpisode] = field(default_factory=list)


@torch.inference_mode()
def evaluate(
    policy: MinePolicy | None,
    env_source: GeneratorSpec | Mapping[str, Any] | Callable[..., Any],
    episodes: int,
    deterministic: bool = False,
    seed: int = 0,
    random_policy: bool = False,
    record: int = 0,
    num_envs: int = 8,
    should_stop: Callable[[], bool] = lambda: False,
    python: str | None = None,
    deadlines: Deadlines | None = None,
    logs: Path | None = None,
) -> Evaluation:
    """Plays ``episodes`` episodes, episode i always with the same held-out seed, several environments at once.

    Args:
        policy: acts in every environment; may be None with ``random_policy``, which draws actions uniformly.
        env_source: as for :class:`~minestudio_nb.environments.build.EnvFactory`.
        deterministic: take the most probable action instead of a random one.
        seed: of the episodes and of the actions; equal seeds give equal results for any ``num_envs`` where the
            policy is deterministic.
        record: the first that many episodes are recorded.
        should_stop: looked at between two batches; what is finished then is returned.
        python: the interpreter for the environments; None is this one. Game engines, and environments in another
            interpreter, run in processes with these ``deadlines``, and print into the folder ``logs``.

    An environment that fails is replaced, and its episode begun anew; where that happens :data:`TRIES` times in one
    episode, what it raised is raised.

    Raises:
        ValueError: neither a policy nor ``random_policy`` was given.
    """
    if policy is None and not random_policy:
        raise ValueError("evaluate() needs a policy, or random_policy=True.")
    factory = EnvFactory(env_source, seed, EVALUATOR, held_out=True, python=python)
    count = max(1, min(num_envs, episodes))
    if factory.kind == "minecraft" or python is not None:
        count = min(count, MOST_ENGINES)
        with remote_slots(factory, count, deadlines or Deadlines(), logs) as (remote, another):
            return _Run(policy, remote, another, episodes, deterministic, seed, random_policy, record).play(should_stop)

    def make(index: int) -> EnvSlot:
        return EnvSlot(factory, index, 0, factory.task)

    slots = [make(index) for index in range(count)]
    try:
        return _Run(policy, slots, make, episodes, deterministic, seed, random_policy, record).play(should_stop)
    finally:
        for slot in slots:
            slot.close()


def _arrays_of(slot: EnvSlot | RemoteSlot, spec: EnvSpec, count: int) -> EnvArrays:
    if isinstance(slot, RemoteSlot):
        return slot.arrays()
    return EnvArrays.over(bytearray(EnvArrays.nbytes(spec, count)), spec, count)


class _Run:
    """Environment e plays the episodes e, e + n, e + 2n, ..."""

    def __init__(
        self,
        policy: MinePolicy | None,
        slots: list[Any],
        make: Callable[[int], EnvSlot | RemoteSlot],
        episodes: int,
        deterministic: bool,
        seed: int,
        random_policy: bool,
        record: int,
    ) -> None:
        self._policy = None if random_policy else policy
        self._slots: list[EnvSlot | RemoteSlot] = slots
        self._make = make
        self._failures: Counter[int] = Counter()
        self._count = len(slots)
        self._deterministic = deterministic
        self._record = record
        specs = [slot.build() for slot in slots]
        self._spec = specs[0]
        self._arrays = _arrays_of(slots[0], specs[0], self._count)
        self._seeds = [env_seed(seed, EVALUATOR, episode, held_out=True) for episode in range(episodes)]
        self._device = torch.device("cpu") if self._policy is None else self._policy.device
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._random = np.random.default_rng(seed)
        self._state = [] if self._policy is None else list(self._policy.initial_state(self._count))
        self._key = image_key(self._spec.obs)
        self._results: dict[int, tuple[float, int]] = {}
        self._recordings: dict[int, RecordedEpisode] = {}
        self._playing: dict[int, int] = {}
        self._unbuilt: set[int] = set()
        self._first = np.ones(self._count, np.bool_)
        self._returns = np.zeros(self._count)
        self._lengths = np.zeros(self._count, np.int64)

    def play(self, should_stop: Callable[[], bool]) -> Evaluation:
        for env, slot in enumerate(self._slots):
            slot.attach(self._arrays)
            self._begin(env, env)
        while self._playing and not should_stop():
            self._act()
            for env, episode in list(self._playing.items()):
                self._keep_frame(episode, env)
                try:
                    end = self._slots[env].step(start_next=False)
                except Exception as error:  # noqa: BLE001 - whatever an environment raises is a fault of that one
                    self._replace(env, episode, error)
                    self._begin(env, episode)
                    continue
                self._account(env, episode, end)
        finished = sorted(self._results)
        return Evaluation(
            [self._results[episode][0] for episode in finished],
            [self._results[episode][1] for episode in finished],
            [self._seeds[episode] for episode in finished],
            [self._recordings[episode] for episode in finished if episode in self._recordings],
        )

    def _begin(self, env: int, episode: int) -> None:
        if episode >= len(self._seeds):
            self._playing.pop(env, None)
            return
        while True:
            if episode < self._record:
                self._arrays.record[env] = RECORD.WANTED
                self._recordings[episode] = RecordedEpisode(StreamId(EVALUATOR, env), self._spec.task)
            try:
                self._build(env)
                self._slots[env].reset(seed=self._seeds[episode])
                break
            except Exception as error:  # noqa: BLE001 - as above
                self._replace(env, episode, error)
        self._playing[env] = episode
        self._first[env] = True
        self._returns[env], self._lengths[env] = 0.0, 0

    def _build(self, env: int) -> None:
        """Builds an environment that takes the place of another one."""
        if env in self._unbuilt:
            if (spec := self._slots[env].build()) != self._spec:
                raise EnvStartError(f"The environment came back with other spaces than before: {spec}, {self._spec}.")
            self._slots[env].attach(self._arrays)
            self._unbuilt.remove(env)

    def _replace(self, env: int, episode: int, error: Exception) -> None:
        """Puts another environment in the place of one that failed; raises ``error`` where it does so too often."""
        self._failures[episode] += 1
        if self._failures[episode] == TRIES:
            raise error
        _logger.warning("evaluation: episode %d begins anew, since its environment failed: %s", episode, error)
        failed, self._slots[env] = self._slots[env], self._make(env)
        self._unbuilt.add(env)
        try:
            failed.close()
        except Exception:
            _logger.warning("closing an environment raised", exc_info=True)

    def _act(self) -> None:
        """Writes an action for each environment that is still playing."""
        ids = np.array(sorted(self._playing), np.intp)
        if self._policy is None:
            self._arrays.actions[ids] = self._spec.action.sample(self._random, len(ids))
            return
        obs = {key: torch.from_numpy(array[ids]).to(self._device) for key, array in self._arrays.obs.items()}
        first = torch.from_numpy(self._first[ids]).to(self._device)
        state = [part[ids] for part in self._state]
        out = self._policy.act(obs, first, state, self._generator, self._deterministic)
        for whole, part in zip(self._state, out.state, strict=True):
            whole[ids] = part
        self._arrays.actions[ids] = out.actions.cpu().numpy()
        for env, value in zip(ids.tolist(), out.values.cpu().tolist(), strict=True):
            episode = self._playing[env]
            if episode in self._recordings:
                self._recordings[episode].values.append(value)

    def _account(self, env: int, episode: int, end: EpisodeEnd | None) -> None:
        reward = float(self._arrays.rewards[env])
        self._returns[env] += reward
        self._lengths[env] += 1
        self._first[env] = False
        recording = self._recordings.get(episode)
        if recording is not None:
            recording.rewards.append(reward)
        if end is None:
            return
        if recording is not None:
            recording.task, recording.trace = end.task or self._spec.task, end.trace
        self._results[episode] = (float(self._returns[env]), int(self._lengths[env]))
        self._begin(env, episode + self._count)

    def _keep_frame(self, episode: int, env: int) -> None:
        wanted = episode in self._recordings and self._arrays.record[env] == RECORD.FRAMES
        if wanted and self._key is not None:
            self._recordings[episode].frames.append(self._arrays.obs[self._key][env].copy())

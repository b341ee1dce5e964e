"""Cuts the streams of a worker's environments into fragments.

For each batch ``begin`` keeps what the policy saw and did, and ``finish`` what the environments answered. A fragment is
complete when its last step is finished, because it needs the observation after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from minestudio_nb.contracts.fragments import Fragment, StreamId
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.environments.slot import EnvArrays

__all__ = ["Fragmenter"]

Ids = npt.NDArray[np.intp]


class Fragmenter:
    """The open fragment of each of ``num_envs`` environments, ``length`` steps long each.

    Large arrays (observations) are written once, into the memory that the finished fragment takes along.
    """

    def __init__(self, spec: EnvSpec, worker: int, num_envs: int, length: int) -> None:
        self._spec = spec
        self._worker = worker
        self._length = length
        n, t = num_envs, length
        self._position = np.zeros(n, np.intp)
        self._index = np.zeros(n, np.int64)
        self._obs: list[dict[str, npt.NDArray[Any]]] = [{} for _ in range(n)]
        self._final: list[list[tuple[int, dict[str, npt.NDArray[Any]]]]] = [[] for _ in range(n)]
        self._state: list[tuple[npt.NDArray[Any], ...]] = [() for _ in range(n)]
        self._task = [spec.task] * n
        self._first_now: npt.NDArray[np.bool_] = np.ones(n, np.bool_)
        self._actions = np.zeros((n, t, spec.action.size), spec.action.dtype)
        self._rewards = np.zeros((n, t), np.float32)
        self._log_probs = np.zeros((n, t), np.float32)
        self._values = np.zeros((n, t), np.float32)
        self._versions = np.zeros((n, t), np.int64)
        self._terminated = np.zeros((n, t), np.bool_)
        self._truncated = np.zeros((n, t), np.bool_)
        self._first = np.zeros((n, t + 1), np.bool_)

    @property
    def first(self) -> npt.NDArray[np.bool_]:
        """bool ``(num_envs,)``: whether the observation shown now begins an episode. Not to be written."""
        return self._first_now

    def newest_version(self, env: int) -> int:
        """Policy version that chose the action of the step that :meth:`finish` has not been told of yet."""
        return int(self._versions[env, self._position[env]])

    def needs_state(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Which of ``ids`` begin a fragment with their next step, and so need ``states`` in :meth:`begin`."""
        return np.equal(self._position[ids], 0)

    def begin(
        self,
        ids: Ids,
        obs: Mapping[str, npt.NDArray[Any]],
        actions: npt.NDArray[Any],
        log_probs: npt.NDArray[np.float32],
        values: npt.NDArray[np.float32],
        version: int,
        states: Mapping[int, tuple[npt.NDArray[Any], ...]] | None = None,
    ) -> None:
        """Keeps one decision for each of ``ids``: arrays have ``len(ids)`` rows, in that order.

        ``states`` gives the policy's recurrent state before the decision, by environment, where a fragment begins.
        """
        position = self._position[ids]
        for row, (env, step) in enumerate(zip(ids.tolist(), position.tolist(), strict=True)):
            if step == 0:
                self._obs[env] = {
                    key: np.empty((self._length + 1, *box.shape), box.dtype) for key, box in self._spec.obs.items()
                }
                self._state[env] = states[env] if states else ()
            kept = self._obs[env]
            for key, batch in obs.items():
                kept[key][step] = batch[row]
        self._first[ids, position] = self._first_now[ids]
        self._actions[ids, position] = actions
        self._log_probs[ids, position] = log_probs
        self._values[ids, position] = values
        self._versions[ids, position] = version

    def finish(self, ids: Ids, arrays: EnvArrays) -> list[Fragment]:
        """Keeps the answers of environments ``ids`` from ``arrays``; returns the fragments that are now complete."""
        position = self._position[ids]
        terminated, truncated = arrays.terminated[ids], arrays.truncated[ids]
        self._rewards[ids, position] = arrays.rewards[ids]
        self._terminated[ids, position] = terminated
        self._truncated[ids, position] = truncated
        self._first_now[ids] = terminated | truncated
        self._position[ids] = position + 1
        if truncated.any():
            for env in ids[truncated].tolist():
                final = {key: np.array(array[env]) for key, array in arrays.final_obs.items()}
                self._final[env].append((int(self._position[env]) - 1, final))
        complete = ids[position + 1 == self._length]
        return [self._emit(env, arrays) for env in complete.tolist()]

    def cut(self, env: int) -> int:
        """Forgets the steps of the episode that a fault cut short, as far as they are in the open fragment.

        The stream goes on with an episode's first observation. Returns how many finished steps were dropped.
        """
        position = int(self._position[env])
        begins = np.flatnonzero(self._first[env, :position])
        # Steps 0 .. start - 1 belong to episodes that ended properly.
        start = position if self._first_now[env] else int(begins[-1]) if begins.size else 0
        self._final[env] = [(step, final) for step, final in self._final[env] if step < start]
        self._position[env] = start
        self._first_now[env] = True
        return position - start

    def set_task(self, env: int, task: str) -> None:
        """Names the task of the fragments that this environment completes from now on."""
        self._task[env] = task

    def get_state(self) -> dict[str, Any]:
        """Everything that a stream needs to go on elsewhere, while no fragment is open.

        Raises:
            ValueError: a fragment is open.
        """
        if self._position.any():
            raise ValueError("The state of streams is taken between two rounds only; a fragment is open.")
        return {"index": self._index.copy(), "first": self._first_now.copy(), "task": list(self._task)}

    def set_state(self, state: Mapping[str, Any], ids: Sequence[int]) -> None:
        """Takes back what :meth:`get_state` gave.

        Episodes go on in environments ``ids``; in all others the observation shown now begins one.
        """
        self._index[:] = state["index"]
        self._task = [str(task) for task in state["task"]]
        self._first_now[:] = True
        self._first_now[list(ids)] = np.asarray(state["first"])[list(ids)]

    def _emit(self, env: int, arrays: EnvArrays) -> Fragment:
        kept, final = self._obs[env], self._final[env]
        for key, array in arrays.obs.items():
            kept[key][self._length] = array[env]
        self._first[env, self._length] = self._first_now[env]
        fragment = Fragment(
            stream=StreamId(self._worker, env),
            index=int(self._index[env]),
            obs=kept,
            actions=self._actions[env].copy(),
            rewards=self._rewards[env].copy(),
            terminated=self._terminated[env].copy(),
            truncated=self._truncated[env].copy(),
            first=self._first[env].copy(),
            log_probs=self._log_probs[env].copy(),
            values=self._values[env].copy(),
            versions=self._versions[env].copy(),
            final_steps=np.array([step for step, _ in final], np.int64),
            final_obs=self._stack_final([final_obs for _, final_obs in final]),
            state=self._state[env],
            task=self._task[env],
        )
        self._index[env] += 1
        self._position[env] = 0
        self._obs[env], self._final[env] = {}, []
        return fragment

    def _stack_final(self, finals: Sequence[Mapping[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
        if not finals:
            return self._spec.obs.zeros(0)
        return {key: np.stack([final[key] for final in finals]) for key in self._spec.obs.keys}

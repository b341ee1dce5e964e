"""An environment that counts, so that every step of a stream can be recognised, and the checker of such streams."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from minestudio_nb.contracts.fragments import Fragment, StreamId

ENV, LIFE, EPISODE, STEP = range(4)
NVEC = (5, 3)
IMAGE_SHAPE = (6, 8, 3)


def episode_length(env: int, episode: int) -> int:
    """3 to 13 steps."""
    return 3 + (7 * episode + 3 * env) % 11


def is_truncated(env: int, episode: int) -> bool:
    """Whether that episode ends by truncation rather than termination."""
    return (episode + env) % 2 == 1


def reward_of(count: np.ndarray, action: np.ndarray) -> float:
    """Depends on everything that could be confused: environment, episode, step and both action components."""
    return float(count[ENV] + 0.25 * (count[EPISODE] % 8) + count[STEP] + 16 * action[0] + 128 * action[1])


class CountingEnv(gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """``obs["count"]`` is float32 ``[environment, life, episode, step]``; ``obs["image"]`` uint8, full of the step.

    ``life`` comes from the seed of the first reset, so that an environment that was rebuilt shows another one.
    """

    def __init__(self, index: int, **_: Any) -> None:
        self.observation_space = spaces.Dict(
            {
                "count": spaces.Box(-np.inf, np.inf, (4,), np.float32),
                "image": spaces.Box(0, 255, IMAGE_SHAPE, np.uint8),
            }
        )
        self.action_space = spaces.Dict({"move": spaces.Discrete(NVEC[0]), "turn": spaces.MultiDiscrete([NVEC[1]])})
        self.index, self.life, self.episode, self.step_number = index, 0, -1, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        if seed is not None:
            self.life, self.episode = seed % 100_003, -1
        self.episode += 1
        self.step_number = 0
        return self.observation(), {}

    def observation(self) -> dict[str, Any]:
        count = np.array([self.index, self.life, self.episode, self.step_number], np.float32)
        return {"count": count, "image": np.full(IMAGE_SHAPE, self.step_number, np.uint8)}

    def step(self, action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        before = self.observation()["count"]
        reward = reward_of(before, np.array([action["move"], action["turn"][0]]))
        self.step_number += 1
        done = self.step_number >= episode_length(self.index, self.episode)
        truncated = done and is_truncated(self.index, self.episode)
        info = {"extras": {"episode": self.episode}, "task": f"task{self.index % 2}"} if done else {}
        return self.observation(), reward, done and not truncated, truncated, info

    def get_state(self) -> dict[str, int]:
        return {"life": self.life, "episode": self.episode, "step": self.step_number}

    def set_state(self, state: Mapping[str, int]) -> None:
        self.life, self.episode, self.step_number = state["life"], state["episode"], state["step"]


class TracingEnv(CountingEnv):
    """Records itself: its trace is the episode's number and length."""

    def start_trace(self) -> None:
        assert self.step_number == 0
        self.traced = [self.episode]

    def finish_trace(self) -> list[int]:
        return [*self.traced, self.step_number]


class RebuiltEnv(CountingEnv):
    """Its life is how many of them this process has built."""

    built = 0

    def __init__(self, index: int, **_: Any) -> None:
        super().__init__(index)
        RebuiltEnv.built += 1
        self.number = RebuiltEnv.built

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.life = self.number
        return self.observation(), {}


def check_fragments(
    fragments: Iterable[Fragment], marks: Mapping[int, float] | None = None, from_start: bool = True
) -> dict[StreamId, list[Fragment]]:
    """Proves from the data alone that no step is lost, doubled, out of order, or credited to another version.

    The fragments must come from a CountingEnv and a CheckingPolicy, in any order, and be all that was delivered.
    ``marks`` says which mark the weights of each version had; without it, each version must at least have just one.
    A jump to another episode is allowed where ``first`` announces it, which happens after a fault.
    ``from_start`` False allows streams that were joined late. Returns the fragments by stream, in order.
    """
    streams: dict[StreamId, list[Fragment]] = {}
    for fragment in fragments:
        streams.setdefault(fragment.stream, []).append(fragment)
    known = dict(marks or {})
    for stream, parts in streams.items():
        parts.sort(key=lambda part: part.index)
        begin = 0 if from_start else parts[0].index
        indices = [part.index for part in parts]
        assert indices == list(range(begin, begin + len(parts))), f"{stream}: fragments {indices}"
        for part in parts:
            _check_inside(part)
            _check_policy(part, known, fixed=marks is not None)
        for before, after in itertools.pairwise(parts):
            _check_border(before, after)
    return streams


def _check_inside(part: Fragment) -> None:
    count, where = part.obs["count"], f"{part.stream} fragment {part.index}"
    assert count.shape == (part.length + 1, 4), where
    assert part.obs["image"].shape == (part.length + 1, *IMAGE_SHAPE), where
    assert (part.obs["image"] == count[:, STEP, None, None, None]).all(), where
    assert (count[:, ENV] == part.stream.env).all(), where
    finals = dict(zip(part.final_steps.tolist(), range(len(part.final_steps)), strict=True))
    assert sorted(finals) == np.flatnonzero(part.truncated).tolist(), where
    assert part.final_obs["count"].shape == (len(finals), 4), where
    for t in range(part.length):
        env, episode, step = int(count[t, ENV]), int(count[t, EPISODE]), int(count[t, STEP])
        at = f"{where} step {t}: {count[t]} -> {count[t + 1]}"
        done = step + 1 == episode_length(env, episode)
        assert bool(part.first[t]) == (step == 0), at
        assert bool(part.truncated[t]) == (done and is_truncated(env, episode)), at
        assert bool(part.terminated[t]) == (done and not is_truncated(env, episode)), at
        assert part.rewards[t] == np.float32(reward_of(count[t], part.actions[t])), at
        if done:
            assert part.first[t + 1], at
            expected = [env, count[t, LIFE], episode + 1, 0]
        else:
            expected = [env, count[t, LIFE], episode, step + 1]
        after_fault = part.first[t + 1] and count[t + 1, LIFE] != count[t, LIFE]
        if after_fault and done:
            expected = [env, count[t + 1, LIFE], 0, 0]
        assert count[t + 1].tolist() == expected, at
        if t in finals:
            last = part.final_obs["count"][finals[t]]
            assert last.tolist() == [env, count[t, LIFE], episode, step + 1], at
            assert (part.final_obs["image"][finals[t]] == step + 1).all(), at


def _check_policy(part: Fragment, known: dict[int, float], fixed: bool) -> None:
    count, where = part.obs["count"][:-1], f"{part.stream} fragment {part.index}"
    assert (np.diff(part.versions) >= 0).all(), f"{where}: versions {part.versions}"
    assert part.version == part.versions[0], where
    marks = part.values - count[:, STEP]
    for version, mark in zip(part.versions.tolist(), marks.tolist(), strict=True):
        if fixed:
            assert version in known, f"{where}: version {version} was never published"
        assert abs(known.setdefault(version, mark) - mark) < 1e-3, f"{where}: {mark} in version {version}, {known}"
    assert np.array_equal(part.log_probs, -(count[:, ENV] + 1 + count[:, STEP] / 16)), where
    assert np.array_equal(part.actions[:, 0], count[:, STEP] % NVEC[0]), where
    assert np.array_equal(part.actions[:, 1], (count[:, EPISODE] + count[:, ENV]) % NVEC[1]), where


def _check_border(before: Fragment, after: Fragment) -> None:
    where = f"{before.stream} fragments {before.index}, {after.index}"
    assert before.versions[-1] <= after.versions[0], where
    last, first = before.obs["count"][-1], after.obs["count"][0]
    if last[LIFE] == first[LIFE] and not (after.first[0] and not before.first[-1]):
        assert np.array_equal(last, first), f"{where}: {last} -> {first}"
        assert before.first[-1] == after.first[0], where
    else:  # a fault in between: the stream goes on with the first episode of a new life
        assert after.first[0], where
        assert first[EPISODE] == 0 and first[STEP] == 0, f"{where}: {last} -> {first}"

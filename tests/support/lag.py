"""Old data on purpose: a trainer that reads each iteration's fragments a fixed number of policy versions late."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from minestudio_nb.contracts.fragments import Fragment, FragmentMeta
from minestudio_nb.contracts.protocols import FragmentStore
from minestudio_nb.trainer import PPOTrainer


class LaggedStore:
    """Hands out what ``store`` gave ``lag`` takings earlier.

    The first taking reads ``lag`` times more, all of it acted by the first version: from iteration ``lag`` on every
    sample is ``lag`` versions old.
    """

    def __init__(self, store: FragmentStore, lag: int) -> None:
        self._store = store
        self._lag = lag
        self._waiting: deque[tuple[list[FragmentMeta], list[Fragment | None]]] = deque()
        self._held: dict[int, Fragment | None] = {}

    def take(self, count: int, version: int, timeout: float) -> list[FragmentMeta]:
        while len(self._waiting) <= self._lag:
            metas = self._store.take(count, version, timeout)
            self._waiting.append((metas, self._store.fetch([meta.fragment_id for meta in metas])))
        metas, fragments = self._waiting.popleft()
        self._held = {meta.fragment_id: fragment for meta, fragment in zip(metas, fragments, strict=True)}
        return metas

    def fetch(self, fragment_ids: Sequence[int]) -> list[Fragment | None]:
        return [self._held[number] for number in fragment_ids]

    def previous(self, fragment_ids: Sequence[int]) -> list[Fragment | None]:
        return [None for _ in fragment_ids]


class LaggedPPOTrainer(PPOTrainer):
    """PPO on data that is ``lag`` versions old."""

    lag = 0

    def __init__(self, *, store: FragmentStore, **parts: Any) -> None:
        super().__init__(store=LaggedStore(store, self.lag), **parts)

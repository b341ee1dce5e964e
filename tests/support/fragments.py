"""Small fragments with known contents, and a store that serves them like the real ones do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from minestudio_nb.contracts.fragments import Fragment, FragmentMeta, StreamId
from minestudio_nb.contracts.specs import ActionLeaf, ActionSpec, BoxSpec, EnvSpec, ObsSpec
from minestudio_nb.errors import StoreTimeoutError

VECTOR_SPEC = EnvSpec(
    ObsSpec((("obs", BoxSpec((3,), "float32")),), False), ActionSpec((ActionLeaf("action", "discrete", (4,)),), False)
)


def make_fragment(
    seed: int, length: int = 8, version: int = 0, spec: EnvSpec = VECTOR_SPEC, ends: bool = True, index: int = 0
) -> Fragment:
    """Random steps from ``seed``; with ``ends``, step 2 terminates and step 5 is truncated. Behaviour: uniform."""
    random = np.random.default_rng(seed)
    terminated, truncated = np.zeros(length, bool), np.zeros(length, bool)
    if ends:
        terminated[2 % length], truncated[5 % length] = True, length > 5
    finals = np.flatnonzero(truncated)
    draw = {
        key: (lambda n, box=box: (random.random((n, *box.shape)) * (255 if box.is_image else 1)).astype(box.dtype))
        for key, box in spec.obs.items()
    }
    nvec = np.array(spec.action.nvec)
    return Fragment(
        stream=StreamId(0, seed),
        index=index,
        obs={key: make(length + 1) for key, make in draw.items()},
        actions=random.integers(0, nvec, (length, len(nvec))),
        rewards=random.normal(size=length).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        first=np.concatenate([[ends], terminated | truncated]),
        log_probs=np.full(length, -np.log(nvec).sum(), np.float32),
        values=np.zeros(length, np.float32),
        versions=np.full(length, version, np.int64),
        final_steps=finals.astype(np.int64),
        final_obs={key: make(len(finals)) for key, make in draw.items()},
    )


class FeedStore:
    """A :class:`minestudio_nb.contracts.protocols.FragmentStore` that makes its fragments when asked for them.

    The contents depend on the number of a fragment only, so that two runs see the same feed. They are stamped with the
    version of the learner minus ``lag``. ``lost`` numbers come back as None, once each; ``limit`` ends the feed.
    """

    def __init__(
        self,
        length: int = 8,
        lag: int = 0,
        spec: EnvSpec = VECTOR_SPEC,
        start: int = 0,
        limit: int | None = None,
        lost: Sequence[int] = (),
    ) -> None:
        self.length, self.lag, self.spec, self.limit = length, lag, spec, limit
        self.next, self.lost = start, set(lost)
        self.fragments: dict[int, Fragment] = {}
        self.taken: list[list[int]] = []

    def make(self, number: int, version: int) -> Fragment:
        """Fragment ``number`` as a worker at ``version`` would have sent it."""
        return make_fragment(number, self.length, version, self.spec)

    def take(self, count: int, version: int, timeout: float) -> list[FragmentMeta]:
        if self.limit is not None and self.next + count > self.limit:
            raise StoreTimeoutError(f"{count} fragments did not arrive within {timeout} s.")
        numbers = list(range(self.next, self.next + count))
        self.next += count
        self.taken.append(numbers)
        for number in numbers:
            self.fragments[number] = self.make(number, max(version - self.lag, 0))
        return [self.fragments[number].meta(number) for number in numbers]

    def fetch(self, fragment_ids: Sequence[int]) -> list[Fragment | None]:
        return [None if number in self.lost else self.fragments[number] for number in fragment_ids]

    def previous(self, fragment_ids: Sequence[int]) -> list[Fragment | None]:
        return [None for _ in fragment_ids]


def with_version(fragment: Fragment, version: int) -> Fragment:
    """The same fragment as acted by ``version``."""
    return replace(fragment, versions=np.full_like(fragment.versions, version))

"""The few interfaces through which the parts of the system touch. Each docstring shows the loop that calls it.

Both runtimes (inline and Ray) implement these; rollout and trainer know nothing else of the world around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from minestudio_nb.contracts.control import ControlOrder, EditStatus
from minestudio_nb.contracts.fragments import EpisodeSummary, Fragment, FragmentMeta
from minestudio_nb.contracts.telemetry import Event, MetricBatch
from minestudio_nb.contracts.weights import WeightsPackage

__all__ = [
    "ControlBox",
    "Environment",
    "FragmentSink",
    "FragmentStore",
    "TelemetrySink",
    "WeightsPublisher",
    "WeightsSource",
]


class Environment(Protocol):
    """A gymnasium environment. ::

    obs, info = env.reset(seed=...)
    obs, reward, terminated, truncated, info = env.step(action)

    Optional extras that workers use when present: ``observe_into(out: dict[str, array])`` writes the current
    observation without a copy; ``get_state() / set_state(state)`` make inline resumes bit-equal; ``start_trace() /
    finish_trace()`` record an episode as seed and actions; ``render()`` with ``render_mode`` "rgb_array" gives a
    frame for people; ``describe_action(action)`` says in words what an action does.
    """

    observation_space: Any
    action_space: Any

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]: ...

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]: ...

    def close(self) -> None: ...


class FragmentSink(Protocol):
    """Where a rollout worker delivers. ::

    while granted := sink.acquire(idle_envs):   # blocks until at least one fragment may be begun; 0 means: stop
        ... collect granted fragments ...
        sink.put(fragment)                      # one each
    """

    def acquire(self, count: int, wait: bool = True) -> int:
        """Allows up to ``count`` more fragments to be begun, and says how many.

        With ``wait`` it blocks until there is at least one, and 0 means that the worker must stop. Without, it answers
        at once, and 0 means none for now. A worker waits only while none of its fragments is open, so a grant may be
        smaller than what was asked for without ever blocking an iteration that needs the rest.
        """

    def put(self, fragment: Fragment) -> None:
        """Delivers one finished fragment. The caller gives its arrays away."""

    def release(self, count: int) -> None:
        """Gives back credits of fragments that were begun and will not be finished."""


class FragmentStore(Protocol):
    """Where the trainer reads. ::

    metas = store.take(fragments_per_iteration, timeout=...)      # rank 0 only
    fragments = store.fetch([m.fragment_id for m in my_share])    # every rank
    """

    def take(self, count: int, version: int, timeout: float) -> list[FragmentMeta]:
        """Exactly ``count`` fragments that a learner at ``version`` may use, oldest first, each once before any reuse.

        Raises StoreTimeoutError after ``timeout`` seconds (having taken none).
        """

    def fetch(self, fragment_ids: Sequence[int]) -> list[Fragment | None]:
        """The data, in the same order; None for a fragment whose data was lost with its node."""

    def previous(self, fragment_ids: Sequence[int]) -> list[Fragment | None]:
        """For each fragment the one before it in its stream, where it is still held."""


class WeightsPublisher(Protocol):
    """Where the trainer puts new weights; ``publish`` returns when every worker that answers holds them.

    ``collect`` False says that, as it looks now, no iteration follows, so that nobody collects for one in vain. Asking
    the store for fragments all the same lets them be collected.
    """

    def publish(self, package: WeightsPackage, collect: bool = True) -> None: ...


class WeightsSource(Protocol):
    """Where a rollout worker looks between two batches, to load what is newer than its own."""

    def newest(self) -> WeightsPackage | None: ...


class ControlBox(Protocol):
    """Where rank 0 reads its orders at each iteration border. ::

    order = box.read(revision)
    if order.paused: order = box.wait(order.revision, timeout=...)
    """

    def read(self, revision: int) -> ControlOrder:
        """The order in force; its ``edits`` are those newer than ``revision``."""

    def wait(self, revision: int, timeout: float) -> ControlOrder:
        """Like :meth:`read`, but returns only after something changed or ``timeout`` seconds passed."""

    def answer(self, revision: int, status: EditStatus, iteration: int, reason: str = "") -> None:
        """Says what became of the edit with this revision."""

    def done(self, number: int) -> None:
        """Says that the request with this number was carried out. Until then every trainer that asks gets it."""


class TelemetrySink(Protocol):
    """Where every part sends its numbers, events and finished episodes; never blocks for long, never raises."""

    def metrics(self, batch: MetricBatch) -> None:
        """Merges a batch into the current iteration."""

    def iteration(self, iteration: int, batch: MetricBatch) -> None:
        """Merges ``batch`` and closes iteration ``iteration``: one point on every curve."""

    def event(self, event: Event) -> None: ...

    def episodes(self, episodes: Sequence[EpisodeSummary]) -> None: ...

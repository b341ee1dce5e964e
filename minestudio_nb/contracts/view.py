"""What a display sees of a session: plain data, and the few orders that it may give.

A display asks in one thread of its own, and gives orders in another; nothing here runs in the thread that a notebook's
cells run in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.fields import FieldSpec
from minestudio_nb.contracts.telemetry import Event

__all__ = ["ORDERS", "Order", "Recording", "SessionView", "Tile", "TileState", "ViewHead"]

TileState = Literal["running", "resetting", "restarting", "dead"]
"""``resetting``: its reset takes long; ``restarting``: it, or its worker, is being built anew; ``dead``: given up."""

Order = Literal["pause", "resume", "checkpoint", "record", "stop", "set", "undo", "take_controls"]
ORDERS: tuple[Order, ...] = ("pause", "resume", "checkpoint", "record", "stop", "set", "undo", "take_controls")


@dataclass(frozen=True)
class Tile:
    """One environment, as it is now.

    Attributes:
        frame: uint8 ``(H, W, 3)``, what the policy sees; None where there is no image.
        step: decisions so far in this episode.
        episode_return: undiscounted sum of its rewards so far.
        value: the policy's newest value of it, in units of reward; NaN before the first decision.
        action: the newest action as components ``(K,)``; None before the first decision.
        task: name under which its episodes are counted.
        state: see TileState; what does not run shows what it showed last.
        cause: why it does not run, or why it was built anew the last time; empty where it never was.
        restarts: how often it, or its worker, was built anew after a fault.
        large: JPEG of its own ``render()``; empty unless asked for, and where that gives no RGB frame.
        pressed: the last action in words, such as ``"forward + attack"``; empty unless ``large`` was asked for.
    """

    frame: npt.NDArray[np.uint8] | None
    step: int = 0
    episode_return: float = 0.0
    value: float = float("nan")
    action: npt.NDArray[Any] | None = None
    task: str = "default"
    state: TileState = "running"
    cause: str = ""
    restarts: int = 0
    large: bytes = b""
    pressed: str = ""


@dataclass(frozen=True)
class Recording:
    """A recorded episode. The lists have one item for each decision.

    Attributes:
        video: the file's bytes; empty where there is nothing to see.
        media_type: of the video, for example ``"video/mp4"``.
        rewards, values: of the environment, and of the policy before it; NaN where unknown.
        advantages: generalised advantage estimates from these two, with the discount and lambda in force. A truncated
            episode is bootstrapped with its last value, since the final observation's was not kept.
        actions: components of each action.
    """

    video: bytes
    media_type: str
    rewards: Sequence[float]
    values: Sequence[float]
    advantages: Sequence[float]
    actions: Sequence[Sequence[int]]


@dataclass(frozen=True)
class ViewHead:
    """What holds now, for the head of a display. ``values`` are :attr:`Snapshot.status` of the runtime, by name."""

    name: str
    state: str
    since: float
    """Unix seconds since when ``state`` holds."""
    values: Mapping[str, Any]
    failure: str = ""
    held_by: str = ""
    """Which other process gives the orders: this one watches then, and only "take_controls" is left to it."""


@runtime_checkable
class SessionView(Protocol):
    """A session, for a display. ::

        while somebody_looks:
            view.refresh()                                     # may take a second; never raises
            show(view.head(), view.points(n), view.events(m), view.tiles())
        view.order("set", key="train_config.learning_rate", value=1e-4)     # in another thread

    Points, events and episodes only ever grow, and a display remembers how many it has shown; except that points of
    iterations which a trainer repeats after a fault are taken back, and so are episodes when a run goes on from disk.
    """

    def refresh(self) -> None:
        """Takes the session's news. A session that no longer answers shows so in :meth:`head`."""

    def head(self) -> ViewHead: ...

    def points(self, since: int = 0) -> Sequence[Mapping[str, Any]]:
        """``{iteration, time, env_steps, values, tasks}`` of closed iterations, from number ``since`` on."""

    def events(self, since: int = 0) -> Sequence[Event]: ...

    def episodes(self, since: int = 0) -> Sequence[Mapping[str, Any]]: ...

    def edits(self) -> Sequence[Edit]: ...

    def tiles(self, large: Collection[str] = ()) -> Mapping[str, Tile]:
        """The environments by ``"worker/env"``; asking keeps frames coming for a few seconds. Empty while none runs.

        Those named in ``large`` are also rendered at their own size and tell their actions in words, see
        :class:`Tile`; a few times a second at most, and never more than the rollout can spare.
        """

    def fields(self) -> Sequence[tuple[FieldSpec, Any]]:
        """The settings that may change while the session runs, with their values in force."""

    def recording(self, path: str) -> Recording:
        """A recorded episode, by the ``path`` in the data of the event that told of it.

        Raises:
            MineStudioError: no event told of it, or its files are gone.
        """

    def order(self, kind: Order, **arguments: Any) -> str:
        """Carries out an order and says in a few words what was done.

        Raises:
            MineStudioError: it cannot be done; the message says why.
        """

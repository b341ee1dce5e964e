"""Between a game and the widget in which a person plays it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["Ended", "Outcome", "Playable"]

Ended = Literal["", "terminated", "truncated"]


@dataclass(frozen=True)
class Outcome:
    """What one tick brought: a reward, and whether the episode is over."""

    reward: float
    ended: Ended = ""


class Playable(Protocol):
    """A game in ticks. Only one thread at a time calls it. ::

    game.reset()
    while not (outcome := game.tick({"forward"}, (0.0, 4.5), 0)).ended:
        show(game.jpeg())
    note = game.finish(save=True)
    """

    title: str
    """Shown above the picture."""
    size: tuple[int, int]
    """Width and height of the picture in pixels."""

    def reset(self) -> None:
        """Begins another episode."""
        ...

    def tick(self, buttons: Set[str], turn: tuple[float, float], scroll: int) -> Outcome:
        """One twentieth of a second.

        Args:
            buttons: names of env actions that are pressed.
            turn: pitch and yaw, in degrees.
            scroll: hotbar slots to go to the right (negative: to the left).
        """
        ...

    def jpeg(self) -> bytes:
        """The picture of this moment."""
        ...

    def finish(self, save: bool) -> str:
        """Ends the recording of the episode, which may be cut short, and keeps it; ``save`` writes it to disk as well.

        Returns a short note for the player, such as where it was saved, or an empty text.
        """
        ...

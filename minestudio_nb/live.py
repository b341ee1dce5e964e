"""A running session as displays see it: see :class:`minestudio_nb.contracts.view.SessionView`."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from minestudio_nb.config import field_specs
from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.fields import FieldSpec
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.contracts.view import Order, Recording, Tile, ViewHead
from minestudio_nb.errors import MineStudioError, RunError, SessionStateError
from minestudio_nb.session import OnlineSession

__all__ = ["LiveView"]

RECORDED_EPISODES = 4


class LiveView:
    """Adapts a session. It asks the session's public methods only, so what a display does, a cell can do too."""

    def __init__(self, session: OnlineSession) -> None:
        self._session = session
        self._status = session.status()
        self._trouble = ""

    def refresh(self) -> None:
        """Takes the session's news."""
        try:
            self._status = self._session.status()
            self._trouble = ""
        except (MineStudioError, TimeoutError, OSError, RuntimeError) as error:
            self._trouble = f"The session does not answer: {error}"

    def head(self) -> ViewHead:
        """See the protocol."""
        status = self._status
        return ViewHead(
            status.name, status.state, status.since, status.values, status.failure or self._trouble, status.held_by
        )

    def points(self, since: int = 0) -> Sequence[Mapping[str, Any]]:
        """See the protocol."""
        return self._session.points[since:]

    def events(self, since: int = 0) -> Sequence[Event]:
        """See the protocol."""
        return self._session.event_list[since:]

    def episodes(self, since: int = 0) -> Sequence[Mapping[str, Any]]:
        """See the protocol."""
        return self._session.episode_list[since:]

    def edits(self) -> Sequence[Edit]:
        """See the protocol."""
        return self._session.edit_list

    def tiles(self, large: Collection[str] = ()) -> Mapping[str, Tile]:
        """See the protocol."""
        try:
            return self._session.tiles(large)
        except (MineStudioError, TimeoutError, OSError, RuntimeError):
            return {}

    def fields(self) -> Sequence[tuple[FieldSpec, Any]]:
        """See the protocol."""
        try:
            specs, config = field_specs(), self._session.config.config
        except SessionStateError:  # nothing is configured yet
            return []
        values = {edit.key: edit.value for edit in self.edits() if edit.status == "applied"}
        return [(specs[key], values.get(key, config.get(key))) for key in self._session.live_keys()]

    def recording(self, path: str) -> Recording:
        """See the protocol."""
        told = [event.data.get("path") for event in self.events() if event.kind == "recording"]
        if path not in told:
            raise RunError(f"no event of this session told of a recording {path!r}; it told of {len(told)}")
        return read_recording(Path(path), self._value("train_config.discount"), self._value("train_config.gae_lambda"))

    def _value(self, key: str) -> Any:
        """The value in force of a setting."""
        return next(value for spec, value in self.fields() if spec.key == key)

    def order(self, kind: Order, **arguments: Any) -> str:
        """See the protocol."""
        session = self._session
        if kind == "set":
            edit = session.set(str(arguments["key"]), arguments["value"])
            return f"requested as edit {edit.revision}"
        if kind == "undo":
            return self._undo(int(arguments["revision"]))
        if kind == "pause":
            session.pause()
            return "Pausing at the next border."
        if kind == "resume":
            session.resume()
            return "Going on."
        if kind == "checkpoint":
            session.checkpoint()
            return "A checkpoint is written at the next border."
        if kind == "record":
            session.record(RECORDED_EPISODES)
            return f"The next {RECORDED_EPISODES} episodes are recorded."
        if kind == "take_controls":
            session.take_controls()
            self.refresh()
            return "The controls are here now."
        return str(session.stop())

    def _undo(self, revision: int) -> str:
        """Asks for the value that held before an edit."""
        edits = {edit.revision: edit for edit in self.edits()}
        if revision not in edits:
            raise SessionStateError(f"there is no edit {revision}; there are {len(edits)}")
        key = edits[revision].key
        before = [e for r, e in sorted(edits.items()) if r < revision and e.key == key and e.status != "rejected"]
        value = before[-1].value if before else self._session.config.config.get(key)
        self._session.set(key, value)
        return f"{key} goes back to {value}."


def read_recording(video: Path, discount: float, lam: float) -> Recording:
    """Reads what ``rollout.filming.store_episode`` wrote.

    Raises:
        RunError: a file is missing or damaged.
    """
    try:
        numbers = json.loads(video.with_suffix(".json").read_text(encoding="utf-8"))
        content = video.read_bytes()
        rewards = [float(reward) for reward in numbers["rewards"]]
        values = [math.nan if value is None else float(value) for value in numbers["values"]]
        terminated, actions = bool(numbers["terminated"]), numbers.get("actions", [])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"the recording {video.name} cannot be read: {error}; was it moved or deleted?") from error
    media_type = "image/gif" if video.suffix == ".gif" else "video/mp4"
    return Recording(
        content, media_type, rewards, values, _advantages(rewards, values, terminated, discount, lam), actions
    )


def _advantages(
    rewards: Sequence[float], values: Sequence[float], terminated: bool, discount: float, lam: float
) -> list[float]:
    """Generalised advantage estimates of one whole episode; see :class:`Recording`."""
    advantages = [0.0] * len(rewards)
    running, following = 0.0, 0.0 if terminated or not values else values[-1]
    for step in reversed(range(min(len(rewards), len(values)))):
        running = rewards[step] + discount * following - values[step] + discount * lam * running
        advantages[step], following = running, values[step]
    return advantages

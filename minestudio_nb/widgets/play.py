"""The widget in which a person plays: a canvas, keyboard and mouse. The game itself comes as a ``Playable``."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

import anywidget
import traitlets

from minestudio_nb.contracts.playing import Playable
from minestudio_nb.widgets.game_loop import GameLoop

__all__ = ["HELP", "KEYS", "PlayWidget"]

log = logging.getLogger(__name__)

_ASSETS: Final = Path(__file__).parent / "assets"

KEYS: Final[Mapping[str, str]] = {
    "KeyW": "forward",
    "KeyS": "back",
    "KeyA": "left",
    "KeyD": "right",
    "Space": "jump",
    "ShiftLeft": "sneak",
    "ShiftRight": "sneak",
    "ControlLeft": "sprint",
    "ControlRight": "sprint",
    "KeyQ": "drop",
    "KeyE": "inventory",
    "KeyJ": "attack",
    "KeyK": "use",
    "ArrowLeft": "look_left",
    "ArrowRight": "look_right",
    "ArrowUp": "look_up",
    "ArrowDown": "look_down",
    **{f"Digit{slot}": f"hotbar.{slot}" for slot in range(1, 10)},
    **{f"Numpad{slot}": f"hotbar.{slot}" for slot in range(1, 10)},
}
"""Keys by their place on the keyboard (``KeyboardEvent.code``), and the buttons they press."""

HELP: Final = (
    ("W A S D", "walk"),
    ("W W", "sprint; so does Ctrl, in full screen (elsewhere Ctrl+W closes the tab)"),
    ("Space", "jump"),
    ("Shift", "sneak"),
    ("mouse or arrows", "look"),
    ("left button or J", "attack, mine"),
    ("right button or K", "use, place"),
    ("1 to 9 or wheel", "select"),
    ("Q", "drop"),
    ("Esc", "pause"),
)
"""Keys and what they do, in the words of the help line."""


class PlayWidget(anywidget.AnyWidget):
    """Shows a game and lets a person play it. The game's thread exists only while a view is open.

    Messages from a view: ``hello``, ``alive``, ``bye``, ``ack {seq}``, ``input {held, pressed, dx, dy, scroll}`` and
    ``do {what, value}``, each with ``view``, a random name. To it: see :class:`GameLoop`.
    """

    _esm = _ASSETS / "play.js"
    _css = _ASSETS / "play.css"
    title = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    height = traitlets.Int().tag(sync=True)
    key_map = traitlets.Dict().tag(sync=True)
    help_lines: traitlets.List[list[str]] = traitlets.List().tag(sync=True)

    def __init__(self, game: Playable, record: bool = False) -> None:
        width, height = game.size
        super().__init__(
            title=game.title, width=width, height=height, key_map=dict(KEYS), help_lines=[list(pair) for pair in HELP]
        )
        self._poster = game.jpeg
        self.loop = GameLoop(game, self._send_frame, record)
        self.on_msg(self._on_message)

    def close(self) -> None:
        """Ends the game, its thread and the connection to the views."""
        self.loop.close()
        super().close()

    def _send_frame(self, message: Mapping[str, Any], picture: bytes | None) -> None:
        self.send(dict(message), buffers=None if picture is None else [picture])

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        try:
            self._obey(content)
        except (KeyError, TypeError, ValueError, OverflowError):
            log.warning("a view sent what nobody understands: %.200r", content)

    def _obey(self, content: Mapping[str, Any]) -> None:
        kind, view = content["k"], str(content["view"])
        if kind == "hello":
            self.loop.hello(view)
            return
        if kind == "bye":
            self.loop.bye(view)
            return
        self.loop.renew(view)
        if kind == "ack":
            self.loop.acknowledge(int(content["seq"]))
        elif kind == "input":
            pixels = (float(content.get("dx", 0)), float(content.get("dy", 0)))
            self.loop.input(content["held"], content.get("pressed", ()), pixels, int(content.get("scroll", 0)))
        elif kind == "do" and content["what"] in ("play", "pause", "reset", "record"):
            self.loop.order(content["what"], bool(content.get("value", True)))

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The view, and for readers of a saved notebook a picture of this moment."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        with self.loop.game_lock:
            picture = base64.b64encode(self._poster()).decode()
        size = f'width="{self.width}" height="{self.height}"'
        label = escape(f"{self.title}, as it was when this cell ran", quote=True)
        data["text/html"] = f'<img {size} alt="{label}" src="data:image/jpeg;base64,{picture}">'
        data["text/plain"] = f"{self.title}: run this cell in JupyterLab to play"
        return data, metadata

"""The live display of a session: one widget in the notebook, fed by one thread.

What it shows and how often is the browser's to ask (``pump``); what it is asked to do is done by another thread, one
order after the other, so that neither a busy cell nor a slow session holds anything up.
"""

from __future__ import annotations

import logging
import math
import queue
import secrets
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

import anywidget
import traitlets

from minestudio_nb.contracts.view import ORDERS, SessionView
from minestudio_nb.errors import MineStudioError
from minestudio_nb.widgets.messages import clean
from minestudio_nb.widgets.poster import poster_html, take_poster
from minestudio_nb.widgets.pump import Pump, PumpSettings

__all__ = ["PANELS", "Dashboard", "front_end"]

_logger = logging.getLogger(__name__)

PANELS = ("head", "environments", "curves", "tuning", "episodes", "resources", "events")
"""The parts of a display, in their order."""
_SCRIPTS = ("vendor/uPlot.iife.min.js", "core.js", *(f"{name}.js" for name in PANELS), "main.js")
_STYLES = ("vendor/uPlot.min.css", "dashboard.css", "environments.css", "resources.css")
ORDER_SECONDS = 1.0
"""How long the thread of orders waits for another one before it ends."""
POSTER_SECONDS = 60.0
"""How old the picture may become that stays in the notebook."""


@lru_cache(maxsize=1)
def front_end() -> tuple[str, str]:
    """Script (an ES module) and style sheet of the display, each as one text; no network is needed."""
    folder = resources.files("minestudio_nb.widgets") / "assets"
    texts = [[(folder / name).read_text(encoding="utf-8") for name in names] for names in (_SCRIPTS, _STYLES)]
    return "\n".join(texts[0]), "\n".join(texts[1])


class Dashboard(anywidget.AnyWidget):
    """Shows a session live, as the last line of a cell.

    What it displays is two outputs: a picture, and the live display that takes its place while a kernel feeds it. So a
    notebook that is opened without one, or exported, shows the picture. It is renewed once a minute while somebody
    looks, and when the session stops.

    Args:
        view: the session.
        panels: which of PANELS, in the order to show them.
        keys: the settings that the panel ``tuning`` offers; None for all that may change.
        settings: of the pump.
    """

    _esm, _css = front_end()
    panels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    setting_keys = traitlets.List(traitlets.Unicode(), allow_none=True, default_value=None).tag(sync=True)
    session_name = traitlets.Unicode().tag(sync=True)
    poster_key = traitlets.Unicode().tag(sync=True)
    _pump: Pump = None  # type: ignore[assignment]

    def __init__(
        self,
        view: SessionView,
        panels: Sequence[str] = PANELS,
        keys: Sequence[str] | None = None,
        settings: PumpSettings | None = None,
    ) -> None:
        unknown = [name for name in panels if name not in PANELS]
        if unknown:
            raise ValueError(f"A display has the panels {', '.join(PANELS)}; {', '.join(unknown)} is none of them.")
        super().__init__(
            panels=list(panels),
            setting_keys=None if keys is None else list(keys),
            session_name=view.head().name,
            poster_key=secrets.token_hex(4),
        )
        self._view = view
        self._pump = Pump(view, self.send, settings, self._keep_poster, pictures="environments" in panels)
        self._posters: list[str] = []
        """Identifiers of the displayed pictures."""
        self._poster_at = -math.inf
        self._poster_state = ""
        self._orders = _Orders(view, self.send)
        self.on_msg(self._receive)

    @property
    def pump(self) -> Pump:
        """What feeds the display; its ``statistics`` tell what that costs."""
        return self._pump

    def _ipython_display_(self) -> None:
        from IPython.display import publish_display_data

        name = f"msnb-{self.poster_key}-{len(self._posters)}"
        publish_display_data(self._poster_bundle(), transient={"display_id": name})
        self._posters.append(name)
        bundle = super()._repr_mimebundle_()
        if bundle is not None:
            text = f"The live dashboard of {self.session_name} needs the kernel that showed it."
            publish_display_data({**bundle[0], "text/plain": text}, bundle[1])

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """For what asks for one output only."""
        bundle = super()._repr_mimebundle_(**options)
        return bundle and ({**bundle[0], **self._poster_bundle()}, bundle[1])

    def update_poster(self) -> None:
        """Renews the pictures that stay in the notebook where this display was shown."""
        if not self._posters:
            return
        from IPython.display import publish_display_data

        self._view.refresh()
        bundle = self._poster_bundle()
        for name in self._posters:
            publish_display_data(bundle, transient={"display_id": name}, update=True)

    def _poster_bundle(self) -> dict[str, Any]:
        """The picture as it is now; a fault in it is no reason not to show the live display."""
        self._poster_at, self._poster_state = time.monotonic(), self._view.head().state
        try:
            poster = take_poster(self._view, self._pump.mosaic, self.panels)
            return {"text/plain": repr(poster), "text/html": poster_html(poster, self.poster_key, self.panels)}
        except Exception:
            _logger.warning("no picture of %s", self.session_name, exc_info=True)
            return {"text/plain": f"There is no picture of {self.session_name}."}

    def _keep_poster(self) -> None:
        """Renews the pictures when they are old, or the session's state is another one. Called by the pump."""
        if time.monotonic() - self._poster_at > POSTER_SECONDS or self._view.head().state != self._poster_state:
            self.update_poster()

    def close(self) -> None:
        """Takes the display away and ends its threads."""
        if self._pump is not None:  # ipywidgets closes also what could not be made
            self._pump.close()
            self._orders.close()
            self.layout.close()
        super().close()

    def _receive(self, _widget: Any, message: Any, _buffers: Any) -> None:
        if not isinstance(message, dict):
            return
        if message.get("k") == "order":
            self._orders.put(message)
        else:
            self._pump.receive(message)

    def send(self, content: Any, buffers: Any = None) -> None:
        """Sends a message to all views of the display."""
        super().send(content, buffers)
        self._answer_anywhere()

    def send_state(self, key: Any = None) -> None:
        """Sends traits to all views of the display."""
        super().send_state(key)
        self._answer_anywhere()

    def _answer_anywhere(self) -> None:
        """Lets the browser's messages be handled while a cell runs.

        From ipykernel 7 on, a comm that a thread has published on routes its answers to the main shell, where they
        wait for the cell that runs there; without the attribute they take the front end's own way.
        """
        comm = getattr(self, "comm", None)
        if comm is not None and hasattr(comm, "_reply_subshell_id"):
            del comm._reply_subshell_id


_Reply = tuple[bool, str, dict[str, Any], list[bytes]]
"""Whether it was done, words for the user, further entries of the message, and buffers."""


class _Orders:
    """Carries out orders one after the other, in a thread that lives while there are any."""

    def __init__(self, view: SessionView, send: Any) -> None:
        self._view = view
        self._send = send
        self._waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, message: dict[str, Any]) -> None:
        """Takes an order; the reply is sent when it has been carried out."""
        with self._lock:
            if self._closed:
                return
            self._waiting.put(message)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="msnb-orders", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Takes no more orders; what has begun is finished."""
        self._closed = True

    def _run(self) -> None:
        while True:
            try:
                message = self._waiting.get(timeout=ORDER_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._waiting.empty():
                        self._thread = None
                        return
                continue
            ok, text, extra, buffers = self._carry_out(message)
            try:
                self._send({"k": "reply", "id": clean(message.get("id")), "ok": ok, "text": text, **extra}, buffers)
            except Exception:  # a display that is being closed must not end the thread, nor print into a cell
                _logger.warning("a reply could not be sent", exc_info=True)

    def _carry_out(self, message: dict[str, Any]) -> _Reply:
        kind, arguments = message.get("kind"), message.get("arguments")
        arguments = arguments if isinstance(arguments, dict) else {}
        try:
            if kind == "play":
                return self._play(str(arguments.get("path")))
            if kind in ORDERS:
                return True, self._view.order(kind, **arguments), {}, []
            return False, f"Orders are play, {', '.join(ORDERS)}; {str(kind)[:40]!r} came.", {}, []
        except (MineStudioError, TimeoutError) as error:
            return False, str(error), {}, []
        except Exception as error:  # whatever it is, the user must be told
            _logger.warning("the order %s failed", kind, exc_info=True)
            return False, f"{type(error).__name__}: {error}", {}, []

    def _play(self, path: str) -> _Reply:
        recording = self._view.recording(path)
        numbers = {name: clean(getattr(recording, name)) for name in ("rewards", "values", "advantages", "actions")}
        return True, "", {"media_type": recording.media_type, **numbers}, [recording.video]

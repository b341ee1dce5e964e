"""What a notebook calls to draw an object: a fault there is told in a line, never as an error in somebody's cell."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

__all__ = ["shown_safely"]

Shown = TypeVar("Shown")
Options = ParamSpec("Options")
Drawing = TypeVar("Drawing")

_logger = logging.getLogger(__name__)


def shown_safely(
    draw: Callable[Concatenate[Shown, Options], Drawing],
) -> Callable[Concatenate[Shown, Options], Drawing | None]:
    """Decorates ``_repr_html_`` and its like: where ``draw`` raises, a line is logged and None returned.

    IPython then shows the object as plain text.
    """

    @functools.wraps(draw)
    def guarded(shown: Shown, /, *args: Options.args, **options: Options.kwargs) -> Drawing | None:
        try:
            return draw(shown, *args, **options)
        except Exception as error:  # whatever it is, the cell has done its work
            name = type(shown).__name__
            _logger.warning("%s is shown as text only: %s: %s", name, type(error).__name__, error)
            _logger.debug("drawing a %s failed", name, exc_info=True)
            return None

    return guarded

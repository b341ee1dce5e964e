"""Preparing the next pieces of work on a thread while the present one is being computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["prepared_ahead"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def prepared_ahead(prepare: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Iterator[Result]:
    """``prepare(item)`` for each item in order, up to ``ahead`` made in advance; 0 makes each when it is asked for.

    An exception in ``prepare`` is raised where its result would have come.
    """
    if ahead == 0:
        yield from map(prepare, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        for item in items:
            waiting.append(pool.submit(prepare, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

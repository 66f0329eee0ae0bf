"""Work on threads whose results are wanted in order, and a few at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(function: Callable[[T], R], items: Iterable[T], num_threads: int) -> Iterator[R]:
    """``map``, on threads: results in the order of the items.

    No more items are taken than there are threads and one, so that memory holds the results of as many.
    The function is one that leaves the interpreter to others: decoding, resizing and compressing do.
    """
    with ThreadPoolExecutor(num_threads) as pool:
        begun: deque[Future[R]] = deque()
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) > num_threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()

"""A ``map`` on threads that yields results in order and bounds the number in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(function: Callable[[T], R], items: Iterable[T], num_threads: int) -> Iterator[R]:
    """``map`` on threads, with the results in the order of the items.

    At most one item more than there are threads is taken ahead, which bounds the results in memory. The
    function must release the interpreter lock to benefit: decoding, resizing and compressing do.
    """
    with ThreadPoolExecutor(num_threads) as pool:
        begun: deque[Future[R]] = deque()
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) > num_threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()

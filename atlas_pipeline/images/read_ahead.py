"""Iterate in a thread, so that the next item is made while the caller works on the last one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")

# A thread that hangs, on a file system that does not answer, is left to itself.
_PATIENCE_S = 10.0


class ReadAhead(Generic[T]):
    """An iterator over the items of a generator, which a thread runs one item ahead.

    Leaving the context sets ``left`` and ends the thread, which closes the generator. A generator that takes
    long for an item should look at ``left`` in between.

    Raises: from ``next``, the generator's own errors.
    """

    def __init__(self, items: Generator[T], left: threading.Event):
        self._items, self._left = items, left
        self._made: queue.SimpleQueue[tuple[T] | BaseException] = queue.SimpleQueue()
        # One item may wait. The thread makes the next one once that has been taken.
        self._room = threading.Semaphore(1)
        self._thread = threading.Thread(target=self._make, name="read-ahead", daemon=True)

    def __enter__(self) -> ReadAhead[T]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._left.set()
        self._room.release()
        self._thread.join(_PATIENCE_S)

    def __iter__(self) -> ReadAhead[T]:
        return self

    def __next__(self) -> T:
        found = self._made.get()
        if isinstance(found, tuple):
            self._room.release()
            return found[0]
        self._made.put(StopIteration())
        try:
            raise found
        finally:
            del found  # or this frame and the error's traceback would hold each other

    def _make(self) -> None:
        try:
            while True:
                self._room.acquire()
                if self._left.is_set():
                    break
                self._made.put((next(self._items),))
        except BaseException as error:
            self._made.put(error)
        finally:
            self._items.close()

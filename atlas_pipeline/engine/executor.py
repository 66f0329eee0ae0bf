"""Where tasks run. Here: in this process, one at a time. On Dask: cluster.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from atlas_pipeline.engine.task import Outcome, TaskCall, compute_task, write_task


class Executor(Protocol):
    """Takes calls, gives outcomes back in any order.

    concurrent: whether several steps may be started at once.
    """

    concurrent: bool

    def submit(self, call: TaskCall, advance: Callable[[int], None]) -> None: ...

    def wait(self, timeout_s: float | None) -> list[Outcome]:
        """At least one outcome; none only where the time ran out."""

    def cancel(self) -> None:
        """Drop what is not finished."""


class InlineExecutor:
    """In this process, one task at a time, in the order they came.

    The parts of a task are written on a thread of their own while the next task computes: compressing and
    syncing leave the interpreter to others. At most one task waits to be written, so that memory holds two.
    """

    concurrent = False

    def __init__(self) -> None:
        self._calls: deque[tuple[TaskCall, Callable[[int], None]]] = deque()
        self._finished: deque[Outcome] = deque()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write-parts")
        self._written: Future[Outcome] | None = None

    def submit(self, call: TaskCall, advance: Callable[[int], None]) -> None:
        self._calls.append((call, advance))

    def wait(self, timeout_s: float | None) -> list[Outcome]:
        while self._calls and not self._finished:
            computed = compute_task(*self._calls.popleft())
            self._take_written()
            if isinstance(computed, Outcome):
                self._finished.append(computed)
            else:
                self._written = self._writer.submit(write_task, computed)
        if not self._finished:
            self._take_written()
        finished = list(self._finished)
        self._finished.clear()
        return finished

    def cancel(self) -> None:
        """Drop what is not computed; what is being written is written to its end, then nothing writes."""
        self._calls.clear()
        self._take_written()
        self._finished.clear()

    def _take_written(self) -> None:
        if self._written is not None:
            # Before it is forgotten: an interrupt may end the waiting, and `cancel` then waits again.
            self._finished.append(self._written.result())
            self._written = None

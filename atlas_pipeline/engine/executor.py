"""Where tasks run: in this process, one at a time. For Dask see cluster.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from atlas_pipeline.engine.task import Outcome, TaskCall, compute_task, write_task


class Executor(Protocol):
    """Accepts calls and returns their outcomes in any order."""

    @property
    def concurrent(self) -> bool:
        """Whether several steps may run at once."""

    def num_gpus(self, device: str) -> int:
        """Number of workers, each with a GPU, that share the calls for the run's device; 0: CPUs do."""

    def submit(self, call: TaskCall, advance: Callable[[float], None]) -> None:
        """Accept a call. advance: reports its progress; a report of 0 units says that it began."""

    def wait(self, timeout_s: float | None) -> list[Outcome]:
        """At least one outcome, or none if the timeout has passed."""

    def cancel(self) -> None:
        """Drop all unfinished calls."""


class InlineExecutor:
    """Runs tasks in this process, one at a time, in order of submission.

    A thread writes the parts of a task while the next task computes, because compression and syncing release
    the interpreter lock. At most one task waits to be written, so that at most two are in memory.
    """

    concurrent = False

    def __init__(self, *, decoders: int | None = None) -> None:
        """decoders: processes that decode images, unless the runtime of a call has a number."""
        self._decoders = decoders
        self._calls: deque[tuple[TaskCall, Callable[[float], None]]] = deque()
        self._finished: deque[Outcome] = deque()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write-parts")
        self._written: Future[Outcome] | None = None

    def num_gpus(self, device: str) -> int:
        """At most 1: this process."""
        return int(device.startswith("cuda"))

    def submit(self, call: TaskCall, advance: Callable[[float], None]) -> None:
        self._calls.append((call, advance))

    @property
    def num_waiting(self) -> int:
        """Number of calls that are not begun."""
        return len(self._calls)

    @property
    def is_busy(self) -> bool:
        """Whether there is an outcome to wait for."""
        return bool(self._calls or self._finished or self._written)

    def take_waiting(self) -> list[tuple[TaskCall, Callable[[float], None]]]:
        """Remove the calls that are not begun, with their progress callbacks."""
        waiting = list(self._calls)
        self._calls.clear()
        return waiting

    def wait(self, timeout_s: float | None) -> list[Outcome]:
        while self._calls and not self._finished:
            call, advance = self._calls.popleft()
            advance(0)
            if call.runtime.workers is None:
                call = replace(call, runtime=replace(call.runtime, workers=self._decoders))
            computed = compute_task(call, advance)
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
        """Drop the calls that are not computed. A part that is being written is finished first."""
        self._calls.clear()
        self._take_written()
        self._finished.clear()

    def _take_written(self) -> None:
        if self._written is not None:
            # Take the result before clearing the field: if an interrupt ends the wait, `cancel` waits again.
            self._finished.append(self._written.result())
            self._written = None

"""Runs tasks in this process at first, and on workers of this machine once a run proves long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from atlas_pipeline.engine.executor import InlineExecutor
from atlas_pipeline.engine.task import Outcome, TaskCall
from atlas_pipeline.errors import ResourceError

if TYPE_CHECKING:
    from atlas_pipeline.engine.dask_executor import DaskExecutor

# Workers take about as long to start. A run that waits as long as that never takes more than twice the time
# that it would have taken with the better of the two choices.
GROW_AFTER_S = 10.0


class GrowingExecutor:
    """Runs calls in this process until it has worked for `after_s` seconds and several calls wait.

    It then starts the workers, which get the waiting calls and all later ones. If the workers do not start,
    this process goes on alone.
    """

    def __init__(self, inline: InlineExecutor, workers: DaskExecutor, after_s: float = GROW_AFTER_S) -> None:
        self._inline, self._workers = inline, workers
        self._after_s = after_s
        self._began: float | None = None
        self._may_grow = True
        self._has_grown = False

    @property
    def concurrent(self) -> bool:
        return self._has_grown or self._is_time()

    def num_gpus(self, device: str) -> int:
        return (self._workers if self._has_grown else self._inline).num_gpus(device)

    def submit(self, call: TaskCall, advance: Callable[[float], None]) -> None:
        if self._began is None:
            self._began = time.monotonic()
        (self._workers if self._has_grown else self._inline).submit(call, advance)

    def wait(self, timeout_s: float | None) -> list[Outcome]:
        if not self._has_grown and self._inline.num_waiting > 1 and self._is_time():
            self._grow()
        # A part of an earlier call may still be on its way to the disk.
        if not self._has_grown or self._inline.is_busy:
            return self._inline.wait(timeout_s)
        return self._workers.wait(timeout_s)

    def cancel(self) -> None:
        self._inline.cancel()
        if self._has_grown:
            self._workers.cancel()

    def _is_time(self) -> bool:
        return self._may_grow and self._began is not None and time.monotonic() - self._began >= self._after_s

    def _grow(self) -> None:
        try:
            _ = self._workers.client  # starts them
        except ResourceError:
            self._may_grow = False
            return
        self._has_grown = True
        for call, advance in self._inline.take_waiting():
            self._workers.submit(call, advance)

"""Sends tasks to a Dask scheduler and handles outcomes, lost workers and a lost scheduler."""

from __future__ import annotations

import queue
import time
import uuid
from asyncio import CancelledError
from collections.abc import Callable
from concurrent.futures import CancelledError as FutureCancelled
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property
from itertools import cycle
from typing import Any

from atlas_pipeline.engine.location import Location, state_of
from atlas_pipeline.engine.stage import Runtime
from atlas_pipeline.engine.task import Outcome, TaskCall
from atlas_pipeline.engine.worker import (
    Requirements,
    find_mismatch,
    mismatch_error,
    requirements_for,
    run_if_compatible,
)
from atlas_pipeline.errors import AtlasError, ResourceError, TasksFailedError

# A task that loses its worker this many times more fails: the task itself may kill its workers.
RETRIES = 2
# Interval for checking that the scheduler is alive: a scheduler that shuts down sends no message.
WATCH_S = 1.0
# A network file system may show a file that a worker wrote with a delay.
PATIENCE_S = 20.0


class DaskExecutor:
    """Sends calls to a scheduler.

    It connects, or starts workers, at the first call: a run with nothing to do needs neither. `local_cluster`
    and `existing_cluster` create it and close everything that it adds to their stack.
    """

    concurrent = True

    def __init__(self, connect: Callable[[], Any], stack: ExitStack) -> None:
        self._connect, self._stack = connect, stack
        # Hold every future: the scheduler drops a task whose future is released.
        self._pending: dict[str, tuple[TaskCall, Any]] = {}
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._requirements: dict[Location, Requirements] = {}

    @cached_property
    def client(self) -> Any:
        """The `distributed.Client`. Raises: ResourceError: no scheduler answers, or there are no workers."""
        return self._connect()

    def num_workers(self) -> int:
        """Raises: ResourceError: see `client`."""
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    def submit(self, call: TaskCall, advance: Callable[[int], None]) -> None:
        """Raises: ResourceError: no workers, or one that has other versions or cannot see the workspace."""
        from distributed.protocol.pickle import dumps

        call = replace(call, runtime=worker_runtime(call.runtime))
        requirements = self._requirements_for(call.folders[0].parents[1])
        key = f"atlas-{call.stage.name}-{call.index}-{uuid.uuid4().hex}"
        future = self.client.submit(
            run_if_compatible,
            requirements,
            call.group,
            call.index,
            dumps(call),
            key=key,
            pure=False,
            retries=RETRIES,
        )
        self._pending[key] = call, future
        future.add_done_callback(self._finished.put)

    def wait(self, timeout_s: float | None) -> list[Outcome]:
        """Raises: TasksFailedError: the connection to the scheduler is lost."""
        future = self._next(timeout_s)
        pending = self._pending.pop(future.key, None) if future is not None else None
        if future is None or pending is None:
            return []  # a task of an abandoned run
        call, _ = pending
        try:
            # If the worker died with the result, this waits until the task has run again.
            return [_check_visible(call, future.result())]
        except (Exception, CancelledError) as error:
            if getattr(error, "reason", None) == "scheduler-connection-lost":
                raise self._lost_scheduler() from error
            return [Outcome(group=call.group, index=call.index, error=_worker_error(error))]

    def cancel(self) -> None:
        with suppress(Exception):
            if self._pending and not self._scheduler_is_gone():
                self.client.cancel([future for _, future in self._pending.values()], force=True)
        self._pending.clear()

    def _requirements_for(self, root: Location) -> Requirements:
        """Requirements for work under `root`; the first call checks them on all workers."""
        if root not in self._requirements:
            client = self.client
            requirements = self._stack.enter_context(requirements_for(root))
            mismatches = client.run(find_mismatch, requirements, on_error="return")
            for worker, mismatch in mismatches.items():
                if _worker_is_lost(mismatch):
                    continue  # its replacement is checked with its first task
                if isinstance(mismatch, AtlasError):
                    raise mismatch
                if isinstance(mismatch, Exception):
                    mismatch = f"cannot run this package ({mismatch}); install the same version there"
                if mismatch is not None:
                    raise mismatch_error(worker, mismatch)
            self._requirements[root] = requirements
        return self._requirements[root]

    def _next(self, timeout_s: float | None) -> Any:
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = WATCH_S if ends is None else min(WATCH_S, max(0.0, ends - time.monotonic()))
            with suppress(queue.Empty):
                return self._finished.get(timeout=left)
            if self._pending and self._scheduler_is_gone():
                raise self._lost_scheduler()
            if ends is not None and time.monotonic() >= ends:
                return None

    def _scheduler_is_gone(self) -> bool:
        stream = self.client.scheduler_comm
        return self.client.status != "running" or stream is None or stream.comm.closed()

    def _lost_scheduler(self) -> TasksFailedError:
        self._pending.clear()
        return TasksFailedError(
            "the Dask scheduler is gone; what is done is kept, start a scheduler and workers, "
            "then run the same command to go on"
        )


def worker_runtime(runtime: Runtime) -> Runtime:
    """The runtime on a worker: one GPU, and no decoding processes unless their number is set."""
    device = "cuda" if runtime.device.startswith("cuda") else runtime.device
    return Runtime(
        device=device,
        batch_size=runtime.batch_size,
        workers=0 if runtime.workers is None else runtime.workers,
    )


def _worker_is_lost(mismatch: object) -> bool:
    """Whether a worker ended during the check: Dask's connection errors have no errno, file errors do."""
    return isinstance(mismatch, ConnectionError) or (isinstance(mismatch, OSError) and mismatch.errno is None)


def _check_visible(call: TaskCall, outcome: Outcome) -> Outcome:
    """Return the outcome if this machine sees the parts too, else the outcome with an error."""
    records = [record for one in (outcome, *outcome.others) for record in one.records]
    for folder, record in zip(cycle(call.folders), records, strict=False):
        path = folder / record.name
        ends = time.monotonic() + PATIENCE_S
        while not _is_there(path, record.bytes):
            if time.monotonic() > ends:
                error = ResourceError(
                    f"a worker says that it wrote {path}, which is not there for this machine; "
                    "give a path or URL that all machines share as run.workspace"
                )
                return replace(outcome, records=(), notes=(), error=error, others=())
            time.sleep(WATCH_S / 5)
    return outcome


def _is_there(path: Location, num_bytes: int) -> bool:
    try:
        return state_of(path).num_bytes == num_bytes
    except FileNotFoundError:
        return False


def _worker_error(error: BaseException) -> Exception:
    if type(error).__name__ == "KilledWorker":
        times = getattr(error, "allowed_failures", RETRIES) + 1
        return RuntimeError(f"its worker died {times} times; the usual cause is a lack of memory")
    if isinstance(error, CancelledError | FutureCancelled):
        return RuntimeError("the Dask scheduler dropped the task")
    return error if isinstance(error, Exception) else RuntimeError(repr(error))

"""Tasks sent to a Dask scheduler, and what comes back: outcomes, lost workers, a lost scheduler."""

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
from typing import Any

from atlas_pipeline.engine.location import Location, state_of
from atlas_pipeline.engine.stage import Runtime
from atlas_pipeline.engine.task import Outcome, TaskCall
from atlas_pipeline.engine.worker import Terms, fault_of_this_process, refusal, run_if_fit, terms_of
from atlas_pipeline.errors import AtlasError, ResourceError, TasksFailedError

# A task that loses its worker this often more is given up: it may be what kills them.
RETRIES = 2
# How often to see whether the scheduler is still there: one that ends in good order says nothing of it.
WATCH_S = 1.0
# A network file system may show what a worker wrote late.
PATIENCE_S = 20.0


class DaskExecutor:
    """Sends calls to a scheduler.

    It connects, or starts workers, with the first call: a run with nothing to do needs none. Made by
    `local_cluster` and `existing_cluster`, which also end what it put on their stack.
    """

    concurrent = True

    def __init__(self, connect: Callable[[], Any], stack: ExitStack) -> None:
        self._connect, self._stack = connect, stack
        # A future that nobody holds is dropped by the scheduler.
        self._held: dict[str, tuple[TaskCall, Any]] = {}
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._terms: dict[Location, Terms] = {}

    @cached_property
    def client(self) -> Any:
        """The `distributed.Client`. Raises: ResourceError: nobody answers, or there are no workers."""
        return self._connect()

    def submit(self, call: TaskCall, advance: Callable[[int], None]) -> None:
        """Raises: ResourceError: no workers, or one that has other versions or does not see the workspace."""
        from distributed.protocol.pickle import dumps

        call = replace(call, runtime=worker_runtime(call.runtime))
        terms = self._agreed(call.folders[0].parents[1])
        key = f"atlas-{call.stage.name}-{call.index}-{uuid.uuid4().hex}"
        future = self.client.submit(
            run_if_fit, terms, call.group, call.index, dumps(call), key=key, pure=False, retries=RETRIES
        )
        self._held[key] = call, future
        future.add_done_callback(self._finished.put)

    def wait(self, timeout_s: float | None) -> list[Outcome]:
        """Raises: TasksFailedError: the scheduler is gone."""
        future = self._next(timeout_s)
        held = self._held.pop(future.key, None) if future is not None else None
        if future is None or held is None:
            return []  # of a run that was given up
        call, _ = held
        try:
            # Where the worker died with the result, this waits for the task to be run again.
            return [_seen(call, future.result())]
        except (Exception, CancelledError) as error:
            if getattr(error, "reason", None) == "scheduler-connection-lost":
                raise self._lost_scheduler() from error
            return [Outcome(group=call.group, index=call.index, error=_lost(error))]

    def cancel(self) -> None:
        with suppress(Exception):
            if self._held and not self._scheduler_is_gone():
                self.client.cancel([future for _, future in self._held.values()], force=True)
        self._held.clear()

    def _agreed(self, root: Location) -> Terms:
        """The terms for work under `root`; the first time all workers are asked whether they keep them."""
        if root not in self._terms:
            client = self.client
            terms = self._stack.enter_context(terms_of(root))
            faults = client.run(fault_of_this_process, terms, on_error="return")
            for worker, fault in faults.items():
                if _is_lost(fault):
                    continue  # the one in its place is asked with its first task
                if isinstance(fault, AtlasError):
                    raise fault
                if isinstance(fault, Exception):
                    fault = f"cannot run this package ({fault}); install the same version there"
                if fault is not None:
                    raise refusal(worker, fault)
            self._terms[root] = terms
        return self._terms[root]

    def _next(self, timeout_s: float | None) -> Any:
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = WATCH_S if ends is None else min(WATCH_S, max(0.0, ends - time.monotonic()))
            with suppress(queue.Empty):
                return self._finished.get(timeout=left)
            if self._held and self._scheduler_is_gone():
                raise self._lost_scheduler()
            if ends is not None and time.monotonic() >= ends:
                return None

    def _scheduler_is_gone(self) -> bool:
        stream = self.client.scheduler_comm
        return self.client.status != "running" or stream is None or stream.comm.closed()

    def _lost_scheduler(self) -> TasksFailedError:
        self._held.clear()
        return TasksFailedError(
            "the Dask scheduler is gone; what is done is kept, start a scheduler and workers, "
            "then run the same command to go on"
        )


def worker_runtime(runtime: Runtime) -> Runtime:
    """The runtime on a worker: it sees one GPU, its own, and decodes by itself unless told otherwise."""
    device = "cuda" if runtime.device.startswith("cuda") else runtime.device
    return Runtime(
        device=device,
        batch_size=runtime.batch_size,
        workers=0 if runtime.workers is None else runtime.workers,
    )


def _is_lost(fault: object) -> bool:
    """Whether a worker ended while it was asked: Dask's errors of connections have no number, a file's do."""
    return isinstance(fault, ConnectionError) or (isinstance(fault, OSError) and fault.errno is None)


def _seen(call: TaskCall, outcome: Outcome) -> Outcome:
    """The outcome, if the parts it tells of are there for this machine too."""
    for folder, record in zip(call.folders, outcome.records, strict=False):
        path = folder / record.name
        ends = time.monotonic() + PATIENCE_S
        while not _is_there(path, record.bytes):
            if time.monotonic() > ends:
                error = ResourceError(
                    f"a worker says that it wrote {path}, which is not there for this machine; "
                    "give a path or URL that all machines share as run.workspace"
                )
                return replace(outcome, records=(), notes=(), error=error)
            time.sleep(WATCH_S / 5)
    return outcome


def _is_there(path: Location, num_bytes: int) -> bool:
    try:
        return state_of(path).num_bytes == num_bytes
    except FileNotFoundError:
        return False


def _lost(error: BaseException) -> Exception:
    if type(error).__name__ == "KilledWorker":
        times = getattr(error, "allowed_failures", RETRIES) + 1
        return RuntimeError(f"its worker died {times} times; most often for want of memory")
    if isinstance(error, CancelledError | FutureCancelled):
        return RuntimeError("the Dask scheduler dropped the task")
    return error if isinstance(error, Exception) else RuntimeError(repr(error))

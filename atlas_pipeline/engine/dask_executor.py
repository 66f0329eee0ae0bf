"""Sends tasks to a Dask scheduler and handles outcomes, lost workers and a lost scheduler."""

from __future__ import annotations

import queue
import time
import uuid
from asyncio import CancelledError
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError as FutureCancelled
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle
from typing import Any

from atlas_pipeline.engine.hardware import resolved_device
from atlas_pipeline.engine.lanes import GPU, Lanes
from atlas_pipeline.engine.location import Location, state_of
from atlas_pipeline.engine.stage import Runtime, ignore
from atlas_pipeline.engine.task import Demand, Outcome, TaskCall
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


@dataclass(frozen=True, slots=True)
class _Sent:
    """A call that a worker has, or will get from the scheduler."""

    call: TaskCall
    future: Any
    advance: Callable[[float], None]


class DaskExecutor:
    """Sends calls to a scheduler.

    It connects, or starts workers, at the first call: a run with nothing to do needs neither. `local_cluster`
    and `existing_cluster` create it and close everything that it adds to their stack.

    The workers of this machine get one call each, and the others are held back: a worker's death then costs
    only the call that it ran, and calls begin only if there is memory for them.

    Attributes: lanes: the workers of this machine; None: an existing scheduler, which gets all calls at once.
    """

    concurrent = True

    def __init__(self, connect: Callable[[], Any], stack: ExitStack, lanes: Lanes | None = None) -> None:
        self.lanes = lanes
        self._connect, self._stack = connect, stack
        self._held: list[tuple[TaskCall, Callable[[float], None]]] = []
        # Hold every future: the scheduler drops a task whose future is released.
        self._pending: dict[str, _Sent] = {}
        # Futures that are done, and the progress of calls: (key, units).
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._topic = f"atlas-progress-{uuid.uuid4().hex}"
        self._requirements: dict[Location, Requirements] = {}

    @cached_property
    def client(self) -> Any:
        """The `distributed.Client`. Raises: ResourceError: no scheduler answers, or there are no workers."""
        client = self._connect()
        client.subscribe_topic(self._topic, lambda event: self._heard.put(event[1]))
        return client

    def num_gpus(self, device: str) -> int:
        """See `Executor`; 0 also if some workers of a scheduler find no GPU. Raises: see `client`."""
        if self.lanes is not None:
            return len(self.lanes.gpus)
        if device == "cpu":
            return 0
        workers = self._workers()
        with_gpu = [address for address, worker in workers.items() if GPU in worker["resources"]]
        asked = with_gpu or list(workers)
        if device == "auto":
            # Only the workers know their machines.
            found = self.client.run(resolved_device, device, workers=asked, on_error="return")
            if any(answer != "cuda" for answer in found.values() if not _worker_is_lost(answer)):
                return 0
        return len(asked)

    def submit(self, call: TaskCall, advance: Callable[[float], None]) -> None:
        """Raises: ResourceError: no workers, or one that has other versions or cannot see the workspace."""
        # Check the workers with the first call, whether or not it is held back.
        self._requirements_for(call.folders[0].parents[1])
        self._held.append((call, advance))

    def _send_held(self) -> None:
        """Send the calls that may begin."""
        chosen: Sequence[int] = range(len(self._held))
        if self.lanes is not None:
            running = [sent.call.demand for sent in self._pending.values()]
            chosen = self.lanes.beginning([call.demand for call, _ in self._held], running)
        for number in chosen:
            self._send(*self._held[number])
        begun = set(chosen)
        self._held = [held for number, held in enumerate(self._held) if number not in begun]

    def _send(self, call: TaskCall, advance: Callable[[float], None]) -> None:
        from distributed.protocol.pickle import dumps

        call = replace(call, runtime=self._worker_runtime(call))
        resource = self._resource(call.demand)
        key = f"atlas-{call.stage.name}-{call.index}-{uuid.uuid4().hex}"
        future = self.client.submit(
            run_if_compatible,
            self._requirements_for(call.folders[0].parents[1]),
            call.group,
            call.index,
            dumps(call),
            (self._topic, key),
            key=key,
            pure=False,
            retries=RETRIES,
            priority=call.demand.priority,
            resources={resource: 1} if resource else None,
        )
        self._pending[key] = _Sent(call, future, advance)
        future.add_done_callback(self._heard.put)

    def _resource(self, demand: Demand) -> str:
        """The resource that a worker needs to get the call; "" if all may get it."""
        if self.lanes is not None:
            return self.lanes.resource(demand)
        if not demand.uses_device:
            return ""
        return GPU if any(GPU in worker["resources"] for worker in self._workers().values()) else ""

    def _workers(self) -> Mapping[str, Any]:
        """Facts about the workers of a scheduler, by address."""
        return self.client.scheduler_info(n_workers=-1)["workers"]

    def _worker_runtime(self, call: TaskCall) -> Runtime:
        runtime = replace(call.runtime, advance=ignore)
        if self.lanes is not None:
            return self.lanes.runtime(runtime, call.demand)
        # A worker has one GPU. Its decoding processes are counted where it runs.
        return replace(runtime, device="cuda") if runtime.device.startswith("cuda") else runtime

    def wait(self, timeout_s: float | None) -> list[Outcome]:
        """Raises: TasksFailedError: the connection to the scheduler is lost."""
        # Only now: the steps that the last outcome made ready may come before those that waited.
        self._send_held()
        future = self._next(timeout_s)
        sent = self._pending.pop(future.key, None) if future is not None else None
        if future is None or sent is None:
            return []  # a task of an abandoned run
        call = sent.call
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
                self.client.cancel([sent.future for sent in self._pending.values()], force=True)
        self._pending.clear()
        self._held.clear()

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
                heard = self._heard.get(timeout=left)
                if not isinstance(heard, tuple | list):
                    return heard
                key, units = heard
                if key in self._pending:
                    self._pending[key].advance(units)
                continue
            if self._pending and self._scheduler_is_gone():
                raise self._lost_scheduler()
            if ends is not None and time.monotonic() >= ends:
                return None

    def _scheduler_is_gone(self) -> bool:
        stream = self.client.scheduler_comm
        return self.client.status != "running" or stream is None or stream.comm.closed()

    def _lost_scheduler(self) -> TasksFailedError:
        self._pending.clear()
        self._held.clear()
        return TasksFailedError(
            "the Dask scheduler is gone; what is done is kept, start a scheduler and workers, "
            "then run the same command to go on"
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

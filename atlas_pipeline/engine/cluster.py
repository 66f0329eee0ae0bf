"""Tasks on Dask: one process a worker, one thread each; on this machine, or on an existing scheduler.

Workers write the parts themselves (they see the workspace under the same path); only records and notes come
back. A worker that is killed is started again and its task goes to another: tasks are idempotent.
"""

from __future__ import annotations

import logging
import os
import queue
import uuid
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError as FutureCancelled
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from ..errors import ResourceError
from .gpus import visible_gpus
from .stage import Runtime
from .task import Outcome, TaskCall, run_task

# A task that loses its worker this often more is given up: it may be what kills them.
RETRIES = 2
CONNECT_S = 20.0


class DaskExecutor:
    """Sends calls to a scheduler. Open it with `local_cluster` or `existing_cluster`."""

    concurrent = True

    def __init__(self, client: Any) -> None:
        self._client = client
        # A future that nobody holds is dropped by the scheduler.
        self._held: dict[str, tuple[TaskCall, Any]] = {}
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def submit(self, call: TaskCall, advance: Callable[[int], None]) -> None:
        call = replace(call, runtime=worker_runtime(call.runtime))
        key = f"atlas-{call.stage.name}-{call.index}-{uuid.uuid4().hex}"
        future = self._client.submit(run_task, call, key=key, pure=False, retries=RETRIES)
        self._held[key] = call, future
        future.add_done_callback(self._finished.put)

    def wait(self, timeout_s: float | None) -> list[Outcome]:
        try:
            future = self._finished.get(timeout=timeout_s)
        except queue.Empty:
            return []
        held = self._held.pop(future.key, None)
        if held is None:
            return []  # of a run that was given up
        call, _ = held
        try:
            # Where the worker died with the result, this waits for the task to be run again.
            return [future.result()]
        except (Exception, CancelledError) as error:
            return [Outcome(group=call.group, index=call.index, error=_lost(error))]

    def cancel(self) -> None:
        with suppress(Exception):
            self._client.cancel([future for _, future in self._held.values()], force=True)
        self._held.clear()


@contextmanager
def local_cluster(num_workers: int, *, device: str = "cpu") -> Iterator[DaskExecutor]:
    """Workers on this machine, on the loopback, without a dashboard; on CUDA at most one a visible GPU.

    Raises: ResourceError: CUDA, and no GPU to be seen.
    """
    environments = worker_environments(num_workers, device)
    import dask
    from distributed import Client, Nanny, Scheduler, SpecCluster

    workers = {
        f"worker-{number}": {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "host": "127.0.0.1",
                "env": environment,
                "memory_limit": 0,
                "dashboard": False,
                "silence_logs": logging.CRITICAL,
            },
        }
        for number, environment in enumerate(environments)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"host": "127.0.0.1", "port": 0, "dashboard": False, "allowed_failures": RETRIES},
    }
    with (
        dask.config.set(_LOCAL_CONFIG),
        SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield DaskExecutor(client)


_LOCAL_CONFIG = {
    # Only the task a worker is at is blamed for its death, not those that wait behind.
    "distributed.scheduler.worker-saturation": 1.0,
    # Compiled code may hold the interpreter for minutes: silence is not death.
    # A dead process is noticed at once.
    "distributed.scheduler.worker-ttl": None,
    # Else a task could not start processes of its own for decoding.
    "distributed.worker.daemon": False,
}


@contextmanager
def existing_cluster(address: str) -> Iterator[DaskExecutor]:
    """The workers of the scheduler at `tcp://host:port`; they need this package and the same workspace path.

    Raises: ResourceError: nobody answers, or it has no workers.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ResourceError(
            f"no Dask scheduler answers at {address}; start one with: dask scheduler, or use --local-cluster"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_S)
        except TimeoutError as error:
            raise ResourceError(
                f"the Dask scheduler at {address} has no workers; "
                f"start some with: dask worker {address} --nthreads 1"
            ) from error
        yield DaskExecutor(client)


def worker_environments(num_workers: int, device: str) -> list[Mapping[str, str]]:
    """One a worker: its share of the cores, and with CUDA its own GPU.

    Raises: ResourceError: CUDA, and no GPU to be seen.
    """
    gpus: Sequence[str | None] = [None] * num_workers
    if device.startswith("cuda"):
        gpus = visible_gpus()[:num_workers]
        if not gpus:
            raise ResourceError(f"device {device}: no GPU is visible here; use --device cpu")
    threads = str(max(1, len(os.sched_getaffinity(0)) // max(1, len(gpus))))
    share = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    share["NUMBA_NUM_THREADS"] = threads
    return [{**share, "CUDA_VISIBLE_DEVICES": gpu} if gpu is not None else dict(share) for gpu in gpus]


def worker_runtime(runtime: Runtime) -> Runtime:
    """The runtime on a worker: it sees one GPU, its own, and decodes by itself unless told otherwise."""
    device = "cuda" if runtime.device.startswith("cuda") else runtime.device
    return Runtime(
        device=device,
        batch_size=runtime.batch_size,
        workers=0 if runtime.workers is None else runtime.workers,
    )


def _lost(error: BaseException) -> Exception:
    if type(error).__name__ == "KilledWorker":
        return RuntimeError(f"its worker died {RETRIES + 1} times; most often for want of memory")
    if isinstance(error, CancelledError | FutureCancelled):
        return RuntimeError("the Dask scheduler dropped the task or is gone")
    return error if isinstance(error, Exception) else RuntimeError(repr(error))

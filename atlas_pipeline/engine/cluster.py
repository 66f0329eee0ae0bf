"""Dask workers, each a process that runs one task at a time: on this machine or at an existing scheduler.

Workers write the parts themselves, because they see the workspace under the same path or URL; only records
and notes are sent back. A worker that is killed is restarted, and its task goes to another worker: tasks are
idempotent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from atlas_pipeline.engine.dask_executor import RETRIES, DaskExecutor
from atlas_pipeline.engine.lanes import Lanes
from atlas_pipeline.errors import ResourceError

CONNECT_S = 20.0


@contextmanager
def local_cluster(lanes: Lanes) -> Iterator[DaskExecutor]:
    """Start the workers of this machine (localhost, no dashboard) with the first call."""
    with ExitStack() as stack:
        yield DaskExecutor(lambda: _start_workers(lanes, stack), stack, lanes)


@contextmanager
def existing_cluster(address: str) -> Iterator[DaskExecutor]:
    """Use the workers of the scheduler at `tcp://host:port`; they need this package and the same workspace.

    Raises, with the first task: ResourceError: the scheduler does not answer or has no workers, or a worker
    has other versions or does not see the workspace.
    """
    with ExitStack() as stack:
        yield DaskExecutor(lambda: _connect(address, stack), stack)


def _start_workers(lanes: Lanes, stack: ExitStack) -> Any:
    import dask
    from distributed import Client, Scheduler, SpecCluster

    from atlas_pipeline.engine.nanny import SteadyNanny

    network = {"host": "127.0.0.1", "dashboard": False}
    options = {"nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL, **network}
    workers = {
        f"worker-{number}": {
            "cls": SteadyNanny,
            "options": {**options, "env": worker.environment, "resources": worker.resources},
        }
        for number, worker in enumerate(lanes.workers())
    }
    scheduler_options = {
        "port": 0,
        "dashboard_address": "127.0.0.1:0",
        "allowed_failures": _allowed_failures(),
    }
    scheduler = {"cls": Scheduler, "options": {**scheduler_options, **network}}
    stack.enter_context(dask.config.set(_LOCAL_CONFIG))
    try:
        cluster = SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL)
    except RuntimeError as error:
        raise ResourceError(
            f"the workers of --local-cluster do not start ({error}); "
            "the usual cause is a lack of memory: use fewer workers"
        ) from error
    return stack.enter_context(Client(stack.enter_context(cluster), set_as_default=False))


_LOCAL_CONFIG: dict[str, Any] = {
    # Count a worker's death only against the task it is running, not against those queued behind it.
    "distributed.scheduler.worker-saturation": 1.0,
    # Compiled code may hold the interpreter for minutes, so a silent worker is not a dead one. A dead process
    # is noticed at once anyway.
    "distributed.scheduler.worker-ttl": None,
    # Dask gives up a worker that has not come back after 15 s, and a busy machine takes longer to start one.
    "distributed.deploy.lost-worker-timeout": "1 day",
    # Daemon processes could not start processes of their own for decoding.
    "distributed.worker.daemon": False,
    # Dask makes workers return freed memory at once; a network that allocates it again at every step then
    # takes three times as long.
    "distributed.nanny.pre-spawn-environ": {},
    # Even without a dashboard, Dask would serve pages of statistics and a proxy.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


def _allowed_failures() -> int:
    """How often a task may lose its worker before it fails: Dask's own setting, if the user set it."""
    import dask

    key = "distributed.scheduler.allowed-failures"
    return int(dask.config.get(key, RETRIES, config=dask.config.collect()))


def _connect(address: str, stack: ExitStack) -> Any:
    from distributed import Client

    # We report a lost scheduler in one line of our own.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = stack.enter_context(Client(address, timeout=CONNECT_S, set_as_default=False))
    except (OSError, ValueError) as error:
        raise ResourceError(
            f"no Dask scheduler answers at {address}; start one with: dask scheduler, or use --local-cluster"
        ) from error
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError as error:
        raise ResourceError(
            f"the Dask scheduler at {address} has no workers; "
            f"start some with: dask worker {address} --nthreads 1"
        ) from error
    return client

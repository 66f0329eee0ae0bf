"""Checks that a worker matches the driver before it gets work: same code, same workspace.

Every call carries the driver's requirements, so that workers that join during a run are checked too.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from atlas_pipeline.engine.atomic_files import atomic_file
from atlas_pipeline.engine.hardware import num_cores, num_gpus, resolved_device
from atlas_pipeline.engine.location import Location, content_of
from atlas_pipeline.engine.part import PACKAGE
from atlas_pipeline.engine.stage import Runtime
from atlas_pipeline.engine.task import Outcome, TaskCall, run_task
from atlas_pipeline.engine.threads import use_threads
from atlas_pipeline.errors import AtlasError, ResourceError

# Results depend on the versions of these packages.
_PACKAGES = (
    PACKAGE,
    "numba",
    "numpy",
    "pillow",
    "pyarrow",
    "pynndescent",
    "scikit-learn",
    "scipy",
    "simplejpeg",
    "timm",
    "torch",
    "torchvision",
    "umap-learn",
)
# A worker without an optional package reports it when it opens a network that needs it.
_EXTRAS = ("timm",)
_ABSENT = "(none)"
_SOURCE = "source of atlas_pipeline"
# A network file system may show a new file with a delay.
_PATIENCE_S = 10.0
_REPORT_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """Requirements for a worker. token_path: a file in the workspace that contains `token`."""

    versions: tuple[tuple[str, str], ...]
    token_path: Location
    token: str


@contextmanager
def requirements_for(root: Location) -> Iterator[Requirements]:
    """The requirements for work under `root`; the token file is removed at the end.

    Raises: ResourceError: the token file cannot be written.
    """
    token = uuid.uuid4().hex
    path = root / ".workers" / token
    with atomic_file(path) as file:
        file.write(token.encode())
    try:
        yield Requirements(versions=tuple(own_versions().items()), token_path=path, token=token)
    finally:
        with suppress(OSError, AtlasError):
            path.unlink(missing_ok=True)


def find_mismatch(requirements: Requirements) -> str | None:
    """Why this process must not get work; None if it may. Runs on workers."""
    own = own_versions()
    for name, wanted in requirements.versions:
        is_left_out = name in _EXTRAS and _ABSENT in (own[name], wanted)
        if own[name] != wanted and not is_left_out:
            return (
                f"has {name} {own[name]}, this machine {wanted}; "
                "install the same versions on both and start the workers again"
            )
    return _workspace_mismatch(requirements)


def _workspace_mismatch(requirements: Requirements) -> str | None:
    workspace = requirements.token_path.parents[2]
    ends = time.monotonic() + _PATIENCE_S
    while True:
        with suppress(FileNotFoundError):
            found = content_of(requirements.token_path).decode()
            return (
                None
                if found == requirements.token
                else f"sees another folder at {workspace}; mount the same one"
            )
        # Without the parent folder the token will not appear, so do not wait.
        if time.monotonic() > ends or not requirements.token_path.parent.exists():
            return (
                f"does not see the workspace {workspace}; give a path or URL that all machines share "
                "as run.workspace"
            )
        time.sleep(0.2)


@cache
def _cached_mismatch(requirements: Requirements) -> str | None:
    return find_mismatch(requirements)


@cache
def exit_on_memory_error() -> None:
    """Install a log handler that ends this process when Dask logs a MemoryError.

    A MemoryError inside a task is the outcome of the task. If Dask itself has no memory to send an outcome,
    the worker stays alive and the driver waits forever. If the worker ends, it is restarted and another
    worker takes the task.
    """
    for name in ("distributed", "asyncio", "tornado"):  # Dask does not propagate to the root logger
        logging.getLogger(name).addHandler(_ExitOnMemoryError())


class _ExitOnMemoryError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and isinstance(record.exc_info[1], MemoryError):
            os._exit(1)


def run_if_compatible(
    requirements: Requirements, group: int, index: int, call: bytes, progress: tuple[str, str]
) -> Outcome:
    """Run a call, pickled by Dask, if this worker meets the requirements; else return a ResourceError.

    The call is pickled because a worker with other versions might not be able to load it.

    Args: progress: topic of the events that report the progress, and the name of the call in them.
    """
    from distributed import get_worker
    from distributed.protocol.pickle import loads

    exit_on_memory_error()
    try:
        mismatch = _cached_mismatch(requirements)
    except AtlasError as error:
        return Outcome(group=group, index=index, error=error)
    if mismatch is not None:
        return Outcome(group=group, index=index, error=mismatch_error(get_worker().address, mismatch))
    task: TaskCall = loads(call)
    task = replace(task, runtime=runtime_here(task.runtime))
    if task.runtime.threads is not None:
        use_threads(task.runtime.threads, load=task.demand.sharing > 0)
    topic, name = progress
    report = partial(get_worker().log_event, topic)
    return run_task(task, Progress(lambda units: report((name, units))).advance)


def runtime_here(runtime: Runtime) -> Runtime:
    """The runtime on this machine: what only the machine that computes knows, filled in.

    A worker with a GPU decodes with its share of the cores. Other workers decode alone: they are processes
    already, and decoding processes beside them would oversubscribe the cores.
    """
    device = resolved_device("auto") if runtime.device == "auto" else runtime.device
    workers = runtime.workers
    if workers is None:
        is_cuda = device.startswith("cuda")
        workers = max(1, num_cores() // max(1, num_gpus())) if is_cuda else 0
    return replace(runtime, device=device, workers=workers)


class Progress:
    """Passes the progress of a task on, a few times a second. The first report, of 0 units, says it began."""

    def __init__(self, report: Callable[[float], None]) -> None:
        self._report = report
        self._units = 0.0
        self._reported_at = time.monotonic()
        report(0)

    def advance(self, units: float) -> None:
        self._units += units
        now = time.monotonic()
        if now - self._reported_at >= _REPORT_EVERY_S:
            self._report(self._units)
            self._units, self._reported_at = 0.0, now


def mismatch_error(worker: str, mismatch: str) -> ResourceError:
    return ResourceError(f"the worker at {worker} {mismatch}")


@cache
def own_versions() -> Mapping[str, str]:
    """Versions that affect results. The source is digested, because a checkout keeps its version number."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = _ABSENT
    return {**found, _SOURCE: _source_digest(Path(__file__).parents[1])}


def _source_digest(package: Path) -> str:
    digest = hashlib.blake2b(digest_size=4)
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        # Skip the pipelines: a wheel has them inside the package, a checkout next to it; workers do not use
        # them.
        if not name.startswith("pipelines/"):
            digest.update(f"{name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()

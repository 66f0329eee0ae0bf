"""What a worker must have in common with the driver before it is given work: the code, and the workspace.

Every call carries the driver's terms: workers that join in mid-run are held to them too.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from atlas_pipeline.engine.atomic_files import atomic_file
from atlas_pipeline.engine.hardware import resolved_device
from atlas_pipeline.engine.location import Location, content_of
from atlas_pipeline.engine.part import PACKAGE
from atlas_pipeline.engine.task import Outcome, TaskCall, run_task
from atlas_pipeline.errors import AtlasError, ResourceError

# A result follows the values that these compute.
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
# A machine without an extra that a run uses says so when it opens the network.
_EXTRAS = ("timm",)
_ABSENT = "(none)"
_SOURCE = "source of atlas_pipeline"
# A network file system may show a new file late.
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a worker must find. token_path: a file that holds `token` and lies in the workspace."""

    versions: tuple[tuple[str, str], ...]
    token_path: Location
    token: str


@contextmanager
def terms_of(root: Location) -> Iterator[Terms]:
    """The terms for work under `root`; its token file is removed at the end.

    Raises: ResourceError: it cannot be written.
    """
    token = uuid.uuid4().hex
    path = root / ".workers" / token
    with atomic_file(path) as file:
        file.write(token.encode())
    try:
        yield Terms(versions=tuple(own_versions().items()), token_path=path, token=token)
    finally:
        with suppress(OSError, AtlasError):
            path.unlink(missing_ok=True)


def fault_of_this_process(terms: Terms) -> str | None:
    """Why this process is not to be given work; None where it is. Run on workers."""
    own = own_versions()
    for name, wanted in terms.versions:
        is_left_out = name in _EXTRAS and _ABSENT in (own[name], wanted)
        if own[name] != wanted and not is_left_out:
            return (
                f"has {name} {own[name]}, this machine {wanted}; "
                "install the same versions on both and start the workers again"
            )
    return _fault_of_workspace(terms)


def _fault_of_workspace(terms: Terms) -> str | None:
    workspace = terms.token_path.parents[2]
    ends = time.monotonic() + _PATIENCE_S
    while True:
        with suppress(FileNotFoundError):
            found = content_of(terms.token_path).decode()
            return None if found == terms.token else f"sees another folder at {workspace}; mount the same one"
        # Where there is no workspace at all, nothing is on its way.
        if time.monotonic() > ends or not terms.token_path.parent.exists():
            return (
                f"does not see the workspace {workspace}; give a path or URL that all machines share "
                "as run.workspace"
            )
        time.sleep(0.2)


@cache
def _fault_once(terms: Terms) -> str | None:
    return fault_of_this_process(terms)


@cache
def end_without_memory() -> None:
    """From now on, end this process when Dask's log tells of a MemoryError.

    A task's own is its outcome. Where Dask has no memory to send an outcome, the worker would live on and
    the driver wait; where it ends, it is started again and another takes the task.
    """
    for name in ("distributed", "asyncio", "tornado"):  # Dask lets nothing through to the root
        logging.getLogger(name).addHandler(_EndWithoutMemory())


class _EndWithoutMemory(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and isinstance(record.exc_info[1], MemoryError):
            os._exit(1)


def run_if_fit(terms: Terms, group: int, index: int, call: bytes) -> Outcome:
    """Run a call, pickled by Dask, where this worker keeps the terms; else a ResourceError is its outcome.

    Pickled, for with other versions it might not even be read.
    """
    from distributed import get_worker
    from distributed.protocol.pickle import loads

    end_without_memory()
    try:
        fault = _fault_once(terms)
    except AtlasError as error:
        return Outcome(group=group, index=index, error=error)
    if fault is not None:
        return Outcome(group=group, index=index, error=refusal(get_worker().address, fault))
    task: TaskCall = loads(call)
    if task.runtime.device == "auto":  # is for the machine that computes to say
        task = replace(task, runtime=replace(task.runtime, device=resolved_device("auto")))
    return run_task(task)


def refusal(worker: str, fault: str) -> ResourceError:
    return ResourceError(f"the worker at {worker} {fault}")


@cache
def own_versions() -> Mapping[str, str]:
    """Versions of the packages that results follow. The source has a digest: a checkout keeps its version."""
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
        # A wheel carries them inside the package, a checkout beside it; workers do not use them.
        if not name.startswith("pipelines/"):
            digest.update(f"{name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()

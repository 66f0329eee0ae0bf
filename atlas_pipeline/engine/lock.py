"""Locks: only one run makes an artefact. The system releases a lock when its process ends, even if killed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from atlas_pipeline.engine.location import disk_errors


def allow_many_locks() -> None:
    """Raise this process's limit of open files to the maximum: 1,000 steps in one pass hold 1,000 locks."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock; waits while another process updates, draws or packs the run's folder.

    Raises: ResourceError: read-only, full, or not permitted.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def try_locks(paths: Iterable[Path]) -> ExitStack | None:
    """Acquire all locks until the stack is closed, or return None if another process holds one. Never waits.

    Raises: ResourceError: read-only, full, or not permitted.
    """
    # Sorted, and all or none: two runs that want the same locks never each keep half of them.
    with ExitStack() as stack:
        for path in sorted(paths):
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = FileLock(path)
                try:
                    stack.enter_context(lock.acquire(timeout=0))
                except Timeout:
                    return None
        return stack.pop_all()

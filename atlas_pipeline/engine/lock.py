"""One run at a time makes an artefact. The lock is the system's: it goes with its process, killed or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from atlas_pipeline.engine.location import disk_errors


def allow_many_locks() -> None:
    """Raise this process's limit of open files as far as it may: 1,000 steps in one pass hold 1,000 locks."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock; another process has it while it brings a run's folder up to date, draws or packs it.

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
    """All locks, held until the stack is closed, or None: another process has one of them. Never waits.

    Raises: ResourceError: read-only, full, or not permitted.
    """
    # Sorted, and all or none: two runs that want the same ones never hold half each for long.
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

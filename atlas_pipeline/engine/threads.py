"""The number of threads of the kernels that a task calls."""

from __future__ import annotations

import sys
from contextlib import suppress

_set = 0


def use_threads(threads: int, *, load: bool = False) -> None:
    """Let torch, numba, BLAS and OpenMP use so many threads, from now on, in this thread's calls.

    Args: load: whether the task will use them; otherwise only libraries that are loaded are told.
    """
    global _set
    if load:
        import numba  # noqa: F401
        import torch  # noqa: F401
    elif threads == _set:
        return
    _set = threads
    if torch_module := sys.modules.get("torch"):
        torch_module.set_num_threads(threads)
    if numba_module := sys.modules.get("numba"):
        numba_module.set_num_threads(min(threads, numba_module.config.NUMBA_NUM_THREADS))
    with suppress(ImportError):
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        threadpool_limits(threads)

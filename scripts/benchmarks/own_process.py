"""A measurement in a process of its own, so that its memory is its own; and how much that was."""

from __future__ import annotations

import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


def in_own_process(function: Any, *arguments: Any, **options: Any) -> Any:
    """What the function of a module gives, called in a new process with these arguments."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments, **options).result()


def peak_gb() -> float:
    """The most memory that this process had so far, GB of 1e9 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9

"""The memory that simultaneous tasks will need; refuse a run that would exceed it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from atlas_pipeline.engine import MemoryNeed
from atlas_pipeline.engine.progress import size_text
from atlas_pipeline.errors import ResourceError
from atlas_pipeline.runs.devices import available_memory_bytes


def refuse_unmet_memory(needs: Collection[MemoryNeed], num_workers: int) -> str | None:
    """One line on the memory needed at once and the memory free; None if nothing is needed.

    Args:   num_workers: processes on this machine, with one task each.
    Raises: ResourceError: less memory is free than is needed.
    """
    phases = ([need for need in needs if need.is_first == first] for first in (False, True))
    at_once = max((_largest(phase, num_workers) for phase in phases), key=_total)
    if not at_once:
        return None
    needed, free = _total(at_once), available_memory_bytes()
    times = Counter(need.task for need in at_once)
    tasks = ", ".join(f"{count} times {task}" if count > 1 else task for task, count in times.items())
    several = len(at_once) > 1
    line = f"{tasks} {'at once need' if several else 'needs'} about {size_text(needed)} of memory"
    if needed > free:
        fewer = "take fewer than " + f"{num_workers} workers, or " if several else ""
        raise ResourceError(f"{line}, and {size_text(free)} are free; {fewer}{at_once[0].remedy}")
    return f"{line} ({size_text(free)} free)"


def _largest(needs: Collection[MemoryNeed], num_workers: int) -> list[MemoryNeed]:
    tasks = (need for need in needs for _ in range(min(need.num_tasks, num_workers)))
    return sorted(tasks, key=lambda need: -need.num_bytes)[:num_workers]


def _total(needs: Collection[MemoryNeed]) -> int:
    return sum(need.num_bytes for need in needs)

"""The memory that the largest task will need; refuse a run that would exceed it."""

from __future__ import annotations

from collections.abc import Collection

from atlas_pipeline.engine import MemoryNeed
from atlas_pipeline.engine.progress import size_text
from atlas_pipeline.errors import ResourceError
from atlas_pipeline.runs.devices import available_memory_bytes


def refuse_unmet_memory(needs: Collection[MemoryNeed]) -> str | None:
    """One line on the memory that the largest task needs and the memory free; None if nothing is needed.

    Only one task has to fit: workers do not begin tasks that together need more than is free.

    Raises: ResourceError: less memory is free than is needed.
    """
    if not needs:
        return None
    largest, free = max(needs, key=lambda need: need.num_bytes), available_memory_bytes()
    line = f"{largest.task} needs about {size_text(largest.num_bytes)} of memory"
    if largest.num_bytes > free:
        raise ResourceError(f"{line}, and {size_text(free)} are free; {largest.remedy}")
    return f"{line} ({size_text(free)} free)"

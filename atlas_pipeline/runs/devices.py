"""What a run takes of the machine: an engine that its device has, processes that decode, memory."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from atlas_pipeline.engine.hardware import num_cores
from atlas_pipeline.errors import ResourceError

# More decoders than this starve on the disk before they feed a faster GPU.
MOST_WORKERS = 16
# Files of a control group, of version 2 and of version 1: its limit, what it uses, and what of that are pages
# of files.
_LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def check_engine(engine: str, device: str) -> None:
    """Refuse ``project.engine: gpu`` where the run has none.

    Raises: ResourceError.
    """
    if engine == "gpu" and device == "cpu":
        raise ResourceError(
            "project.engine gpu: the run's device is the CPU; "
            "use project.engine: parallel, or run.device: cuda"
        )


def resolved_workers(workers: int | str) -> int:
    """``auto``: one decoding process a core."""
    if workers != "auto":
        return int(workers)
    return min(num_cores(), MOST_WORKERS)


def available_memory_bytes() -> int:
    """Memory that processes can still take: what the system has, within what a container's limit leaves."""
    groups = _control_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return min([psutil.virtual_memory().available, *_left_in_groups(groups)])


def _control_groups(own: Path, root: Path) -> list[Path]:
    """The control groups that this process is in, and those around them (Linux, versions 2 and 1).

    A container sees its own group as the root; SLURM's and systemd's lie deeper.
    """
    found = {root, root / "memory"}
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                group = root / controllers / path.strip("/")
                found |= {parent for parent in (group, *group.parents) if parent.is_relative_to(root)}
    return sorted(found)


def _left_in_groups(groups: Iterable[Path]) -> list[int]:
    """Of each limit on memory what is not used yet."""
    left = []
    files = [(group / limit, group / used, inactive) for group in groups for limit, used, inactive in _LIMITS]
    for limit, used, inactive in files:
        try:
            # Pages of files that were read count as used, and are given up when memory is asked for.
            cached = _stat(limit.parent / "memory.stat").get(inactive, 0)
            left.append(max(0, int(limit.read_text()) - int(used.read_text()) + cached))
        except (OSError, ValueError):
            continue  # no such control group here, or "max": no limit
    return left


def _stat(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}

"""The machine's limits on a run: layout engines, decoding processes, free memory."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from atlas_pipeline.engine.hardware import num_cores
from atlas_pipeline.errors import ResourceError

# Beyond this number, decoding processes wait for the disk and do not feed a GPU any faster.
MAX_WORKERS = 16
# A control group, version 2 and version 1: the files of its limit and its usage, and the statistic of cached
# file pages.
_LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def check_engine(engine: str, device: str) -> None:
    """Refuse ``project.engine: gpu`` on the CPU.

    Raises: ResourceError: the engine needs a GPU, and the run's device is the CPU.
    """
    if engine == "gpu" and device == "cpu":
        raise ResourceError(
            "project.engine gpu: the run's device is the CPU; "
            "use project.engine: parallel, or run.device: cuda"
        )


def resolved_workers(workers: int | str) -> int:
    """The number of decoding processes; ``auto``: one per core, up to `MAX_WORKERS`."""
    if workers != "auto":
        return int(workers)
    return min(num_cores(), MAX_WORKERS)


def available_memory_bytes() -> int:
    """Memory that processes can still take, given the system and the container's limits."""
    groups = _control_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return min([psutil.virtual_memory().available, *_left_in_groups(groups)])


def _control_groups(own: Path, root: Path) -> list[Path]:
    """The control groups of this process and their parents (Linux, versions 2 and 1).

    A container sees its own group as the root. Groups of SLURM and systemd lie deeper.
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
    """The unused bytes within each memory limit of the groups."""
    unused = []
    files = [(group / limit, group / used, inactive) for group in groups for limit, used, inactive in _LIMITS]
    for limit, used, inactive in files:
        try:
            # Cached file pages count as used, but the kernel frees them when a process needs memory.
            cached = _stat(limit.parent / "memory.stat").get(inactive, 0)
            unused.append(max(0, int(limit.read_text()) - int(used.read_text()) + cached))
        except (OSError, ValueError):
            continue  # no such control group, or the limit is "max"
    return unused


def _stat(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}

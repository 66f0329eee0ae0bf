"""How many icons fit in the device's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from atlas_pipeline.errors import ResourceError
from atlas_pipeline.models.out_of_memory import is_out_of_memory

CPU_BATCH = 32
LARGEST_BATCH = 1024
_PROBE = 8
# Share of the free memory to use: the allocator rounds sizes up.
_USABLE_SHARE = 0.7


def fitting_batch(icon_bytes: int, free_bytes: int, largest: int = LARGEST_BATCH) -> int:
    """Number of icons that fit, rounded down to a power of two; at least 1."""
    room = min(largest, max(1, int(free_bytes * _USABLE_SHARE) // max(1, icon_bytes)))
    return 1 << (room.bit_length() - 1)


def probe_size(device: torch.device, num_icons: int) -> int | None:
    """Icons in a trial step that measures memory per icon; None if no trial is needed."""
    return _PROBE if device.type == "cuda" and num_icons > _PROBE else None


def out_of_memory_error(size_px: int, device: torch.device | str) -> ResourceError:
    """The error to raise if not even one icon fits in memory."""
    return ResourceError(
        f"one icon of {size_px} px does not fit the memory of {device}; lower size_px or use the CPU"
    )


class PeakMemory:
    """Measures the peak memory, in bytes, that a block takes on a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.peak_bytes = 0

    def __enter__(self) -> PeakMemory:
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)
        return self

    def __exit__(self, *_: object) -> None:
        torch.cuda.synchronize(self._device)
        self.peak_bytes = torch.cuda.max_memory_allocated(self._device) - self._before


def free_bytes(device: torch.device) -> int:
    """Available memory of a CUDA device: free in the driver, plus unused memory held by torch's allocator."""
    free, _ = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + held


def in_batches(
    evaluate: Callable[[Tensor], Tensor], num_icons: int, batch_size: int = CPU_BATCH
) -> Iterator[Tensor]:
    """Evaluate icons by index in batches; yields values on the CPU. A batch that does not fit is halved.

    Raises: RuntimeError: not even one icon fits (see `is_out_of_memory`).
    """
    start = 0
    while start < num_icons:
        which = torch.arange(start, min(start + batch_size, num_icons))
        try:
            values = evaluate(which).cpu()
        except RuntimeError as error:
            if batch_size == 1 or not is_out_of_memory(error):
                raise
            values = None
        if values is None:
            batch_size = max(1, len(which) // 2)
            continue
        start += len(which)
        yield values

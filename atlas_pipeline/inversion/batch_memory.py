"""How many icons fit in the device's memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from atlas_pipeline.errors import ResourceError
from atlas_pipeline.models.device_memory import free_bytes
from atlas_pipeline.models.out_of_memory import is_out_of_memory

CPU_BATCH = 32
LARGEST_BATCH = 1024
# Icons in the trial steps. The part that grows with the icons is told from the fixed one by two of them.
_FEW, _MORE = 8, 32
# Share of the free memory to use: the allocator rounds sizes up, and kernels choose their own work space.
_USABLE_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class StepMemory:
    """Peak memory of a step: a fixed part, and a part for each icon, in bytes."""

    fixed_bytes: int
    icon_bytes: int


_KNOWN: WeakKeyDictionary[object, dict[Hashable, StepMemory]] = WeakKeyDictionary()


def chosen_batch(
    step: Callable[[int], None], num_icons: int, device: torch.device, network: object, settings: Hashable
) -> int:
    """Number of icons to optimise together: on a GPU as many as fit, in batches of equal size.

    Args:    step: takes a trial step with a number of icons. Its memory is measured once a process for each
             network, settings and device. network, settings: what a step's memory depends on.
    Returns: at most `num_icons`, and at most `LARGEST_BATCH`, or `CPU_BATCH` on a CPU.
    """
    if device.type == "cpu":
        return min(num_icons, CPU_BATCH)
    if num_icons <= _MORE:
        return num_icons
    try:
        known = _KNOWN.setdefault(network, {})
    except TypeError:
        # A callable that cannot be a weak dictionary key is measured again on each call.
        known = {}
    key = settings, device
    if key not in known:
        try:
            known[key] = _measured(step, device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            # Batches that do not fit are halved.
            return _FEW
    return fitting_batch(known[key], free_bytes(device), num_icons)


def _measured(step: Callable[[int], None], device: torch.device) -> StepMemory:
    # The first step also allocates what stays, such as the libraries' work space.
    step(_FEW)
    peaks = []
    for num_icons in (_FEW, _MORE):
        with PeakMemory(device) as used:
            step(num_icons)
        peaks.append(used.peak_bytes)
    few, more = peaks
    icon_bytes = max(0, more - few) // (_MORE - _FEW)
    return StepMemory(max(0, few - _FEW * icon_bytes), icon_bytes)


def fitting_batch(memory: StepMemory, free_bytes: int, num_icons: int) -> int:
    """Size of the fewest equal batches of `num_icons` that fit in the free memory; at least 1."""
    usable = int(free_bytes * _USABLE_SHARE) - memory.fixed_bytes
    room = min(LARGEST_BATCH, max(1, usable // max(1, memory.icon_bytes)))
    num_batches = -(-num_icons // room)
    return -(-num_icons // num_batches)


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


def in_batches(
    evaluate: Callable[[Tensor], Tensor],
    num_icons: int,
    device: torch.device | str,
    most: int | None = None,
) -> Iterator[Tensor]:
    """Evaluate icons by index in batches; yields values on the CPU. A batch that does not fit is halved.

    Args:   evaluate: index of icons (B,) -> values on the device. num_icons: all icons.
            most: icons in a batch; None: as many as is good for the device.
    Raises: RuntimeError: not even one icon fits (see `is_out_of_memory`).
    """
    # On a GPU each batch waits for the device.
    batch_size = most or (CPU_BATCH if torch.device(device).type == "cpu" else LARGEST_BATCH)
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

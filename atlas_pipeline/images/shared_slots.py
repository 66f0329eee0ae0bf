"""Memory that this process shares with its decoding processes, so that pixels need not go through pipes."""

from __future__ import annotations

import mmap
import os
import weakref
from multiprocessing import reduction
from typing import Any

import numpy as np


def shared_slots(num_slots: int, shape: tuple[int, ...]) -> SharedSlots | None:
    """Slots for arrays of this shape; None if the system has no anonymous shared memory, or none left."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        file = os.memfd_create("atlas-images")
        try:
            os.ftruncate(file, num_slots * int(np.prod(shape)))
            return SharedSlots(file, num_slots, shape)
        except BaseException:
            os.close(file)
            raise
    except OSError:
        return None


class SharedSlots:
    """Slots of shared memory, each a uint8 array: one process writes it, another reads it.

    The memory is an anonymous file (Linux). It has no name, so nothing remains of it when its processes have
    ended, killed or not. It is not taken from /dev/shm, which is small in containers. A slot takes memory
    when it is first written. The memory is freed when no process holds the slots or an array of them.

    Picklable only for a process that is being started, which inherits the file.

    Args: file: descriptor of the file; the slots close it.
    """

    def __init__(self, file: int, num_slots: int, shape: tuple[int, ...]):
        self._file, self._num_slots, self._shape = file, num_slots, shape
        self._arrays = np.frombuffer(mmap.mmap(file, 0), np.uint8).reshape(num_slots, *shape)
        weakref.finalize(self, os.close, file)

    def array(self, slot: int) -> np.ndarray:
        """The array of a slot, with what was last written into it."""
        return self._arrays[slot]

    def __reduce__(self) -> tuple[Any, ...]:
        return _inherited, (reduction.DupFd(self._file), self._num_slots, self._shape)


def _inherited(file: Any, num_slots: int, shape: tuple[int, ...]) -> SharedSlots:
    return SharedSlots(file.detach(), num_slots, shape)

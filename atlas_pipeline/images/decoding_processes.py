"""Chunks of a listing, decoded in order by other processes or by this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from multiprocessing import connection, forkserver
from typing import Any, Protocol

import numpy as np

from atlas_pipeline.errors import ResourceError
from atlas_pipeline.images.image_source import ImageRef
from atlas_pipeline.images.reading import Decoded
from atlas_pipeline.images.shared_slots import SharedSlots, shared_slots
from atlas_pipeline.interrupts import block_interrupts

CHUNKS_AHEAD = 2  # per process
# Modules loaded once for all processes. A process loads other readers itself.
PRELOADED = ["torch.utils.data"] + [
    f"atlas_pipeline.images.{name}" for name in ("reading", "row_reader", "tar_shards", "orphans")
]


class Reader(Protocol):
    """See `ChunkReader`, the one there is."""

    def read(self, chunk: Sequence[ImageRef], images: np.ndarray) -> Decoded:
        """Decode a chunk into the first of ``images``."""


def decoded_chunks(
    reader: Reader, work: Sequence[list[ImageRef]], num_processes: int, side: int
) -> Iterator[Decoded]:
    """Decode chunks. The images of a chunk are valid until the next chunk is asked for.

    Args:
        reader: picklable until it is first used.
        num_processes: 0 decodes in this process.
        side: of the images, in pixels.
    Raises: ResourceError: a process died.
    """
    num_processes = min(num_processes, len(work))
    shape = (max(map(len, work), default=0), 3, side, side)
    if num_processes:
        yield from _by_processes(reader, work, num_processes, shape)
        return
    images = np.empty(shape, np.uint8)
    for chunk in work:
        yield reader.read(chunk, images)


def _by_processes(
    reader: Reader, work: Sequence[list[ImageRef]], num_processes: int, shape: tuple[int, ...]
) -> Iterator[Decoded]:
    import torch
    from torch.utils.data import DataLoader

    # The loader hands a chunk out and then has CHUNKS_AHEAD chunks a process under way. One slot more than
    # that keeps the slot of the chunk that was handed out.
    num_slots = CHUNKS_AHEAD * num_processes + 1
    slots = shared_slots(num_slots, shape)
    numbered = [(number % num_slots, chunk) for number, chunk in enumerate(work)]
    loader: Iterable[Decoded] = DataLoader(
        _Decoder(reader, slots, shape),  # type: ignore[arg-type]  # the loader needs only __getitem__
        sampler=numbered,
        batch_size=None,
        num_workers=num_processes,
        prefetch_factor=CHUNKS_AHEAD,
        multiprocessing_context=_context(),
        worker_init_fn=_end_with_parent,
        generator=torch.Generator(),  # otherwise the loader draws from torch's global generator
    )
    try:
        for (slot, _), chunk in zip(numbered, loader, strict=True):
            num_images = len(chunk.image_id)
            yield chunk if slots is None else replace(chunk, images=slots.array(slot)[:num_images])
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):
            raise
        raise ResourceError(
            "an image worker process died (killed, or out of memory); finished work is kept: run again, with "
            f"fewer than {num_processes} workers if it happens again"
        ) from error


class _Decoder:
    """Decodes the chunks that a loader asks for, as (slot, chunk); without slots it returns the images."""

    def __init__(self, reader: Reader, slots: SharedSlots | None, shape: tuple[int, ...]):
        self._reader, self._slots, self._shape = reader, slots, shape

    def __getitem__(self, item: tuple[int, list[ImageRef]]) -> Decoded:
        slot, chunk = item
        if self._slots is None:
            return self._reader.read(chunk, np.empty((len(chunk), *self._shape[1:]), np.uint8))
        chunk_read = self._reader.read(chunk, self._slots.array(slot))
        return replace(chunk_read, images=chunk_read.images[:0])


def prepare_workers() -> None:
    """Start the fork server in the background, while this process does other work."""
    _context()


def _context() -> Any:
    """The start method of worker processes: a fork server.

    fork hangs if a thread of this process holds a lock (OpenMP, Arrow). spawn imports torch anew in every
    worker, 8 s on two busy cores. A fork server imports it once per process (5 s there), and workers then
    start in 0.03 s.

    Ctrl-C is blocked in the server and in workers, which would otherwise print a traceback each.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    before = block_interrupts()
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _end_with_parent(worker: int) -> None:
    """End this worker when the process that wants the images is killed.

    The loader's own watchdog watches the fork server, which lives as long as its workers do.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker process has a parent"
    sentinel = parent.sentinel

    def watch() -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()

"""Batches of images in the order of a listing, decoded by worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import connection, forkserver
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.errors import ResourceError
from atlas_pipeline.images.image_source import ImageRef
from atlas_pipeline.images.reading import BadImage, ChunkReader, Decoded, chunks, image_refs
from atlas_pipeline.images.resize_crop import Geometry
from atlas_pipeline.interrupts import block_interrupts

if TYPE_CHECKING:
    import torch

CHUNKS_AHEAD = 2  # per worker
# Modules loaded once for all workers. A worker loads other readers itself.
PRELOADED = ["torch.utils.data"] + [
    f"atlas_pipeline.images.{name}" for name in ("reading", "row_reader", "tar_shards", "orphans")
]


@dataclass(frozen=True, slots=True)
class Batch:
    """The images of one forward pass.

    image_id: (image,) int64. images: (image, 3, height, width) uint8. bad: images left out.
    """

    image_id: np.ndarray
    images: torch.Tensor
    bad: list[BadImage]


def image_batches(
    index: pa.Table,
    source: str,
    path: str | None,
    preprocess: Geometry,
    seed: int,
    batch_size: int,
    num_workers: int,
    pin: bool = False,
    root: str | None = None,
) -> Iterator[Batch]:
    """Read images in the order of ``index``.

    Every batch but the last holds ``batch_size`` images. Unreadable images are left out and listed in the
    batch that was being filled. Neither ``batch_size`` nor ``num_workers`` changes an image.

    Args:
        index: rows of a listing, any subset in the listing's order.
        source, path: as given to ``list_images``.
        preprocess: resize, crop and interpolation.
        seed: for generated images.
        num_workers: decoding processes; 0 decodes in this process. A daemonic process may not have children
            and decodes itself.
        pin: put batches into page-locked memory, from which a GPU copies while it computes.
        root: the folder of the images that Parquet shards refer to by path; None: the shards' own.
    Raises: ResourceError: a worker process died.
    """
    reader = ChunkReader(source, path, preprocess, seed, root)
    work = chunks(image_refs(index), source, path, preprocess.crop)
    if multiprocessing.current_process().daemon:
        num_workers = 0
    for batch in _rebatched(_decoded(reader, work, min(num_workers, len(work))), batch_size):
        yield replace(batch, images=batch.images.pin_memory()) if pin else batch


def _decoded(reader: Any, work: Sequence[list[ImageRef]], num_workers: int) -> Iterator[Decoded]:
    import torch
    from torch.utils.data import DataLoader

    # A Decoded goes through the worker's pipe. Tensors would need /dev/shm, which is small in containers, and
    # are no faster (0.24 ms of this process for an image of 224 px either way).
    loader: Iterable[Decoded] = DataLoader(
        reader,
        sampler=work,
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=CHUNKS_AHEAD if num_workers else None,
        multiprocessing_context=_context() if num_workers else None,
        worker_init_fn=_end_with_parent if num_workers else None,
        generator=torch.Generator(),  # otherwise the loader draws from torch's global generator
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):
            raise
        raise ResourceError(
            "an image worker process died (killed, or out of memory); finished work is kept: run again, with "
            f"fewer than {num_workers} workers if it happens again"
        ) from error


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


def _rebatched(decoded: Iterable[Decoded], batch_size: int) -> Iterator[Batch]:
    """Regroup chunks into batches."""
    held: list[Decoded] = []
    for chunk in decoded:
        held.append(chunk)
        while sum(len(part.image_id) for part in held) >= batch_size:
            batch, rest = _split_batch(held, batch_size)
            held = [rest]
            yield batch
    if any(len(part.image_id) or part.bad for part in held):
        yield _split_batch(held, batch_size)[0]


def _split_batch(held: Sequence[Decoded], batch_size: int) -> tuple[Batch, Decoded]:
    """The first ``batch_size`` images of ``held`` with all its bad images, and the rest."""
    import torch

    image_id, images = held[0].image_id, held[0].images
    if len(held) > 1:
        image_id = np.concatenate([part.image_id for part in held])
        images = np.concatenate([part.images for part in held])
    bad = [one for part in held for one in part.bad]
    rest = Decoded(image_id[batch_size:], images[batch_size:], [])
    return Batch(image_id[:batch_size], torch.from_numpy(images[:batch_size]), bad), rest

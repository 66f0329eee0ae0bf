"""Batches of images in the order of a listing, decoded by other processes while the caller computes."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from atlas_pipeline.images.decoding_processes import decoded_chunks
from atlas_pipeline.images.read_ahead import ReadAhead
from atlas_pipeline.images.reading import BadImage, ChunkReader, Decoded, chunks, image_refs
from atlas_pipeline.images.resize_crop import Geometry

if TYPE_CHECKING:
    import torch


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
    device: str = "cpu",
    root: str | None = None,
) -> Generator[Batch]:
    """Read images in the order of ``index``.

    Every batch but the last holds ``batch_size`` images. Unreadable images are left out and listed in the
    batch that was being filled. Neither ``batch_size`` nor ``num_workers`` changes an image.

    The next batch is made while the caller works on the last one, and sent to the GPU if they go to one.
    Close the generator to leave early (``contextlib.closing``): it ends the processes and the thread.

    Args:
        index: rows of a listing, any subset in the listing's order.
        source, path: as given to ``list_images``.
        preprocess: resize, crop and interpolation.
        seed: for generated images.
        num_workers: decoding processes; 0 decodes in this process. A daemonic process may not have children
            and decodes itself.
        device: a GPU gets the images, a batch ahead; a batch that does not fit stays in this process, as do
            all images if the device is no GPU.
        root: the folder of the images that Parquet shards refer to by path; None: the shards' own.
    Raises: ResourceError: a worker process died.
    """
    if multiprocessing.current_process().daemon:
        num_workers = 0
    refs, side, on_gpu = image_refs(index), preprocess.crop, device.startswith("cuda")
    reader = ChunkReader(source, path, preprocess, seed, root)
    left = threading.Event()
    decoded = decoded_chunks(reader, chunks(refs, source, path, side), num_workers, side)
    read = takewhile(lambda _: not left.is_set(), decoded)
    batches = _batches(read, (min(batch_size, len(refs)), 3, side, side), pin=on_gpu)
    if on_gpu:
        with ReadAhead(_sent(batches, device), left) as ahead:
            yield from _arrived(ahead, device)
    elif num_workers:
        with ReadAhead(batches, left) as ahead:
            yield from ahead
    else:
        # A thread that decodes would take the cores from the caller.
        yield from batches


def _batches(decoded: Iterable[Decoded], shape: tuple[int, ...], pin: bool) -> Generator[Batch]:
    """Copy the images of chunks into batches.

    Args: shape: of the images of a full batch. pin: use page-locked memory, which a GPU reads by itself.
    """
    ids: list[np.ndarray] = []
    bad: list[BadImage] = []
    images, num_filled = _memory(shape, pin), 0
    for chunk in decoded:
        bad += chunk.bad
        num_taken = 0
        while num_taken < len(chunk.image_id):
            part = slice(num_taken, num_taken + len(images) - num_filled)
            ids.append(chunk.image_id[part])
            end = num_filled + len(ids[-1])
            images.numpy()[num_filled:end] = chunk.images[part]
            num_taken, num_filled = num_taken + end - num_filled, end
            if num_filled == len(images):
                yield Batch(np.concatenate(ids), images, bad)
                ids, bad, images, num_filled = [], [], _memory(shape, pin), 0
    if num_filled or bad:
        yield Batch(np.concatenate([*ids, np.empty(0, np.int64)]), images[:num_filled], bad)


def _memory(shape: tuple[int, ...], pin: bool) -> torch.Tensor:
    """Memory for the images of a batch; torch gives page-locked memory again once the GPU has read it."""
    import torch

    if pin:
        # Memory that cannot be locked is copied too, only not while the caller computes.
        with suppress(RuntimeError):
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
    return torch.empty(shape, dtype=torch.uint8)


def _sent(batches: Generator[Batch], device: str) -> Generator[tuple[Batch, torch.cuda.Event | None]]:
    """Start the copy of each batch to the GPU; the event occurs when it is there. None: it did not fit."""
    import torch

    stream = torch.cuda.Stream(device)
    for batch in batches:
        images, copied = batch.images, None
        with suppress(torch.cuda.OutOfMemoryError), torch.cuda.stream(stream):
            images = images.to(device, non_blocking=True)
            copied = stream.record_event()
        yield replace(batch, images=images), copied


def _arrived(sent: Iterable[tuple[Batch, torch.cuda.Event | None]], device: str) -> Iterator[Batch]:
    """The batches, for use on the current stream: the stream waits for the copies, the host does not."""
    import torch

    for batch, copied in sent:
        if copied is not None:
            stream = torch.cuda.current_stream(device)
            stream.wait_event(copied)
            # Otherwise the memory could hold a later batch while this stream still reads it.
            batch.images.record_stream(stream)
        yield batch

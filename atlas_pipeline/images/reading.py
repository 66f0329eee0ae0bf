"""Chunks of a listing, read, decoded and brought to the network's size: what a worker process does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.decode import BadImageError, decode
from atlas_pipeline.images.folder import SHARDS
from atlas_pipeline.images.parquet import shard_row_groups
from atlas_pipeline.images.preprocess import Geometry, apply_preprocess
from atlas_pipeline.images.row_reader import RowReader
from atlas_pipeline.images.shards import shard_root
from atlas_pipeline.images.tar_shards import TarReader

MAX_CHUNK_BYTES = 16 << 20
MAX_CHUNK_ROWS = {"folder": 64, "generated": 64, "parquet": 128, "tar": 128}


@dataclass(frozen=True, slots=True)
class BadImage:
    """An image left out, and why."""

    image_id: int
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where one image is: a row of the listing."""

    image_id: int
    key: str
    file: str
    row: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """Images of a chunk: (image,) int64 and (image, 3, crop, crop) uint8, the bad ones left out."""

    image_id: np.ndarray
    images: np.ndarray
    bad: list[BadImage]


def image_refs(rows: pa.Table) -> list[ImageRef]:
    """Rows of a listing as values."""
    columns = (rows[name].to_pylist() for name in ("image_id", "key", "file", "row"))
    return [ImageRef(*values) for values in zip(*columns, strict=True)]


def chunks(where: Sequence[ImageRef], source: str, path: str | None, crop: int) -> list[list[ImageRef]]:
    """Cut a listing into what one worker does at a time.

    A chunk ends with a row group or a tar shard, so that workers seldom read the same one.
    """
    size = max(1, min(MAX_CHUNK_ROWS[source], MAX_CHUNK_BYTES // (3 * crop * crop)))
    runs: Iterable[Sequence[ImageRef]] = [where]
    if source == "parquet" and path:
        runs = _row_group_runs(where, path)
    elif source == "tar":
        runs = (list(run) for _, run in groupby(where, key=lambda place: place.file))
    return [list(run[i : i + size]) for run in runs for i in range(0, len(run), size)]


def _row_group_runs(where: Sequence[ImageRef], path: str) -> Iterator[Sequence[ImageRef]]:
    root = shard_root(path)
    first, file, starts = 0, None, np.zeros(1, np.int64)
    groups: list[tuple[str, int]] = []
    for place in where:
        if place.file != file:
            file, starts = place.file, _group_starts(root, place.file)
        groups.append((place.file, int(np.searchsorted(starts, place.row, side="right"))))
    for i in range(1, len(where) + 1):
        if i == len(where) or groups[i] != groups[first]:
            yield where[first:i]
            first = i


def _group_starts(root: Path, file: str) -> np.ndarray:
    try:
        return np.array([group.start for group in shard_row_groups(root, file)])
    except ImagesError:
        return np.zeros(1, np.int64)  # gone or broken since it was listed: its rows will be counted as bad


class ChunkReader:
    """Chunk -> images; an item a chunk, as torch's DataLoader wants it. Picklable until first used.

    Args:
        source, path: as in ``listing.list_images``.
        preprocess: the size wanted.
        seed: of generated images.
        files: the folder of the images that Parquet shards hold the paths of; None: the shards' own.
    """

    def __init__(
        self, source: str, path: str | None, preprocess: Geometry, seed: int, files: str | None = None
    ):
        self._source, self._preprocess, self._seed = source, preprocess, seed
        # Absolute: a worker process starts in another working directory.
        root = shard_root(path) if path and source in SHARDS else Path(path or "")
        self._root = root.expanduser().absolute()
        self._files = Path(files).expanduser().absolute() if files else None
        self._shards: RowReader | TarReader | None = None

    def __getitem__(self, chunk: Sequence[ImageRef]) -> Decoded:
        side = self._preprocess.crop
        images = np.empty((len(chunk), 3, side, side), np.uint8)
        good: list[int] = []
        bad: list[BadImage] = []
        for place in chunk:
            try:
                images[len(good)] = self._image(place)
                good.append(place.image_id)
            except BadImageError as error:
                bad.append(BadImage(place.image_id, place.key, str(error)))
        return Decoded(np.array(good, np.int64), images[: len(good)], bad)

    def _image(self, place: ImageRef) -> np.ndarray:
        """(3, crop, crop) uint8. Raises: BadImageError."""
        if self._source == "generated":
            from atlas_pipeline.images.generated import image

            return apply_preprocess(image(self._seed, place.row)[0], self._preprocess)
        return apply_preprocess(decode(self._raw(place), self._preprocess.resize), self._preprocess)

    def _open(self) -> RowReader | TarReader:
        return TarReader(self._root) if self._source == "tar" else RowReader(self._root, self._files)

    def _raw(self, place: ImageRef) -> bytes:
        try:
            if self._source in SHARDS:
                self._shards = self._shards or self._open()
                return self._shards.read(place.file, place.row)
            return (self._root / place.file).read_bytes()
        except FileNotFoundError:
            raise BadImageError("missing") from None
        except OSError as error:
            raise BadImageError(f"cannot be read: {error.strerror or error}") from error
        except ImagesError as error:
            raise BadImageError(str(error)) from error

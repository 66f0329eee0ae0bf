"""The work of a decoding process: chunks of a listing, read, decoded and resized for the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.decode import BadImageError, decode
from atlas_pipeline.images.image_source import ImageRef, ImagesLocation
from atlas_pipeline.images.resize_crop import Geometry, apply_preprocess
from atlas_pipeline.images.sources import source_of

MAX_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class BadImage:
    """An image left out, and the reason."""

    image_id: int
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """The images of a chunk: (image,) int64 and (image, 3, crop, crop) uint8, without the bad ones."""

    image_id: np.ndarray
    images: np.ndarray
    bad: list[BadImage]


def image_refs(rows: pa.Table) -> list[ImageRef]:
    """Rows of a listing as values."""
    columns = (rows[name].to_pylist() for name in ("image_id", "key", "file", "row"))
    return [ImageRef(*values) for values in zip(*columns, strict=True)]


def chunks(where: Sequence[ImageRef], source: str, path: str | None, crop: int) -> list[list[ImageRef]]:
    """Cut a listing into chunks, the unit of work of a worker.

    A chunk ends at the end of a row group or tar shard, so that workers rarely read the same one.
    """
    known = source_of(source)
    size = max(1, min(known.max_chunk_images, MAX_CHUNK_BYTES // (3 * crop * crop)))
    runs = known.runs(where, ImagesLocation(path or ""))
    return [list(run[i : i + size]) for run in runs for i in range(0, len(run), size)]


class ChunkReader:
    """Reads the images of chunks. It can be pickled until it is first used.

    Args:
        source, path: as in ``listing.list_images``.
        preprocess: the geometry of the images.
        seed: for generated images.
        files: the folder of the images that Parquet shards refer to by path; None: the shards' own.
    """

    def __init__(
        self, source: str, path: str | None, preprocess: Geometry, seed: int, files: str | None = None
    ):
        self._preprocess = preprocess
        # Absolute, since a worker process starts in another working directory.
        place = ImagesLocation(_absolute(path) if path else "", _absolute(files) if files else None)
        self._reader = source_of(source).reader(place, seed)

    def read(self, chunk: Sequence[ImageRef], images: np.ndarray) -> Decoded:
        """Read a chunk into the first rows of ``images``, (at least len(chunk), 3, crop, crop) uint8."""
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
        """(3, crop, crop) uint8.

        Raises: BadImageError: the image cannot be read.
        """
        try:
            found = self._reader.read(place.file, place.row)
        except FileNotFoundError:
            raise BadImageError("missing") from None
        except OSError as error:
            raise BadImageError(f"cannot be read: {error.strerror or error}") from error
        except ImagesError as error:
            raise BadImageError(str(error)) from error
        pixels = decode(found, self._preprocess.resize) if isinstance(found, bytes) else found
        return apply_preprocess(pixels, self._preprocess)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())

"""A source of images as a value: how a config gives its place, how it is listed and read.

No NumPy or pyarrow at import, since the registry ``images.sources`` is read wherever a config is. A source's
functions import their dependencies when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from atlas_pipeline.images.index_table import Listing


@dataclass(frozen=True, slots=True)
class ImagesLocation:
    """The place of the images, as given in the config.

    path: "" if the source takes none. root: the folder of the images that Parquet shards refer to by path;
    None: the shards' own. label_column: for Parquet shards; None: see ``shards.find_columns``.
    """

    path: str
    root: str | None = None
    label_column: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRef:
    """The place of one image: a row of the listing."""

    image_id: int
    key: str
    file: str
    row: int


class Reader(Protocol):
    """Reads images of a listing one at a time; picklable until the first read."""

    def read(self, file: str, row: int) -> bytes | np.ndarray:
        """The image at a place of the listing: an image file's bytes, or (height, width, 3) uint8 RGB.

        Raises: FileNotFoundError: the file is gone. OSError, ImagesError: it cannot be read.
        """


def _no_names(place: ImagesLocation) -> list[str] | None:
    return None


def _one_run(images: Sequence[ImageRef], place: ImagesLocation) -> Iterable[Sequence[ImageRef]]:
    return [images]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """A source of images, which is one value of ``images.source``.

    Functions raise ImagesError if there is nothing at the place, or nothing readable.

    name: the source's name in a config. title: its images, as named in a sentence.
    listing: from place, number of images (None: all) and seed to the images in the fixed order; see
        ``listing.listing``.
    stamp: text that changes when the listing may change, from the files' names, sizes and mtimes.
    reader: from place, with absolute paths, and seed to a reader of single images.
    class_names: class names by label; None if labels have no names or there are none.
    runs: cuts a listing into runs, so that two workers do not read the same piece of a file.
    max_chunk_images: largest number of images in a worker's chunk.
    takes_path: whether the config gives ``images.path``.
    keys: keys of the config section ``images`` that only the sources listing them take.
    num_images: number of images if the config does not give it; None: all.
    extensions: extensions of this source's files in a folder, without a dot.
    in_shards: whether such a file holds many images, so that ``images.path`` may be one file or a glob.
    """

    name: str
    title: str
    listing: Callable[[ImagesLocation, int | None, int], Listing]
    stamp: Callable[[ImagesLocation], str]
    reader: Callable[[ImagesLocation, int], Reader]
    class_names: Callable[[ImagesLocation], list[str] | None] = _no_names
    runs: Callable[[Sequence[ImageRef], ImagesLocation], Iterable[Sequence[ImageRef]]] = _one_run
    max_chunk_images: int = 64
    takes_path: bool = True
    keys: tuple[str, ...] = ()
    num_images: int | None = None
    extensions: frozenset[str] = frozenset()
    in_shards: bool = False

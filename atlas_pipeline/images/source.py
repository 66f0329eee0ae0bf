"""One source of images as a value: how a config names its place, how it is listed and read.

No NumPy or pyarrow at import: the registry, ``images.sources``, is read wherever a config is. A source's
functions import what they need when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from atlas_pipeline.images.index_table import Listing


@dataclass(frozen=True, slots=True)
class Place:
    """Where images are, as the config says it.

    path: "" where the source takes none. root: the folder of the images that Parquet shards hold the paths
    of; None: the shards' own. label_column: of Parquet shards; None: see ``shards.find_columns``.
    """

    path: str
    root: str | None = None
    label_column: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where one image is: a row of the listing."""

    image_id: int
    key: str
    file: str
    row: int


class Reader(Protocol):
    """Images of a listing, one at a time; picklable until the first is read."""

    def read(self, file: str, row: int) -> bytes | np.ndarray:
        """The image at a place of the listing: an image file's bytes, or (height, width, 3) uint8 RGB.

        Raises: FileNotFoundError: its file is gone. OSError, ImagesError: it cannot be read.
        """


def _no_names(place: Place) -> list[str] | None:
    return None


def _one_run(images: Sequence[ImageRef], place: Place) -> Iterable[Sequence[ImageRef]]:
    return [images]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """Where images come from: one value of ``images.source``.

    Functions raise ImagesError where nothing is at the place, or nothing that can be read.

    name: as the config names the source. title: as a sentence names its images.
    listing: place, number of images wanted (None: all) and seed -> the images in the fixed order; see
        ``listing.listing``.
    stamp: text that changes when the listing may, from the files' names, sizes and mtimes.
    reader: place, with absolute paths, and seed -> what reads single images.
    class_names: names of the classes, by label; None where labels have no names or there are none.
    runs: cuts the images of a listing where two worker processes would else read the same piece of a file.
    most_images: that a worker process reads at a time.
    takes_path: the config gives ``images.path``.
    keys: of the config's section ``images``, those that only the sources which list them take.
    num_images: listed where the config does not say how many; None: all there are.
    extensions: of the files in a folder that are this source's, without a dot.
    in_shards: such a file holds many images, and ``images.path`` may be one of them or a glob.
    """

    name: str
    title: str
    listing: Callable[[Place, int | None, int], Listing]
    stamp: Callable[[Place], str]
    reader: Callable[[Place, int], Reader]
    class_names: Callable[[Place], list[str] | None] = _no_names
    runs: Callable[[Sequence[ImageRef], Place], Iterable[Sequence[ImageRef]]] = _one_run
    most_images: int = 64
    takes_path: bool = True
    keys: tuple[str, ...] = ()
    num_images: int | None = None
    extensions: frozenset[str] = frozenset()
    in_shards: bool = False

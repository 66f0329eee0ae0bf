"""The images of a run: listed once, in a fixed order, each identified by its content."""

from __future__ import annotations

import pyarrow as pa

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.image_source import ImagesLocation
from atlas_pipeline.images.index_table import Listing
from atlas_pipeline.images.sources import source_of


def list_images(
    source: str, path: str | None, num_images: int | None, seed: int, label_column: str | None = None
) -> pa.Table:
    """The images of ``listing``."""
    return listing(source, path, num_images, seed, label_column).images


def listing(
    source: str,
    path: str | None,
    num_images: int | None,
    seed: int,
    label_column: str | None = None,
    root: str | None = None,
) -> Listing:
    """List images in the fixed order; with ``num_images``, a uniform random subset drawn with ``seed``.

    The order is by the key's path components for a folder, by file and row for shards, and by index for
    generated images. A subset keeps that order and gets new numbers; a larger subset with the same seed
    contains the smaller one. If there are fewer images than ``num_images``, all are listed.

    Args:
        source: one of ``images.sources``.
        path: a folder, or for shards also a single shard or a glob; None if the source takes none.
        num_images: None means all; required for generated images, which have no end.
        label_column: for Parquet shards, see ``shards.find_columns``.
        root: the folder of the images that Parquet shards refer to by path; None: the shards' own.
    Raises: ImagesError: nothing there, no image, an unreadable file, a label out of range, a repeated key.
    """
    return source_of(source).listing(_place(source, path, root, label_column), num_images, seed)


def class_names(source: str, path: str | None, label_column: str | None = None) -> list[str] | None:
    """Class names by label; None if labels have no names or there are none."""
    return source_of(source).class_names(_place(source, path, None, label_column))


def listing_stamp(source: str, path: str | None, root: str | None = None) -> str:
    """A cheap digest of the files' names, sizes and mtimes, which changes with any of them.

    The folder's own location does not matter. No file is opened, except the footers of Parquet shards: if
    these hold paths instead of images, the files at these paths count too.

    Raises: ImagesError: nothing there, or no image.
    """
    return source_of(source).stamp(_place(source, path, root))


def _place(
    source: str, path: str | None, root: str | None = None, label_column: str | None = None
) -> ImagesLocation:
    if source_of(source).takes_path and not path:
        raise ImagesError("images.path is missing: a folder, or a glob of shards")
    return ImagesLocation(path or "", root, label_column)

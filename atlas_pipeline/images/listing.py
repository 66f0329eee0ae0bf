"""The images of a run: listed once, in a fixed order, each known by its content."""

from __future__ import annotations

import pyarrow as pa

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.index_table import Listing
from atlas_pipeline.images.source import Place
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
    """List images in the fixed order; with ``num_images`` a uniform random subset, drawn with ``seed``.

    The order is by the key's path components for a folder, by file and row for shards, by index for generated
    images. A subset keeps that order and is numbered anew; a larger one of the same seed holds the
    smaller one. Fewer images than ``num_images``: all of them.

    Args:
        source: one of ``images.sources``.
        path: a folder; for shards also a single one or a glob; None where the source takes none.
        num_images: None means all; generated images have no end and need it.
        label_column: of Parquet shards, see ``shards.find_columns``.
        root: the folder of images that Parquet shards hold the paths of; None: the shards' own.
    Raises: ImagesError: nothing there, no image, a file that cannot be read, a label out of range, a key that
        is there twice.
    """
    return source_of(source).listing(_place(source, path, root, label_column), num_images, seed)


def class_names(source: str, path: str | None, label_column: str | None = None) -> list[str] | None:
    """Names of the classes, by label; None where labels have no names or there are none."""
    return source_of(source).class_names(_place(source, path, None, label_column))


def listing_stamp(source: str, path: str | None, root: str | None = None) -> str:
    """A cheap digest of the files' names, sizes and mtimes; changes when any is changed, added or removed.

    Where the folder lies does not matter. Files are not opened, but for the footers of Parquet shards: where
    those hold paths in place of images, the files that they name count too.

    Raises: ImagesError: nothing there, or no image.
    """
    return source_of(source).stamp(_place(source, path, root))


def _place(source: str, path: str | None, root: str | None = None, label_column: str | None = None) -> Place:
    if source_of(source).takes_path and not path:
        raise ImagesError("images.path is missing: a folder, or a glob of shards")
    return Place(path or "", root, label_column)

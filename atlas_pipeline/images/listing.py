"""The images of a run: listed once, in a fixed order, each known by its content.

Columns (schema.index_schema): image_id (position in the order), key, label (-1: none), file (relative to the
root of the listing), row (-1: the file is the image), digest (blake2b-128 of the image's bytes, hex; of
version, seed and index for a generated one).
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images import folder, parquet
from atlas_pipeline.images.shards import find_shards
from atlas_pipeline.numerics.subset import random_subset
from atlas_pipeline.schema import index_schema

SUBSET_STREAM = 0x5B5E7  # keeps the draw of the subset apart from other draws with the run's seed


def list_images(source: str, path: str | None, num_images: int | None, seed: int) -> pa.Table:
    """List images in the fixed order; with ``num_images`` a uniform random subset, drawn with ``seed``.

    The order is by the key's path components for a folder, by file and row for Parquet, by index for
    generated images. A subset keeps that order and is numbered anew; a larger one of the same seed holds the
    smaller one. Fewer images than ``num_images``: all of them.

    Args:
        source: generated, folder or parquet.
        path: a folder; for Parquet also a shard or a glob of shards; None for generated images.
        num_images: None means all; generated images have no end and need it.
    Returns: a table of ``schema.index_schema()``.
    Raises: ImagesError: nothing there, no image, or a file that cannot be read.
    """
    if source == "generated":
        return _generated(num_images, seed)
    if source == "folder":
        return _in_folder(_path(path), num_images, seed)
    if source == "parquet":
        return _in_shards(_path(path), num_images, seed)
    raise _no_source(source)


def class_names(source: str, path: str | None) -> list[str] | None:
    """Names of the classes, by label; None where labels have no names or there are none."""
    if source == "generated":
        from atlas_pipeline.images.generated import CLASS_NAMES

        return list(CLASS_NAMES)
    if source == "folder":
        return folder.sub_folders(_path(path)) or None
    if source == "parquet":
        return parquet.class_names(_path(path))
    raise _no_source(source)


def listing_stamp(source: str, path: str | None) -> str:
    """A cheap digest of the files' names, sizes and mtimes; changes when any is changed, added or removed.

    Where the folder lies does not matter. No file is opened.

    Raises: ImagesError: nothing there, or no image.
    """
    if source == "generated":
        from atlas_pipeline.images.generated import VERSION

        return f"generated-{VERSION}"
    if source == "folder":
        lines = folder.stamp_lines(_path(path))
    elif source == "parquet":
        root, files = find_shards(_path(path))
        status = [(root / file).stat() for file in files]
        lines = [f"{f}\0{s.st_size}\0{s.st_mtime_ns}" for f, s in zip(files, status, strict=True)]
    else:
        raise _no_source(source)
    return _digest("\n".join([source, *lines]))


def subset(num_available: int, num_images: int | None, seed: int) -> np.ndarray:
    """Positions of the images drawn with ``seed``, sorted, int64; see ``random_subset``."""
    return random_subset(num_available, num_images, seed, SUBSET_STREAM)


def _generated(num_images: int | None, seed: int) -> pa.Table:
    from atlas_pipeline.images.generated import VERSION, label

    if num_images is None:
        raise ImagesError("generated images have no end; set images.num_images")
    index = range(num_images)
    return _table(
        key=[str(i) for i in index],
        label=[label(seed, i) for i in index],
        file=[""] * num_images,
        row=list(index),
        digest=[_digest(f"{VERSION}:{seed}:{i}") for i in index],
    )


def _in_folder(path: str, num_images: int | None, seed: int) -> pa.Table:
    keys = folder.image_keys(path)
    keys = [keys[i] for i in subset(len(keys), num_images, seed)]
    return _table(
        key=keys,
        label=folder.labels(path, keys),
        file=keys,
        row=[-1] * len(keys),
        digest=folder.digests(path, keys),
    )


def _in_shards(path: str, num_images: int | None, seed: int) -> pa.Table:
    groups = parquet.row_groups(path)
    num_rows = sum(group.num_rows for group in groups)
    if not num_rows:
        raise ImagesError(f"the shards at images.path '{path}' have no rows; correct images.path")
    rows = parquet.identify(path, groups, subset(num_rows, num_images, seed))
    return _table(key=rows.key, label=rows.label, file=rows.file, row=rows.row, digest=rows.digest)


def _table(key: list[str], label: list[int], file: list[str], row: list[int], digest: list[str]) -> pa.Table:
    columns = [list(range(len(key))), key, label, file, row, digest]
    return pa.table(columns, schema=index_schema())


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=folder.DIGEST_BYTES).hexdigest()


def _path(path: str | None) -> str:
    if not path:
        raise ImagesError("images.path is missing: a folder, or a glob of shards")
    return path


def _no_source(source: str) -> ImagesError:
    return ImagesError(f"images.source '{source}' is not one of generated, folder, parquet")

"""The images of a run: listed once, in a fixed order, each known by its content.

Columns (schema.index_schema): image_id (position in the order), key, label (-1: none), file (relative to the
root of the listing), row (-1: the file is the image; in a tar shard: the byte where its header starts),
digest (blake2b-128, hex: of a sample of the image's bytes, see ``digest``; for Parquet of its row group's and
its place there; of version, seed and index for a generated one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images import folder, parquet, tar_shards
from atlas_pipeline.images.digest import text_digest
from atlas_pipeline.images.shards import find_shards
from atlas_pipeline.numerics.subset import random_subset
from atlas_pipeline.schema import index_schema

MAX_CLASSES = 2**31  # a label is an int32
SUBSET_STREAM = 0x5B5E7  # keeps the draw of the subset apart from other draws with the run's seed


def list_images(source: str, path: str | None, num_images: int | None, seed: int) -> pa.Table:
    """List images in the fixed order; with ``num_images`` a uniform random subset, drawn with ``seed``.

    The order is by the key's path components for a folder, by file and row for shards, by index for generated
    images. A subset keeps that order and is numbered anew; a larger one of the same seed holds the
    smaller one. Fewer images than ``num_images``: all of them.

    Args:
        source: generated, folder, parquet or tar.
        path: a folder; for shards also a single one or a glob; None for generated images.
        num_images: None means all; generated images have no end and need it.
    Returns: a table of ``schema.index_schema()``.
    Raises: ImagesError: nothing there, no image, a file that cannot be read, a label out of range, a key that
        is there twice.
    """
    if source == "generated":
        return _generated(num_images, seed)
    if source == "folder":
        return _in_folder(_path(path), num_images, seed)
    if source == "parquet":
        return _in_parquet(_path(path), num_images, seed)
    if source == "tar":
        return _in_tar(_path(path), num_images, seed)
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
    if source == "tar":
        return None
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
    elif source in folder.SHARDS:
        root, files = find_shards(_path(path), source)
        status = [(root / file).stat() for file in files]
        lines = [f"{f}\0{s.st_size}\0{s.st_mtime_ns}" for f, s in zip(files, status, strict=True)]
    else:
        raise _no_source(source)
    return text_digest("\n".join([source, *lines]))


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
        digest=[text_digest(f"{VERSION}:{seed}:{i}") for i in index],
    )


def _in_folder(path: str, num_images: int | None, seed: int) -> pa.Table:
    keys = folder.image_keys(path)
    keys = [keys[i] for i in subset(len(keys), num_images, seed)]
    return _table(
        key=keys,
        label=folder.labels(path, keys),
        file=keys,
        row=np.full(len(keys), -1),
        digest=folder.digests(path, keys),
    )


def _in_parquet(path: str, num_images: int | None, seed: int) -> pa.Table:
    groups = parquet.row_groups(path)
    rows = parquet.rows(path, groups)
    if not rows.num_rows:
        raise ImagesError(f"the shards at images.path '{path}' have no rows; correct images.path")
    _check_labels(rows, parquet.class_names(path))
    chosen = subset(rows.num_rows, num_images, seed)
    return _of_rows(rows.take(pa.array(chosen)), parquet.digests(path, groups, chosen))


def _in_tar(path: str, num_images: int | None, seed: int) -> pa.Table:
    rows = tar_shards.rows(path)
    if not rows.num_rows:
        raise ImagesError(
            f"no images in the shards at images.path '{path}'; wanted are members such as 0001.jpg with "
            f"0001.cls (looked for .{', .'.join(sorted(folder.EXTENSIONS))})"
        )
    _check_labels(rows, None)
    chosen = rows.take(pa.array(subset(rows.num_rows, num_images, seed)))
    return _of_rows(chosen, tar_shards.digests(path, chosen))


def _check_labels(rows: pa.Table, names: Sequence[str] | None) -> None:
    """Raises: ImagesError: a label that is neither -1 nor the number of a class."""
    labels, num_classes = rows["label"].to_numpy(), len(names) if names else MAX_CLASSES
    wrong = np.flatnonzero((labels < -1) | (labels >= num_classes))
    if len(wrong):
        key, file, row, label = (rows[name][wrong[0]].as_py() for name in ("key", "file", "row", "label"))
        raise ImagesError(
            f"label {label} of image '{key}' ('{file}', row {row}) is out of range: 0 to {num_classes - 1} "
            f"are classes, -1 is none; correct it"
        )


def _of_rows(rows: pa.Table, digest: Sequence[str]) -> pa.Table:
    return _table(rows["key"], rows["label"], rows["file"], rows["row"], digest)


def _table(key: Any, label: Any, file: Any, row: Any, digest: Sequence[str]) -> pa.Table:
    columns = [np.arange(len(digest)), key, label, file, row, digest]
    return pa.table(columns, schema=index_schema())


def _path(path: str | None) -> str:
    if not path:
        raise ImagesError("images.path is missing: a folder, or a glob of shards")
    return path


def _no_source(source: str) -> ImagesError:
    return ImagesError(f"images.source '{source}' is not one of generated, folder, parquet, tar")

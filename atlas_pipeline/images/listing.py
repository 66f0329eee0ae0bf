"""The images of a run: listed once, in a fixed order, each known by its content.

Columns (schema.index_schema): image_id (position in the order), key, label (-1: none), file (relative to the
root of the listing), row (-1: the file is the image; in a tar shard: the byte where its header starts),
digest (blake2b-128, hex: of a sample of the image's bytes, see ``digest``; for Parquet of its row group's and
its place there; of version, seed and index for a generated one).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images import folder, parquet, row_files, tar_shards
from atlas_pipeline.images.digest import text_digest
from atlas_pipeline.images.left_out import LeftOut, left_out_line
from atlas_pipeline.images.shards import beside_shards, find_shards
from atlas_pipeline.numerics.subset import random_subset

MAX_CLASSES = 2**31  # a label is an int32
SUBSET_STREAM = 0x5B5E7  # keeps the draw of the subset apart from other draws with the run's seed


@dataclass(frozen=True, slots=True)
class Listing:
    """The images, and what was found beside them.

    images: a table of ``schema.index_schema()``. num_found: images there are, of which ``images`` may be a
    subset. remark: what a reader must know of the labels; None: nothing.
    """

    images: pa.Table
    num_found: int
    left_out: LeftOut
    remark: str | None = None

    def notes(self) -> dict[str, Any]:
        """JSON-able counts: ``num_found`` images, ``companions``, ``left_out``, and the ``remark``.

        They add up to the files of a folder; for shards to their members or rows, the files beside them, and
        the shards that hold no image.
        """
        return {"num_found": self.num_found, **self.left_out.notes(), "remark": self.remark}


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
        source: generated, folder, parquet or tar.
        path: a folder; for shards also a single one or a glob; None for generated images.
        num_images: None means all; generated images have no end and need it.
        label_column: of Parquet shards, see ``shards.find_columns``.
        root: the folder of images that Parquet shards hold the paths of; None: the shards' own.
    Raises: ImagesError: nothing there, no image, a file that cannot be read, a label out of range, a key that
        is there twice.
    """
    if source == "generated":
        return _generated(num_images, seed)
    if source == "folder":
        return _in_folder(_path(path), num_images, seed)
    if source == "parquet":
        return _in_parquet(_path(path), num_images, seed, label_column, root)
    if source == "tar":
        return _in_tar(_path(path), num_images, seed)
    raise _no_source(source)


def class_names(source: str, path: str | None, label_column: str | None = None) -> list[str] | None:
    """Names of the classes, by label; None where labels have no names or there are none."""
    if source == "generated":
        from atlas_pipeline.images.generated import CLASS_NAMES

        return list(CLASS_NAMES)
    if source == "folder":
        return folder.sub_folders(_path(path)) or None
    if source == "parquet":
        return parquet.class_names(_path(path), label_column)
    if source == "tar":
        return None
    raise _no_source(source)


def listing_stamp(source: str, path: str | None, root: str | None = None) -> str:
    """A cheap digest of the files' names, sizes and mtimes; changes when any is changed, added or removed.

    Where the folder lies does not matter. Files are not opened, but for the footers of Parquet shards: where
    those hold paths in place of images, the files that they name count too.

    Raises: ImagesError: nothing there, or no image.
    """
    if source == "generated":
        from atlas_pipeline.images.generated import VERSION

        return f"generated-{VERSION}"
    if source == "folder":
        lines = folder.stamp_lines(_path(path))
    elif source in folder.SHARDS:
        folder_of_shards, files = find_shards(_path(path), source)
        status = [(folder_of_shards / file).stat() for file in files]
        lines = [f"{f}\0{s.st_size}\0{s.st_mtime_ns}" for f, s in zip(files, status, strict=True)]
        if beside := beside_shards(_path(path), source):
            lines.append(json.dumps(beside.notes()))
        if source == "parquet":
            lines += row_files.stamp_lines(row_files.row_files(_path(path), root))
    else:
        raise _no_source(source)
    return text_digest("\n".join([source, *lines]))


def subset(num_available: int, num_images: int | None, seed: int) -> np.ndarray:
    """Positions of the images drawn with ``seed``, sorted, int64; see ``random_subset``."""
    return random_subset(num_available, num_images, seed, SUBSET_STREAM)


def _generated(num_images: int | None, seed: int) -> Listing:
    from atlas_pipeline.images.generated import VERSION, label

    if num_images is None:
        raise ImagesError("generated images have no end; set images.num_images")
    index = range(num_images)
    images = _table(
        key=[str(i) for i in index],
        label=[label(seed, i) for i in index],
        file=[""] * num_images,
        row=list(index),
        digest=[text_digest(f"{VERSION}:{seed}:{i}") for i in index],
    )
    return Listing(images, num_images, LeftOut())


def _in_folder(path: str, num_images: int | None, seed: int) -> Listing:
    found, left_out = folder.image_keys(path)
    keys = [found[i] for i in subset(len(found), num_images, seed)]
    images = _table(
        key=keys,
        label=folder.labels(path, keys),
        file=keys,
        row=np.full(len(keys), -1),
        digest=folder.digests(path, keys),
    )
    return Listing(images, len(found), left_out)


def _in_parquet(
    path: str, num_images: int | None, seed: int, label_column: str | None, root: str | None
) -> Listing:
    groups = parquet.row_groups(path, label_column)
    rows = parquet.rows(path, groups, label_column)
    if not rows.num_rows:
        raise ImagesError(f"the shards at images.path '{path}' have no rows; correct images.path")
    of_files = row_files.row_files(path, root)
    row_files.check_found(path, rows.num_rows, of_files, root)
    _check_labels(rows, parquet.class_names(path, label_column))
    chosen = subset(rows.num_rows, num_images, seed)
    digests = parquet.digests(path, groups, chosen)
    rows = rows.take(pa.array(chosen))
    if found := {(row.file, row.row): str(row.found) for row in of_files if row.found}:
        places = zip(rows["file"].to_pylist(), rows["row"].to_pylist(), strict=True)
        digests = [
            folder.file_digest(found[place]) if place in found else digest
            for place, digest in zip(places, digests, strict=True)
        ]
    remark = None if label_column else parquet.remark_on_labels(path)
    num_found = sum(group.num_rows for group in groups)
    with_rows = {group.file for group in groups if group.num_rows}
    left_out = beside_shards(path, "parquet")
    for file in find_shards(path, "parquet")[1]:
        if file not in with_rows:
            left_out.other("shard without rows", file)
    return Listing(_of_rows(rows, digests), num_found, left_out, remark)


def _in_tar(path: str, num_images: int | None, seed: int) -> Listing:
    rows, left_out = tar_shards.rows(path)
    if not rows.num_rows:
        found = left_out_line(left_out.notes())
        raise ImagesError(
            f"no images in the shards at images.path '{path}'; wanted are members such as 0001.jpg with "
            f"0001.cls{f'. {found}' if found else ''}"
        )
    _check_labels(rows, None)
    chosen = rows.take(pa.array(subset(rows.num_rows, num_images, seed)))
    return Listing(_of_rows(chosen, tar_shards.digests(path, chosen)), rows.num_rows, left_out)


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


def index_schema() -> pa.Schema:
    """One row an image, in the fixed order."""
    return pa.schema(
        [
            ("image_id", pa.int64()),
            ("key", pa.string()),
            ("label", pa.int32()),
            ("file", pa.string()),
            ("row", pa.int64()),
            ("digest", pa.string()),
        ]
    )

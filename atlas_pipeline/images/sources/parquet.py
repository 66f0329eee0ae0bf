"""Parquet shards with images or their paths.

``shards`` finds the columns, and ``parquet_rows`` reads the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.digest import file_digest, text_digest
from atlas_pipeline.images.image_source import ImageRef, ImagesLocation, ImageSource

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from atlas_pipeline.images.index_table import Listing
    from atlas_pipeline.images.left_out import LeftOut
    from atlas_pipeline.images.parquet_rows import RowGroup
    from atlas_pipeline.images.row_files import RowFile
    from atlas_pipeline.images.row_reader import RowReader


def _listing(place: ImagesLocation, num_images: int | None, seed: int) -> Listing:
    import pyarrow as pa

    from atlas_pipeline.images import parquet_rows, row_files
    from atlas_pipeline.images.index_table import Listing, check_labels, index_of_rows, subset

    groups = parquet_rows.row_groups(place.path, place.label_column)
    rows = parquet_rows.rows(place.path, groups, place.label_column)
    if not rows.num_rows:
        raise ImagesError(f"the shards at images.path '{place.path}' have no rows; correct images.path")
    path_rows = row_files.row_files(place.path, place.root)
    row_files.check_found(place.path, rows.num_rows, path_rows, place.root)
    check_labels(rows, _class_names(place))
    chosen = subset(rows.num_rows, num_images, seed)
    digests = parquet_rows.digests(place.path, groups, chosen)
    rows = rows.take(pa.array(chosen))
    return Listing(
        images=index_of_rows(rows, _with_files(digests, rows, path_rows)),
        num_found=sum(group.num_rows for group in groups),
        left_out=_left_out(place.path, groups),
        remark=None if place.label_column else parquet_rows.remark_on_labels(place.path),
    )


def _with_files(digests: list[str], rows: pa.Table, path_rows: Sequence[RowFile]) -> list[str]:
    """The digests of ``rows``; if a row names a file, the file's digest."""
    found = {(row.file, row.row): str(row.found) for row in path_rows if row.found}
    if not found:
        return digests
    places = zip(rows["file"].to_pylist(), rows["row"].to_pylist(), strict=True)
    return [
        file_digest(found[place]) if place in found else digest
        for place, digest in zip(places, digests, strict=True)
    ]


def _left_out(path: str, groups: Sequence[RowGroup]) -> LeftOut:
    from atlas_pipeline.images.shards import beside_shards, find_shards

    with_rows = {group.file for group in groups if group.num_rows}
    left_out = beside_shards(path, "parquet")
    for file in find_shards(path, "parquet")[1]:
        if file not in with_rows:
            left_out.other("shard without rows", file)
    return left_out


def _stamp(place: ImagesLocation) -> str:
    from atlas_pipeline.images import row_files, shards

    lines = shards.stamp_lines(place.path, "parquet")
    lines += row_files.stamp_lines(row_files.row_files(place.path, place.root))
    return text_digest("\n".join(["parquet", *lines]))


def _class_names(place: ImagesLocation) -> list[str] | None:
    from atlas_pipeline.images.parquet_rows import class_names

    return class_names(place.path, place.label_column)


def _runs(images: Sequence[ImageRef], place: ImagesLocation) -> Iterator[Sequence[ImageRef]]:
    """Runs of images in the same row group."""
    import numpy as np

    from atlas_pipeline.images.shards import shard_root

    root = shard_root(place.path)
    first, file, starts = 0, None, np.zeros(1, np.int64)
    groups: list[tuple[str, int]] = []
    for image in images:
        if image.file != file:
            file, starts = image.file, _group_starts(root, image.file)
        groups.append((image.file, int(np.searchsorted(starts, image.row, side="right"))))
    for i in range(1, len(images) + 1):
        if i == len(images) or groups[i] != groups[first]:
            yield images[first:i]
            first = i


def _group_starts(root: Path, file: str) -> np.ndarray:
    import numpy as np

    from atlas_pipeline.images.parquet_rows import shard_row_groups

    try:
        return np.array([group.start for group in shard_row_groups(root, file)])
    except ImagesError:
        return np.zeros(1, np.int64)  # gone or damaged since the listing: its rows will count as bad


def _reader(place: ImagesLocation, seed: int) -> RowReader:
    from atlas_pipeline.images.row_reader import RowReader
    from atlas_pipeline.images.shards import shard_root

    return RowReader(shard_root(place.path), Path(place.root) if place.root else None)


PARQUET = ImageSource(
    name="parquet",
    title="Parquet shards",
    listing=_listing,
    stamp=_stamp,
    reader=_reader,
    class_names=_class_names,
    runs=_runs,
    max_chunk_images=128,
    keys=("root", "label_column"),
    extensions=frozenset({"parquet"}),
    in_shards=True,
)

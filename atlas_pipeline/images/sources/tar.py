"""Tar shards in WebDataset's layout; ``tar_shards`` reads their contents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.digest import text_digest
from atlas_pipeline.images.image_source import ImageRef, ImagesLocation, ImageSource
from atlas_pipeline.images.left_out import left_out_line

if TYPE_CHECKING:
    from atlas_pipeline.images.index_table import Listing
    from atlas_pipeline.images.tar_shards import TarReader


def _listing(place: ImagesLocation, num_images: int | None, seed: int) -> Listing:
    import pyarrow as pa

    from atlas_pipeline.images import tar_shards
    from atlas_pipeline.images.index_table import Listing, check_labels, index_of_rows, subset

    rows, left_out = tar_shards.rows(place.path)
    if not rows.num_rows:
        found = left_out_line(left_out.notes())
        raise ImagesError(
            f"no images in the shards at images.path '{place.path}'; give shards with members such as "
            f"0001.jpg and 0001.cls{f'. {found}' if found else ''}"
        )
    check_labels(rows, None)
    chosen = rows.take(pa.array(subset(rows.num_rows, num_images, seed)))
    return Listing(index_of_rows(chosen, tar_shards.digests(place.path, chosen)), rows.num_rows, left_out)


def _stamp(place: ImagesLocation) -> str:
    from atlas_pipeline.images.shards import stamp_lines

    return text_digest("\n".join(["tar", *stamp_lines(place.path, "tar")]))


def _runs(images: Sequence[ImageRef], place: ImagesLocation) -> Iterator[list[ImageRef]]:
    return (list(run) for _, run in groupby(images, key=lambda image: image.file))


def _reader(place: ImagesLocation, seed: int) -> TarReader:
    from atlas_pipeline.images.shards import shard_root
    from atlas_pipeline.images.tar_shards import TarReader

    return TarReader(shard_root(place.path))


TAR = ImageSource(
    name="tar",
    title="tar shards",
    listing=_listing,
    stamp=_stamp,
    reader=_reader,
    runs=_runs,
    max_chunk_images=128,
    extensions=frozenset({"tar"}),
    in_shards=True,
)

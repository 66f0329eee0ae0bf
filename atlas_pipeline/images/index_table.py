"""The table of a listing, in one format for all sources.

Columns: image_id (position in the order), key, label (-1: none), file (relative to the root of the listing),
row (-1: the file is the image; in a tar shard, the byte at which its header starts), digest (blake2b-128,
hex). The digest covers a sample of the image's bytes, see ``digest``; for Parquet, its row group's bytes and
its place there; for a generated image, version, seed and index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.left_out import LeftOut
from atlas_pipeline.numerics.subset import random_subset

MAX_CLASSES = 2**31  # a label is an int32
SUBSET_STREAM = 0x5B5E7  # separates this random stream from others with the run's seed


@dataclass(frozen=True, slots=True)
class Listing:
    """The images, and what was found beside them.

    images: a table with ``index_schema()``. num_found: number of images found, of which ``images`` may be a
    subset. remark: a note on the labels for the reader, or None.
    """

    images: pa.Table
    num_found: int
    left_out: LeftOut
    remark: str | None = None

    def notes(self) -> dict[str, Any]:
        """JSON-able counts: ``num_found`` images, ``companions``, ``left_out``, and the ``remark``.

        The counts add up to the files of a folder. For shards they add up to their members or rows, the files
        beside them, and the shards without images.
        """
        return {"num_found": self.num_found, **self.left_out.notes(), "remark": self.remark}


def index_schema() -> pa.Schema:
    """One row per image, in the fixed order."""
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


def index_table(key: Any, label: Any, file: Any, row: Any, digest: Sequence[str]) -> pa.Table:
    """Build a table with ``index_schema()`` from columns in the fixed order."""
    columns = [np.arange(len(digest)), key, label, file, row, digest]
    return pa.table(columns, schema=index_schema())


def index_of_rows(rows: pa.Table, digest: Sequence[str]) -> pa.Table:
    """Build a table with ``index_schema()`` from rows of shards (key, label, file, row) and their digests."""
    return index_table(rows["key"], rows["label"], rows["file"], rows["row"], digest)


def subset(num_available: int, num_images: int | None, seed: int) -> np.ndarray:
    """Positions of the images drawn with ``seed``, sorted, int64; see ``random_subset``."""
    return random_subset(num_available, num_images, seed, SUBSET_STREAM)


def check_labels(rows: pa.Table, names: Sequence[str] | None) -> None:
    """Check that every label is -1 or a class.

    Raises: ImagesError: any other label.
    """
    labels, num_classes = rows["label"].to_numpy(), len(names) if names else MAX_CLASSES
    wrong = np.flatnonzero((labels < -1) | (labels >= num_classes))
    if len(wrong):
        key, file, row, label = (rows[name][wrong[0]].as_py() for name in ("key", "file", "row", "label"))
        raise ImagesError(
            f"label {label} of image '{key}' ('{file}', row {row}) is out of range: 0 to {num_classes - 1} "
            f"are classes, -1 is none; correct it"
        )

"""The viewer's files for a layout: places of the known images' activations, and a density thumbnail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.grid import cell_of
from atlas_pipeline.pictures.layout_pictures import densest, density
from atlas_pipeline.viewer.scripts import packed, script, webp

# Places are stored as cells of a grid of this many rows and columns, a uint16 each.
PLACE_GRID = 65_536
THUMBNAIL_PX = 112
# A grey level that is visible on white and on black.
_GREY = 118


def place_file(
    xy: NDArray[np.floating],
    image_id: NDArray[np.integer],
    known: NDArray[np.integer],
    ordinal: NDArray[np.integer] | None = None,
) -> bytes:
    """``places.js``: for each activation of a known image, the image's number among them and the place.

    Args: xy: (activation, 2) in the unit square, y up. image_id: (activation,). known: (image,) ascending
          ids, at most 65,536 of them. ordinal: (activation,) number of the sampled position in its image, at
          most 65,535; None if there is one position per image.
    """
    slot = np.searchsorted(known, image_id)
    is_known = known[np.minimum(slot, len(known) - 1)] == image_id
    row, col = cell_of(xy[is_known], PLACE_GRID).T.astype(np.uint16)
    columns = {"slot": slot[is_known].astype(np.uint16), "row": row, "col": col}
    if ordinal is not None:
        columns["ordinal"] = ordinal[is_known].astype(np.uint16)
    return script({name: packed(column) for name, column in columns.items()})


def key_file(
    known: NDArray[np.integer], keys: Sequence[str], labels: Sequence[int], label_names: Sequence[str]
) -> bytes:
    """``keys.js``: id, key and label of every known image, and the names of the labels.

    Args: known: (image,) ids. keys, labels: one per known image; a label of -1 means none. label_names: by
          label.
    """
    return script(
        {
            "imageId": packed(np.asarray(known).astype(np.uint32)),
            "key": list(keys),
            "label": packed(np.asarray(labels, dtype=np.int32)),
            "labelNames": list(label_names),
        }
    )


def thumbnail(xy: NDArray[np.floating]) -> bytes:
    """``thumbnail.webp``: the density as the opacity of a grey, for use on any background.

    Args: xy: (activation, 2) in the unit square, y up.
    """
    amount = density(xy, THUMBNAIL_PX)
    share = np.sqrt(np.clip(amount / max(densest(amount), 1e-12), 0, 1))
    grey = np.full((*share.shape, 4), _GREY, dtype=np.uint8)
    grey[..., 3] = np.rint(255 * share)
    return webp(grey)

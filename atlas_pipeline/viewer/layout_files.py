"""A layout as the viewer loads it: where activations of the known images lie, and its density, small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.grid import cell_of
from atlas_pipeline.pictures.layout_pictures import densest, density
from atlas_pipeline.viewer.scripts import packed, script, webp

# Places are whole numbers on a grid this fine: a uint16 each.
FINEST = 65_536
THUMBNAIL_PX = 112
_GREY = 118


def place_file(
    xy: NDArray[np.floating],
    image_id: NDArray[np.integer],
    known: NDArray[np.integer],
    ordinal: NDArray[np.integer] | None = None,
) -> bytes:
    """``places.js``: of every activation of a known image the image's number among them, and its place.

    Args: xy: (activation, 2) in the unit square, y up. image_id: (activation,). known: (image,) ascending
          ids, at most 65,536. ordinal: (activation,) which of its image's positions it is of, at most 65,535;
          None: of the only one.
    """
    slot = np.searchsorted(known, image_id)
    is_known = known[np.minimum(slot, len(known) - 1)] == image_id
    row, col = cell_of(xy[is_known], FINEST).T.astype(np.uint16)
    columns = {"slot": slot[is_known].astype(np.uint16), "row": row, "col": col}
    if ordinal is not None:
        columns["ordinal"] = ordinal[is_known].astype(np.uint16)
    return script({name: packed(column) for name, column in columns.items()})


def key_file(
    known: NDArray[np.integer], keys: Sequence[str], labels: Sequence[int], label_names: Sequence[str]
) -> bytes:
    """``keys.js``: id, key and label of every known image, and what labels are called."""
    return script(
        {
            "imageId": packed(np.asarray(known).astype(np.uint32)),
            "key": list(keys),
            "label": packed(np.asarray(labels, dtype=np.int32)),
            "labelNames": list(label_names),
        }
    )


def thumbnail(xy: NDArray[np.floating]) -> bytes:
    """``thumbnail.webp``: the density as grey that lies on any ground."""
    amount = density(xy, THUMBNAIL_PX)
    share = np.sqrt(np.clip(amount / max(densest(amount), 1e-12), 0, 1))
    grey = np.full((*share.shape, 4), _GREY, dtype=np.uint8)
    grey[..., 3] = np.rint(255 * share)
    return webp(grey)

"""The viewer's file of the names on a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from atlas_pipeline.numerics.grid import cell_of
from atlas_pipeline.numerics.region_names import RegionNames
from atlas_pipeline.viewer.layout_files import PLACE_GRID
from atlas_pipeline.viewer.scripts import packed, script

# Areas are stored in millionths of the map, agreement in thousandths.
AREA_STEPS, AGREEMENT_STEPS = 1_000_000, 1_000


def name_file(names: RegionNames, labels: Sequence[str]) -> bytes:
    """``names.js``: for each named region its label, place, area, activations and agreement.

    Args: labels: by class; only those in use are written.
    """
    used, which = np.unique(names.class_, return_inverse=True)
    row, col = cell_of(np.column_stack([names.x, names.y]), PLACE_GRID).T
    return script(
        {
            "labels": [labels[number] for number in used.tolist()],
            "label": packed(which.astype(np.uint16)),
            "row": packed(row.astype(np.uint16)),
            "col": packed(col.astype(np.uint16)),
            "area": packed(np.rint(names.area * AREA_STEPS).astype(np.uint32)),
            "count": packed(names.count.astype(np.uint32)),
            "agreement": packed(np.rint(names.agreement * AGREEMENT_STEPS).astype(np.uint16)),
            "grid": packed(names.grid.astype(np.uint16)),
        }
    )

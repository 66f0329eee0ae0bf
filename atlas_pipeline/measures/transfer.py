"""Whether a second network, the judge, finds the icons' cells. A run without a judge lacks these."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.measures.measure import Column, InViewer, Measure, of_cells


def _share_below(rank: int) -> Callable[[NDArray[np.float64]], float]:
    return lambda ranks: float((ranks < rank).mean())


TRANSFER: tuple[Measure, ...] = (
    Measure(
        name="transfer",
        source="judge",
        kind="rank",
        description="Rank of the icon's own cell among all cells, by the features that a second network, the "
        "judge, has of the icon and of the cells' real patches; 0: its own is nearest",
        columns=(
            Column(
                name="transfer_top1",
                heading="judge: nearest",
                style="share",
                value=of_cells("transfer", _share_below(1)),
                meaning="Does a second network, which had no part in the icons, find their cells? The share "
                "of icons whose own cell's real patches are the nearest of all cells' by the judge's "
                "features, and the share for which they are among the nearest five. For comparison, the "
                "second share for a real patch of the cell, for the icon of another cell, and for noise.",
                large="own cell is the judge's nearest",
                is_optional=True,
            ),
            Column(
                name="transfer_top5",
                heading="judge: of five",
                style="share",
                value=of_cells("transfer", _share_below(5)),
                large="among the judge's nearest five",
                is_optional=True,
            ),
            Column(
                name="transfer_real_top5",
                heading="real patches",
                style="share",
                value=of_cells("transfer_real", _share_below(5)),
                large="real patches among five",
                is_baseline=True,
                is_optional=True,
            ),
            Column(
                name="transfer_other_top5",
                heading="other icons",
                style="share",
                value=of_cells("transfer_other", _share_below(5)),
                large="other cells' icons among five",
                is_baseline=True,
                is_optional=True,
            ),
            Column(
                name="transfer_noise_top5",
                heading="noise to the judge",
                style="share",
                value=of_cells("transfer_noise", _share_below(5)),
                large="noise among five",
                is_baseline=True,
                is_optional=True,
            ),
        ),
        viewer=InViewer(
            column="transfer",
            colour="Transfer",
            panel="Transfer",
            help="whether a second network, the judge, finds the icon nearer to real patches of its own cell "
            "than to those of any other.",
        ),
        figure="own cell's rank by a judge",
    ),
    Measure(
        name="transfer_real",
        source="judge",
        kind="rank",
        description="That rank for a real patch of the cell, left out of its cell's mean",
    ),
    Measure(
        name="transfer_other",
        source="judge",
        kind="rank",
        description="That rank for the icon of another cell",
    ),
    Measure(
        name="transfer_noise",
        source="judge",
        kind="rank",
        description="That rank for an image of noise",
    ),
)

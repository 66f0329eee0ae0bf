"""How alike a cell's activations are, and the references for the fidelity of its icon."""

from __future__ import annotations

import numpy as np

from atlas_pipeline.measures.measure import Column, InViewer, Measure, of_cells

OF_CELLS: tuple[Measure, ...] = (
    Measure(
        name="coherence",
        source="bin",
        kind="cosine",
        description="Mean cosine of the cell's activations to their mean",
        is_required=True,
        columns=(
            Column(
                name="coherence_median",
                heading="coherence",
                style="decimal",
                value=of_cells("coherence", np.median),
                meaning="Mean cosine of a cell's activations to their mean, the median over the cells: how "
                "alike the activations of a cell are.",
                large="coherence, median",
            ),
        ),
        viewer=InViewer(
            column="coherence",
            colour="Coherence",
            panel="Coherence",
            help="how alike the cell's activations are: their mean cosine to the cell's mean.",
        ),
        figure="coherence, a mean cosine",
    ),
    Measure(
        name="consistency",
        source="bin",
        kind="share",
        description="Share of the cell's activations whose top class, that of their highest attribution, is "
        "the cell's commonest",
        columns=(
            Column(
                name="consistency_median",
                heading="consistency",
                style="share",
                value=of_cells("consistency", np.median),
                meaning="How many of a cell's activations have the same top class, the one of their highest "
                "attribution; the median over the cells. Where it is low, attribution says little of single "
                "classes.",
                large="consistency, median",
            ),
        ),
        viewer=InViewer(
            column="consistency",
            colour="Agreement on a class",
            panel="Agreement",
            note="share one top class",
            help="the share of the cell's activations with the same class of highest attribution. Below one "
            "half the cell has no name on the map.",
        ),
        figure="share of the commonest top class",
    ),
    Measure(
        name="nearest",
        source="bin",
        kind="cosine",
        description="Cosine to the mean of the cell's activation that is nearest to it",
        viewer=InViewer(column="nearest"),
    ),
    Measure(
        name="noise",
        source="invert",
        kind="cosine",
        description="Median cosine to the mean of the activations of images of noise",
        viewer=InViewer(column="noise"),
    ),
)

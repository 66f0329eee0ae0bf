"""How faithful icons are: the network's response to the finished icon, against the icon's cell."""

from __future__ import annotations

import numpy as np

from atlas_pipeline.measures.measure import Baseline, Column, InViewer, Measure, of_baseline, of_cells

FIDELITY: tuple[Measure, ...] = (
    Measure(
        name="fidelity",
        source="invert",
        kind="cosine",
        description="Cosine between the finished icon's own activation and the cell's mean activation",
        is_required=True,
        baselines=(
            Baseline(
                name="fidelity_noise",
                description="Median over the cells of their noise: what an image of noise has as fidelity",
                source="median",
                of="noise",
            ),
            Baseline(
                name="fidelity_nearest",
                description="Median over the cells of their nearest: what the best real activation has as "
                "fidelity",
                source="median",
                of="nearest",
            ),
        ),
        columns=(
            Column(
                name="fidelity_median",
                heading="fidelity",
                style="decimal",
                value=of_cells("fidelity", np.median),
                meaning="Cosine between what the finished icon makes the layer do and the mean activation it "
                "was made for: the median over the icons, and the value that only 5 % of them fall below. "
                "1 is perfect.",
                large="fidelity, median",
            ),
            Column(
                name="fidelity_p5",
                heading="5th percentile",
                style="decimal",
                value=of_cells("fidelity", lambda values: np.percentile(values, 5)),
                large="5th percentile",
            ),
            Column(
                name="fidelity_noise",
                heading="noise",
                style="decimal",
                value=of_baseline("fidelity_noise"),
                meaning="Reference values for fidelity: the same cosine for images of noise, and for the "
                "real activation of each cell that is nearest to its mean; medians over the cells.",
                large="noise",
                is_baseline=True,
            ),
            Column(
                name="fidelity_nearest",
                heading="nearest",
                style="decimal",
                value=of_baseline("fidelity_nearest"),
                large="nearest activation",
                is_baseline=True,
            ),
        ),
        viewer=InViewer(
            column="fidelity",
            colour="Fidelity",
            panel="Fidelity",
            beside=(("noise", "noise"), ("nearest", "nearest real")),
            help="the cosine between what the icon really produces and the cell's mean. Noise and the "
            "nearest real activation show the scale.",
        ),
        figure="fidelity, a cosine",
    ),
    Measure(
        name="fidelity_centred",
        source="invert",
        kind="cosine",
        description="The same after the layer's mean activation is taken from both",
        is_required=True,
        columns=(
            Column(
                name="fidelity_centred",
                heading="centred",
                style="decimal",
                value=of_cells("fidelity_centred", np.median),
                meaning="The fidelity after the layer's mean activation is taken from both vectors. All "
                "activations of a layer share much of their direction; this cosine counts only what is "
                "particular to the cell.",
                large="centred fidelity",
            ),
        ),
        viewer=InViewer(
            column="fidelity_centred",
            colour="Centred fidelity",
            panel="Centred fidelity",
            help="the same cosine without what all activations of the layer share.",
        ),
        figure="centred fidelity, a cosine",
    ),
    Measure(
        name="fidelity_whitened",
        source="invert",
        kind="cosine",
        description="The same in the whitened metric",
        is_required=True,
    ),
    Measure(
        name="round_trip",
        source="invert",
        kind="rank",
        description="Rank of the icon's own cell among all cells by that cosine; 0: its own is nearest",
        is_required=True,
        baselines=(
            Baseline(
                name="round_trip",
                description="Share of round trips of rank 0 by chance: one over the number of cells",
                source="chance",
            ),
        ),
        columns=(
            Column(
                name="round_trip_top1",
                heading="round trip",
                style="share",
                value=of_cells("round_trip", lambda ranks: (ranks < 1).mean()),
                meaning="When an icon is shown to the network, is its own cell the nearest of all cells? The "
                "share of icons for which it is, the share for which it is among the nearest five, and the "
                "share that chance would give.",
                large="own cell is the nearest",
            ),
            Column(
                name="round_trip_top5",
                heading="among five",
                style="share",
                value=of_cells("round_trip", lambda ranks: (ranks < 5).mean()),
                large="among the nearest five",
            ),
            Column(
                name="round_trip_chance",
                heading="chance",
                style="share",
                value=of_baseline("round_trip"),
                large="by chance",
                is_baseline=True,
            ),
        ),
        viewer=InViewer(
            column="roundTrip",
            panel="Round trip",
            help="whether the icon's activation is nearer to the mean of its own cell than to any other's.",
        ),
    ),
)

"""How far icons resemble photos: their saturation, spectrum and colours, against real crops."""

from __future__ import annotations

import numpy as np

from atlas_pipeline.measures.measure import Baseline, Column, Measure, of_baseline, of_cells

LEGIBILITY: tuple[Measure, ...] = (
    Measure(
        name="saturated",
        source="invert",
        kind="share",
        description="Share of the icon's pixels with a channel at its limit",
        baselines=(
            Baseline(
                name="saturated",
                description="Mean share of saturated pixels in real crops of the icons' size",
                source="real crops",
            ),
        ),
        columns=(
            Column(
                name="saturated",
                heading="saturated",
                style="share",
                value=of_cells("saturated", np.mean),
                meaning="Share of the icons' pixels with a colour channel at its limit, and the same share "
                "for real crops of their size. Icons with a far higher share than real images are glaring.",
                large="saturated pixels",
            ),
            Column(
                name="saturated_real",
                heading="real crops",
                style="share",
                value=of_baseline("saturated"),
                large="real crops",
                is_baseline=True,
            ),
        ),
    ),
    Measure(
        name="spectrum_distance",
        source="invert",
        kind="distance",
        description="Distance of the icon's spectrum from that of real crops; real crops have about 1",
        baselines=(
            Baseline(name="spectrum_distance", description="Median of real crops", source="real crops"),
        ),
    ),
    Measure(
        name="colour_distance",
        source="invert",
        kind="distance",
        description="Distance of the icon's colours from those of real crops; real crops have about 1",
        baselines=(
            Baseline(name="colour_distance", description="Median of real crops", source="real crops"),
        ),
    ),
)

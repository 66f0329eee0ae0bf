"""The path of icons in earlier layers, and the quiet of their ground; see ``invert.yardsticks``."""

from __future__ import annotations

import numpy as np

from atlas_pipeline.measures.measure import Baseline, Column, InViewer, Measure, of_baseline, of_cells

YARDSTICKS: tuple[Measure, ...] = (
    Measure(
        name="path",
        source="yardsticks",
        kind="ratio",
        description="Likeness of the icon to the cell's real patches in the earlier layers, the median over "
        "them; 0: as noise, 1: as one of the patches",
        baselines=(
            Baseline(
                name="path_other",
                description="Median over the cells of their path_other: what a photo of other things has as "
                "path",
                source="median",
                of="path_other",
            ),
        ),
        columns=(
            Column(
                name="path_median",
                heading="path",
                style="decimal",
                value=of_cells("path", np.median),
                meaning="How alike the icon and real patches of its cell are in the earlier layers: the "
                "cosine of their activations, on a scale from noise (0) to one of the patches (1); the "
                "median over the layers, and then over the icons. For comparison, real crops of other "
                "things. An icon below them is less like the cell's photos than other photos are.",
                large="path, median",
                is_optional=True,
            ),
            Column(
                name="path_other",
                heading="other photos",
                style="decimal",
                value=of_baseline("path_other"),
                large="other photos",
                is_baseline=True,
                is_optional=True,
            ),
        ),
        viewer=InViewer(
            column="path",
            colour="Path",
            panel="Path",
            beside=(("path_other", "other photos"),),
            help="how alike the icon and real patches of its cell are in the earlier layers; 0: as noise, 1: "
            "as one of the patches.",
        ),
        figure="path, 1 as a real patch",
    ),
    Measure(
        name="path_other",
        source="yardsticks",
        kind="ratio",
        description="That likeness for real crops of other things, their median",
        viewer=InViewer(column="pathOther"),
    ),
    Measure(
        name="path_by_layer",
        source="yardsticks",
        kind="ratios",
        description="The likeness of the icon in each of the document's path_layers",
    ),
    Measure(
        name="ground",
        source="yardsticks",
        kind="share",
        description="Share of the icon's contrast that lies within the position's effective receptive field",
        baselines=(
            Baseline(name="ground_real", description="Median share in real crops", source="real crops"),
            Baseline(
                name="ground_noise",
                description="That share in noise: the share of the icon's area that the field has",
                source="noise",
            ),
        ),
        columns=(
            Column(
                name="ground_median",
                heading="ground",
                style="share",
                value=of_cells("ground", np.median),
                meaning="Share of an icon's contrast that lies where the position looks (its effective "
                "receptive field); the median over the icons. The higher, the quieter the ground around. For "
                "comparison, real crops, and noise, whose share is that of the field's area.",
                large="contrast where it is needed",
                is_optional=True,
            ),
            Column(
                name="ground_real",
                heading="in real crops",
                style="share",
                value=of_baseline("ground_real"),
                large="real crops",
                is_baseline=True,
                is_optional=True,
            ),
            Column(
                name="ground_noise",
                heading="in noise",
                style="share",
                value=of_baseline("ground_noise"),
                large="noise",
                is_baseline=True,
                is_optional=True,
            ),
        ),
        viewer=InViewer(
            column="ground",
            colour="Quiet ground",
            panel="Ground",
            note="of the contrast is in the field",
            help="the share of the icon's contrast within the effective receptive field of its position.",
        ),
        figure="contrast in the field",
    ),
)

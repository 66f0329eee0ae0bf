"""The table of measures. The JSON, its schema, the tiles, report, figures and viewer are made from it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.measures.measure import Baseline, Column, InViewer, Measure, of_baseline, of_cells


def _share_below(rank: int) -> Callable[[NDArray[np.float64]], float]:
    return lambda ranks: float((ranks < rank).mean())


MEASURES: tuple[Measure, ...] = (
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
            help="the cosine between what the icon really produces and that mean.",
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
            help="whether the icon's activation is nearer to its own cell than to any other.",
        ),
    ),
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
            help="how alike the cell's activations are.",
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

# Kept first for compatibility: documents had these keys first before this table existed. Other measures
# follow in the order of the table.
_FIRST_IN_DOCUMENT = ("round_trip", "coherence", "consistency")


def in_document_order() -> list[Measure]:
    """The measures, in the order of their keys in a cell of the JSON document."""
    first = {name: place for place, name in enumerate(_FIRST_IN_DOCUMENT)}
    return sorted(MEASURES, key=lambda measure: first.get(measure.name, len(first)))

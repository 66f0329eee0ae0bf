"""The measures that a page shows of each atlas: their names, how they are printed, what they mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from atlas_pipeline.publish.entries import AtlasEntry


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of the page's table: the entry's field, its heading, how it is printed, what it means.

    is_baseline: whether it only says what another measure is worth. is_optional: whether few runs have it.
    """

    name: str
    heading: str
    style: Literal["count", "cosine", "share"]
    meaning: str = ""
    is_baseline: bool = False
    is_optional: bool = False

    def shown(self, entry: AtlasEntry) -> str:
        """The entry's value in the words of the page; a dash where it is not known."""
        value = getattr(entry, self.name)
        if value is None or not math.isfinite(value):
            return "–"
        if self.style == "count":
            return f"{value:,}"
        if self.style == "cosine":
            return f"{value:.3f}"
        return f"{value:.1%}" if value < 0.1 else f"{value:.0%}"


MEASURES = (
    Measure(
        "num_activations",
        "activations",
        "count",
        "What the layout shows: the layer at one random place of each image.",
    ),
    Measure("num_cells", "cells", "count", "Squares of the grid with activations enough for an icon."),
    Measure(
        "fidelity_median",
        "fidelity",
        "cosine",
        "Cosine between what the finished icon makes the layer do and the mean activation it was made for: "
        "the median over the icons, and the value that only 5 % of them fall below. 1 is perfect.",
    ),
    Measure("fidelity_p5", "5th percentile", "cosine"),
    Measure(
        "fidelity_noise",
        "noise",
        "cosine",
        "What fidelity is worth: the same cosine for images of noise, and for the one of each cell's own "
        "activations that is nearest to its mean; medians over the cells.",
        is_baseline=True,
    ),
    Measure("fidelity_nearest", "nearest", "cosine", is_baseline=True),
    Measure(
        "round_trip_top1",
        "round trip",
        "share",
        "Shown to the network, is an icon nearest to its own cell among all cells? The share of the icons "
        "that are, of those whose own cell is among the nearest five, and of those that would be by chance.",
    ),
    Measure("round_trip_top5", "among five", "share"),
    Measure("round_trip_chance", "chance", "share", is_baseline=True),
    Measure(
        "coherence_median",
        "coherence",
        "cosine",
        "Mean cosine of a cell's activations to their mean, the median over the cells: is a cell one thing?",
    ),
    Measure(
        "consistency_median",
        "consistency",
        "share",
        "How many of a cell's activations have the same top class, the one of their highest attribution; the "
        "median over the cells. Where it is low, attribution says little of single classes.",
    ),
    Measure(
        "saturated",
        "saturated",
        "share",
        "Share of the icons' pixels at the limit of a colour, and the same of real crops of their size. Far "
        "more than in real images is glare.",
    ),
    Measure("saturated_real", "real crops", "share", is_baseline=True),
    Measure(
        "trustworthiness",
        "trustworthiness",
        "cosine",
        "Of the layout: are neighbours on the map neighbours in the layer too? 1: all of them; 0.5: chance.",
    ),
    Measure(
        "repeated",
        "repeated",
        "share",
        "Share of the activations that repeat another one exactly, as on a blank background or behind a "
        "closed ReLU. Equal activations lie at one place.",
        is_optional=True,
    ),
    Measure(
        "alignment",
        "alignment",
        "cosine",
        "Of layers laid out together: how far apart, in sides of the map, an image lies here and in the next "
        "layer, and how far apart two images at random; medians.",
        is_optional=True,
    ),
    Measure("alignment_chance", "chance", "cosine", is_baseline=True, is_optional=True),
)


def measures_of(entries: Sequence[AtlasEntry]) -> list[Measure]:
    """The measures to show of these: those that few runs have only where one of them has it."""
    return [
        measure
        for measure in MEASURES
        if not measure.is_optional or any(getattr(entry, measure.name) is not None for entry in entries)
    ]


BY_NAME = {measure.name: measure for measure in MEASURES}

# Shown large under each atlas: the measure, its name, and the words and measures of the lines beneath it.
LARGE: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "fidelity_median",
        "fidelity, median",
        (
            ("5th percentile", "fidelity_p5"),
            ("noise", "fidelity_noise"),
            ("nearest activation", "fidelity_nearest"),
        ),
    ),
    (
        "round_trip_top1",
        "own cell is the nearest",
        (("among the nearest five", "round_trip_top5"), ("by chance", "round_trip_chance")),
    ),
    ("coherence_median", "coherence, median", ()),
    ("consistency_median", "consistency, median", ()),
    ("saturated", "saturated pixels", (("real crops", "saturated_real"),)),
    ("trustworthiness", "trustworthiness of the layout", ()),
    ("alignment", "distance to the next layer, median", (("by chance", "alignment_chance"),)),
)

"""What a page says of a run and of each of its atlases, and the measures it shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasEntry:
    """One atlas of the run. Paths are relative to the page, with forward slashes; None: there is none.

    Attributes: atlas, document: the picture and its JSON. preview: a smaller picture to show in place of one
                too large for a page (beyond some 8,000 px). width_px: of the picture shown.
                fidelity_median, fidelity_p5, coherence_median: cosines. round_trip_top1, round_trip_top5:
                share of the icons whose own cell is the nearest, or among the five nearest. saturated: mean
                share of saturated pixels. trustworthiness: of the layout. None or NaN: not known.
    """

    layer: str
    view: str
    grid: int
    atlas: str
    document: str
    width_px: int
    num_activations: int
    num_cells: int
    density: str | None = None
    scatter: str | None = None
    preview: str | None = None
    fidelity_median: float | None = None
    fidelity_p5: float | None = None
    round_trip_top1: float | None = None
    round_trip_top5: float | None = None
    coherence_median: float | None = None
    saturated: float | None = None
    trustworthiness: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What the page says of the whole run.

    Attributes: images: in words, e.g. "20,000 generated images". weights: where they come from, in words.
                random_weights: the network was never trained; the page says so in red. provenance: name to
                value; a mapping or a list is shown as JSON. overview: path of the overview picture.
    """

    name: str
    model: str
    weights: str
    images: str
    random_weights: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)
    overview: str | None = None


def entry_of(
    document: Mapping[str, Any],
    *,
    atlas: str,
    document_path: str,
    density: str | None = None,
    scatter: str | None = None,
    preview: str | None = None,
    width_px: int | None = None,
) -> AtlasEntry:
    """The entry of an atlas, its figures from its own JSON document, so that page and JSON agree.

    Args: atlas, document_path, density, scatter, preview: paths relative to the page. width_px: of the
          picture shown; None: of the whole mosaic.
    """

    def column(name: str) -> np.ndarray:
        values = [cell.get(name) for cell in document["cells"]]
        return np.array([v for v in values if v is not None], dtype=np.float64)

    def of_column(name: str, measure: Any) -> float | None:
        values = column(name)
        return float(measure(values)) if len(values) else None

    return AtlasEntry(
        layer=document["layer"],
        view=document["view"],
        grid=document["grid"],
        atlas=atlas,
        document=document_path,
        width_px=document["grid"] * document["icon_px"] if width_px is None else width_px,
        num_activations=document["num_activations"],
        num_cells=len(document["cells"]),
        density=density,
        scatter=scatter,
        preview=preview,
        fidelity_median=of_column("fidelity", np.median),
        fidelity_p5=of_column("fidelity", lambda values: np.percentile(values, 5)),
        round_trip_top1=of_column("round_trip", lambda ranks: (ranks < 1).mean()),
        round_trip_top5=of_column("round_trip", lambda ranks: (ranks < 5).mean()),
        coherence_median=of_column("coherence", np.median),
        saturated=of_column("saturated", np.mean),
        trustworthiness=document["layout"].get("trustworthiness"),
    )


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of the page's table: the entry's field, its heading, how it is printed, what it means."""

    name: str
    heading: str
    style: str  # "count", "cosine" or "share"
    meaning: str = ""

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
        "round_trip_top1",
        "round trip",
        "share",
        "Shown to the network, is an icon nearest to its own cell among all cells? The share of the icons "
        "that are, and of those whose own cell is among the nearest five.",
    ),
    Measure("round_trip_top5", "among five", "share"),
    Measure(
        "coherence_median",
        "coherence",
        "cosine",
        "Mean cosine of a cell's activations to their mean, the median over the cells: is a cell one thing?",
    ),
    Measure(
        "saturated",
        "saturated",
        "share",
        "Share of the icons' pixels at the limit of a colour. Far more than in real images is glare.",
    ),
    Measure(
        "trustworthiness",
        "trustworthiness",
        "cosine",
        "Of the layout: are neighbours on the map neighbours in the layer too? 1: all of them; 0.5: chance.",
    ),
)

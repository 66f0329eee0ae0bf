"""What a page says of a run and of each of its atlases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from atlas_pipeline.views.view import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasEntry:
    """One atlas of the run. Paths are relative to the page, with forward slashes; None: there is none.

    Attributes: kind: of the view. atlas, document: the picture and its JSON. preview: a smaller picture to
                show in place of one too large for a page (beyond some 8,000 px). width_px: of the picture
                shown.
                fidelity_median, fidelity_p5, coherence_median: cosines. round_trip_top1, round_trip_top5:
                share of the icons whose own cell is the nearest, or among the five nearest. saturated: mean
                share of saturated pixels. trustworthiness, alignment: of the layout. repeated: share of the
                activations that are equal to another one beyond the first; None: none is. fidelity_noise,
                fidelity_nearest, round_trip_chance, saturated_real, alignment_chance: their baselines.
                None or NaN: not known.
    """

    layer: str
    view: str
    kind: Kind
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
    fidelity_noise: float | None = None
    fidelity_nearest: float | None = None
    round_trip_top1: float | None = None
    round_trip_top5: float | None = None
    round_trip_chance: float | None = None
    coherence_median: float | None = None
    consistency_median: float | None = None
    saturated: float | None = None
    saturated_real: float | None = None
    trustworthiness: float | None = None
    repeated: float | None = None
    alignment: float | None = None
    alignment_chance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What the page says of the whole run.

    Attributes: images: in words, e.g. "20,000 generated images". weights: where they come from, in words.
                random_weights: the network was never trained; the page says so in red. provenance: name to
                value; a mapping or a list is shown as JSON. sheets: pictures of many atlases at once, words
                to path. figures: paths of pictures that stand for themselves.
    """

    name: str
    model: str
    weights: str
    images: str
    random_weights: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sheets: Mapping[str, str] = field(default_factory=dict)
    figures: Sequence[str] = ()


def entry_of(
    document: Mapping[str, Any],
    *,
    kind: Kind,
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

    baselines, layout = document.get("baselines", {}), document["layout"]
    return AtlasEntry(
        layer=document["layer"],
        view=document["view"],
        kind=kind,
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
        fidelity_noise=baselines.get("fidelity_noise"),
        fidelity_nearest=baselines.get("fidelity_nearest"),
        round_trip_top1=of_column("round_trip", lambda ranks: (ranks < 1).mean()),
        round_trip_top5=of_column("round_trip", lambda ranks: (ranks < 5).mean()),
        round_trip_chance=baselines.get("round_trip"),
        coherence_median=of_column("coherence", np.median),
        consistency_median=of_column("consistency", np.median),
        saturated=of_column("saturated", np.mean),
        saturated_real=baselines.get("saturated"),
        trustworthiness=layout.get("trustworthiness"),
        repeated=_repeated(layout, document["num_activations"]),
        alignment=layout.get("alignment"),
        alignment_chance=layout.get("alignment_chance"),
    )


def _repeated(layout: Mapping[str, Any], num_activations: int) -> float | None:
    num_distinct = layout.get("num_distinct", num_activations)
    return 1 - num_distinct / num_activations if num_distinct < num_activations else None

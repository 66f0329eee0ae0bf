"""What a page says of a run and of each of its atlases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atlas_pipeline.publish.report_columns import all_columns
from atlas_pipeline.views.view import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasEntry:
    """One atlas of the run. Paths are relative to the page, with forward slashes; None: there is none.

    Attributes: kind: of the view. atlas, document: the picture and its JSON. preview: a smaller picture to
                show in place of one too large for a page (beyond some 8,000 px). width_px: of the picture
                shown. numbers: by the name of the report's column; None or NaN: not known.
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
    numbers: Mapping[str, float | None] = field(default_factory=dict)


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
        numbers={column.name: column.value(document) for column in all_columns()},
    )

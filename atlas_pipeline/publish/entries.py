"""The values that the report shows for a run and for each of its atlases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atlas_pipeline.publish.report_columns import all_columns
from atlas_pipeline.viewer.picture_card import PictureCard
from atlas_pipeline.views.view import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasEntry:
    """One atlas of the run. Paths are relative to the page, with forward slashes; None: no such file.

    Attributes: kind: kind of the view. atlas, document: paths of the picture and its JSON. preview: path of a
                smaller picture to show instead of one that is too large for a page (about 8,000 px or more).
                width_px: width of the shown picture. density, scatter: paths of the layout's pictures.
                numbers: by name of the report's column; None or NaN: not known.
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
    """The values that the page shows for the whole run.

    Attributes: images: a description, e.g. "20,000 generated images". weights: a note of where the weights
                come from. random_weights: the network was never trained, and the page says so in red.
                provenance: name to value; mappings and lists are shown as JSON. sheets: pictures of many
                atlases at once, link text to path. figures: paths of the pictures of class figures.
                has_viewer: the viewer's page is beside this one, which links back to it.
    """

    name: str
    model: str
    weights: str
    images: str
    random_weights: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sheets: Mapping[str, str] = field(default_factory=dict)
    figures: Sequence[str] = ()
    units: Mapping[str, int] = field(default_factory=dict)
    atoms: Mapping[str, int] = field(default_factory=dict)
    pictures: Mapping[str, PictureCard] = field(default_factory=dict)
    has_viewer: bool = False


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
    """The entry of an atlas. Its numbers come from its JSON document, so that page and JSON agree.

    Args: document: the document; lists in its cells are not needed. atlas, document_path, density, scatter,
          preview: paths relative to the page. width_px: width of the shown picture; None: that of the atlas.
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

"""The columns of the report's table: those of the measures, and those of the atlas as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from atlas_pipeline.measures import table
from atlas_pipeline.measures.measure import Column, Document, of_layout

if TYPE_CHECKING:
    from atlas_pipeline.publish.entries import AtlasEntry


def _repeated(document: Document) -> float | None:
    layout, num_activations = document["layout"], document["num_activations"]
    num_distinct = layout.get("num_distinct", num_activations)
    return 1 - num_distinct / num_activations if num_distinct < num_activations else None


_SIZES = (
    Column(
        name="num_activations",
        heading="activations",
        style="count",
        value=lambda document: document["num_activations"],
        meaning="Activations that the layout shows, each from a random position of an image.",
    ),
    Column(
        name="num_cells",
        heading="cells",
        style="count",
        value=lambda document: len(document["cells"]),
        meaning="Cells of the grid with enough activations for an icon.",
    ),
)
_LAYOUT = (
    (
        Column(
            name="trustworthiness",
            heading="trustworthiness",
            style="decimal",
            value=of_layout("trustworthiness"),
            meaning="How far neighbours on the map are neighbours in the layer too. 1: all of them; 0.5: "
            "chance.",
            large="trustworthiness of the layout",
        ),
    ),
    (
        Column(
            name="repeated",
            heading="repeated",
            style="share",
            value=_repeated,
            meaning="Share of the activations that repeat another one exactly, as on a blank background or "
            "behind a closed ReLU. Equal activations lie at one place.",
            is_optional=True,
        ),
    ),
    (
        Column(
            name="alignment",
            heading="alignment",
            style="decimal",
            value=of_layout("alignment"),
            meaning="For layers laid out together: the distance between an image's place in this layer and "
            "in the next one, and the distance between two random images, in sides of the map; medians.",
            large="distance to the next layer, median",
            is_optional=True,
        ),
        Column(
            name="alignment_chance",
            heading="chance",
            style="decimal",
            value=of_layout("alignment_chance"),
            large="by chance",
            is_baseline=True,
            is_optional=True,
        ),
    ),
)


def _groups() -> list[tuple[Column, ...]]:
    """Columns in groups. The first column of a group is its main number, the others add to it."""
    return [_SIZES, *(measure.columns for measure in table.MEASURES), *_LAYOUT]


def all_columns() -> list[Column]:
    """Every column that a run may have, in the order of the page."""
    return [column for group in _groups() for column in group]


def columns_of(entries: Sequence[AtlasEntry]) -> list[Column]:
    """The columns to show for these atlases. An optional column is shown only if one of them has a value."""
    return [
        column
        for column in all_columns()
        if not column.is_optional or any(entry.numbers.get(column.name) is not None for entry in entries)
    ]


def large_columns() -> list[tuple[Column, list[Column]]]:
    """The numbers under each atlas's picture: a column shown large, and those in the lines below it."""
    shown = [[column for column in group if column.large] for group in _groups()]
    return [(group[0], group[1:]) for group in shown if group]

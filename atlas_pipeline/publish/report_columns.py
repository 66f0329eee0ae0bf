"""The columns that a page shows of each atlas: those of the measures, and of the atlas as a whole."""

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
        meaning="What the layout shows: the layer at one random place of each image.",
    ),
    Column(
        name="num_cells",
        heading="cells",
        style="count",
        value=lambda document: len(document["cells"]),
        meaning="Squares of the grid with activations enough for an icon.",
    ),
)
_LAYOUT = (
    (
        Column(
            name="trustworthiness",
            heading="trustworthiness",
            style="decimal",
            value=of_layout("trustworthiness"),
            meaning="Of the layout: are neighbours on the map neighbours in the layer too? 1: all of them; "
            "0.5: chance.",
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
            meaning="Of layers laid out together: how far apart, in sides of the map, an image lies here and "
            "in the next layer, and how far apart two images at random; medians.",
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
    """Columns that belong together: the first is the number, the others say more of it."""
    return [_SIZES, *(measure.columns for measure in table.MEASURES), *_LAYOUT]


def all_columns() -> list[Column]:
    """Every column that a run may have, in the order of the page."""
    return [column for group in _groups() for column in group]


def columns_of(entries: Sequence[AtlasEntry]) -> list[Column]:
    """The columns to show of these: those that few runs have only where one of them has it."""
    return [
        column
        for column in all_columns()
        if not column.is_optional or any(entry.numbers.get(column.name) is not None for entry in entries)
    ]


def large_columns() -> list[tuple[Column, list[Column]]]:
    """What is shown large under each atlas: a column, and those in the lines beneath it."""
    shown = [[column for column in group if column.large] for group in _groups()]
    return [(group[0], group[1:]) for group in shown if group]

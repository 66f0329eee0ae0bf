"""The declaration of a measure: a number that every cell of an atlas has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# An atlas's JSON document.
Document = Mapping[str, Any]
# cosine: in [-1, 1]. share: in [0, 1]. distance: 0 or more. rank: an integer, 0 is best. ratio: any number.
# ratios: a list of them, which is in the JSON alone.
Kind = Literal["cosine", "share", "distance", "rank", "ratio", "ratios"]
# The stage that computes a measure; those after invert make measures that a run may lack.
Source = Literal["bin", "invert", "yardsticks", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A reference value for a measure, stored in the document's ``baselines``.

    Attributes: name: its key. description: for the JSON Schema. source: "median": the median over the cells
                of another measure, ``of``; "chance": one over the number of cells; "real crops", "noise": the
                same measure of real images, or of noise.
    """

    name: str
    description: str
    source: Literal["median", "chance", "real crops", "noise"]
    of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A number of a whole atlas: a column in the report's table and in the table of ``atlas run``.

    Attributes: name: its key in an entry. heading: the column's heading. style: number format. value:
                computes the number from the document; None if it is not known. meaning: a paragraph below
                the table; "" if the meaning of an earlier column covers it. large: its label under the
                picture of the atlas; "": not shown there. is_baseline: a reference value for an earlier
                column. is_optional: shown only if some atlas has it.
    """

    name: str
    heading: str
    style: Literal["count", "decimal", "share"]
    value: Callable[[Document], float | None]
    meaning: str = ""
    large: str = ""
    is_baseline: bool = False
    is_optional: bool = False

    def shown(self, value: float | None) -> str:
        """A value as text for the page; a dash if it is not known."""
        if value is None or not math.isfinite(value):
            return "–"
        if self.style == "count":
            return f"{value:,}"
        if self.style == "decimal":
            return f"{value:.3f}"
        return f"{value:.1%}" if value < 0.1 else f"{value:.0%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InViewer:
    """How the viewer shows a measure. Each text may be "", and the measure is then not shown at that place.

    Attributes: column: its key in ``grid.js``. colour: its name in the choice of map colours. panel: its
                name in the panel of the chosen cell. note: text next to its value in the panel. beside:
                measures shown next to it in the panel, as (name, words). help: its meaning, which follows
                its name in the help.
    """

    column: str
    colour: str = ""
    panel: str = ""
    note: str = ""
    beside: tuple[tuple[str, str], ...] = ()
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number of every cell.

    Attributes: name: its column in the artefact, and its key in the JSON document. source: the stage that
                computes it. description: for the JSON Schema. is_required: every document has it. baselines:
                its reference values. columns: its columns in the report's table; of those shown under the
                atlas, the first is large. viewer: how the viewer shows it; None: the viewer does not have it.
                figure: its label in figures coloured by it; "": it cannot colour a figure.
    """

    name: str
    source: Source
    kind: Kind
    description: str
    is_required: bool = False
    baselines: tuple[Baseline, ...] = ()
    columns: tuple[Column, ...] = ()
    viewer: InViewer | None = None
    figure: str = ""


def of_cells(name: str, summary: Callable[[NDArray[np.float64]], Any]) -> Callable[[Document], float | None]:
    """Column value: a summary of a measure over the cells; None if no cell has the measure."""

    def value(document: Document) -> float | None:
        known = [number for cell in document["cells"] if (number := cell.get(name)) is not None]
        return float(summary(np.array(known, dtype=np.float64))) if known else None

    return value


def of_baseline(name: str) -> Callable[[Document], float | None]:
    """Column value: a baseline of the document; None if the document lacks it."""
    return lambda document: document.get("baselines", {}).get(name)


def of_layout(name: str) -> Callable[[Document], float | None]:
    """Column value: a quality measure of the layout; None if the document lacks it."""
    return lambda document: document["layout"].get(name)

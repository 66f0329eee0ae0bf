"""What is declared of a measure, a number that every cell of an atlas has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# An atlas's JSON document.
Document = Mapping[str, Any]
# cosine: in [-1, 1]. share: in [0, 1]. distance: 0 or more. rank: a whole number, 0 is best.
Kind = Literal["cosine", "share", "distance", "rank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A number in the document's ``baselines`` that says what a measure is worth.

    Attributes: name: its key. description: for the JSON Schema. source: "median": the median of another
                measure, ``of``; "chance": one over the number of cells; "real crops": the measure itself, of
                real images.
    """

    name: str
    description: str
    source: Literal["median", "chance", "real crops"]
    of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A number of a whole atlas: a column in the report's table and in the table of ``atlas run``.

    Attributes: name: its key in an entry. heading: above the column. style: how it is printed. value: the
                number from the document; None where it is not known. meaning: a paragraph below the table; ""
                where the column before has said it. large: the words beside it under the atlas, "": not
                shown there. is_baseline: only says what the column before is worth. is_optional: few runs
                have it.
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
        """A value in the words of the page; a dash where it is not known."""
        if value is None or not math.isfinite(value):
            return "–"
        if self.style == "count":
            return f"{value:,}"
        if self.style == "decimal":
            return f"{value:.3f}"
        return f"{value:.1%}" if value < 0.1 else f"{value:.0%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InViewer:
    """How the viewer shows a measure. Every field may be "": the viewer then only has the numbers.

    Attributes: column: its key in ``grid.js``. colour: its name among the colours of the map. panel: its name
                in the panel of the chosen cell. note: words beside it there. beside: measures that stand
                beside it there, name to words. help: what it means, after its name in the help.
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
                what it is held against. columns: of the report's table; the first of them is shown large, if
                any is. viewer: None: not in the viewer. figure: its words in a figure, "": no figure is
                coloured by it.
    """

    name: str
    source: Literal["bin", "invert"]
    kind: Kind
    description: str
    is_required: bool = False
    baselines: tuple[Baseline, ...] = ()
    columns: tuple[Column, ...] = ()
    viewer: InViewer | None = None
    figure: str = ""


def of_cells(name: str, summary: Callable[[NDArray[np.float64]], Any]) -> Callable[[Document], float | None]:
    """Column value: a summary of the cells' numbers; None where no cell has one."""

    def value(document: Document) -> float | None:
        known = [number for cell in document["cells"] if (number := cell.get(name)) is not None]
        return float(summary(np.array(known, dtype=np.float64))) if known else None

    return value


def of_baseline(name: str) -> Callable[[Document], float | None]:
    """Column value: a baseline of the document."""
    return lambda document: document.get("baselines", {}).get(name)


def of_layout(name: str) -> Callable[[Document], float | None]:
    """Column value: a number of the layout."""
    return lambda document: document["layout"].get(name)

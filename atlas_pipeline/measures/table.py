"""The table of measures. The JSON, its schema, the tiles, report, figures and viewer are made from it."""

from __future__ import annotations

from atlas_pipeline.measures.cells import OF_CELLS
from atlas_pipeline.measures.fidelity import FIDELITY
from atlas_pipeline.measures.legibility import LEGIBILITY
from atlas_pipeline.measures.measure import Measure
from atlas_pipeline.measures.transfer import TRANSFER
from atlas_pipeline.measures.yardsticks import YARDSTICKS

MEASURES: tuple[Measure, ...] = (*FIDELITY, *OF_CELLS, *LEGIBILITY, *TRANSFER, *YARDSTICKS)

# Kept first for compatibility: documents had these keys first before this table existed. Other measures
# follow in the order of the table.
_FIRST_IN_DOCUMENT = ("round_trip", "coherence", "consistency")


def in_document_order() -> list[Measure]:
    """The measures, in the order of their keys in a cell of the JSON document."""
    first = {name: place for place, name in enumerate(_FIRST_IN_DOCUMENT)}
    return sorted(MEASURES, key=lambda measure: first.get(measure.name, len(first)))

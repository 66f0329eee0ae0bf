"""The measures in the viewer's files: their columns for ``grid.js``, and their description for ``run.js``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.measures import table
from atlas_pipeline.measures.measure import Kind, Measure
from atlas_pipeline.numerics.quantise import COSINE_STEPS, cosines, wide_levels
from atlas_pipeline.viewer.scripts import packed

# The stages whose measures every run has.
EVERY_RUN = ("bin", "invert")
# Larger ranks are stored as this one, the largest uint16.
_LAST_RANK = 65_535
_SHOWN_ORDER: tuple[Kind, ...] = ("cosine", "rank", "ratio", "share", "distance")
# Kinds without bounds: the step of a level depends on the numbers.
_WIDE: tuple[Kind, ...] = ("distance", "ratio")


def in_tiles() -> list[Measure]:
    """The measures that the viewer loads, in the order of ``grid.js``: ranks, then by stage."""
    shown = [measure for measure in table.MEASURES if measure.viewer]
    return sorted(shown, key=lambda measure: (measure.kind != "rank", measure.source))


def measure_columns(values: Mapping[str, NDArray[np.number]]) -> dict[str, Any]:
    """The entries of ``grid.js`` for the given measures: one packed column each.

    Ranks are uint16. Cosines and shares are levels of 1e-4. Distances and ratios are levels of a step, which
    is stored next to the column.

    Args: values: (cell,) each, by name of the measure.
    """
    columns: dict[str, Any] = {}
    for measure in in_tiles():
        if measure.viewer is None or measure.name not in values:
            continue
        column, numbers = measure.viewer.column, values[measure.name]
        if measure.kind == "rank":
            columns[column] = packed(np.clip(numbers, 0, _LAST_RANK).astype(np.uint16))
        elif measure.kind in _WIDE:
            levels, columns[f"{column}Step"] = wide_levels(numbers)
            columns[column] = packed(levels)
        else:
            columns[column] = packed(cosines(numbers))
    return columns


def measure_list(stages: Collection[str] = EVERY_RUN) -> list[dict[str, Any]]:
    """The measures for ``run.js``, in the order that the viewer shows them; step: the value of a level.

    Args: stages: names of the run's stages; a measure of another stage is left out.
    """
    shown = sorted(
        (measure for measure in table.MEASURES if measure.viewer and measure.source in stages),
        key=lambda measure: _SHOWN_ORDER.index(measure.kind),
    )
    return [
        {
            "name": measure.name,
            "column": of.column,
            "kind": measure.kind,
            # The step of a distance or ratio is in grid.js, next to its column.
            "step": None if measure.kind in _WIDE else 1 if measure.kind == "rank" else 1 / COSINE_STEPS,
            "colour": of.colour,
            "panel": of.panel,
            "note": of.note,
            "beside": [{"name": name, "words": words} for name, words in of.beside],
            "help": of.help,
            "ofIcon": measure.source != "bin",
        }
        for measure in shown
        if (of := measure.viewer) is not None
    ]

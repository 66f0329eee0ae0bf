"""The viewer's files for a grid: its numbers, its attribution by class, and one picture of all icons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.mosaic import icon_sides
from atlas_pipeline.numerics.quantise import signed_levels, wide_levels
from atlas_pipeline.viewer.measure_files import measure_columns
from atlas_pipeline.viewer.scripts import packed, picture, script
from atlas_pipeline.viewer.sprites import overview, overview_px

NUM_TOP = 5
# Levels of attribution per file. A class of a large grid has its own file; classes of a small grid share one.
LEVELS_A_FILE = 200_000
# Cells sorted at once, which bounds the memory with 1,000 classes.
_CELLS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class GridNumbers:
    """The numbers of a grid's cells, in reading order.

    Attributes: grid: cells along a side. px: side of an icon in a sheet. activations: number of activations
                in the view. row, col, count: (cell,) integers. measures: (cell,) each, by name; NaN where not
                known. attribution: (cell, class), logits; None without attributions. labels, class_indices:
                label and logit index of each column of the attribution.
    """

    grid: int
    px: int
    activations: int
    row: NDArray[np.integer]
    col: NDArray[np.integer]
    count: NDArray[np.integer]
    measures: Mapping[str, NDArray[np.number]]
    attribution: NDArray[np.floating] | None
    labels: Sequence[str]
    class_indices: Sequence[int]


def number_file(numbers: GridNumbers) -> bytes:
    """``grid.js``: the numbers of the cells as columns, and the sizes of the pictures and class files."""
    num_cells = len(numbers.row)
    return script(
        {
            "cells": num_cells,
            "activations": numbers.activations,
            "px": numbers.px,
            "overviewPx": overview_px(numbers.grid, numbers.px),
            "classes": list(numbers.labels),
            "classIndices": list(numbers.class_indices),
            "classesAFile": _classes_a_file(num_cells),
            "row": packed(numbers.row.astype(np.uint16)),
            "col": packed(numbers.col.astype(np.uint16)),
            "count": packed(numbers.count.astype(np.uint32)),
            # Side of the icon in its cell, as a fraction of 255.
            "side": packed(icon_sides(numbers.count, 255).astype(np.uint8)),
            **measure_columns(numbers.measures),
            **({} if numbers.attribution is None else _strongest(numbers.attribution)),
        }
    )


def _strongest(attribution: NDArray[np.floating]) -> dict[str, Any]:
    """Up to five classes with the largest mean attribution of each cell, and their attribution as levels."""
    num_top = min(NUM_TOP, attribution.shape[1])
    top = np.empty((len(attribution), num_top), dtype=np.uint16)
    for start in range(0, len(attribution), _CELLS_AT_ONCE):
        values = attribution[start : start + _CELLS_AT_ONCE]
        known = np.where(np.isfinite(values), values, -np.inf)
        # The stable sort puts the first of two equal classes first, as in the atlas's JSON.
        top[start : start + len(values)] = np.argsort(-known, axis=1, kind="stable")[:, :num_top]
    levels, step = wide_levels(np.take_along_axis(attribution, top.astype(np.int64), axis=1))
    return {"numTop": num_top, "top": packed(top), "topValue": packed(levels), "topStep": step}


def _classes_a_file(num_cells: int) -> int:
    return max(1, LEVELS_A_FILE // max(num_cells, 1))


def class_files(numbers: GridNumbers) -> Iterator[tuple[str, bytes]]:
    """``classes-0.js``, ...: the attribution to every class as levels; no files without attributions."""
    if numbers.attribution is None:
        return
    each = _classes_a_file(len(numbers.row))
    for number in range(math.ceil(numbers.attribution.shape[1] / each)):
        columns = numbers.attribution[:, number * each : (number + 1) * each].T
        levels, most, least = zip(*(signed_levels(column) for column in columns), strict=True)
        yield (
            f"classes-{number}.js",
            script({"levels": packed(np.stack(levels)), "most": list(most), "least": list(least)}),
        )


def share_file(means: NDArray[np.floating]) -> bytes:
    """``share-0.js``, ...: one number per cell as levels.

    Args: means: (cell,); NaN where not known.
    """
    levels, step = wide_levels(means)
    return script({"levels": packed(levels), "step": step})


def overview_files(
    numbers: GridNumbers, icons: Callable[[], Iterable[NDArray[np.uint8]]]
) -> dict[str, bytes]:
    """Pictures of the whole grid, shown first by the viewer: with icons sized by density, and at full size.

    Args: icons: returns an iterator over the icons (side, side, 3). It is called once per picture, because
          the icons of a fine grid take gigabytes.
    """
    px = overview_px(numbers.grid, numbers.px)
    return {
        f"icons-overview-{name}.js": script(
            picture(
                overview(
                    icons(),
                    numbers.row,
                    numbers.col,
                    numbers.count,
                    numbers.grid,
                    px,
                    scaled=name == "density",
                )
            )
        )
        for name in ("density", "full")
    }

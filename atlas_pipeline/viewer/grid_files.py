"""A grid as the viewer loads it: its numbers, its attribution class by class, its icons in one picture."""

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
# Levels of attribution in a file: a class of a large grid has one of its own, those of small grids share one.
LEVELS_A_FILE = 200_000
# Cells sorted at once: bounds the memory at a thousand classes.
_CELLS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class GridNumbers:
    """What the viewer knows of a grid's cells, in reading order.

    Attributes: grid: cells a side. px: side of an icon in a sheet. activations: of the view. row, col, count:
                (cell,) integers. measures: (cell,) each, by name, NaN where not known. attribution:
                (cell, class), logits; None where there are none. labels, class_indices: of its columns; the
                latter among all logits.
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
    """``grid.js``: a column of every number, and what sheets there are."""
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
            # Of 255: so large is the icon in its cell.
            "side": packed(icon_sides(numbers.count, 255).astype(np.uint8)),
            **measure_columns(numbers.measures),
            **({} if numbers.attribution is None else _strongest(numbers.attribution)),
        }
    )


def _strongest(attribution: NDArray[np.floating]) -> dict[str, Any]:
    """The five classes of largest mean attribution of every cell, as columns of it, and how much."""
    num_top = min(NUM_TOP, attribution.shape[1])
    top = np.empty((len(attribution), num_top), dtype=np.uint16)
    for start in range(0, len(attribution), _CELLS_AT_ONCE):
        values = attribution[start : start + _CELLS_AT_ONCE]
        known = np.where(np.isfinite(values), values, -np.inf)
        # Stable: of two equal classes the first, as in the atlas's JSON.
        top[start : start + len(values)] = np.argsort(-known, axis=1, kind="stable")[:, :num_top]
    levels, step = wide_levels(np.take_along_axis(attribution, top.astype(np.int64), axis=1))
    return {"numTop": num_top, "top": packed(top), "topValue": packed(levels), "topStep": step}


def _classes_a_file(num_cells: int) -> int:
    return max(1, LEVELS_A_FILE // max(num_cells, 1))


def class_files(numbers: GridNumbers) -> Iterator[tuple[str, bytes]]:
    """``classes-0.js``, ...: every class's attribution as levels; none where there are no attributions."""
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
    """``share-0.js``, ...: a number of every cell, NaN where it is not known."""
    levels, step = wide_levels(means)
    return script({"levels": packed(levels), "step": step})


def overview_files(
    numbers: GridNumbers, icons: Callable[[], Iterable[NDArray[np.uint8]]]
) -> dict[str, bytes]:
    """The whole grid in one picture, icons by density and full: what is seen first.

    Args: icons: the icons (side, side, 3) one by one, anew at every call: a fine grid's are gigabytes.
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

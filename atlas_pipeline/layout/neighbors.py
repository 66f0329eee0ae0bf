"""The nearest activations of every activation: exactly, tile by tile, or approximately."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.search import Metric, Neighbors, VectorSearch
from atlas_pipeline.numerics.blocks import Blocks, ChosenRows

Method = Literal["auto", "exact", "approximate"]

# The exact search is quadratic: up to here it takes under a minute on two cores.
EXACT_UP_TO = 65_536


def neighbors(
    activations: Blocks,
    num_rows: int,
    num_neighbors: int,
    *,
    fitted: NDArray[np.int64] | None = None,
    metric: Metric = "cosine",
    method: Method = "auto",
    seed: int = 0,
    device: str = "cpu",
    advance: Callable[[int], None] = lambda _: None,
) -> Neighbors:
    """The nearest activations of each, itself first; or the nearest of the fitted ones.

    The exact search compares all with all, tile by tile, and is deterministic. The approximate one descends
    (pynndescent; Dong, Moses and Li 2011): a few in 10,000 neighbours are missed, and on another number of
    threads about 1 row in 30,000 comes out differently; rows that the descent leaves incomplete are searched
    exactly. ``auto`` is exact up to 65,536 x 65,536 comparisons and approximate beyond: by their number
    alone, so that the machine does not decide what comes out.

    An activation comes first among its own neighbours, then the others by distance, equals by index. Two
    activations of zeros have cosine distance 0, one of zeros and another one 1.

    Args:    activations: (activation, channel) blocks, finite. num_neighbors: itself included. fitted: rows
             among which neighbours are searched, ascending; None: all. advance: told the number done.
    Returns: indices int32 (into the fitted ones, where given) and distances float32, each (activation,
             neighbour), as many neighbours as there are where those are fewer. Cosine distance is 1 - cosine.
             Where more activations than are compared (8 more than asked for) are as far as the last
             neighbour to within 1e-6, relative to the longest vector, those of lowest index are kept.
    Raises:  ValueError: NaN or infinite activations.
    """
    searched = np.arange(num_rows) if fitted is None else fitted
    among = activations if fitted is None else ChosenRows(activations, fitted)
    search = VectorSearch(among, activations, metric, device)
    k = min(num_neighbors, len(searched))
    descend = method == "approximate" or (
        method == "auto" and num_rows * len(searched) > EXACT_UP_TO * EXACT_UP_TO
    )
    near = search.descend(k, seed) if descend and k else None
    found = np.empty((num_rows, k), np.int32), np.empty((num_rows, k), np.float32)
    for start in range(0, len(searched), search.tile):
        own = np.arange(start, min(start + search.tile, len(searched)))
        candidates = None if near is None else near[own]
        _store(found, searched[own], search.nearest(search.vectors[own[0] : own[-1] + 1], k, own, candidates))
        advance(len(own))
    if fitted is not None:
        del near
        _find_the_rest(search, found, activations, fitted, k, descend, advance)
    return found


def _find_the_rest(
    search: VectorSearch,
    found: Neighbors,
    activations: Blocks,
    fitted: NDArray[np.int64],
    k: int,
    descend: bool,
    advance: Callable[[int], None],
) -> None:
    """Neighbours, among the fitted activations, of those that are not; into ``found``."""
    others = np.setdiff1d(np.arange(len(found[0])), fitted, assume_unique=True)
    done = 0
    for block in ChosenRows(activations, others):
        for start in range(0, len(block), search.tile):
            asked = search.vectors_of(block[start : start + search.tile])
            candidates = search.query(asked, k) if descend else None
            _store(found, others[done : done + len(asked)], search.nearest(asked, k, None, candidates))
            done += len(asked)
            advance(len(asked))


def _store(found: Neighbors, rows: NDArray[np.int64], nearest: Neighbors) -> None:
    for every, some in zip(found, nearest, strict=True):
        every[rows] = some

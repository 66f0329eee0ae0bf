"""The summary of a patch test: a few rates for each kind of patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.rates import (
    Rate,
    at_places,
    best_places,
    difference_rate,
    held_out,
    share_rate,
    wilson,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSummary:
    """The effect of one kind of patch; rates are shares of the images.

    Attributes:
        becomes: rate at which the answer becomes the right class, at the fixed place; mean over patches.
        leaves: rate at which the answer is no longer the left class, likewise.
        best: like ``becomes``, but at the best place of each image: a success at any place counts.
        held_out: like ``becomes``, but each patch at its best place, chosen and counted on different images.
        top, top_patch, top_place: rate of the best patch at its best place, and the indices of both.
        over_noise: ``becomes`` minus the rate of noise from the same cells, image by image; None for kinds
            of patches that are not from these cells.
    """

    kind: str
    num_patches: int
    becomes: Rate
    leaves: Rate
    best: Rate
    held_out: Rate
    top: Rate
    top_patch: int
    top_place: int
    over_noise: Rate | None


def summarise(
    becomes: NDArray[np.bool_],
    leaves: NDArray[np.bool_],
    kinds: Sequence[str],
    fixed_place: int,
    seed: int,
) -> list[KindSummary]:
    """One summary per kind, in the order in which the kinds first occur.

    Args:
        becomes: (patch, place, image) bool, whether the answer becomes the right class.
        leaves: (patch, place, image) bool, whether the answer is no longer the left class.
        kinds: the kind of each patch; "noise" has as many patches as "icon" and as "crop".
        fixed_place: index of the fixed place.
        seed: seed of the bootstrap intervals.
    """
    rows = {kind: np.flatnonzero(np.asarray(kinds) == kind) for kind in dict.fromkeys(kinds)}
    return [
        _summary_of_kind(
            kind,
            becomes[in_kind],
            leaves[in_kind],
            becomes[rows["noise"]] if kind in ("icon", "crop") else None,
            fixed_place,
            seed,
        )
        for kind, in_kind in rows.items()
    ]


def _summary_of_kind(
    kind: str,
    becomes: NDArray[np.bool_],
    leaves: NDArray[np.bool_],
    noise: NDArray[np.bool_] | None,
    fixed: int,
    seed: int,
) -> KindSummary:
    places = best_places(becomes)
    at_best = at_places(becomes, places)
    top = int(at_best.sum(axis=1).argmax())
    over_noise = None
    if noise is not None:
        over_noise = difference_rate(becomes[:, fixed], noise[:, fixed], seed)
    return KindSummary(
        kind=kind,
        num_patches=len(becomes),
        becomes=share_rate(becomes[:, fixed], seed),
        leaves=share_rate(leaves[:, fixed], seed),
        best=share_rate(becomes.any(axis=1), seed),
        held_out=share_rate(held_out(becomes), seed),
        # For a single patch the images are independent trials.
        top=wilson(int(at_best[top].sum()), at_best.shape[1]),
        top_patch=top,
        top_place=int(places[top]),
        over_noise=over_noise,
    )

"""A patch test in a few numbers a kind of patch."""

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
    """What patches of one kind do; rates are shares of the images.

    Attributes: becomes, leaves: the answer becomes the right class, or is no longer the left one: at the
                fixed place, mean over patches. best: becomes, at the best place of each image, that is at
                any. held_out: becomes, each patch at the one place that does best on other images than it is
                counted on. top, top_patch, top_place: the best patch at its one best place, and which they
                are. over_noise: ``becomes`` minus that of the noise of the same cells, image by image; None
                where the cells are others.
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
    """One summary a kind, in the order in which the kinds first come.

    Args: becomes, leaves: (patch, place, image), whether the answer becomes the right class, and whether it
          is no longer the left one. kinds: of each patch; "noise" has a patch for each of "icon" and "crop".
          fixed_place: index. seed: of the intervals' draws.
    """
    rows = {kind: np.flatnonzero(np.asarray(kinds) == kind) for kind in dict.fromkeys(kinds)}
    return [
        _of_kind(
            kind,
            becomes[mine],
            leaves[mine],
            becomes[rows["noise"]] if kind in ("icon", "crop") else None,
            fixed_place,
            seed,
        )
        for kind, mine in rows.items()
    ]


def _of_kind(
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
        # Of one patch the images are independent trials.
        top=wilson(int(at_best[top].sum()), at_best.shape[1]),
        top_patch=top,
        top_place=int(places[top]),
        over_noise=over_noise,
    )

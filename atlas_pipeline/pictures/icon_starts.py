"""The finished icons that other icons start from: those of the nearest directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from atlas_pipeline.numerics.fidelity import nearest_with_cosine
from atlas_pipeline.pictures.png_codec import pixels
from atlas_pipeline.tables.icon_bank import FinishedIcons

if TYPE_CHECKING:
    from atlas_pipeline.inversion import Icons


@dataclass(frozen=True, slots=True, eq=False)
class Starts:
    """The start images of some of the icons that are to be made."""

    which: np.ndarray
    """(start,) int64: the icons that have a start image, ascending."""
    images: np.ndarray
    """(start, S, S, P) uint8."""
    is_banked: np.ndarray
    """(icon,) bool, of all icons: whether the start image comes from the bank."""


def nearest_starts(
    directions: np.ndarray,
    coarser: FinishedIcons | None,
    bank: FinishedIcons | None,
    least_cosine: float,
    num_threads: int = 1,
) -> Starts:
    """For each direction, the icon of the nearest direction of the coarser grid and the bank together.

    With a coarser grid, every icon has a start image. Without one, an icon has one if the cosine with the
    nearest banked direction is at least ``least_cosine``. Ties go to the coarser grid.

    Args: directions: (icon, channel). coarser, bank: None if there is none; the bank has at least one icon.
    """
    num = len(directions)
    rows = np.zeros(num, dtype=np.int64)
    cosines = np.full(num, -np.inf)
    is_banked = np.zeros(num, dtype=bool)
    if coarser is not None and num:
        rows, cosines = nearest_with_cosine(directions, coarser.directions)
    if bank is not None and num:
        banked_rows, banked_cosines = nearest_with_cosine(directions, bank.directions)
        least = -np.inf if coarser is not None else least_cosine
        is_banked = (banked_cosines > cosines) & (banked_cosines >= least)
        rows = np.where(is_banked, banked_rows, rows)
    which = np.arange(num) if coarser is not None else np.flatnonzero(is_banked)
    images: list[np.ndarray] = [np.empty(0)] * num
    for icons, taken in ((coarser, ~is_banked), (bank, is_banked)):
        chosen = which[taken[which]]
        if icons is not None and len(chosen):
            # Neighbouring cells often start from one icon: each is decoded once.
            used, places = np.unique(rows[chosen], return_inverse=True)
            decoded = pixels(icons.files.take(pa.array(used)), num_threads)
            for icon, place in zip(chosen, places, strict=True):
                images[icon] = decoded[place]
    stacked = np.stack([images[icon] for icon in which]) if len(which) else np.empty((0, 0, 0, 3), np.uint8)
    return Starts(which, stacked, is_banked)


def made_with_starts(made: Callable[[np.ndarray, np.ndarray | None], Icons], starts: Starts) -> Icons:
    """All icons, in order. Those with a start image are made apart, since they take other steps.

    Args: made: numbers of some icons, and their start images or None -> these icons.
    """
    import torch

    without = np.setdiff1d(np.arange(len(starts.is_banked)), starts.which)
    if not len(starts.which):
        return made(without, None)
    with_start = made(starts.which, starts.images)
    if not len(without):
        return with_start
    both = with_start, made(without, None)
    order = torch.tensor(np.argsort(np.concatenate([starts.which, without])))
    names = [field.name for field in fields(with_start)]
    return type(with_start)(*(torch.cat([getattr(part, name) for part in both])[order] for name in names))

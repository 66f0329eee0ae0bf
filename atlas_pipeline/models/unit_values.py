"""The state of a layer's units over a batch of images. B = image, U = unit, P = position, R = range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas_pipeline.numerics.random_keys import random_keys
from atlas_pipeline.numerics.unit_state import (
    FIELDS,
    HISTOGRAM_BINS,
    HISTOGRAM_LOW,
    HISTOGRAM_STEP,
    SUMMED,
    UnitState,
    empty_state,
)

# On a CPU, so many values are sorted at once: their temporaries stay in a core's cache.
_VALUES_AT_ONCE = 2**18


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitScale:
    """How values are sorted into bins and ranges, and how many examples are kept.

    mean, sd: (U,) float64; a unit that never varies has sd 1. ranges: (R - 1,), borders in standard
    deviations. seed: of the keys that choose the examples of a range.
    """

    mean: Tensor
    sd: Tensor
    ranges: tuple[float, ...]
    num_top: int
    per_range: int
    seed: int


def unit_state(values: Tensor, image_ids: NDArray[np.int64], scale: UnitScale) -> UnitState:
    """The state of a layer's units over a batch.

    The top example of an image is the position of its maximum. The example of an image in a range is a
    position drawn among those whose value lies in the range; which images are kept for a range is drawn too.
    Both draws depend on the seed, the image and the unit alone.

    Args: values: (B, U, rows, columns) float32, finite. image_ids: (B,).
    """
    num_images, num_units = values.shape[:2]
    state = empty_state(num_units, scale.num_top, len(scale.ranges) + 1, scale.per_range)
    if not num_images:
        return state
    at_once = num_images
    if values.device.type == "cpu":
        at_once = max(1, _VALUES_AT_ONCE // values[0].numel())
    parts = [
        _of_images(part, ids, scale)
        for part, ids in zip(
            values.split(at_once), np.split(image_ids, range(at_once, num_images, at_once)), strict=True
        )
    ]
    return state.merged(_joined(parts))


def _of_images(values: Tensor, image_ids: NDArray[np.int64], scale: UnitScale) -> UnitState:
    """The state over a few images, with every one of them among the examples."""
    num_images, num_units = values.shape[:2]
    flat = values.flatten(2).contiguous()
    mean, sd = (one.to(values).view(1, -1, 1) for one in (scale.mean, scale.sd))
    deviations = (flat - mean) / sd
    counts, sums = _histogram(flat, deviations)
    highest, place = flat.max(dim=2).values, flat.argmax(dim=2)
    return UnitState(
        num_images=np.full(num_units, num_images),
        num_firing=_numpy((highest > 0).sum(0)),
        counts=counts,
        sums=sums,
        num_positive=_numpy((flat > 0).sum((0, 2))),
        total=_numpy(flat.sum(dim=(0, 2), dtype=torch.float64)),
        squares=_numpy(flat.double().square().sum((0, 2))),
        least=_numpy(flat.amin((0, 2))),
        top_image=np.broadcast_to(image_ids, (num_units, num_images)),
        top_value=_numpy(highest.T),
        top_place=_numpy(place.T.int()),
        **_range_examples(flat, deviations, image_ids, scale),
    )


def _joined(parts: Sequence[UnitState]) -> UnitState:
    """The state over the images of all parts, with every one of them among the examples."""
    values = {name: [getattr(part, name) for part in parts] for name in FIELDS}
    least = np.minimum.reduce(values.pop("least"))
    sums = {name: np.sum(values.pop(name), axis=0) for name in SUMMED}
    return UnitState(
        **sums, least=least, **{name: np.concatenate(found, axis=-1) for name, found in values.items()}
    )


def _histogram(values: Tensor, deviations: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Counts and sums of the values above 0, (U, H) each, of values (B, U, P)."""
    num_units, num_bins = values.shape[1], HISTOGRAM_BINS + 2
    bins = ((deviations - HISTOGRAM_LOW) / HISTOGRAM_STEP).floor_().add_(1).clamp_(0, num_bins - 1).long()
    bins += torch.arange(num_units, device=values.device).view(1, -1, 1) * num_bins
    size, bins = num_units * num_bins, bins.flatten()
    counts = torch.bincount(bins, minlength=size)
    sums = torch.bincount(bins, values.clamp(min=0).double().flatten(), minlength=size)
    return _numpy(counts).reshape(num_units, -1), _numpy(sums).reshape(num_units, -1)


def _range_examples(
    values: Tensor, deviations: Tensor, image_ids: NDArray[np.int64], scale: UnitScale
) -> dict[str, NDArray]:
    """For each image, unit and range a position in the range: arrays (U, R, B) by the state's field."""
    num_images, num_units, num_places = values.shape
    num_ranges = len(scale.ranges) + 1
    # Every image has its own order of positions; the first of them in a range is the image's example.
    keys = random_keys(image_ids[:, None] * num_places + np.arange(num_places), scale.seed)
    order = torch.tensor(keys.argsort(axis=1), device=values.device)
    ranks = torch.empty_like(order).scatter_(
        1, order, torch.arange(num_places, device=values.device).expand_as(order)
    )
    # The range is the number of borders that do not exceed the value.
    which = torch.zeros_like(deviations, dtype=torch.uint8)
    for border in scale.ranges:
        which += deviations >= border
    first = torch.full((num_images, num_units, num_ranges), num_places, device=values.device)
    first.scatter_reduce_(2, which.long(), ranks[:, None, :].expand_as(which), "amin")
    is_there = first < num_places
    place = order[:, None, :].expand(-1, num_units, -1).gather(2, first.clamp(max=num_places - 1))
    here = _numpy(is_there.permute(1, 2, 0))
    slot = np.arange(num_units * num_ranges).reshape(num_units, num_ranges, 1)
    slot_keys = random_keys(image_ids[None, None, :] * (num_units * num_ranges) + slot, scale.seed)
    return {
        "range_key": np.where(here, slot_keys, np.iinfo(np.uint64).max),
        "range_image": np.where(here, image_ids[None, None, :], -1),
        "range_value": np.where(here, _numpy(values.gather(2, place).permute(1, 2, 0)), 0).astype(np.float32),
        "range_place": np.where(here, _numpy(place.permute(1, 2, 0)), 0).astype(np.int32),
    }


def _numpy(values: Tensor) -> NDArray:
    return values.cpu().numpy()

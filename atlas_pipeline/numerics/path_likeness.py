"""Whether icons take the same path through a network as real patches: cosines in its earlier layers.

Each picture has a vector in each layer. For a cell, a layer's scale runs from noise (0) to the cell's own
real patches (1): the cosine of each patch to the mean of the others.
Source: after Geirhos, Zimmermann, Bilodeau, Brendel and Kim, "Don't trust your eyes: on the (un)reliability
of feature visualizations" (ICML 2024), who compare the activations of natural and synthetic images layer by
layer.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

# A layer that barely tells a cell's real patches from noise has no scale.
MIN_SPREAD = 0.02


def path_likeness(pictures: Floats, patches: Floats, noise: Floats) -> NDArray[np.float32]:
    """How alike pictures are to a cell's real patches, layer by layer.

    For a layer, with m the mean of the patches, c a median over the pictures named, and m' the mean of the
    other patches: (cos(picture, m) - c cos(noise, m)) / (c cos(patch, m') - c cos(noise, m)).

    Args:    pictures: (picture, layer, channel). patches: (patch, layer, channel), at least one. noise:
             (noise, layer, channel).
    Returns: (picture, layer): 0 for noise, 1 for a real patch of the cell; NaN where there are fewer than two
             patches, or the two ends of the scale lie less than `MIN_SPREAD` apart.
    """
    patches = np.asarray(patches, dtype=np.float64)
    mean = patches.mean(axis=0)
    low = np.median(_cosines(noise, mean), axis=0)
    if len(patches) < 2:
        return np.full(np.shape(pictures)[:2], np.nan, dtype=np.float32)
    others = (patches.sum(axis=0) - patches) / (len(patches) - 1)
    spread = np.median(_cosines(patches, others), axis=0) - low
    scale = np.where(spread >= MIN_SPREAD, spread, np.nan)
    return ((_cosines(pictures, mean) - low) / scale).astype(np.float32)


def over_layers(likeness: Floats) -> NDArray[np.float32]:
    """The median over the layers that have a value: (picture, layer) -> (picture,); NaN if none has."""
    with warnings.catch_warnings():
        # A picture without a value in any layer is expected.
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(likeness, axis=1).astype(np.float32)


def _cosines(one: Floats, other: Floats) -> NDArray[np.float64]:
    """Cosines along the last axis; 0 where a vector is zero."""
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(axis=-1) / np.where(lengths > 0, lengths, 1.0)

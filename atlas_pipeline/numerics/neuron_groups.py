"""Neuron groups of one picture by non-negative matrix factorisation (Olah et al., "Building Blocks", 2018).

P = positions of the layer's map, C = channels, G = groups.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_STEPS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class NeuronGroups:
    """Groups, the one with the largest part of the activations first.

    Attributes:
        weights: (P, G) float64, how strongly each position has each group. directions: (G, C) float64, unit
            vectors. explained: share of the activations' squares that the groups reproduce.
    """

    weights: NDArray[np.float64]
    directions: NDArray[np.float64]
    explained: float


def rank_of(activations: NDArray[np.floating]) -> int:
    """The rank of a layer's activations in one picture (P, C); negative values count as 0."""
    return int(np.linalg.matrix_rank(np.asarray(activations, dtype=np.float64).clip(min=0)))


def neuron_groups(activations: NDArray[np.floating], num_groups: int, seed: int) -> NeuronGroups:
    """Factor the activations of one picture into groups: ``activations ~ weights @ directions``.

    Args:   activations: (P, C), finite; negative values count as 0. num_groups: at most ``rank_of`` them.
    Raises: ValueError: more groups than the rank.

    >>> groups = neuron_groups(np.array([[2.0, 0.0], [0.0, 1.0], [4.0, 0.0]]), 2, seed=0)
    >>> groups.directions.round(3).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    matrix = np.asarray(activations, dtype=np.float64).clip(min=0)
    if num_groups > rank_of(matrix):
        raise ValueError(f"{num_groups} groups of activations of rank {rank_of(matrix)}")
    # "nndsvda" starts from the singular vectors, so that the groups do not hang on a random start.
    factors = NMF(num_groups, init="nndsvda", max_iter=MAX_STEPS, tol=1e-5, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # How well the groups reproduce the activations is part of the result.
        warnings.simplefilter("ignore", ConvergenceWarning)
        weights = factors.fit_transform(matrix)
    lengths = np.linalg.norm(factors.components_, axis=1)
    directions = factors.components_ / np.where(lengths > 0, lengths, 1)[:, None]
    weights = weights * lengths
    order = np.argsort(-weights.sum(axis=0), kind="stable")
    weights, directions = weights[:, order], directions[order]
    left = np.square(matrix - weights @ directions).sum()
    return NeuronGroups(weights, directions, float(1 - left / np.square(matrix).sum()))


def group_attribution(groups: NeuronGroups, gradients: NDArray[np.floating]) -> NDArray[np.float64]:
    """Attribution of each group to each class: its part of the activations times the gradient.

    Args:    gradients: (K, C, P) of K logits.
    Returns: (G, K). Over the groups it adds up to the attribution of what the groups reproduce.
    """
    return np.einsum("pg,gc,kcp->gk", groups.weights, groups.directions, gradients.astype(np.float64))

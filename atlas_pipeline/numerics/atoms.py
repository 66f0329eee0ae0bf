"""Atoms: directions whose non-negative sums make up a layer's activations.

A cell's mean says what a region of the map shares. Atoms say what single activations are summed from.
A = activation, K = channel, M = atom.
Sources: Lee and Seung (1999) for NMF; Mairal et al. (2009) for sparse dictionaries; scikit-learn for both.
"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["nmf", "dictionary"]

_NMF_BATCH, _NMF_PASSES = 1024, 200
_DICTIONARY_BATCH = 256
_TINY = 1e-12


class AtomsError(ValueError):
    """No such atoms can be found; the message says why, and the remedy."""


def rank_of_rows(activations: NDArray[np.floating]) -> int:
    """Number of directions in which activations (A, K) differ from 0 by more than float16 rounds."""
    energies = np.linalg.eigvalsh(_moment(activations))
    return int((energies > energies.max(initial=0) * 1e-7).sum())


def least_left(activations: NDArray[np.floating], num_atoms: int) -> float:
    """The share of the squared activations that no ``num_atoms`` directions of either sign can go below.

    It is what as many singular vectors leave over (Eckart and Young, 1936).
    """
    energies = np.linalg.eigvalsh(_moment(activations))[::-1].clip(min=0)
    return float(energies[num_atoms:].sum() / max(energies.sum(), _TINY))


def _moment(activations: NDArray[np.floating]) -> NDArray[np.float64]:
    values = np.asarray(activations, np.float64)
    return values.T @ values if values.shape[0] >= values.shape[1] else values @ values.T


def fit_atoms(
    activations: NDArray[np.floating],
    method: Method,
    num_atoms: int,
    seed: int,
    sparsity: float = 0.0,
    num_reads: int = 65536,
) -> NDArray[np.float32]:
    """Fit atoms to activations (A, K). Mini-batches follow the order of the rows, so draw it at random first.

    Args:    sparsity: weight of the sum of the strengths beside half the squared error, for activations of
             mean square length 1. num_reads: least number of activations that the fit goes through, some of
             them several times. Both are of ``dictionary`` alone.
    Returns: (M, K) of length 1; an atom that the fit leaves at zero stays zero.
    Raises:  AtomsError: no activation differs from 0; more atoms than activations, or, for NMF, than their
             rank; for NMF, a negative activation.
    """
    energy = np.square(activations, dtype=np.float64).sum()
    if not energy > 0:
        raise AtomsError("every activation is zero, so there are no atoms; choose another layer")
    if num_atoms > len(activations):
        raise AtomsError(
            f"{num_atoms} atoms cannot be fitted to {len(activations)} activations; lower "
            "directions.num_atoms, or sample more images"
        )
    rows = activations.astype(np.float64) / np.sqrt(energy / len(activations))
    with warnings.catch_warnings():
        # The fit may end before the atoms stand still; the share that they leave over is part of the result.
        warnings.simplefilter("ignore")
        if method == "nmf":
            atoms = _nmf(rows, num_atoms, seed)
        else:
            atoms = _dictionary(rows, num_atoms, seed, sparsity, num_reads)
    lengths = np.linalg.norm(atoms, axis=1)
    return (atoms / np.where(lengths > _TINY, lengths, np.inf)[:, None]).astype(np.float32)


def _nmf(rows: NDArray[np.float64], num_atoms: int, seed: int) -> NDArray[np.float64]:
    from sklearn.decomposition import MiniBatchNMF

    if rows.min() < 0:
        raise AtomsError(
            "the layer has negative activations, and NMF takes none; set directions.method: dictionary"
        )
    if num_atoms > (rank := rank_of_rows(rows)):
        raise AtomsError(
            f"{num_atoms} atoms are more than the rank of the activations, {rank}; set "
            f"directions.num_atoms to at most {rank}"
        )
    fit = MiniBatchNMF(
        num_atoms, init="nndsvda", batch_size=_NMF_BATCH, max_iter=_NMF_PASSES, random_state=seed % 2**32
    )
    return np.asarray(fit.fit(rows).components_, np.float64)


def _dictionary(
    rows: NDArray[np.float64], num_atoms: int, seed: int, sparsity: float, num_reads: int
) -> NDArray[np.float64]:
    from sklearn.decomposition import MiniBatchDictionaryLearning

    there = rows[np.square(rows).sum(1) > 0]
    # Activations are a start also for more atoms than channels; singular vectors are not.
    start = there[np.arange(num_atoms) % len(there)]
    fit = MiniBatchDictionaryLearning(
        num_atoms,
        alpha=sparsity,
        # With strengths of either sign the fit ends far from planted atoms: see docs/directions.md.
        fit_algorithm="cd",
        positive_code=True,
        transform_algorithm="lasso_cd",
        dict_init=start / np.linalg.norm(start, axis=1)[:, None],
        batch_size=_DICTIONARY_BATCH,
        max_iter=max(1, -(-num_reads // len(rows))),
        # Its own rules end the fit long before the atoms are found.
        tol=0.0,
        max_no_improvement=None,
        random_state=seed % 2**32,
    )
    return np.asarray(fit.fit(rows).components_, np.float64)

"""How much of each atom activations are made of: non-negative least squares, on all atoms or on a few.

A = activation, K = channel, M = atom. Every activation is solved alone, so that no strength depends on the
other activations of its block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A block of 65,536 atoms takes 128 MB.
ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Strengths:
    """Activations as sums of atoms.

    An activation's squared length is divided among its atoms: atom m has the part ``s_m (d_m . a) / |a|^2``.
    As strengths are those of least squares, the parts and ``left`` add up to 1. A part is negative where an
    atom points away from the activation and corrects other atoms; if neither has negative numbers, none is.

    Attributes:
        strength: (A, M) float64, at least 0. part: (A, M) float64. left: (A,) float64, the share of the
            squared length that the atoms leave over. energy: (A,) float64, the squared length; an activation
            of zero has neither parts nor anything left.
    """

    strength: NDArray[np.float64]
    part: NDArray[np.float64]
    left: NDArray[np.float64]
    energy: NDArray[np.float64]


def strengths_of(
    activations: NDArray[np.floating], atoms: NDArray[np.floating], num_active: int | None = None
) -> Strengths:
    """The non-negative sum of atoms that is nearest to each activation.

    Args: activations: (A, K), finite. atoms: (M, K), of length 1 or 0; an atom of 0 has no strength.
          num_active: most atoms of an activation, found one after the other (matching pursuit); None: any
          number of them, which gives the least squared error of all.

    >>> found = strengths_of(np.array([[3.0, 1.0], [0.0, -2.0]]), np.eye(2))
    >>> found.strength.tolist(), found.left.tolist()
    ([[3.0, 1.0], [0.0, 0.0]], [0.0, 1.0])
    """
    rows = np.asarray(activations, np.float64)
    is_there = np.flatnonzero(np.square(atoms, dtype=np.float64).sum(1) > 0)
    basis = np.asarray(atoms, np.float64)[is_there]
    strength = np.zeros((len(rows), len(atoms)))
    if len(basis):
        found = _on_all(rows, basis) if num_active is None else _on_few(rows, basis, num_active)
        strength[:, is_there] = found
    energy = np.square(rows).sum(1)
    scale = np.where(energy > 0, energy, 1)
    part = strength * (rows @ np.asarray(atoms, np.float64).T) / scale[:, None]
    left = np.square(rows - strength @ np.asarray(atoms, np.float64)).sum(1) / scale
    return Strengths(strength, part, left, energy)


def _on_all(rows: NDArray[np.float64], basis: NDArray[np.float64]) -> NDArray[np.float64]:
    # The problem needs only as many dimensions as there are atoms: the rest of an activation changes nothing.
    axes, reduced = np.linalg.qr(basis.T)
    return (
        np.stack([_solved(reduced, row) for row in rows @ axes]) if len(rows) else np.zeros((0, len(basis)))
    )


def _on_few(rows: NDArray[np.float64], basis: NDArray[np.float64], num_active: int) -> NDArray[np.float64]:
    """Matching pursuit: add the atom that the rest is most like, then solve for all atoms chosen so far."""
    found = np.zeros((len(rows), len(basis)))
    chosen: list[list[int]] = [[] for _ in rows]
    rest, going = rows.copy(), np.flatnonzero(np.square(rows).sum(1) > 0)
    least = 1e-7 * np.sqrt(np.square(rows).sum(1))
    for _ in range(min(num_active, len(basis))):
        likeness = rest[going] @ basis.T
        best = likeness.argmax(1)
        # Nothing is left that one more atom would reduce.
        goes_on = likeness[np.arange(len(going)), best] > least[going]
        going, best = going[goes_on], best[goes_on]
        for row, atom in zip(going.tolist(), best.tolist(), strict=True):
            chosen[row].append(atom)
            used = basis[chosen[row]]
            values = _solved(used.T, rows[row])
            found[row, chosen[row]] = values
            rest[row] = rows[row] - values @ used
    return found


def _solved(basis: NDArray[np.float64], row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Non-negative least squares of ``basis (K, M) @ strength = row``."""
    from scipy.optimize import nnls

    return np.asarray(nnls(basis, row, maxiter=30 * max(basis.shape))[0])

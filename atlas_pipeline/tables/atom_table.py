"""The strengths of atoms in activations as matrices, and the atoms of a layer that have pages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atlas_pipeline.engine.stage import Artefact

# The name of the folder of the atoms' files, in place of a view.
DIRECTIONS = "directions"
# Borders between the ranges of an atom's strength, in standard deviations from the mean.
RANGES = (0.0, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True, eq=False)
class SparseStrengths:
    """The strengths above 0 in some activations: strength number i is of atom ``atom[i]`` in ``row[i]``.

    Attributes: strength, part: (i,) float32, see `numerics.atom_strengths`. left: (activation,) float32,
                energy: (activation,) float64.
    """

    row: NDArray[np.int64]
    atom: NDArray[np.int32]
    strength: NDArray[np.float32]
    part: NDArray[np.float32]
    left: NDArray[np.float32]
    energy: NDArray[np.float64]

    def matrix(self, values: NDArray[np.float32], atoms: NDArray[np.integer]) -> NDArray[np.float32]:
        """Values of the strengths as (activation, chosen atom), 0 elsewhere; atoms: ascending."""
        found = np.zeros((len(self.left), len(atoms)), np.float32)
        place = np.searchsorted(atoms, self.atom).clip(max=len(atoms) - 1)
        is_chosen = atoms[place] == self.atom
        found[self.row[is_chosen], place[is_chosen]] = values[is_chosen]
        return found


def strengths_of_table(table: pa.Table) -> SparseStrengths:
    """The strengths of a table of ``atom_strengths``."""

    def flat(name: str) -> NDArray:
        return table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)

    lengths = table["atoms"].combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    return SparseStrengths(
        row=np.repeat(np.arange(table.num_rows), lengths),
        atom=flat("atoms"),
        strength=flat("strengths"),
        part=flat("parts"),
        left=table["left"].to_numpy(),
        energy=table["energy"].to_numpy(),
    )


def shown_atoms(examples: Artefact, num_shown: int) -> NDArray[np.int64]:
    """The atoms with the largest shares, ascending by number; of equal shares the first.

    Args: examples: an artefact of ``atom_examples``.
    """
    shares = examples.read(["share"])["share"].to_numpy()
    return np.sort(np.argsort(-shares, kind="stable")[:num_shown])

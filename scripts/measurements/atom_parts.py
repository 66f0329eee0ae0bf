"""Which part of the generated images each atom of the demo network stands for, beside single units.

    python -m scripts.measurements.atom_parts --num-images 400

Selectivity is that of `unit_parts`: the area under the ROC curve of an atom's strengths. Atoms are fitted to
the first half of the images, and each takes its part there; the numbers printed are from the second half.
Units are measured in the same way on the layer's output, after the ReLU, which is what atoms are fitted to.
"""

from __future__ import annotations

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from atlas_pipeline.images.generated import PART_NAMES, image
from atlas_pipeline.models import ModelSpec, open_network
from atlas_pipeline.numerics.atom_strengths import ROWS_AT_ONCE, strengths_of
from atlas_pipeline.numerics.atoms import Method, fit_atoms
from atlas_pipeline.numerics.random_keys import random_keys
from scripts.measurements.unit_parts import BATCH, CLEAR, parts_of_positions, selectivity

# Activations that atoms are fitted to, and most atoms of an activation of the dictionary.
NUM_FITTED, NUM_ACTIVE = 8192, 4
SPARSITY = 0.2


def read_layer(layer: str, seed: int, num_images: int) -> np.ndarray:
    """(image, row, col, channel): the layer's output."""
    network, found = open_network(ModelSpec(source="demo")), list[torch.Tensor]()
    hook = network.module.get_submodule(layer).register_forward_hook(
        lambda module, given, output: found.append(output)
    )
    for start in range(0, num_images, BATCH):
        drawn = [image(seed, number)[0] for number in range(start, min(start + BATCH, num_images))]
        with torch.no_grad():
            network.module(network.normalise(torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2)))
    hook.remove()
    return torch.cat(found).permute(0, 2, 3, 1).numpy()


def strengths(rows: np.ndarray, atoms: np.ndarray, num_active: int | None) -> np.ndarray:
    """(activation, atom), block by block."""
    blocks = range(0, len(rows), ROWS_AT_ONCE)
    return np.concatenate(
        [strengths_of(rows[first : first + ROWS_AT_ONCE], atoms, num_active).strength for first in blocks]
    )


def row_of(name: str, first: np.ndarray, second: np.ndarray, parts: tuple[np.ndarray, ...]) -> list[str]:
    """A row of the table. first, second: (activation, atom), strengths on the halves; parts: of positions."""
    chosen, measured = np.nan_to_num(selectivity(first, parts[0])), selectivity(second, parts[1])
    own = measured[np.arange(len(chosen)), chosen.argmax(1)]
    # The clearest atom of each part, chosen on the first half.
    of_parts = measured[chosen.argmax(0), np.arange(len(PART_NAMES))]
    return [
        name,
        str(first.shape[1]),
        f"{np.nanmedian(own):.3f}",
        f"{int((own >= CLEAR).sum())} ({(own >= CLEAR).mean():.0%})",
        f"{np.nanmedian(of_parts):.3f}",
        f"{int((of_parts >= CLEAR).sum())} of {len(PART_NAMES)}",
    ]


@click.command()
@click.option("--num-images", default=400, show_default=True, type=click.IntRange(4))
@click.option("--num-atoms", default=[26, 52], show_default=True, multiple=True, type=click.IntRange(1))
@click.option("--layer", "layers", default=["mixed4", "mixed5"], show_default=True, multiple=True)
@click.option("--seed", default=0, show_default=True)
def main(num_images: int, num_atoms: tuple[int, ...], layers: tuple[str, ...], seed: int) -> None:
    """Print how clearly units and atoms stand for a part, and how clearly the best one does for each part."""
    table = Table(
        "layer", "", "number", "median selectivity", f"of {CLEAR:g} or more", "median of parts", "parts"
    )
    for layer in layers:
        maps, half = read_layer(layer, seed, num_images), num_images // 2
        side = maps.shape[1]
        of_images = np.stack([parts_of_positions(seed, number, side) for number in range(num_images)])
        parts = of_images[:half].ravel(), of_images[half:].ravel()
        first, second = (of_half.reshape(-1, maps.shape[3]) for of_half in (maps[:half], maps[half:]))
        table.add_row(layer, *row_of("units", first, second, parts))
        fitted = first[random_keys(np.arange(len(first)), seed).argsort()[:NUM_FITTED]]
        methods: tuple[tuple[Method, int | None], ...] = (("nmf", None), ("dictionary", NUM_ACTIVE))
        for method, num_active in methods:
            for num in num_atoms:
                atoms = fit_atoms(fitted, method, num, seed, SPARSITY)
                fitting, measuring = (strengths(rows, atoms, num_active) for rows in (first, second))
                table.add_row(layer, *row_of(method, fitting, measuring, parts))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()

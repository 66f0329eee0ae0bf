"""Which part of the generated images each unit of the demo network stands for: selectivity, unit by unit.

    python -m scripts.measurements.unit_parts --num-images 400

The selectivity of a unit for a part is the area under the ROC curve of its values (before the ReLU): the
chance that a position covered by the part has a larger value than a position covered by another part. A
unit's part is the one of largest selectivity on the first half of the images; the number printed is from the
second half. Beside it stands the same for the part maps of other images.
"""

from __future__ import annotations

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata

from atlas_pipeline.images.generated import PART_NAMES, image, part_map
from atlas_pipeline.images.generated.fields import SIDE_PX
from atlas_pipeline.models import ModelSpec, open_network
from atlas_pipeline.models.before_relu import value_maps

LAYERS = ("mixed3", "mixed4", "mixed5")
BATCH = 50
# A unit whose selectivity is at least this large stands for its part.
CLEAR = 0.9


def selectivity(values: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """(unit, part): area under the ROC curve; NaN for a part that covers no position, or all.

    Args: values: (position, unit). parts: (position,) indices into PART_NAMES.
    """
    ranks = rankdata(values, axis=0)
    found = np.full((values.shape[1], len(PART_NAMES)), np.nan)
    for part in range(len(PART_NAMES)):
        inside = parts == part
        num, num_others = int(inside.sum()), int((~inside).sum())
        if num and num_others:
            found[:, part] = (ranks[inside].sum(0) - num * (num + 1) / 2) / (num * num_others)
    return found


def parts_of_positions(seed: int, index: int, side: int) -> np.ndarray:
    """(side, side): the part that covers most of the pixels under each position; in a tie, the first."""
    step = SIDE_PX // side
    blocks = part_map(seed, index).reshape(side, step, side, step).transpose(0, 2, 1, 3)
    flat = blocks.reshape(side * side, step * step)
    return np.array([np.bincount(one).argmax() for one in flat]).reshape(side, side)


def read_units(seed: int, num_images: int) -> dict[str, np.ndarray]:
    """By layer (image, unit, row, col): values before the ReLU."""
    maps = value_maps(open_network(ModelSpec(source="demo")), LAYERS)
    found: dict[str, list[np.ndarray]] = {layer: [] for layer in LAYERS}
    for start in range(0, num_images, BATCH):
        drawn = [image(seed, number)[0] for number in range(start, min(start + BATCH, num_images))]
        with torch.no_grad():
            values = maps.read(torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2))
        for layer in LAYERS:
            found[layer].append(values[layer].numpy())
    return {layer: np.concatenate(batches) for layer, batches in found.items()}


def flat(values: np.ndarray) -> np.ndarray:
    """(image, unit, row, col) -> (position, unit)."""
    return values.transpose(0, 2, 3, 1).reshape(-1, values.shape[1])


@click.command()
@click.option("--num-images", default=400, show_default=True, type=click.IntRange(4))
@click.option("--seed", default=0, show_default=True)
def main(num_images: int, seed: int) -> None:
    """Print how clearly the units of each layer stand for a part, and the clearest unit of each part."""
    units, half = read_units(seed, num_images), num_images // 2
    summary = Table("layer", "units", "median selectivity", "other images", f"units of {CLEAR:g} or more")
    of_parts = Table("part", *(f"{layer}: unit" for layer in LAYERS))
    columns = []
    for layer in LAYERS:
        values = units[layer]
        parts = np.stack([parts_of_positions(seed, number, values.shape[-1]) for number in range(num_images)])
        first = np.nan_to_num(selectivity(flat(values[:half]), parts[:half].ravel()))
        second = selectivity(flat(values[half:]), parts[half:].ravel())
        other = selectivity(flat(values[half:]), np.roll(parts[half:], 1, axis=0).ravel())
        each, best = np.arange(len(first)), first.argmax(1)
        own = second[each, best]
        summary.add_row(
            layer,
            str(len(first)),
            f"{np.nanmedian(own):.3f}",
            f"{np.nanmedian(other[each, best]):.3f}",
            str(int((own >= CLEAR).sum())),
        )
        clearest = first.argmax(0)
        columns.append([f"{unit}: {second[unit, part]:.3f}" for part, unit in enumerate(clearest)])
    for part, row in enumerate(zip(*columns, strict=True)):
        of_parts.add_row(PART_NAMES[part], *row)
    console = Console()
    console.print(summary)
    console.print(of_parts)


if __name__ == "__main__":
    main()

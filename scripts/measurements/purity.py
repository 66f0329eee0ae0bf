"""Purity of the cells of an atlas in the parts that cover the sampled positions of generated images.

    python -m scripts.measurements.purity configs/quickstart.yaml

The purity of a cell is the share of its commonest part; the purity of an atlas is the mean over activations.
Also prints the purity of random groups of the same sizes, from ten shuffles.
"""

from __future__ import annotations

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from atlas_pipeline.config.loading import load_config
from atlas_pipeline.engine import Artefact, Store, artefact_of
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.images.generated import PART_NAMES, part_at
from atlas_pipeline.numerics.grid import cell_of, flat_cell
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.tables.population import layout_xy

NUM_SHUFFLES = 10


def purity(groups: np.ndarray, parts: np.ndarray) -> float:
    """Mean over activations of the share of the commonest part in their group.

    Args: groups, parts: (activation,) integers from 0.
    """
    counts = np.zeros((groups.max() + 1, parts.max() + 1), np.int64)
    np.add.at(counts, (groups, parts), 1)
    return float(counts.max(axis=1).sum() / len(groups))


def purity_by_chance(
    groups: np.ndarray, parts: np.ndarray, rng: np.random.Generator, num_shuffles: int = NUM_SHUFFLES
) -> tuple[float, float]:
    """Mean and standard deviation of the purity of random groups of the same sizes."""
    shuffled = [purity(rng.permutation(groups), parts) for _ in range(num_shuffles)]
    return float(np.mean(shuffled)), float(np.std(shuffled))


def true_parts(sample: Artefact, index: Artefact, seed: int) -> np.ndarray:
    """Part that covers most of the pixels under each sampled position, (activation,) indices."""
    table = sample.read(["image_id", "row", "col", "height", "width"])
    number = [int(key) for key in index.read(["key"])["key"].to_pylist()]
    rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
    return np.array(
        [
            part_at(seed, number[image_id], row, col, height, width)
            for image_id, row, col, height, width in track(list(rows), description="ground truth")
        ]
    )


@click.command()
@click.argument("config_path", metavar="CONFIG")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C")
def main(config_path: str, overrides: tuple[str, ...]) -> None:
    """Print the purity of every layer's cells."""
    config = load_config(config_path, overrides)
    if config.images.source != "generated":
        raise ConfigError(
            "only generated images have a ground truth; give a config with images.source: generated"
        )
    store, steps = Store(config.run.workspace), steps_of(config)
    of_layers = [s for s in steps if s.grid is None and s.view in (None, "all")]
    made = {(s.stage.name, s.layer): a for s in of_layers if (a := artefact_of(s, store))}
    table = Table(
        "layer", "grid", "activations", "cells", "purity", "random groups", "ratio", "commonest part of all"
    )
    rng = np.random.default_rng(0)
    for layer in config.layers:
        parts = true_parts(made["sample", layer], made["index", None], config.seed)
        xy = layout_xy(made["project", layer].read(["x", "y"]))
        for size in config.grid.sizes:
            cells = np.unique(flat_cell(cell_of(xy, size), size), return_inverse=True)[1]
            kept = np.bincount(cells)[cells] >= config.grid.min_count
            groups = np.unique(cells[kept], return_inverse=True)[1]
            ours = purity(groups, parts[kept])
            chance, _ = purity_by_chance(groups, parts[kept], rng)
            most = np.bincount(parts[kept]).argmax()
            share = float(np.mean(parts[kept] == most))
            table.add_row(
                layer,
                str(size),
                f"{kept.sum():,}",
                str(groups.max() + 1),
                f"{ours:.3f}",
                f"{chance:.3f}",
                f"{ours / chance:.1f}",
                f"{PART_NAMES[most]} {share:.3f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()

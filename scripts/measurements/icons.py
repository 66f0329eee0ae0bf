"""Fidelity and legibility of the icons of a finished run, with baselines, and sheets of the worst icons.

    python -m scripts.measurements.icons configs/quickstart.yaml --json icons.json --sheets sheets/

The baselines of fidelity are noise images of the size of icons, a random sampled activation, and the
activation of the cell nearest to its mean. Real crops of the size of icons are the baseline of legibility.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from atlas_pipeline.config.loading import load_config
from atlas_pipeline.engine import Artefact, Store, artefact_of
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.inversion.settings import MID_GREY
from atlas_pipeline.numerics import legibility
from atlas_pipeline.pictures.png_codec import over_ground, pixels
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.tables.columns import column_matrix

WORST_SHARE = 0.05


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def random_cosine(sample: Artefact, means: np.ndarray) -> float:
    """Median cosine between sampled activations and cell means, streamed: the median over parts of medians.

    Args: means: (cell, channel).
    """
    goals = _unit(means).T
    medians = [
        np.median(_unit(column_matrix(part, "activation").astype(np.float32)) @ goals)
        for part in sample.parts(["activation"])
    ]
    return float(np.median(medians))


def measured(layer: str, grid: int, made: dict[tuple, Artefact]) -> dict[str, Any]:
    """All numbers of one atlas."""
    icons = made["invert", layer, grid]
    cells, table = made["bin", layer, grid].read(["activation", "nearest"]), icons.read()
    means = column_matrix(cells, "activation")
    crops = legibility.real_statistics(pixels(made["crops", None, None].read(["crop"])["crop"]))
    images = over_ground(pixels(table["icon"]), MID_GREY)
    fidelity, ranks = table["fidelity"].to_numpy(), table["round_trip"].to_numpy()
    real = icons.notes["real_crops"]
    return {
        "layer": layer,
        "grid": grid,
        "cells": len(means),
        "fidelity": float(np.median(fidelity)),
        "fidelity_p5": float(np.percentile(fidelity, 5)),
        "noise": float(np.median(table["noise"].to_numpy())),
        "random_real": random_cosine(made["sample", layer, None], means),
        "nearest_real": float(np.median(cells["nearest"].to_numpy())),
        "round_trip_top1": float((ranks < 1).mean()),
        "round_trip_top5": float((ranks < 5).mean()),
        "saturated": float(table["saturated"].to_numpy().mean()),
        "saturated_real": real["saturated"],
        "spectrum_distance": float(np.median(table["spectrum_distance"].to_numpy())),
        "spectrum_distance_real": real["spectrum_distance"],
        "colour_distance": float(np.median(table["colour_distance"].to_numpy())),
        "colour_distance_real": real["colour_distance"],
        "speckle": float(np.median(legibility.speckle(images, crops))),
    }


def worst_sheet(cells: Artefact, icons: Artefact, path: Path) -> None:
    """Save the least faithful icons side by side, and print statistics of their cells."""
    table, cell = icons.read(), cells.read(["count", "coherence"])
    fidelity = table["fidelity"].to_numpy()
    worst = np.argsort(fidelity)[: max(1, round(WORST_SHARE * len(fidelity)))]
    images = over_ground(pixels(table["icon"]), MID_GREY)[worst]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(list(images), axis=1)).save(path)
    count, coherence = cell["count"].to_numpy(), cell["coherence"].to_numpy()
    print(
        f"{path}: the worst {len(worst)}: fidelity {fidelity[worst].min():.3f}-{fidelity[worst].max():.3f}; "
        f"median count {np.median(count[worst]):.0f} (all {np.median(count):.0f}), "
        f"coherence {np.median(coherence[worst]):.3f} (all {np.median(coherence):.3f})"
    )


@click.command()
@click.argument("config_path", metavar="CONFIG")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Also write the numbers to this file."
)
@click.option("--sheets", type=click.Path(path_type=Path), help="Folder for sheets of the worst 5 %.")
def main(config_path: str, overrides: tuple[str, ...], json_path: Path | None, sheets: Path | None) -> None:
    """Print the numbers of every atlas of the finished run of CONFIG."""
    config = load_config(config_path, overrides)
    store, steps = Store(config.run.workspace), steps_of(config)
    whole = [step for step in steps if step.view in (None, "all")]
    made = {(s.stage.name, s.layer, s.grid): a for s in whole if (a := artefact_of(s, store))}
    rows = []
    for layer in config.layers:
        for grid in config.grid.sizes:
            if ("invert", layer, grid) not in made:
                raise ConfigError(
                    f"{layer}, grid {grid} has no icons yet; make them with: atlas run {config_path}"
                )
            rows.append(measured(layer, grid, made))
            if sheets:
                worst_sheet(
                    made["bin", layer, grid], made["invert", layer, grid], sheets / f"{layer}-{grid}.png"
                )
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=240).print(table)
    if json_path:
        json_path.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

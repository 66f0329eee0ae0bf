"""Share of a class's own parts in its class atlas, from the ground truth of generated images.

    python -m scripts.measurements.own_parts CONFIG

The own parts of a class are the textures in its images. Prints their share among the activations in the
cells of the class atlas, and among all activations of the layer. For comparisons, prints the commonest parts
at each end of the axis.
"""

from __future__ import annotations

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from atlas_pipeline.config.loading import load_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Artefact, Store, artefact_of
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.images.generated import PART_NAMES
from atlas_pipeline.images.generated.image_classes import CLASSES
from atlas_pipeline.numerics.grid import cell_of, flat_cell
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.tables.population import layout_xy
from atlas_pipeline.views.view import ClassPopulation, class_views, comparison_views
from scripts.measurements.purity import true_parts

# Width of each end, as a share of the axis.
END = 0.25
Made = dict[tuple[str, str | None, str | None], Artefact]


def own_parts(index: int) -> np.ndarray:
    """Indices into PART_NAMES of the textures of a class."""
    return np.array([PART_NAMES.index(name) for name in CLASSES[index].textures])


def shown_rows(made: Made, layer: str, view: str, grid: int, min_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample rows and x of the activations in the cells of a view."""
    rows = made["select", layer, view].read(["sample_row"])["sample_row"].to_numpy()
    xy = layout_xy(made["project", layer, view].read(["x", "y"]))
    cells = np.unique(flat_cell(cell_of(xy, grid), grid), return_inverse=True)[1]
    kept = np.bincount(cells)[cells] >= min_count
    return rows[kept], xy[kept, 0]


def class_table(config: Config, made: Made, parts: dict[str, np.ndarray]) -> Table:
    """One row per layer and class; an empty class atlas has no share."""
    table = Table("layer", "class", "activations", "own parts", "among all", "ratio")
    views = class_views(config)
    for layer in config.layers:
        ratios = []
        for view in (view for view in views if layer in view.layers):
            assert isinstance(view.population, ClassPopulation)
            grid, own = view.grid, own_parts(view.population.index)
            rows, _ = shown_rows(made, layer, view.name, grid.sizes[0], grid.min_count)
            everywhere = float(np.isin(parts[layer], own).mean())
            if len(rows):
                ours = float(np.isin(parts[layer][rows], own).mean())
                ratios.append(ours / everywhere)
            shown = (f"{ours:.3f}", f"{everywhere:.3f}", f"{ratios[-1]:.1f}") if len(rows) else ("-",) * 3
            table.add_row(layer, view.population.label, f"{len(rows):,}", *shown)
        if ratios:
            table.add_row(layer, "least, median", "", "", "", f"{min(ratios):.1f}, {np.median(ratios):.1f}")
    return table


def comparison_table(config: Config, made: Made, parts: dict[str, np.ndarray]) -> Table:
    """The commonest parts, one row per comparison, layer and end of the axis."""
    table = Table("layer", "comparison", "end", "activations", "commonest parts there", "among all")
    for view in comparison_views(config):
        grid, (left, right) = view.grid, view.axis or ("", "")
        for layer in view.layers:
            rows, x = shown_rows(made, layer, view.name, grid.sizes[0], grid.min_count)
            for label, at_end in ((left, x < END), (right, x > 1 - END)):
                counts = np.bincount(parts[layer][rows[at_end]], minlength=len(PART_NAMES))
                commonest = np.argsort(-counts, kind="stable")[:3]
                here = [f"{PART_NAMES[p]} {counts[p] / max(counts.sum(), 1):.2f}" for p in commonest]
                everywhere = [f"{np.mean(parts[layer] == p):.2f}" for p in commonest]
                table.add_row(
                    layer, view.name, label, f"{counts.sum():,}", ", ".join(here), ", ".join(everywhere)
                )
    return table


@click.command()
@click.argument("config_path", metavar="CONFIG")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C")
def main(config_path: str, overrides: tuple[str, ...]) -> None:
    """Print the shares of own parts in class atlases of CONFIG, and the parts at the ends of comparisons."""
    config = load_config(config_path, overrides)
    if config.images.source != "generated" or config.sample.positions_per_image != 1:
        raise ConfigError(
            "only generated images with one position each have a ground truth; "
            "set images.source: generated and sample.positions_per_image: 1"
        )
    store = Store(config.run.workspace)
    made = {(s.stage.name, s.layer, s.view): a for s in steps_of(config) if (a := artefact_of(s, store))}
    parts = {
        layer: true_parts(made["sample", layer, None], made["index", None, None], config.seed)
        for layer in config.layers
    }
    console = Console(width=150)
    if config.classes:
        console.print(class_table(config, made, parts))
    if config.comparisons:
        console.print(comparison_table(config, made, parts))


if __name__ == "__main__":
    main()

"""From a selection to its atlas, step by step: what class atlases and comparisons have in common.

Pipelines are files that are read one by one, and cannot import each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atlas_pipeline.config.sections import ClassConfig, ComparisonConfig, Config
from atlas_pipeline.engine import Step
from atlas_pipeline.stages.atlas import bin, cell_sums, invert, neighbors, project, stitch, whiten
from atlas_pipeline.stages.figures import plot
from atlas_pipeline.stages.pages import deep_zoom, examples, places, shares, tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionAtlas:
    """The steps in their order, and the cells and icons by grid for whoever goes on from them."""

    steps: tuple[Step, ...]
    cells: Mapping[int, Step]
    icons: Mapping[int, Step]


def selection_atlas(
    config: Config,
    entry: ClassConfig | ComparisonConfig,
    images: Step,
    activations: Step,
    chosen: Step,
    real_crops: Step,
    axis: tuple[str, str] | None = None,
    label: str | None = None,
) -> SelectionAtlas:
    """Layout, grids, icons and pictures of the chosen activations.

    Args: images: the index. activations: the layer's sample. chosen: of `select`. axis: the names of a
          comparison's left and right class. label: of a class atlas's class.
    """
    precision = whiten.step(activations)
    nearest = neighbors.view_step(config, activations, chosen, entry.num_neighbors)
    layout = project.view_step(config, entry, activations, chosen, nearest)
    sums = cell_sums.view_steps(config, entry.grid, activations, chosen, layout)
    cells = bin.view_steps(config, entry.grid, activations, chosen, layout, sums)
    icons = invert.steps(config, cells, precision, real_crops)
    atlases = [
        step
        for size, of_grid in icons.items()
        for step in (
            of_grid,
            stitch.view_step(config, images, chosen, layout, cells[size], of_grid, axis, label),
            tiles.step(config, cells[size], of_grid),
            *examples.steps(config, images, cells[size]),
            shares.step(config, images, layout, cells[size]),
        )
    ]
    zooms = [
        zoom for step in atlases if step.stage.name == "stitch" for zoom in deep_zoom.steps(config, step)
    ]
    pictures = plot.step(config, activations, layout, chosen)
    known = places.step(config, images, layout, chosen)
    steps = (precision, chosen, layout, pictures, known, *sums.values(), *cells.values(), *atlases, *zooms)
    return SelectionAtlas(steps=steps, cells=cells, icons=icons)

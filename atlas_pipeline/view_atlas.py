"""The steps that make the atlas of a view: layout, cells, icons, pictures.

Class atlases, comparisons and layer atlases differ only in their view: the activations it shows, their layout
and the sizes of its grids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Step
from atlas_pipeline.stages.atlas import (
    bin,
    cell_sums,
    invert,
    judge,
    judge_features,
    neighbors,
    project,
    select,
    stitch,
    whiten,
    yardsticks,
)
from atlas_pipeline.stages.figures import plot
from atlas_pipeline.stages.pages import deep_zoom, examples, members, names, places, shares, tiles
from atlas_pipeline.stages.sampling import predictions
from atlas_pipeline.views.view import View, layer_view


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewAtlas:
    """The steps, inputs first; cells, icons and members: the steps by grid size."""

    steps: tuple[Step, ...]
    cells: Mapping[int, Step]
    icons: Mapping[int, Step]
    members: Mapping[int, Step] = field(default_factory=dict)


def view_atlas(
    config: Config, view: View, images: Step, sample: Step, real_crops: Step, layout: Step | None = None
) -> ViewAtlas:
    """The atlas of a view in one layer.

    Args:
        images: the index. sample: the layer's sample. real_crops: real images at the icons' size.
        layout: the layer's layout, where layers are laid out together; None: the view makes its own.
    """
    chosen = select.step(view, sample)
    precision = whiten.step(sample)
    if layout is None:
        nearest = neighbors.step(config, view, sample, chosen)
        layout = project.step(config, view, sample, chosen, nearest)
    # One pass over the activations serves all grids. A finer grid's icons start from the coarser grid's.
    sums = cell_sums.steps(config, view, sample, chosen, layout)
    cells = bin.steps(view, sample, chosen, layout, sums)
    icons = invert.steps(config, cells, precision, real_crops)
    ranges = members.steps(config, sample, chosen, layout, cells)

    def steps() -> Iterator[Step]:
        yield from filter(None, (precision, chosen, layout))
        yield plot.step(config, sample, chosen, layout)
        yield places.step(config, images, chosen, layout)
        yield from (*sums.values(), *cells.values())
        yield from (*names.steps(config, cells), *ranges.values())
        for size, grid_icons in icons.items():
            yield grid_icons
            measured = _measured(config, images, cells[size], real_crops, grid_icons)
            yield from measured.values()
            atlas = stitch.step(config, view, images, chosen, layout, cells[size], grid_icons, measured)
            yield from (atlas, *deep_zoom.steps(config, atlas))
            yield tiles.step(config, cells[size], grid_icons, measured)
            yield from examples.steps(config, images, cells[size], ranges.get(size))
            yield shares.step(config, images, layout, cells[size], predictions.step(config, images))

    return ViewAtlas(steps=tuple(steps()), cells=cells, icons=icons, members=ranges)


def _measured(config: Config, images: Step, cells: Step, crops: Step, icons: Step) -> dict[str, Step]:
    """The measures of finished icons that the config asks for, by role."""
    seen = judge_features.step(config, images, cells, icons)
    steps = {
        "yardsticks": yardsticks.step(config, images, cells, crops, icons),
        "judge": judge.step(config, seen),
    }
    return {role: step for role, step in steps.items() if step is not None}


def layer_layouts(config: Config, samples: Mapping[str, Step]) -> dict[str, Step]:
    """The layouts of whole layers, by layer; with ``project.align`` they are laid out together."""
    view = layer_view(config)
    nearest = {layer: neighbors.step(config, view, sample, None) for layer, sample in samples.items()}
    return project.layer_steps(config, view, samples, nearest)

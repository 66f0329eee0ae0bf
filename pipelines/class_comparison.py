"""Class comparison: what tells two classes apart (Carter et al., 2019).

The activations that speak most for either class are selected. How far each speaks for the one or the other,
the difference of its attributions, is its place along x; alike activations lie close together along y.
"""

from collections.abc import Iterator

from atlas_pipeline.config import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.stages import (
    bin,
    crops,
    index,
    invert,
    neighbors,
    patch_test,
    plot,
    project,
    sample,
    select,
    stitch,
    whiten,
)
from atlas_pipeline.stages.views import comparison_views


def pipeline(config: Config) -> Iterator[Step]:
    images = index.step(config)
    samples = sample.steps(config, images)
    real_crops = crops.step(config, images)
    yield from (images, *samples.values(), real_crops)

    for view in comparison_views(config):
        for layer in view.layers:
            activations = samples[layer]
            precision = whiten.step(activations)

            chosen = select.comparison_step(view, activations)
            nearest = neighbors.view_step(config, activations, chosen, view.entry.num_neighbors)
            layout = project.view_step(config, view.entry, activations, chosen, nearest)
            yield from (precision, chosen, layout)
            yield plot.step(config, activations, layout, chosen)

            grids = bin.view_steps(config, view.entry.grid, activations, chosen, layout)
            yield from grids.values()
            icons = invert.steps(config, grids, precision, real_crops)
            for size, of_grid in icons.items():
                yield of_grid
                yield stitch.view_step(config, images, chosen, layout, grids[size], of_grid, view.labels)

            if view.entry.patch_test:
                # The control: icons of the layer's whole atlas. The finer a comparison's cells, the purer.
                whole_layout = project.step(config, activations, neighbors.step(config, activations))
                whole_grids = bin.steps(config, activations, whole_layout)
                whole_icons = invert.steps(config, whole_grids, precision, real_crops)
                yield from patch_test.steps(
                    config, view, images, grids[max(grids)], icons[max(icons)], whole_icons[min(whole_icons)]
                )

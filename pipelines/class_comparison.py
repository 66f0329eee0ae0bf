"""Class comparison: what tells two classes apart (Carter et al., 2019).

The activations that speak most for either class are selected. How far each speaks for the one or the other,
the difference of its attributions, is its place along x; alike activations lie close together along y.
"""

from collections.abc import Iterator

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.patch_test import steps as patch_test
from atlas_pipeline.stages.atlas import bin, cell_sums, invert, neighbors, project, select, whiten
from atlas_pipeline.stages.sampling import crops, index, sample
from atlas_pipeline.view_atlas import selection_atlas
from atlas_pipeline.views.views import comparison_views


def pipeline(config: Config) -> Iterator[Step]:
    images = index.step(config)
    samples = sample.steps(config, images)
    real_crops = crops.step(config, images)
    yield from (images, *samples.values(), real_crops)

    for view in comparison_views(config):
        for layer in view.layers:
            activations = samples[layer]
            chosen = select.comparison_step(view, activations)
            # From here on as in a layer atlas, but that x is the axis between the two.
            atlas = selection_atlas(
                config, view.entry, images, activations, chosen, real_crops, axis=view.labels
            )
            yield from atlas.steps

            if view.entry.patch_test:
                # The finer a comparison's cells, the purer. The control: icons of the layer's whole atlas.
                finest = max(atlas.cells)
                cells, icons = atlas.cells[finest], atlas.icons[finest]
                whole_icons = _whole_atlas(config, samples, layer, real_crops)
                yield from patch_test.steps(config, view, images, cells, icons, whole_icons)


def _whole_atlas(config: Config, samples: dict[str, Step], layer: str, real_crops: Step) -> Step:
    """The icons of the layer atlas's coarsest grid, as `layer_atlas` makes them."""
    nearest = {name: neighbors.step(config, sample) for name, sample in samples.items()}
    activations, layout = samples[layer], project.steps(config, samples, nearest)[layer]
    sums = cell_sums.steps(config, config.grid, activations, layout)
    grids = bin.steps(config, activations, layout, sums)
    icons = invert.steps(config, grids, whiten.step(activations), real_crops)
    return icons[min(icons)]

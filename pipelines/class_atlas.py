"""Class atlas: of all that a layer sees, what makes the network say one class (Carter et al., 2019).

Of the sampled activations those that matter to a class are selected by their attribution to its logit, and
laid out, averaged and inverted on their own. Samples are those of the layer atlas: a new class computes its
own view alone.
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
    plot,
    project,
    sample,
    select,
    stitch,
    whiten,
)
from atlas_pipeline.stages.views import class_views


def pipeline(config: Config) -> Iterator[Step]:
    images = index.step(config)
    samples = sample.steps(config, images)
    real_crops = crops.step(config, images)
    yield from (images, *samples.values(), real_crops)

    for view in class_views(config):
        for layer in view.layers:
            activations = samples[layer]
            precision = whiten.step(activations)

            # One pass over the attributions serves all classes.
            chosen = select.class_step(view, activations)
            nearest = neighbors.view_step(config, activations, chosen, view.entry.num_neighbors)
            layout = project.view_step(config, view.entry, activations, chosen, nearest)
            yield from (precision, chosen, layout)
            yield plot.step(config, activations, layout, chosen)

            grids = bin.view_steps(config, view.entry.grid, activations, chosen, layout)
            yield from grids.values()
            for size, icons in invert.steps(config, grids, precision, real_crops).items():
                yield icons
                yield stitch.view_step(config, images, chosen, layout, grids[size], icons)

"""Class atlas: of all that a layer sees, what makes the network say one class (Carter et al., 2019).

Of the sampled activations those that matter to a class are selected by their attribution to its logit, and
laid out, averaged and inverted on their own. Samples are those of the layer atlas: a new class computes its
own view alone.
"""

from collections.abc import Iterator

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.stages.atlas import select
from atlas_pipeline.stages.sampling import crops, index, sample
from atlas_pipeline.view_atlas import selection_atlas
from atlas_pipeline.views.views import class_views


def pipeline(config: Config) -> Iterator[Step]:
    images = index.step(config)
    samples = sample.steps(config, images)
    real_crops = crops.step(config, images)
    yield from (images, *samples.values(), real_crops)

    for view in class_views(config):
        for layer in view.layers:
            activations = samples[layer]
            # One pass over the attributions serves all classes.
            chosen = select.class_step(view, activations)
            # From here on as in a layer atlas: layout, grids, icons, pictures.
            atlas = selection_atlas(
                config, view.entry, images, activations, chosen, real_crops, label=view.label
            )
            yield from atlas.steps

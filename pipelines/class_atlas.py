"""Class atlas: the part of what a layer sees that makes the network say one class (Carter et al., 2019).

The sampled activations that matter to a class are selected by their attribution to its logit; they are laid
out, averaged and inverted on their own. Samples are those of the layer atlas: a new class computes its own
view alone.
"""

from collections.abc import Iterator

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.stages.sampling import crops, index, sample
from atlas_pipeline.view_atlas import view_atlas
from atlas_pipeline.views.view import class_views


def pipeline(config: Config) -> Iterator[Step]:
    images = index.step(config)
    samples = sample.steps(config, images)
    real_crops = crops.step(config, images)
    yield from (images, *samples.values(), real_crops)

    for view in class_views(config):
        for layer in view.layers:
            yield from view_atlas(config, view, images, samples[layer], real_crops).steps
